"""Average precision and F1 against figures worked by hand."""

from __future__ import annotations

import pytest

from crmbridge.evidence.proof import quality, rule_quality


def _ranked(world, *rows):
    """Rows of (opportunity, person, confidence)."""
    return world.lazy(
        "ranked",
        opportunity_key=[row[0] for row in rows],
        person_key=[row[1] for row in rows],
        confidence=[float(row[2]) for row in rows],
    )


def _right(world, *pairs):
    import pyarrow as pa

    return world.lazy(
        "right_pairs",
        opportunity_key=pa.array([pair[0] for pair in pairs], pa.int64()),
        person_key=pa.array([pair[1] for pair in pairs], pa.int64()),
    )


def test_average_precision_is_the_mean_of_the_precision_at_each_right_pair(world):
    # Right at places 1, 3 and 4 of 5, and one right pair that was never ranked: (1 + 2/3 + 3/4) / 4.
    ranked = _ranked(world, (1, 1, 0.9), (1, 2, 0.8), (1, 3, 0.7), (1, 4, 0.6), (1, 5, 0.5))
    found = quality(ranked, _right(world, (1, 1), (1, 3), (1, 4), (2, 9)))
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    # The best F1 is at place 4: precision 3/4, recall 3/4.
    assert (found.best_f1, found.best_threshold) == (pytest.approx(0.75), 0.6)
    assert (found.precision_at_best, found.recall_at_best) == (0.75, 0.75)
    assert (found.found, found.right, found.ranked) == (3, 4, 5)


def test_pairs_of_equal_score_are_taken_together(world):
    ranked = _ranked(world, (1, 1, 0.9), (1, 2, 0.9), (1, 3, 0.5), (1, 4, 0.5))
    found = quality(ranked, _right(world, (1, 1), (1, 3), (1, 4)))
    # First step: 1 of 2; second: 3 of 4. AP = 1/2 * 1/3 + 3/4 * 2/3.
    assert found.average_precision == pytest.approx(1 / 6 + 1 / 2)
    assert found.best_f1 == pytest.approx(2 * 3 / (4 + 3))


def test_a_perfect_ranking_is_one_and_the_higher_threshold_wins_a_tie(world):
    found = quality(_ranked(world, (1, 1, 0.9), (1, 2, 0.1)), _right(world, (1, 1), (1, 1)))
    assert (found.average_precision, found.best_f1, found.best_threshold, found.right) == (1.0, 1.0, 0.9, 1)


@pytest.mark.parametrize("right", [[], [(5, 5)]])
def test_nothing_right_is_nought_and_has_no_threshold(world, right):
    found = quality(_ranked(world, (1, 1, 0.9)), _right(world, *right))
    assert (found.average_precision, found.best_f1, found.best_threshold, found.found) == (0.0, 0.0, None, 0)
    assert (found.right, found.ranked) == (len(right), 1)


def test_nothing_ranked_is_nought(world):
    world.opportunity(1)
    found = quality(world.score().pairs, _right(world, (1, 1)))
    assert (found.average_precision, found.best_threshold, found.right, found.ranked) == (0.0, None, 1, 0)


def test_each_rule_is_judged_by_the_pairs_that_it_speaks_for(world):
    reasons = world.lazy(
        "reasons",
        opportunity_key=[1, 1, 1, 1],
        person_key=[1, 2, 1, 3],
        rule=["strict", "loose", "loose", "against"],
        bits=[2.0, 1.0, 1.0, -1.0],
    )
    judged = rule_quality(reasons, _right(world, (1, 1), (2, 2)))
    assert [(q.rule, q.pairs, q.right, q.precision, q.recall) for q in judged] == [
        ("loose", 2, 1, 0.5, 0.5),
        ("strict", 1, 1, 1.0, 0.5),
    ]
    assert rule_quality(reasons, _right(world))[0].recall == 0.0
