"""One peer's models of one kind on the paths of `bench_peers`, in the Python of the peers, which knows nothing of crmbridge.

python peer_runs.py FOLDER PEER KIND      prints JSON: seconds to take paths in, seconds of the model, MiB, credits by channel
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

WARM_UP = "warm-up"
"""A folder of few paths, run first, so that imports on first use are not timed."""
Timed = tuple[float, float, dict[str, dict[str, float]]]


def marketing_attribution_models(folder: Path, model: str) -> Timed:
    """Version 2 on one row a touch, its `session` format."""
    import polars as pl
    from mam import MAM

    touches = pl.read_parquet(folder / "sessions.parquet")
    start = time.perf_counter()
    taken = MAM(
        touches,
        "session",
        channels_colname="channel",
        journey_with_conv_colname="converted",
        datetime_colname="moment",
        user_id_colname="path",
        conversion_value_colname="value",
    )
    loaded = time.perf_counter()
    runs = {
        "heuristics": lambda: {
            "first": taken.run_first_click(),
            "last": taken.run_last_click(),
            "linear": taken.run_linear(),
        },
        "position": lambda: {"position": taken.run_position_based()},
        "markov": lambda: {"markov": taken.run_markov(transition_to_same_state=True)},
        "shapley": lambda: {"shapley": taken.run_shapley()},
    }
    results = runs[model]()
    end = time.perf_counter()
    if model == "markov":  # its credits are spread by journey; the removal effects are what can be compared
        effects = results["markov"].metadata["removal_effect"]["removal_effect"].to_dict()
        return loaded - start, end - loaded, {"markov": effects}
    found = {name: result.to_polars().select("channels", "attribution") for name, result in results.items()}
    return loaded - start, end - loaded, {name: dict(frame.iter_rows()) for name, frame in found.items()}


def channel_attribution(folder: Path, model: str) -> Timed:
    """On one text a path; all its heuristics come together."""
    import pandas as pd
    from ChannelAttribution import heuristic_models, markov_model

    paths = pd.read_parquet(folder / "paths.parquet")
    start = time.perf_counter()
    if model == "markov":
        found = markov_model(paths, "path", "conversions", var_null="nulls", sep=">", verbose=False, flg_pro=False)
        return 0.0, time.perf_counter() - start, {"markov": dict(zip(found.iloc[:, 0], found.iloc[:, 1], strict=True))}
    found = heuristic_models(paths, "path", "conversions", var_value="value", sep=">", flg_pro=False)
    end = time.perf_counter()
    columns = {"first": "first_touch_value", "last": "last_touch_value", "linear": "linear_touch_value"}
    return 0.0, end - start, {name: dict(zip(found.iloc[:, 0], found[column], strict=True)) for name, column in columns.items()}


def shapley_attribution(folder: Path, _model: str) -> Timed:
    """Its simplified method, which is the exact one, on lists of names; it counts conversions."""
    import pandas as pd
    from shapley_attribution.models.simplified import SimplifiedShapleyAttribution

    paths = pd.read_parquet(folder / "paths.parquet")
    start = time.perf_counter()
    journeys = [text.split(">") for text in paths["path"]]
    loaded = time.perf_counter()
    found = SimplifiedShapleyAttribution(normalize=False).fit(journeys, (paths["conversions"] > 0).to_numpy())
    return loaded - start, time.perf_counter() - loaded, {"shapley": found.get_attribution()}


PEERS: dict[str, Callable[[Path, str], Timed]] = {
    "marketing-attribution-models": marketing_attribution_models,
    "ChannelAttribution": channel_attribution,
    "shapley-attribution": shapley_attribution,
}


def main() -> None:
    """Run what the command line says."""
    folder, peer, model = sys.argv[1:]
    PEERS[peer](Path(folder) / WARM_UP, model)
    load_s, model_s, credited = PEERS[peer](Path(folder), model)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found = {name: {str(channel): float(credit) for channel, credit in by.items()} for name, by in credited.items()}
    print(json.dumps({"load_s": load_s, "model_s": model_s, "peak_mib": peak_mib, "credits": found}))


if __name__ == "__main__":
    main()
