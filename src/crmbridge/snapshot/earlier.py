"""Building on the snapshot before: whether an entity can be, since when to read it, and carrying over what stayed as it was.

What comes of it equals a full read of the same CRM. A record that `read` gives stands, whatever the log of deletions says: it was
made or restored again, or the CRM keeps those that were merged away, with their master. Any other deleted record goes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from crmbridge.errors import WorkspaceError
from crmbridge.model import Entity, arrow_schema
from crmbridge.snapshot.store import SCHEMA_VERSION, moment, quoted_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from crmbridge.contract import Capabilities, Deletion

OVERLAP = timedelta(minutes=10)
"""How far before the last pull changes are read again: transactions show late, and clocks differ. Adapters may add their own."""

SLOW_CLOCK = timedelta(days=1)
"""How far a CRM's clock, or its idea of time zones, may lag behind ours: reads go back to its latest change, at most so far."""

_IDS_PER_INSERT = 50_000


class WhyFull(StrEnum):
    """Why an entity was read in full."""

    ASKED = "asked for"
    FIRST = "no earlier snapshot to build on"
    OTHER_SOURCE = "the last pull was of another CRM, or with other settings"
    CLOCK = "the clock went back since the last pull"
    NEW = "not read before"
    DUE = "due again"
    DUPLICATES = "the same id came more than once"
    NO_CHANGES = "the CRM does not tell what changed"
    NO_DELETIONS = "the CRM does not tell what was deleted"
    FORGOTTEN = "the CRM no longer knows what was deleted"
    MISCOUNT = "the CRM counts more or fewer records than its changes leave"


@dataclass(frozen=True)
class Source:
    """What must be the same for a snapshot to be built on.

    Attributes:
        adapter: its name.
        time_zone: the organisation's.
        source_id: tells one CRM, opened in one way, from another.
    """

    adapter: str
    time_zone: str
    source_id: str


@dataclass(frozen=True)
class Mark:
    """How far an entity was read.

    Attributes:
        current_at: every change before it is in; the moment that pull began.
        full_at: when the entity was last read in full.
    """

    current_at: datetime
    full_at: datetime


@dataclass(frozen=True)
class Earlier:
    """The snapshot before, attached read-only as the catalog `earlier`.

    Attributes:
        marks: of the entities it holds.
        duplicated: entities that came with ids more than once: which record was kept hangs on those that were not.
    """

    connection: duckdb.DuckDBPyConnection
    path: Path
    marks: dict[Entity, Mark]
    duplicated: frozenset[Entity]

    def why_full(self, entity: Entity, capabilities: Capabilities, *, full_before: datetime) -> WhyFull | None:
        """Say why an entity must be read in full; None where its changes are enough.

        Args:
            entity: the one in question.
            capabilities: of the adapter.
            full_before: what was read in full before that is due again.
        """
        if entity not in capabilities.incremental:
            return WhyFull.NO_CHANGES
        if entity not in capabilities.deletions:
            return WhyFull.NO_DELETIONS
        if entity not in self.marks:
            return WhyFull.NEW
        if entity in self.duplicated:
            return WhyFull.DUPLICATES
        return WhyFull.DUE if self.marks[entity].full_at <= full_before else None

    def since(self, entity: Entity) -> datetime:
        """The moment to read changes from: when the last pull began or the CRM's own latest change, less the overlap."""
        row = self.connection.execute(
            "SELECT epoch_us(greatest(max(modified_at), $current_at::TIMESTAMPTZ - $slow::INTERVAL)) "
            f"FROM earlier.crm.{entity} WHERE modified_at <= $current_at",
            {"current_at": self.marks[entity].current_at, "slow": SLOW_CLOCK},
        ).fetchone() or (0,)
        return moment(row[0]) - OVERLAP

    def read_at(self, entity: Entity) -> datetime | None:
        """When an entity was read last; None where it never was."""
        mark = self.marks.get(entity)
        return None if mark is None else mark.current_at

    def columns(self, entity: Entity, *names: str) -> pa.Table:
        """Some columns of all its records, as an adapter gave them; no rows where it was never read.

        Raises:
            WorkspaceError: the earlier snapshot cannot be read.
        """
        schema = arrow_schema(entity)
        asked = ", ".join(f'"{schema.field(name).name}"' for name in names)
        with self._readable():
            # Of its own, for the pull is in the midst of what it does.
            return self.connection.cursor().execute(f"SELECT {asked} FROM earlier.crm.{entity}").to_arrow_table()

    def is_due(self, full_before: datetime) -> bool:
        """Whether anything was last read in full before a moment."""
        return any(mark.full_at <= full_before for mark in self.marks.values())

    def tell_gone(self, ids: Iterable[str]) -> None:
        """Add to `temp.gone`, while an entity is read by its changes."""
        self.connection.register("incoming_gone", pa.table({"id": pa.array(ids, pa.string())}))
        self.connection.execute("INSERT INTO temp.gone FROM incoming_gone")
        self.connection.unregister("incoming_gone")

    def weigh(self, entity: Entity) -> tuple[int, int]:
        """Set what changed (in the new table) and what went (`temp.gone`) against the earlier records.

        Returns:
            How many of the earlier records stay as they are, and how many are gone.

        Raises:
            WorkspaceError: the earlier snapshot cannot be read.
        """
        with self._readable():
            self.connection.execute(f"DELETE FROM temp.gone WHERE id IN (SELECT id FROM crm.{entity})")
            (gone,) = self._one(f"SELECT count(*) FROM earlier.crm.{entity} SEMI JOIN temp.gone USING (id)")
            self.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE known AS SELECT id FROM crm.{entity} UNION ALL SELECT id FROM temp.gone"
            )
            (stay,) = self._one(f"SELECT count(*) FROM earlier.crm.{entity} ANTI JOIN temp.known USING (id)")
        return stay, gone

    def carry_over(self, entity: Entity) -> None:
        """Add to the changed records those that stay as they are, once they are weighed.

        Raises:
            WorkspaceError: the earlier snapshot cannot be read, or the disk is full.
        """
        columns = ", ".join(f'"{name}"' for name in arrow_schema(entity).names)
        with self._readable():
            self.connection.execute(
                f"INSERT INTO crm.{entity} SELECT {columns} FROM earlier.crm.{entity} ANTI JOIN temp.known USING (id)"
            )

    def note_gone(self, deletions: Iterable[Deletion]) -> None:
        """Fill `temp.gone` with the ids of what was deleted."""
        self.connection.execute("CREATE OR REPLACE TEMP TABLE gone (id TEXT)")
        ids = (deletion.id for deletion in deletions)
        while chunk := list(islice(ids, _IDS_PER_INSERT)):
            self.tell_gone(chunk)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.execute("DETACH earlier")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise WorkspaceError(
                f"cannot build on the snapshot at {self.path}: {str(error).splitlines()[0].strip()}",
                hint="see that there is free space; `crmbridge pull --full` does without the earlier snapshot",
            ) from None

    def _one(self, query: str) -> tuple[int, ...]:
        return self.connection.execute(query).fetchone() or (0,)


def find_earlier(
    connection: duckdb.DuckDBPyConnection, path: Path | None, *, source: Source, as_of: datetime
) -> Earlier | WhyFull:
    """Attach the snapshot before, or say why there is nothing to build on.

    Args:
        connection: where to attach it.
        path: its file; None where nothing is to be built upon.
        source: what it must have come from.
        as_of: the present moment; a snapshot from the future has seen a wrong clock.
    """
    if path is None:
        return WhyFull.ASKED
    if not path.is_file():
        return WhyFull.FIRST
    try:
        connection.execute(f"ATTACH {quoted_path(path)} AS earlier (READ_ONLY)")
    except duckdb.Error:
        return WhyFull.FIRST
    found = _read(connection, path, source, as_of)
    if isinstance(found, WhyFull):
        connection.execute("DETACH earlier")
    return found


def _read(connection: duckdb.DuckDBPyConnection, path: Path, source: Source, as_of: datetime) -> Earlier | WhyFull:
    try:
        versions = connection.execute("SELECT schema_version FROM earlier.meta.snapshot").fetchall()
        if versions != [(SCHEMA_VERSION,)]:
            return WhyFull.FIRST
        rows = connection.execute("SELECT adapter, time_zone, source_id FROM earlier.meta.snapshot").fetchall()
        marks = _marks(connection)
        doubles = connection.execute("SELECT entity FROM earlier.meta.findings WHERE code = 'duplicate_id'").fetchall()
    except duckdb.Error:
        return WhyFull.FIRST
    if [Source(*row) for row in rows] != [source]:
        return WhyFull.OTHER_SOURCE
    if any(mark.current_at > as_of for mark in marks.values()):
        return WhyFull.CLOCK
    return Earlier(connection, path, marks, frozenset(Entity(entity) for (entity,) in doubles))


def _marks(connection: duckdb.DuckDBPyConnection) -> dict[Entity, Mark]:
    rows = connection.execute(
        "SELECT entity, epoch_us(current_at), epoch_us(full_at) FROM earlier.meta.entities WHERE is_present"
    ).fetchall()
    return {Entity(entity): Mark(moment(current_us), moment(full_us)) for entity, current_us, full_us in rows}
