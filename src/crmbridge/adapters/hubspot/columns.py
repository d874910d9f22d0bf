"""Turns what came as JSON into canonical Arrow columns, a column at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.errors import DataError
from crmbridge.model import Entity, arrow_schema

_DATE_LENGTH = len("2024-01-31")
_WIDE = pa.decimal128(38, 12)

Texts = Mapping[str, Sequence[str | None] | pa.Array]


def canonical(entity: Entity, texts: Texts, rows: int) -> pa.RecordBatch:
    """Convert named columns of text to the canonical schema; a field that is not among them is null.

    Raises:
        DataError: a value that its field cannot hold.
    """
    schema = arrow_schema(entity)
    arrays = [_converted(entity, field, texts.get(field.name), rows) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def joined(parts: Iterable[pa.Array]) -> pa.Array:
    """Texts, one after the other."""
    return pa.chunked_array(list(parts), pa.string()).combine_chunks()


def _converted(entity: Entity, field: pa.Field, texts: Sequence[str | None] | pa.Array | None, rows: int) -> pa.Array:
    if texts is None:
        return pa.nulls(rows, field.type)
    try:
        return _cast(field, texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string()))
    except pa.ArrowInvalid:
        # Arrow's message holds the value, which may be anybody's.
        raise DataError(f"{entity}.{field.name}: HubSpot sent a value that is not a {field.type}") from None


def _cast(field: pa.Field, column: pa.Array) -> pa.Array:
    if pa.types.is_decimal(field.type):
        return pc.cast(pc.round(pc.cast(column, _WIDE), field.type.scale), field.type)
    if pa.types.is_date(field.type):
        return pc.cast(pc.utf8_slice_codeunits(column, 0, _DATE_LENGTH), field.type)
    return pc.cast(column, field.type)
