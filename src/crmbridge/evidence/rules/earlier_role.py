"""The person held a role on an earlier opportunity of the same account. Roles that crmbridge wrote do not count."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    spans = sight.account_opportunities.select("account_id", "opportunity_key", "opened_s", "ended_s")
    earlier = (
        # One person may hold several roles on an opportunity, by several records.
        sight.frames.roles.group_by("person_key", "opportunity_key")
        .agg(nw.col("role_id").min())
        .join(spans, on="opportunity_key")
        .rename({"opportunity_key": "earlier_key", "opened_s": "earlier_opened_s", "ended_s": "earlier_ended_s"})
    )
    repeated = (
        earlier.join(spans, on="account_id")
        .filter((nw.col("earlier_key") != nw.col("opportunity_key")) & (nw.col("earlier_opened_s") < nw.col("opened_s")))
        # An earlier opportunity that is still running, or ended later, speaks as of now.
        .with_columns(occurred_s=nw.min_horizontal("earlier_ended_s", "opened_s"))
    )
    return evidence(repeated, source="contact_role", source_id="role_id")


EARLIER_ROLE = Rule(
    name="earlier_role",
    stance=Stance.PROPOSES,
    weight=Weight(bits=2.5, half_life_days=400, undated=0.5, repeat_bits=0.5, repeat_cap_bits=1.0),
    reason="had a role on an earlier opportunity of the account",
    find=_find,
)
