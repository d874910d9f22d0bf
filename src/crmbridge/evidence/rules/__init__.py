"""The built-in rules, one module each."""

from __future__ import annotations

from crmbridge.evidence.rule import Rule
from crmbridge.evidence.rules.account_activity import ACCOUNT_ACTIVITY
from crmbridge.evidence.rules.account_relation import ACCOUNT_RELATION
from crmbridge.evidence.rules.campaign_response import CAMPAIGN_RESPONSE
from crmbridge.evidence.rules.contact_lookup import CONTACT_LOOKUP
from crmbridge.evidence.rules.created_with_opportunity import CREATED_WITH_OPPORTUNITY
from crmbridge.evidence.rules.earlier_role import EARLIER_ROLE
from crmbridge.evidence.rules.email_domain import EMAIL_DOMAIN
from crmbridge.evidence.rules.lead_conversion import LEAD_CONVERSION
from crmbridge.evidence.rules.opportunity_activity import OPPORTUNITY_ACTIVITY
from crmbridge.evidence.rules.other_account import OTHER_ACCOUNT
from crmbridge.evidence.rules.parallel_opportunity import PARALLEL_OPPORTUNITY
from crmbridge.evidence.rules.title_seniority import TITLE_SENIORITY

BUILT_IN: tuple[Rule, ...] = (
    LEAD_CONVERSION,
    CONTACT_LOOKUP,
    OPPORTUNITY_ACTIVITY,
    ACCOUNT_ACTIVITY,
    CAMPAIGN_RESPONSE,
    EARLIER_ROLE,
    CREATED_WITH_OPPORTUNITY,
    PARALLEL_OPPORTUNITY,
    OTHER_ACCOUNT,
    ACCOUNT_RELATION,
    EMAIL_DOMAIN,
    TITLE_SENIORITY,
)
"""In the order in which reports list them."""

__all__ = ["BUILT_IN"]
