"""Attribution at size: every heuristic model in one pass over a made-up CRM of journeys, then Markov and Shapley on top.

python -m benchmarks.bench_attribution [OPPORTUNITIES ...]      the default is 100,000 1,000,000; ten touches each
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks.machine import machine
from crmbridge.attribution.credit import credit_column, credits_sql, place_touches
from crmbridge.attribution.markov import PARTS, removal_effects
from crmbridge.attribution.models import PRESETS, Strategy

SIZES = [100_000, 1_000_000]
CHANNELS = 200
_TOUCHES_EACH = 10
_YEAR_S = 31_536_000
_MEMORY = "4GB"
"""What DuckDB may take; beyond, it writes to disk. What is measured is the process as a whole."""

_MADE = f"""
    CREATE TABLE touches AS SELECT (hash(i) % {{opportunities}})::BIGINT AS path_key, i AS touch_key,
        'campaign ' || (sqrt(hash(i * 7) % {CHANNELS**2}))::BIGINT AS channel, (hash(i * 3) % {_YEAR_S})::BIGINT AS occurred_s,
        NULL::VARCHAR AS role
    FROM range({{touches}}) t(i);
    CREATE TABLE paths AS SELECT i AS path_key, (hash(i) % 10000000)::BIGINT AS value_minor,
        (hash(i * 5) % {_YEAR_S})::BIGINT AS lead_created_s, (hash(i * 11) % {_YEAR_S})::BIGINT AS opportunity_created_s,
        {_YEAR_S}::BIGINT AS close_s, (hash(i * 13) % 4 = 0)::BIGINT AS conversions, (hash(i * 13) % 4 <> 0)::BIGINT AS nulls
    FROM range({{opportunities}}) t(i)
"""


def bench(folder: Path, opportunities: int) -> str:
    """A line of the table."""
    settings = {"memory_limit": _MEMORY, "temp_directory": str(folder), "preserve_insertion_order": "false"}
    with duckdb.connect(str(folder / "journeys.duckdb"), config=settings) as connection:
        connection.execute(_MADE.format(opportunities=opportunities, touches=opportunities * _TOUCHES_EACH))
        start = time.perf_counter()
        place_touches(connection, touches="touches", paths="paths", places="places")
        heuristics = [model for model in PRESETS.values() if model.strategy in (Strategy.ANCHORS, Strategy.DECAY)]
        credited = credits_sql(connection, heuristics, places="places")
        sums = ", ".join(f'sum("{credit_column(model)}") AS "{credit_column(model)}"' for model in heuristics)
        earned = connection.execute(f"SELECT {sums} FROM ({credited})").fetchall()[0]
        heuristic_s = time.perf_counter() - start
        ((worth,),) = connection.execute("SELECT sum(value_minor) FROM paths SEMI JOIN touches USING (path_key)").fetchall()
        if set(earned) != {worth}:
            raise SystemExit(f"credits do not sum to {worth}: {earned}")
        markov_s = markov(connection)
        start = time.perf_counter()
        shared = credits_sql(connection, [PRESETS["shapley"]], places="places")
        connection.execute(f"SELECT channel, sum(credit__shapley) FROM ({shared}) GROUP BY channel").fetchall()
        shapley_s = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    times = f"{heuristic_s:12.1f} {markov_s:9.1f} {shapley_s:9.1f}"
    return f"{opportunities:14,} {opportunities * _TOUCHES_EACH:12,} {len(heuristics):7} {times} {peak_mib:7,}"


def markov(connection: duckdb.DuckDBPyConnection) -> float:
    """Seconds to learn the removal effects of all channels, and to share every amount by them."""
    start = time.perf_counter()
    effects = removal_effects(connection, steps="places", outcomes="paths")
    connection.register("given", effects)
    connection.execute(f"CREATE TEMP TABLE parts AS SELECT channel, round(share * {PARTS})::BIGINT AS parts FROM given")
    connection.unregister("given")
    shared = credits_sql(connection, [PRESETS["markov"]], places="places", parts={"markov": "parts"})
    connection.execute(f"SELECT channel, sum(credit__markov) FROM ({shared}) GROUP BY channel").fetchall()
    return time.perf_counter() - start


def main(sizes: list[int]) -> None:
    """Print one line a size, as it comes; memory is that of the largest size so far."""
    print(f"attribution on {machine()}; {CHANNELS} campaigns")
    print(f"{'opportunities':>14} {'touches':>12} {'models':>7} {'heuristics s':>12} {'markov s':>9} {'shapley s':>9} {'MiB':>7}")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="crmbridge-bench-") as made:
            print(bench(Path(made), size), flush=True)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or SIZES)
