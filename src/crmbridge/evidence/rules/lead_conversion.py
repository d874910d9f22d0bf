"""A lead was converted into this very opportunity: the CRM itself says who it came from."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    conversions = sight.frames.conversions.with_columns(occurred_s=nw.col("converted_s"))
    return evidence(conversions, source="lead", source_id="lead_id")


LEAD_CONVERSION = Rule(
    name="lead_conversion",
    stance=Stance.PROPOSES,
    weight=Weight(bits=6.0, undated=1.0),
    reason="the lead that became this opportunity",
    find=_find,
)
