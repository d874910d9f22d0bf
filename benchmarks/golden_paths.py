"""The golden paths that ship in PyPI's `mta` (10,000 paths, 12 channels) against the totals that are known of them.

python -m benchmarks.golden_paths FILE      FILE is `mta/data/data.csv.gz` in the site-packages of a Python that has `mta`
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

import pyarrow as pa

from crmbridge.attribution.paths import PathColumns, attribute_paths

KNOWN = {
    "first": {"alpha": "6308", "iota": "4606", "eta": "3164", "beta": "2831"},
    "last": {"alpha": "8447", "iota": "3355", "eta": "4167", "beta": "989"},
    "linear": {"alpha": "7574.719", "iota": "3857.096", "eta": "3539.951", "beta": "2083.500"},
    "markov": {"alpha": "5344.948", "iota": "3884.615", "eta": "3340.847", "beta": "2527.352"},
}
COLUMNS = PathColumns(value=None, conversions="conversions", nulls="nulls")


def read(path: Path) -> pa.Table:
    """One row a touch."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        paths = [(row["path"].split(" > "), row["total_conversions"], row["total_null"]) for row in csv.DictReader(file)]
    rows = [
        {"path": number, "order": place, "channel": channel, "conversions": int(won), "nulls": int(lost)}
        for number, (channels, won, lost) in enumerate(paths)
        for place, channel in enumerate(channels)
    ]
    return pa.Table.from_pylist(rows)


def main(path: Path) -> int:
    """Print what differs; 1 where anything does."""
    found = attribute_paths(read(path), columns=COLUMNS, models=list(KNOWN), digits=3)
    differing = 0
    for model, totals in KNOWN.items():
        given = dict(zip(found["channel"].to_pylist(), found[model].to_pylist(), strict=True))
        for channel, total in totals.items():
            is_same = float(given[channel]) == float(total)
            differing += not is_same
            print(f"{model:8} {channel:6} {given[channel]:>10}  {'the same' if is_same else f'known: {total}'}")
    return int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
