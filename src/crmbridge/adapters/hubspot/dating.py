"""Finds in which slice of days each contact responded first, by as few questions as it takes.

A campaign's report names the contacts that responded between two days, and nothing else. Who is in it may have responded before
as well, so only the end of a question parts contacts for certain: those who are in it and those who responded later. Spans are
parted where about half of what campaigns before had in them lies on either side; nothing is asked of a span that holds nobody.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

Asked: TypeAlias = Callable[[int, int], set[str]]
"""Gives the contacts of some slices of days, from one to another, both included."""

_FAINT = 0.1
"""What the first slice counts where no campaign had a response yet, beside one that had; the n-th counts an n-th of it."""


class Run(NamedTuple):
    """A campaign's time, in slices of days from its beginning.

    Attributes:
        last: the present one.
        end: the one it was planned to end in; None where that is not known.
    """

    last: int
    end: int | None


class Dating:
    """Dates the contacts of one campaign after the other, and learns from each when campaigns are responded to."""

    def __init__(self) -> None:
        self._since_begin: Counter[int] = Counter()
        self._since_end: Counter[int] = Counter()

    def date(self, asked: Asked, run: Run, found: Collection[str], split: int | None = None) -> dict[str, int]:
        """Give contact -> the slice it responded in first, for contacts of whom it is known that they did.

        Args:
            asked: asks HubSpot.
            run: the campaign's time.
            found: whom to date.
            split: the slice before which to part first, where that is known to be a good place.
        """
        dated: dict[str, int] = {}
        expected = self._expected(run)
        spans = [(0, run.last, set(found))]
        while spans:
            first, last, some = spans.pop()
            if first == last or not some:
                dated.update(dict.fromkeys(some, first))
                continue
            at = split if split is not None and first < split <= last else _half(expected, first, last)
            early = asked(first, at - 1) & some
            spans += [(at, last, some - early), (first, at - 1, early)]
        return dated

    def learn(self, run: Run, dated: Mapping[str, int]) -> None:
        """Take in when a campaign was responded to: in which slices, not how often, for each costs as much as any other."""
        for number in set(dated.values()):
            self._since_begin[number] += 1
            if run.end is not None:
                self._since_end[number - run.end] += 1

    def _expected(self, run: Run) -> list[float]:
        """What is expected below each slice, and below the one after the last."""
        seen, start = (self._since_begin, 0) if run.end is None else (self._since_end, -run.end)
        return [0.0, *accumulate(seen[start + number] + _FAINT / (number + 1) for number in range(run.last + 1))]


def _half(below: Sequence[float], first: int, last: int) -> int:
    """Where to part a span: as nearly as may be in the middle of what is expected in it."""
    middle = (below[first] + below[last + 1]) / 2
    at = bisect_left(below, middle)
    nearer = at - 1 if middle - below[at - 1] < below[at] - middle else at
    return min(max(nearer, first + 1), last)
