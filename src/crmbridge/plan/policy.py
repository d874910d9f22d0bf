"""The policy: which opportunities, how sure, how many, who never, and how much at once. `[policy]` in the settings."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ExistingRoles(StrEnum):
    """What to do with opportunities that already have roles."""

    COMPLETE = "complete"
    SKIP = "skip"


class PrimaryRule(StrEnum):
    """When an added role may be made the opportunity's primary."""

    WHERE_NONE = "where_none"
    NEVER = "never"


class Policy(BaseModel):
    """What a plan may contain.

    Attributes:
        threshold: the least confidence, 0 to 1, at which a role is added.
        opportunities: open, closed, or all of them.
        closed_since: closed opportunities with an earlier close date, or none, are out of scope; None takes them all.
        existing_roles: complete an opportunity that has roles, or skip it.
        max_roles_per_opportunity: existing roles count; the most confident people come first.
        roles_allowed: the roles a plan may write; empty allows all that the CRM offers.
        default_role: for people whose title says nothing; None leaves the role blank.
        primary: where nobody is primary, the most confident added person becomes it; or never.
        owners, teams, record_types, types: only opportunities with one of these; empty means any.
        exclude_employees: leave out contacts with a colleague's address.
        exclude_left: leave out people who left their company.
        exclude_account_types: leave out people of other accounts of these types (in any letter case).
        exclude_email_domains: leave out people with an address at these registrable domains, such as acme.com; addresses at
            free mail providers have none.
        max_changes: the most roles one plan may write.
        max_changed_percent: the most opportunities in scope, in percent, that one plan may change.
        max_writes: take only so many roles, the most confident ones; None takes all.
        max_age_days: an older plan is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, gt=0, lt=1)
    opportunities: Literal["open", "closed", "all"] = "all"
    closed_since: date | None = None
    existing_roles: ExistingRoles = ExistingRoles.COMPLETE
    max_roles_per_opportunity: int = Field(default=10, ge=1)
    roles_allowed: tuple[str, ...] = ()
    default_role: str | None = None
    primary: PrimaryRule = PrimaryRule.WHERE_NONE
    owners: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    record_types: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    exclude_employees: bool = True
    exclude_left: bool = True
    exclude_account_types: tuple[str, ...] = ("Partner", "Competitor")
    exclude_email_domains: tuple[str, ...] = ()
    max_changes: int = Field(default=10_000, ge=0)
    max_changed_percent: float = Field(default=25.0, ge=0, le=100)
    max_writes: int | None = Field(default=None, ge=0)
    max_age_days: int = Field(default=14, ge=1)


class Decision(StrEnum):
    """What became of a candidate, in the order in which the reasons are looked at."""

    OUT_OF_SCOPE = "out_of_scope"
    HAS_ROLE = "has_role"
    NO_CONTACT = "no_contact"
    EMPLOYEE = "employee"
    LEFT_COMPANY = "left_company"
    EXCLUDED_ACCOUNT = "excluded_account"
    EXCLUDED_DOMAIN = "excluded_domain"
    VETOED = "vetoed"
    OPPORTUNITY_HAS_ROLES = "opportunity_has_roles"
    CAMPAIGN_ONLY = "campaign_only"
    BELOW_THRESHOLD = "below_threshold"
    ROLE_NOT_ALLOWED = "role_not_allowed"
    OVER_CAP = "over_cap"
    OVER_MAX_WRITES = "over_max_writes"
    ADD = "add"


MEANING: dict[Decision, str] = {
    Decision.OUT_OF_SCOPE: "the policy leaves this opportunity out",
    Decision.HAS_ROLE: "the person already has a role on the opportunity",
    Decision.NO_CONTACT: "the person is only a lead: there is no contact to link",
    Decision.EMPLOYEE: "a colleague, not a buyer",
    Decision.LEFT_COMPANY: "left the company",
    Decision.EXCLUDED_ACCOUNT: "works for a partner, a competitor, or another excluded type of account",
    Decision.EXCLUDED_DOMAIN: "has an address at an excluded domain",
    Decision.VETOED: "a person removed or rejected this role, or it was undone",
    Decision.OPPORTUNITY_HAS_ROLES: "the policy skips opportunities that already have roles",
    Decision.CAMPAIGN_ONLY: "only a campaign response points here, which is never enough",
    Decision.BELOW_THRESHOLD: "not sure enough",
    Decision.ROLE_NOT_ALLOWED: "the policy does not allow the role this person would get",
    Decision.OVER_CAP: "the opportunity has as many roles as the policy allows",
    Decision.OVER_MAX_WRITES: "more confident roles came first",
    Decision.ADD: "will be added",
}
