"""Measure the snapshot: pull and resolve a synthetic world, one process per size so that peak memory is its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from crmbridge.snapshot import PullEvent, Resolving, pull
from world import ParquetCrm, write_world

AS_OF = datetime(2026, 6, 30, tzinfo=UTC)


@dataclass(frozen=True)
class PullFigures:
    """One measured pull; seconds of wall clock, peak resident memory of the process in MiB."""

    opportunities: int
    records: int
    load_s: float
    resolve_s: float
    total_s: float
    cpu_s: float
    peak_mib: int
    snapshot_mib: int
    stages_s: dict[str, float]


def ensure_world(folder: Path, opportunities: int) -> Path:
    """Write the world of that size below `folder` unless it is there."""
    world = folder / f"world-{opportunities}"
    if not (world / "done").exists():
        write_world(world, opportunities=opportunities)
        (world / "done").touch()
    return world


def measure_pull(world: Path, snapshot: Path, opportunities: int) -> PullFigures:
    """Pull once, here and now, into `snapshot`."""
    cpu = time.process_time()
    marks: list[tuple[str, float]] = [("load", time.perf_counter())]

    def note(event: PullEvent) -> None:
        if isinstance(event, Resolving):
            marks.append((event.stage, time.perf_counter()))

    summary = pull(ParquetCrm(world), snapshot, time_zone="Europe/Berlin", as_of=AS_OF, progress=note)
    end = time.perf_counter()
    spans = zip(marks, [*marks[1:], ("", end)], strict=True)
    stages = {name: round(after - before, 2) for (name, before), (_, after) in spans}
    return PullFigures(
        opportunities=opportunities,
        records=sum(summary.rows.values()),
        load_s=stages["load"],
        resolve_s=round(end - marks[1][1], 2),
        total_s=round(end - marks[0][1], 2),
        cpu_s=round(time.process_time() - cpu, 2),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        snapshot_mib=snapshot.stat().st_size >> 20,
        stages_s=stages,
    )


def bench(folder: Path, sizes: list[int], report: Callable[[PullFigures], None]) -> None:
    """Measure every size in a process of its own; worlds and snapshots stay in `folder` for later stages."""
    for opportunities in sizes:
        world = ensure_world(folder, opportunities)
        command = [sys.executable, __file__, "--one", str(world), str(opportunities)]
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
        report(PullFigures(**json.loads(finished.stdout)))


def main(arguments: list[str]) -> None:
    """`--one WORLD N` measures in this process; otherwise `[FOLDER] SIZE ...` measures each size."""
    if arguments[:1] == ["--one"]:
        world = Path(arguments[1])
        print(json.dumps(asdict(measure_pull(world, world / "snapshot.duckdb", int(arguments[2])))))
        return
    folder = Path(arguments[0]) if arguments else Path(tempfile.gettempdir()) / "crmbridge-bench"
    bench(
        folder, [int(size) for size in arguments[1:]] or [10_000, 100_000, 1_000_000], lambda figures: print(figures, flush=True)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
