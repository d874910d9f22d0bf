"""Chance, time and ids for the invented world: every draw goes through one seeded `Dice`."""

from __future__ import annotations

import math
import random
import string
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

DAY_S = 86_400
YEAR_S = 365 * DAY_S
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET = string.digits + string.ascii_letters
_SHORT_ID_SHARE = 0.12  # ids copied from reports keep 15 characters, those from the interface have 18


class Dice(random.Random):
    """A seeded source of chance; the same seed gives the same draws on every machine and Python hash seed."""

    def yes(self, probability: float) -> bool:
        """Return true with the given probability."""
        return self.random() < probability

    def heavy(self, median: float, spread: float) -> float:
        """Draw from a log-normal: half of the draws lie below `median`; `spread` is the sigma of the logarithm."""
        return median * math.exp(self.gauss(0.0, spread))

    def count(self, mean: float) -> int:
        """Draw a Poisson number; Knuth's product method, so `mean` must stay below a few hundred."""
        limit, product, drawn = math.exp(-mean), self.random(), 0
        while product > limit:
            product *= self.random()
            drawn += 1
        return drawn

    def pick(self, weights: Mapping[T, float]) -> T:
        """Pick one key with probability proportional to its weight."""
        return self.choices(list(weights), list(weights.values()))[0]

    def some(self, items: Sequence[T], weights: Sequence[float], number: int) -> list[T]:
        """Pick up to `number` different items, heavier ones more likely, in the order picked."""
        # Efraimidis and Spirakis (2006): the largest u ** (1 / w) are a weighted sample without replacement.
        keys = [(math.log(self.random() or 1e-300) / weight, place) for place, weight in enumerate(weights) if weight > 0]
        return [items[place] for _, place in sorted(keys, reverse=True)[:number]]

    def new_id(self, prefix: str) -> str:
        """Make an id of 15 or 18 characters that tells nothing but the kind of record (the prefix of three)."""
        size = 12 if self.random() < _SHORT_ID_SHARE else 15
        return prefix + "".join([_ALPHABET[byte % 62] for byte in self.randbytes(size)])


def moment(epoch_s: float) -> datetime:
    """Turn epoch seconds into an aware UTC datetime of whole seconds."""
    return _EPOCH + timedelta(seconds=int(epoch_s))
