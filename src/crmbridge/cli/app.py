"""The top of the command line: common options, the groups of commands, and the way in and out."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from crmbridge.cli import demo, earnings, plans, reports, runs, sandbox, setup, vetoes
from crmbridge.cli.console import Console, Verbosity, mute
from crmbridge.cli.frame import EXIT_CODES, FramedGroup, interrupted
from crmbridge.cli.session import Session

_EPILOG = "\n".join(["Exit codes:", *(f"{code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())])

app = typer.Typer(
    name="crmbridge",
    cls=FramedGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        from importlib.metadata import version

        typer.echo(f"crmbridge {version('crmbridge')}")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    *,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="PATH", envvar="CRMBRIDGE_SETTINGS", help="The settings file.", show_default="crmbridge.toml"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only results, warnings and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Find the people missing from your CRM's opportunities, and add their contact roles safely.

    First: crmbridge init, crmbridge check. Then look: crmbridge pull, crmbridge coverage, crmbridge plan.

    Then write: crmbridge apply; take it back: crmbridge undo RUN. Every night: crmbridge backfill --apply.

    What campaigns earned, before anything is written: crmbridge report.

    Nothing is written to the CRM by any other command. The options below may stand before or after the command.
    """
    del version
    if quiet and verbose:
        raise typer.BadParameter("-q and -v contradict each other")
    verbosity = Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.NORMAL
    console = Console(as_json=as_json, verbosity=verbosity, color=False if no_color else None)
    ctx.obj = Session(settings=settings, console=console)


for _group in (demo, setup, reports, plans, runs, earnings, vetoes, sandbox):
    _group.register(app)


def main() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    if os.name == "posix":
        os.umask(0o077)  # whatever is written holds personal data, also what libraries write
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if "--no-color" in sys.argv:
        os.environ["NO_COLOR"] = "1"  # the help is printed before any option is read
    raise SystemExit(_run())


def _run() -> int:
    try:
        code = _code_of_app()
        sys.stdout.flush()
    except BrokenPipeError:
        mute(sys.stdout)
        return 0
    except KeyboardInterrupt:
        return interrupted(Console())
    return code


def _code_of_app() -> int:
    try:
        app(prog_name="crmbridge")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0
