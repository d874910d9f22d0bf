"""What is put together once, and what anew every time."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import narwhals as nw
import pytest

from crmbridge.evidence.rule import Rule, Stance, Weight, evidence
from crmbridge.evidence.rules import BUILT_IN
from crmbridge.evidence.score import score
from crmbridge.snapshot import keep as keep_room
from crmbridge.snapshot.keep import Keeper


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Nothing is remembered from other tests."""
    monkeypatch.setattr(keep_room, "_QUERIES", {})


class Counted:
    def __init__(self):
        self.times = 0

    def __call__(self, frame, above):
        self.times += 1
        return frame.filter(nw.col("n") > above)


def numbers(connection, column="BIGINT"):
    connection.execute(f"CREATE OR REPLACE TABLE numbers AS SELECT i::{column} AS n FROM range(5) t(i)")
    return nw.from_native(connection.table("numbers"))


def found(frame):
    return sorted(frame.collect("pyarrow").to_native()["n"].to_pylist())


def test_the_same_is_put_together_once_and_computed_every_time():
    make = Counted()
    with duckdb.connect() as one, duckdb.connect() as other:
        assert found(Keeper(one).made("kept", make, numbers(one), 2)) == [3, 4]
        frame = numbers(other)
        other.execute("INSERT INTO numbers VALUES (9)")
        assert found(Keeper(other).made("kept", make, frame, 2)) == [3, 4, 9]
    assert make.times == 1


@pytest.mark.parametrize("change", [{"above": 3}, {"above": 2.0}, {"column": "INTEGER"}, {"filtered": True}])
def test_another_value_type_column_or_frame_is_put_together_anew(change):
    make = Counted()
    with duckdb.connect() as connection:
        keep = Keeper(connection)
        keep.made("kept", make, numbers(connection), 2)
        frame = numbers(connection, change.get("column", "BIGINT"))
        if change.get("filtered"):
            frame = frame.filter(nw.col("n") != 4)
        kept = keep.made("kept", make, frame, change.get("above", 2))
        assert found(kept) == {"above": [4] if change.get("above") == 3 else [3, 4], "filtered": [3]}.get(*change, [3, 4])
    assert make.times == 2


def test_no_more_is_remembered_than_is_worth_it(monkeypatch):
    monkeypatch.setattr(keep_room, "_MOST_QUERIES", 3)
    make = Counted()
    with duckdb.connect() as connection:
        for above in range(10):
            Keeper(connection).made("kept", make, numbers(connection), above)
            assert len(keep_room._QUERIES) <= 3
    assert make.times == 10


def test_a_rule_of_ones_own_is_asked_every_time_and_is_told_the_moment(world):
    world.opportunity(1, "a").contact("c1", 1, "a").role("r1", 1, 1, "c1")
    moments = []

    def find(sight):
        moments.append(sight.as_of_s)
        held = sight.frames.roles.with_columns(occurred_s=nw.lit(None, dtype=nw.Int64))
        return evidence(held, source="contact_role", source_id="role_id")

    own = Rule("held_it", Stance.PROPOSES, Weight(bits=5.0, undated=1.0), "held it", find)
    for as_of_s in (10**9, 2 * 10**9):
        score(world.frames(), as_of_s=as_of_s, rules=(own,), keep=Keeper(world.connection))
    assert moments == [10**9, 2 * 10**9]


def test_no_rule_of_ours_asks_for_the_moment_of_the_pull(world):
    """Else what one came to at an earlier pull would be taken for what it comes to now."""
    sight = score(world.frames(), as_of_s=10**9, keep=Keeper(world.connection)).sight
    for rule in BUILT_IN:
        early, late = (rule.find(replace(sight, as_of_s=moment)).to_native().sql_query() for moment in (1, 2 * 10**9))
        assert early == late, rule.name
