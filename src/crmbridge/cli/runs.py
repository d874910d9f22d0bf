"""`apply`, `undo`, `backfill`, `runs`: the only commands that write to a CRM, and what they did."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crmbridge.cli.console import grid
from crmbridge.cli.frame import UNFINISHED
from crmbridge.cli.plans import plan_document, plan_report
from crmbridge.cli.progress import progress
from crmbridge.cli.reports import coverage_report, pull_report
from crmbridge.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from crmbridge.journal import RunSummary
    from crmbridge.plan.file import Plan

_PANEL = "Write"
_REFUSED_SHOWN = 20

Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]
MaxWrites = Annotated[int | None, typer.Option(min=0, metavar="N", help="Write only the N most confident roles.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_PANEL)(apply)
    app.command(rich_help_panel=_PANEL)(undo)
    app.command(rich_help_panel=_PANEL)(backfill)
    app.command(rich_help_panel=_PANEL)(runs)


def apply(
    ctx: typer.Context,
    *,
    plan: Annotated[
        str | None,
        typer.Argument(metavar="PLAN", help="Its id, the beginning of it, or a file; the newest by default."),
    ] = None,
    max_writes: MaxWrites = None,
    yes: Sure = False,
) -> None:
    """Write a plan to the CRM: exactly its lines. Lines that no longer hold are refused one by one.

    It may be stopped at any moment; the same command carries on. Exit code 10 where some lines were not applied.

    Example: crmbridge apply --max-writes 50

    Example: crmbridge apply plan-3f9c --yes --json
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        found = bridge.read_plan(plan)
        if not found.header.lines:
            session.console.answer({"plan_id": found.id, "run": None}, f"{found.id} holds no lines: nothing to do.")
            return
        _refuse_unfit(found, max_writes)
        count = found.header.lines if max_writes is None else min(max_writes, found.header.lines)
        session.confirm(f"Add {count:,} roles to the CRM?", is_sure=yes)
        with progress(session.console) as shown:
            summary = bridge.apply(found, max_writes=max_writes, progress=shown.on_event)
    session.console.answer({"plan_id": found.id, "run": summary}, *_run_report(summary))
    _leave(summary)


def undo(
    ctx: typer.Context,
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, or the beginning of it; `crmbridge runs` lists them.")],
    yes: Sure = False,
) -> None:
    """Take back what a run wrote. What a person changed since stays; what was undone is not added again.

    `crmbridge veto lift` allows it again; undoing the undo puts it back. Exit code 10 where some lines stayed.

    Example: crmbridge undo 2026-11-29-9bce
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        found = bridge.journal.run(run)
        session.confirm(f"Take back the {found.counts.get('applied', 0):,} roles of run {found.run_id}?", is_sure=yes)
        with progress(session.console) as shown:
            summary = bridge.undo(found.run_id, progress=shown.on_event)
    session.console.answer({"run": summary}, *_run_report(summary))
    _leave(summary)


def backfill(
    ctx: typer.Context,
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the plan; without it only if the settings say apply = true.")
    ] = False,
    max_writes: MaxWrites = None,
) -> None:
    """Pull, plan, apply, read back and sum up: the nightly command. It asks nothing, and writes only with --apply.

    Exit code 75 where another run is busy, 8 where the plan would change too much, 10 where lines were not applied.

    Example: crmbridge backfill

    Example: 15 2 * * *  cd /srv/acme && crmbridge -q backfill --apply
    """
    session = session_of(ctx)
    with session.connect() as bridge, progress(session.console) as shown:
        done = bridge.backfill(
            apply=True if apply else None,
            max_writes=max_writes,
            on_pull=shown.on_event,
            stage=shown.stage,
            on_apply=shown.on_event,
        )
    document = {
        "pull": done.pull,
        "plan": plan_document(done.plan),
        "run": done.run,
        "removals_seen": done.removals_seen,
        "coverage_before": done.before.rows,
        "coverage_after": done.after.rows,
    }
    written = _run_report(done.run) if done.run else _not_written(done.plan.header.lines)
    report = [*pull_report(done.pull), "", *plan_report(done.plan), "", *written, ""]
    session.console.answer(
        document,
        *report,
        *coverage_report(
            done.before, done.after, now="Before" if done.run else "Now", then="After" if done.run else "With the plan applied"
        ),
    )
    if done.run:
        _leave(done.run)


def runs(ctx: typer.Context) -> None:
    """List what was written and taken back, newest first.

    Example: crmbridge runs
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        found = bridge.runs()
    rows = [
        (one.run_id, one.kind, one.state, f"{one.started_at:%Y-%m-%d %H:%M} UTC", _counts(one.counts), one.plan_id)
        for one in found
    ]
    session.console.answer({"runs": found}, grid(["run", "what", "state", "began", "lines", "plan"], rows))


def _refuse_unfit(plan: Plan, max_writes: int | None) -> None:
    """Refuse a plan that is too old or changes too much before anybody is asked about it; `Bridge.apply` checks again."""
    from crmbridge.plan.choice import chosen_lines

    plan.refuse_if_old(datetime.now(UTC))
    chosen_lines(plan, max_writes)


def _run_report(summary: RunSummary) -> Iterable[RenderableType]:
    yield f"Run {summary.run_id} ({summary.kind}) {summary.state}: {_counts(summary.counts) or 'nothing to do'}"
    refused = [(one.outcome, one.code, one.opportunity_id, one.contact_id) for one in summary.refused[:_REFUSED_SHOWN]]
    if refused:
        yield grid(["not applied", "code", "opportunity", "contact"], refused)
    if len(summary.refused) > len(refused):
        yield f"... and {len(summary.refused) - len(refused):,} more: --json shows all"
    changed = [(one.what, one.opportunity_id, one.contact_id) for one in summary.differences[:_REFUSED_SHOWN]]
    if changed:
        yield grid(["reads otherwise", "opportunity", "contact"], changed)
    if summary.kind == "apply" and summary.counts.get("applied"):
        yield f"To take it back: crmbridge undo {summary.run_id}"


def _not_written(lines: int) -> Iterable[RenderableType]:
    yield ("Nothing to write." if not lines else "Nothing was written: look at the plan, then run crmbridge backfill --apply")


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count)


def _leave(summary: RunSummary) -> None:
    if summary.state != "finished" or summary.refused or summary.differences:
        raise typer.Exit(UNFINISHED)
