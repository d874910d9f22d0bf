"""`make bench`: speed and size of the main job, printed with this machine's cores and memory.

python -m benchmarks.run [SIZE ...]        the default is 10,000 100,000 1,000,000 opportunities
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bench_plan import bench_plan
from benchmarks.bench_snapshot import bench
from benchmarks.machine import machine

SIZES = [10_000, 100_000, 1_000_000]
_REPEATS = 5


def starting_s(*command: str) -> float:
    """The best of a few starts of a process, in seconds."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main(sizes: list[int]) -> None:
    """Print one line a measurement, as it comes."""
    print(f"crmbridge on {machine()}")
    bare = starting_s("-c", "pass")
    imported = starting_s("-c", "import crmbridge") - bare
    print(f"import crmbridge: {imported:.2f} s; --help: {starting_s('-m', 'crmbridge', '--help'):.2f} s")
    print(f"{'opportunities':>14} {'records':>12} {'pull s':>7} {'cpu s':>6} {'MiB':>6} | {'candidates':>11} {'roles':>9} "
          f"{'plan s':>7} {'cpu s':>6} {'MiB':>6}", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="crmbridge-bench-") as made:
        for size in sizes:
            folder = Path(made) / str(size)
            pulled, workspace = bench(folder, size)
            planned = bench_plan(workspace)
            print(f"{size:14,} {pulled.records:12,} {pulled.total_s:7.1f} {pulled.cpu_s:6.1f} {pulled.peak_mib:6,} | "
                  f"{planned.candidates:11,} {planned.lines:9,} {planned.total_s:7.1f} {planned.cpu_s:6.1f} "
                  f"{planned.peak_mib:6,}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or SIZES)
