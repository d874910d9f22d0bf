"""Progress on stderr: bars where somebody watches, a plain line now and then where a log does, nothing with -q."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from crmbridge.cli.console import Verbosity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from crmbridge.cli.console import Console

_LINE_EVERY_S = 5.0


class Board(Protocol):
    """Where progress is shown."""

    def tick(self, step: str, done: int, total: int | None) -> None:
        """A step has come so far; `total` may be unknown. Its first tick begins it."""

    def stage(self, name: str) -> None:
        """A stage that cannot be counted begins, and ends the one before."""


class _Silence:
    def tick(self, step: str, done: int, total: int | None) -> None:
        del step, done, total

    def stage(self, name: str) -> None:
        del name


class _Bars:
    def __init__(self, rich: RichProgress) -> None:
        self._rich = rich
        self._tasks: dict[str, TaskID] = {}
        self._stage: TaskID | None = None

    def tick(self, step: str, done: int, total: int | None) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._rich.add_task(step, total=total)
        self._rich.update(self._tasks[step], completed=done, total=total)

    def stage(self, name: str) -> None:
        if self._stage is None:
            self._stage = self._rich.add_task(name, total=None)
        self._rich.update(self._stage, description=name)


class _Lines:
    """At most one line in five seconds for a step, and one when it is complete; stages only with -v."""

    def __init__(self, console: Console, clock_s: Callable[[], float]) -> None:
        self._console = console
        self._clock_s = clock_s
        self._said_s: dict[str, float] = {}
        self._over: set[str] = set()

    def tick(self, step: str, done: int, total: int | None) -> None:
        now_s = self._clock_s()
        is_over = total is not None and done >= total
        is_soon = now_s - self._said_s.setdefault(step, now_s) < _LINE_EVERY_S
        if step in self._over or (is_soon and not is_over):
            return
        self._said_s[step] = now_s
        if is_over:
            self._over.add(step)
        self._console.note(f"{step}: {done:,}" + (f" of {total:,}" if total is not None and not is_over else ""))

    def stage(self, name: str) -> None:
        self._console.detail(name)


@contextmanager
def progress(console: Console) -> Iterator[Listener]:
    """Show progress while the block runs.

    Yields:
        What the rooms below tell: `on_event` for pulls and runs, `stage` for plans.
    """
    if console.verbosity == Verbosity.QUIET:
        yield Listener(_Silence())
    elif console.is_live:
        with _rich_progress(console) as rich:
            yield Listener(_Bars(rich))
    else:
        yield Listener(_Lines(console, time.monotonic))


class Listener:
    """Turns what the rooms below tell into progress."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._totals: dict[str, int | None] = {}

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._board.stage(name)

    def on_event(self, event: Any) -> None:  # noqa: ANN401 - a union over rooms that are imported only here
        """Show an event of a pull or of a run; one that means nothing on a screen is passed over."""
        from crmbridge.journal import Progress, Step
        from crmbridge.snapshot.pull import EntityDone, EntityStarted, Resolving, RowsRead

        match event:
            case EntityStarted(entity=entity, total=total):
                self._totals[entity.value] = total
                self._board.tick(f"read {entity.value}", 0, total or None)
            case RowsRead(entity=entity, rows=rows):
                self._board.tick(f"read {entity.value}", rows, self._totals.get(entity.value))
            case EntityDone(entity=entity, rows=rows):
                self._board.tick(f"read {entity.value}", rows, rows)
            case Resolving(stage=stage):
                self._board.stage(f"resolve {stage}")
            case Progress(step=step, done=done):
                # Lines come as a stream: how many there are is known at the end.
                self._board.tick("roles settled", done, done or None if step is Step.FINISHED else None)


def _rich_progress(console: Console) -> RichProgress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console.rich(sys.stderr), transient=True)
