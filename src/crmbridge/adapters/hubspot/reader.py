"""Streams records out of HubSpot: pages of everything, or searches for what changed, with the links that come along.

A page holds a record and its links at once, so the entity that is made of links is set aside while the other is read, and costs
no call of its own. Searches end after 10,000 records and know no links: they go on by id, and links are looked up in batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.hubspot.bunch import LINKS, Bunch, bunch
from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.connection import next_page
from crmbridge.adapters.hubspot.failures import a_code
from crmbridge.adapters.hubspot.kinds import (
    ACTIVITIES,
    COMPANIES,
    CONTACTS,
    DEALS,
    LEADS,
    MERGED,
    Kind,
    flags,
    has_left,
    participant_kinds,
)
from crmbridge.adapters.hubspot.memory import Memory, joined
from crmbridge.errors import CrmUnavailable, DataError
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.adapters.hubspot.portal import Portal

PAGE, SEARCH_PAGE, LINKS_PER_CALL = 100, 200, 1_000
SEARCH_CEILING = 10_000
OVERLAP = timedelta(minutes=10)
"""How far before `since` a search begins, besides the lag of the index."""

_ROWS_PER_BATCH = 10_000
_PRIMARY_IDS = frozenset({1, 5})
"""Contact to primary company, deal to primary company."""
_NO_LINKS = "OBJECT_NOT_FOUND"
_DAY_LENGTH = len("2024-01-31")

OF_KIND: dict[Entity, tuple[Kind, ...]] = {
    Entity.ACCOUNT: (COMPANIES,),
    Entity.CONTACT: (CONTACTS,),
    Entity.ACCOUNT_CONTACT_RELATION: (CONTACTS,),
    Entity.OPPORTUNITY: (DEALS,),
    Entity.OPPORTUNITY_ACCOUNT: (DEALS,),
    Entity.LEAD: (LEADS,),
    Entity.ACTIVITY: ACTIVITIES,
    Entity.ACTIVITY_PARTICIPANT: ACTIVITIES,
}
"""What an entity is made of."""

MADE_OF_LINKS = {
    Entity.CONTACT: Entity.ACCOUNT_CONTACT_RELATION,
    Entity.OPPORTUNITY: Entity.OPPORTUNITY_ACCOUNT,
    Entity.ACTIVITY: Entity.ACTIVITY_PARTICIPANT,
}

Found = Mapping[str, Any]


class _Aside(NamedTuple):
    """An entity that came along with another: since when, and its batches."""

    since: datetime | None
    batches: list[pa.RecordBatch]


class Reader:
    """Reads over one connection."""

    def __init__(self, connection: Connection, portal: Portal, memory: Memory) -> None:
        self._connection = connection
        self._portal = portal
        self._memory = memory
        self._aside: dict[Entity, _Aside] = {}
        self._deal_ids: pa.Array | None = None

    def read(self, entity: Entity, since: datetime | None) -> Iterator[pa.RecordBatch]:
        """Give an entity's records, or those changed at or after `since` and a little before.

        Raises:
            DataError: a value that does not fit its field.
            CrmUnavailable, CrmRefused: see `Connection`.
        """
        before: datetime | None = None
        aside = self._aside.pop(entity, None)
        if aside is not None and (aside.since is None) is (since is None):
            yield from aside.batches
            if aside.since is None or since is None or aside.since <= since:
                return
            before = aside.since
        yield from self._read(entity, since, before)

    def deal_ids(self) -> Iterator[str]:
        """The ids of all deals: those that were just read or are remembered, else asked for anew."""
        known, self._deal_ids = self._deal_ids, None
        if known is None:
            began = datetime.now(UTC)
            pages = self._connection.pages(self._connection.paths.objects(DEALS.name), {"limit": PAGE, "archived": False})
            known = joined(pa.array([str(one["id"]) for one in page["results"]], pa.string()) for page in pages)
            self._memory.keep_deals(known, began)
        yield from known.to_pylist()

    def archived(self, kind: Kind, since: datetime) -> Iterator[Found]:
        """Give what was archived at or after a moment: id, archivedAt."""
        query = {"limit": PAGE, "archived": True}
        for page in self._connection.pages(self._connection.paths.objects(kind.name), query):
            for one in page["results"]:
                stamp = one.get("archivedAt")
                if stamp is None or datetime.fromisoformat(stamp) >= since:
                    yield one

    def _read(self, entity: Entity, since: datetime | None, before: datetime | None) -> Iterator[pa.RecordBatch]:
        beside, began = MADE_OF_LINKS.get(entity), datetime.now(UTC)
        aside: list[pa.RecordBatch] = []
        ids: list[pa.Array] = []
        for kind in OF_KIND[entity]:
            for some in self._bunches(kind, since, before) if self._portal.has(kind.name) else ():
                ids += [some.top("id")] if entity is Entity.OPPORTUNITY else []
                aside += self._made(beside, kind, some) if beside is not None else []
                yield from self._made(entity, kind, some)
        if beside is not None:
            self._aside[beside] = _Aside(since, aside)
        if entity is Entity.OPPORTUNITY:
            self._note_deals(joined(ids), since, began)

    def _note_deals(self, ids: pa.Array, since: datetime | None, began: datetime) -> None:
        """Know all deals: those that were read, or those that were known before as well where only changes were."""
        known = ids.slice(0, 0) if since is None else self._memory.deals(since)
        self._deal_ids = None if known is None else pc.unique(joined([known, ids]))
        if self._deal_ids is not None:
            self._memory.keep_deals(self._deal_ids, began)

    def _bunches(self, kind: Kind, since: datetime | None, before: datetime | None) -> Iterator[Bunch]:
        pages = self._listed(kind) if since is None else self._changed(kind, since, before)
        properties = [*self._asked(kind), "createdate"]
        for records in _gathered(pages):
            yield bunch(records, properties, kind.links, partial(self._linked, kind.name), tell_links=since is None)

    def _listed(self, kind: Kind) -> Iterator[Sequence[Found]]:
        query: dict[str, object] = {"limit": PAGE, "archived": False, "properties": ",".join(self._asked(kind))}
        if kind.links:
            query["associations"] = ",".join(kind.links)
        for page in self._connection.pages(self._connection.paths.objects(kind.name), query):
            yield page["results"]

    def _changed(self, kind: Kind, since: datetime, before: datetime | None) -> Iterator[Sequence[Found]]:
        """Search by the moment of change; past the ceiling, go on behind the last id."""
        span = [self._stamped(kind, "GTE", since), *([self._stamped(kind, "LT", before)] if before else [])]
        last_id: str | None = None
        while True:
            filters = [*span, *([{"propertyName": "hs_object_id", "operator": "GT", "value": last_id}] if last_id else [])]
            last_id = None
            for page, has_more in self._searched(kind, filters):
                yield page
                last_id = str(page[-1]["id"]) if has_more else None
            if last_id is None:
                return

    def _stamped(self, kind: Kind, operator: str, moment: datetime) -> dict[str, str]:
        start = moment - OVERLAP - timedelta(seconds=self._connection.options.index_lag_s)
        return {"propertyName": kind.stamp, "operator": operator, "value": str(int(start.timestamp() * 1000))}

    def _searched(self, kind: Kind, filters: Sequence[Mapping[str, str]]) -> Iterator[tuple[list[Found], bool]]:
        """The pages of one search, as far as HubSpot lets it go, each with whether there is more behind it."""
        body: dict[str, Any] = {
            "filterGroups": [{"filters": list(filters)}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": self._asked(kind),
            "limit": SEARCH_PAGE,
        }
        after: str | None = None
        for _ in range(SEARCH_CEILING // SEARCH_PAGE):
            page = self._connection.ask(
                "POST", self._connection.paths.search(kind.name), body={**body, **({"after": after} if after else {})}
            )
            after = next_page(page)
            if page["results"]:
                yield page["results"], after is not None
            if after is None:
                return

    def _asked(self, kind: Kind) -> list[str]:
        left = self._connection.options.left_property
        return [*kind.asked, *([left] if left and kind is CONTACTS else [])]

    def _linked(self, from_kind: str, to_kind: str, ids: pa.Array) -> pa.Table:
        """The links of records in batches, following pages where one record has more than an answer holds."""
        path = self._connection.paths.associations(from_kind, to_kind, "batch/read")
        links: dict[str, list[Any]] = {name: [] for name in LINKS.names}
        waiting: list[dict[str, str]] = [{"id": one} for one in ids.to_pylist()]
        while waiting:
            body = self._connection.ask("POST", path, body={"inputs": waiting[:LINKS_PER_CALL]})
            waiting = waiting[LINKS_PER_CALL:]
            _hold_whole(body)
            for result in body["results"]:
                one, others = str(result["from"]["id"]), result["to"]
                links["id"] += [one] * len(others)
                links["other"] += [str(link["toObjectId"]) for link in others]
                links["is_primary"] += [_is_primary(link) for link in others]
                if after := next_page(result):
                    waiting.append({"id": one, "after": after})
        return pa.table(links, schema=LINKS)

    def _made(self, entity: Entity, kind: Kind, some: Bunch) -> list[pa.RecordBatch]:
        """The records of an entity that are in a bunch."""
        try:
            if entity in _OF_LINKS:
                made = [_OF_LINKS[entity](kind, some)]
            else:
                made = [self._records(entity, kind, some), *([_merged(entity, some)] if kind.merges else [])]
        except pa.ArrowInvalid:
            # Arrow's message holds the value, which may be anybody's.
            raise DataError(f"{entity}: HubSpot sent a moment that is none") from None
        return [batch for batch in made if batch.num_rows]

    def _records(self, entity: Entity, kind: Kind, some: Bunch) -> pa.RecordBatch:
        columns = {name: column(some) for name, column in kind.columns.items()}
        columns |= {name: pa.repeat(text, len(some)) for name, text in kind.constants.items()}
        if kind is DEALS:
            columns |= self._judged(columns, some)
        if entity is Entity.CONTACT and (name := self._connection.options.left_property):
            columns["has_left"] = has_left(some.prop(name))
        if entity is Entity.ACTIVITY:
            columns["id"] = _activity_ids(kind, some)
        return canonical(entity, columns, len(some))

    def _judged(self, columns: Mapping[str, pa.Array], some: Bunch) -> dict[str, pa.Array]:
        """Stage, pipeline, closed and won by the stage's metadata; the day of the close in the portal's time zone."""
        known = self._portal.stages
        stages = pc.index_in(columns["stage"], value_set=pa.array(known, pa.string()))

        def told(values: Iterable[object], kind: pa.DataType) -> pa.Array:
            return pa.array(list(values), kind).take(stages)

        labels, pipelines = (told((getattr(one, name) for one in known.values()), pa.string()) for name in ("label", "pipeline"))
        closed, won = (told((getattr(one, name) for one in known.values()), pa.bool_()) for name in ("is_closed", "is_won"))
        return {
            "stage": pc.coalesce(labels, columns["stage"]),
            "record_type": pc.coalesce(pipelines, columns["record_type"]),
            "is_closed": pc.coalesce(flags(closed), some.prop("hs_is_closed")),
            "is_won": pc.coalesce(flags(won), some.prop("hs_is_closed_won")),
            "currency": pc.fill_null(columns["currency"], pa.scalar(self._connection.options.currency, pa.string())),
            "close_date": _days(columns["close_date"], self._portal.time_zone),
        }


def activity_id(kind: Kind, number: str) -> str:
    """Numbers are unique within a kind of activities only."""
    return f"{kind.constants['kind']}:{number}"


def _activity_ids(kind: Kind, some: Bunch) -> pa.Array:
    return pc.binary_join_element_wise(kind.constants["kind"], some.top("id"), ":")


def _gathered(pages: Iterable[Sequence[Found]]) -> Iterator[list[Found]]:
    """Pages, joined until a batch is worth its while; a record that comes twice counts once."""
    gathered: dict[str, Found] = {}
    for page in pages:
        gathered |= {str(one["id"]): one for one in page}
        if len(gathered) >= _ROWS_PER_BATCH:
            yield list(gathered.values())
            gathered = {}
    if gathered:
        yield list(gathered.values())


def _hold_whole(body: Mapping[str, Any]) -> None:
    """Fail where some links could not be read; that a record has none is an answer."""
    for error in body.get("errors") or ():
        if error.get("category") != _NO_LINKS:
            raise CrmUnavailable(
                f"HubSpot could not read some associations: {a_code(error.get('category'))}", hint="run it again"
            )


def _is_primary(link: Mapping[str, Any]) -> bool:
    return any(int(one["typeId"]) in _PRIMARY_IDS for one in link["associationTypes"])


def _days(moments: pa.Array, time_zone: str) -> pa.Array:
    """The day, in a time zone, of moments in UTC; a day stays what it is."""
    stamps = pc.cast(moments, pa.timestamp("us", "UTC"))
    local = pc.strftime(pc.cast(stamps, pa.timestamp("us", time_zone)), "%Y-%m-%d")
    return pc.if_else(pc.equal(pc.utf8_length(moments), _DAY_LENGTH), moments, local)


def _merged(entity: Entity, some: Bunch) -> pa.RecordBatch:
    """A row for each id that lives on in another record."""
    gone = pc.split_pattern(some.prop(MERGED), ";")
    ids, into = pc.list_flatten(gone), some.top("id").take(pc.list_parent_indices(gone))
    named = pc.not_equal(ids, "")
    return canonical(entity, {"id": ids.filter(named), "merged_into_id": into.filter(named)}, pc.sum(named).as_py() or 0)


def _participants(kind: Kind, some: Bunch) -> pa.RecordBatch:
    rows, contacts, _ = some.links["contacts"]
    activities = _activity_ids(kind, some).take(rows)
    columns = {
        "id": pc.binary_join_element_wise(activities, contacts, ":"),
        "activity_id": activities,
        "contact_id": contacts,
        "kind": participant_kinds(some, kind).take(rows),
        "modified_at": some.top("updatedAt").take(rows),
    }
    return canonical(Entity.ACTIVITY_PARTICIPANT, columns, len(rows))


def _relations(_: Kind, some: Bunch) -> pa.RecordBatch:
    """Companies of a contact besides its own."""
    rows, companies, _ = some.links["companies"]
    is_other = pc.fill_null(pc.not_equal(companies, some.prop("associatedcompanyid").take(rows)), fill_value=True)
    rows, companies = rows.filter(is_other), companies.filter(is_other)
    contacts = some.top("id").take(rows)
    columns = {
        "id": pc.binary_join_element_wise(companies, contacts, ":"),
        "account_id": companies,
        "contact_id": contacts,
        "is_direct": pa.repeat("false", len(rows)),
        "is_active": pa.repeat("true", len(rows)),
        "modified_at": some.top("updatedAt").take(rows),
    }
    return canonical(Entity.ACCOUNT_CONTACT_RELATION, columns, len(rows))


def _deal_companies(_: Kind, some: Bunch) -> pa.RecordBatch:
    rows, companies, is_primary = some.links["companies"]
    deals = some.top("id").take(rows)
    columns = {
        "id": pc.binary_join_element_wise(deals, companies, ":"),
        "opportunity_id": deals,
        "account_id": companies,
        "is_primary": flags(is_primary),
        "modified_at": some.top("updatedAt").take(rows),
    }
    return canonical(Entity.OPPORTUNITY_ACCOUNT, columns, len(rows))


_OF_LINKS = {
    Entity.ACTIVITY_PARTICIPANT: _participants,
    Entity.ACCOUNT_CONTACT_RELATION: _relations,
    Entity.OPPORTUNITY_ACCOUNT: _deal_companies,
}
