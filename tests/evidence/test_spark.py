"""The same evidence on local Spark as on DuckDB, to a millionth of a bit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa
import pytest

from crmbridge.evidence.role_names import suggest
from crmbridge.evidence.score import Scored, score
from crmbridge.evidence.spark import SparkKeeper
from crmbridge.snapshot.frames import RESOLVED, Frames
from crmbridge.snapshot.keep import Keeper

if TYPE_CHECKING:
    from collections.abc import Iterator

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed: pip install pyspark (and a Java 17)")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

AS_OF_S = 1_790_000_000
SPARK_TYPES = {pa.int64(): "bigint", pa.string(): "string", pa.bool_(): "boolean", pa.date32(): "date"}


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    settings = {
        "spark.sql.shuffle.partitions": "1",
        "spark.default.parallelism": "1",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Code generated for so many small plans takes longer than running them.
        "spark.sql.codegen.wholeStage": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("evidence")
    for name, value in settings.items():
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


def _peopled(world: Any) -> Any:
    """Three accounts, a dozen opportunities, people in all of the ways that rules look at."""
    titles = ("CEO", "Leiter Einkauf", "Software Engineer", "Directrice financière", None, "VP Sales")
    for key in range(12):
        accounts = ("a", "b", "c")[key % 3 : key % 3 + 1 + (key % 4 == 0)]
        closed = None if key % 5 == 0 else 60 + 25 * key
        world.opportunity(key, *accounts, created=None if key == 7 else 20 * key, closed=closed, is_won=key % 2 == 0)
    for person in range(30):
        home = (None, "a", "b", "c", "z")[person % 5]
        world.contact(f"c{person}", person, home, title=titles[person % 6], domain="acme.com", created=7 * person)
        world.activity(f"v{person}", person, (person + 1) % 30, day=11 * person, account=("a", None)[person % 2])
        world.activity(f"w{person}", person, day=13 * person, opportunity=person % 12, kind="email", as_kind="cc")
        world.response(f"m{person}", person, 9 * person, campaign=f"k{person % 3}", is_inferred=person % 2 == 0)
        world.relation(f"n{person}", ("a", "b", "c")[person % 3], person, f"c{person}")
        if person % 3 == 0:
            world.role(f"r{person}", person % 12, person, f"c{person}", "Evaluator").lookup(
                f"x{person}", (person + 5) % 12, person, f"c{person}"
            )
    world.activity("crowd", *range(30), day=100, opportunity=3).activity("undated", 4, day=None, opportunity=2)
    return world.conversion("l1", 2, 8, 41).domain("a", "acme.com").contact("d1", 1, "b", title="CEO")


def _on_spark(session: Any, world: Any) -> Frames:
    tables, frames = world.tables(), {}
    for name, schema in RESOLVED.items():
        rows = tables[name].to_pylist() if name in tables else []
        types = ", ".join(f"{field.name} {SPARK_TYPES.get(field.type, 'decimal(22,4)')}" for field in schema)
        values = [tuple(row.get(field.name) for field in schema) for row in rows]
        frames[name] = nw.from_native(session.createDataFrame(values, types).coalesce(1))
    return Frames(**frames)


def _rows(frame: Any, *keys: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = (
        [row.asDict() for row in frame.to_native().collect()]
        if "pyspark" in type(frame.to_native()).__module__
        else (frame.collect("pyarrow").to_native().to_pylist())
    )
    return {tuple(row[key] for key in keys): row for row in found}


def _same(left: dict[tuple[Any, ...], dict[str, Any]], right: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    assert left.keys() == right.keys()
    for key, row in left.items():
        for name, value in row.items():
            expected = pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
            assert right[key][name] == expected, (key, name)


def test_spark_and_duckdb_find_the_same_reasons_and_bits(session, world):
    _peopled(world)
    here: Scored = score(world.frames(), as_of_s=AS_OF_S, keep=Keeper(world.connection))
    there = score(_on_spark(session, world), as_of_s=AS_OF_S, keep=SparkKeeper())
    reasons = _rows(here.reasons, "opportunity_key", "person_key", "rule")
    assert len({rule for *_, rule in reasons}) == len(here.rules)
    _same(reasons, _rows(there.reasons, "opportunity_key", "person_key", "rule"))
    _same(_rows(here.pairs, "opportunity_key", "person_key"), _rows(there.pairs, "opportunity_key", "person_key"))
    named = [_suggested(scored, keep) for scored, keep in ((here, Keeper(world.connection)), (there, SparkKeeper()))]
    _same(*named)


def _suggested(scored: Scored, keep: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    pair = ("opportunity_key", "person_key")
    contacts = scored.sight.frames.contacts.filter(nw.col("contact_id") != "d1").select("person_key", "contact_id", "title")
    chosen = scored.pairs.select(*pair).join(contacts, on="person_key")
    names = ("Decision Maker", "Evaluator", "Executive Sponsor", "Influencer", "Other")
    return _rows(suggest(scored.sight, chosen, role_names=names, default_role="Other", keep=keep), *pair)
