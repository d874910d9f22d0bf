"""The contact has no account, but an address at the domain of the opportunity's account."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Rule, Sight, Stance, Weight, evidence


def _find(sight: Sight) -> nw.LazyFrame[Any]:
    homeless = sight.frames.contacts.filter(nw.col("account_id").is_null() & ~nw.col("email_domain").is_null())
    matched = (
        homeless.select("contact_id", "person_key", "email_domain")
        .join(sight.frames.account_domains, on="email_domain")
        .join(sight.proposed, on="person_key")
        .join(sight.frames.opportunity_accounts, on=["opportunity_key", "account_id"], how="semi")
        .with_columns(occurred_s=nw.lit(None, dtype=nw.Int64))
    )
    return evidence(matched, source="contact", source_id="contact_id")


EMAIL_DOMAIN = Rule(
    name="email_domain",
    stance=Stance.SUPPORTS,
    weight=Weight(bits=0.5, undated=1.0),
    reason="has an address at the account's e-mail domain",
    find=_find,
)
