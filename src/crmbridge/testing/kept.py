"""What an adapter read once, to be built on without a snapshot's file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa

from crmbridge.model import Entity, arrow_schema


class KeptRecords:
    """Some entities as they were read; implements `crmbridge.contract.EarlierRecords`.

    Attributes:
        gone: the ids that an adapter told were gone.
    """

    def __init__(self) -> None:
        self._tables: dict[Entity, pa.Table] = {}
        self._began = datetime.now(UTC)
        self.gone: set[str] = set()

    def keep(self, entity: Entity, batches: Iterable[pa.RecordBatch]) -> None:
        """Keep all records of an entity, as `read` gave them."""
        self._tables[entity] = pa.Table.from_batches(batches, arrow_schema(entity))

    def read_at(self, entity: Entity) -> datetime | None:
        """When keeping began; None for what was not kept."""
        return self._began if entity in self._tables else None

    def columns(self, entity: Entity, *names: str) -> pa.Table:
        """Some columns of all records of an entity; no rows for what was not kept."""
        return self._tables.get(entity, arrow_schema(entity).empty_table()).select(names)

    def tell_gone(self, ids: Iterable[str]) -> None:
        """Note what is gone."""
        self.gone |= set(ids)
