"""Streams records out of HubSpot: pages of everything, or searches for what changed, with the links that come along.

A page holds a record and its links at once, so the entity that is made of links is set aside while the other is read, and costs
no call of its own. Searches end after 10,000 records and know no links: they go on by id, and links are looked up in batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

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
    has_left,
    participant_kind,
)
from crmbridge.errors import CrmUnavailable
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.adapters.hubspot.portal import Portal

PAGE, SEARCH_PAGE, LINKS_PER_CALL = 100, 200, 1_000
SEARCH_CEILING = 10_000
OVERLAP = timedelta(minutes=10)
"""How far before `since` a search begins, besides the lag of the index."""

_ROWS_PER_BATCH = 10_000
_PRIMARY_TYPES = frozenset({"deal_to_company", "contact_to_company"})
_PRIMARY_IDS = frozenset({1, 5})
"""Contact to primary company, deal to primary company."""
_NO_LINKS = "OBJECT_NOT_FOUND"

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

Found = dict[str, Any]


class Reader:
    """Reads over one connection."""

    def __init__(self, connection: Connection, portal: Portal) -> None:
        self._connection = connection
        self._portal = portal
        self._aside: dict[tuple[Entity, datetime | None], list[pa.RecordBatch]] = {}
        self._deal_ids: pa.ChunkedArray | None = None

    def read(self, entity: Entity, since: datetime | None) -> Iterator[pa.RecordBatch]:
        """Give an entity's records, or those changed at or after `since` and a little before.

        Raises:
            DataError: a value that does not fit its field.
            CrmUnavailable, CrmRefused: see `Connection`.
        """
        aside = self._aside.pop((entity, since), None)
        if aside is not None:
            yield from aside
            return
        beside = MADE_OF_LINKS.get(entity)
        kept: list[pa.RecordBatch] = []
        ids: list[pa.Array] = []
        for kind in OF_KIND[entity]:
            if not self._portal.has(kind.name):
                continue
            for records in _gathered(self._records(kind, since)):
                batch = self._made(entity, kind, records)
                if entity is Entity.OPPORTUNITY and since is None:
                    ids.append(pa.array([str(one["id"]) for one in records], pa.string()))
                if beside is not None:
                    kept.append(self._made(beside, kind, records))
                if batch.num_rows:
                    yield batch
        if beside is not None:
            self._aside[beside, since] = [batch for batch in kept if batch.num_rows]
        if entity is Entity.OPPORTUNITY and since is None:
            self._deal_ids = pa.chunked_array(ids, pa.string())

    def deal_ids(self) -> Iterator[str]:
        """The ids of all deals: those that were just read, else asked for anew."""
        known, self._deal_ids = self._deal_ids, None
        if known is not None:
            yield from known.to_pylist()
            return
        for page in self._connection.pages(self._connection.paths.objects(DEALS.name), {"limit": PAGE, "archived": False}):
            yield from (str(one["id"]) for one in page["results"])

    def archived(self, kind: Kind, since: datetime) -> Iterator[Found]:
        """Give what was archived at or after a moment: id, archivedAt."""
        query = {"limit": PAGE, "archived": True}
        for page in self._connection.pages(self._connection.paths.objects(kind.name), query):
            for one in page["results"]:
                stamp = one.get("archivedAt")
                if stamp is None or datetime.fromisoformat(stamp) >= since:
                    yield one

    def _records(self, kind: Kind, since: datetime | None) -> Iterator[Sequence[Found]]:
        if since is None:
            yield from self._listed(kind)
        else:
            yield from self._changed(kind, since)

    def _listed(self, kind: Kind) -> Iterator[Sequence[Found]]:
        query: dict[str, object] = {"limit": PAGE, "archived": False, "properties": ",".join(self._asked(kind))}
        if kind.links:
            query["associations"] = ",".join(kind.links)
        for page in self._connection.pages(self._connection.paths.objects(kind.name), query):
            records = page["results"]
            for one in records:
                one["links"], unfinished = _links(one.get("associations") or {})
                for to_kind in unfinished:
                    one["links"][to_kind] = self._linked(kind.name, to_kind, [str(one["id"])]).get(str(one["id"]), [])
            yield records

    def _changed(self, kind: Kind, since: datetime) -> Iterator[Sequence[Found]]:
        """Search by the moment of change; past the ceiling, go on behind the last id."""
        start = since - OVERLAP - timedelta(seconds=self._connection.options.index_lag_s)
        changed = {"propertyName": kind.stamp, "operator": "GTE", "value": str(int(start.timestamp() * 1000))}
        last_id: str | None = None
        while True:
            filters = [changed]
            if last_id is not None:
                filters.append({"propertyName": "hs_object_id", "operator": "GT", "value": last_id})
            given, last_id = 0, None
            for page in self._searched(kind, filters):
                self._look_up(kind, page)
                yield page
                given += len(page)
                last_id = str(page[-1]["id"])
            if given < SEARCH_CEILING or last_id is None:
                return

    def _searched(self, kind: Kind, filters: Sequence[Mapping[str, str]]) -> Iterator[list[Found]]:
        """The pages of one search, as far as HubSpot lets it go."""
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
            if page["results"]:
                yield page["results"]
            after = next_page(page)
            if after is None:
                return

    def _asked(self, kind: Kind) -> list[str]:
        left = self._connection.options.left_property
        return [*kind.asked, *([left] if left and kind is CONTACTS else [])]

    def _look_up(self, kind: Kind, records: Sequence[Found]) -> None:
        ids = [str(one["id"]) for one in records]
        by_kind = {to_kind: self._linked(kind.name, to_kind, ids) for to_kind in kind.links}
        for one in records:
            one["links"] = {to_kind: found.get(str(one["id"]), []) for to_kind, found in by_kind.items()}

    def _linked(self, from_kind: str, to_kind: str, ids: Sequence[str]) -> dict[str, list[tuple[str, bool]]]:
        """The links of records in batches, following pages where one record has more than an answer holds."""
        path = self._connection.paths.associations(from_kind, to_kind, "batch/read")
        found: dict[str, dict[str, bool]] = defaultdict(dict)
        waiting: list[dict[str, str]] = [{"id": one} for one in ids]
        while waiting:
            body = self._connection.ask("POST", path, body={"inputs": waiting[:LINKS_PER_CALL]})
            waiting = waiting[LINKS_PER_CALL:]
            _hold_whole(body)
            for result in body["results"]:
                links = found[str(result["from"]["id"])]
                for one in result["to"]:
                    other = str(one["toObjectId"])
                    links[other] = links.get(other, False) or any(
                        int(t["typeId"]) in _PRIMARY_IDS for t in one["associationTypes"]
                    )
                if after := next_page(result):
                    waiting.append({"id": str(result["from"]["id"]), "after": after})
        return {one: sorted(links.items(), key=lambda link: (len(link[0]), link[0])) for one, links in found.items()}

    def _made(self, entity: Entity, kind: Kind, records: Sequence[Found]) -> pa.RecordBatch:
        if entity is Entity.ACTIVITY_PARTICIPANT:
            return _participants(kind, records)
        if entity is Entity.ACCOUNT_CONTACT_RELATION:
            return _relations(records)
        if entity is Entity.OPPORTUNITY_ACCOUNT:
            return _deal_companies(records)
        texts = {name: [column(one) for one in records] for name, column in kind.columns.items()}
        texts |= {name: [text] * len(records) for name, text in kind.constants.items()}
        if kind is DEALS:
            texts |= self._judged(texts, records)
        if entity is Entity.CONTACT and (name := self._connection.options.left_property):
            texts["has_left"] = [has_left(one["properties"].get(name)) for one in records]
        if entity is Entity.ACTIVITY:
            texts["id"] = [activity_id(kind, one) for one in records]
        if kind.merges:
            _add_merged(texts, records)
        return canonical(entity, texts, len(texts["id"]))

    def _judged(self, texts: Mapping[str, list[str | None]], records: Sequence[Found]) -> dict[str, list[str | None]]:
        """Stage, pipeline, closed and won by the stage's metadata; the day of the close in the portal's time zone."""
        stages = [self._portal.stages.get(stage or "") for stage in texts["stage"]]
        properties = [one["properties"] for one in records]
        closed = [
            _flag(s.is_closed) if s else given.get("hs_is_closed") or None for s, given in zip(stages, properties, strict=True)
        ]
        won = [
            _flag(s.is_won) if s else given.get("hs_is_closed_won") or None for s, given in zip(stages, properties, strict=True)
        ]
        home = self._connection.options.currency
        return {
            "stage": [s.label if s else text for s, text in zip(stages, texts["stage"], strict=True)],
            "record_type": [s.pipeline if s else text for s, text in zip(stages, texts["record_type"], strict=True)],
            "is_closed": closed,
            "is_won": won,
            "currency": [text or home for text in texts["currency"]],
            "close_date": _days(texts["close_date"], self._portal.time_zone),
        }


def activity_id(kind: Kind, found: Mapping[str, Any]) -> str:
    """Numbers are unique within a kind of activities only."""
    return f"{kind.constants['kind']}:{found['id']}"


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


def _links(told: Mapping[str, Any]) -> tuple[dict[str, list[tuple[str, bool]]], list[str]]:
    """Links as a listing tells them, an id once for each of its types; and the kinds of which there are more."""
    found: dict[str, list[tuple[str, bool]]] = {}
    unfinished = []
    for to_kind, some in told.items():
        links: dict[str, bool] = {}
        for one in some.get("results") or ():
            links[str(one["id"])] = links.get(str(one["id"]), False) or one.get("type") in _PRIMARY_TYPES
        found[to_kind] = sorted(links.items(), key=lambda link: (len(link[0]), link[0]))
        if next_page(some) is not None:
            unfinished.append(to_kind)
    return found, unfinished


def _hold_whole(body: Mapping[str, Any]) -> None:
    """Fail where some links could not be read; that a record has none is an answer."""
    for error in body.get("errors") or ():
        if error.get("category") != _NO_LINKS:
            raise CrmUnavailable(
                f"HubSpot could not read some associations: {a_code(error.get('category'))}", hint="run it again"
            )


def _flag(value: bool) -> str:  # noqa: FBT001 - one value, not a switch
    return "true" if value else "false"


def _days(moments: Sequence[str | None], time_zone: str) -> list[str | None]:
    """The day, in a time zone, of moments in UTC; a day stays what it is."""
    stamps = pc.cast(pa.array(moments, pa.string()), pa.timestamp("us", "UTC"))
    local = pc.strftime(pc.cast(stamps, pa.timestamp("us", time_zone)), "%Y-%m-%d")
    return [moment if moment is None or len(moment) == len("2024-01-31") else day
            for moment, day in zip(moments, local.to_pylist(), strict=True)]  # fmt: skip


def _add_merged(texts: dict[str, list[str | None]], records: Sequence[Found]) -> None:
    """A row for each id that lives on in another record."""
    gone = [(old, str(one["id"])) for one in records for old in (one["properties"].get(MERGED) or "").split(";") if old]
    texts["merged_into_id"] = [None] * len(records)
    for name, values in texts.items():
        if name == "id":
            values.extend(old for old, _ in gone)
        elif name == "merged_into_id":
            values.extend(into for _, into in gone)
        else:
            values.extend([None] * len(gone))


def _participants(kind: Kind, records: Sequence[Found]) -> pa.RecordBatch:
    rows = [
        (activity_id(kind, one), contact, participant_kind(one, kind), one.get("updatedAt"))
        for one in records
        for contact, _ in one["links"].get("contacts", ())
    ]
    texts = {
        "id": [f"{activity}:{contact}" for activity, contact, _, _ in rows],
        "activity_id": [row[0] for row in rows],
        "contact_id": [row[1] for row in rows],
        "kind": [row[2] for row in rows],
        "modified_at": [row[3] for row in rows],
    }
    return canonical(Entity.ACTIVITY_PARTICIPANT, texts, len(rows))


def _relations(records: Sequence[Found]) -> pa.RecordBatch:
    """Companies of a contact besides its own."""
    rows = [
        (str(one["id"]), company, one.get("updatedAt"))
        for one in records
        for company, _ in one["links"].get("companies", ())
        if company != one["properties"].get("associatedcompanyid")
    ]
    texts = {
        "id": [f"{company}:{contact}" for contact, company, _ in rows],
        "account_id": [row[1] for row in rows],
        "contact_id": [row[0] for row in rows],
        "is_direct": ["false"] * len(rows),
        "is_active": ["true"] * len(rows),
        "modified_at": [row[2] for row in rows],
    }
    return canonical(Entity.ACCOUNT_CONTACT_RELATION, texts, len(rows))


def _deal_companies(records: Sequence[Found]) -> pa.RecordBatch:
    rows = [
        (str(one["id"]), company, is_primary, one.get("updatedAt"))
        for one in records
        for company, is_primary in one["links"].get("companies", ())
    ]
    texts = {
        "id": [f"{deal}:{company}" for deal, company, _, _ in rows],
        "opportunity_id": [row[0] for row in rows],
        "account_id": [row[1] for row in rows],
        "is_primary": [_flag(row[2]) for row in rows],
        "modified_at": [row[3] for row in rows],
    }
    return canonical(Entity.OPPORTUNITY_ACCOUNT, texts, len(rows))
