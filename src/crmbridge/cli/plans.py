"""`plan`: make one, look at it, have people judge it. Nothing is written to the CRM."""

from __future__ import annotations

import io
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crmbridge.cli.console import grid
from crmbridge.cli.progress import progress
from crmbridge.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from rich.console import RenderableType

    from crmbridge.bridge import Bridge
    from crmbridge.plan.file import Plan

_LINES_SHOWN = 20
_PAIR = ["opportunity_id", "contact_id"]

plan_app = typer.Typer(invoke_without_command=True, no_args_is_help=False)

PlanId = Annotated[
    str | None, typer.Argument(metavar="ID", help="Its id, the beginning of it, or a file; the newest by default.")
]


class Format(StrEnum):
    """How a plan is shown."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.add_typer(plan_app, name="plan", rich_help_panel="Plan")


@plan_app.callback()
def plan(
    ctx: typer.Context,
    *,
    max_writes: Annotated[int | None, typer.Option(min=0, metavar="N", help="Take only the N most confident roles.")] = None,
) -> None:
    """Find the missing people and save what would be written, with reasons. Nothing is written to the CRM.

    Example: crmbridge plan

    Example: crmbridge plan show --all --format csv > candidates.csv

    Example: crmbridge plan review --out review.csv, judge it in a spreadsheet, crmbridge plan import review.csv
    """
    if ctx.invoked_subcommand is not None:
        return
    session = session_of(ctx)
    with session.connect() as bridge, progress(session.console) as shown:
        made = bridge.plan(max_writes=max_writes, stage=shown.stage)
    session.console.answer(plan_document(made), *plan_report(made))
    if made.header.lines:
        session.console.note("Next: crmbridge plan show, crmbridge plan review --out review.csv, or crmbridge apply")


@plan_app.command()
def show(
    ctx: typer.Context,
    *,
    plan: PlanId = None,
    output: Annotated[Format, typer.Option("--format", help="CSV and JSON hold every line.")] = Format.TABLE,
    everything: Annotated[
        bool, typer.Option("--all", help="All candidates, also those left alone, with the reason why.")
    ] = False,
) -> None:
    """Show a plan: who would be added where, how sure that is, and why.

    CSV has the columns opportunity_id, contact_id, role, is_primary, confidence, decision, reasons, and is meant for
    scripts; the file of `plan review` is safe in a spreadsheet.

    Example: crmbridge plan show

    Example: crmbridge plan show plan-3f9c --all --format json
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        found = bridge.read_plan(plan)
        table = _candidates(bridge, found, everything=everything)
    console = session.console
    if output is Format.CSV and not console.as_json:
        for text in _csv(table):
            console.write(text)
        return
    console.as_json = console.as_json or output is Format.JSON
    if console.as_json:
        console.answer({**plan_document(found), "candidates": table})
    else:
        console.show(*plan_report(found), *_lines_report(table))


@plan_app.command()
def review(
    ctx: typer.Context,
    *,
    out: Annotated[Path, typer.Option(metavar="PATH", help="Where to write the CSV; it holds personal data.")],
    plan: PlanId = None,
    link: Annotated[
        str | None, typer.Option(help="Where to look an opportunity up, with {opportunity_id} in it.", metavar="URL")
    ] = None,
) -> None:
    """Write a plan out as a CSV for people to judge: put `accept` or `reject` into the column `decision`.

    Example: crmbridge plan review --out review.csv --link https://crm.example.com/{opportunity_id}
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        found = bridge.read_plan(plan)
        written = bridge.review(found, out, link=link)
    document = {"plan_id": found.id, "path": str(written), "lines": found.header.lines}
    done = f"Wrote {found.header.lines:,} lines of {found.id} to {written}."
    session.console.answer(document, done, f"Next: judge them, then crmbridge plan import {written} --plan {found.id}")


@plan_app.command(name="import")
def import_(
    ctx: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The judged CSV.")],
    plan: Annotated[str | None, typer.Option(metavar="ID", help="The plan that was judged; the newest by default.")] = None,
) -> None:
    """Read a judged CSV back: what was accepted becomes a new plan, what was rejected becomes vetoes.

    Example: crmbridge plan import review.csv --plan plan-3f9c
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        kept, verdicts = bridge.import_review(bridge.read_plan(plan), file)
    document = {
        **plan_document(kept),
        "accepted": len(verdicts.accepted),
        "rejected": len(verdicts.rejected),
        "missing": verdicts.missing,
    }
    done = f"{kept.id}: {len(verdicts.accepted):,} lines accepted, {len(verdicts.rejected):,} rejected and vetoed."
    session.console.answer(document, done, f"Next: crmbridge apply {kept.id}")
    if verdicts.missing:
        session.console.warn(f"{verdicts.missing:,} lines of the plan are not in {file}; they were left out, without a veto")


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan's header for scripts."""
    return {"plan_id": plan.id, "path": str(plan.path), **plan.header.model_dump(mode="json")}


def plan_report(plan: Plan) -> Iterable[RenderableType]:
    """What a plan holds, and what it leaves alone and why."""
    from crmbridge.plan.policy import MEANING, Decision

    header = plan.header
    yield (
        f"{plan.id}: {header.lines:,} roles on {header.opportunities_changed:,} of "
        f"{header.opportunities_in_scope:,} opportunities in scope"
    )
    rows = [(MEANING[Decision(name)], count) for name, count in header.decisions.items() if count]
    if not header.lines:
        yield _nothing_to_add(sum(header.decisions.values()))
    if rows:
        yield grid(["candidates", ">pairs"], rows)


def _nothing_to_add(candidates: int) -> str:
    if candidates:
        return f"There is nothing to add: each of the {candidates:,} candidates is left alone, for these reasons:"
    return "There is nothing to add: nothing in the snapshot speaks for anybody who has no role yet."


def _candidates(bridge: Bridge, plan: Plan, *, everything: bool) -> pa.Table:
    table = bridge.candidates(plan)
    if everything:
        return table
    order = [("opportunity_id", "ascending"), ("confidence", "descending"), ("contact_id", "ascending")]
    return table.join(plan.table().select(_PAIR), keys=_PAIR, join_type="left semi").sort_by(order)


def _lines_report(table: pa.Table) -> Iterable[RenderableType]:
    if not table.num_rows:
        return
    yield ""
    rows = [
        (
            row["opportunity_id"],
            row["contact_id"],
            row["role"],
            "primary" if row["is_primary"] else None,
            f"{100 * row['confidence']:.0f} %",
            row["decision"],
            row["reasons"],
        )
        for row in table.slice(0, _LINES_SHOWN).to_pylist()
    ]
    yield grid(["opportunity", "contact", "role", "", ">sure", "decision", "reasons"], rows)
    if table.num_rows > len(rows):
        yield f"... and {table.num_rows - len(rows):,} more: --format csv or --format json shows all"


def _csv(table: pa.Table) -> Iterator[str]:
    from pyarrow import csv

    is_first = True
    for batch in table.to_batches(max_chunksize=10_000) or [table.schema.empty_table()]:
        out = io.BytesIO()
        csv.write_csv(batch, out, csv.WriteOptions(include_header=is_first, quoting_style="needed"))
        yield out.getvalue().decode()
        is_first = False
