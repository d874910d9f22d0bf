"""The canonical tables: made whatever the schema is called."""

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from tests.adapters.conftest import postgres_engine

from crmbridge.adapters.sql import create_tables
from crmbridge.adapters.sql.schema import _metadata
from crmbridge.model import Entity

# With this schema's name before them and cut to PostgreSQL's 63 bytes, the names of two indexes of activity_participant are one.
CLASHING = "t11c25dd1bd774a589e186e529a505b74"


@pytest.mark.postgres
def test_tables_are_made_in_a_schema_of_a_long_name(postgres_crm):
    postgres_crm.run(f"CREATE SCHEMA {CLASHING}")
    try:
        create_tables(postgres_engine(), schema=CLASHING)
        assert set(sa.inspect(postgres_engine()).get_table_names(CLASHING)) == {str(entity) for entity in Entity}
    finally:
        postgres_crm.run(f"DROP SCHEMA {CLASHING} CASCADE")


def test_no_two_indexes_share_a_name_in_any_schema():
    preparer = postgresql.dialect().identifier_preparer
    indexes = [index for table in _metadata("postgresql", CLASHING).tables.values() for index in table.indexes]
    assert len(indexes) == len({preparer.format_index(index) for index in indexes}) > 20
    assert all(len(index.name) <= 63 for index in indexes)


def test_what_is_often_looked_up_is_indexed(sqlite_crm):
    create_tables(sqlite_crm.engine)
    looked_up = [index["column_names"] for index in sa.inspect(sqlite_crm.engine).get_indexes("contact_role")]
    assert ["opportunity_id"] in looked_up
    assert ["contact_id"] in looked_up
