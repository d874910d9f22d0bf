"""From scored pairs to decisions: one row per candidate, with what becomes of it and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw

from crmbridge.evidence.score import Keep, Scored
from crmbridge.plan.policy import Decision, ExistingRoles, Policy, PrimaryRule
from crmbridge.snapshot.frames import Frames, distinct

_PAIR = ["opportunity_key", "person_key"]
_SCORES = ("confidence", "confidence_without_campaign", "bits")
_RECORD = ("person_key", "contact_id", "account_id", "title", "has_left", "is_employee", "account_type", "email_domain")


@dataclass(frozen=True)
class Decided:
    """The decisions of a plan.

    Attributes:
        candidates: one row per (opportunity_key, person_key): contact_id (null for a lead without contact), role,
            is_primary, confidence, bits, confidence_without_campaign, decision, primary_contact_id (of the opportunity, before).
        in_scope: opportunity_key of the opportunities that the policy lets in.
    """

    candidates: nw.LazyFrame[Any]
    in_scope: nw.LazyFrame[Any]


def decide(
    frames: Frames,
    scored: Scored,
    policy: Policy,
    *,
    chosen: nw.LazyFrame[Any],
    vetoes: nw.LazyFrame[Any],
    primaries: nw.LazyFrame[Any],
    has_primary: bool,
    keep: Keep,
) -> Decided:
    """Judge every candidate.

    Args:
        frames: the resolved frames.
        scored: pairs and reasons.
        policy: what the plan may contain.
        chosen: what `chosen_contacts` picked, with the `role` each would get (`evidence.role_names.suggest`); it may be null.
        vetoes: opportunity_key, person_key that must never be added.
        primaries: opportunity_key, primary_contact_id of the opportunities that have one, whoever it is.
        has_primary: whether the CRM knows a primary contact.
        keep: computes a lazy frame once.
    """
    in_scope = keep.made("in_scope", _scope, frames, policy)
    judged = keep.made("judged", _judge, frames, scored.pairs, policy, in_scope, chosen, vetoes, primaries)
    candidates = keep.made("candidates", _placed, judged, policy, has_primary)
    keep.forget("judged")
    return Decided(candidates, in_scope)


def _scope(frames: Frames, policy: Policy) -> nw.LazyFrame[Any]:
    scope = frames.opportunities
    if policy.opportunities != "all":
        scope = scope.filter(nw.col("is_closed") == (policy.opportunities == "closed"))
    if policy.closed_since is not None:
        scope = scope.filter(~nw.col("is_closed") | (nw.col("close_date") >= policy.closed_since))
    for column, wanted in (
        ("owner_id", policy.owners),
        ("team", policy.teams),
        ("record_type", policy.record_types),
        ("type", policy.types),
    ):
        if wanted:
            scope = scope.filter(nw.col(column).is_in(list(wanted)))
    return scope.select("opportunity_key")


def chosen_contacts(frames: Frames, pairs: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Pick the record of each person that stands for them on an opportunity: of its account first, then who still works there.

    Args:
        frames: the resolved frames.
        pairs: opportunity_key, person_key.

    Returns:
        opportunity_key, person_key, contact_id, title, on_account, has_left, is_employee (any record), account_type,
        email_domain; people without a contact are missing.
    """
    here = frames.opportunity_accounts.with_columns(here=nw.lit(1))
    records = (
        pairs.select(*_PAIR)
        .join(frames.contacts.select(*_RECORD), on="person_key")
        .join(here, on=["opportunity_key", "account_id"], how="left")
        .with_columns(on_account=~nw.col("here").is_null())
        .drop("here", "account_id")
    )
    several = frames.people.filter(nw.col("contacts") > 1).select("person_key")
    # Nearly everybody has one record; only for the others is there something to choose.
    return nw.concat([records.join(several, on="person_key", how="anti"), _preferred(records.join(several, on="person_key"))])


def _preferred(records: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    ranked = records.with_columns(
        home=nw.when(nw.col("on_account")).then(nw.lit(1)).otherwise(nw.lit(0)),
        stays=nw.when(nw.col("has_left")).then(nw.lit(0)).otherwise(nw.lit(1)),
        colleague=nw.when(nw.col("is_employee")).then(nw.lit(1)).otherwise(nw.lit(0)),
        one=nw.lit(1, dtype=nw.Int64),
    )
    # The last in this order; an aggregate that takes the last by an order is not known to every engine.
    placed = ranked.with_columns(
        place=nw.col("one").cum_sum().over(*_PAIR, order_by=["home", "stays", "contact_id"]),
        held=nw.col("one").sum().over(*_PAIR),
        colleagues=nw.col("colleague").max().over(*_PAIR),
    )
    chosen = placed.filter(nw.col("place") == nw.col("held")).with_columns(is_employee=nw.col("colleagues") == 1)
    return chosen.select(*records.collect_schema().names())


def _judge(
    frames: Frames,
    pairs: nw.LazyFrame[Any],
    policy: Policy,
    in_scope: nw.LazyFrame[Any],
    chosen: nw.LazyFrame[Any],
    vetoes: nw.LazyFrame[Any],
    primaries: nw.LazyFrame[Any],
) -> nw.LazyFrame[Any]:
    def flagged(frame: nw.LazyFrame[Any], columns: list[str], name: str) -> nw.LazyFrame[Any]:
        return distinct(frame, *columns).with_columns(nw.lit(1).alias(name))

    held = frames.roles.group_by("opportunity_key").agg(nw.col("person_key").n_unique().cast(nw.Int64).alias("held"))
    facts = (
        pairs.join(flagged(in_scope, ["opportunity_key"], "in_scope"), on="opportunity_key", how="left")
        .join(chosen.drop("title"), on=_PAIR, how="left")
        .join(flagged(frames.roles, _PAIR, "has_role"), on=_PAIR, how="left")
        .join(flagged(vetoes, _PAIR, "vetoed"), on=_PAIR, how="left")
        .join(held, on="opportunity_key", how="left")
        .join(primaries, on="opportunity_key", how="left")
        .with_columns(held=nw.col("held").fill_null(0))
    )
    judged = facts.with_columns(decision=_first_match(_objections(policy), nw.lit(Decision.ADD.value)))
    return judged.select(*_PAIR, "contact_id", "role", *_SCORES, "held", "primary_contact_id", "decision")


def _objections(policy: Policy) -> list[tuple[Decision, nw.Expr]]:
    """Every ground for leaving a candidate alone, in the documented order."""
    types = [name.strip().lower() for name in policy.exclude_account_types]
    domains = [name.lower().strip(" @.") for name in policy.exclude_email_domains]
    grounds = [
        (Decision.OUT_OF_SCOPE, nw.col("in_scope").is_null()),
        (Decision.HAS_ROLE, ~nw.col("has_role").is_null()),
        (Decision.NO_CONTACT, nw.col("contact_id").is_null()),
    ]
    if policy.exclude_employees:
        grounds.append((Decision.EMPLOYEE, nw.col("is_employee")))
    if policy.exclude_left:
        grounds.append((Decision.LEFT_COMPANY, nw.col("has_left")))
    if types:
        stranger = ~nw.col("on_account") & nw.col("account_type").str.strip_chars().str.to_lowercase().is_in(types)
        grounds.append((Decision.EXCLUDED_ACCOUNT, stranger))
    if domains:
        grounds.append((Decision.EXCLUDED_DOMAIN, nw.col("email_domain").is_in(domains)))
    grounds.append((Decision.VETOED, ~nw.col("vetoed").is_null()))
    if policy.existing_roles is ExistingRoles.SKIP:
        grounds.append((Decision.OPPORTUNITY_HAS_ROLES, nw.col("held") > 0))
    grounds += [
        (Decision.CAMPAIGN_ONLY, ~nw.col("has_other_proposal")),
        (Decision.BELOW_THRESHOLD, nw.col("confidence") < policy.threshold),
    ]
    if policy.roles_allowed:
        allowed = nw.col("role").is_in(list(policy.roles_allowed))
        grounds.append((Decision.ROLE_NOT_ALLOWED, ~allowed.fill_null(value=False)))
    return grounds


def _first_match(grounds: list[tuple[Decision, nw.Expr]], otherwise: nw.Expr) -> nw.Expr:
    expression = otherwise
    for decision, ground in reversed(grounds):
        expression = nw.when(ground.fill_null(value=False)).then(nw.lit(decision.value)).otherwise(expression)
    return expression


def _placed(judged: nw.LazyFrame[Any], policy: Policy, has_primary: bool) -> nw.LazyFrame[Any]:  # noqa: FBT001
    return _with_primary(_ranked(judged, policy), policy, has_primary=has_primary)


def _ranked(judged: nw.LazyFrame[Any], policy: Policy) -> nw.LazyFrame[Any]:
    """Apply the cap per opportunity, then the overall limit; the most confident come first, ties by id."""
    adding = judged.filter(nw.col("decision") == Decision.ADD.value)
    resting = judged.filter(nw.col("decision") != Decision.ADD.value).with_columns(place=nw.lit(None, dtype=nw.Int64))
    places = adding.with_columns(sureness=-nw.col("bits"), one=nw.lit(1, dtype=nw.Int64)).with_columns(
        place=nw.col("one").cum_sum().over("opportunity_key", order_by=["sureness", "contact_id"])
    )
    capped = places.drop("one", "sureness").with_columns(
        decision=nw.when(nw.col("held") + nw.col("place") > policy.max_roles_per_opportunity)
        .then(nw.lit(Decision.OVER_CAP.value))
        .otherwise(nw.col("decision"))
    )
    if policy.max_writes is not None:
        capped = _limited(capped, policy.max_writes)
    columns = judged.collect_schema().names()
    return nw.concat([capped.select(*columns, nw.col("place").cast(nw.Int64)), resting.select(*columns, "place")])


def _limited(capped: nw.LazyFrame[Any], max_writes: int) -> nw.LazyFrame[Any]:
    counted = nw.when(nw.col("decision") == Decision.ADD.value).then(nw.lit(1)).otherwise(nw.lit(0))
    order = ["sureness", "opportunity_key", "contact_id"]
    numbered = capped.with_columns(sureness=-nw.col("bits"), one=counted).with_columns(
        number=nw.col("one").cum_sum().over(order_by=order)
    )
    return numbered.with_columns(
        decision=nw.when((nw.col("one") == 1) & (nw.col("number") > max_writes))
        .then(nw.lit(Decision.OVER_MAX_WRITES.value))
        .otherwise(nw.col("decision"))
    )


def _with_primary(ranked: nw.LazyFrame[Any], policy: Policy, *, has_primary: bool) -> nw.LazyFrame[Any]:
    """The first person added to an opportunity without a primary becomes it."""
    if not has_primary or policy.primary is PrimaryRule.NEVER:
        chosen = nw.lit(value=False)
    else:
        chosen = (nw.col("decision") == Decision.ADD.value) & (nw.col("place") == 1) & nw.col("primary_contact_id").is_null()
    return ranked.with_columns(is_primary=chosen.fill_null(value=False)).select(
        *_PAIR,
        "contact_id",
        "role",
        "is_primary",
        *_SCORES,
        "decision",
        "primary_contact_id",
    )
