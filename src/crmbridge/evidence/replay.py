"""Replay: hide roles that people gave, score without them, and see which come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw

from crmbridge.errors import SettingsError
from crmbridge.evidence.proof import Quality, RuleQuality, quality, rule_quality
from crmbridge.evidence.score import Keep, Scored
from crmbridge.snapshot.frames import Frames, distinct

_PAIR = ["opportunity_key", "person_key"]


@dataclass(frozen=True)
class Proof:
    """How well the rules bring back roles that people added, once those are hidden.

    Only opportunities with a hidden role are judged. Every precision is a lower bound: people who belong there, but whom nobody
    ever recorded, count as wrong.

    Attributes:
        hidden: how many (opportunity, person) pairs were hidden.
        overall: of all candidates that have no visible role.
        at_threshold: precision and recall at the policy's threshold.
        rules: each rule by itself, best recall first.
    """

    hidden: int
    overall: Quality
    at_threshold: tuple[float, float]
    rules: tuple[RuleQuality, ...]


def replay(
    frames: Frames,
    own: nw.LazyFrame[Any],
    *,
    rescore: Callable[[Frames], Scored],
    draw: Callable[[nw.LazyFrame[Any]], nw.LazyFrame[Any]],
    threshold: float,
    keep: Keep,
) -> Proof:
    """Hide what `draw` picks of the roles that people gave, and judge what `rescore` makes of the rest.

    Roles that we wrote ourselves are taken for not there, as they were before: nobody has confirmed them, and leaving them out of
    the judgement would leave out just the pairs the rules were surest of. So the proof is the same before and after an apply.

    Args:
        frames: of the snapshot.
        own: role_id of every role that we wrote.
        rescore: scores frames without the hidden roles.
        draw: picks the roles to hide.
        threshold: the confidence of the figures `at_threshold`.
        keep: computes a lazy frame once.
    """
    given = keep(frames.roles.join(own, on="role_id", how="anti"), "given_roles")
    hidden = keep(draw(given), "hidden_roles")
    shown = keep(given.join(hidden.select("role_id"), on="role_id", how="anti"), "shown_roles")
    visible = keep(distinct(shown, *_PAIR), "visible_pairs")
    right = keep(distinct(hidden, *_PAIR).join(visible, on=_PAIR, how="anti"), "right_pairs")
    return _judged(rescore(replace(frames, roles=shown)), visible, right, threshold, keep)


def _judged(scored: Scored, visible: nw.LazyFrame[Any], right: nw.LazyFrame[Any], threshold: float, keep: Keep) -> Proof:
    # Of an opportunity on which nothing was hidden nobody has said who belongs: what is found there is neither right nor wrong.
    told = keep(distinct(right, "opportunity_key"), "told_opportunities")
    judged = scored.pairs.join(told, on="opportunity_key", how="semi")
    candidates = keep(judged.join(visible, on=_PAIR, how="anti"), "open_pairs")
    reasons = scored.reasons.join(candidates.select(*_PAIR), on=_PAIR, how="semi")
    taken = candidates.filter((nw.col("confidence") >= threshold) & nw.col("has_other_proposal"))
    marked = taken.join(right.with_columns(hit=nw.lit(1)), on=_PAIR, how="left")
    counts = marked.select(n=nw.len(), hits=nw.col("hit").sum()).collect("pyarrow").to_native().to_pylist()[0]
    overall = quality(candidates, right)
    hits, n = int(counts["hits"] or 0), int(counts["n"])
    at_threshold = (hits / n if n else 0.0, hits / overall.right if overall.right else 0.0)
    return Proof(overall.right, overall, at_threshold, tuple(rule_quality(reasons, right)))


def drawn(given: nw.LazyFrame[Any], *, hide_percent: int, seed: int) -> nw.LazyFrame[Any]:
    """A seeded share of the roles, the same on every machine: a hash of the role's id decides.

    Raises:
        SettingsError: `hide_percent` is not 1 to 99.
    """
    if not 1 <= hide_percent <= 99:
        raise SettingsError(f"hide_percent is {hide_percent}; allowed: 1 to 99")
    roles = given.to_native()
    lot = f"('0x' || substr(sha256(role_id || '{int(seed)}'), 1, 8))::BIGINT % 100"
    hidden: nw.LazyFrame[Any] = nw.from_native(roles.filter(f"{lot} < {int(hide_percent)}"))
    return hidden
