"""What the benchmarks of API calls have in common: a CRM in a process of its own, a meter of its calls, and the table.

The CRM runs in another process so that the seconds and the memory are the adapter's.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from crmbridge.apply import execute
from crmbridge.contract import RoleWrite
from crmbridge.journal import Journal, PlannedWrite
from crmbridge.undo import undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from crmbridge.bridge import Bridge
    from crmbridge.contract import Adapter
    from crmbridge.journal import RunSummary
    from crmbridge.plan.file import Plan

Row = dict[str, Any]


class Counting(Protocol):
    """A sandbox, which counts its calls by endpoint."""

    @property
    def calls(self) -> Counter[str]: ...


def answer(sandbox: Counting, pipe: Connection, others: dict[str, Callable[..., object]]) -> None:
    """Be asked until told to stop: `calls` for the calls so far, else one of the others, with its arguments."""
    while (asked := pipe.recv()) is not None:
        name, *given = asked
        pipe.send(Counter(sandbox.calls) if name == "calls" else others[name](*given))


@contextmanager
def beside(serve: Callable[..., None], *given: object) -> Iterator[tuple[Connection, Any]]:
    """Run `serve(*given, pipe)` in another process; gives the pipe and the first thing it says."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(*given, theirs))
    process.start()
    theirs.close()
    try:
        yield ours, ours.recv()
        ours.send(None)
    finally:
        process.join(30)
        process.terminate()


class Meter:
    """Counts the calls between two looks."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._seen: Counter[str] = Counter()

    def ask(self, name: str, *given: object) -> Any:  # noqa: ANN401 - whatever it is asked for
        """Have the other process do one of its things."""
        self._pipe.send((name, *given))
        return self._pipe.recv()

    def look(self) -> Counter[str]:
        """The calls since the last look, without logins."""
        now: Counter[str] = self.ask("calls")
        spent, self._seen = now - self._seen, now
        return Counter({name: calls for name, calls in spent.items() if "token" not in name})

    def measured(self, what: str, work: Callable[[], int], least: int | Callable[[Counter[str]], int]) -> Row:
        """Do some work, which says how many records it was about, and tell what it cost.

        Args:
            what: the row's name.
            work: is done once.
            least: calls; or what tells them from the calls that were made.
        """
        self.look()
        started, cpu = time.perf_counter(), time.process_time()
        records = work()
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        spent = self.look()
        return row(what, records, spent, least if isinstance(least, int) else least(spent), seconds, cpu_s)


def row(what: str, records: int, spent: Counter[str], least: int, seconds: float, cpu_s: float) -> Row:
    """One line of the table; the memory is the most that this process ever had."""
    return {
        "what": what,
        "records": records,
        "calls": spent.total(),
        "least": least,
        "over": f"{spent.total() / least - 1:+.0%}",
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "by_kind": dict(spent.most_common()),
    }


def print_rows(rows: Iterable[tuple[str, Row]]) -> None:
    """Print a line for each run, as it comes."""
    print(f"{'world':>13} {'what':36} {'records':>10} {'calls':>6} {'least':>6} {'over':>6} {'s':>6} {'cpu':>6} {'MiB':>5}")
    for world, one in rows:
        print(
            f"{world:>13} {one['what']:36} {one['records']:>10,} {one['calls']:>6} {one['least']:>6} "
            f"{one['over']:>6} {one['seconds']:>6} {one['cpu_s']:>6} {one['peak_mib']:>5}  {json.dumps(one['by_kind'])}",
            flush=True,
        )


def planned_lines(opportunities: Sequence[str], contacts: Sequence[str], lines: int) -> list[PlannedWrite]:
    """A line for each of the first opportunities, with contacts far apart."""
    step = max(len(contacts) // max(lines, 1), 1)
    pairs = zip(opportunities[:lines], contacts[::step][:lines], strict=True)
    return [
        PlannedWrite(
            line_id=f"L{number}",
            write=RoleWrite(key=f"k{number}", action="put", opportunity_id=a, contact_id=b, role="Influencer"),
            detail={},
        )
        for number, (a, b) in enumerate(pairs)
    ]


def applied_and_undone(
    meter: Meter, adapter: Adapter, journal: Path, lines: list[PlannedWrite], least: tuple[int, int]
) -> Iterator[Row]:
    """Apply lines and take them back; `least` is of the one and of the other."""
    runs: list[RunSummary] = []

    def done(run: RunSummary) -> int:
        runs.append(run)
        return run.counts.get("applied", 0)

    with Journal.open(journal) as opened:
        yield meter.measured(
            f"apply {len(lines):,} lines",
            lambda: done(execute(adapter, opened, lines, kind="apply", plan_id="p", plan_hash="p")),
            least[0],
        )
        yield meter.measured(f"undo {len(lines):,} lines", lambda: done(undo(adapter, opened, runs[0].run_id)), least[1])


def planned_and_undone(meter: Meter, bridge: Bridge, plan: Plan, least: tuple[int, int]) -> Iterator[Row]:
    """The same with a plan, the way people do it."""
    runs: list[RunSummary] = []

    def done(run: RunSummary) -> int:
        runs.append(run)
        return run.counts.get("applied", 0)

    lines = sum(1 for _ in plan.lines())
    yield meter.measured(f"apply {lines:,} lines", lambda: done(bridge.apply(plan)), least[0])
    yield meter.measured(f"undo {lines:,} lines", lambda: done(bridge.undo(runs[0].run_id)), least[1])
