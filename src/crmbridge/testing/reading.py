"""Checks of everything an adapter reads: records, counts, changes, deletions, and roles as they are now."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crmbridge.contract import BuildsOnEarlier, Deletion, Outcome
from crmbridge.errors import CrmBridgeError
from crmbridge.model import RECORDS, ContactRole, Entity, arrow_schema
from crmbridge.testing.kept import KeptRecords
from crmbridge.testing.kit import Kit, Sandbox, expect, hold, needs, proves, put
from crmbridge.testing.worlds import World, crowded, empty, graves, odd_ids, small, unicode_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crmbridge.contract import Adapter

MOST_ROWS = 100_000
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


class ReadingChecks(Kit):
    """`read`, `count` and `read_deleted`."""

    @proves
    def test_read_schema(self) -> None:
        """`read` hands over Arrow record batches in the canonical schema, ids as text, datetimes in UTC."""
        for entity, batch in self._batches(small()):
            hold(isinstance(batch, pa.RecordBatch), f"{entity}: a {type(batch).__name__}, not a RecordBatch")
            wrong = _differences(batch.schema, arrow_schema(entity))
            hold(not wrong, f"{entity}: {wrong}")

    @proves
    def test_read_batch_sizes(self) -> None:
        """`read` gives canonical batches of 1 to 100,000 rows; nothing for an entity without records."""
        for world in (empty(), crowded(opportunities=1, contacts=self.many_rows)):
            for entity, batch in self._batches(world):
                hold(1 <= batch.num_rows <= MOST_ROWS, f"{entity}: a batch of {batch.num_rows} rows")

    @proves
    def test_read_each_record_once(self) -> None:
        """`read` gives all records, each once, under its own id."""
        sandbox = self.sandbox(small())
        for entity in self.known.entities:
            _hold_ids(entity, _rows(sandbox.open(), entity), sandbox.ids(entity))

    @proves
    def test_read_values(self) -> None:
        """`read` gives the records' own values; a field the CRM does not have is null."""
        self._hold_values(small())

    @proves
    def test_read_unicode(self) -> None:
        """`read` gives the records' own values, whatever script they are in."""
        self._hold_values(unicode_texts())

    @proves
    def test_read_odd_ids(self) -> None:
        """Ids are the CRM's own, as text: kept to the letter, however odd they look."""
        sandbox = self.sandbox(odd_ids())
        for entity in (Entity.CONTACT, Entity.OPPORTUNITY, Entity.CONTACT_ROLE):
            _hold_ids(entity, _rows(sandbox.open(), entity), sandbox.ids(entity))
        self._hold_values(odd_ids())

    @proves
    def test_read_never_ends_early(self) -> None:
        """A read that cannot finish raises: never end early in silence."""
        sandbox = self.sandbox(crowded(opportunities=1, contacts=self.many_rows))
        _hold_ids(Entity.CONTACT, _rows(sandbox.open(), Entity.CONTACT), sandbox.ids(Entity.CONTACT))

    @proves
    def test_read_entity_left_out(self) -> None:
        """An entity the CRM does not have is left out of `capabilities.entities`: `read` gives nothing or refuses."""
        left_out = sorted(set(Entity) - self.known.entities)
        needs(left_out, "capabilities.entities leaves nothing out")
        adapter = self.sandbox(small()).open()
        for entity in left_out:
            hold(_rows_or_error(adapter, entity) == 0, f"{entity} is left out, yet `read` gives rows of it")

    @proves
    def test_count(self) -> None:
        """`count`: how many records `read` will give; None where asking would cost too much."""
        for world in (empty(), graves(), crowded(opportunities=1, contacts=self.many_rows)):
            adapter = self.sandbox(world).open()
            for entity in self.known.entities:
                told, given = adapter.count(entity), len(_rows(adapter, entity))
                hold(told is None or told == given, f"{entity}: `count` says {told}, `read` gives {given}")

    @proves
    def test_read_since(self) -> None:
        """`read`: all records changed at or after `since`, and for entities in `incremental` only those."""
        sandbox = self.sandbox(small())
        for entity in self.known.entities:
            since, changed = _later_half(sandbox, entity)
            given = {row["id"] for row in _rows(sandbox.open(), entity, since)}
            hold(changed <= given, f"{entity}: {len(changed - given)} of {len(changed)} changed records are missing")
            only = entity not in self.known.incremental or given <= changed
            hold(only, f"{entity}: {len(given - changed)} records that did not change since are given")

    @proves
    def test_read_leaves_out_deleted(self) -> None:
        """Deleted records are left out; records merged into another may be given with `merged_into_id`."""
        sandbox = self.sandbox(graves())
        for entity in self.known.entities:
            gone = {record.id for record in sandbox.world[entity] if getattr(record, "is_deleted", False)}  # type: ignore[attr-defined]
            given = [row for row in _rows(sandbox.open(), entity) if row["id"] in gone and not row.get("merged_into_id")]
            hold(not given, f"{entity}: {len(given)} deleted records are given")

    @proves
    def test_read_deleted(self) -> None:
        """`read_deleted` gives what was deleted at or after `since`, or merged away, unless `read` gives it as merged."""
        entities = sorted(self.known.deletions & {Entity.CONTACT, Entity.OPPORTUNITY, Entity.CONTACT_ROLE})
        needs(entities, "capabilities.deletions names no essential entity")
        sandbox = self.sandbox(graves())
        for entity in entities:
            gone = {record.id: record for record in sandbox.world[entity] if record.is_deleted}  # type: ignore[attr-defined]
            moment = max(record.modified_at for record in gone.values())  # type: ignore[attr-defined]
            given = list(sandbox.open().read_deleted(entity, since=moment))
            merged = {row["id"] for row in _rows(sandbox.open(), entity, moment) if row.get("merged_into_id")}
            _hold_deletions(entity, given, gone, told_by_read=merged)
            later = list(sandbox.open().read_deleted(entity, since=moment + timedelta(seconds=1)))
            hold(not later, f"{entity}: {len(later)} deletions from before `since` are given")

    @proves
    def test_building_on_earlier_records(self) -> None:
        """`build_on`: with `read` and `read_deleted` by changes, the earlier records become all there are; None ends it."""
        adapter = self.sandbox(small()).open()
        if not isinstance(adapter, BuildsOnEarlier):
            needs((), "the adapter does not build on earlier records")
            return
        told, earlier = adapter.capabilities, KeptRecords()
        whole = {entity: {row["id"]: row for row in _rows(adapter, entity)} for entity in sorted(told.entities)}
        for entity in sorted(told.entities):
            earlier.keep(entity, adapter.read(entity))
        adapter.build_on(earlier)
        by_changes = adapter.capabilities.incremental & adapter.capabilities.deletions
        for entity in (one for one in Entity if one in told.entities):
            since = datetime.now(UTC) if entity in by_changes else None
            earlier.gone.clear()
            gone = {one.id for one in adapter.read_deleted(entity, since=since)} if since else set()
            changed = {row["id"]: row for row in _rows(adapter, entity, since)}
            now = {one: row for one, row in whole[entity].items() if since and one not in gone | earlier.gone} | changed
            hold(now == whole[entity], f"{entity}: built on itself, it is not what it was ({len(now)} records)")
        adapter.build_on(None)
        hold(adapter.capabilities == told, "`capabilities` stay as they were while it was built on earlier records")

    def _batches(self, world: World) -> Iterator[tuple[Entity, pa.RecordBatch]]:
        adapter = self.sandbox(world).open()
        for entity in sorted(self.known.entities):
            for batch in adapter.read(entity):
                yield entity, batch

    def _hold_values(self, world: World) -> None:
        sandbox = self.sandbox(world)
        for entity in sorted(self.known.entities):
            rows = {row.get("id"): row for row in _rows(sandbox.open(), entity)}
            pairs = [
                (record.model_dump(), rows[record.id])  # type: ignore[attr-defined]
                for record in sandbox.world[entity]
                if record.id in rows  # type: ignore[attr-defined]
            ]
            for field, info in RECORDS[entity].model_fields.items():
                _hold_column(f"{entity}.{field}", [(want[field], row.get(field)) for want, row in pairs], info.default)


class RoleReadingChecks(Kit):
    """`read_roles`."""

    @proves
    def test_read_roles(self) -> None:
        """`read_roles` gives the roles of these opportunities: all of theirs, of no others."""
        sandbox = self.sandbox(small())
        for number in (1, 2, 3):
            wanted = {
                (role.id, role.contact_id, role.role, bool(role.is_primary))
                for role in sandbox.world[Entity.CONTACT_ROLE]
                if isinstance(role, ContactRole) and role.opportunity_id == self.opportunity(number)
            }
            roles = sandbox.roles([self.opportunity(number)])
            given = {(role.id, role.contact_id, role.role, bool(role.is_primary)) for role in roles}
            hold(len(roles) == len(given), f"opportunity {number}: a role is given twice")
            hold(
                given == wanted,
                f"opportunity {number}: {len(given - wanted)} roles too many, {len(wanted - given)} missing",
            )

    @proves
    def test_read_roles_unknown_ids(self) -> None:
        """`read_roles`: unknown ids give nothing."""
        sandbox, unknown = self.sandbox(small()), self.unknown_id(Entity.OPPORTUNITY)
        hold(not sandbox.roles([unknown]), "an unknown opportunity has roles")
        hold(not sandbox.roles([]), "no opportunities at all have roles")
        both = sandbox.roles([unknown, self.opportunity(1)])
        hold(len(both) == 2, f"beside an unknown id, an opportunity with 2 roles has {len(both)}")

    @proves
    def test_read_roles_fresh(self) -> None:
        """`read_roles` gives the roles as they are now, though this adapter has read them before."""
        sandbox, opportunity = self.sandbox(small()), self.opportunity(3)
        needs(self.known.can_write, "capabilities.can_write is False")
        adapter = sandbox.open()
        hold(not list(adapter.read_roles([opportunity])), "an opportunity without roles has some")
        expect(sandbox.write_one(put(opportunity, self.contact(1))), Outcome.APPLIED)
        seen = len(list(adapter.read_roles([opportunity])))
        hold(seen == 1, f"after another adapter added a role, {seen} roles are given")

    @proves
    def test_read_roles_odd_ids(self) -> None:
        """`read_roles` gives the roles of these opportunities, to the letter of their ids."""
        sandbox = self.sandbox(odd_ids())
        for opportunity in sandbox.ids(Entity.OPPORTUNITY):
            given = [role.contact_id for role in sandbox.roles([opportunity])]
            alike = self._contact_of(sandbox, opportunity)
            hold(given == [alike], f"opportunity {opportunity!r}: {len(given)} roles, not one of the contact {alike!r}")

    def _contact_of(self, sandbox: Sandbox, opportunity_id: str) -> str:
        (contact,) = (
            role.contact_id
            for role in sandbox.world[Entity.CONTACT_ROLE]
            if isinstance(role, ContactRole) and role.opportunity_id == opportunity_id
        )
        return contact


def _rows(adapter: Adapter, entity: Entity, since: datetime | None = None) -> list[Row]:
    return [row for batch in adapter.read(entity, since=since) for row in batch.to_pylist()]


def _rows_or_error(adapter: Adapter, entity: Entity) -> int:
    """Count the rows; an error of crmbridge counts as none, any other is a finding."""
    try:
        return len(_rows(adapter, entity))
    except CrmBridgeError:
        return 0
    except Exception as error:  # noqa: BLE001 (any other error is the finding)
        raise AssertionError(f"{entity}: `read` raised {type(error).__name__}, not a CrmBridgeError") from None


def _differences(given: pa.Schema, wanted: pa.Schema) -> str:
    if given.names != wanted.names:
        return f"the columns are {', '.join(given.names)}, not {', '.join(wanted.names)}"
    wrong = [f"`{a.name}` is {a.type}, not {b.type}" for a, b in zip(given, wanted, strict=True) if a.type != b.type]
    return "; ".join(wrong)


def _hold_ids(entity: Entity, rows: list[Row], wanted: list[str]) -> None:
    given = Counter(row.get("id") for row in rows)
    hold(None not in given, f"{entity}: {given[None]} rows have no id")
    twice = [identifier for identifier, times in given.items() if times > 1]
    hold(not twice, f"{entity}: {len(twice)} ids are given more than once, such as {twice[:1]}")
    missing, beyond = set(wanted) - set(given), set(given) - set(wanted)
    hold(not missing, f"{entity}: {len(missing)} of {len(wanted)} records are missing, such as {sorted(missing)[:1]}")
    hold(
        not beyond,
        f"{entity}: {len(beyond)} ids are given that the CRM does not hold, such as {sorted(beyond, key=str)[:1]}",
    )


def _hold_column(column: str, pairs: list[tuple[object, object]], silent: object) -> None:
    """Fail unless every value is right, or every one says nothing (the CRM does not have the field)."""
    if all(given == silent or given is None or given is False for _, given in pairs):
        return
    wrong = [(wanted, given) for wanted, given in pairs if given != wanted and (wanted or given)]
    if wrong:
        wanted, given = wrong[0]
        raise AssertionError(f"{column}: {len(wrong)} of {len(pairs)} values are wrong, such as {given!r} for {wanted!r}")


def _later_half(sandbox: Sandbox, entity: Entity) -> tuple[datetime, set[str]]:
    """A moment at which a record changed, and the ids of all that changed then or later, or nobody knows when."""
    moments: dict[str, datetime | None] = {record.id: record.modified_at for record in sandbox.world[entity]}  # type: ignore[attr-defined]
    known = sorted(moment for moment in moments.values() if moment is not None)
    since = known[len(known) // 2] if known else _LONG_AGO
    return since, {identifier for identifier, moment in moments.items() if moment is None or moment >= since}


def _hold_deletions(entity: Entity, given: Iterable[Deletion], gone: dict[str, Any], *, told_by_read: set[str]) -> None:
    deletions = {deletion.id: deletion for deletion in given}
    is_whole = gone.keys() - told_by_read <= deletions.keys() <= gone.keys()
    hold(is_whole, f"{entity}: {len(deletions)} deletions given, {len(gone)} records are gone")
    for identifier, deletion in deletions.items():
        master = getattr(gone[identifier], "merged_into_id", None)
        told = deletion.merged_into_id
        hold(told in (None, master), f"{entity} {identifier!r}: merged into {told!r}, not {master!r}")
