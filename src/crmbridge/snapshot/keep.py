"""Computing a lazy frame once, under a name."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any

import duckdb
import narwhals as nw

_QUERIES: dict[Hashable, str] = {}
"""What frames came to as SQL, by what they were made from. Putting one together costs many times what a small one runs."""

_MOST_QUERIES = 512


class Keeper:
    """Computes lazy frames into temporary tables of one connection; the snapshot's file is never written.

    The tables go with the connection, or when they are forgotten.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __call__(self, frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
        """Compute a frame, once, and hand it back; replaces one of that name."""
        return self._put(frame.to_native().sql_query(), name)

    def made(self, name: str, make: Callable[..., nw.LazyFrame[Any]], *given: Any) -> nw.LazyFrame[Any]:  # noqa: ANN401
        """Compute `make(*given)`; not put together again where this process did so from the same tables and values."""
        key = make, tuple(_told_apart(value) for value in given)
        query = _QUERIES.get(key)
        if query is None:
            query = make(*given).to_native().sql_query()
            if len(_QUERIES) >= _MOST_QUERIES:
                _QUERIES.clear()
            _QUERIES[key] = query
        return self._put(query, name)

    def forget(self, name: str) -> None:
        """Give the space of a kept frame back."""
        self._connection.execute(f'DROP TABLE IF EXISTS temp.main."{name}"')

    def _put(self, query: str, name: str) -> nw.LazyFrame[Any]:
        # A frame may be made from the very table that it replaces.
        self._connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}__next" AS {query}')
        self.forget(name)
        self._connection.execute(f'ALTER TABLE temp.main."{name}__next" RENAME TO "{name}"')
        return nw.from_native(self._connection.table(f'temp.main."{name}"'))


def _told_apart(value: Any) -> Hashable:  # noqa: ANN401
    """What two values share only where the same SQL comes of them: of a frame its own SQL, and the types of its columns."""
    if isinstance(value, nw.LazyFrame):
        native = value.to_native()
        return native.sql_query(), *native.columns, *map(str, native.types)
    if isinstance(value, tuple | list):
        return tuple(_told_apart(item) for item in value)
    if is_dataclass(value):
        return type(value), *(_told_apart(getattr(value, field.name)) for field in fields(value))
    return type(value), value
