"""The SQL adapter keeps the contract over SQLite."""

import sqlalchemy as sa

from crmbridge.adapters.sql import SqlAdapter, SqlOptions, create_tables, load
from crmbridge.testing import AdapterConformance


class TestSqlOverSqlite(AdapterConformance):
    adapter_class = SqlAdapter

    def load(self, world):
        url = f"sqlite:///{self.new_folder() / 'crm.db'}"
        engine = sa.create_engine(url)
        create_tables(engine)
        load(engine, world)
        engine.dispose()
        return SqlOptions(url=url)
