"""The Shapley value by its definition, over all coalitions, against the model's closed form."""

import random
from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import factorial

import pytest
from crediting import share

from crmbridge.attribution.models import PRESETS

CHANNELS = "abcde"


def by_coalitions(journeys):
    """Each channel's marginal worth, averaged over all orders of joining; v(S): what journeys within S are worth."""
    worth = {
        frozenset(members): sum(value for channels, value in journeys if set(channels) <= set(members))
        for size in range(len(CHANNELS) + 1)
        for members in combinations(CHANNELS, size)
    }
    n = len(CHANNELS)
    values = {}
    for channel in CHANNELS:
        values[channel] = sum(
            Fraction(factorial(len(others)) * factorial(n - len(others) - 1), factorial(n)) * (worth[others | {channel}] - before)
            for others, before in worth.items()
            if channel not in others
        )
    return values


def by_model(journeys):
    touches = [
        {"path_key": path, "touch_key": number, "channel": channel, "occurred_s": number}
        for path, (channels, _) in enumerate(journeys)
        for number, channel in enumerate(channels)
    ]
    paths = [{"path_key": path, "value_minor": value} for path, (_, value) in enumerate(journeys)]
    channel_of = {(row["path_key"], row["touch_key"]): row["channel"] for row in touches}
    values = Counter(dict.fromkeys(CHANNELS, 0))
    for key, credit in share(touches, paths, [PRESETS["shapley"]]).items():
        values[channel_of[key]] += credit["shapley"]
    return dict(values)


@pytest.mark.parametrize("seed", range(8))
def test_the_closed_form_is_the_value_over_all_coalitions(seed):
    dice = random.Random(seed)
    # Multiples of 60 divide among up to five without a rest, so that nothing is rounded.
    journeys = [(dice.choices(CHANNELS, k=dice.randint(1, 8)), 60 * dice.randint(0, 9)) for _ in range(15)]
    assert by_model(journeys) == by_coalitions(journeys)


def test_a_channel_that_never_was_there_is_worth_nothing():
    assert by_model([("ab", 100)]) == {"a": 50, "b": 50, "c": 0, "d": 0, "e": 0}
