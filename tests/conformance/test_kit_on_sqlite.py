"""The SQL adapter keeps the contract over SQLite."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from crmbridge.adapters.sql import SqlAdapter, SqlOptions, create_tables, load
from crmbridge.testing import AdapterConformance


class TestSqlOverSqlite(AdapterConformance):
    adapter_class = SqlAdapter

    def load(self, world):
        path = self.new_folder() / "crm.db"
        path.write_bytes(_without_records())
        url = f"sqlite:///{path}"
        engine = sa.create_engine(url)
        load(engine, world)
        engine.dispose()
        return SqlOptions(url=url)


@cache
def _without_records():
    """A database file with the canonical tables: every check begins with a copy."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "crm.db"
        engine = sa.create_engine(f"sqlite:///{path}")
        create_tables(engine)
        engine.dispose()
        return path.read_bytes()
