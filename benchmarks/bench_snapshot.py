"""Measure the snapshot: pull and resolve a synthetic world, one process per size so that peak memory is its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.world import ParquetCrm, write_world
from crmbridge.snapshot import PullEvent, Resolving, pull
from crmbridge.workspace import Workspace

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


def bench(folder: Path, opportunities: int) -> tuple[PullFigures, Path]:
    """Write a world and pull it, in a process of its own; the figures, and the workspace where the snapshot lies."""
    world, workspace = folder / "world", folder / "workspace"
    write_world(world, opportunities=opportunities)
    Workspace(workspace)
    command = [sys.executable, "-m", "benchmarks.bench_snapshot", str(world), str(workspace), str(opportunities)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return PullFigures(**json.loads(finished.stdout)), workspace


if __name__ == "__main__":
    _world, _workspace, _size = sys.argv[1:]
    print(json.dumps(asdict(measure_pull(Path(_world), Workspace(Path(_workspace)).snapshot, int(_size)))))
