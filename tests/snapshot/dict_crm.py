"""A CRM made of dicts, and short ways to pull it and to look at what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from crmbridge.contract import Capabilities, WriteGuard
from crmbridge.model import RECORDS, Entity, arrow_schema, record_batches
from crmbridge.snapshot import PullSummary, Snapshot, pull

AS_OF = datetime(2026, 6, 30, 12, tzinfo=UTC)


@dataclass
class DictCrm:
    """Reads `data[entity]`: lists of dicts become model objects, record batches are handed over as they are."""

    data: dict[str, list[Any]] = field(default_factory=dict)
    name: str = "dicts"
    entities: frozenset[Entity] = frozenset(Entity)
    fail_at: Entity | None = None
    batch_rows: int = 2

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            entities=self.entities,
            incremental=frozenset(),
            deletions=frozenset(),
            role_names=(),
            has_primary=True,
            write_guard=WriteGuard.TRANSACTION,
            writes_per_call=1,
            can_write=False,
        )

    def count(self, entity: Entity) -> int | None:
        return len(self.data.get(entity, []))

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        rows = self.data.get(entity, [])
        if rows and isinstance(rows[0], pa.RecordBatch):
            yield from rows
        else:
            yield from record_batches(entity, [RECORDS[entity](**row) for row in rows], rows=self.batch_rows)
        if entity == self.fail_at:
            raise ConnectionError("the adapter lost its CRM")


def side_by_side(crms: Iterable[dict[str, list[dict[str, Any]]]]) -> dict[str, list[dict[str, Any]]]:
    """The records of many CRMs in one, their ids and addresses under the CRM's number, so that none touches another."""
    together: dict[str, list[dict[str, Any]]] = {}
    for number, data in enumerate(crms):
        for entity, records in data.items():
            together.setdefault(entity, []).extend(_numbered(number, record) for record in records)
    return together


def _numbered(number: int, record: dict[str, Any]) -> dict[str, Any]:
    ids = {name: f"{number}/{value}" for name, value in record.items() if value and (name == "id" or name.endswith("_id"))}
    email = {"email": record["email"].replace("@", f"@{number}-")} if record.get("email") else {}
    return {**record, **ids, **email}


def of_crm(id_: str) -> tuple[int, str]:
    """Which of the CRMs side by side an id is of, and the id that it has there."""
    number, _, own = id_.partition("/")
    return int(number), own


def raw(entity: Entity, *rows: dict[str, Any]) -> pa.RecordBatch:
    """A batch past the model's own checks: what a careless adapter would send."""
    return pa.RecordBatch.from_pylist(list(rows), schema=arrow_schema(entity))


def rows(snapshot: Snapshot, query: str) -> list[Any]:
    """Fetch a query; single columns come as plain values."""
    fetched = snapshot.connection.execute(query).fetchall()
    return [row[0] if len(row) == 1 else row for row in fetched]


def summary_of(data: dict[str, list[Any]], path, **options) -> PullSummary:
    return pull(DictCrm(data), path, **{"as_of": AS_OF, **options})
