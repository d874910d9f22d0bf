"""`init`, `check`, `adapters`: before the first pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crmbridge.cli.console import grid
from crmbridge.cli.frame import UNFINISHED
from crmbridge.cli.session import session_of
from crmbridge.errors import SettingsError, WorkspaceError

_PANEL = "Start"


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_PANEL)(init)
    app.command(rich_help_panel=_PANEL)(check)
    app.command(rich_help_panel=_PANEL)(adapters)


def init(
    ctx: typer.Context,
    *,
    adapter: Annotated[str, typer.Option(help="Which CRM; `crmbridge adapters` lists them.")] = "sql",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing settings file.")] = False,
) -> None:
    """Write a commented settings file, crmbridge.toml, to fill in. Asks nothing, connects to nothing.

    Example: crmbridge init

    Example: crmbridge init --adapter salesforce --settings acme/crmbridge.toml
    """
    from crmbridge.adapters import registry
    from crmbridge.cli.template import settings_text
    from crmbridge.config import FILE_NAME

    session = session_of(ctx)
    options = registry.load(adapter).options
    path = (session.settings or Path(FILE_NAME)).absolute()
    _write(path, settings_text(adapter, options), replace=force)
    steps = [f"fill in [crm.options] in {path}", "crmbridge check", "crmbridge pull", "crmbridge coverage"]
    shown = "\n".join([f"Wrote {path}.", "Next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))])
    session.console.answer({"settings": str(path), "adapter": adapter, "next": steps}, shown)


def check(ctx: typer.Context) -> None:
    """Look whether everything is in place: settings, connection, permissions, fields. Changes nothing.

    Exit code 10 where a check failed.

    Example: crmbridge check

    Example: crmbridge check --json | jq '.checks[] | select(.status != "ok")'
    """
    session = session_of(ctx)
    with session.connect() as bridge:
        health = bridge.check()
    rows = [(one.status, one.name, one.detail, one.hint) for one in health.checks]
    session.console.answer({"ok": health.ok, **health.model_dump(mode="json")}, grid(["", "check", "found", "hint"], rows))
    if not health.ok:
        raise typer.Exit(UNFINISHED)


def adapters(ctx: typer.Context) -> None:
    """List the installed adapters, one per kind of CRM, without loading any.

    Example: crmbridge adapters
    """
    from crmbridge.adapters import registry

    entries = registry.listed()
    rows = [(one.name, one.distribution, one.version, one.target) for one in entries]
    table = grid(["name", "package", "version", "target"], rows)
    session_of(ctx).console.answer({"adapters": [_announced(one) for one in entries]}, table)


def _announced(entry: Any) -> dict[str, str]:  # noqa: ANN401 - the registry is imported on use
    return {
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "target": entry.target,
    }


def _write(path: Path, text: str, *, replace: bool) -> None:
    from crmbridge.workspace import disk_faults, private_text

    if path.exists() and not replace:
        raise SettingsError(f"{path} exists already", hint="edit it, or overwrite it with `crmbridge init --force`")
    if not path.parent.is_dir():
        raise WorkspaceError(f"no folder {path.parent}", hint=f"make it first: `mkdir -p {path.parent}`")
    with disk_faults(path), private_text(path) as out:
        out.write(text)
