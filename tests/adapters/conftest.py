"""Databases to test on: a fresh SQLite file, and a fresh schema of a real PostgreSQL server where one is named."""

import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from crmbridge.adapters.sql import SqlAdapter, SqlOptions, create_tables, load
from crmbridge.contract import PairState, RoleWrite
from crmbridge.model import Contact, Entity, Opportunity

POSTGRES = os.environ.get("CRMBRIDGE_TEST_POSTGRES", "")


@dataclass
class Crm:
    """A database of a test, and the ways to look at it besides the adapter."""

    engine: sa.Engine
    options: dict
    adapters: list = field(default_factory=list)

    @property
    def is_sqlite(self):
        return self.engine.dialect.name == "sqlite"

    @property
    def schema(self):
        return self.options.get("schema")

    def adapter(self, **more) -> SqlAdapter:
        made = SqlAdapter(SqlOptions.model_validate({**self.options, "timeout_s": 5, **more}))
        self.adapters.append(made)
        return made

    def run(self, sql, **parameters):
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(sql), parameters)
            return result.all() if result.returns_rows else None

    def rows(self, table):
        return sorted(self.run(f'SELECT * FROM "{table}"'), key=repr)

    def mapped(self, folder: Path, text: str, **more) -> SqlAdapter:
        path = folder / f"mapping-{uuid.uuid4().hex}.toml"
        path.write_text(text, encoding="utf-8")
        return self.adapter(mapping=path, **more)


def postgres_engine(schema=None):
    url = sa.make_url(POSTGRES).set(drivername="postgresql+psycopg")
    arguments = {"options": f"-c search_path={schema}"} if schema else {}
    return sa.create_engine(url, connect_args=arguments, poolclass=sa.pool.NullPool)


@pytest.fixture
def sqlite_crm(tmp_path):
    path = tmp_path / "crm.db"
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
    sa.event.listen(engine, "connect", _unsafe_but_fast)
    with engine.connect():
        pass
    yield from _closing(Crm(engine, {"url": f"sqlite:///{path}"}))


def _unsafe_but_fast(connection, _record):
    connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def postgres_crm():
    if not POSTGRES:
        pytest.skip('no PostgreSQL: eval "$(.ci/postgres start)" sets CRMBRIDGE_TEST_POSTGRES')
    schema = f"t{uuid.uuid4().hex}"
    admin = postgres_engine()
    with admin.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    yield from _closing(Crm(postgres_engine(schema), {"url": POSTGRES, "schema": schema}))
    with admin.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")


def _closing(crm):
    yield crm
    for adapter in crm.adapters:
        adapter.close()
    crm.engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_crm(request):
    """A database without a single table, on both engines."""
    return request.getfixturevalue(f"{request.param}_crm")


@pytest.fixture
def crm(empty_crm):
    """The canonical tables with two opportunities and three contacts, on both engines."""
    return canonical(empty_crm)


def canonical(crm) -> Crm:
    """Make the canonical tables with two opportunities and three contacts."""
    create_tables(crm.engine, schema=crm.schema)
    deals = [Opportunity(id="o1"), Opportunity(id="o2")]
    people = [Contact(id=f"c{number}") for number in (1, 2, 3)]
    load(crm.engine, {Entity.OPPORTUNITY: deals, Entity.CONTACT: people}, schema=crm.schema)
    return crm


def put(opportunity_id="o1", contact_id="c1", *, key=None, **more) -> RoleWrite:
    """A put of an absent pair."""
    key = key or f"put-{opportunity_id}-{contact_id}"
    given = {"role": "Decision Maker", **more}
    return RoleWrite(key=key, action="put", opportunity_id=opportunity_id, contact_id=contact_id, **given)


def undo(write, receipt) -> RoleWrite:
    """The removal of what a receipt says was written."""
    return RoleWrite(
        key=f"undo-{write.key}",
        action="remove",
        opportunity_id=write.opportunity_id,
        contact_id=write.contact_id,
        expected=PairState(rows=receipt.after.rows, primary_contact_id=receipt.after.primary_contact_id),
    )


def written(adapter, writes):
    """Write and index the receipts by key."""
    return {receipt.key: receipt for receipt in adapter.write_roles(writes, checkpoint=_no_checkpoint)}


def outcomes(receipts):
    return {key: (receipt.outcome.value, receipt.code) for key, receipt in receipts.items()}


def _no_checkpoint(checkpoint):
    raise AssertionError("a transaction leaves nothing behind that needs a checkpoint")
