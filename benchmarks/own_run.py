"""crmbridge's models of one kind on the paths of `bench_peers`, in a process of its own.

python -m benchmarks.own_run FOLDER KIND      prints JSON as `peer_runs` does
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

_MODELS = {"heuristics": ("first", "last", "linear"), "position": ("u_adobe",), "markov": ("markov",), "shapley": ("shapley",)}
COLUMNS = PathColumns(order="position")
COUNTED = PathColumns(order="position", value=None, conversions="won")


def credits_of(paths: Paths, kind: str) -> dict[str, dict[str, float]]:
    """Credit by model and channel."""
    shared = paths.credits(_MODELS[kind])
    channels = shared["channel"].to_pylist()
    return {
        "position" if name == "u_adobe" else name: dict(zip(channels, map(float, shared[name].to_pylist()), strict=True))
        for name in _MODELS[kind]
    }


def timed(folder: Path, kind: str) -> dict[str, Any]:
    """Seconds and credits."""
    touches = pq.read_table(folder / "touches.parquet")
    start = time.perf_counter()
    with Paths(touches, columns=COLUMNS, digits=4) as paths:
        loaded = time.perf_counter()
        found = credits_of(paths, kind)
        end = time.perf_counter()
    return {"load_s": loaded - start, "model_s": end - loaded, "credits": found}


def counted(folder: Path, kind: str) -> dict[str, dict[str, float]]:
    """Credits where every conversion counts one."""
    touches = pq.read_table(folder / "touches.parquet")
    won = touches["value"].is_valid().cast(pa.int64())
    with Paths(touches.append_column("won", won), columns=COUNTED, digits=9) as paths:
        return credits_of(paths, kind)


def main() -> None:
    """Run what the command line says."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    timed(folder / WARM_UP, kind)
    found = timed(folder, kind)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**found, "peak_mib": peak_mib, "counted": counted(folder, kind) if kind == "shapley" else {}}))


if __name__ == "__main__":
    main()
