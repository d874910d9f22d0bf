"""The full pull: every entity of a CRM into a new file that replaces the old snapshot only when it is whole."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.errors import DataError, SettingsError
from crmbridge.model import ESSENTIAL, Entity, arrow_schema
from crmbridge.snapshot.findings import Finding, drop_duplicates, find, store_findings
from crmbridge.snapshot.resolve import create_crm_tables, resolve
from crmbridge.snapshot.store import MEMORY_LIMIT, SCHEMA_VERSION, attach, connect, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from crmbridge.contract import Adapter

_ROWS_PER_INSERT = 250_000
_BYTES_PER_INSERT = 64 << 20

_SLOW_COMPRESSION = "dictionary,dict_fsst,roaring,zstd"
"""Not tried for the CRM's own records, which are read seldom: a third less work per insert, a file a third larger."""


@dataclass(frozen=True)
class EntityStarted:
    """An entity is about to be read; `total` is None where the adapter cannot say."""

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
class PullSummary:
    """What a pull brought.

    Attributes:
        rows: records kept per entity that the CRM has.
        findings: what is wrong with the data, sorted by code, entity and field.
    """

    path: Path
    snapshot_id: str
    fingerprint: str
    rows: dict[Entity, int]
    findings: tuple[Finding, ...]


def pull(
    adapter: Adapter,
    path: Path,
    *,
    time_zone: str = "UTC",
    as_of: datetime,
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
    with _work_folder(path) as work:
        connection = connect(work / "spill", memory_limit=memory_limit, threads=threads)
        try:
            with storage_errors(path):
                attach(connection, work / path.name, mode="READ_WRITE")
                create_crm_tables(connection)
                connection.execute(f"SET disabled_compression_methods = '{_SLOW_COMPRESSION}'")
            duplicates = [_load(connection, adapter, entity, path, notify) for entity in Entity if entity in entities]
            with storage_errors(path):
                connection.execute("RESET disabled_compression_methods")
                resolve(connection, entities=entities, zone=zone, stage=lambda name: notify(Resolving(name)))
                notify(Resolving("findings"))
                findings = find(connection, entities=entities, as_of=as_of, zone=zone, found=filter(None, duplicates))
                summary = _seal(connection, adapter, entities, time_zone, as_of, path, findings)
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


def _load(
    connection: duckdb.DuckDBPyConnection,
    adapter: Adapter,
    entity: Entity,
    path: Path,
    notify: Callable[[PullEvent], None],
) -> Finding | None:
    """Read one entity into its table; return the finding of its duplicate ids, if there are any."""
    notify(EntityStarted(entity, None if notify is _nobody_listens else adapter.count(entity)))
    rows = 0
    for table in _gathered(_checked(adapter, entity), arrow_schema(entity)):
        with storage_errors(path):
            _insert(connection, entity, table)
        rows += len(table)
        notify(RowsRead(entity, rows))
    with storage_errors(path):
        duplicate = drop_duplicates(connection, entity) if rows else None
    notify(EntityDone(entity, rows - (duplicate.count if duplicate else 0)))
    return duplicate


def _checked(adapter: Adapter, entity: Entity) -> Iterator[pa.RecordBatch]:
    wanted = arrow_schema(entity)
    for number, batch in enumerate(adapter.read(entity), start=1):
        _check_columns(entity, batch.schema, wanted)
        _check_required(entity, batch, wanted, number)
        yield batch.select(wanted.names)


def _check_columns(entity: Entity, got: pa.Schema, wanted: pa.Schema) -> None:
    missing = [name for name in wanted.names if name not in got.names]
    unknown = [name for name in got.names if name not in wanted.names]
    if missing or unknown or len(got.names) != len(wanted.names):
        raise DataError(
            f"{entity}: columns do not match the canonical schema; missing: {missing or 'none'}, "
            f"unknown: {unknown or 'none'}, got {len(got.names)} columns, wanted {len(wanted.names)}",
            hint=f"compare with crmbridge.model.arrow_schema({str(entity)!r})",
        )
    for field in wanted:
        if (type_ := got.field(field.name).type) != field.type:
            raise DataError(f"{entity}.{field.name}: got type {type_}, wanted {field.type}")


def _check_required(entity: Entity, batch: pa.RecordBatch, wanted: pa.Schema, number: int) -> None:
    for field in wanted:
        if field.nullable:
            continue
        column = batch.column(field.name)
        blanks = pc.sum(pc.equal(column, "")).as_py() if pa.types.is_string(column.type) else 0
        bad = column.null_count + (blanks or 0)
        if bad:
            raise DataError(
                f"{entity}.{field.name}: null or blank in {bad} of the {len(batch)} rows of batch {number}; "
                "every record needs a value here"
            )


def _gathered(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Join small batches, so that an adapter that yields a page at a time costs no more than one that yields 100,000."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
        if rows >= _ROWS_PER_INSERT or size >= _BYTES_PER_INSERT:
            yield pa.Table.from_batches(held, schema=schema)
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held, schema=schema)


def _insert(connection: duckdb.DuckDBPyConnection, entity: Entity, table: pa.Table) -> None:
    connection.register("incoming", table)
    try:
        connection.execute(f"INSERT INTO crm.{entity} FROM incoming")
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        raise DataError(f"{entity}: a batch holds values that cannot be stored, such as text that is not UTF-8") from None
    finally:
        connection.unregister("incoming")


def _seal(
    connection: duckdb.DuckDBPyConnection,
    adapter: Adapter,
    entities: frozenset[Entity],
    time_zone: str,
    as_of: datetime,
    path: Path,
    findings: tuple[Finding, ...],
) -> PullSummary:
    """Write the schema `meta` and let go of the file, which flushes it."""
    snapshot_id = uuid.uuid4().hex
    connection.begin()
    connection.execute("CREATE SCHEMA meta")
    rows, fingerprint = _store_entities(connection, entities)
    store_findings(connection, findings)
    connection.execute(
        "CREATE TABLE meta.snapshot AS SELECT $1::INT AS schema_version, $2::TEXT AS snapshot_id, $3::TEXT AS fingerprint, "
        "$4::TEXT AS adapter, $5::TIMESTAMPTZ AS as_of, $6::TEXT AS time_zone, "
        "$7::TEXT[] AS role_names, $8::BOOLEAN AS has_primary",
        [SCHEMA_VERSION, snapshot_id, fingerprint, adapter.name, as_of, time_zone, *_offers(adapter)],
    )
    connection.commit()
    connection.execute("USE memory")
    connection.execute("DETACH snapshot")
    return PullSummary(path, snapshot_id, fingerprint, rows, findings)


def _offers(adapter: Adapter) -> tuple[list[str], bool]:
    """What a plan must know of the CRM: kept, so that planning needs no connection."""
    capabilities = adapter.capabilities
    return list(capabilities.role_names), capabilities.has_primary


def _store_entities(connection: duckdb.DuckDBPyConnection, entities: frozenset[Entity]) -> tuple[dict[Entity, int], str]:
    """Count and fingerprint every table: the sum of its rows' hashes, which no order of rows can change."""
    kept: list[dict[str, object]] = []
    for entity in Entity:
        columns = ", ".join(f'"{name}"' for name in arrow_schema(entity).names)
        records, checksum = connection.execute(
            f"SELECT count(*), coalesce(sum(hash({columns})), 0)::TEXT FROM crm.{entity}"
        ).fetchone() or (0, "0")
        kept.append({"entity": entity, "is_present": entity in entities, "records": records, "checksum": checksum})
    connection.register("kept", pa.Table.from_pylist(kept))
    connection.execute("CREATE TABLE meta.entities AS FROM kept")
    connection.unregister("kept")
    digest = hashlib.sha256("".join(f"{k['entity']} {k['records']} {k['checksum']}\n" for k in kept).encode())
    rows = {Entity(str(k["entity"])): int(str(k["records"])) for k in kept if k["is_present"]}
    return rows, digest.hexdigest()
