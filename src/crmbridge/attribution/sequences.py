"""Paths as arrays, one behind the other, and exact sums over them: a million paths are a matter of a second.

Everything is a whole number of 64 bits. A sum that floats might not hold exactly is taken in parts that they do hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crmbridge.attribution.markov import Flow, summed
from crmbridge.errors import DataError

Ints = npt.NDArray[np.int64]

Class = tuple[int, int, int, int, int]
"""What paths of equally many touches are worth to a channel: its number, how many touches, the values of the paths once for
each touch of the channel, of those that begin with it, of those that end with it."""

NONE = int(np.iinfo(np.int64).min)
"""Stands for no value."""
_MOST_KEY = 1 << 62
_EXACT = 1 << 52
"""Sums below this are exact as floats, with room to spare."""
_PART_BITS = 20
_DENSE, _DENSE_ANYWAY = 4, 1 << 16
"""Keys are looked up in a table of all of them where that has at most so many places for each row, or so many in all."""


@dataclass(frozen=True)
class Sequences:
    """Paths, one behind the other, each with its touches in order.

    Attributes:
        numbers: of each touch, the number of its channel.
        moments: of each touch.
        starts: of each path, where its touches begin.
        order: of each touch, the row that it came from; None where the rows were in order.
    """

    numbers: Ints
    moments: Ints
    starts: Ints
    order: Ints | None

    @cached_property
    def touches(self) -> Ints:
        """Of each path, how many touches it has."""
        touches: Ints = np.diff(self.starts, append=len(self.numbers))
        return touches

    @cached_property
    def ends(self) -> Ints:
        """Of each path, where its last touch is."""
        ends: Ints = self.starts + self.touches - 1
        return ends

    @property
    def firsts(self) -> Ints:
        """Of each path, the channel of its first touch."""
        return self.numbers[self.starts]

    @property
    def lasts(self) -> Ints:
        """Of each path, the channel of its last touch."""
        return self.numbers[self.ends]

    def of_paths(self, rows: Ints) -> tuple[Ints, Ints]:
        """What the rows say of their paths, `NONE` where none says anything, and the paths they say different things of."""
        if not len(rows):
            return rows, rows
        said = rows if self.order is None else rows[self.order]
        most = np.maximum.reduceat(said, self.starts)
        is_other = (said != np.repeat(most, self.touches)) & (said != NONE)
        return most, np.flatnonzero(np.logical_or.reduceat(is_other, self.starts)) if is_other.any() else rows[:0]

    def flow(self, channels: int, order: int, *, passed: Ints, converted: Ints) -> Flow:
        """Where the paths go, for a Markov chain.

        Args:
            channels: how many there are.
            order: how many channels a state holds.
            passed: of each path, how often it was gone.
            converted: of each path, how often it converted.
        """
        states, here = _grouped(self._states(channels, order), (channels + 1) ** order)
        size = len(states) + 1
        came = np.zeros_like(here)
        came[1:] = here[:-1] + 1
        came[self.starts] = 0
        edges, groups = _grouped(came * size + here + 1, size * size)
        ends = here[self.ends] + 1
        return Flow(
            states=np.concatenate([np.zeros(1, dtype=np.int64), states]),
            origins=edges // size,
            targets=edges % size,
            passed=summed(groups, np.repeat(passed, self.touches), len(edges)),
            ended=summed(ends, passed, size),
            converted=summed(ends, converted, size),
        )

    def _states(self, channels: int, order: int) -> Ints:
        """Of each touch the state that it leads to, numbered as `Flow` does."""
        states = self.numbers + 1
        if order > 1:
            places = np.arange(len(states)) - np.repeat(self.starts, self.touches)
            for back in range(1, order):
                states = states + np.where(places >= back, np.roll(self.numbers, back) + 1, 0) * (channels + 1) ** back
        return states

    def classes(self, values: Ints, channels: int) -> list[Class]:
        """Sum values up by channel and by how many touches a path has."""
        lengths, kinds = _grouped(self.touches, int(self.touches.max(initial=0)) + 1)
        several = len(lengths)

        def by_class(numbers: Ints, kinds: Ints, values: Ints) -> dict[int, int]:
            keys, groups = _grouped(numbers * several + kinds, channels * several)
            return dict(zip(keys.tolist(), exact_sums(groups, values, len(keys)), strict=True))

        every = by_class(self.numbers, np.repeat(kinds, self.touches), np.repeat(values, self.touches))
        firsts, lasts = by_class(self.firsts, kinds, values), by_class(self.lasts, kinds, values)
        return [
            (key // several, int(lengths[key % several]), total, firsts.get(key, 0), lasts.get(key, 0))
            for key, total in every.items()
        ]

    def sets(self, values: Ints, channels: int) -> list[tuple[int, int, int]]:
        """Sum values up by channel and by how many different channels a path has: number, how many, sum."""
        is_valued = values != 0
        paths = np.repeat(np.cumsum(is_valued) - 1, self.touches)
        is_mine = np.repeat(is_valued, self.touches)
        met = np.unique(paths[is_mine] * channels + self.numbers[is_mine])
        paths, numbers = met // max(channels, 1), met % max(channels, 1)
        sizes = np.bincount(paths, minlength=int(is_valued.sum()))[paths]
        most = int(sizes.max(initial=0)) + 1
        keys, groups = _grouped(numbers * most + sizes, channels * most)
        totals = exact_sums(groups, values[is_valued][paths], len(keys))
        return [(key // most, key % most, total) for key, total in zip(keys.tolist(), totals, strict=True)]


def in_sequence(paths: pa.ChunkedArray, moments: Ints, numbers: Ints, channels: int) -> Sequences:
    """Put touches in order: by path, by moment, and by channel where the moment is the same.

    Raises:
        DataError: paths of such a type cannot be told apart.
    """
    codes = _coded(paths)
    order = _order(codes, moments, numbers, channels)
    if order is not None:
        codes, moments, numbers = codes[order], moments[order], numbers[order]
    is_start = np.ones(len(codes), dtype=bool)
    np.not_equal(codes[1:], codes[:-1], out=is_start[1:])
    return Sequences(numbers, moments, np.flatnonzero(is_start), order)


def _coded(paths: pa.ChunkedArray) -> Ints:
    """The paths as whole numbers."""
    if pa.types.is_signed_integer(paths.type):
        whole: Ints = paths.to_numpy().astype(np.int64, copy=False)
        return whole
    try:
        encoded = paths if pa.types.is_dictionary(paths.type) else paths.dictionary_encode()
    except pa.ArrowNotImplementedError:
        raise DataError(f"the path of touches is {paths.type}; allowed: numbers, text, moments") from None
    chunks = [chunk.indices for chunk in encoded.unify_dictionaries().chunks]
    codes: Ints = pa.chunked_array(chunks, encoded.type.index_type).to_numpy().astype(np.int64)
    return codes


def _order(codes: Ints, moments: Ints, numbers: Ints, channels: int) -> Ints | None:
    """In which order to take the rows; None for the one they are in."""
    if not len(codes):
        return None
    later, same = codes[1:] > codes[:-1], codes[1:] == codes[:-1]
    is_after = (moments[1:] > moments[:-1]) | ((moments[1:] == moments[:-1]) & (numbers[1:] >= numbers[:-1]))
    if (later | (same & is_after)).all():
        return None
    first_code, first_moment = int(codes.min()), int(moments.min())
    span = int(moments.max()) - first_moment + 1
    if (int(codes.max()) - first_code + 1) * span * channels >= _MOST_KEY:
        return np.lexsort((numbers, moments, codes))
    return np.argsort(((codes - first_code) * span + (moments - first_moment)) * channels + numbers)


def _grouped(keys: Ints, size: int) -> tuple[Ints, Ints]:
    """The different keys, sorted, and of each row the place of its key among them. Keys are at least 0 and less than `size`."""
    if size > max(_DENSE * len(keys), _DENSE_ANYWAY):
        met, groups = np.unique(keys, return_inverse=True)
        return met, groups.astype(np.int64, copy=False)
    is_met = np.zeros(size, dtype=bool)
    is_met[keys] = True
    met = np.flatnonzero(is_met)
    places = np.zeros(size, dtype=np.int64)
    places[met] = np.arange(len(met))
    return met, places[keys]


def exact_sums(groups: Ints, values: Ints, size: int) -> list[int]:
    """Sums of whole numbers by group; groups are numbered from 0 to below `size`."""
    if float(np.abs(values).sum(dtype=np.float64)) < _EXACT:
        return _whole_sums(groups, values, size)
    found, left = [0] * size, values
    for shift in range(0, 63, _PART_BITS):
        is_last = shift + _PART_BITS >= 63
        part = left if is_last else left & ((1 << _PART_BITS) - 1)
        found = [total + (more << shift) for total, more in zip(found, _whole_sums(groups, part, size), strict=True)]
        left = left >> _PART_BITS
    return found


def _whole_sums(groups: Ints, values: Ints, size: int) -> list[int]:
    return [int(total) for total in summed(groups, values, size)]
