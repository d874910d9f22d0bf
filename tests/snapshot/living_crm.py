"""A CRM that lives: records come, change, go, merge and come back under a clock; an adapter tells of it as the contract says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from crmbridge.contract import Capabilities, Deletion, WriteGuard
from crmbridge.errors import DeletionsUnknown
from crmbridge.model import RECORDS, Entity, record_batches

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
EVERY = frozenset(Entity)
_WHOLE = frozenset({Entity.USER})


@dataclass
class LivingCrm:
    """One CRM and its adapter.

    Attributes:
        now: the true time.
        slow: how far the CRM's own clock lags behind the true time.
        keeps_losers: merged records are still read, with their master.
        counts: it says how many records there are.
        remembers: how far back deletions are known; None for ever.
        asked: (entity, since) of every read, in order.
    """

    incremental: frozenset[Entity] = EVERY
    deletions: frozenset[Entity] = EVERY - _WHOLE
    entities: frozenset[Entity] = EVERY
    keeps_losers: bool = False
    counts: bool = False
    remembers: timedelta | None = None
    name: str = "living"
    now: datetime = START
    slow: timedelta = timedelta()
    tables: dict[Entity, dict[str, dict[str, Any]]] = field(default_factory=lambda: {entity: {} for entity in Entity})
    graves: dict[Entity, dict[str, Deletion]] = field(default_factory=lambda: {entity: {} for entity in Entity})
    buried: dict[tuple[Entity, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[Entity, datetime | None]] = field(default_factory=list)

    # What happens in it

    def wait(self, **span: float) -> None:
        self.now += timedelta(**span)

    def put(self, entity: Entity, identifier: str, **values: Any) -> None:
        """Create a record, or change it."""
        was = self.tables[entity].get(identifier, {})
        self.tables[entity][identifier] = {**was, "id": identifier, **values, "modified_at": self.now - self.slow}

    def delete(self, entity: Entity, identifier: str, *, into: str | None = None) -> None:
        row = self.tables[entity].pop(identifier, None)
        if row is None:
            return
        self.buried[entity, identifier] = row
        self.graves[entity][identifier] = Deletion(id=identifier, deleted_at=self.now - self.slow, merged_into_id=into)
        if into is not None and self.keeps_losers:
            self.put(entity, identifier, **{**row, "merged_into_id": into})

    def restore(self, entity: Entity, identifier: str) -> None:
        """Bring a deleted record back; the log of deletions still names it."""
        if row := self.buried.pop((entity, identifier), None):
            self.put(entity, identifier, **{**row, "merged_into_id": None} if "merged_into_id" in row else row)

    # What its adapter tells

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            entities=self.entities,
            incremental=self.incremental & self.entities,
            deletions=self.deletions & self.entities,
            role_names=(),
            has_primary=True,
            write_guard=WriteGuard.TRANSACTION,
            writes_per_call=1,
            can_write=False,
        )

    def count(self, entity: Entity) -> int | None:
        return len(self.tables[entity]) if self.counts else None

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        self.asked.append((entity, since))
        rows = [row for row in self.tables[entity].values() if since is None or row["modified_at"] >= since]
        yield from record_batches(entity, [RECORDS[entity](**row) for row in rows], rows=3)

    def read_deleted(self, entity: Entity, *, since: datetime) -> Iterator[Deletion]:
        known = (grave for grave in self.graves[entity].values() if grave.deleted_at and grave.deleted_at >= since)
        yield from known
        if self.remembers is not None and since < self.now - self.remembers:
            raise DeletionsUnknown("that was long ago")
