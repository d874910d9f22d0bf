"""Turns columns of text, as they come out of CSV or JSON, into canonical Arrow columns.

Python touches no row of CSV, which is how large objects come; JSON it has to decode, and then takes a column at a time.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.salesforce.ids import long_ids
from crmbridge.errors import DataError
from crmbridge.model import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crmbridge.model import Entity

_DATE_LENGTH = len("2024-01-31")


def text_table(records: Sequence[Mapping[str, Any]], paths: Iterable[str]) -> pa.Table:
    """Turn a page of JSON records into columns of text, one column after the other.

    Args:
        records: n records as simple-salesforce decodes them.
        paths: fields as selected; `RecordType.Name` looks into the parent.
    """
    return pa.table({path: pa.array(_texts(records, path), pa.string()) for path in paths})


def canonical(entity: Entity, texts: Mapping[str, pa.Array], rows: int) -> pa.RecordBatch:
    """Convert named columns of text to the canonical schema; a field that is not among them is null.

    Raises:
        DataError: a value that its field cannot hold.
    """
    schema = arrow_schema(entity)
    arrays = [_converted(entity, field, texts.get(field.name), rows) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def nulls(rows: int) -> pa.Array:
    """A column that says nothing."""
    return pa.nulls(rows, pa.string())


def constant(text: str, rows: int) -> pa.Array:
    """The same text in every row."""
    return pa.repeat(pa.scalar(text, pa.string()), rows)


def with_prefix(ids: pa.Array, prefix: str) -> pa.Array:
    """Keep the ids of one kind of record, by their first three characters; null for all others."""
    return pc.if_else(pc.starts_with(ids, prefix), ids, pa.scalar(None, pa.string()))


def moments(column: pa.Array) -> pa.Array:
    """Make datetimes of dates: noon UTC, which is that same day nearly everywhere on earth."""
    is_date = pc.equal(pc.binary_length(column), _DATE_LENGTH)
    if not pc.any(is_date).as_py():
        return column
    return pc.if_else(is_date, pc.binary_join_element_wise(column, "T12:00:00Z", ""), column)


def first_of(*columns: pa.Array) -> pa.Array:
    """The first that is given, row by row."""
    return pc.coalesce(*columns)


def _converted(entity: Entity, field: pa.Field, column: pa.Array | None, rows: int) -> pa.Array:
    if column is None:
        return pa.nulls(rows, field.type)
    try:
        return _cast(field, column)
    except pa.ArrowInvalid:
        # Arrow's message holds the value, which may be anybody's.
        raise DataError(f"{entity}.{field.name}: Salesforce sent a value that is not a {field.type}") from None


def _cast(field: pa.Field, column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(field.type):
        return pc.cast(moments(column), field.type)
    if pa.types.is_decimal(field.type):
        # By way of more digits: an amount may come with more places than money has, or as 1.2E7.
        wide = pc.cast(column, pa.decimal128(38, max(12, field.type.scale)))
        return pc.cast(pc.round(wide, field.type.scale), field.type)
    if pa.types.is_date(field.type):
        return pc.cast(pc.utf8_slice_codeunits(column, 0, _DATE_LENGTH), field.type)
    if pa.types.is_boolean(field.type):
        return pc.cast(column, field.type)
    return long_ids(column) if field.name == "id" or field.name.endswith("_id") else column


def _texts(records: Sequence[Mapping[str, Any]], path: str) -> list[str | None]:
    parent, dot, child = path.partition(".")
    if not dot:
        return [_text(record.get(path)) for record in records]
    return [_text((record.get(parent) or {}).get(child)) for record in records]


def _text(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)
