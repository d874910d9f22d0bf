"""The snapshot file: one DuckDB database per workspace, opened read-only and replaced whole."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import duckdb

from crmbridge.errors import WorkspaceError
from crmbridge.model import Entity, arrow_schema
from crmbridge.snapshot.frames import Frames, frames_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import pyarrow as pa

SCHEMA_VERSION = 4
MEMORY_LIMIT = "3GB"
_PULL_AGAIN = "run `crmbridge pull`"
_MAKE_ROOM = "see that the folder can be written and has free space, then run `crmbridge pull` again"


@dataclass(frozen=True)
class SnapshotMeta:
    """What a snapshot is and where it came from.

    Attributes:
        snapshot_id: unique to one pull.
        fingerprint: of all records; equal for equal data in any order, as long as DuckDB's version is the same.
        adapter: the name of the adapter.
        as_of: when it was pulled, aware UTC.
        time_zone: the organisation's, an IANA name.
        entities: what the CRM has; the tables of other entities are empty.
        role_names: the roles the CRM offers, in its order; empty where any text is allowed.
        has_primary: whether the CRM knows a primary contact.
    """

    snapshot_id: str
    fingerprint: str
    adapter: str
    as_of: datetime
    time_zone: str
    entities: frozenset[Entity]
    role_names: tuple[str, ...]
    has_primary: bool


class Snapshot:
    """A snapshot open for reading; several may be open at once, also while a pull replaces the file.

    Args:
        path: the snapshot's file.
        memory_limit: what DuckDB may use before it spills to disk, in DuckDB's words (`3GB`).
        threads: None for one per core.

    Raises:
        WorkspaceError: there is no file, it is no snapshot, or it is of another schema version.
    """

    def __init__(self, path: Path, *, memory_limit: str = MEMORY_LIMIT, threads: int | None = None) -> None:
        if not path.is_file():
            raise WorkspaceError(f"there is no snapshot at {path}", hint=_PULL_AGAIN)
        self.path = path
        self.connection = connect(path.with_name(path.name + ".spill"), memory_limit=memory_limit, threads=threads)
        try:
            self.meta = _attach_for_reading(self.connection, path)
        except BaseException:
            self.connection.close()
            raise

    @classmethod
    def open(cls, path: Path, *, memory_limit: str = MEMORY_LIMIT, threads: int | None = None) -> Self:
        """Open `path` read-only (see the class)."""
        return cls(path, memory_limit=memory_limit, threads=threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; frames and readers of this snapshot end with it."""
        self.connection.close()

    def frames(self) -> Frames:
        """The resolved tables as lazy frames over this snapshot's connection."""
        return frames_over(self.connection)

    def table(self, entity: Entity) -> pa.Table:
        """All records of an entity as the CRM gave them, in the canonical schema; order is free."""
        return self.connection.table(f"crm.{entity}").to_arrow_table().cast(arrow_schema(entity))

    def batches(self, entity: Entity, *, rows: int = 100_000) -> pa.RecordBatchReader:
        """The same as `table`, `rows` at a time, for entities that do not fit into memory."""
        return self.connection.table(f"crm.{entity}").to_arrow_reader(rows)

    def counts(self) -> dict[Entity, int]:
        """How many records each entity holds; 0 for those that the CRM does not have."""
        rows = self.connection.execute("SELECT entity, records FROM meta.entities").fetchall()
        return {Entity(entity): records for entity, records in rows}

    def findings(self) -> pa.Table:
        """The data-quality findings: code, entity, field, count, sample_ids, severity, meaning; sorted."""
        return self.connection.sql("FROM meta.findings ORDER BY code, entity, field").to_arrow_table()


def connect(spill: Path, *, memory_limit: str, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that may spill to `spill`.

    Snapshots are attached to it, never opened directly: DuckDB would hand out one shared instance per path, and with it the
    old file after a pull has replaced it.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": str(spill),
        "preserve_insertion_order": "false",
    }
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def attach(connection: duckdb.DuckDBPyConnection, path: Path, *, mode: str) -> None:
    """Attach `path` as the catalog `snapshot` and make it the default; `mode` is READ_ONLY or READ_WRITE."""
    connection.execute(f"ATTACH {quoted_path(path)} AS snapshot ({mode})")
    connection.execute("USE snapshot")


def quoted_path(path: Path) -> str:
    """A path as SQL text."""
    return "'" + str(path).replace("'", "''") + "'"


def moment(us: int) -> datetime:
    """Epoch microseconds as aware UTC, exactly."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def _attach_for_reading(connection: duckdb.DuckDBPyConnection, path: Path) -> SnapshotMeta:
    try:
        attach(connection, path, mode="READ_ONLY")
        versions = connection.execute("SELECT schema_version FROM meta.snapshot").fetchall()
    except duckdb.Error:
        raise WorkspaceError(f"{path} is not a snapshot this version can read", hint=_PULL_AGAIN) from None
    if versions != [(SCHEMA_VERSION,)]:
        found = versions[0][0] if versions else "none"
        raise WorkspaceError(f"{path} has snapshot version {found}, wanted {SCHEMA_VERSION}", hint=_PULL_AGAIN)
    return _read_meta(connection)


def _read_meta(connection: duckdb.DuckDBPyConnection) -> SnapshotMeta:
    ((snapshot_id, fingerprint, adapter, as_of_us, time_zone, role_names, has_primary),) = connection.execute(
        "SELECT snapshot_id, fingerprint, adapter, epoch_us(as_of), time_zone, role_names, has_primary FROM meta.snapshot"
    ).fetchall()
    present = connection.execute("SELECT entity FROM meta.entities WHERE is_present").fetchall()
    return SnapshotMeta(
        snapshot_id=snapshot_id,
        fingerprint=fingerprint,
        adapter=adapter,
        as_of=moment(as_of_us),
        time_zone=time_zone,
        entities=frozenset(Entity(entity) for (entity,) in present),
        role_names=tuple(role_names),
        has_primary=has_primary,
    )


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the disk says into WorkspaceError: full, read-only, not permitted."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WorkspaceError(f"cannot write the snapshot at {path}: {reason}", hint=_MAKE_ROOM) from None
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException, duckdb.FatalException) as error:
        raise WorkspaceError(f"cannot write the snapshot at {path}: {_reason(error)}", hint=_MAKE_ROOM) from None


def _reason(error: duckdb.Error) -> str:
    """DuckDB's first line; for these errors it names files and sizes, never records."""
    return str(error).splitlines()[0].strip()
