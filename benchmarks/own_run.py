"""One of crmbridge's models on the paths of `bench_peers`, in a process of its own.

python -m benchmarks.own_run FOLDER MODEL      prints JSON as `peer_runs` does
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peer_runs import WARM_UP
from crmbridge.attribution.paths import PathColumns, Paths

_PRESETS = {"position": "u_adobe"}
COLUMNS = PathColumns(order="position")
COUNTED = PathColumns(order="position", value=None, conversions="won")


def credits_of(paths: Paths, model: str) -> dict[str, float]:
    """Credit by channel."""
    name = _PRESETS.get(model, model)
    shared = paths.credits([name])
    return {
        channel: float(credit) for channel, credit in zip(shared["channel"].to_pylist(), shared[name].to_pylist(), strict=True)
    }


def timed(folder: Path, model: str) -> dict[str, Any]:
    """Seconds and credits."""
    touches = pq.read_table(folder / "touches.parquet")
    start = time.perf_counter()
    with Paths(touches, columns=COLUMNS, digits=4) as paths:
        loaded = time.perf_counter()
        found = credits_of(paths, model)
        end = time.perf_counter()
    return {"load_s": loaded - start, "model_s": end - loaded, "credits": found}


def counted(folder: Path, model: str) -> dict[str, float]:
    """Credits where every conversion counts one."""
    touches = pq.read_table(folder / "touches.parquet")
    won = touches["value"].is_valid().cast(pa.int64())
    with Paths(touches.append_column("won", won), columns=COUNTED, digits=9) as paths:
        return credits_of(paths, model)


def main() -> None:
    """Run what the command line says."""
    folder, model = Path(sys.argv[1]), sys.argv[2]
    timed(folder / WARM_UP, model)
    found = timed(folder, model)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**found, "peak_mib": peak_mib, "counted": counted(folder, model) if model == "shapley" else {}}))


if __name__ == "__main__":
    main()
