"""The person has a relation to the opportunity's account that is not their own employment: a consultant, a board member."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    # Some CRMs state the employment itself as a relation too; that is where the person belongs anyway.
    employment = sight.frames.contacts.select("contact_id", "account_id")
    related = (
        sight.frames.relations.filter(nw.col("is_active"))
        .join(employment, on=["contact_id", "account_id"], how="anti")
        .select("relation_id", "person_key", "account_id")
        .join(sight.proposed, on="person_key")
        .join(sight.frames.opportunity_accounts, on=["opportunity_key", "account_id"], how="semi")
        .with_columns(occurred_s=nw.lit(None, dtype=nw.Int64))
    )
    return evidence(related, source="account_contact_relation", source_id="relation_id")


ACCOUNT_RELATION = Rule(
    name="account_relation",
    stance=Stance.SUPPORTS,
    weight=Weight(bits=0.4, undated=1.0),
    reason="has a relation to the account",
    find=_find,
)
