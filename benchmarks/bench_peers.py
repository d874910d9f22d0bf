"""The same paths through crmbridge and through the peers on PyPI, side by side: seconds, memory, and whether they agree.

python -m benchmarks.bench_peers --peers-python PYTHON [PATHS ...]      the default is 100,000 1,000,000 paths

PYTHON has: ChannelAttribution (with matplotlib), marketing-attribution-models 2, shapley-attribution, pandas, polars, pyarrow.
Every tool starts from the table it likes best, in memory: one row a touch, or one text a path. Each run is a process of its own,
crmbridge's too; the time is from that table to the credits, imports left out by a small run first. Taking the paths in is shown
apart where a tool does it apart. Up to 100,000 paths every run is the quickest of three.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.machine import machine
from benchmarks.peer_runs import WARM_UP

SIZES = [100_000, 1_000_000]
FEW, REPEATS = 100_000, 3
RUNS = {
    "heuristics": ("ChannelAttribution", "marketing-attribution-models"),
    "position": ("marketing-attribution-models",),
    "markov": ("ChannelAttribution", "marketing-attribution-models"),
    "shapley": ("shapley-attribution", "marketing-attribution-models"),
}
"""Kinds of models, and who has them. The heuristics are first, last and linear, all three."""

DIFFERS = {
    ("markov", "ChannelAttribution"): "simulates the chain",
    ("shapley", "marketing-attribution-models"): "shares conversion rates, at most four channels a path",
}
"""Why results are not the same."""

_AGREE = 1e-9

# One to nine touches, eleven channels of very different sizes, one path in five converts; a value of whole cents.
_MADE = """
    CREATE TABLE made AS
    WITH sized AS (SELECT i, (1 + hash(i * 7) % 9)::BIGINT AS touches FROM range({paths}) t(i)),
    stepped AS (SELECT i, touches, unnest(range(touches)) AS step FROM sized)
    SELECT i AS path, step AS position, 'channel ' || sqrt(hash(i * 31 + step) % 121)::BIGINT AS channel,
        TIMESTAMP '2024-01-01' + to_seconds((hash(i) % 31536000)::BIGINT) + to_hours(step * 30) AS moment,
        hash(i * 3) % 5 = 0 AS is_won, step = touches - 1 AS is_last, (1 + hash(i * 5) % 100000)::DECIMAL(12, 2) AS worth
    FROM stepped
"""
_FILES = {
    "touches": "SELECT path, position, channel, CASE WHEN is_won THEN worth END AS value FROM made",
    "sessions": """SELECT path, moment, channel, is_won AND is_last AS converted,
        CASE WHEN is_won AND is_last THEN worth::DOUBLE END AS value FROM made""",
    "paths": """SELECT string_agg(channel, '>' ORDER BY position) AS path, max(is_won::INTEGER) AS conversions,
        1 - max(is_won::INTEGER) AS "nulls", coalesce(max(CASE WHEN is_won THEN worth::DOUBLE END), 0) AS value
        FROM made GROUP BY made.path""",
}


def make(folder: Path, paths: int) -> int:
    """Write the paths in every form; how many touches they have."""
    folder.mkdir(exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(_MADE.format(paths=paths))
        for name, sql in _FILES.items():
            connection.execute(f"COPY ({sql}) TO '{folder / f'{name}.parquet'}' (FORMAT parquet)")
        ((touches,),) = connection.execute("SELECT count(*) FROM made").fetchall()
    return int(touches)


def quickest(repeats: int, *command: str) -> dict[str, Any]:
    """What the quickest of some runs printed."""
    return min((timed(*command) for _ in range(repeats)), key=whole_s)


def whole_s(run: dict[str, Any]) -> float:
    """From the table to the credits."""
    return float(run["load_s"] + run["model_s"])


def timed(*command: str) -> dict[str, Any]:
    """What a run printed; what it wrote to standard error where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def agreement(kind: str, peer: str, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """How far the shares are apart at most, and why. Shares, because some Markov results are removal effects, not credits."""
    apart = max(_apart(ours[name], theirs[name]) for name in theirs)
    if apart <= _AGREE:
        return "the same"
    return f"shares differ by {apart:.1e} at most: {DIFFERS.get((kind, peer), 'UNEXPLAINED')}"


def _apart(ours: dict[str, float], theirs: dict[str, float]) -> float:
    total, their_total = sum(ours.values()), sum(theirs.values())
    return max(abs(ours[channel] / total - theirs.get(channel, 0.0) / their_total) for channel in ours)


def compare(folder: Path, peers_python: str, kind: str, repeats: int) -> float:
    """One kind of models through everybody, a line each; how many times as long the quickest peer took."""
    theirs = str(Path(__file__).with_name("peer_runs.py"))
    ours = quickest(repeats, sys.executable, "-m", "benchmarks.own_run", str(folder), kind)
    ratios = []
    print(line(kind, "crmbridge", ours), flush=True)
    for peer in RUNS[kind]:
        run = quickest(repeats, peers_python, theirs, str(folder), peer, kind)
        ratios.append(whole_s(run) / whole_s(ours))
        comparable = ours["counted"] if peer == "shapley-attribution" else ours["credits"]
        print(line(kind, peer, run, ours, agreement(kind, peer, comparable, run["credits"])), flush=True)
    return min(ratios)


def line(kind: str, tool: str, run: dict[str, Any], ours: dict[str, Any] | None = None, said: str = "") -> str:
    """A line of the table; ratios where there is something to compare with."""
    times = f"{run['load_s']:7.2f} {run['model_s']:7.2f} {whole_s(run):7.2f}"
    ratios = f"{'':8} {'':8}"
    if ours is not None:
        ratios = f"{run['model_s'] / ours['model_s']:7.1f}x {whole_s(run) / whole_s(ours):7.1f}x"
    return f"{kind:10} {tool:29} {times} {ratios} {run['peak_mib']:7,}  {said}".rstrip()


def main() -> None:
    """Print the table for every size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", required=True, help="the Python that has the peers")
    parser.add_argument("paths", nargs="*", type=int, default=SIZES)
    given = parser.parse_args()
    print(f"crmbridge and its peers on {machine()}")
    for paths in given.paths:
        with tempfile.TemporaryDirectory(prefix="crmbridge-bench-") as made:
            touches = make(Path(made), paths)
            make(Path(made) / WARM_UP, 10_000)
            print(f"\n{paths:,} paths, {touches:,} touches")
            print(f"{'models':10} {'tool':29} {'load s':>7} {'model s':>7} {'whole s':>7} "
                  f"{'model x':>8} {'whole x':>8} {'MiB':>7}  result", flush=True)  # fmt: skip
            repeats = REPEATS if paths <= FEW else 1
            least = min((compare(Path(made), given.peers_python, kind, repeats), kind) for kind in RUNS)
            print(f"the quickest peer took {least[0]:.1f} times as long at the least ({least[1]})", flush=True)


if __name__ == "__main__":
    main()
