"""The person took part in a task, call, e-mail or meeting that was logged on the opportunity."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence

_CROWD = 4
"""Up to this many people an activity is a conversation; beyond it, each of them was less likely there to buy."""


def thinned_by_crowd(sight: Sight, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Add `intimacy` in (0, 1]: 1 for a conversation, `_CROWD / people` for a larger gathering."""
    crowded = (
        sight.frames.participants.group_by("activity_id")
        .agg(nw.col("person_key").n_unique().alias("people"))
        .filter(nw.col("people") > _CROWD)
    )
    return frame.join(crowded, on="activity_id", how="left").with_columns(
        intimacy=nw.when(nw.col("people").is_null()).then(nw.lit(1.0)).otherwise(_CROWD / nw.col("people").cast(nw.Float64))
    )


def directness() -> nw.Expr:
    """How much of a conversation this was, in (0, 1]: being in copy is not taking part, a note is not talking."""
    kind = (
        nw.when(nw.col("kind").is_in(["meeting", "call"]))
        .then(nw.lit(1.0))
        .otherwise(nw.when(nw.col("kind") == "email").then(nw.lit(0.85)).otherwise(nw.lit(0.75)))
    )
    return kind * nw.when(nw.col("participant_kind") == "cc").then(nw.lit(0.5)).otherwise(nw.lit(1.0))


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    logged = sight.frames.participants.filter(~nw.col("opportunity_key").is_null())
    return evidence(
        thinned_by_crowd(sight, logged),
        source="activity",
        source_id="activity_id",
        strength=directness() * nw.col("intimacy"),
    )


OPPORTUNITY_ACTIVITY = Rule(
    name="opportunity_activity",
    stance=Stance.PROPOSES,
    weight=Weight(bits=4.0, half_life_days=60, undated=0.7, repeat_bits=0.6, repeat_cap_bits=2.0),
    reason="took part in an activity logged on the opportunity",
    find=_find,
)
