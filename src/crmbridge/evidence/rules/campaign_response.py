"""The person responded to a campaign in the lookback before the close. Never enough by itself: no circles."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import DAY_S, Rule, Sight, Stance, Weight, evidence
from crmbridge.snapshot.frames import distinct


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    responded = sight.frames.responses.filter(nw.col("has_responded") & ~nw.col("responded_s").is_null())
    start = nw.col("ended_s") - sight.windows.lookback_days * DAY_S
    timely = (
        responded.join(distinct(sight.person_accounts, "person_key", "account_id"), on="person_key")
        .join(sight.account_opportunities, on="account_id")
        .filter((nw.col("responded_s") >= start) & (nw.col("responded_s") <= nw.col("ended_s")))
        .with_columns(occurred_s=nw.col("responded_s"))
    )
    # A date taken from the member's creation says less about when the person answered.
    strength = nw.when(nw.col("is_inferred")).then(nw.lit(0.7)).otherwise(nw.lit(1.0))
    # By campaign, not by member: one person may be in a campaign as a lead and as a contact.
    return evidence(timely, source="campaign", source_id="campaign_id", strength=strength)


CAMPAIGN_RESPONSE = Rule(
    name="campaign_response",
    stance=Stance.PROPOSES,
    weight=Weight(bits=1.0, half_life_days=120, undated=0.0, repeat_bits=0.25, repeat_cap_bits=0.5),
    reason="responded to a campaign in the lookback",
    find=_find,
    is_campaign=True,
)
