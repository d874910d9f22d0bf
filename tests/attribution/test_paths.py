"""Paths of anybody's own: any table in, every cent out, whatever the order of the rows."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmbridge.attribution.markov import removal_effects
from crmbridge.attribution.models import PRESETS, Anchor, Model, Strategy
from crmbridge.attribution.paths import PathColumns, Paths, attribute_paths
from crmbridge.attribution.sequences import exact_sums
from crmbridge.errors import DataError, SettingsError

START = datetime(2026, 1, 1, tzinfo=UTC)


def table(*paths, moments=False):
    """Rows of paths, each (channels, value)."""
    rows = [
        {
            "path": number,
            "order": START + timedelta(days=position) if moments else position,
            "channel": channel,
            "value": None if value is None else Decimal(value),
        }
        for number, (channels, value) in enumerate(paths)
        for position, channel in enumerate(channels)
    ]
    kinds = {"path": pa.int64(), "order": pa.timestamp("us", "UTC") if moments else pa.int64(), "channel": pa.string()}
    return pa.Table.from_pylist(rows, schema=pa.schema([*kinds.items(), ("value", pa.decimal128(20, 2))]))


def credits_of(touches, model, **options):
    shared = attribute_paths(touches, models=[model], **options)
    name = model if isinstance(model, str) else model.name
    return dict(zip(shared["channel"].to_pylist(), map(str, shared[name].to_pylist()), strict=True))


def test_heuristics_by_hand():
    touches = table(("abc", "90"), ("b", "10"), ("aab", "30"), ("ca", None))
    assert credits_of(touches, "first") == {"a": "120.00", "b": "10.00", "c": "0.00"}
    assert credits_of(touches, "last") == {"a": "0.00", "b": "40.00", "c": "90.00"}
    assert credits_of(touches, "linear") == {"a": "50.00", "b": "50.00", "c": "30.00"}
    # 90: 36, 18, 36. 10 all to b. 30: 12 and 6 to a, 12 to b.
    assert credits_of(touches, "u_adobe") == {"a": "54.00", "b": "40.00", "c": "36.00"}
    # Shapley: a journey's channels alike, however often they were met.
    assert credits_of(touches, "shapley", least_journeys=1) == {"a": "45.00", "b": "55.00", "c": "30.00"}


def test_anchors_that_paths_do_not_know_are_missing():
    touches = table(("abc", "100"))
    assert credits_of(touches, "u_marketo") == {"a": "100.00", "b": "0.00", "c": "0.00"}
    # W: 30 for the first, 10 for the others, of 40.
    assert credits_of(touches, "w") == {"a": "75.00", "b": "12.50", "c": "12.50"}
    # Full path: 22.5 for the first, 22.5 for the close, 10 for the one between, of 55.
    assert credits_of(touches, "full_path") == {"a": "40.91", "b": "18.18", "c": "40.91"}
    only_missing = Model("leads", "Leads", "", anchors={Anchor.LEAD_CREATED: 1})
    assert credits_of(touches, only_missing) == {"a": "33.34", "b": "33.33", "c": "33.33"}


def test_every_cent_of_many_thirds():
    touches = table(*[("abc", "0.01")] * 100)
    assert credits_of(touches, "linear") == {"a": "0.34", "b": "0.33", "c": "0.33"}
    assert credits_of(table(("abc", "-0.10")), "linear") == {"a": "-0.03", "b": "-0.03", "c": "-0.04"}
    assert credits_of(table(("ab", "1"), ("ab", "2")), "linear", digits=0) == {"a": "2", "b": "1"}


def test_markov_by_hand():
    # From the start half go to a, half to b; a converts always, b never: all depends on a.
    touches = table(*[("a", "2")] * 30, *[("b", None)] * 30)
    assert credits_of(touches, "markov") == {"a": "60.00", "b": "0.00"}


def test_counts_instead_of_values():
    touches = pa.table({"who": ["x", "x", "y"], "step": [1, 2, 1], "by": ["ad", "mail", "ad"], "yes": [3, 3, 0], "no": [1, 1, 9]})
    columns = PathColumns(path="who", order="step", channel="by", value=None, conversions="yes", nulls="no")
    assert credits_of(touches, "linear", columns=columns) == {"ad": "1.50", "mail": "1.50"}
    for name in ("markov", "shapley"):
        with pytest.raises(DataError, match=f"the model '{name}' needs 30 conversions; there are 3"):
            attribute_paths(touches, columns=columns, models=[name])
    # ad is met by all 13, mail by 4 of them; 3 of 4 convert after it. Without either nobody does.
    assert credits_of(touches, "markov", columns=columns, least_journeys=3) == {"ad": "1.50", "mail": "1.50"}


def test_time_decay_needs_time():
    paths = [("ab", "100")]
    assert credits_of(table(*paths, moments=True), Model("d", "D", "", Strategy.DECAY, half_life_days=1)) == {
        "a": "33.33",
        "b": "66.67",
    }
    with pytest.raises(DataError, match="moments or dates"):
        attribute_paths(table(*paths), models=["time_decay"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abcd", min_size=1, max_size=6), st.none() | st.decimals(-5, 1000, places=2)), min_size=1, max_size=20
    ),
    st.randoms(use_true_random=False),
)
def test_sums_are_exact_and_the_order_of_rows_is_irrelevant(paths, dice):
    touches = table(*paths, moments=True)
    names = [name for name, model in PRESETS.items() if model.strategy is not Strategy.MARKOV and "salesforce" not in name]
    shared = attribute_paths(touches, models=names, least_journeys=0)
    total = sum((value for _, value in paths if value is not None), Decimal(0))
    assert {name: sum(shared[name].to_pylist(), Decimal(0)) for name in names} == dict.fromkeys(names, total)
    order = list(range(touches.num_rows))
    dice.shuffle(order)
    assert attribute_paths(touches.take(order), models=names, least_journeys=0).equals(shared)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text("abcd", min_size=1, max_size=7), st.integers(0, 10**6)), min_size=1, max_size=12))
def test_linear_is_within_a_unit_of_the_exact_fractions(paths):
    exact = dict.fromkeys("abcd", Fraction(0))
    for channels, value in paths:
        for channel in channels:
            exact[channel] += Fraction(value, len(channels))
    for channel, credit in credits_of(table(*paths), "linear", digits=0).items():
        assert abs(int(credit) - exact[channel]) < 1


def test_touches_of_the_same_order_are_told_apart_by_name():
    touches = pa.table({"path": [1, 1, 1], "order": [5, 5, 5], "channel": ["b", "c", "a"], "value": [9, 9, 9]})
    assert credits_of(touches, "first") == {"a": "9.00", "b": "0.00", "c": "0.00"}
    assert credits_of(touches, "last") == {"a": "0.00", "b": "0.00", "c": "9.00"}


def test_large_orders_and_names_of_paths():
    touches = pa.table({"path": ["x", "x"], "order": [2**62, -(2**62)], "channel": ["late", "early"], "value": [1.5, 1.5]})
    assert credits_of(touches, "first") == {"early": "1.50", "late": "0.00"}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_of_other_libraries(library):
    frames = pytest.importorskip(library)
    touches = {"path": [1, 1, 2], "order": [1, 2, 1], "channel": ["a", "b", "b"], "value": [10.0, 10.0, 1.0]}
    assert credits_of(frames.DataFrame(touches), "linear") == {"a": "5.00", "b": "6.00"}


def test_a_relation_of_duckdb():
    with duckdb.connect() as connection:
        connection.register("touches", table(("ab", "10"), ("b", "1")))
        assert credits_of(connection.sql("FROM touches"), "linear") == {"a": "5.00", "b": "6.00"}


def test_one_taking_in_for_many_models():
    with Paths(table(("ab", "10"))) as paths:
        assert paths.channels == ["a", "b"]
        assert paths.credits(["first", "linear"]).column_names == ["channel", "first", "linear"]
        assert paths.credits(["last"])["last"].to_pylist() == [Decimal("0.00"), Decimal("10.00")]


def test_no_paths():
    shared = attribute_paths(table(), models=["first", "shapley"], least_journeys=0)
    assert shared.num_rows == 0
    assert shared.schema.field("first").type == pa.decimal128(38, 2)


BAD = {
    "a missing column": (
        {"path": [1], "order": [1], "kanal": ["a"], "value": [1]},
        "no column 'channel'; they have: path, order",
    ),
    "no path": ({"path": [1, None], "order": [1, 2], "channel": ["a", "b"], "value": [1, 1]}, "1 touches have no path"),
    "no channel": ({"path": [1], "order": [1], "channel": pa.array([None], pa.string()), "value": [1]}, "have no channel"),
    "an order of text": ({"path": [1], "order": ["1"], "channel": ["a"], "value": [1]}, "order of touches is string"),
    "a value of text": ({"path": [1], "order": [1], "channel": ["a"], "value": ["1"]}, "value of paths is string"),
    "two values": ({"path": [1, 1], "order": [1, 2], "channel": ["a", "b"], "value": [1, 2]}, "1 paths have several values"),
    "no number": ({"path": [1], "order": [1], "channel": ["a"], "value": [float("nan")]}, "no finite number, or too large"),
    "a path of structs": (
        {"path": [{"a": 1}], "order": [1], "channel": ["a"], "value": [1]},
        "path of touches is struct",
    ),
    "infinity": ({"path": [1], "order": [1], "channel": ["a"], "value": [float("inf")]}, "no finite number, or too large"),
    "a huge whole number": ({"path": [1], "order": [1], "channel": ["a"], "value": [2**62]}, "no finite number, or too large"),
    "a large decimal": (
        {"path": [1], "order": [1], "channel": ["a"], "value": [Decimal(10) ** 25]},
        "no finite number, or too large",
    ),
    "a huge decimal": (
        {"path": [1], "order": [1], "channel": ["a"], "value": [Decimal(10) ** 36]},
        "no finite number, or too large",
    ),
    "far too much": ({"path": [1], "order": [1], "channel": ["a"], "value": [10**16]}, "sum to more than"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_attributed_is_said(name):
    columns, message = BAD[name]
    with pytest.raises(DataError, match=message):
        attribute_paths(pa.table(columns))


def test_models_that_are_wrong():
    touches = table(("a", "1"))
    with pytest.raises(SettingsError, match="no attribution model 'best'"):
        attribute_paths(touches, models=["best"])
    with pytest.raises(SettingsError, match="same name"):
        attribute_paths(touches, models=["first", "first"])
    with pytest.raises(DataError, match="0 to 9 digits"):
        attribute_paths(touches, digits=12)
    with pytest.raises(DataError, match="one of conversions"):
        attribute_paths(touches, columns=PathColumns(value=None))


def test_a_crowd_of_channels():
    dice = random.Random(4)
    paths = [(dice.sample(range(5_000), 3), "0.07") for _ in range(2_000)]
    shared = attribute_paths(table(*[([f"page {n}" for n in channels], value) for channels, value in paths]), models=["linear"])
    assert sum(shared["linear"].to_pylist()) == Decimal("140.00")


def test_amounts_beyond_what_a_float_holds_stay_exact():
    # Ninety quadrillions and a unit: a float would lose the unit.
    touches = table(*[("ab", "900719925474.09")] * 100, ("a", "0.01"))
    assert credits_of(touches, "linear", digits=2) == {"a": "45035996273704.51", "b": "45035996273704.50"}
    assert credits_of(touches, "shapley", digits=2) == {"a": "45035996273704.51", "b": "45035996273704.50"}


@pytest.mark.parametrize("negative", [False, True])
def test_sums_in_parts_are_exact(negative):
    dice = random.Random(9)
    values = [dice.randrange(-(10**17) if negative else 0, 10**17) for _ in range(500)]
    groups = [dice.randrange(7) for _ in values]
    expected = [sum(value for value, group in zip(values, groups, strict=True) if group == one) for one in range(7)]
    assert exact_sums(np.array(groups), np.array(values), 7) == expected


def test_more_decimals_than_credits_have_are_rounded_half_away_from_zero():
    for kind in (pa.decimal128(10, 3), pa.float64()):
        values = pa.array([Decimal("0.125"), Decimal("-0.125")]).cast(kind)
        touches = pa.table({"path": [1, 2], "order": [1, 1], "channel": ["a", "b"], "value": values})
        assert credits_of(touches, "linear") == {"a": "0.13", "b": "-0.13"}


def test_a_model_of_ones_own_sees_the_names_of_channels():
    own = Model("own", "", "", Strategy.OWN, expression=lambda: nw.when(nw.col("channel") == "b").then(3).otherwise(1))
    assert credits_of(table(("ab", "100"), ("ca", "10"), ("b", None)), own) == {"a": "30.00", "b": "75.00", "c": "5.00"}


def test_a_later_moment_stays_later_where_clocks_are_set_back():
    # Half past two of the last Sunday of October twice, an hour apart.
    moments = pa.array(
        [datetime(2026, 10, 25, 1, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)],
        pa.timestamp("us", "Europe/Berlin"),
    )
    touches = pa.table({"path": [1, 1], "order": moments, "channel": ["a", "b"], "value": [1, 1]})
    assert credits_of(touches, "first") == {"a": "0.00", "b": "1.00"}


@pytest.mark.parametrize(
    "paths",
    [
        pa.array([7, 7, 2**63, 7], pa.uint64()),
        pa.array(["y", "y", "x", "y"]),
        pa.array(["y", "y", "x", "y"]).dictionary_encode(),
        pa.array([2.5, 2.5, -1.0, 2.5]),
        pa.array([date(2026, 1, 2), date(2026, 1, 2), date(2026, 1, 1), date(2026, 1, 2)]),
    ],
)
def test_paths_of_any_kind_in_any_order(paths):
    touches = pa.table({"path": paths, "order": [3, 1, 1, 2], "channel": ["c", "a", "b", "b"], "value": [30, 30, 1, 30]})
    assert credits_of(touches, "u_adobe") == {"a": "12.00", "b": "7.00", "c": "12.00"}
    joined = pa.concat_tables([touches.slice(0, 2), touches.slice(2)])
    assert credits_of(joined, "u_adobe") == {"a": "12.00", "b": "7.00", "c": "12.00"}


def test_markov_of_any_order_is_that_of_the_chain_in_sql():
    dice = random.Random(3)
    paths = [(dice.choices("abcd", k=dice.randint(1, 6)), dice.choice(["1", None])) for _ in range(120)]
    steps = [
        {"path_key": key, "rank": rank, "channel": channel}
        for key, (channels, _) in enumerate(paths)
        for rank, channel in enumerate(channels)
    ]
    outcomes = [{"path_key": key, "conversions": int(v is not None), "nulls": int(v is None)} for key, (_, v) in enumerate(paths)]
    with duckdb.connect() as connection:
        connection.register("steps", pa.Table.from_pylist(steps))
        connection.register("outcomes", pa.Table.from_pylist(outcomes))
        for order in (1, 2, 3, 4):
            found = removal_effects(connection, steps="steps", outcomes="outcomes", order=order)
            total = sum(row["conversions"] for row in outcomes)
            given = credits_of(table(*paths), Model("chain", "", "", Strategy.MARKOV, order=order), digits=6)
            expected = dict(zip(found["channel"].to_pylist(), found["share"].to_pylist(), strict=True))
            assert {name: float(credit) / total for name, credit in given.items()} == pytest.approx(expected, abs=1e-7)
