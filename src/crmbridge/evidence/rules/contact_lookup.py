"""A field of the opportunity itself names the person (primary contact, economic buyer ...)."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    lookups = sight.frames.lookups.with_columns(occurred_s=nw.lit(None, dtype=nw.Int64))
    return evidence(lookups, source="opportunity_contact_lookup", source_id="lookup_id")


CONTACT_LOOKUP = Rule(
    name="contact_lookup",
    stance=Stance.PROPOSES,
    weight=Weight(bits=7.0, undated=1.0),
    reason="named in a contact field of the opportunity",
    find=_find,
)
