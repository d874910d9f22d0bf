"""The contact was created together with the opportunity.

An import says little of each: a hundred people that day beside one opportunity, or a hundred opportunities beside one contact.
"""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import DAY_S, Rule, Sight, Stance, Weight, evidence

_PAIR = ("opportunity_key", "person_key")


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
    )
    nearest = (
        together.select(*_PAIR, record=nw.struct("lag_s", "contact_id", "occurred_s"))
        .group_by(*_PAIR)
        .agg(nw.col("record").min())
        .select(*_PAIR, *(nw.col("record").struct.field(name) for name in ("contact_id", "occurred_s")))
    )
    companions, siblings = nw.len().over("opportunity_key"), nw.len().over("contact_id")
    imported = nearest.with_columns(crowd=companions.cast(nw.Float64) * siblings.cast(nw.Float64))
    return evidence(imported, source="contact", source_id="contact_id", strength=1.0 / nw.col("crowd").sqrt())


CREATED_WITH_OPPORTUNITY = Rule(
    name="created_with_opportunity",
    stance=Stance.PROPOSES,
    weight=Weight(bits=1.5, undated=0.0, half_life_days=5),
    reason="the contact was created with the opportunity",
    find=_find,
)
