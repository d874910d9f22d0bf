"""What the page says, as values: chosen, sorted and cut to what people look at. The templates only put it into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.attribution.result import ModelInfo, Residual
from crmbridge.attribution.settings import Mode, Rates
from crmbridge.report.balance import APPLIED, AS_IS, ATTRIBUTED, Pair, Part, pairs
from crmbridge.report.drawing import Drawing
from crmbridge.report.figures import NO_CURRENCY, Figures, plain
from crmbridge.report.linked import GAPS, Linked, linked
from crmbridge.report.material import Material
from crmbridge.report.pictures import (
    Month,
    ReturnRow,
    Span,
    count_bars,
    dumbbells,
    month_columns,
    return_ranges,
    split_bars,
    waterfall,
)
from crmbridge.report.reasons import Reasons
from crmbridge.report.returns import Earner, Returns, Shares, earner, names_of, returns_of, shares_of, types_of

CAMPAIGNS_SHOWN = 14
ROWS_SHOWN = 12
JOURNEYS_SHOWN = 8
STEPS_SHOWN = 6
MONTHS_SHOWN = 36
PAIRS_SHOWN = 12
FINDINGS_SHOWN = 40
_ZERO = Decimal(0)
_RATES = {
    Rates.DATED: "of the day of the close; for open opportunities of the day of the copy, for costs of the campaign's start",
    Rates.STATIC: "those of the day of the copy, for everything",
}
_BASES = {"model": "the model", "threshold": "how sure the plan's roles must be"}


@dataclass(frozen=True)
class Fact:
    """One named figure."""

    what: str
    figure: str
    is_code: bool = False


@dataclass(frozen=True)
class Closing:
    """How many won opportunities stand in a gap, and how many of those the plan closes."""

    opportunities: int
    closed: int


@dataclass(frozen=True)
class Journey:
    """One path of campaigns; `more_steps` were cut off."""

    steps: tuple[str, ...]
    more_steps: int
    opportunities: int
    won: int
    amount: Decimal
    currency: str | None


@dataclass(frozen=True)
class Spread:
    """How far ROI depends on something.

    Attributes:
        basis: model or threshold.
        by: what that is, after "with".
        campaigns: how many have an ROI under several of them.
        sign_count, rank_count: how many of them change sign, or rank.
        rows: those that change sign, the widest first.
    """

    basis: str
    by: str
    campaigns: int
    sign_count: int
    rank_count: int
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data, in all the places where it is.

    Attributes:
        records: in all places together.
        places: (entity and field, records), the most first.
    """

    severity: str
    meaning: str
    records: int
    places: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Circle:
    """Won money attributed as it is, with the plan, and with only the roles that are sure without campaign evidence."""

    currency: str | None
    as_is: Decimal
    attributed: Decimal
    without: Decimal


class Story:
    """Everything that the templates ask for; computed when asked.

    Args:
        material: what was found.
        figures: how numbers are written.
    """

    def __init__(self, material: Material, figures: Figures) -> None:
        self._material = material
        self._figures = figures
        self._found = material.attribution
        self.version = material.version
        self.adapter = material.adapter
        self.reasons: Reasons | None = material.reasons
        self.has_plan = APPLIED in self._found.scenarios
        self.models: tuple[ModelInfo, ...] = self._found.models
        self.model: ModelInfo = self._found.models[0]
        self.residuals: tuple[Residual, ...] = self._found.residuals
        self.gap_of: Mapping[str, str] = GAPS

    # Names

    @property
    def label_of(self) -> dict[str, str]:
        """Model -> what people call it."""
        return {model.name: model.label for model in self.models}

    @property
    def name_of(self) -> dict[str, str]:
        """Residual -> what people call it."""
        return {residual.name: residual.name.replace("_", " ") for residual in self.residuals}

    @property
    def sentence_of(self) -> dict[str, str]:
        """Residual -> what it means, as a sentence."""
        return {residual.name: f"{residual.sentence}." for residual in self.residuals}

    @property
    def closes_of(self) -> dict[str, str]:
        """Residual -> what would close it."""
        return {residual.name: "" if residual.name == ATTRIBUTED else residual.remedy for residual in self.residuals}

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Models that did not take part, and why."""
        return sorted(self._found.skipped_models.items())

    @property
    def as_of_day(self) -> date:
        """The day of the copy, where the organisation is."""
        return self._found.as_of.astimezone(ZoneInfo(self._found.time_zone)).date()

    # The ledger

    @cached_property
    def _pairs(self) -> tuple[Pair, ...]:
        return pairs(self._found.ledger, [residual.name for residual in self.residuals])

    @property
    def lead(self) -> Pair | None:
        """Won money in the currency of most won opportunities; None where nothing is won."""
        return next((pair for pair in self._pairs if pair.state == "won"), None)

    @property
    def other_pairs(self) -> tuple[Pair, ...]:
        """Open opportunities, and other currencies."""
        return tuple(pair for pair in self._pairs if pair is not self.lead)[:PAIRS_SHOWN]

    @property
    def pairs_left_out(self) -> int:
        """How many of them are not shown."""
        return max(len(self._pairs) - (1 if self.lead else 0) - PAIRS_SHOWN, 0)

    @property
    def has_other_won(self) -> bool:
        """Whether money was won in several currencies."""
        return any(pair.state == "won" for pair in self.other_pairs)

    @property
    def has_several_currencies(self) -> bool:
        """Whether amounts of several currencies stand side by side."""
        return len({pair.currency for pair in self._pairs}) > 1

    @property
    def worst(self) -> Part | None:
        """The largest gap as it is."""
        if self.lead is None:
            return None
        gaps = [part for part in self.lead.as_is.parts if part.residual != ATTRIBUTED and part.amount > 0]
        return max(gaps, key=lambda part: part.amount, default=None)

    @cached_property
    def split(self) -> Drawing | None:
        """The bars of the headline."""
        return split_bars(self.lead, self.name_of, self._figures) if self.lead and _is_drawable(self.lead) else None

    @property
    def has_small_gaps(self) -> bool:
        """Whether the bars of the headline show several gaps."""
        return self.lead is not None and sum(part.amount > 0 for part in self.lead.as_is.parts) > 2

    @cached_property
    def waterfall(self) -> Drawing | None:
        """The ledger as a picture."""
        return waterfall(self.lead, self.name_of, self._figures) if self.lead and _is_drawable(self.lead) else None

    @property
    def closing(self) -> Closing | None:
        """What the plan closes; None without one."""
        if not self.has_plan:
            return None
        won = self._found.gaps.filter(pc.field("state") == "won")
        return Closing(len(won), pc.sum(won["closes"]).as_py() or 0)

    @cached_property
    def _all_months(self) -> tuple[Month, ...]:
        if self.lead is None:
            return ()
        mine = self._found.ledger.filter((pc.field("state") == "won") & _currency_is(self.lead.currency))
        rows = mine.group_by(["month", "scenario", "residual"]).aggregate([("amount", "sum")]).to_pylist()
        names = sorted({row["month"] for row in rows if row["month"] is not None})
        return tuple(_month(name, rows, has_plan=self.has_plan) for name in names)

    @property
    def month_rows(self) -> tuple[Month, ...]:
        """The last months of the close."""
        return self._all_months[-MONTHS_SHOWN:]

    @property
    def months_left_out(self) -> int:
        """How many earlier ones there are."""
        return len(self._all_months) - len(self.month_rows)

    @cached_property
    def months(self) -> Drawing | None:
        """The months as a picture; None where it would show nothing, or negative months."""
        rows = self.month_rows
        if self.lead is None or not rows or any(row.amount < 0 for row in rows) or all(row.amount == 0 for row in rows):
            return None
        return month_columns(rows, self.lead.currency, self._figures)

    @property
    def strip(self) -> tuple[Fact, ...]:
        """The few figures below the headline."""
        figures, rows = self._figures, self.linked_rows
        closed = [row for row in rows if row.gap == "no_role" and row.state == "won"]
        won = "opportunities won, in all currencies" if self.has_other_won else "opportunities won"
        facts = [Fact(won, figures.count(sum(p.as_is.opportunities for p in self._pairs if p.state == "won")))]
        facts += [Fact("of them with nobody linked", figures.percent(row.as_is_share)) for row in closed]
        facts.append(Fact("campaigns with won credit", figures.count(self._credited)))
        if self.reasons:
            facts.append(Fact("roles the plan adds", figures.short_count(self.reasons.lines)))
        return tuple(facts)

    @property
    def _credited(self) -> int:
        """How many campaigns have won credit as it is, under any model."""
        credited = self._found.credits
        mine = credited.filter((pc.field("scenario") == AS_IS) & (pc.field("state") == "won"))
        return len(pc.unique(mine.filter(pc.not_equal(mine["credit"], pa.scalar(_ZERO, mine["credit"].type)))["campaign_id"]))

    # Who is linked

    @cached_property
    def linked_rows(self) -> tuple[Linked, ...]:
        """Gaps in coverage, by state."""
        return linked(self._material.before, self._material.after)

    @cached_property
    def linked(self) -> Drawing | None:
        """The same as a picture."""
        if not self.linked_rows:
            return None
        spans = [
            Span(
                row.state,
                row.as_is_share,
                self._figures.percent(row.as_is_share),
                row.applied_share,
                self._figures.percent(row.applied_share),
                group=GAPS[row.gap],
            )
            for row in self.linked_rows
        ]
        return dumbbells(spans, names_px=96, full=1.0)

    # Returns

    @property
    def campaigns(self) -> int:
        """How many campaigns there are."""
        mine = self._found.roi.filter(pc.field("level") == "campaign")
        return len(pc.unique(mine["key"]))

    @property
    def _currency(self) -> str | None:
        return self.lead.currency if self.lead else self._found.settings.currency

    @cached_property
    def returns(self) -> Returns:
        """ROI by campaign, as it is, under the leading model."""
        return returns_of(self._found.roi, scenario=AS_IS, model=self.model.name, currency=self._currency, limit=CAMPAIGNS_SHOWN)

    @cached_property
    def ranges(self) -> Drawing | None:
        """The same as a picture; None where ROI is undefined for all."""
        rows = [ReturnRow(one.name, self._note(one), one.roi, tuple(one.rois.values())) for one in self.returns.shown]
        return return_ranges(rows, self._figures) if rows else None

    def _note(self, one: Earner) -> str:
        cost = f"cost {self._figures.short_money(one.cost, one.currency)}"
        return f"{one.type} · {cost}" if one.type else cost

    @cached_property
    def types(self) -> tuple[Earner, ...]:
        """Types of campaigns."""
        return types_of(self._found.roi, scenario=AS_IS, model=self.model.name, currency=self._currency, limit=ROWS_SHOWN)

    @cached_property
    def trees(self) -> tuple[Earner, ...]:
        """Campaigns that have others below them, by falling credit of the whole."""
        roi = self._found.roi.filter((pc.field("level") == "campaign") & (pc.field("scenario") == AS_IS))
        parents = pc.unique(roi["parent_id"].drop_null())
        mine = roi.filter((pc.field("model") == self.model.name) & _currency_is(self._currency) & pc.field("key").isin(parents))
        rows = mine.sort_by([("subtree_won_credit", "descending"), ("key", "ascending")]).slice(0, ROWS_SHOWN).to_pylist()
        return tuple(earner([row], self.model.name) for row in rows)

    # Models

    @cached_property
    def shares(self) -> Shares | None:
        """Who gets how much under which model."""
        found = shares_of(
            self._found.credits,
            names_of(self._found.roi),
            scenario=AS_IS,
            models=[model.name for model in self.models],
            model=self.model.name,
            currency=self._currency,
            limit=ROWS_SHOWN,
        )
        return found if found.rows else None

    @cached_property
    def spreads(self) -> tuple[Spread, ...]:
        """How far ROI moves with the model, and with how sure planned roles must be; without those that nothing is known of."""
        found = (self._spread(basis, by) for basis, by in _BASES.items())
        return tuple(one for one in found if one.campaigns)

    def _spread(self, basis: str, by: str) -> Spread:
        mine = self._found.spread.filter((pc.field("basis") == basis) & _currency_is(self._currency))
        changing = mine.filter(pc.field("changes_sign"))
        rows = [
            {**row, "lowest_at": self._at(basis, row["lowest_at"]), "highest_at": self._at(basis, row["highest_at"])}
            for row in changing.slice(0, ROWS_SHOWN).to_pylist()
        ]
        ranked = pc.sum(mine["changes_rank"]).as_py() or 0
        return Spread(basis, by, len(mine), len(changing), ranked, tuple(rows))

    def _at(self, basis: str, at: str) -> str:
        """A model's label, or a threshold as a percentage."""
        return self.label_of.get(at, at) if basis == "model" else f"{self._figures.percent(Decimal(at))} sure"

    # What the plan changes

    @cached_property
    def _changes(self) -> pa.Table:
        mine = self._found.differences.filter(
            (pc.field("model") == self.model.name) & (pc.field("state") == "won") & _currency_is(self._currency)
        )
        return mine.filter(pc.field("difference") != pa.scalar(_ZERO, pa.decimal128(38, 4)))

    @property
    def change_rows(self) -> list[dict[str, Any]]:
        """The largest differences of the leading model."""
        size = pc.abs(self._changes["difference"].cast(pa.float64()))
        order = pc.sort_indices(
            pa.table({"size": size, "id": self._changes["campaign_id"]}), [("size", "descending"), ("id", "ascending")]
        )
        rows: list[dict[str, Any]] = self._changes.take(order.slice(0, ROWS_SHOWN)).to_pylist()
        return [{**row, "name": row["name"] or row["campaign_id"]} for row in rows]

    @property
    def changes_left_out(self) -> int:
        """How many more there are."""
        return max(len(self._changes) - ROWS_SHOWN, 0)

    @cached_property
    def change(self) -> Drawing | None:
        """The differences as a picture."""
        figures = self._figures
        spans = [
            Span(
                row["name"],
                float(row["as_is"]),
                figures.short_money(row["as_is"], row["currency"]),
                float(row["as_if_applied"]),
                figures.short_money(row["as_if_applied"], row["currency"]),
            )
            for row in self.change_rows
        ]
        return dumbbells(spans, names_px=220) if spans else None

    @property
    def without_campaigns(self) -> list[Circle]:
        """What the plan attributes, with and without campaign evidence."""
        rows = self._found.without_campaign_evidence.to_pylist()
        return [Circle(row["currency"], row["as_is"], row["as_if_applied"], row["without_campaign_evidence"]) for row in rows]

    # Journeys, reasons, findings

    @cached_property
    def _won_journeys(self) -> pa.Table:
        won = self._found.journeys.filter(pc.field("won") > 0)
        return won.sort_by([("won_amount", "descending"), ("won", "descending")])

    @property
    def journeys(self) -> list[Journey]:
        """The paths of the most won money."""
        rows = self._won_journeys.filter(_currency_is(self._currency)).slice(0, JOURNEYS_SHOWN).to_pylist()
        return [
            Journey(
                tuple(row["path"][:STEPS_SHOWN]),
                max(len(row["path"]) - STEPS_SHOWN, 0),
                row["opportunities"],
                row["won"],
                row["won_amount"],
                row["currency"],
            )
            for row in rows
        ]

    @property
    def journeys_left_out(self) -> int:
        """How many more there are in the exports."""
        return len(self._won_journeys) - len(self.journeys)

    @cached_property
    def rules(self) -> Drawing | None:
        """Which rules speak for how many roles."""
        return count_bars(self.reasons.rules, self._figures) if self.reasons and self.reasons.rules else None

    @cached_property
    def bands(self) -> Drawing | None:
        """How sure the roles are."""
        if not self.reasons or not self.reasons.bands:
            return None
        percent = self._figures.percent
        return count_bars(
            [(f"{percent(low)} to {percent(low + 0.1)}", count) for low, count in self.reasons.bands], self._figures
        )

    @cached_property
    def _all_findings(self) -> list[Finding]:
        order = {"error": 0, "warning": 1}
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self._material.findings.to_pylist():
            found.setdefault((row["severity"], row["meaning"]), []).append(row)
        made = [_finding(severity, meaning, rows) for (severity, meaning), rows in found.items()]
        return sorted(made, key=lambda one: (order.get(one.severity, 2), -one.records, one.meaning))

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with the data, the worst first."""
        return self._all_findings[:FINDINGS_SHOWN]

    @property
    def findings_left_out(self) -> int:
        """How many more there are."""
        return max(len(self._all_findings) - FINDINGS_SHOWN, 0)

    # How it was made

    @property
    def provenance(self) -> list[Fact]:
        """Where the numbers come from."""
        found = self._found
        facts = [
            Fact("Copy of the CRM", f"{self._figures.moment(found.as_of, found.time_zone)}, adapter {plain(self.adapter)}"),
            Fact("Fingerprint of all records", self._material.snapshot_fingerprint[:16], is_code=True),
        ]
        if found.settings.currency:
            facts.append(Fact("Exchange rates", f"To {found.settings.currency}: {_RATES[found.settings.rates]}."))
        if found.plan_id:
            facts.append(Fact("Plan", found.plan_id, is_code=True))
        facts += [Fact("Note", note) for note in found.notes]
        return facts

    @property
    def is_account_wide(self) -> bool:
        """Whether people count who have no role."""
        return self._found.settings.mode is not Mode.EXPLICIT

    @property
    def is_where_nobody_has_a_role(self) -> bool:
        """Whether they count only there."""
        return self._found.settings.mode is Mode.HYBRID

    @property
    def settings(self) -> list[tuple[str, str]]:
        """What was asked, key by key."""
        asked = self._found.settings.model_dump(mode="json")
        return [(key, _told(value)) for key, value in asked.items() if value not in ({}, None)]


def currency_note(currency: str | None) -> str:
    """The currency of a picture."""
    return NO_CURRENCY if currency is None else plain(currency)


def _is_drawable(pair: Pair) -> bool:
    return all(balance.is_drawable for balance in pair.both)


def _month(name: str, rows: list[dict[str, Any]], *, has_plan: bool) -> Month:
    mine = [row for row in rows if row["month"] == name]

    def total(scenario: str, *, attributed: bool) -> Decimal:
        chosen = (row for row in mine if row["scenario"] == scenario and (not attributed or row["residual"] == ATTRIBUTED))
        return sum((row["amount_sum"] for row in chosen), _ZERO)

    applied = total(APPLIED, attributed=True) if has_plan else None
    return Month(name, total(AS_IS, attributed=False), total(AS_IS, attributed=True), applied)


def _currency_is(currency: str | None) -> pc.Expression:
    return pc.field("currency").is_null() if currency is None else pc.field("currency") == currency


def _finding(severity: str, meaning: str, rows: list[dict[str, Any]]) -> Finding:
    places = [(" ".join(filter(None, (row["entity"], row["field"]))), row["count"]) for row in rows]
    places.sort(key=lambda place: (-place[1], place[0]))
    return Finding(severity, meaning, sum(count for _, count in places), tuple(places))


def _told(value: Any) -> str:  # noqa: ANN401 - any setting
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
