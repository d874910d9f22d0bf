"""The person works elsewhere: a partner, a supplier, a former employee of the account. Speaks against."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence
from crmbridge.snapshot.frames import distinct


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    # From the pairs outwards: joining people and opportunities by account alone would pair all of a catch-all account's.
    at_home = distinct(
        sight.proposed.join(distinct(sight.person_accounts, "person_key", "account_id"), on="person_key").join(
            sight.frames.opportunity_accounts, on=["opportunity_key", "account_id"], how="semi"
        ),
        "opportunity_key",
        "person_key",
    )
    # Where the opportunity has no account, nobody is known to be a stranger to it.
    placed = distinct(sight.frames.opportunity_accounts, "opportunity_key")
    # People without any account are not known to be elsewhere.
    employed = (
        sight.frames.contacts.filter(~nw.col("account_id").is_null()).group_by("person_key").agg(nw.col("contact_id").min())
    )
    away = (
        sight.proposed.join(placed, on="opportunity_key", how="semi")
        .join(at_home, on=["opportunity_key", "person_key"], how="anti")
        .join(employed, on="person_key")
        .with_columns(occurred_s=nw.lit(None, dtype=nw.Int64))
    )
    return evidence(away, source="contact", source_id="contact_id")


OTHER_ACCOUNT = Rule(
    name="other_account",
    stance=Stance.SUPPORTS,
    weight=Weight(bits=-1.5, undated=1.0),
    reason="belongs to another account",
    find=_find,
)
