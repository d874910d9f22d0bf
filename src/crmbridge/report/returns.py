"""ROI, credit and spread for a page: the few rows that are worth a look, out of tables that may hold a hundred thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.report.figures import NO_CURRENCY

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Earner:
    """A campaign, or a type of campaigns, in one scenario.

    Attributes:
        cost: its own actual cost in this currency; None where nobody entered one.
        elsewhere: the other currencies that it cost money in, which no rate joins to this one.
        credit: won money under the model that the page leads with.
        roi: under that model; None where it is undefined.
        rois: model -> ROI, only where it is defined.
        figures: the further columns of the ROI table.
    """

    key: str
    name: str
    type: str | None
    currency: str | None
    cost: Decimal | None
    elsewhere: tuple[str, ...]
    credit: Decimal
    roi: float | None
    rois: dict[str, float]
    figures: dict[str, Any]


@dataclass(frozen=True)
class Returns:
    """ROI by campaign.

    Attributes:
        shown: the campaigns of the most credit whose ROI is defined, by falling ROI.
        defined: how many campaigns have an ROI at all.
        undefined: those of the most credit among the ones without.
        undefined_count: how many have none.
        elsewhere_count: how many of those cost money in another currency.
        apart_count: how many of those cost money in this one, and won some in another.
        undefined_credit: what those earned together.
        currency: of all of these.
    """

    shown: tuple[Earner, ...]
    defined: int
    undefined: tuple[Earner, ...]
    undefined_count: int
    elsewhere_count: int
    apart_count: int
    undefined_credit: Decimal
    currency: str | None


@dataclass(frozen=True)
class ShareRow:
    """One campaign's share of all credit under every model, in the models' order; `rest` stands for all others together."""

    name: str
    shares: tuple[float, ...]
    is_rest: bool = False


@dataclass(frozen=True)
class Shares:
    """Who gets how much under which model."""

    models: tuple[str, ...]
    rows: tuple[ShareRow, ...]
    others: int


def returns_of(roi: pa.Table, *, scenario: str, model: str, currency: str | None, limit: int) -> Returns:
    """Choose the campaigns to show.

    Args:
        roi: `Attribution.roi`.
        scenario: whose figures.
        model: the one that the page leads with.
        currency: money in different currencies cannot be ranked.
        limit: how many to show.
    """
    every = roi.filter((pc.field("level") == "campaign") & (pc.field("scenario") == scenario))
    mine, elsewhere = every.filter(_currency_is(currency)), _elsewhere(every, model, currency)
    chosen = mine.filter(pc.field("model") == model)
    with_roi, without = chosen.filter(~pc.field("roi").is_null()), chosen.filter(pc.field("roi").is_null())
    shown = _earners(mine, _most_credit(with_roi, limit), model, elsewhere)
    undefined = _earners(mine, _most_credit(without, limit), model, elsewhere)
    return Returns(
        shown=tuple(sorted(shown, key=lambda one: (-(one.roi or 0.0), one.key))),
        defined=len(with_roi),
        undefined=tuple(one for one in undefined if one.credit),
        undefined_count=len(without),
        elsewhere_count=len(elsewhere.keys() & set(without["key"].to_pylist())),
        apart_count=len(without.filter(pc.field("own_cost") > _ZERO)),
        undefined_credit=pc.sum(without["won_credit"]).as_py() or _ZERO,
        currency=currency,
    )


def types_of(roi: pa.Table, *, scenario: str, model: str, currency: str | None, limit: int) -> tuple[Earner, ...]:
    """The types of campaigns by falling credit."""
    every = roi.filter((pc.field("level") == "type") & (pc.field("scenario") == scenario))
    mine = every.filter(_currency_is(currency))
    keys = _most_credit(mine.filter(pc.field("model") == model), limit)
    return tuple(_earners(mine, keys, model, _elsewhere(every, model, currency)))


def shares_of(
    credited: pa.Table,
    names: dict[str, str],
    *,
    scenario: str,
    models: Sequence[str],
    model: str,
    currency: str | None,
    limit: int,
) -> Shares:
    """Each campaign's share of the won credit under every model.

    Args:
        credited: `Attribution.credits`.
        names: campaign id -> name.
        scenario: whose figures.
        models: in the order of the columns.
        model: whose largest campaigns are shown.
        currency: of the credit.
        limit: how many campaigns; all others become one row.
    """
    mine = credited.filter((pc.field("state") == "won") & (pc.field("scenario") == scenario) & _currency_is(currency))
    summed = mine.group_by(["model", "campaign_id"]).aggregate([("credit", "sum")])
    whole = summed.group_by("model").aggregate([("credit_sum", "sum")]).to_pylist()
    totals = {row["model"]: row["credit_sum_sum"] for row in whole}
    leading = summed.filter(pc.field("model") == model).sort_by([("credit_sum", "descending"), ("campaign_id", "ascending")])
    keys = leading["campaign_id"].slice(0, limit).to_pylist()
    chosen = summed.filter(pc.field("campaign_id").isin(pa.array(keys, pa.string()))).to_pylist()
    found = {(row["model"], row["campaign_id"]): row["credit_sum"] for row in chosen}
    usable = tuple(name for name in models if totals.get(name))
    rows = [
        ShareRow(names.get(key, key), tuple(float(found.get((name, key), _ZERO) / totals[name]) for name in usable))
        for key in keys
    ]
    others = len(pc.unique(summed["campaign_id"])) - len(keys)
    rest = tuple(1.0 - sum(row.shares[place] for row in rows) for place in range(len(usable)))
    return Shares(usable, tuple([*rows, ShareRow("", rest, is_rest=True)] if others else rows), others)


def names_of(roi: pa.Table) -> dict[str, str]:
    """Campaign id -> its name, or its id where it has none."""
    mine = roi.filter(pc.field("level") == "campaign").group_by("key").aggregate([("name", "max")])
    return {row["key"]: row["name_max"] or row["key"] for row in mine.to_pylist()}


def _currency_is(currency: str | None) -> pc.Expression:
    return pc.field("currency").is_null() if currency is None else pc.field("currency") == currency


def _elsewhere(roi: pa.Table, model: str, currency: str | None) -> dict[str, tuple[str, ...]]:
    """Key -> the other currencies in which it cost money."""
    cost = roi.filter((pc.field("model") == model) & ~_currency_is(currency) & ~pc.field("own_cost").is_null())
    found: dict[str, list[str]] = {}
    for key, other in zip(cost["key"].to_pylist(), cost["currency"].to_pylist(), strict=True):
        found.setdefault(key, []).append(other or NO_CURRENCY)
    return {key: tuple(sorted(others)) for key, others in found.items()}


def _most_credit(table: pa.Table, limit: int) -> list[str]:
    order = [("won_credit", "descending"), ("key", "ascending")]
    keys: list[str] = table.sort_by(order)["key"].slice(0, limit).to_pylist()
    return keys


def _earners(table: pa.Table, keys: Sequence[str], model: str, elsewhere: Mapping[str, tuple[str, ...]]) -> list[Earner]:
    rows = table.filter(pc.field("key").isin(pa.array(list(keys), pa.string()))).to_pylist()
    return [earner([row for row in rows if row["key"] == key], model, elsewhere.get(key, ())) for key in keys]


def earner(rows: Sequence[dict[str, Any]], model: str, elsewhere: tuple[str, ...] = ()) -> Earner:
    """One campaign or type out of its rows, one for each model."""
    chosen = next(row for row in rows if row["model"] == model)
    rois = {row["model"]: float(row["roi"]) for row in rows if row["roi"] is not None}
    return Earner(
        key=chosen["key"],
        name=chosen["name"] or chosen["key"],
        type=chosen["type"],
        currency=chosen["currency"],
        cost=chosen["own_cost"],
        elsewhere=elsewhere,
        credit=chosen["won_credit"] or _ZERO,
        roi=rois.get(model),
        rois=rois,
        figures=chosen,
    )
