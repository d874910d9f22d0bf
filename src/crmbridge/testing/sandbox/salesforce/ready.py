"""Loads a small world once: a further org that holds the same is a copy, in a twentieth of the time."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import fields, replace
from itertools import count
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from crmbridge.testing.sandbox.salesforce.fill_records import date_own
from crmbridge.testing.sandbox.salesforce.load import load
from crmbridge.testing.sandbox.salesforce.store import Store
from crmbridge.testing.sandbox.salesforce.switches import Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from crmbridge.model import Entity
    from crmbridge.testing.sandbox.salesforce.schema import Schema

_MOST_ROWS = 3_000
"""Of a world that is kept: what takes longer to load is rarely loaded twice, and takes room."""

_MOST_KEPT = 16
_READ_LATER = (
    *("second_row", "row_gone", "merge_primary", "role_write", "unknown_column", "unknown_field", "deleted_contact"),
    *("hidden", "read_only", "invisible_contacts", "daily_calls", "page_rows", "bulk_page_rows", "job_polls"),
)
"""Switches that loading does not ask: orgs that differ in these only hold the same records."""

_kept: OrderedDict[str, tuple[str, duckdb.DuckDBPyConnection]] = OrderedDict()
"""Loaded databases, each with its address and a connection that keeps it alive; those asked for last at the end."""

_lock = threading.Lock()
_numbers = count(1)


def filled(
    schema: Schema, switches: Switches, now: Callable[[], datetime], tables: Mapping[Entity, pa.Table], lookups: Mapping[str, str]
) -> Store:
    """A store that holds a world.

    Args:
        schema: made with a world's lookups.
        switches: how the org is set up.
        now: see `Store`.
        tables: one per entity, in the canonical schema.
        lookups: field of the world -> API name.
    """

    def loaded(address: str) -> Store:
        store = Store(schema, switches, now, duckdb.connect(address))
        store.create_tables()
        load(store, tables, lookups)
        return store

    if sum(map(len, tables.values())) > _MOST_ROWS:
        store = loaded(":memory:")
    else:
        with _lock:
            address = _kept_at(_name(switches, tables), lambda address: loaded(address).connection)
            store = Store(schema, switches, now, _copied(address))
    date_own(store)
    return store


def _kept_at(name: str, fill: Callable[[str], duckdb.DuckDBPyConnection]) -> str:
    """The address of the database of that name, filled now unless it was before."""
    if name not in _kept:
        address = f":memory:world_{next(_numbers)}"
        _kept[name] = (address, fill(address))
        if len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)[1][1].close()  # its copies live on
    _kept.move_to_end(name)
    return _kept[name][0]


def _name(switches: Switches, tables: Mapping[Entity, pa.Table]) -> str:
    """The same for the same records in an org of the same kind."""
    usual = Switches()
    asked = replace(switches, **{name: getattr(usual, name) for name in _READ_LATER})
    digest = hashlib.sha256(repr([getattr(asked, field.name) for field in fields(asked)]).encode())
    for table in tables.values():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        digest.update(sink.getvalue())
    return digest.hexdigest()


def _copied(address: str) -> duckdb.DuckDBPyConnection:
    connection, name = duckdb.connect(address), f"org_{next(_numbers)}"
    connection.execute(f"ATTACH ':memory:' AS {name}; COPY FROM DATABASE memory TO {name}; USE {name}; SET TimeZone = 'UTC'")
    return connection
