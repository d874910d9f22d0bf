"""Computing a lazy frame once, under a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import narwhals as nw


def keeper(connection: duckdb.DuckDBPyConnection) -> Callable[[nw.LazyFrame[Any], str], nw.LazyFrame[Any]]:
    """Give a function that computes a lazy frame into a temporary table and hands it back, replacing one of that name.

    The tables go with the connection; the snapshot's file is never written.
    """

    def keep(frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
        query = frame.to_native().sql_query()
        # A frame may be made from the very table that it replaces.
        connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}__next" AS {query}')
        connection.execute(f'DROP TABLE IF EXISTS temp.main."{name}"')
        connection.execute(f'ALTER TABLE temp.main."{name}__next" RENAME TO "{name}"')
        return nw.from_native(connection.table(f'temp.main."{name}"'))

    return keep
