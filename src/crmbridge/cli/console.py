"""What a command says, and where: results on stdout, everything else on stderr.

With `--json` stdout holds exactly one JSON document: the result, or `{"error": {...}}`. Text from the CRM is stripped
of control characters, so that a record cannot steer the terminal. A reader that goes away (`| head`) ends the output,
never the work.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING, TextIO

from crmbridge.errors import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from rich.console import Console as RichConsole
    from rich.console import RenderableType

    from crmbridge.errors import CrmBridgeError

_ENDLESS = 100_000
"""Characters per line where nobody looks at a screen: a line is a record, and is never wrapped."""
_TURNS_TEXT_AROUND = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Verbosity(IntEnum):
    """How much is said on stderr; errors and warnings always are."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


class Console:
    """The voice of one command.

    Args:
        as_json: the result is one JSON document.
        verbosity: how much is said beside it.
        color: False for none; None to let the terminal and NO_COLOR decide.
    """

    def __init__(self, *, as_json: bool = False, verbosity: Verbosity = Verbosity.NORMAL, color: bool | None = None) -> None:
        self.as_json = as_json
        self.verbosity = verbosity
        self._color = color
        self._answered = False

    @property
    def is_live(self) -> bool:
        """Whether somebody watches stderr, so that lines may be redrawn."""
        return sys.stderr.isatty() and self.verbosity > Verbosity.QUIET

    def note(self, text: str) -> None:
        """Say something in passing; silent with -q."""
        if self.verbosity >= Verbosity.NORMAL:
            self._say(text)

    def detail(self, text: str) -> None:
        """Say something only with -v."""
        if self.verbosity >= Verbosity.VERBOSE:
            self._say(text)

    def warn(self, text: str) -> None:
        """Say something that must not be missed."""
        self._say(f"Warning: {text}", style="yellow")

    def fail(self, error: CrmBridgeError, *, exit_code: int) -> None:
        """Say what failed and what to do about it."""
        self._say(f"Error: {error.message}", style="red")
        if error.hint:
            self._say(f"Hint: {error.hint}")
        kind = type(error).__name__
        self.fault({"kind": kind, "message": error.message, "hint": error.hint, "exit_code": exit_code})

    def fault(self, document: dict[str, object]) -> None:
        """Leave the JSON document of a failure, unless the command has answered already."""
        if self.as_json and not self._answered:
            self._write_json({"error": document})

    def answer(self, document: object, *human: RenderableType) -> None:
        """Give the command's result.

        Args:
            document: dataclasses, pydantic models, Arrow tables, and containers of them; money becomes exact text.
            human: what is printed instead where JSON is not asked for.
        """
        if self.as_json:
            self._write_json(document)
        else:
            self.show(*human)

    def show(self, *human: RenderableType) -> None:
        """Print on stdout."""
        self.write("".join(self._rendered(part, sys.stdout) for part in human))

    def write(self, text: str) -> None:
        """Put text on stdout as it is: CSV and the like.

        Raises:
            WorkspaceError: stdout is a file on a full disk, or the like.
        """
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            mute(sys.stdout)
        except OSError as error:
            mute(sys.stdout)
            hint = "free some space, or send it elsewhere"
            raise WorkspaceError(f"cannot write the output: {error.strerror}", hint=hint) from None

    def rich(self, stream: TextIO, *, into: TextIO | None = None) -> RichConsole:
        """A console of rich's, dressed for a stream.

        Args:
            stream: whose width and colours count.
            into: where it prints instead.
        """
        from rich.console import Console as RichConsole

        is_terminal = stream.isatty()
        return RichConsole(
            file=into or stream,
            force_terminal=is_terminal,
            width=None if is_terminal else _ENDLESS,
            no_color=True if self._color is False else None,
            soft_wrap=not is_terminal,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def _write_json(self, document: object) -> None:
        from pydantic_core import to_jsonable_python

        self._answered = True
        plain = to_jsonable_python(document, fallback=_arrow_rows)
        self.write(json.dumps(plain, indent=2) + "\n")  # ASCII: valid whatever the terminal's encoding

    def _say(self, text: str, *, style: str | None = None) -> None:
        # Nobody listening is no reason to stop the work.
        with contextlib.suppress(OSError):
            sys.stderr.write(self._rendered(text, sys.stderr, style=style))
            sys.stderr.flush()

    def _rendered(self, part: RenderableType, stream: TextIO, *, style: str | None = None) -> str:
        # Rendered apart and then written: rich itself ends the process where a reader has gone away.
        out = io.StringIO()
        self.rich(stream, into=out).print(clean(part) if isinstance(part, str) else part, style=style)
        return out.getvalue()


def clean(text: str) -> str:
    """Replace control characters (but not line ends and tabs) and those that turn the direction of text."""
    if text.isprintable():
        return text
    return "".join(
        "\ufffd" if (unicodedata.category(sign) == "Cc" and sign not in "\n\t") or sign in _TURNS_TEXT_AROUND else sign
        for sign in text
    )


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> RenderableType:
    """Lay out a table: numbers to the right; no frame, so that it reads well in a log.

    Args:
        columns: headings; one that starts with `>` is set to the right.
        rows: cells; None stays blank.
        title: a line above; None for no line.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell_text(cell)) for cell in row))
    return table


def currency_cell(code: str | None) -> str:
    """The currency beside an amount; a blank would leave open whether it is that of the row above."""
    return code or "(no currency)"


def money_cell(amount: Decimal | None, currency: str | None) -> str | None:
    """An amount to the currency's own minor unit; without a currency, to the cent, or as fine as it is."""
    from babel.numbers import get_currency_precision

    if amount is None:
        return None
    if currency is not None:
        return f"{amount:,.{get_currency_precision(currency)}f}"
    whole, _, fraction = f"{amount:,f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


def cell_text(cell: object) -> str:
    """Write one cell: thousands apart, nothing for None, one line."""
    if cell is None:
        return ""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return clean(str(cell)).replace("\n", " ").replace("\t", " ")


def mute(stream: TextIO) -> None:
    """Send a stream whose reader is gone nowhere, so that neither the work nor the interpreter's exit trips over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _arrow_rows(value: object) -> object:
    rows = getattr(value, "to_pylist", None)
    if rows is None:
        raise TypeError(f"a {type(value).__name__} has no JSON form")
    return rows()
