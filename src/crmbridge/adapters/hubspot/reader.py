"""Streams records out of HubSpot: pages of everything, or searches for what changed, with the links that come along.

A page holds a record and its links at once, so the entity that is made of links is set aside while the other is read, and costs
no call of its own. Searches end after 10,000 records and know no links: they go on by id, and links are looked up in batches.
Where the snapshot before is at hand, the links of all that did not change are looked up as well, and compared (`held`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.hubspot.bunch import LINKS, Bunch, bunch, linked
from crmbridge.adapters.hubspot.columns import joined
from crmbridge.adapters.hubspot.connection import next_page
from crmbridge.adapters.hubspot.failures import a_code
from crmbridge.adapters.hubspot.held import MADE_OF_LINKS, Many, held
from crmbridge.adapters.hubspot.kinds import ACTIVITIES, COMPANIES, CONTACTS, DEALS, LEADS, MERGED, Kind
from crmbridge.adapters.hubspot.pairs import pairs_of, type_keys
from crmbridge.adapters.hubspot.records import Records, whole_ids
from crmbridge.errors import CrmUnavailable, DeletionsUnknown
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.adapters.hubspot.portal import Portal
    from crmbridge.contract import EarlierRecords

PAGE, SEARCH_PAGE, LINKS_PER_CALL, RECORDS_PER_CALL = 100, 200, 1_000, 100
SEARCH_CEILING = 10_000
OVERLAP = timedelta(minutes=10)
"""How far before `since` a search begins, besides the lag of the index."""

_ROWS_PER_BATCH = 10_000
_PRIMARY = type_keys(("HUBSPOT_DEFINED", 1), ("HUBSPOT_DEFINED", 5), ("HUBSPOT_DEFINED", 578))
"""Contact to primary company, deal to primary company, lead to primary contact."""
_NOT_FOUND = "OBJECT_NOT_FOUND"
_NO_LINKS = frozenset({_NOT_FOUND, "VALIDATION_ERROR"})
"""A record has no links, or is not there: the answer is whole all the same."""

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

Found = Mapping[str, Any]


class _Aside(NamedTuple):
    """An entity that came along with another.

    Attributes:
        since: whatever changed since then; None for all.
        batches: its records.
        gone: ids that the snapshot before has and that are no more; None where that is not known.
    """

    since: datetime | None
    batches: list[pa.RecordBatch]
    gone: pa.Array | None


class Reader:
    """Reads over one connection."""

    def __init__(self, connection: Connection, portal: Portal) -> None:
        self._connection = connection
        self._portal = portal
        self._records = Records(connection.options, portal)
        self.build_on(None)

    def build_on(self, earlier: EarlierRecords | None) -> None:
        """Take the snapshot before; forget what was read so far."""
        self._earlier = earlier
        self._aside: dict[Entity, _Aside] = {}
        self._gone_ids: dict[str, set[str]] = {}
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
            # What changed before that is in the snapshot before, with its links.
            if aside.since is None or since is None or aside.gone is not None or aside.since <= since:
                return
            before = aside.since
        yield from self._read(entity, since, before)

    def deal_ids(self) -> Iterator[str]:
        """The ids of all deals: those that were just read or are known from before, else asked for anew."""
        known, self._deal_ids = self._deal_ids, None
        if known is None:
            pages = self._connection.pages(self._connection.paths.objects(DEALS.name), {"limit": PAGE, "archived": False})
            known = joined(_ids(page["results"]) for page in pages)
        yield from known.to_pylist()

    def unlinked(self, entity: Entity) -> Iterator[str]:
        """Give the links that are no more, of an entity that came along with another.

        Raises:
            DeletionsUnknown: that is not known.
        """
        aside = self._aside.get(entity)
        if aside is None or aside.gone is None:
            raise DeletionsUnknown("HubSpot does not tell which links are gone")
        yield from aside.gone.to_pylist()

    def archived(self, kind: Kind, since: datetime) -> Iterator[tuple[str, datetime | None]]:
        """Give what was archived at or after a moment, and when; with each record those that lived on in it."""
        query = {"limit": PAGE, "archived": True} | ({"properties": MERGED} if kind.merges else {})
        known = self._gone_ids.setdefault(kind.name, set())
        for page in self._connection.pages(self._connection.paths.objects(kind.name), query):
            for one in page["results"]:
                gone = [str(one["id"]), *_merged_into(one)]
                known.update(gone)
                stamp = datetime.fromisoformat(one["archivedAt"]) if one.get("archivedAt") else None
                if stamp is None or stamp >= since:
                    yield from ((number, stamp) for number in gone)

    def merged_away(self, kind: Kind, since: datetime) -> Iterator[tuple[str, str]]:
        """Give the ids that live on in another record, and that record's, of what changed at or after a moment."""
        filters = [self._stamped(kind, "GTE", since), {"propertyName": MERGED, "operator": "HAS_PROPERTY"}]
        known = self._gone_ids.setdefault(kind.name, set())
        for page in self._searched(kind, filters, [MERGED]):
            found = [(gone, str(one["id"])) for one in page for gone in _merged_into(one)]
            known |= {gone for gone, _ in found}
            yield from found

    def _read(self, entity: Entity, since: datetime | None, before: datetime | None) -> Iterator[pa.RecordBatch]:
        many = MADE_OF_LINKS.get(entity)
        aside: list[pa.RecordBatch] = []
        seen: list[pa.Array] = []
        for kind in OF_KIND[entity]:
            for some in self._bunches(kind, since, before) if self._portal.has(kind.name) else ():
                made = self._records.made(entity, kind, some)
                aside += self._records.made(many.entity, kind, some) if many is not None else []
                seen += [batch["id"] for batch in made]
                yield from made
        if many is not None:
            self._aside[many.entity] = _Aside(since, aside, self._gone(entity, many, since, joined(seen), aside))
        if entity is Entity.OPPORTUNITY:
            self._note_deals(joined(seen), since)

    def _gone(
        self, entity: Entity, many: Many, since: datetime | None, seen: pa.Array, links: Iterable[pa.RecordBatch]
    ) -> pa.Array | None:
        """The links that records had which were seen, or are gone, and that are no more."""
        if since is None or self._earlier is None:
            return None
        gone = [whole_ids(kind, self._known_gone(kind)) for kind in OF_KIND[entity]]
        before = self._earlier.columns(many.entity, "id", many.owner)
        before = before.filter(pc.is_in(before[many.owner], value_set=joined([seen, *gone])))
        return joined(before.filter(pc.invert(pc.is_in(before["id"], value_set=joined(one["id"] for one in links))))["id"].chunks)

    def _note_deals(self, seen: pa.Array, since: datetime | None) -> None:
        """Know all deals: those that were read, or those of the snapshot before as well where only changes were."""
        if since is None:
            self._deal_ids = pc.unique(seen)
        elif self._earlier is not None:
            before = self._earlier.columns(Entity.OPPORTUNITY, "id")["id"]
            there = before.filter(pc.invert(pc.is_in(before, value_set=self._known_gone(DEALS))))
            self._deal_ids = pc.unique(joined([*there.chunks, seen]))

    def _known_gone(self, kind: Kind) -> pa.Array:
        return pa.array(sorted(self._gone_ids.get(kind.name, ())), pa.string())

    def _bunches(self, kind: Kind, since: datetime | None, before: datetime | None) -> Iterator[Bunch]:
        pages = _gathered(self._listed(kind) if since is None else self._changed(kind, since, before))
        if since is not None and self._earlier is not None and kind.links and not self._connection.options.links_stay:
            yield from self._compared(self._earlier, kind, pages)
            return
        for records in pages:
            yield bunch(records, self._told(kind), kind.links, partial(self._linked, kind.name), tell_links=since is None)

    def _compared(self, earlier: EarlierRecords, kind: Kind, changed: Iterable[list[Found]]) -> Iterator[Bunch]:
        """Give what changed, and what did not but is linked otherwise.

        The last of what changed is looked up together with the first of what did not: no call goes out half empty.
        """
        known, last = [self._known_gone(kind)], list[Found]()
        for records in changed:
            if last:
                yield bunch(last, self._told(kind), kind.links, partial(self._linked, kind.name), tell_links=False)
            last = records
            known.append(_ids(records))
        ids = _ids(last)
        kinds = [name for name in kind.links if self._portal.has(name)]
        parts = held(earlier, kind, kinds, joined(known)).some(-len(ids) % LINKS_PER_CALL, _ROWS_PER_BATCH)
        for some in parts:
            found = {to_kind: self._linked(kind.name, to_kind, joined([ids, some.ids])) for to_kind in kind.links}
            if last:
                yield bunch(last, self._told(kind), kind.links, partial(_look_up, found), tell_links=False)
            last, ids = [], ids.slice(0, 0)
            differing = some.differing({to_kind: linked(links, some.ids) for to_kind, links in found.items()}).to_pylist()
            vanished = set(differing)
            for records in _gathered(self._named(kind, differing)):
                vanished -= {str(one["id"]) for one in records}
                yield bunch(records, self._told(kind), kind.links, partial(_look_up, found), tell_links=False)
            self._gone_ids.setdefault(kind.name, set()).update(vanished)
            earlier.tell_gone(f"{kind.prefix}{one}" for one in vanished)

    def _listed(self, kind: Kind) -> Iterator[Sequence[Found]]:
        query: dict[str, object] = {"limit": PAGE, "archived": False, "properties": ",".join(self._asked(kind))}
        if links := [name for name in kind.links if self._portal.has(name)]:
            query["associations"] = ",".join(links)
        for page in self._connection.pages(self._connection.paths.objects(kind.name), query):
            yield page["results"]

    def _changed(self, kind: Kind, since: datetime, before: datetime | None) -> Iterator[Sequence[Found]]:
        """Search by the moment of change."""
        span = [self._stamped(kind, "GTE", since), *([self._stamped(kind, "LT", before)] if before else [])]
        yield from self._searched(kind, span, self._asked(kind))

    def _searched(self, kind: Kind, wanted: Sequence[Mapping[str, str]], properties: Sequence[str]) -> Iterator[list[Found]]:
        """The pages of a search by id; past the ceiling, go on behind the last one."""
        last_id: str | None = None
        while True:
            filters = [*wanted, *([{"propertyName": "hs_object_id", "operator": "GT", "value": last_id}] if last_id else [])]
            last_id = None
            for page, has_more in self._as_far_as_it_goes(kind, filters, properties):
                yield page
                last_id = str(page[-1]["id"]) if has_more else None
            if last_id is None:
                return

    def _stamped(self, kind: Kind, operator: str, moment: datetime) -> dict[str, str]:
        start = moment - OVERLAP - timedelta(seconds=self._connection.options.index_lag_s)
        return {"propertyName": kind.stamp, "operator": operator, "value": str(int(start.timestamp() * 1000))}

    def _as_far_as_it_goes(
        self, kind: Kind, filters: Sequence[Mapping[str, str]], properties: Sequence[str]
    ) -> Iterator[tuple[list[Found], bool]]:
        """The pages of one search, as far as HubSpot lets it go, each with whether there is more behind it."""
        body: dict[str, Any] = {
            "filterGroups": [{"filters": list(filters)}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": list(properties),
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

    def _named(self, kind: Kind, numbers: Sequence[str]) -> Iterator[Sequence[Found]]:
        """Records by their ids; what is archived, or lives on in another, is not among them."""
        path = self._connection.paths.batch_read(kind.name)
        for begin in range(0, len(numbers), RECORDS_PER_CALL):
            asked = dict.fromkeys(numbers[begin : begin + RECORDS_PER_CALL])
            body = {"inputs": [{"id": one} for one in asked], "properties": self._asked(kind)}
            answer = self._connection.ask("POST", path, body=body)
            # Who is missing here is taken to be gone, so nothing but HubSpot's own word for it will do.
            _hold_whole(answer, "records", {_NOT_FOUND})
            yield [one for one in answer["results"] if str(one["id"]) in asked]

    def _asked(self, kind: Kind) -> list[str]:
        left = self._connection.options.left_property
        return [*kind.asked, *([left] if left and kind is CONTACTS else [])]

    def _told(self, kind: Kind) -> list[str]:
        return [*self._asked(kind), "createdate"]

    def _linked(self, from_kind: str, to_kind: str, ids: pa.Array) -> pa.Table:
        """The links of records in batches, following pages where one record has more than an answer holds."""
        if not self._portal.has(to_kind):
            return LINKS.empty_table()
        path = self._connection.paths.associations(from_kind, to_kind, "batch/read")
        links: list[pa.Table] = []
        waiting: list[dict[str, str]] = [{"id": one} for one in ids.to_pylist()]
        while waiting:
            body = self._connection.ask("POST", path, body={"inputs": waiting[:LINKS_PER_CALL]})
            waiting = waiting[LINKS_PER_CALL:]
            _hold_whole(body, "associations", _NO_LINKS)
            pairs = pairs_of(body["results"])
            links.append(pa.table([pairs.ids, pairs.others, pairs.are(_PRIMARY)], schema=LINKS))
            waiting += [
                {"id": str(result["from"]["id"]), "after": after}
                for result in body["results"]
                if "paging" in result and (after := next_page(result))
            ]
        return pa.concat_tables([LINKS.empty_table(), *links])


def _merged_into(record: Found) -> list[str]:
    """The ids that live on in a record."""
    return [one for one in ((record.get("properties") or {}).get(MERGED) or "").split(";") if one]


def _ids(records: Sequence[Found]) -> pa.Array:
    return pa.array([str(one["id"]) for one in records], pa.string())


def _look_up(found: Mapping[str, pa.Table], to_kind: str, _: pa.Array) -> pa.Table:
    return found[to_kind]


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


def _hold_whole(body: Mapping[str, Any], what: str, answers: AbstractSet[str]) -> None:
    """Fail where something could not be read; some errors are answers."""
    for error in body.get("errors") or ():
        if error.get("category") not in answers:
            raise CrmUnavailable(f"HubSpot could not read some {what}: {a_code(error.get('category'))}", hint="run it again")
