"""Vetoes: pairs that are never added again until somebody lifts the veto. Nothing is deleted: history stays."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from crmbridge.journal.database import Database
    from crmbridge.journal.records import VetoSource

Pair = tuple[str, str]
"""(opportunity_id, contact_id)"""

_ACTIVE = pa.schema(
    [
        pa.field("opportunity_id", pa.string(), nullable=False),
        pa.field("contact_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("added_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
_HISTORY = _ACTIVE.append(pa.field("run_id", pa.string())).append(pa.field("lifted_at", pa.timestamp("us", tz="UTC")))


class Vetoes:
    """The vetoes of one journal."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def active(self) -> pa.Table:
        """One row per vetoed pair, its oldest veto: opportunity_id, contact_id, source, reason, added_at."""
        rows = self._database.rows(
            """SELECT opportunity_id, contact_id, source, reason, added_at FROM veto
            WHERE veto_id IN (SELECT min(veto_id) FROM veto WHERE lifted_at IS NULL GROUP BY opportunity_id, contact_id)
            ORDER BY opportunity_id, contact_id"""
        )
        return _table(rows, _ACTIVE)

    def history(self) -> pa.Table:
        """Every veto ever added, oldest first, with `run_id` and `lifted_at`."""
        rows = self._database.rows(
            "SELECT opportunity_id, contact_id, source, reason, added_at, run_id, lifted_at FROM veto ORDER BY veto_id"
        )
        return _table(rows, _HISTORY)

    def add(self, pairs: Iterable[Pair], *, source: VetoSource, reason: str = "") -> int:
        """Veto pairs; one that this source has vetoed already stays as it is. Returns how many are new."""
        with self._database.transaction() as connection:
            return insert_vetoes(connection, pairs, source=source, reason=reason, run_id=None, added_at=self._clock())

    def lift(self, pairs: Iterable[Pair]) -> int:
        """Lift every active veto of these pairs, whatever its source. Returns how many pairs were vetoed."""
        lifted_at = self._clock().isoformat()
        with self._database.transaction() as connection:
            return sum(
                connection.execute(
                    """UPDATE veto SET lifted_at = ?
                    WHERE opportunity_id = ? AND contact_id = ? AND lifted_at IS NULL""",
                    (lifted_at, *pair),
                ).rowcount
                > 0
                for pair in pairs
            )


def insert_vetoes(
    connection: sqlite3.Connection,
    pairs: Iterable[Pair],
    *,
    source: VetoSource,
    reason: str,
    run_id: str | None,
    added_at: datetime,
) -> int:
    """Insert active vetoes inside a transaction; returns how many are new."""
    rows = [(*pair, source, reason, run_id, added_at.isoformat()) for pair in pairs]
    return connection.executemany(
        """INSERT INTO veto (opportunity_id, contact_id, source, reason, run_id, added_at) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING""",
        rows,
    ).rowcount


def _table(rows: list[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([_column(values, field) for values, field in zip(columns, schema, strict=True)], schema=schema)


def _column(values: tuple[object, ...], field: pa.Field) -> pa.Array:
    if pa.types.is_timestamp(field.type):
        return pa.array([datetime.fromisoformat(str(value)) if value else None for value in values], field.type)
    return pa.array(values, field.type)
