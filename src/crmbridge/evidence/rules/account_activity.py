"""The person was active on the account, or on their own record, while the opportunity was alive; no opportunity was named."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import DAY_S, Rule, Sight, Stance, Weight, evidence
from crmbridge.evidence.rules.opportunity_activity import directness, thinned_by_crowd
from crmbridge.snapshot.frames import distinct


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    unlinked = sight.frames.participants.filter(nw.col("opportunity_key").is_null() & ~nw.col("occurred_s").is_null())
    columns = ("activity_id", "kind", "participant_kind", "person_key", "occurred_s", "account_id")
    # An activity that names an account speaks of that account; one that does not, of wherever the person belongs.
    named = unlinked.filter(~nw.col("account_id").is_null()).select(*columns)
    unnamed = (
        unlinked.filter(nw.col("account_id").is_null())
        .drop("account_id")
        .join(distinct(sight.person_accounts, "person_key", "account_id"), on="person_key")
        .select(*columns)
    )
    start = nw.col("opened_s") - sight.windows.before_days * DAY_S
    around = (
        nw.concat([named, unnamed])
        .join(sight.account_opportunities, on="account_id")
        .filter((nw.col("occurred_s") >= start) & (nw.col("occurred_s") <= nw.col("latest_s")))
        .select("activity_id", "kind", "participant_kind", "person_key", "occurred_s", "opportunity_key", "alive")
    )
    # With several opportunities of the account alive at once the activity speaks for each of them less.
    return evidence(
        thinned_by_crowd(sight, around),
        source="activity",
        source_id="activity_id",
        strength=directness() * nw.col("intimacy") / nw.col("alive").sqrt(),
    )


ACCOUNT_ACTIVITY = Rule(
    name="account_activity",
    stance=Stance.PROPOSES,
    weight=Weight(bits=2.0, half_life_days=45, undated=0.0, repeat_bits=0.5, repeat_cap_bits=1.5),
    reason="was active on the account while the opportunity was open",
    find=_find,
)
