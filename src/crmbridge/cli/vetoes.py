"""`veto`: who is never added to which opportunity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crmbridge.cli.console import grid
from crmbridge.cli.session import session_of

if TYPE_CHECKING:
    import pyarrow as pa

veto_app = typer.Typer(no_args_is_help=True)

OpportunityId = Annotated[str, typer.Argument(metavar="OPPORTUNITY", help="The opportunity's id in the CRM.")]
ContactId = Annotated[str, typer.Argument(metavar="CONTACT", help="The contact's id in the CRM.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.add_typer(veto_app, name="veto", rich_help_panel="Plan")


@veto_app.callback()
def veto() -> None:
    """Say who is never added where: what people removed, rejected or took back, and what you add here.

    Example: crmbridge veto list

    Example: crmbridge veto add 0065g00000Abc 0035g00000Xyz --reason "asked to be left out"
    """


@veto_app.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List the vetoes in force, with where each comes from.

    Example: crmbridge veto list --json
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        found = bridge.vetoes()
    rows = [(*list(row.values())[:-1], f"{row['added_at']:%Y-%m-%d %H:%M:%S} UTC") for row in found.to_pylist()]
    session.console.answer({"vetoes": found}, grid(["opportunity", "contact", "source", "reason", "since"], rows))


@veto_app.command()
def add(
    ctx: typer.Context,
    opportunity: OpportunityId,
    contact: ContactId,
    reason: Annotated[str, typer.Option(help="Why; kept in the journal, so leave names out.")] = "",
) -> None:
    """Never add this contact to this opportunity.

    Example: crmbridge veto add 0065g00000Abc 0035g00000Xyz --reason "works for the reseller"
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        added = bridge.veto(opportunity, contact, reason=reason)
    done = "Vetoed." if added else "It was vetoed already."
    session.console.answer({"opportunity_id": opportunity, "contact_id": contact, "added": added}, done)


@veto_app.command()
def lift(ctx: typer.Context, opportunity: OpportunityId, contact: ContactId) -> None:
    """Allow this contact on this opportunity again, wherever the veto came from.

    Example: crmbridge veto lift 0065g00000Abc 0035g00000Xyz
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        lifted = bridge.lift(opportunity, contact)
    done = "Lifted: the next plan may hold it again." if lifted else "There was no such veto."
    session.console.answer({"opportunity_id": opportunity, "contact_id": contact, "lifted": lifted}, done)


@veto_app.command()
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(metavar="PATH", help="Where to write the CSV.")],
) -> None:
    """Write the vetoes in force to a CSV, to keep or to carry to another workspace.

    Example: crmbridge veto export --out vetoes.csv
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        found = bridge.vetoes()
    _write_csv(out, found)
    done = f"Wrote {found.num_rows:,} vetoes to {out}."
    session.console.answer({"path": str(out), "vetoes": found.num_rows}, done)


def _write_csv(path: Path, table: pa.Table) -> None:
    from pyarrow import csv

    from crmbridge.workspace import private_file

    with private_file(path) as out:
        csv.write_csv(table, out)
