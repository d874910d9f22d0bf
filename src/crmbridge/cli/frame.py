"""The frame around every command: common options anywhere on the line, and every error in words with its exit code."""

from __future__ import annotations

import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from crmbridge.cli.console import Console
from crmbridge.errors import CrmBridgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
UNFINISHED = 10
UNEXPECTED = 1

EXIT_CODES = {
    0: "done, or nothing to do",
    UNEXPECTED: "a bug in crmbridge or an adapter",
    2: "wrong usage",
    3: "settings, mapping or plug-in: change them, then run again",
    4: "the CRM is unavailable or a limit is used up: wait, then run again",
    5: "the CRM refused: ask its administrator",
    6: "the CRM's data break the contract",
    7: "the plan is edited, foreign, stale or of another version: make a new one",
    8: "the plan would change more than the policy allows; nothing was written",
    9: "the workspace folder or another local file: full, read-only, of another version",
    UNFINISHED: "finished, but some lines were not applied: the output says which and why",
    75: "another run holds the workspace; nothing was done",
    INTERRUPTED: "interrupted, or you answered no",
}

_FLAGS = frozenset({"--json", "-q", "--quiet", "-v", "--verbose", "--no-color"})
_WITH_VALUE = frozenset({"--settings"})
_INTERRUPTED_TEXT = "Interrupted. Nothing is lost: run the same command again, and it carries on where it stopped."

# typer exports UsageError's heir only; their common root is what typer itself prints and turns into exit code 2.
_UsageFault: type[Exception] = typer.BadParameter.__mro__[2]


class Bug(CrmBridgeError):
    """Nobody's fault but ours, or an adapter's; only ever told, never raised."""


class FramedGroup(TyperGroup):
    """The top of the command line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's or typer's own, by version
        """Take the common options from wherever they stand."""
        return super().parse_args(ctx, common_first(args))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Run the command; leave by exit code, without a traceback."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, _UsageFault):
            raise
        except typer.Abort:
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            raise typer.Exit(interrupted(_console(ctx))) from None
        except CrmBridgeError as error:
            _console(ctx).fail(error, exit_code=error.exit_code)
            raise typer.Exit(error.exit_code) from None
        except Exception as error:  # noqa: BLE001 - the last resort of the command line: told by place, never by value
            tell = interrupted if _was_interrupted(error) else partial(unexpected, error=error)
            raise typer.Exit(tell(_console(ctx))) from None


def _was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is at the root: a library that it met in the middle of a call tells it as an error of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def common_first(args: Sequence[str]) -> list[str]:
    """Move the common options to the front, wherever they stand before `--`."""
    end = args.index("--") if "--" in args else len(args)
    first: list[str] = []
    rest: list[str] = []
    words = iter(args[:end])
    for word in words:
        if word in _FLAGS or word.startswith("--settings="):
            first.append(word)
        elif word in _WITH_VALUE:
            first.extend([word, *[value for value in [next(words, None)] if value is not None]])
        else:
            rest.append(word)
    return [*first, *rest, *args[end:]]


def interrupted(console: Console) -> int:
    """Say that nothing is lost; give the exit code."""
    console.note(_INTERRUPTED_TEXT)
    console.fault({"kind": "Interrupted", "message": _INTERRUPTED_TEXT, "hint": None, "exit_code": INTERRUPTED})
    return INTERRUPTED


def unexpected(console: Console, error: BaseException) -> int:
    """Tell a bug by its place: values, which may hold personal data, are left out; give the exit code."""
    # Of the system's errors its own words are told, and no file name: which file it was is in the places below.
    words = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    kind = f"{type(error).__name__}{words}"
    hint = "report the lines above; they hold no data. Nothing is lost: the journal remembers what was sent"
    told = Bug(f"crmbridge itself failed: {kind}\n{_places(error)}", hint=hint)
    console.fail(told, exit_code=UNEXPECTED)
    return UNEXPECTED


def _places(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"  {_module_path(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames]
    cause = error.__cause__
    if cause is not None:
        lines.append(f"  caused by {type(cause).__name__}\n{_places(cause)}")
    return "\n".join(lines)


def _module_path(filename: str) -> str:
    """The path below the folder that Python imports from: no user's name, and the same on every machine."""
    path = Path(filename)
    roots = [Path(root) for root in sys.path if root and path.is_relative_to(root)]
    return str(path.relative_to(max(roots, key=lambda root: len(root.parts)))) if roots else path.name


def _console(ctx: Any) -> Console:  # noqa: ANN401 - as above
    found = getattr(ctx.obj, "console", None)
    return found if isinstance(found, Console) else Console()
