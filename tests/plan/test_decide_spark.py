"""A plan is decided on local Spark as it is on DuckDB."""

from __future__ import annotations

import warnings

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest
from judging import PAIR, PRIMARY, SCORED, contact, opportunity, role, scored

from crmbridge.evidence.score import Scored
from crmbridge.evidence.spark import SparkKeeper
from crmbridge.plan.decide import chosen_contacts, decide
from crmbridge.plan.policy import Policy
from crmbridge.snapshot.frames import RESOLVED, Frames
from crmbridge.snapshot.keep import Keeper

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install pyspark (and a Java 17)")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

TYPES = {pa.int64(): "bigint", pa.string(): "string", pa.bool_(): "boolean", pa.date32(): "date", pa.float64(): "double"}


@pytest.fixture(scope="module")
def session():
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("plan")
    for name, value in (
        ("spark.sql.shuffle.partitions", "1"),
        ("spark.ui.enabled", "false"),
        ("spark.driver.host", "127.0.0.1"),
        ("spark.driver.bindAddress", "127.0.0.1"),
        ("spark.sql.codegen.wholeStage", "false"),
    ):
        builder = builder.config(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = builder.getOrCreate()
    except Exception as error:  # noqa: BLE001 - no Java, no Spark
        pytest.skip(f"Spark does not start here: {type(error).__name__}")
    made.sparkContext.setLogLevel("ERROR")
    yield made
    made.stop()


def _world():
    """Two opportunities of account A; people with one record, with several, without any, and of every kind of objection."""
    contacts = [
        contact(1, "C9", account_id="B"),
        contact(1, "C2"),
        contact(2, "C3", account_id="B", has_left=True),
        contact(2, "C1", account_id="B"),
        contact(3, "C5"),
        contact(3, "C6"),
        contact(4, "C7", is_employee=True),
        contact(5, "C8", has_left=True),
        contact(6, "C4", account_id="B", account_type="Partner"),
    ]
    pairs = [scored(person, 0.55 + person / 20, key) for key in (1, 2) for person in range(1, 8)]
    tables = {
        "opportunities": [opportunity(1), opportunity(2, is_closed=True)],
        "opportunity_accounts": [{"opportunity_key": key, "account_id": "A"} for key in (1, 2)],
        "contacts": contacts,
        "people": [
            {"person_key": key, "contacts": sum(c["person_key"] == key for c in contacts), "leads": 0} for key in range(1, 8)
        ],
        "roles": [role(3, key=2)],
    }
    return tables, pairs


def _decided(frame, keep):
    """The candidates, by pair, on whatever engine `frame` makes frames for and `keep` computes them with."""
    tables, pairs = _world()
    frames = Frames(**{name: frame(tables.get(name, []), schema) for name, schema in RESOLVED.items()})
    pairs_frame = frame(pairs, SCORED)
    chosen = keep(chosen_contacts(frames, pairs_frame), "chosen")
    decided = decide(
        frames,
        Scored(reasons=pairs_frame, pairs=pairs_frame, rules=(), sight=None),
        Policy(max_roles_per_opportunity=2, max_writes=3),
        chosen=chosen.with_columns(role=nw.lit("Buyer", dtype=nw.String)),
        vetoes=frame([{"opportunity_key": 1, "person_key": 2}], PAIR),
        primaries=frame([{"opportunity_key": 2, "primary_contact_id": "C3"}], PRIMARY),
        has_primary=True,
        keep=keep,
    )
    native = decided.candidates.to_native()
    rows = [row.asDict() for row in native.collect()] if hasattr(native, "collect") else native.to_arrow_table().to_pylist()
    return {(row["opportunity_key"], row["person_key"]): row for row in rows}


def test_spark_and_duckdb_decide_alike(session):
    def on_spark(rows, schema):
        types = ", ".join(f"{field.name} {TYPES.get(field.type, 'decimal(22,4)')}" for field in schema)
        values = [tuple(row.get(field.name) for field in schema) for row in rows]
        return nw.from_native(session.createDataFrame(values, types).coalesce(1))

    with duckdb.connect(":memory:") as connection:

        def on_duckdb(rows, schema):
            name = f"t{len(connection.execute('SHOW TABLES').fetchall())}"
            given = pa.Table.from_pylist(rows, schema=schema)
            connection.register("given", given)
            connection.execute(f"CREATE TABLE {name} AS FROM given")
            return nw.from_native(connection.table(name))

        here = _decided(on_duckdb, Keeper(connection))
    there = _decided(on_spark, SparkKeeper())
    assert len({row["decision"] for row in here.values()}) > 6
    assert here[1, 1]["contact_id"] == "C2"
    assert there == here
