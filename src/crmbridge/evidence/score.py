"""From evidence to confidence: a prior plus a sum of bits, every part of it kept.

confidence = 1 / (1 + 2^-(prior + sum of bits)). Per rule the strongest item counts after decay, plus a capped bonus for
repeats, so that forty e-mails are not certainty. `docs/evidence.md` says it at length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import narwhals as nw

from crmbridge.errors import CrmBridgeError, DataError, PluginError, SettingsError
from crmbridge.evidence.rule import DAY_S, EVIDENCE_COLUMNS, Rule, Sight, Stance, Weight, Windows
from crmbridge.evidence.rules import BUILT_IN
from crmbridge.evidence.titles import classify
from crmbridge.snapshot.frames import Frames, distinct

PRIOR_BITS = -4.5
"""Before looking at the evidence, one in about twenty-three of the pairs that any rule proposes is real."""

CATCH_ALL_OPPORTUNITIES = 1_000
"""An account with more opportunities than this is a catch-all; evidence by way of the account is not looked for there."""


FAINT_SHARE = 0.05
"""Evidence of which less than this share is left, by its strength and its age, is not heard."""


class Keep(Protocol):
    """Computes a lazy frame once and hands it back under a name: a temporary table, a persisted Spark frame."""

    def __call__(self, frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
        """Compute; replaces a frame of that name."""

    def made(self, name: str, make: Callable[..., nw.LazyFrame[Any]], *given: Any) -> nw.LazyFrame[Any]:  # noqa: ANN401
        """Compute `make(*given)`, which nothing else may influence: an engine may remember what it comes to."""

    def forget(self, name: str) -> None:
        """Give a kept frame's space back."""


_PAIR = ["opportunity_key", "person_key"]


@dataclass(frozen=True)
class Scored:
    """What the evidence amounts to.

    Attributes:
        reasons: one row per (opportunity_key, person_key, rule): items, bits, occurred_s, source_entity, source_id.
        pairs: one row per (opportunity_key, person_key): bits (the prior and the sum of the reasons' bits, which are whole
            hundredths), bits_without_campaign, confidence, confidence_without_campaign, has_other_proposal (some proposing rule
            other than a campaign's speaks for the pair).
        rules: the rules in force, in order.
        sight: what the rules looked at.
    """

    reasons: nw.LazyFrame[Any]
    pairs: nw.LazyFrame[Any]
    rules: tuple[Rule, ...]
    sight: Sight


def score(
    frames: Frames,
    *,
    as_of_s: int,
    own_role_ids: nw.LazyFrame[Any] | None = None,
    rules: Sequence[Rule] = BUILT_IN,
    weights: Mapping[str, Weight] | None = None,
    windows: Windows | None = None,
    prior_bits: float = PRIOR_BITS,
    keep: Keep,
) -> Scored:
    """Score every (opportunity, person) pair that a rule proposes.

    Args:
        frames: the resolved frames of the snapshot.
        as_of_s: epoch seconds; evidence after it is ignored.
        own_role_ids: column role_id: roles that crmbridge wrote, which are never evidence.
        rules: in the order of reports; names must be unique.
        weights: overrides by rule name.
        windows: the spans of time; the defaults where left out.
        prior_bits: log2 odds of a proposed pair before its evidence.
        keep: computes a lazy frame once.

    Returns:
        k pairs and their reasons; empty in, empty out. No order.

    Raises:
        PluginError: two rules share a name, or a rule fails or gives other columns than it must.
        SettingsError: no rule that proposes is in force.
        DataError: a weight is given for a rule that is not there.
    """
    weighed = _weighed(rules, weights or {})
    sight = _sight(frames, as_of_s, own_role_ids, windows or Windows(), keep)
    proposing = [rule for rule in weighed if rule.stance is Stance.PROPOSES]
    if not proposing:
        raise SettingsError("no rule that proposes is in force; the others only weigh what these propose")
    proposals = _gathered("proposals", proposing, sight, keep)
    # What only a campaign proposes is never added, whatever supports it: weighing it further would cost a third of the time.
    campaigns = [rule.name for rule in proposing if rule.is_campaign]
    worth_weighing = proposals.filter(~nw.col("rule").is_in(campaigns)) if campaigns else proposals
    sight = replace(sight, pairs=keep(distinct(worth_weighing, *_PAIR), "proposed_pairs"))
    supporting = [rule for rule in weighed if rule.stance is Stance.SUPPORTS]
    supports = [_gathered("supports", supporting, sight, keep)] if supporting else []
    reasons = nw.concat([proposals, *supports])
    others = [rule.name for rule in proposing if not rule.is_campaign]
    pairs = keep.made("scored_pairs", _sum, reasons, [rule.name for rule in weighed if rule.is_campaign], others, prior_bits)
    return Scored(reasons=reasons, pairs=pairs, rules=weighed, sight=sight)


def _weighed(rules: Iterable[Rule], weights: Mapping[str, Weight]) -> tuple[Rule, ...]:
    rules = tuple(rules)
    names = [rule.name for rule in rules]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise PluginError(f"two rules are called {doubles[0]!r}", hint="give your own rule another name")
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise DataError(f"[weights] names {unknown[0]!r}, which is no rule; rules: {', '.join(names)}")
    return tuple(replace(rule, weight=weights.get(rule.name, rule.weight)) for rule in rules)


def _sight(frames: Frames, as_of_s: int, own_role_ids: nw.LazyFrame[Any] | None, windows: Windows, keep: Keep) -> Sight:
    if own_role_ids is not None:
        frames = replace(frames, roles=frames.roles.join(own_role_ids.select("role_id"), on="role_id", how="anti"))
    spans = keep(_spans(frames, windows, as_of_s), "opportunity_spans")
    return Sight(
        frames=frames,
        opportunities=spans,
        account_opportunities=keep.made("account_opportunities", _account_opportunities, frames, spans, CATCH_ALL_OPPORTUNITIES),
        person_accounts=keep.made("person_accounts", _person_accounts, frames),
        # Distinct first, and for good: an engine that pushes filters down would classify every contact.
        titles=keep.made("title_classes", classify, keep.made("titles", distinct, frames.contacts, "title")),
        windows=windows,
        as_of_s=as_of_s,
    )


def _spans(frames: Frames, windows: Windows, as_of_s: int) -> nw.LazyFrame[Any]:
    """When each opportunity was alive, with what is known: creation may be missing, or lie after the close."""
    as_of = nw.lit(as_of_s)
    closed_s = nw.when(nw.col("is_closed") & ~nw.col("close_s").is_null()).then(nw.col("close_s")).otherwise(as_of)
    ended = frames.opportunities.select("opportunity_key", "created_s", ended_s=closed_s)
    assumed = nw.col("ended_s") - windows.assumed_length_days * DAY_S
    opened_s = (
        nw.when(nw.col("created_s").is_null())
        .then(assumed)
        .otherwise(nw.when(nw.col("created_s") > nw.col("ended_s")).then(assumed).otherwise(nw.col("created_s")))
    )
    latest_s = nw.min_horizontal(nw.col("ended_s") + windows.after_close_days * DAY_S, as_of)
    return ended.select("opportunity_key", "ended_s", opened_s=opened_s, latest_s=latest_s)


def _account_opportunities(frames: Frames, spans: nw.LazyFrame[Any], most: int) -> nw.LazyFrame[Any]:
    """Every opportunity of every account with its span, and how many of the account's were alive during it.

    An account of more than `most` opportunities is a catch-all ("Individuals"): what happens there speaks for none of them, and
    pairing its people with its opportunities would cost without end; it is left out.
    """
    here = frames.opportunity_accounts.join(spans, on="opportunity_key")
    usual = here.group_by("account_id").agg(nw.len().alias("n")).filter(nw.col("n") <= most).drop("n")
    kept = here.join(usual, on="account_id")
    # Alive during mine = opened before my end, less those that ended before I opened; counted by one sorted pass.
    opened = kept.select("account_id", "opportunity_key", moment_s=nw.col("opened_s"), opens=nw.lit(1), ends=nw.lit(0))
    ended = kept.select("account_id", "opportunity_key", moment_s=nw.col("ended_s"), opens=nw.lit(0), ends=nw.lit(1))
    order = ["moment_s", "ends", "opportunity_key"]
    passed = nw.concat([opened, ended]).with_columns(
        opened_so_far=nw.col("opens").cum_sum().over("account_id", order_by=order),
        ended_so_far=nw.col("ends").cum_sum().over("account_id", order_by=order),
    )
    keys = ["account_id", "opportunity_key"]
    at_end = passed.filter(nw.col("ends") == 1).select(*keys, "opened_so_far")
    at_start = passed.filter(nw.col("opens") == 1).select(*keys, "ended_so_far")
    return (
        kept.join(at_end, on=keys)
        .join(at_start, on=keys)
        .with_columns(alive=(nw.col("opened_so_far") - nw.col("ended_so_far")).cast(nw.Float64))
        .drop("opened_so_far", "ended_so_far")
    )


def _person_accounts(frames: Frames) -> nw.LazyFrame[Any]:
    columns = ("person_key", "account_id", "contact_id")
    employed = frames.contacts.filter(~nw.col("account_id").is_null()).select(*columns)
    related = frames.relations.filter(nw.col("is_active")).select(*columns)
    matched = (
        frames.contacts.filter(nw.col("account_id").is_null() & ~nw.col("email_domain").is_null())
        .select("person_key", "contact_id", "email_domain")
        .join(frames.account_domains, on="email_domain")
        .select(*columns)
    )
    return distinct(nw.concat([employed, related, matched]), *columns)


def _gathered(name: str, rules: Sequence[Rule], sight: Sight, keep: Keep) -> nw.LazyFrame[Any]:
    # The moment of the pull differs every time; our own rules know it by `latest_s` only, so that what they come to does not.
    if all(id(rule.find) in _OUR_OWN for rule in rules):
        return keep.made(name, _gather, rules, replace(sight, as_of_s=0))
    return keep(_gather(rules, sight), name)


_OUR_OWN = frozenset(id(rule.find) for rule in BUILT_IN)


def _gather(rules: Sequence[Rule], sight: Sight) -> nw.LazyFrame[Any]:
    return nw.concat([_weigh(rule, sight) for rule in rules])


def _weigh(rule: Rule, sight: Sight) -> nw.LazyFrame[Any]:
    """Reduce a rule's evidence to one row per pair: the strongest item after decay, and how many source records."""
    strongest = (
        _heard(rule, sight)
        # The order of the fields decides between items; text after numbers, and what may be null comes last.
        .select(*_PAIR, "source_id", best=nw.struct("share", "source_id", "source_entity", "occurred_s"))
        .group_by(*_PAIR)
        .agg(nw.col("source_id").n_unique().cast(nw.Int64).alias("items"), nw.col("best").max())
        .with_columns(nw.col("best").struct.field(name) for name in ("share", "source_id", "source_entity", "occurred_s"))
    )
    if rule.stance is Stance.SUPPORTS:
        strongest = strongest.join(sight.proposed, on=_PAIR, how="semi")
    return strongest.select(
        *_PAIR,
        nw.lit(rule.name).alias("rule"),
        "items",
        _in_hundredths(_bits(rule.weight) * nw.col("share")).alias("bits"),
        "occurred_s",
        "source_entity",
        "source_id",
    ).filter(nw.col("bits") != 0)


def _heard(rule: Rule, sight: Sight) -> nw.LazyFrame[Any]:
    """A rule's evidence with the share of its bits that is left; what came too late or is too faint is gone."""
    strength = nw.when(nw.col("strength") > 1).then(nw.lit(1.0)).otherwise(nw.col("strength"))
    return (
        _found(rule, sight)
        .filter(~nw.col("person_key").is_null())
        .join(sight.opportunities, on="opportunity_key")
        .filter(nw.col("occurred_s").is_null() | (nw.col("occurred_s") <= nw.col("latest_s")))
        .with_columns(share=strength * _decay(rule.weight))
        .filter(nw.col("share") >= FAINT_SHARE)
    )


def _found(rule: Rule, sight: Sight) -> nw.LazyFrame[Any]:
    try:
        found = rule.find(sight)
        schema = found.collect_schema()
    except CrmBridgeError:
        raise
    except Exception as error:
        raise PluginError(f"rule {rule.name!r} failed: {type(error).__name__}") from error
    for name, fits in _FITS.items():
        if name not in schema:
            raise PluginError(f"rule {rule.name!r} gives no column {name!r}; it must give {', '.join(_FITS)}", hint=_SHAPE)
        if not fits(schema[name]):
            raise PluginError(f"rule {rule.name!r} gives column {name!r} as {schema[name]}", hint=_SHAPE)
    return found.select(*EVIDENCE_COLUMNS)


def _is_whole(dtype: nw.dtypes.DType) -> bool:
    return dtype.is_integer()


def _is_text(dtype: nw.dtypes.DType) -> bool:
    return dtype == nw.String


_FITS: dict[str, Callable[[nw.dtypes.DType], bool]] = {
    "opportunity_key": _is_whole,
    "person_key": _is_whole,
    "occurred_s": _is_whole,
    "strength": lambda dtype: dtype.is_numeric(),
    "source_entity": _is_text,
    "source_id": _is_text,
}
_SHAPE = "crmbridge.evidence.rule.evidence(...) shapes a frame into the right columns"


def _in_hundredths(bits: nw.Expr) -> nw.Expr:
    """Reasons are printed with two decimals, and what is printed must add up; multiplied out, as engines round halves apart."""
    return (bits * 100).round() / 100


def _decay(weight: Weight) -> nw.Expr:
    """The share of the bits that is left, in [0, 1]: 1 while the opportunity was open."""
    if weight.half_life_days is None:
        dated = nw.lit(1.0)
    else:
        before, after = nw.col("opened_s") - nw.col("occurred_s"), nw.col("occurred_s") - nw.col("ended_s")
        lag_days = nw.max_horizontal(before, after, nw.lit(0)).cast(nw.Float64) / DAY_S
        dated = (lag_days * (-math.log(2) / weight.half_life_days)).exp()
    return nw.when(nw.col("occurred_s").is_null()).then(nw.lit(weight.undated)).otherwise(dated)


def _bits(weight: Weight) -> nw.Expr:
    """Bits of the strongest item plus the capped bonus for repeats, both before decay."""
    if weight.repeat_bits == 0:
        return nw.lit(weight.bits)
    doublings = nw.col("items").cast(nw.Float64).log(2.0)
    bonus = nw.min_horizontal(doublings * weight.repeat_bits, nw.lit(weight.repeat_cap_bits))
    return nw.lit(weight.bits) + math.copysign(1.0, weight.bits) * bonus


def _sum(reasons: nw.LazyFrame[Any], campaigns: Sequence[str], others: Sequence[str], prior_bits: float) -> nw.LazyFrame[Any]:
    campaign = nw.col("rule").is_in(campaigns)
    other = nw.col("rule").is_in(others)
    summed = (
        reasons.with_columns(
            plain_bits=nw.when(campaign).then(nw.lit(0.0)).otherwise(nw.col("bits")),
            other=nw.when(other & (nw.col("bits") > 0)).then(nw.lit(1)).otherwise(nw.lit(0)),
        )
        .group_by(*_PAIR)
        .agg(nw.col("bits").sum(), nw.col("plain_bits").sum(), nw.col("other").max())
        # Rounded, so that the order of a floating sum never decides between two people.
        .with_columns((nw.col(name) + prior_bits).round(6) for name in ("bits", "plain_bits"))
    )
    return summed.select(
        *_PAIR,
        "bits",
        nw.col("plain_bits").alias("bits_without_campaign"),
        _logistic("bits").alias("confidence"),
        _logistic("plain_bits").alias("confidence_without_campaign"),
        (nw.col("other") == 1).alias("has_other_proposal"),
    )


def _logistic(column: str) -> nw.Expr:
    return 1.0 / (1.0 + (nw.col(column) * -math.log(2)).exp())
