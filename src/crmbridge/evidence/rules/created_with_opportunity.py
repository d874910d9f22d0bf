"""The contact was created together with the opportunity; an import of a hundred contacts that day says little of each."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import DAY_S, Rule, Sight, Stance, Weight, evidence


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    span_s = sight.windows.created_with_days * DAY_S
    dated = sight.frames.opportunities.filter(~nw.col("created_s").is_null()).select(
        "opportunity_key", opportunity_created_s=nw.col("created_s")
    )
    contacts = sight.frames.contacts.filter(~nw.col("created_s").is_null() & ~nw.col("account_id").is_null())
    together = (
        contacts.select("contact_id", "person_key", "account_id", occurred_s=nw.col("created_s"))
        .join(sight.account_opportunities.select("account_id", "opportunity_key"), on="account_id")
        .join(dated, on="opportunity_key")
        .with_columns(lag_s=(nw.col("occurred_s") - nw.col("opportunity_created_s")).abs())
        .filter(nw.col("lag_s") <= span_s)
        .with_columns(companions=nw.len().over("opportunity_key").cast(nw.Float64))
    )
    return evidence(together, source="contact", source_id="contact_id", strength=1.0 / nw.col("companions").sqrt())


CREATED_WITH_OPPORTUNITY = Rule(
    name="created_with_opportunity",
    stance=Stance.PROPOSES,
    weight=Weight(bits=1.5, undated=0.0, half_life_days=5),
    reason="the contact was created with the opportunity",
    find=_find,
)
