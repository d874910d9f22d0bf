"""`ledger`, `roi`, `attribute`, `report`, `freeze`, `restatement`: what campaigns earned; nothing is written to the CRM."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from crmbridge.cli.console import currency_cell, grid, money_cell
from crmbridge.cli.progress import progress
from crmbridge.cli.session import session_of
from crmbridge.errors import PlanRefused, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from rich.console import RenderableType

    from crmbridge.attribution.restate import Books, Period
    from crmbridge.attribution.result import Attribution
    from crmbridge.bridge import Bridge
    from crmbridge.plan.file import Plan

_PANEL = "Attribution"
_ROWS_SHOWN = 20


class Mode(StrEnum):
    """Whose touches count."""

    EXPLICIT = "explicit"
    HYBRID = "hybrid"
    IMPLICIT = "implicit"


class Export(StrEnum):
    """How the tables behind the page are written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


_PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan", metavar="ID", help="Show also how it would be with this plan applied; `newest`, an id, or the beginning of one."
    ),
]
_ModeOption = Annotated[
    Mode | None,
    typer.Option(help="People with a role (explicit); else all at the account (hybrid); all at the account (implicit)."),
]
_CurrencyOption = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Convert everything to it, such as EUR; by default every currency stands apart."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for command in (report, ledger, roi, attribute, freeze, restatement):
        app.command(rich_help_panel=_PANEL)(command)


def report(
    ctx: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The file to write; by default reports/ in the workspace.")
    ] = None,
    *,
    plan: _PlanOption = None,
    no_plan: Annotated[bool, typer.Option("--no-plan", help="Show things as they are only.")] = False,
    mode: _ModeOption = None,
    currency: _CurrencyOption = None,
    tables: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write every table behind the page there, too.")] = None,
    output: Annotated[Export, typer.Option("--format", help="Of those tables.")] = Export.CSV,
    locale: Annotated[str, typer.Option(help="How numbers and dates are written: en, de-DE, fr ...")] = "en",
) -> None:
    """Write one page of what campaigns earned: a single HTML file without network or script, to open, send or print.

    The newest plan stands beside the state as it is, where it was made from this copy of the CRM and adds anybody.

    Example: crmbridge report

    Example: crmbridge report q2.html --currency EUR --tables q2 --format parquet
    """
    if no_plan and plan is not None:
        raise typer.BadParameter("--plan and --no-plan contradict each other")
    from crmbridge.report.exports import TableFormat

    session = session_of(ctx)
    with session.connect() as bridge, progress(session.console) as shown:
        beside = None if no_plan else _plan_of(bridge, plan) or (None if plan else _fitting_plan(bridge))
        written = bridge.report(
            path,
            plan=beside,
            tables=tables,
            table_format=TableFormat(output.value),
            locale=locale,
            stage=shown.stage,
            **_changes(mode, currency),
        )
    document = {"page": str(written.path), "tables": [str(one) for one in written.tables], "plan": beside.id if beside else None}
    session.console.answer(document, *_ledger_report(written.attribution), "", *_written(written.path, tables))


def ledger(
    ctx: typer.Context,
    *,
    plan: _PlanOption = None,
    mode: _ModeOption = None,
    currency: _CurrencyOption = None,
    gaps: Annotated[bool, typer.Option("--gaps", help="List the opportunities behind the gaps, the largest first.")] = False,
) -> None:
    """Account for every won and open amount: attributed, or in the one gap that says why not.

    --json holds every row, by month, owner and record type, and every opportunity behind a gap.

    Example: crmbridge ledger --plan newest --currency EUR

    Example: crmbridge ledger --gaps
    """
    found = _attributed(ctx, plan, mode, currency)
    human = [*_ledger_report(found), *(["", *_gap_report(found)] if gaps else [])]
    session_of(ctx).console.answer({"ledger": found.ledger, "gaps": found.gaps, "notes": found.notes}, *human)


def roi(
    ctx: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Under which model; by default the first of the settings.")] = None,
    by: Annotated[str, typer.Option(help="campaign, type or month.")] = "campaign",
    plan: _PlanOption = None,
    mode: _ModeOption = None,
    currency: _CurrencyOption = None,
) -> None:
    """Show what campaigns cost, earned and returned. Without a cost, ROI is undefined: neither zero nor infinite.

    Example: crmbridge roi --model w --currency EUR

    Example: crmbridge roi --by type --plan newest --json
    """
    if by not in {"campaign", "type", "month"}:
        raise typer.BadParameter(f"--by is {by!r}; allowed: campaign, type, month")
    found = _attributed(ctx, plan, mode, currency)
    chosen = _model_of(found, model)
    rows = _rows(found.roi, model=chosen, level=by)
    session_of(ctx).console.answer({"roi": rows, "spread": found.spread, "notes": found.notes}, *_roi_report(found, rows, chosen))


def attribute(
    ctx: typer.Context, *, plan: _PlanOption = None, mode: _ModeOption = None, currency: _CurrencyOption = None
) -> None:
    """Show the won credit of campaigns under every model, side by side.

    Example: crmbridge attribute --mode hybrid

    Example: crmbridge attribute --plan newest --json
    """
    found = _attributed(ctx, plan, mode, currency)
    document = {"credits": found.credits, "differences": found.differences, "skipped": found.skipped_models, "notes": found.notes}
    session_of(ctx).console.answer(document, *_credit_report(found))


def freeze(
    ctx: typer.Context,
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="A month 2026-03, a quarter 2026-Q1, a year 2026.")],
) -> None:
    """Keep the credits of a period as they are reported now, to see later what a backfill or an edit changed in them.

    Mode, currency and models are those of the settings.

    Example: crmbridge freeze 2026-Q2
    """
    from crmbridge.attribution.restate import Period
    from crmbridge.frozen import thaw

    session, wanted = session_of(ctx), Period.parse(period)
    with session.connect() as bridge:
        path = bridge.freeze(period)
        taken = thaw(bridge.workspace.frozen, wanted)
        with bridge.snapshot() as snapshot:
            is_over = wanted.last < f"{snapshot.meta.as_of.astimezone(ZoneInfo(snapshot.meta.time_zone)):%Y-%m}"
    document = {"frozen": str(path), "opportunities": len(taken.basis), "is_over": is_over}
    session.console.answer(document, *_frozen_report(path, wanted, taken, is_over=is_over))


def restatement(
    ctx: typer.Context, period: Annotated[str, typer.Argument(metavar="PERIOD", help="A frozen period, such as 2026-Q2.")]
) -> None:
    """Show what changed in a frozen period since, per campaign, and why.

    Example: crmbridge restatement 2026-Q2
    """
    from crmbridge.attribution.restate import CAUSES

    session = session_of(ctx)
    with session.connect() as bridge:
        table = bridge.restatement(period)
    session.console.answer({"restatement": table}, *_restatement_report(table, CAUSES))


def _attributed(ctx: typer.Context, plan: str | None, mode: Mode | None, currency: str | None) -> Attribution:
    session = session_of(ctx)
    with session.connect() as bridge, progress(session.console) as shown:
        return bridge.attribute(_plan_of(bridge, plan), stage=shown.stage, **_changes(mode, currency))


def _plan_of(bridge: Bridge, plan: str | None) -> Plan | None:
    return None if plan is None else bridge.read_plan(None if plan == "newest" else plan)


def _fitting_plan(bridge: Bridge) -> Plan | None:
    """The newest plan, where it speaks of this very copy of the CRM."""
    try:
        newest = bridge.read_plan()
    except PlanRefused:
        return None
    with bridge.snapshot() as snapshot:
        is_fitting = newest.header.snapshot_fingerprint == snapshot.meta.fingerprint
    return newest if is_fitting and newest.header.lines else None


def _changes(mode: Mode | None, currency: str | None) -> dict[str, Any]:
    changes = {"mode": mode.value if mode else None, "currency": currency.upper() if currency else None}
    return {name: value for name, value in changes.items() if value is not None}


def _model_of(found: Attribution, model: str | None) -> str:
    names = [one.name for one in found.models]
    if model is None:
        return names[0]
    if model in found.skipped_models:
        raise SettingsError(f"the model {model!r} was left out: it {found.skipped_models[model]}")
    if model not in names:
        raise SettingsError(f"there is no model {model!r} among those of the settings", hint=f"models: {', '.join(names)}")
    return model


def _rows(table: pa.Table, **wanted: str) -> pa.Table:
    import pyarrow.compute as pc

    for name, value in wanted.items():
        table = table.filter(pc.field(name) == value)
    return table


def _ledger_report(found: Attribution) -> Iterable[RenderableType]:
    """One table per state and currency would be long: residuals below each other, scenarios beside."""
    keys = ["state", "currency", "residual"]
    sums = found.ledger.group_by(["scenario", *keys]).aggregate(
        [("opportunities", "sum"), ("amount", "sum"), ("unknown_amounts", "sum")]
    )
    cells = {(row["scenario"], *(row[key] for key in keys)): row for row in sums.to_pylist()}
    order = [residual.name for residual in found.residuals]
    balances = sorted({key[1:3] for key in cells}, key=lambda key: (key[0] != "won", key[1] or "~"))
    columns = ["state", "currency", "where the money is"]
    for scenario in found.scenarios:
        columns += [">opportunities", f">{scenario.replace('_', ' ')}"]
    rows: list[list[object]] = []
    for state, currency in balances:
        names = [name for name in order if any((scenario, state, currency, name) in cells for scenario in found.scenarios)]
        rows += [
            [state, currency_cell(currency), name.replace("_", " "), *_ledger_cells(found, cells, (state, currency, name))]
            for name in names
        ]
    if not rows:
        yield "Nothing is won or open: the ledger is blank."
        return
    yield grid(columns, rows)
    for note in (*found.notes, *(f"{name}: {why}" for name, why in sorted(found.skipped_models.items()))):
        yield f"Note: {note}"


def _ledger_cells(found: Attribution, cells: dict[tuple[Any, ...], dict[str, Any]], key: tuple[Any, ...]) -> list[object]:
    made: list[object] = []
    for scenario in found.scenarios:
        cell = cells.get((scenario, *key))
        made += [cell["opportunities_sum"] if cell else 0, money_cell(cell["amount_sum"] if cell else Decimal(0), key[1])]
    return made


def _gap_report(found: Attribution) -> Iterable[RenderableType]:
    rows = [
        (
            row["opportunity_id"],
            row["state"],
            row["residual"].replace("_", " "),
            money_cell(row["amount"], row["currency"]),
            currency_cell(row["currency"]),
            _yes(row["closes"]),
        )
        for row in found.gaps.slice(0, _ROWS_SHOWN).to_pylist()
    ]
    columns = ["opportunity", "state", "gap", ">amount", "", "the plan closes it"]
    yield grid(columns, rows)
    if len(found.gaps) > _ROWS_SHOWN:
        yield f"and {len(found.gaps) - _ROWS_SHOWN:,} more: --json, or crmbridge report --tables FOLDER"


def _roi_report(found: Attribution, rows: pa.Table, model: str) -> Iterable[RenderableType]:
    label = next(one.label for one in found.models if one.name == model)
    yield f"{label}; {found.settings.mode} mode"
    columns = ["scenario", "", ">cost", ">won", ">open", "", ">ROI", ">with all below", ">per response", ">per won"]
    shown = [
        (
            row["scenario"].replace("_", " "),
            row["name"] or row["key"],
            *(money_cell(row[column], row["currency"]) for column in ("own_cost", "won_credit", "open_credit")),
            currency_cell(row["currency"]),
            _ratio(row["roi"]),
            _ratio(row["subtree_roi"]),
            *(money_cell(row[column], row["currency"]) for column in ("cost_per_response", "cost_per_won")),
        )
        for row in rows.slice(0, _ROWS_SHOWN).to_pylist()
    ]
    yield grid(columns, shown)
    if len(rows) > _ROWS_SHOWN:
        yield f"and {len(rows) - _ROWS_SHOWN:,} more: --json, or crmbridge report --tables FOLDER"
    flips = sum(_rows(found.spread, basis="model")["changes_sign"].to_pylist())
    if flips:
        yield f"{flips:,} campaigns change from gain to loss with the model: crmbridge report shows which."


def _credit_report(found: Attribution) -> Iterable[RenderableType]:
    import pyarrow.compute as pc

    won = found.credits.filter((pc.field("state") == "won") & (pc.field("scenario") == found.scenarios[-1]))
    summed = won.group_by(["campaign_id", "currency", "model"]).aggregate([("credit", "sum")]).to_pylist()
    cells = {(row["campaign_id"], row["currency"], row["model"]): row["credit_sum"] for row in summed}
    lead = found.models[0].name
    keys = sorted({key[:2] for key in cells}, key=lambda key: (-cells.get((*key, lead), Decimal(0)), key[0], key[1] or ""))
    names = {row["key"]: row["name"] for row in _rows(found.roi, level="campaign", model=lead).to_pylist()}
    columns = ["campaign", "", *(f">{one.label}" for one in found.models)]
    rows = [
        [
            names.get(key) or key,
            currency_cell(code),
            *(money_cell(cells.get((key, code, one.name)), code) for one in found.models),
        ]
        for key, code in keys[:_ROWS_SHOWN]
    ]
    yield f"Won credit, {found.scenarios[-1].replace('_', ' ')}"
    yield grid(columns, rows)
    if len(keys) > _ROWS_SHOWN:
        yield f"and {len(keys) - _ROWS_SHOWN:,} more: --json, or crmbridge report --tables FOLDER"


def _frozen_report(path: Path, period: Period, taken: Books, *, is_over: bool) -> Iterable[RenderableType]:
    summed = taken.basis.group_by("currency").aggregate([("amount", "sum")]).to_pylist()
    known = ((row["amount_sum"] or Decimal(0), row["currency"]) for row in summed)
    amounts = sorted(f"{money_cell(amount, currency)} {currency_cell(currency)}" for amount, currency in known)
    yield f"Frozen: {len(taken.basis):,} won opportunities of {period.name}: {', '.join(amounts) or 'nothing was won'}"
    yield str(path)
    if not is_over:
        yield f"Note: {period.name} is not over; what is won in it later will show as newly won."
    yield f"Later: crmbridge restatement {period.name}"


def _restatement_report(table: pa.Table, causes: dict[str, str]) -> Iterable[RenderableType]:
    if not len(table):
        yield "Nothing changed since the period was frozen."
        return
    rows = [
        (
            row["model"],
            row["name"] or row["campaign_id"],
            *(money_cell(row[column], row["currency"]) for column in ("frozen", "now", "difference")),
            currency_cell(row["currency"]),
            causes[row["cause"]],
        )
        for row in table.slice(0, _ROWS_SHOWN).to_pylist()
    ]
    yield grid(["model", "campaign", ">frozen", ">now", ">difference", "", "because"], rows)
    if len(table) > _ROWS_SHOWN:
        yield f"and {len(table) - _ROWS_SHOWN:,} more rows: --json"


def _written(path: Path, tables: Path | None) -> Iterable[str]:
    yield f"The page: {path}"
    if tables is not None:
        yield f"Its tables: {tables}"


def _ratio(ratio: float | None) -> str:
    return "undefined" if ratio is None else f"{100 * ratio:+,.0f} %"


def _yes(flag: bool) -> str:  # noqa: FBT001 - a cell's value
    return "yes" if flag else ""
