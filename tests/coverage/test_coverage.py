"""Coverage, worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest

from crmbridge.coverage import coverage
from crmbridge.snapshot import RESOLVED, frames_from_tables

NONE = Decimal("0.0000")


def deal(key, amount=None, currency="EUR", *, is_closed=False, is_won=False):
    amount = None if amount is None else Decimal(amount)
    return {
        "opportunity_key": key, "opportunity_id": f"O{key}", "amount": amount, "currency": currency, "is_closed": is_closed,
        "is_won": is_won,
    }  # fmt: skip


def role(key, person, is_primary=False, role_id=None):
    return {
        "role_id": role_id or f"{key}-{person}", "opportunity_key": key, "person_key": person, "contact_id": f"C{person}",
        "is_primary": is_primary,
    }  # fmt: skip


def response(person, member="M"):
    flags = {"has_responded": False, "is_inferred": False}
    return {"member_id": f"{member}{person}", "campaign_id": "K", "person_key": person, **flags}


def frames(connection, **tables):
    made = {name: pa.Table.from_pylist(rows, schema=RESOLVED[name]) for name, rows in tables.items()}
    return frames_from_tables(made, connection=connection)


@pytest.fixture
def connection():
    with duckdb.connect(":memory:") as connection:
        yield connection


@pytest.fixture
def world(connection):
    return frames(
        connection,
        opportunities=[
            deal(1, "0.10"),
            deal(2, "0.20"),
            deal(3),
            deal(4, "99999999999999999.9999", is_closed=True, is_won=True),
            deal(5, "0.0001", is_closed=True, is_won=True),
            deal(6, "5", "USD", is_closed=True, is_won=True),
            deal(7, "-3", None, is_closed=True),
        ],
        roles=[role(2, 1), role(2, 1, role_id="twice"), role(4, 2, True), role(4, 1), role(6, 3, True)],
        responses=[response(1), response(1, "again"), response(9)],
    )


def test_every_figure_as_it_is(world):
    found = {(row.state, row.currency): row for row in coverage(world).rows}
    assert list(found) == [("open", "EUR"), ("won", "EUR"), ("won", "USD"), ("lost", None)]
    open_, won, dollars, lost = found.values()
    assert (open_.opportunities, open_.amount, open_.unknown_amounts) == (3, Decimal("0.3000"), 1)
    assert (open_.no_role, open_.no_role_amount) == (2, Decimal("0.1000"))
    assert (open_.no_primary, open_.no_primary_amount) == (3, Decimal("0.3000"))
    assert (open_.no_touched, open_.no_touched_amount) == (2, Decimal("0.1000"))
    assert won.amount == Decimal("100000000000000000.0000"), "to the last digit"
    assert (won.no_role, won.no_role_amount) == (1, Decimal("0.0001"))
    assert (won.no_touched, won.no_touched_amount) == (1, Decimal("0.0001"))
    assert (dollars.no_role, dollars.no_primary, dollars.no_touched, dollars.no_touched_amount) == (0, 0, 1, Decimal("5.0000"))
    assert (lost.amount, lost.no_role_amount) == (Decimal("-3.0000"), Decimal("-3.0000"))


def test_as_if_the_plan_were_there(world, connection):
    planned = pa.table({"opportunity_key": [1, 1, 3], "person_key": [9, 9, 4], "is_primary": [True, False, False]})
    connection.register("imagined", planned)
    connection.execute("CREATE TABLE planned AS FROM imagined")
    open_ = coverage(world, planned=nw.from_native(connection.table("planned"))).rows[0]
    assert (open_.no_role, open_.no_primary, open_.no_touched) == (0, 2, 1)
    assert (open_.no_role_amount, open_.no_primary_amount, open_.no_touched_amount) == (NONE, Decimal("0.2000"), NONE)
    assert open_.unknown_amounts == 1


def test_nothing_at_all(connection):
    found = coverage(frames(connection))
    assert found.rows == ()
    assert found.table().num_rows == 0


def test_the_table_holds_what_the_rows_hold(world):
    found = coverage(world)
    assert found.table().to_pylist() == [vars(row) for row in found.rows]
    assert found.table().schema.field("no_role_amount").type == pa.decimal128(38, 4)
