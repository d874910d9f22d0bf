"""Lending an Arrow table to DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa


@contextmanager
def as_table(connection: duckdb.DuckDBPyConnection, table: pa.Table, name: str) -> Iterator[None]:
    """A temporary table with the rows of `table`, for as long as statements read it.

    A copy, never a scan of Arrow memory: DuckDB pushes filters of joins into such scans that PyArrow does not know
    (BLOOM_FILTER), and then fails, but only for some sizes.
    """
    connection.register("lent", table)
    try:
        connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS FROM lent')
    finally:
        connection.unregister("lent")
    try:
        yield
    finally:
        connection.execute(f'DROP TABLE temp.main."{name}"')
