"""The pull: every entity of a CRM into a new file that replaces the old snapshot only when it is whole.

An entity is read in full, or, where the CRM tells what changed and what was deleted, from the earlier snapshot onwards
(`crmbridge.snapshot.earlier`). Persons, resolved records and findings are worked out anew each time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import pyarrow as pa

from crmbridge.contract import BuildsOnEarlier
from crmbridge.errors import DataError, DeletionsUnknown, SettingsError
from crmbridge.model import ESSENTIAL, Entity, arrow_schema
from crmbridge.snapshot.earlier import Earlier, Mark, Source, WhyFull, find_earlier
from crmbridge.snapshot.findings import Finding, drop_duplicates, find, store_findings
from crmbridge.snapshot.intake import take_in
from crmbridge.snapshot.resolve import create_crm_tables, resolve
from crmbridge.snapshot.store import MEMORY_LIMIT, SCHEMA_VERSION, attach, connect, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crmbridge.contract import Adapter

FULL_AFTER_DAYS = 30
"""How long an entity goes on being read by its changes; then it is read in full once, against whatever they never told."""

_SLOW_COMPRESSION = "dictionary,dict_fsst,roaring,zstd"
"""Not tried for the CRM's own records, which are read seldom: a third less work per insert, a file a third larger."""


@dataclass(frozen=True)
class EntityStarted:
    """An entity is about to be read; `total` is None where the adapter cannot say, or only changes are read."""

    entity: Entity
    total: int | None


@dataclass(frozen=True)
class RowsRead:
    """So many rows of an entity have arrived so far."""

    entity: Entity
    rows: int


@dataclass(frozen=True)
class EntityDone:
    """An entity is complete; `rows` records are kept."""

    entity: Entity
    rows: int


@dataclass(frozen=True)
class Resolving:
    """Everything is read; `stage` names the step that begins."""

    stage: str


@dataclass(frozen=True)
class PullDone:
    """The new snapshot is in place."""

    summary: PullSummary


PullEvent = EntityStarted | RowsRead | EntityDone | Resolving | PullDone


@dataclass(frozen=True)
class EntityRead:
    """How an entity was read.

    Attributes:
        why_full: None where only changes were read.
        changed: records that the CRM gave; within the overlap of two pulls they may be as before.
        deleted: records of the earlier snapshot that went; 0 where the entity was read in full.
    """

    why_full: WhyFull | None
    changed: int
    deleted: int


@dataclass(frozen=True)
class PullSummary:
    """What a pull brought.

    Attributes:
        rows: records kept per entity that the CRM has.
        reads: how each of them was read.
        findings: what is wrong with the data, sorted by code, entity and field.
    """

    path: Path
    snapshot_id: str
    fingerprint: str
    rows: dict[Entity, int]
    reads: dict[Entity, EntityRead]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Loaded:
    """An entity in its new table."""

    rows: int
    read: EntityRead
    mark: Mark
    duplicates: Finding | None


def pull(
    adapter: Adapter,
    path: Path,
    *,
    time_zone: str = "UTC",
    as_of: datetime,
    previous: Path | None = None,
    source_id: str = "",
    full_after_days: int = FULL_AFTER_DAYS,
    progress: Callable[[PullEvent], None] | None = None,
    memory_limit: str = MEMORY_LIMIT,
    threads: int | None = None,
) -> PullSummary:
    """Read every entity the adapter has and put a complete snapshot in place of `path`, or leave everything as it was.

    The new file grows in the private folder `path + ".new"`, which a failure removes (and the next pull, after a kill).

    Args:
        adapter: read once per entity, in the model's order, by this thread.
        path: the snapshot's file; its folder is made (0700) where it is missing.
        time_zone: the organisation's, an IANA name such as Europe/Berlin: what a close date means.
        as_of: aware; the present moment. Later dates are findings.
        previous: an earlier snapshot, usually `path` itself, to read only changes where that is enough; None reads everything.
        source_id: tells one CRM, opened in one way, from another; a snapshot with another id is not built on.
        full_after_days: an entity that was last read in full so long ago is read in full again.
        progress: called with small events, from this thread.
        memory_limit: what DuckDB may use before it spills to disk.
        threads: None for one per core.

    Raises:
        SettingsError: unknown time zone.
        DataError: naive `as_of`; wrong columns or types; null or blank required values; an essential entity missing.
        WorkspaceError: the disk is full or the folder cannot be written.
        CrmBridgeError: whatever the adapter raises, unchanged.
    """
    zone = _zone(time_zone)
    if as_of.utcoffset() is None:
        raise DataError(f"as_of is naive: {as_of.isoformat()}; give it a time zone")
    entities = _entities(adapter)
    notify = progress or _nobody_listens
    source = Source(adapter.name, time_zone, _identified(adapter, source_id))
    with _work_folder(path) as work:
        connection = connect(work / "spill", memory_limit=memory_limit, threads=threads)
        try:
            with storage_errors(path):
                attach(connection, work / path.name, mode="READ_WRITE")
                create_crm_tables(connection)
                connection.execute(f"SET disabled_compression_methods = '{_SLOW_COMPRESSION}'")
            earlier = find_earlier(connection, previous, source=source, as_of=as_of)
            full_before = as_of - timedelta(days=full_after_days)
            loading = _Loading(connection, adapter, path, as_of, earlier, full_before, notify)
            with _built_on(adapter, earlier, full_before):
                loaded = {entity: loading.load(entity) for entity in Entity if entity in entities}
            duplicates = [one.duplicates for one in loaded.values() if one.duplicates]
            with storage_errors(path):
                if isinstance(earlier, Earlier):
                    earlier.close()
                connection.execute("RESET disabled_compression_methods")
                resolve(connection, entities=entities, zone=zone, stage=lambda name: notify(Resolving(name)))
                notify(Resolving("findings"))
                findings = find(connection, entities=entities, as_of=as_of, zone=zone, found=duplicates)
                summary = _seal(connection, adapter, loaded, source, as_of, path, findings)
        finally:
            connection.close()
        with storage_errors(path):
            (work / path.name).chmod(0o600)
            (work / path.name).replace(path)
    notify(PullDone(summary))
    return summary


def _nobody_listens(_: PullEvent) -> None:
    """Where nobody listens, no total is asked for: it may cost a call."""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"unknown time zone {name!r}", hint="use an IANA name such as Europe/Berlin or UTC") from None


def _entities(adapter: Adapter) -> frozenset[Entity]:
    entities = adapter.capabilities.entities
    if missing := sorted(ESSENTIAL - entities):
        raise DataError(f"adapter {adapter.name!r} does not read {', '.join(missing)}; nothing can be found without them")
    return entities


def _identified(adapter: Adapter, source_id: str) -> str:
    """Add to the source what the CRM calls itself, where the adapter tells: settings may stay while the login leads elsewhere."""
    if not isinstance(adapter, BuildsOnEarlier):
        return source_id
    identity = adapter.identity()
    # A CRM without a name of its own is another one every time.
    return hashlib.sha256(json.dumps([source_id, identity or uuid.uuid4().hex]).encode()).hexdigest()


@contextmanager
def _built_on(adapter: Adapter, earlier: Earlier | WhyFull, full_before: datetime) -> Iterator[None]:
    """Let the adapter see the earlier snapshot while it is read, where it wants to; nothing of it where anything is due."""
    if not isinstance(adapter, BuildsOnEarlier):
        yield
        return
    try:
        adapter.build_on(earlier if isinstance(earlier, Earlier) and not earlier.is_due(full_before) else None)
        yield
    finally:
        adapter.build_on(None)


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """A private folder beside `path`, new and empty; gone afterwards, whatever happens."""
    work = path.with_name(path.name + ".new")
    with storage_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True)
class _Loading:
    """Fills the tables of the schema `crm`, one entity after the other."""

    connection: duckdb.DuckDBPyConnection
    adapter: Adapter
    path: Path
    as_of: datetime
    earlier: Earlier | WhyFull
    full_before: datetime
    notify: Callable[[PullEvent], None]

    def load(self, entity: Entity) -> _Loaded:
        """Read one entity into its table: its changes where they are enough, else all of it."""
        loaded = self._by_changes(entity, self.earlier) if isinstance(self.earlier, Earlier) else self.earlier
        if isinstance(loaded, WhyFull):
            loaded = self._in_full(entity, loaded)
        self.notify(EntityDone(entity, loaded.rows))
        return loaded

    def _by_changes(self, entity: Entity, earlier: Earlier) -> _Loaded | WhyFull:
        why = earlier.why_full(entity, self.adapter.capabilities, full_before=self.full_before)
        if why is not None:
            return why
        since = earlier.since(entity)
        try:
            # Before the changes: what is deleted and made again between the two reads then stands, and is no loss.
            earlier.note_gone(self.adapter.read_deleted(entity, since=since))
        except DeletionsUnknown:
            return WhyFull.FORGOTTEN
        self.notify(EntityStarted(entity, None))
        changed = self._take_in(entity, since)
        with storage_errors(self.path):
            # A record that changes while it is read may come twice; that is no finding, and the later one is kept.
            double = drop_duplicates(self.connection, entity) if changed else None
        stay, deleted = earlier.weigh(entity)
        rows = changed - (double.count if double else 0) + stay
        if self.adapter.count(entity) not in (None, rows):
            self.connection.execute(f"TRUNCATE crm.{entity}")
            return WhyFull.MISCOUNT
        earlier.carry_over(entity)
        mark = Mark(self.as_of, earlier.marks[entity].full_at)
        return _Loaded(rows, EntityRead(None, changed, deleted), mark, None)

    def _in_full(self, entity: Entity, why: WhyFull) -> _Loaded:
        self.notify(EntityStarted(entity, None if self.notify is _nobody_listens else self.adapter.count(entity)))
        rows = self._take_in(entity, None)
        with storage_errors(self.path):
            duplicates = drop_duplicates(self.connection, entity) if rows else None
        kept = rows - (duplicates.count if duplicates else 0)
        return _Loaded(kept, EntityRead(why, rows, 0), Mark(self.as_of, self.as_of), duplicates)

    def _take_in(self, entity: Entity, since: datetime | None) -> int:
        batches = self.adapter.read(entity, since=since)
        return take_in(self.connection, entity, batches, path=self.path, told=lambda rows: self.notify(RowsRead(entity, rows)))


def _seal(
    connection: duckdb.DuckDBPyConnection,
    adapter: Adapter,
    loaded: dict[Entity, _Loaded],
    source: Source,
    as_of: datetime,
    path: Path,
    findings: tuple[Finding, ...],
) -> PullSummary:
    """Write the schema `meta` and let go of the file, which flushes it."""
    snapshot_id = uuid.uuid4().hex
    connection.begin()
    connection.execute("CREATE SCHEMA meta")
    fingerprint = _store_entities(connection, loaded)
    store_findings(connection, findings)
    connection.execute(
        "CREATE TABLE meta.snapshot AS SELECT $1::INT AS schema_version, $2::TEXT AS snapshot_id, $3::TEXT AS fingerprint, "
        "$4::TEXT AS adapter, $5::TIMESTAMPTZ AS as_of, $6::TEXT AS time_zone, $7::TEXT AS source_id, "
        "$8::TEXT[] AS role_names, $9::BOOLEAN AS has_primary",
        [SCHEMA_VERSION, snapshot_id, fingerprint, source.adapter, as_of, source.time_zone, source.source_id, *_offers(adapter)],
    )
    connection.commit()
    connection.execute("USE memory")
    connection.execute("DETACH snapshot")
    rows = {entity: one.rows for entity, one in loaded.items()}
    return PullSummary(path, snapshot_id, fingerprint, rows, {entity: one.read for entity, one in loaded.items()}, findings)


def _offers(adapter: Adapter) -> tuple[list[str], bool]:
    """What a plan must know of the CRM: kept, so that planning needs no connection."""
    capabilities = adapter.capabilities
    return list(capabilities.role_names), capabilities.has_primary


_ENTITIES = pa.schema(
    [
        ("entity", pa.string()),
        ("is_present", pa.bool_()),
        ("records", pa.int64()),
        ("checksum", pa.string()),
        ("current_at", pa.timestamp("us", "UTC")),
        ("full_at", pa.timestamp("us", "UTC")),
    ]
)
"""How much of each entity there is, and how far it was read (`Mark`); null for what the CRM does not have."""


def _store_entities(connection: duckdb.DuckDBPyConnection, loaded: dict[Entity, _Loaded]) -> str:
    """Count and fingerprint every table: the sum of its rows' hashes, which no order of rows can change."""
    kept: list[dict[str, object]] = []
    for entity in Entity:
        one = loaded.get(entity)
        records, checksum = _told_apart(connection, entity) if one is not None and one.rows else (0, "0")
        mark = asdict(one.mark) if one is not None else {}
        kept.append({"entity": entity, "is_present": one is not None, "records": records, "checksum": checksum, **mark})
    connection.register("kept", pa.Table.from_pylist(kept, schema=_ENTITIES))
    connection.execute("CREATE TABLE meta.entities AS FROM kept")
    connection.unregister("kept")
    digest = hashlib.sha256("".join(f"{k['entity']} {k['records']} {k['checksum']}\n" for k in kept).encode())
    return digest.hexdigest()


def _told_apart(connection: duckdb.DuckDBPyConnection, entity: Entity) -> tuple[int, str]:
    """How many rows a table has, and the sum of their hashes."""
    columns = ", ".join(f'"{name}"' for name in arrow_schema(entity).names)
    return connection.execute(f"SELECT count(*), coalesce(sum(hash({columns})), 0)::TEXT FROM crm.{entity}").fetchone() or (
        0,
        "0",
    )
