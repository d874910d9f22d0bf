"""While this opportunity was open the person worked on another one instead: speaks against."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import DAY_S, Rule, Sight, Stance, Weight, evidence
from crmbridge.evidence.rules.opportunity_activity import directness, thinned_by_crowd
from crmbridge.snapshot.frames import distinct


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    logged = sight.frames.participants.filter(~nw.col("opportunity_key").is_null())
    elsewhere = thinned_by_crowd(sight, logged.filter(~nw.col("occurred_s").is_null())).select(
        "person_key",
        "activity_id",
        "occurred_s",
        other_key=nw.col("opportunity_key"),
        strength=directness() * nw.col("intimacy"),
    )
    # Someone who is active here as well is no stranger here, whatever else they do.
    strangers = sight.proposed.join(
        distinct(logged, "opportunity_key", "person_key"), on=["opportunity_key", "person_key"], how="anti"
    )
    start = nw.col("opened_s") - sight.windows.before_days * DAY_S
    busy = (
        strangers.join(sight.opportunities, on="opportunity_key")
        .join(elsewhere, on="person_key")
        .filter(
            (nw.col("other_key") != nw.col("opportunity_key"))
            & (nw.col("occurred_s") >= start)
            & (nw.col("occurred_s") <= nw.col("latest_s"))
        )
    )
    return evidence(busy, source="activity", source_id="activity_id", strength=nw.col("strength"))


PARALLEL_OPPORTUNITY = Rule(
    name="parallel_opportunity",
    stance=Stance.SUPPORTS,
    weight=Weight(bits=-1.5, half_life_days=60, undated=0.0),
    reason="was active on another opportunity at that time, and not on this one",
    find=_find,
)
