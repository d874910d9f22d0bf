# ruff: noqa: S608 (table and column names come from the closed lists in this package, never from data)
"""What is wrong with the data: counted and shown, never silently dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from crmbridge.model import Entity, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import duckdb

SAMPLES = 5

SCHEMA = pa.schema(
    [
        ("code", pa.string()),
        ("entity", pa.string()),
        ("field", pa.string()),
        ("count", pa.int64()),
        ("sample_ids", pa.list_(pa.string())),
        ("severity", pa.string()),
        ("meaning", pa.string()),
    ]
)


@dataclass(frozen=True)
class Finding:
    """One kind of trouble in one entity.

    Attributes:
        code: stable, for scripts.
        field: the column in question; None where it is the whole record.
        count: records concerned.
        sample_ids: up to five of their ids, the smallest first.
        severity: `info` is normal in a living CRM, `warning` loses or blurs evidence, `error` is broken data.
        meaning: one sentence for people: what it is and what was done about it.
    """

    code: str
    entity: Entity
    field: str | None
    count: int
    sample_ids: tuple[str, ...]
    severity: str
    meaning: str


MEANINGS: dict[str, tuple[str, str]] = {
    "duplicate_id": ("error", "The same id came more than once; the last modified record is kept."),
}


def finding(code: str, entity: Entity, field: str | None, count: int, sample_ids: Iterable[str]) -> Finding:
    """Build a finding with the severity and meaning of its code."""
    severity, meaning = MEANINGS[code]
    return Finding(code, entity, field, count, tuple(sample_ids), severity, meaning)


def drop_duplicates(connection: duckdb.DuckDBPyConnection, entity: Entity) -> Finding | None:
    """Keep one record per id: the last modified, then the smallest in column order, so that the order read never matters.

    Hashes find the suspects first: eight bytes a row instead of an id.
    """
    (suspects,) = connection.execute(
        f"SELECT count(*) - count(DISTINCT hash(id)) FROM crm.{entity}"
    ).fetchone() or (0,)
    if not suspects:
        return None
    columns = ", ".join(f'"{name}"' for name in arrow_schema(entity).names)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE surplus AS SELECT rowid AS row, id FROM crm.{entity} WHERE id IN "
        f"(SELECT id FROM crm.{entity} GROUP BY id HAVING count(*) > 1) QUALIFY row_number() OVER "
        f"(PARTITION BY id ORDER BY is_deleted IS TRUE, modified_at DESC NULLS LAST, {columns}) > 1"
    )
    count, samples = connection.execute(
        f"SELECT count(*), min(id, {SAMPLES}) FROM (SELECT id, count(*) FROM surplus GROUP BY id)"
    ).fetchone() or (0, None)
    (rows,) = connection.execute("SELECT count(*) FROM surplus").fetchone() or (0,)
    if not count:
        return None
    connection.execute(f"DELETE FROM crm.{entity} WHERE rowid IN (SELECT row FROM surplus)")
    return finding("duplicate_id", entity, "id", rows, samples)


def find(
    connection: duckdb.DuckDBPyConnection, *, entities: frozenset[Entity], as_of: datetime, found: list[Finding]
) -> tuple[Finding, ...]:
    """Look for everything in `MEANINGS`; `found` is what the pull met already."""
    return tuple(sorted(found, key=lambda f: (f.code, f.entity, f.field or "")))


def store_findings(connection: duckdb.DuckDBPyConnection, findings: tuple[Finding, ...]) -> None:
    """Write `meta.findings`."""
    rows = [{name: getattr(item, name) for name in SCHEMA.names} for item in findings]
    connection.register("found", pa.Table.from_pylist(rows, schema=SCHEMA))
    connection.execute("CREATE TABLE meta.findings AS FROM found")
    connection.unregister("found")
