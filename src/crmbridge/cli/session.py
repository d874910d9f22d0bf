"""What every command starts from: where the settings are, and a voice."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from crmbridge.bridge import Bridge
    from crmbridge.cli.console import Console


@dataclass(frozen=True)
class Session:
    """One run of the command line.

    Attributes:
        settings: the settings file; None for the usual places.
    """

    settings: Path | None
    console: Console

    def connect(self) -> Bridge:
        """Open the CRM and the workspace that the settings name."""
        from crmbridge.bridge import connect

        return connect(self.settings)

    def confirm(self, question: str, *, is_sure: bool) -> None:
        """Ask before something is written.

        Args:
            question: ends in a question mark.
            is_sure: `--yes` was given: nothing is asked.

        Raises:
            typer.BadParameter: nobody is there to answer.
            typer.Abort: the answer was no.
        """
        if is_sure:
            return
        if not _is_terminal():
            raise typer.BadParameter("this writes to the CRM and there is no terminal to ask on: add --yes")
        typer.confirm(question, abort=True, err=True)


def session_of(ctx: typer.Context) -> Session:
    """The session that the top of the command line made."""
    found = ctx.find_object(Session)
    if found is None:
        raise RuntimeError("a command ran outside of the command line's own frame")
    return found


def _is_terminal() -> bool:
    return sys.stdin.isatty()
