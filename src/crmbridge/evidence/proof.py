"""Proof: replay the rules where the answer is known, and say how good they are.

Hide roles that people added, score without them, and see which come back: precision and recall, overall and per rule, average
precision, and the threshold with the best F1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.snapshot.frames import distinct

_PAIR = ["opportunity_key", "person_key"]


@dataclass(frozen=True)
class Quality:
    """How well a ranking finds the pairs that are right.

    Attributes:
        average_precision: the mean precision over the recalls, 0 to 1; right pairs that were never ranked count as missed.
        best_f1: the best harmonic mean of precision and recall over all thresholds, 0 to 1.
        best_threshold: the score at which it is reached; None where nothing right was ranked.
        precision_at_best, recall_at_best: at that threshold.
        found: right pairs ranked at all.
        right: right pairs there are.
        ranked: pairs ranked.
    """

    average_precision: float
    best_f1: float
    best_threshold: float | None
    precision_at_best: float
    recall_at_best: float
    found: int
    right: int
    ranked: int


@dataclass(frozen=True)
class RuleQuality:
    """What one rule brought back: pairs it spoke for, how many of those are right, and the shares."""

    rule: str
    pairs: int
    right: int
    precision: float
    recall: float


def quality(ranked: nw.LazyFrame[Any], right: nw.LazyFrame[Any], *, score: str = "confidence") -> Quality:
    """Judge a ranking.

    Args:
        ranked: opportunity_key, person_key and the score; n distinct pairs; pairs of equal score are taken together.
        right: opportunity_key, person_key of the pairs that are right; any of them may be missing from `ranked`.
        score: the column to rank by, higher is surer.
    """
    wanted = distinct(right, *_PAIR).with_columns(hit=nw.lit(1))
    marked = ranked.select(*_PAIR, score).join(wanted, on=_PAIR, how="left").with_columns(hit=nw.col("hit").fill_null(0))
    steps = marked.group_by(score).agg(nw.len().alias("n"), nw.col("hit").sum()).collect("pyarrow").to_native()
    total = int(wanted.select(nw.len().alias("n")).collect("pyarrow").item(0, "n"))
    return _judge(steps.sort_by([(score, "descending")]), score, total)


def rule_quality(reasons: nw.LazyFrame[Any], right: nw.LazyFrame[Any]) -> list[RuleQuality]:
    """Judge each rule by the pairs it spoke for (positive bits), best recall first."""
    wanted = distinct(right, *_PAIR).with_columns(hit=nw.lit(1))
    total = int(wanted.select(nw.len().alias("n")).collect("pyarrow").item(0, "n"))
    counted = (
        reasons.filter(nw.col("bits") > 0)
        .select(*_PAIR, "rule")
        .join(wanted, on=_PAIR, how="left")
        .group_by("rule")
        .agg(nw.len().alias("pairs"), nw.col("hit").sum().fill_null(0).alias("right"))
    )
    found = [
        RuleQuality(rule, int(pairs), int(hits), int(hits) / int(pairs), int(hits) / total if total else 0.0)
        for rule, pairs, hits in (tuple(row.values()) for row in counted.collect("pyarrow").to_native().to_pylist())
    ]
    return sorted(found, key=lambda item: (-item.recall, item.rule))


def _judge(steps: pa.Table, score: str, total: int) -> Quality:
    if not pc.sum(steps["hit"]).as_py():
        return Quality(0.0, 0.0, None, 0.0, 0.0, 0, total, int(pc.sum(steps["n"]).as_py() or 0))
    hits = pc.cumulative_sum(pc.cast(steps["hit"], pa.float64()))
    taken = pc.cumulative_sum(pc.cast(steps["n"], pa.float64()))
    precision, recall = pc.divide(hits, taken), pc.divide(hits, float(total))
    gained = pc.divide(pc.cast(steps["hit"], pa.float64()), float(total))
    f1 = pc.divide(pc.multiply(hits, 2.0), pc.add(taken, float(total)))
    best = int(pc.index(f1, pc.max(f1)).as_py())
    return Quality(
        average_precision=float(pc.sum(pc.multiply(precision, gained)).as_py()),
        best_f1=float(f1[best].as_py()),
        best_threshold=float(steps[score][best].as_py()),
        precision_at_best=float(precision[best].as_py()),
        recall_at_best=float(recall[best].as_py()),
        found=int(hits[-1].as_py()),
        right=total,
        ranked=int(taken[-1].as_py()),
    )
