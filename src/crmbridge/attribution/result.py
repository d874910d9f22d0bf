"""What attribution gives back: tables, exact to the last minor unit, and how they were made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

import pyarrow as pa

from crmbridge.attribution.settings import AttributionSettings

AS_IS = "as_is"
AS_IF_APPLIED = "as_if_applied"
ATTRIBUTED = "attributed"
WON, OPEN = "won", "open"

MONEY = pa.decimal128(38, 4)
_TEXT, _COUNT = pa.string(), pa.int64()
_RATIO = pa.float64()


@dataclass(frozen=True)
class ModelInfo:
    """A model that took part.

    Attributes:
        name: what tables call it.
        label: what people call it.
        note: how it gives credit, in a sentence; says so where it is not causal.
    """

    name: str
    label: str
    note: str


@dataclass(frozen=True)
class Residual:
    """Where an amount went.

    Attributes:
        name: what tables call it.
        sentence: what it means.
        remedy: what would close it.
    """

    name: str
    sentence: str
    remedy: str


RESIDUALS = (
    Residual("missing_amount", "the opportunity has no amount", "fill in the amount; it is counted, not summed"),
    Residual("missing_date", "it is closed, and has no close date", "fill in the close date"),
    Residual("no_exchange_rate", "its currency has no rate to the reporting currency on that day", "add the rate in the CRM"),
    Residual("no_role", "nobody is linked to it", "apply the plan, or add contact roles"),
    Residual(
        "no_touch", "people are linked, and none of them is a member of a campaign", "add the buyers who were; import campaigns"
    ),
    Residual(
        "no_response", "its people are members of campaigns, and none of them responded", "record responses, or count all members"
    ),
    Residual("undated_touch", "its touches have no date", "record when people responded"),
    Residual("only_after_close", "it is closed, and every touch came after the close", "nothing: these campaigns did not win it"),
    Residual("only_in_future", "it is open, and every touch is dated after the report", "correct the dates"),
    Residual("outside_lookback", "its touches are older than the lookback", "a longer lookback, if you mean it"),
    Residual(ATTRIBUTED, "the amount is credited to campaigns", "-"),
)
"""In the order in which they are tried: an opportunity is wholly in the first that matches."""

CREDITS = pa.schema(
    [
        ("scenario", _TEXT), ("model", _TEXT), ("campaign_id", _TEXT), ("state", _TEXT), ("month", _TEXT), ("currency", _TEXT),
        ("credit", MONEY), ("opportunities", _COUNT),
    ]
)  # fmt: skip
LEDGER = pa.schema(
    [
        ("scenario", _TEXT), ("state", _TEXT), ("currency", _TEXT), ("month", _TEXT), ("owner_id", _TEXT), ("record_type", _TEXT),
        ("residual", _TEXT), ("opportunities", _COUNT), ("amount", MONEY), ("unknown_amounts", _COUNT),
    ]
)  # fmt: skip
GAPS = pa.schema(
    [
        ("opportunity_id", _TEXT), ("name", _TEXT), ("state", _TEXT), ("currency", _TEXT), ("amount", MONEY), ("month", _TEXT),
        ("owner_id", _TEXT), ("residual", _TEXT), ("residual_if_applied", _TEXT), ("closes", pa.bool_()),
    ]
)  # fmt: skip
ROI = pa.schema(
    [
        ("scenario", _TEXT), ("model", _TEXT), ("level", _TEXT), ("key", _TEXT), ("name", _TEXT), ("type", _TEXT),
        ("parent_id", _TEXT), ("currency", _TEXT), ("own_cost", MONEY), ("subtree_cost", MONEY), ("won_credit", MONEY),
        ("open_credit", MONEY), ("subtree_won_credit", MONEY), ("subtree_open_credit", MONEY), ("roi", _RATIO),
        ("subtree_roi", _RATIO), ("members", _COUNT), ("responses", _COUNT), ("leads", _COUNT), ("opportunities", _COUNT),
        ("won", _COUNT), ("cost_per_lead", MONEY), ("cost_per_response", MONEY), ("cost_per_opportunity", MONEY),
        ("cost_per_won", MONEY),
    ]
)  # fmt: skip
SPREAD = pa.schema(
    [
        ("campaign_id", _TEXT), ("name", _TEXT), ("currency", _TEXT), ("basis", _TEXT),
        ("lowest_roi", _RATIO), ("highest_roi", _RATIO),
        ("lowest_at", _TEXT), ("highest_at", _TEXT), ("best_rank", _COUNT), ("worst_rank", _COUNT), ("changes_sign", pa.bool_()),
        ("changes_rank", pa.bool_()),
    ]
)  # fmt: skip
JOURNEYS = pa.schema(
    [("path", pa.list_(_TEXT)), ("opportunities", _COUNT), ("won", _COUNT), ("won_amount", MONEY), ("currency", _TEXT)]
)
DIFFERENCES = pa.schema(
    [
        ("model", _TEXT), ("campaign_id", _TEXT), ("name", _TEXT), ("state", _TEXT), ("currency", _TEXT), ("as_is", MONEY),
        ("as_if_applied", MONEY), ("difference", MONEY),
    ]
)  # fmt: skip
WITHOUT_CAMPAIGN_EVIDENCE = pa.schema(
    [("currency", _TEXT), ("as_is", MONEY), ("as_if_applied", MONEY), ("without_campaign_evidence", MONEY)]
)


@dataclass(frozen=True)
class Attribution:
    """Who earned what. Money is exact; `currency` is null where the CRM does not say; ratios are null where they are undefined.

    Attributes:
        as_of: the snapshot's moment: open opportunities end here.
        time_zone: of the organisation: its days and months.
        settings: what was asked.
        models: that took part, in the order of the settings.
        skipped_models: model -> why it did not take part, such as too little data.
        notes: what a reader should know of the data, such as campaigns that are their own ancestors.
        scenarios: `as_is`, and `as_if_applied` where a plan was given.
        plan_id: of that plan.
        credits: by scenario, model, campaign, state (won, open), month of the close, and currency.
        ledger: every won and open amount by scenario, state, currency, month, owner and record type; `attributed` is one of
            the residuals, so that the rows sum to the whole.
        gaps: the opportunities that are not attributed as it is; `closes` where the plan would change that.
        roi: level campaign, type or month (of the campaign's start); `key` is the campaign's id, the type, or the month.
            Own cost and the cost of a campaign with all below it are kept apart. ROI 0.5 is 50 %; null without cost.
        spread: how far ROI moves by model (`basis` model) or by the plan's threshold (`basis` threshold); rank 1 is the best.
        journeys: the most frequent sequences of campaigns of won and open opportunities.
        differences: as it is, as if applied, and what lies between, per campaign.
        without_campaign_evidence: the won amount attributed as it is, with the plan, and with only those of its lines whose
            confidence holds without campaign evidence.
        residuals: their meaning, in the order in which they are tried.
    """

    as_of: datetime
    time_zone: str
    settings: AttributionSettings
    models: tuple[ModelInfo, ...]
    skipped_models: dict[str, str]
    notes: tuple[str, ...]
    scenarios: tuple[str, ...]
    plan_id: str | None
    credits: pa.Table
    ledger: pa.Table
    gaps: pa.Table
    roi: pa.Table
    spread: pa.Table
    journeys: pa.Table
    differences: pa.Table
    without_campaign_evidence: pa.Table
    residuals: tuple[Residual, ...] = RESIDUALS

    def tables(self) -> dict[str, pa.Table]:
        """Every table by its name, for exports."""
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), pa.Table)}
