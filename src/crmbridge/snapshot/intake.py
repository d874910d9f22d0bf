"""Taking in what an adapter reads: checked against the canonical schema, gathered, and inserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.errors import DataError
from crmbridge.model import Entity, arrow_schema
from crmbridge.snapshot.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_ROWS_PER_INSERT = 250_000
_BYTES_PER_INSERT = 64 << 20


def take_in(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    batches: Iterable[pa.RecordBatch],
    *,
    path: Path,
    told: Callable[[int], None],
) -> int:
    """Insert batches into the entity's table of the schema `crm`; returns how many rows came.

    Args:
        connection: its default catalog holds the schema `crm`.
        entity: what the batches are.
        batches: as an adapter reads them.
        path: the snapshot that is being made, for messages.
        told: called with the rows so far.

    Raises:
        DataError: wrong columns or types, null or blank required values, text that is not UTF-8.
        WorkspaceError: the disk is full.
    """
    rows = 0
    for table in _gathered(_checked(entity, batches), arrow_schema(entity)):
        with storage_errors(path):
            _insert(connection, entity, table)
        rows += len(table)
        told(rows)
    return rows


def _checked(entity: Entity, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    wanted = arrow_schema(entity)
    for number, batch in enumerate(batches, start=1):
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
