"""What every test shares: small worlds are quick on one thread, and nothing looks for a library that is not there."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import duckdb


class _NoPandas:
    """Says at once that there is no pandas: DuckDB asks at every expression, and the search costs a quarter of a small plan."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if find_spec("pandas") is None:
    sys.meta_path.insert(0, _NoPandas)

_connect = duckdb.connect


def _for_small_worlds(database=":memory:", **given):
    """As many workers as cores run tests already: further threads only wait for each other.

    And trying every compression on every column of a snapshot costs a sixth of a small pull; commands that tests start as
    processes of their own do try.
    """
    given["config"] = {"threads": 1, "force_compression": "uncompressed", **given.get("config", {})}
    return _connect(database, **given)


duckdb.connect = _for_small_worlds
