"""Markov removal effects, exactly: one absorbing chain from the start over channels to conversion or nothing.

The chain's states are the last `order` channels of a journey. With N = (I - Q)^-1 and b = N r (r: the chance to convert in the
next step), the chance to convert from the start is b_0. Removing a channel sends whoever reaches it to nothing; at order 1 its
removal effect is N_0k / N_kk * b_k / b_0, so that one inversion gives all of them. At higher orders a removal drops every
state that holds the channel: one sparse solution each. Shares are the removal effects, normalised. Source: Anderl, Becker,
von Wangenheim & Schumann (2016), International Journal of Research in Marketing 33(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crmbridge.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEAST_JOURNEYS = 30
"""Fewer won or fewer lost journeys than this say nothing about what a removal would do."""

PARTS = 1_000_000
_DENSE_STATES = 4_000
"""Up to so many states one dense inversion is quicker than sparse solutions."""

RESULT = pa.schema([("channel", pa.string()), ("removal_effect", pa.float64()), ("share", pa.float64())])

# A state is the text of the last channels' numbers: `3`, then `3.7`.
_STATES = """
    CREATE OR REPLACE TEMP TABLE markov_steps AS
    WITH numbered AS (
        SELECT s.path_key, s.rank, c.number FROM {steps} s JOIN markov_channels c ON c.channel = s.channel
        SEMI JOIN {outcomes} o USING (path_key)
    )
    SELECT path_key, rank, {state} AS state FROM numbered
    WINDOW before AS (PARTITION BY path_key ORDER BY rank)
"""

_MOVES = """
    WITH moves AS (
        SELECT path_key, coalesce(lag(state) OVER (PARTITION BY path_key ORDER BY rank), 'start') AS origin, state AS target
        FROM markov_steps
        UNION ALL
        SELECT path_key, arg_max(state, rank), 'end' FROM markov_steps GROUP BY path_key
    )
    SELECT origin, target, sum(o.conversions + o.nulls)::DOUBLE AS passed, sum(o.conversions)::DOUBLE AS converted
    FROM moves JOIN {outcomes} o USING (path_key)
    GROUP BY origin, target ORDER BY origin, target
"""


@dataclass(frozen=True)
class Chain:
    """An absorbing chain; state 0 is the start.

    Attributes:
        moves: n x n, the chance to go from one state to another.
        converts: the chance to convert next, from each state.
        channels_of: for every state, the numbers of the channels it holds.
    """

    moves: csr_matrix
    converts: npt.NDArray[np.float64]
    channels_of: list[frozenset[int]]


def removal_effects(connection: duckdb.DuckDBPyConnection, *, steps: str, outcomes: str, order: int = 1) -> pa.Table:
    """Find what share of the conversions would be lost without each channel.

    Args:
        connection: where the tables are.
        steps: a table of path_key, rank (from 1 on), channel.
        outcomes: a table of path_key, conversions, nulls: how often that journey ended either way; numbers >= 0.
        order: of the chain, 1 to 4.

    Returns:
        channel, removal_effect (0 to 1), share (they sum to 1; all 0 where nothing converts); sorted by channel.

    Raises:
        DataError: `order` is not 1 to 4.
    """
    if not 1 <= order <= 4:
        raise DataError(f"the order of a Markov chain is {order}; allowed: 1 to 4")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE markov_channels AS SELECT channel, row_number() OVER (ORDER BY channel) - 1 AS number "
        f"FROM (SELECT DISTINCT s.channel FROM {steps} s SEMI JOIN {outcomes} o USING (path_key) WHERE s.channel IS NOT NULL)"
    )
    channels = [str(name) for (name,) in connection.execute("SELECT channel FROM markov_channels ORDER BY number").fetchall()]
    connection.execute(_STATES.format(steps=steps, outcomes=outcomes, state=_state(order)))
    chain = _chain(connection.execute(_MOVES.format(outcomes=outcomes)).to_arrow_table())
    connection.execute("DROP TABLE markov_steps; DROP TABLE markov_channels")
    effects = _effects(chain, len(channels))
    total = effects.sum()
    shares = effects / total if total > 0 else effects
    return pa.table({"channel": channels, "removal_effect": effects, "share": shares}, schema=RESULT)


def _state(order: int) -> str:
    earlier = [f"lag(number, {back}) OVER before" for back in range(order - 1, 0, -1)]
    return f"concat_ws('.', {', '.join([*earlier, 'number'])})"


def _chain(moves: pa.Table) -> Chain:
    import scipy.sparse as sp  # a third of a second that only this needs

    names = sorted({*moves["origin"].to_pylist(), *moves["target"].to_pylist()} - {"start", "end"})
    states = {name: index for index, name in enumerate(["start", *names])}
    size = len(states)
    origins = np.array([states[name] for name in moves["origin"].to_pylist()], dtype=np.int64)
    targets = np.array([states.get(name, -1) for name in moves["target"].to_pylist()], dtype=np.int64)
    passed, converted = moves["passed"].to_numpy(), moves["converted"].to_numpy()
    leaving = np.bincount(origins, weights=passed, minlength=size)
    leaving[leaving == 0] = 1.0
    is_end = targets < 0
    matrix = sp.csr_matrix(
        (passed[~is_end] / leaving[origins[~is_end]], (origins[~is_end], targets[~is_end])), shape=(size, size)
    )
    converts = np.bincount(origins[is_end], weights=converted[is_end], minlength=size) / leaving
    held = [frozenset[int](), *(frozenset(int(part) for part in name.split(".")) for name in names)]
    return Chain(matrix, converts, held)


def _effects(chain: Chain, channels: int) -> npt.NDArray[np.float64]:
    if not channels:
        return np.zeros(0)
    is_first_order = all(len(held) <= 1 for held in chain.channels_of) and len(chain.channels_of) == channels + 1
    if is_first_order and len(chain.channels_of) <= _DENSE_STATES:
        return _by_inversion(chain, channels)
    return _by_solutions(chain, channels)


def _by_inversion(chain: Chain, channels: int) -> npt.NDArray[np.float64]:
    visits = np.linalg.inv(np.eye(channels + 1) - chain.moves.toarray())
    chances = visits @ chain.converts
    effects = np.zeros(channels)
    if chances[0] > 0:
        for_state = visits[0] / np.diag(visits) * chances / chances[0]
        for state, held in enumerate(chain.channels_of):
            effects[list(held)] = for_state[state]
    return effects


def _by_solutions(chain: Chain, channels: int) -> npt.NDArray[np.float64]:
    """Solve for the chance to convert once whole, and once without each channel."""
    import scipy.sparse as sp

    size = len(chain.channels_of)
    whole = _chance(chain.moves, chain.converts)
    effects = np.zeros(channels)
    if whole <= 0:
        return effects
    holding: dict[int, list[int]] = {}
    for state, held in enumerate(chain.channels_of):
        for channel in held:
            holding.setdefault(channel, []).append(state)
    for channel, states in holding.items():
        kept: Any = np.ones(size)
        kept[states] = 0.0
        effects[channel] = 1 - _chance(sp.diags(kept) @ chain.moves, chain.converts * kept) / whole
    return effects.clip(min=0.0)


def _chance(moves: csr_matrix, converts: npt.NDArray[np.float64]) -> float:
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    solved = spsolve(sp.csc_matrix(sp.identity(moves.shape[0]) - moves), converts)
    return float(np.atleast_1d(solved)[0])
