"""Measure the plan: evidence, confidence, decisions and the plan file on a pulled world, in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory


@dataclass(frozen=True)
class PlanFigures:
    """One measured plan; seconds of wall clock, peak resident memory of the process in MiB."""

    opportunities: int
    candidates: int
    lines: int
    total_s: float
    cpu_s: float
    peak_mib: int
    stages_s: dict[str, float]


def measure_plan(workspace: Path) -> PlanFigures:
    """Plan once, here and now, on the snapshot that lies in the workspace."""
    settings = in_memory({"workspace": {"folder": str(workspace)}})
    marks: list[tuple[str, float]] = []
    cpu, start = time.process_time(), time.perf_counter()
    with Bridge(settings) as bridge:
        plan = bridge.plan(stage=lambda name: marks.append((name, time.perf_counter())))
    end = time.perf_counter()
    spans = zip(marks, [*marks[1:], ("", end)], strict=True)
    return PlanFigures(
        opportunities=plan.header.opportunities_in_scope,
        candidates=sum(plan.header.decisions.values()),
        lines=plan.header.lines,
        total_s=round(end - start, 2),
        cpu_s=round(time.process_time() - cpu, 2),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        stages_s={name: round(after - before, 2) for (name, before), (_, after) in spans},
    )


def bench_plan(workspace: Path) -> PlanFigures:
    """Measure in a process of its own, so that peak memory is the plan's."""
    command = [sys.executable, "-m", "benchmarks.bench_plan", str(workspace)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return PlanFigures(**json.loads(finished.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(measure_plan(Path(sys.argv[1])))))
