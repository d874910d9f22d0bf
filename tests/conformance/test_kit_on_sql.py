"""The SQL adapter keeps the contract, over SQLite and over a real PostgreSQL server."""

import os
from itertools import count

import pytest
import sqlalchemy as sa

from crmbridge.adapters.sql import SqlAdapter, SqlOptions, create_tables, load
from crmbridge.testing import AdapterConformance

POSTGRES = os.environ.get("CRMBRIDGE_TEST_POSTGRES")


class TestSqlOverSqlite(AdapterConformance):
    adapter_class = SqlAdapter

    def load(self, world):
        url = f"sqlite:///{self.new_folder() / 'crm.db'}"
        engine = sa.create_engine(url)
        create_tables(engine)
        load(engine, world)
        engine.dispose()
        return SqlOptions(url=url)


@pytest.mark.postgres
class TestSqlOverPostgres(AdapterConformance):
    """Each world gets a schema of its own, dropped after the check."""

    adapter_class = SqlAdapter
    numbers = count(1)

    def setup_method(self):
        if not POSTGRES:  # here, so that the report says it once
            pytest.skip("CRMBRIDGE_TEST_POSTGRES does not name a PostgreSQL server")
        super().setup_method()
        self.engine = sa.create_engine(sa.make_url(POSTGRES).set(drivername="postgresql+psycopg"))
        self.schemas = []

    def load(self, world):
        schema = f"kit_{os.getpid()}_{next(self.numbers)}"
        self.schemas.append(schema)
        with self.engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
        create_tables(self.engine, schema=schema)
        load(self.engine, world, schema=schema)
        url = sa.make_url(POSTGRES)
        bare = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
        return SqlOptions(url=bare, password=url.password, schema=schema)

    def teardown_method(self):
        super().teardown_method()
        with self.engine.begin() as connection:
            for schema in self.schemas:
                connection.execute(sa.schema.DropSchema(schema, cascade=True))
        self.engine.dispose()
