"""Computing a lazy frame once, under a name."""

from __future__ import annotations

from typing import Any

import duckdb
import narwhals as nw


class Keeper:
    """Computes lazy frames into temporary tables of one connection; the snapshot's file is never written.

    The tables go with the connection, or when they are forgotten.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __call__(self, frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
        """Compute a frame, once, and hand it back; replaces one of that name."""
        query = frame.to_native().sql_query()
        # A frame may be made from the very table that it replaces.
        self._connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}__next" AS {query}')
        self.forget(name)
        self._connection.execute(f'ALTER TABLE temp.main."{name}__next" RENAME TO "{name}"')
        return nw.from_native(self._connection.table(f'temp.main."{name}"'))

    def forget(self, name: str) -> None:
        """Give the space of a kept frame back."""
        self._connection.execute(f'DROP TABLE IF EXISTS temp.main."{name}"')
