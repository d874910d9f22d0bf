"""`demo`: the whole job on an invented CRM whose truth is known, so that a newcomer sees it work and how well."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crmbridge.cli.console import grid
from crmbridge.cli.progress import progress
from crmbridge.cli.reports import coverage_report
from crmbridge.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType

    from crmbridge.attribution.result import Attribution
    from crmbridge.bridge import Backfill, Bridge, Report
    from crmbridge.demo.compare import Added
    from crmbridge.demo.world import DemoWorld
    from crmbridge.evidence.proof import Quality
    from crmbridge.plan.file import Plan


_CURRENCY = "EUR"
"""The invented company reports in euros."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Start")(demo)


def demo(
    ctx: typer.Context,
    *,
    folder: Annotated[Path, typer.Option(metavar="PATH", help="Where; an earlier demo there is made anew.")] = Path("demo"),
    opportunities: Annotated[int, typer.Option(min=1, max=100_000, help="How large the invented CRM is.")] = 5_000,
    seed: Annotated[int, typer.Option(help="Another seed, another CRM.")] = 7,
) -> None:
    """Run the whole job on an invented, messy CRM, and hold the result against its hidden truth.

    Example: crmbridge demo

    Example: crmbridge demo --folder big --opportunities 20000 --seed 11
    """
    from crmbridge.bridge import connect

    session = session_of(ctx)
    console = session.console
    world, settings = _staged(ctx, folder, opportunities, seed)
    with connect(settings) as bridge:
        with progress(console) as shown:
            first = bridge.backfill(apply=False, on_pull=shown.on_event, stage=shown.stage)
            # Before anything is written, so that it shows both sides of the plan.
            page = _reported(bridge, first.plan, folder, shown.stage)
            run = bridge.apply(first.plan, progress=shown.on_event) if first.plan.header.lines else None
            shown.stage("hold against the truth")
            added, compared = _judged(bridge, first.plan, world)
        with progress(console) as shown:
            second = bridge.backfill(apply=True, on_pull=shown.on_event, stage=shown.stage, on_apply=shown.on_event)
    run_id = run.run_id if run else None
    document = {
        "settings": str(settings),
        "run_id": run_id,
        "report": str(page.path),
        "coverage_before": first.before.rows,
        "coverage_after": first.after.rows,
        "added": added,
        "compared": dict(compared),
        "second_run_lines": second.plan.header.lines,
    }
    console.answer(document, *_report(first, page, added, compared, second, settings, run_id))


def _staged(ctx: typer.Context, folder: Path, opportunities: int, seed: int) -> tuple[DemoWorld, Path]:
    from datetime import UTC, datetime

    from crmbridge.demo.stage import clear_stage, set_stage
    from crmbridge.demo.world import make_world

    clear_stage(folder)
    with progress(session_of(ctx).console) as shown:
        shown.stage(f"invent a CRM of {opportunities:,} opportunities")
        world = make_world(seed=seed, opportunities=opportunities, as_of=datetime.now(UTC))
        shown.stage("write it to SQLite")
        return world, set_stage(folder, world)


def _reported(bridge: Bridge, plan: Plan, folder: Path, stage: Callable[[str], None]) -> Report:
    return bridge.report(folder / "report.html", plan=plan if plan.header.lines else None, currency=_CURRENCY, stage=stage)


def _judged(bridge: Bridge, plan: Plan, world: DemoWorld) -> tuple[Added, list[tuple[str, Quality]]]:
    from crmbridge.demo.compare import Judge

    with bridge.snapshot() as snapshot:
        judge = Judge(snapshot.connection, world)
        return judge.added(plan), list(judge.compare(plan))


def _report(
    first: Backfill,
    page: Report,
    added: Added,
    compared: list[tuple[str, Quality]],
    second: Backfill,
    settings: Path,
    run_id: str | None,
) -> Iterable[RenderableType]:
    yield from coverage_report(first.before, first.after, now="Before", then="After")
    yield ""
    yield grid(["reason (top rules of the roles added)", ">roles"], _top_reasons(first.plan))
    yield ""
    yield (
        f"Added {added.roles:,} roles. Held against the hidden truth: {added.precision:.0%} of them are right, "
        f"and {added.recall:.0%} of all missing people were found."
    )
    yield ""
    columns = ["the same task, by", ">average precision", ">best F1", ">precision there", ">recall there"]
    yield grid(columns, [_compared_row(name, one) for name, one in compared])
    yield ""
    yield f"A second run has {'nothing to do' if not second.plan.header.lines else f'{second.plan.header.lines:,} lines left'}."
    yield ""
    yield _earned(page.attribution)
    yield f"The whole story on one page: {page.path}"
    yield ""
    yield "What to try next:"
    yield from _next_steps(settings, first.plan.id, run_id)


def _next_steps(settings: Path, plan_id: str, run_id: str | None) -> Iterable[str]:
    program = _program()
    steps = {
        f"{program} --settings {settings} plan show {plan_id}": "who was added, how sure, and why",
        f"{program} --settings {settings} undo {run_id}": "take all of it back",
        f"{program} --settings {settings} prove": "the same proof as on your own data",
        f"{program} init": "your own CRM",
    }
    width = max(map(len, steps)) + 3
    return (f"  {command:{width}}{what}" for command, what in steps.items())


def _program() -> str:
    """What to type: the bare name where the shell finds this very program by it, else the way to it."""
    here = Path(sys.argv[0])
    found = shutil.which("crmbridge")
    if not here.is_file() or (found and here.samefile(found)):
        return "crmbridge"
    return os.path.relpath(here)


def _compared_row(name: str, found: Quality) -> tuple[Any, ...]:
    figures = (found.average_precision, found.best_f1, found.precision_at_best, found.recall_at_best)
    return (name, *(f"{figure:.3f}" for figure in figures))


def _earned(found: Attribution) -> str:
    """What share of the won business is attributed to campaigns."""
    import pyarrow.compute as pc

    shares = []
    for scenario in found.scenarios:
        is_won = (pc.field("state") == "won") & (pc.field("currency") == _CURRENCY)
        rows = found.ledger.filter((pc.field("scenario") == scenario) & is_won)
        whole = pc.sum(rows["amount"]).as_py() or 0
        attributed = pc.sum(rows.filter(pc.field("residual") == "attributed")["amount"]).as_py() or 0
        shares.append(f"{attributed / whole:.0%}" if whole else "nothing")
    return f"Attributed to campaigns, of all won business: {' before, '.join(shares)} now. Every other cent has a named reason."


def _top_reasons(plan: Plan) -> list[tuple[str, int]]:
    import pyarrow.compute as pc

    rules = pc.struct_field(pc.list_flatten(plan.table()["reasons"]), "rule")
    counted = {one["values"]: one["counts"] for one in pc.value_counts(rules).to_pylist()}
    return [(plan.header.rules[name], count) for name, count in sorted(counted.items(), key=lambda item: -item[1])[:6]]
