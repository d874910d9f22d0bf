"""Which role a person would get: what this organisation did before comes first, then what the title suggests.

In this order: the role that people named by the same contact field of the opportunity usually get; the role that people of the
same title, then of the same class of titles, usually get; the title's suggestion under the CRM's own name for it; the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from crmbridge.evidence.rule import Sight
from crmbridge.evidence.score import Keep
from crmbridge.evidence.titles import learned_roles, role_mapping
from crmbridge.snapshot.frames import Frames, distinct

_PAIR = ["opportunity_key", "person_key"]
_MIN_ROWS = 5
_MIN_SHARE = 0.6


def suggest(
    sight: Sight,
    chosen: nw.LazyFrame[Any],
    *,
    role_names: Sequence[str],
    default_role: str | None,
    keep: Keep,
) -> nw.LazyFrame[Any]:
    """Name a role for every candidate.

    Args:
        sight: what the rules looked at; roles that crmbridge wrote are not among it.
        chosen: opportunity_key, person_key, contact_id, title; one row per candidate with a contact.
        role_names: the CRM's own roles, in its order; empty where any text is allowed.
        default_role: where nothing is known; None leaves the role blank.
        keep: computes a lazy frame once.

    Returns:
        `chosen` with a further column `role` (null for blank).
    """
    # What the CRM no longer allows teaches nothing: it would be refused.
    given = sight.frames.roles.filter(nw.col("role").str.strip_chars() != "")
    if role_names:
        given = given.filter(nw.col("role").is_in(list(role_names)))
    titles = keep.made("title_roles", _title_roles, sight.frames, sight.titles, given, tuple(role_names))
    fields = keep.made("field_roles", _field_roles, sight.frames, given)
    named = chosen.join(titles, on="title", how="left").join(fields, on=_PAIR, how="left")
    role = nw.coalesce(nw.col("field_role"), nw.col("title_role"), nw.lit(default_role, dtype=nw.String))
    return named.with_columns(role=role).select(*chosen.collect_schema().names(), "role")


def _title_roles(
    frames: Frames, classes: nw.LazyFrame[Any], given: nw.LazyFrame[Any], role_names: Sequence[str]
) -> nw.LazyFrame[Any]:
    history = given.select("contact_id", "role").join(frames.contacts.select("contact_id", "title"), on="contact_id")
    learned = learned_roles(history, classes=classes, min_rows=_MIN_ROWS, min_share=_MIN_SHARE).select("title_key", "role")
    by_title = learned.rename({"role": "exact_role"})
    by_class = learned.rename({"role": "class_role", "title_key": "class_key"})
    joined = classes.join(by_title, on="title_key", how="left").join(by_class, on="class_key", how="left")
    mapped = nw.lit(None, dtype=nw.String)
    for suggestion, name in role_mapping(role_names).items():
        if name is not None:
            mapped = nw.when(nw.col("suggested_role") == suggestion).then(nw.lit(name)).otherwise(mapped)
    return joined.select("title", title_role=nw.coalesce(nw.col("exact_role"), nw.col("class_role"), mapped))


def _field_roles(frames: Frames, given: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The role that people named by a contact field usually get; where several fields name one person, the surest."""
    lookups = distinct(frames.lookups, *_PAIR, "field")
    roles = distinct(given, *_PAIR, "role")
    counted = lookups.join(roles, on=_PAIR).group_by("field", "role").agg(nw.len().cast(nw.Int64).alias("n"))
    # More than half of the rows: no field has two usual roles.
    usual = counted.with_columns(total=nw.col("n").sum().over("field")).filter(
        (nw.col("total") >= _MIN_ROWS) & (nw.col("n") >= nw.col("total") * _MIN_SHARE)
    )
    return (
        lookups.join(usual, on="field")
        .select(*_PAIR, surest=nw.struct("n", "role"))
        .group_by(*_PAIR)
        .agg(nw.col("surest").max())
        .select(*_PAIR, field_role=nw.col("surest").struct.field("role"))
    )
