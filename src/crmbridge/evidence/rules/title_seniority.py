"""The title suggests someone who decides; other titles say nothing."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence

_DECIDES = ("c_level", "vp", "director", "head")


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    senior = sight.titles.filter(nw.col("seniority").is_in(_DECIDES)).select("title")
    titled = (
        sight.frames.contacts.select("contact_id", "person_key", "title")
        .join(senior, on="title")
        .join(sight.proposed, on="person_key")
        .with_columns(occurred_s=nw.lit(None, dtype=nw.Int64))
    )
    return evidence(titled, source="contact", source_id="contact_id")


TITLE_SENIORITY = Rule(
    name="title_seniority",
    stance=Stance.SUPPORTS,
    weight=Weight(bits=0.6, undated=1.0),
    reason="has a title that decides",
    find=_find,
)
