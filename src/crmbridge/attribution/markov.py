"""Markov removal effects, exactly: one absorbing chain from the start over channels to conversion or nothing.

The chain's states are the last `order` channels of a journey. With N = (I - Q)^-1 and b = N r (r: the chance to convert in the
next step), the chance to convert from the start is b_0. Removing a channel sends whoever reaches it to nothing; at order 1 its
removal effect is N_0k / N_kk * b_k / b_0, so that one inversion gives all of them. At higher orders a removal drops every
state that holds the channel: one sparse solution each. Shares are the removal effects, normalised. Source: Anderl, Becker,
von Wangenheim & Schumann (2016), International Journal of Research in Marketing 33(3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEAST_JOURNEYS = 30
"""Fewer won or fewer lost journeys than this say nothing about what a removal would do."""

PARTS = 1_000_000
_DENSE_STATES = 4_000
"""Up to so many states one dense inversion is quicker than sparse solutions."""
_MOST_STATES = 1 << 62

RESULT = pa.schema([("channel", pa.string()), ("removal_effect", pa.float64()), ("share", pa.float64())])

# One look back and ahead along the journeys gives every move: the channel, those before it (null at the start), whether it is
# the last. Outcomes are joined afterwards, so that what is sorted stays narrow.
_MOVES = """
    WITH walked AS (
        SELECT path_key, channel AS back_0, {back}, lead(channel) OVER journey IS NULL AS is_last
        FROM {steps} WHERE channel IS NOT NULL WINDOW journey AS (PARTITION BY path_key ORDER BY rank)
    )
    SELECT {columns}, w.is_last, sum(o.conversions + o.nulls)::DOUBLE AS passed, sum(o.conversions)::DOUBLE AS converted
    FROM walked w JOIN {outcomes} o USING (path_key) GROUP BY ALL
"""


@dataclass(frozen=True)
class Flow:
    """How often journeys went from state to state, and how they ended.

    Attributes:
        states: sorted. The last channels' numbers, from 1 on, are the digits to the base of one more than there are channels,
            the latest the last digit; 0, the first, is the start.
        origins, targets: of every move, the places of its states.
        passed: of every move, how many journeys made it.
        ended: of every state, how many journeys ended there.
        converted: of every state, how many of those converted.
    """

    states: npt.NDArray[np.int64]
    origins: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    passed: npt.NDArray[np.float64]
    ended: npt.NDArray[np.float64]
    converted: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """An absorbing chain; state 0 is the start.

    Attributes:
        moves: n x n, the chance to go from one state to another.
        converts: n, the chance to convert next.
        held: n x order, the channels that a state holds, from 0 on; -1 for none.
    """

    moves: csr_matrix
    converts: npt.NDArray[np.float64]
    held: npt.NDArray[np.int64]


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
        DataError: `order` is not 1 to 4, or there are too many channels for it.
    """
    check_order(order)
    backs = range(order + 1)
    sql = _MOVES.format(
        steps=steps,
        outcomes=outcomes,
        back=", ".join(f"lag(channel, {back}) OVER journey AS back_{back}" for back in backs[1:]),
        columns=", ".join(f"w.back_{back}" for back in backs),
    )
    moves = connection.execute(sql).to_arrow_table()
    channels = sorted(moves["back_0"].unique().to_pylist())
    check_order(order, channels=len(channels))
    effects = effects_of(_flow(moves, channels, order), len(channels))
    names = [str(name) for name in channels]
    return pa.table({"channel": names, "removal_effect": effects, "share": shares_of(effects)}, schema=RESULT)


def check_order(order: int, *, channels: int = 0) -> None:
    """Refuse a chain that cannot be.

    Raises:
        DataError: `order` is not 1 to 4, or states of so many channels cannot be numbered.
    """
    if not 1 <= order <= 4:
        raise DataError(f"the order of a Markov chain is {order}; allowed: 1 to 4")
    if (channels + 1) ** order > _MOST_STATES:
        raise DataError(f"a Markov chain of order {order} over {channels:,} channels has too many states", hint="lower the order")


def effects_of(flow: Flow, channels: int) -> npt.NDArray[np.float64]:
    """The removal effect of every channel, by its number from 0 on."""
    if not channels:
        return np.zeros(0)
    chain = _chain(flow, channels + 1)
    if chain.held.shape[1] == 1 and len(chain.held) <= _DENSE_STATES:
        return _by_inversion(chain, channels)
    return _by_solutions(chain, channels)


def shares_of(effects: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The effects, scaled to sum to 1; all 0 where nothing converts."""
    total = effects.sum()
    return effects / total if total > 0 else effects


def summed(groups: npt.NDArray[np.int64], values: npt.NDArray[Any], size: int) -> npt.NDArray[np.float64]:
    """Sums by group, from 0 to below `size`."""
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64, copy=False)


def _flow(moves: pa.Table, channels: Sequence[Any], order: int) -> Flow:
    base = len(channels) + 1
    backs = [_numbers(moves[f"back_{back}"], channels) for back in range(order + 1)]
    origin = sum(number * base**place for place, number in enumerate(backs[1:]))
    target = sum(number * base**place for place, number in enumerate(backs[:-1]))
    is_last = moves["is_last"].to_numpy()
    passed, converted = moves["passed"].to_numpy(), moves["converted"].to_numpy()
    states = np.union1d(np.array([0], dtype=np.int64), np.concatenate([origin, target]))
    targets = np.searchsorted(states, target)
    return Flow(
        states=states,
        origins=np.searchsorted(states, origin),
        targets=targets,
        passed=passed,
        ended=summed(targets[is_last], passed[is_last], len(states)),
        converted=summed(targets[is_last], converted[is_last], len(states)),
    )


def _chain(flow: Flow, base: int) -> Chain:
    import scipy.sparse as sp  # a third of a second that only this needs

    size = len(flow.states)
    # What leaves a state goes on, or ends there; a state that nobody leaves keeps all.
    leaving = np.bincount(flow.origins, weights=flow.passed, minlength=size) + flow.ended
    leaving[leaving == 0] = 1.0
    matrix = sp.csr_matrix((flow.passed / leaving[flow.origins], (flow.origins, flow.targets)), shape=(size, size))
    return Chain(matrix, flow.converted / leaving, _held(flow.states, base))


def _numbers(column: pa.ChunkedArray, channels: Sequence[Any]) -> npt.NDArray[np.int64]:
    found = pc.index_in(column, value_set=pa.array(channels, column.type))
    numbers: npt.NDArray[np.int64] = pc.add(pc.fill_null(found, -1), 1).to_numpy().astype(np.int64)
    return numbers


def _held(states: npt.NDArray[np.int64], base: int) -> npt.NDArray[np.int64]:
    """Of every state the channels that it holds, from 0 on, one a column; -1 where there is none."""
    digits: list[npt.NDArray[np.int64]] = []
    while states.any() or not digits:
        digits.append(states % base - 1)
        states = states // base
    return np.stack(digits, axis=1)


def _by_inversion(chain: Chain, channels: int) -> npt.NDArray[np.float64]:
    visits = np.linalg.inv(np.eye(len(chain.held)) - chain.moves.toarray())
    chances = visits @ chain.converts
    effects = np.zeros(channels)
    if chances[0] > 0:
        effects[chain.held[1:, 0]] = (visits[0] / np.diag(visits) * chances / chances[0])[1:]
    return effects


def _by_solutions(chain: Chain, channels: int) -> npt.NDArray[np.float64]:
    """Solve for the chance to convert once whole, and once without each channel."""
    import scipy.sparse as sp

    whole = _chance(chain.moves, chain.converts)
    effects = np.zeros(channels)
    if whole <= 0:
        return effects
    for channel in np.unique(chain.held[chain.held >= 0]):
        kept: Any = (~(chain.held == channel).any(axis=1)).astype(np.float64)
        effects[channel] = 1 - _chance(sp.diags(kept) @ chain.moves, chain.converts * kept) / whole
    return effects.clip(min=0.0)


def _chance(moves: csr_matrix, converts: npt.NDArray[np.float64]) -> float:
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    solved = spsolve(sp.csc_matrix(sp.identity(moves.shape[0]) - moves), converts)
    return float(np.atleast_1d(solved)[0])
