"""The SQL adapter keeps the contract over a real PostgreSQL server."""

import os
from itertools import count

import pytest
import sqlalchemy as sa

from crmbridge.adapters.sql import SqlAdapter, SqlOptions, create_tables, load
from crmbridge.testing import AdapterConformance

POSTGRES = os.environ.get("CRMBRIDGE_TEST_POSTGRES")
if not POSTGRES:  # the whole module, so that the report says it once
    pytest.skip("CRMBRIDGE_TEST_POSTGRES does not name a PostgreSQL server", allow_module_level=True)

pytestmark = pytest.mark.postgres


class TestSqlOverPostgres(AdapterConformance):
    """Each world gets a schema of its own, dropped after the check."""

    adapter_class = SqlAdapter
    numbers = count(1)

    def setup_method(self):
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
        bare = url._replace(drivername="postgresql", password=None).render_as_string()
        return SqlOptions(url=bare, password=url.password, schema=schema)

    def teardown_method(self):
        super().teardown_method()
        with self.engine.begin() as connection:
            for schema in self.schemas:
                connection.execute(sa.schema.DropSchema(schema, cascade=True))
        self.engine.dispose()
