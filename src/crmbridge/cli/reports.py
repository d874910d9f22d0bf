"""`pull`, `coverage`, `prove`: looking at the CRM's own data; nothing is written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crmbridge.cli.console import currency_cell, grid, money_cell
from crmbridge.cli.progress import progress
from crmbridge.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from crmbridge.bridge import Proof
    from crmbridge.coverage import Coverage
    from crmbridge.model import Entity
    from crmbridge.snapshot import PullSummary

_PANEL = "Look"


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_PANEL)(pull)
    app.command(rich_help_panel=_PANEL)(coverage)
    app.command(rich_help_panel=_PANEL)(prove)


def pull(
    ctx: typer.Context,
    *,
    full: Annotated[bool, typer.Option("--full", help="Read everything, also where the CRM tells what changed.")] = False,
) -> None:
    """Copy the CRM into the workspace, and say what is wrong with its data.

    Where the CRM tells what changed and what was deleted, only that is read; everything again after [pull] full_after_days.
    The last copy stays until the new one is whole. Roles of ours that a person removed become vetoes.

    Example: crmbridge pull

    Example: crmbridge pull --full
    """
    session = session_of(ctx)
    with session.connect() as bridge, progress(session.console) as shown:
        summary = bridge.pull(full=full, progress=shown.on_event)
    session.console.answer(summary, *pull_report(summary))


def coverage(
    ctx: typer.Context,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Show also how it would be with this plan applied.")] = None,
) -> None:
    """Count opportunities and amounts without people: no role, no primary, nobody a campaign ever touched.

    Example: crmbridge coverage

    Example: crmbridge coverage --plan plan-3f9c
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        before = bridge.coverage()
        after = bridge.coverage(bridge.read_plan(plan)) if plan else None
    document = {"now": before.rows, "with_plan": after.rows if after else None}
    session.console.answer(document, *coverage_report(before, after))


def prove(
    ctx: typer.Context,
    hide_percent: Annotated[int, typer.Option(min=1, max=99, help="How many of the roles to hide, in percent.")] = 60,
    seed: Annotated[int, typer.Option(help="Which ones: the same seed hides the same roles.")] = 7,
) -> None:
    """Hide roles that people added, and see how many the rules bring back: on your own data, without writing anything.

    Example: crmbridge prove

    Example: crmbridge prove --hide-percent 30 --seed 11 --json
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        proof = bridge.prove(hide_percent=hide_percent, seed=seed)
    session.console.answer(proof, *_proof_report(proof))


def pull_report(summary: PullSummary) -> Iterable[RenderableType]:
    """What came, and what is wrong with it."""
    yield grid(["read", ">records", "how", ">changed", ">deleted"], [_read_row(summary, entity) for entity in summary.rows])
    findings = [
        (one.severity, one.count, one.entity.value, one.field, one.meaning, ", ".join(one.sample_ids)) for one in summary.findings
    ]
    if findings:
        yield ""
        yield grid(["finding", ">records", "of", "field", "what it is, and what was done", "such as"], findings)


def _read_row(summary: PullSummary, entity: Entity) -> tuple[object, ...]:
    read, count = summary.reads[entity], summary.rows[entity]
    if read.why_full is None:
        return (entity.value, count, "changes", read.changed, read.deleted)
    return (entity.value, count, f"in full: {read.why_full}", None, None)


def coverage_report(
    before: Coverage, after: Coverage | None = None, *, now: str = "Now", then: str = "With the plan applied"
) -> Iterable[RenderableType]:
    """Coverage now, and beside it with a plan applied."""
    columns = ["state", ">opportunities", ">amount", "", ">no role", ">amount", ">no primary", ">amount"]
    columns += [">no campaign touch", ">amount"]
    yield grid(columns, _coverage_rows(before), title=now if after else None)
    if after:
        yield ""
        yield grid(columns, _coverage_rows(after), title=then)


def _coverage_rows(found: Coverage) -> Iterable[tuple[object, ...]]:
    for row in found.rows:
        yield (
            row.state,
            row.opportunities,
            money_cell(row.amount, row.currency),
            currency_cell(row.currency),
            _share(row.no_role, row.opportunities),
            money_cell(row.no_role_amount, row.currency),
            _share(row.no_primary, row.opportunities),
            money_cell(row.no_primary_amount, row.currency),
            _share(row.no_touched, row.opportunities),
            money_cell(row.no_touched_amount, row.currency),
        )


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({_percent(part / whole if whole else 0.0)})"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _proof_report(proof: Proof) -> Iterable[RenderableType]:
    if not proof.hidden:
        yield "Nothing was proved: there was no role to hide that people added; those that crmbridge wrote do not count."
        yield "Where there are only a few: --hide-percent 90, or another --seed."
        return
    precision, recall = proof.at_threshold
    facts: list[tuple[str, Any]] = [
        ("roles hidden", proof.hidden),
        ("precision at your threshold (at least)", _percent(precision)),
        ("recall at your threshold", _percent(recall)),
        ("average precision", _percent(proof.overall.average_precision)),
        ("best F1", _percent(proof.overall.best_f1)),
        ("its threshold", _two_places(proof.overall.best_threshold)),
    ]
    yield grid(["measure", ">figure"], facts)
    yield ""
    yield "Precision is a lower bound: people who belong there, but whom nobody ever recorded, count as wrong."
    yield ""
    rules = [(one.rule, one.pairs, one.right, _percent(one.precision), _percent(one.recall)) for one in proof.rules]
    yield grid(["rule", ">pairs", ">right", ">precision", ">recall"], rules)


def _two_places(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:.2f}"
