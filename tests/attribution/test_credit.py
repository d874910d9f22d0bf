"""Every preset against cases worked out by hand, and what must hold for all of them."""

import random

import narwhals as nw
import pytest
from crediting import DAY, one_path, share, side_by_side
from hypothesis import given, settings
from hypothesis import strategies as st

from crmbridge.attribution.models import PRESETS, Anchor, Model, Strategy

SEVEN = [0, 1, 2, 3, 4, 5, 6]
# Lead created on day 2, opportunity on day 4 (a little later than the touch), closed on day 100; value 1,000.00 in cents.
CASES = {
    "first": {1: [100_000], 2: [100_000, 0], 3: [100_000, 0, 0], 7: [100_000, 0, 0, 0, 0, 0, 0]},
    "last": {1: [100_000], 2: [0, 100_000], 3: [0, 0, 100_000], 7: [0, 0, 0, 0, 0, 0, 100_000]},
    "linear": {
        1: [100_000],
        2: [50_000, 50_000],
        3: [33_333, 33_333, 33_334],
        # Up to the k-th touch, whole cents of k sevenths: 14285, 28571, 42857, 57142, 71428, 85714, 100000.
        7: [14_285, 14_286, 14_286, 14_285, 14_286, 14_286, 14_286],
    },
    # One touch holds everything. Two: first 40, lead creation on the second touch 40, nobody else: half each.
    # Three: the third day is the lead's; the one between has the 20. Seven: 40 first, 40 third, 20 among five.
    "u_hubspot": {
        1: [100_000],
        2: [50_000, 50_000],
        3: [40_000, 20_000, 40_000],
        7: [40_000, 4_000, 40_000, 4_000, 4_000, 4_000, 4_000],
    },
    "u_marketo": {1: [100_000], 2: [50_000, 50_000], 3: [50_000, 0, 50_000], 7: [50_000, 0, 50_000, 0, 0, 0, 0]},
    "u_adobe": {
        1: [100_000],
        2: [50_000, 50_000],
        3: [40_000, 20_000, 40_000],
        7: [40_000, 4_000, 4_000, 4_000, 4_000, 4_000, 40_000],
    },
    # Two: 30 first; lead and opportunity creation both on the second, 60: 1/3 and 2/3. Three: the third holds lead and
    # opportunity, the second the rest. Seven: first, third and fifth 30 each, four others share 10.
    "w": {
        1: [100_000],
        2: [33_333, 66_667],
        3: [30_000, 10_000, 60_000],
        7: [30_000, 2_500, 30_000, 2_500, 30_000, 2_500, 2_500],
    },
    # Four anchors of 22.5; two: 1/4 and 3/4. Three: 22.5, rest 10, and 67.5 on the last. Seven: others share 10 by three.
    "full_path": {
        1: [100_000],
        2: [25_000, 75_000],
        3: [22_500, 10_000, 67_500],
        7: [22_500, 3_333, 22_500, 3_333, 22_500, 3_334, 22_500],
    },
    "j_adobe": {
        1: [100_000],
        2: [25_000, 75_000],
        3: [20_000, 20_000, 60_000],
        7: [20_000, 4_000, 4_000, 4_000, 4_000, 4_000, 60_000],
    },
    "inverse_j_adobe": {
        1: [100_000],
        2: [75_000, 25_000],
        3: [60_000, 20_000, 20_000],
        7: [60_000, 4_000, 4_000, 4_000, 4_000, 4_000, 20_000],
    },
    # Every touch is another campaign: a third each, a seventh each.
    "shapley": {
        1: [100_000],
        2: [50_000, 50_000],
        3: [33_333, 33_333, 33_334],
        7: [14_285, 14_286, 14_286, 14_285, 14_286, 14_286, 14_286],
    },
}
SALESFORCE = {"salesforce_first": "first", "salesforce_last": "last", "salesforce_even": "linear"}


@pytest.fixture(scope="module")
def worked_out():
    """Touches of a path -> its credits under each preset of the cases."""
    paths = {n: {"days": SEVEN[:n], "value": 100_000, "lead": 2.5, "opportunity": 4.5} for n in (1, 2, 3, 7)}
    return side_by_side(paths, [PRESETS[name] for name in CASES])


@pytest.fixture(scope="module")
def of_salesforce():
    """Touches of a path -> its credits under each of Salesforce's models."""
    paths = {n: {"days": SEVEN[:n], "value": 100_000} for n in (1, 2, 3, 7)}
    return side_by_side(paths, [PRESETS[name] for name in SALESFORCE])


@pytest.mark.parametrize(("name", "touches"), [(name, n) for name, cases in CASES.items() for n in cases])
def test_presets_as_worked_out_by_hand(worked_out, name, touches):
    assert worked_out[touches][name] == CASES[name][touches]


@pytest.mark.parametrize("touches", [1, 2, 3, 7])
@pytest.mark.parametrize(("name", "same"), SALESFORCE.items())
def test_salesforce_models_are_plain_ones(of_salesforce, name, same, touches):
    assert of_salesforce[touches][name] == CASES[same][touches]


@pytest.mark.parametrize(
    ("touches", "value", "expected"),
    [(1, 127, [127]), (2, 300, [100, 200]), (3, 700, [100, 200, 400]), (7, 1270, [10, 20, 40, 80, 160, 320, 640])],
)
def test_decay_halves_with_every_half_life_before_the_last_touch(touches, value, expected):
    # A week apart, with a half-life of seven days: 1/64, 1/32 ... 1/2, 1.
    assert one_path(PRESETS["time_decay"], [7 * week for week in range(touches)], value=value) == expected


# Three touches on days 0, 1 and 2, 1,000.00 in cents: (lead creation, opportunity creation, close) -> credits.
FIRST, MIDDLE, LAST, EARLIER, NEVER = 0.5, 1.5, 2.5, -1, None
EDGES = {
    "u_hubspot": {
        # Missing: 40 first, 20 over the two others, of 60.
        (NEVER, NEVER, 100): [66_666, 16_667, 16_667],
        (EARLIER, MIDDLE, 100): [66_666, 16_667, 16_667],
        # On the first touch as well: 80, and 20 over the two others.
        (FIRST, NEVER, NEVER): [80_000, 10_000, 10_000],
        (MIDDLE, FIRST, 100): [40_000, 40_000, 20_000],
    },
    "u_marketo": {
        # Nothing else has a share: the first touch takes all.
        (NEVER, LAST, 100): [100_000, 0, 0],
        (EARLIER, LAST, 100): [100_000, 0, 0],
        (FIRST, LAST, 100): [100_000, 0, 0],
        (MIDDLE, FIRST, NEVER): [50_000, 50_000, 0],
    },
    # First and last touch are always there.
    "u_adobe": {(NEVER, NEVER, NEVER): [40_000, 20_000, 40_000]},
    "j_adobe": {(NEVER, NEVER, NEVER): [20_000, 20_000, 60_000]},
    "inverse_j_adobe": {(NEVER, NEVER, NEVER): [60_000, 20_000, 20_000]},
    "w": {
        # One missing: 30, 30 and 10, of 70.
        (NEVER, LAST, 100): [42_857, 14_285, 42_858],
        (EARLIER, LAST, 100): [42_857, 14_285, 42_858],
        (MIDDLE, NEVER, 100): [42_857, 42_857, 14_286],
        (MIDDLE, EARLIER, 100): [42_857, 42_857, 14_286],
        # Both missing: 30 first, 10 over two, of 40.
        (NEVER, NEVER, 100): [75_000, 12_500, 12_500],
        # Each on a touch of its own: nobody is left for the 10.
        (MIDDLE, LAST, 100): [33_333, 33_333, 33_334],
        # Two or three on one touch.
        (FIRST, FIRST, 100): [90_000, 5_000, 5_000],
        (FIRST, LAST, 100): [60_000, 10_000, 30_000],
        (MIDDLE, MIDDLE, 100): [30_000, 60_000, 10_000],
        (LAST, LAST, 100): [30_000, 10_000, 60_000],
    },
    "full_path": {
        # Still open: 22.5 each for first, lead and opportunity, and nobody is left for the 10.
        (MIDDLE, LAST, NEVER): [33_333, 33_333, 33_334],
        # Lead or opportunity creation missing: first, the other one and close.
        (NEVER, MIDDLE, 100): [33_333, 33_333, 33_334],
        (MIDDLE, NEVER, 100): [33_333, 33_333, 33_334],
        # Opportunity on the first: 45, 10 and 22.5, of 77.5.
        (NEVER, FIRST, 100): [58_064, 12_903, 29_033],
        # Both missing: 22.5 first, 22.5 close, 10 between, of 55. Open as well: 22.5, and 10 over two, of 32.5.
        (EARLIER, EARLIER, 100): [40_909, 18_181, 40_910],
        (NEVER, NEVER, NEVER): [69_230, 15_385, 15_385],
        (FIRST, FIRST, 100): [67_500, 10_000, 22_500],
        (MIDDLE, MIDDLE, 100): [25_000, 50_000, 25_000],
        (LAST, LAST, 100): [22_500, 10_000, 67_500],
    },
}


@pytest.fixture(scope="module")
def at_the_edges():
    """Moments of a path -> its credits under each preset of the edges."""
    paths = {
        (lead, opportunity, close): {
            "days": [0, 1, 2],
            "value": 100_000,
            "lead": lead,
            "opportunity": opportunity,
            "close": close,
        }
        for lead, opportunity, close in {edge for cases in EDGES.values() for edge in cases}
    }
    return side_by_side(paths, [PRESETS[name] for name in EDGES])


@pytest.mark.parametrize(("name", "edge"), [(name, edge) for name, cases in EDGES.items() for edge in cases])
def test_presets_at_the_edges_as_worked_out_by_hand(at_the_edges, name, edge):
    assert at_the_edges[edge][name] == EDGES[name][edge]


def test_every_preset_with_an_anchor_that_can_miss_is_worked_out_without_it():
    can_miss = {Anchor.LEAD_CREATED, Anchor.OPPORTUNITY_CREATED, Anchor.CLOSE}
    assert {name for name, model in PRESETS.items() if can_miss & set(model.anchors)} <= set(EDGES)


# Lead and opportunity came in the very second of all three touches, too: the last touch up to then is the last of all.
ONE_SECOND = {
    "u_hubspot": [40_000, 20_000, 40_000],
    "u_marketo": [50_000, 0, 50_000],
    "u_adobe": [40_000, 20_000, 40_000],
    "w": [30_000, 10_000, 60_000],
    "full_path": [22_500, 10_000, 67_500],
    "j_adobe": [20_000, 20_000, 60_000],
    "inverse_j_adobe": [60_000, 20_000, 20_000],
    "linear": [33_333, 33_333, 33_334],
    "time_decay": [33_333, 33_333, 33_334],
}


@pytest.fixture(scope="module")
def in_one_second():
    path = {"days": [3, 3, 3], "value": 100_000, "lead": 3, "opportunity": 3}
    return side_by_side({"all": path}, [PRESETS[name] for name in ONE_SECOND])["all"]


@pytest.mark.parametrize("name", ONE_SECOND)
def test_touches_of_one_second_in_which_everything_was_created(in_one_second, name):
    assert in_one_second[name] == ONE_SECOND[name]


def test_a_missing_anchor_leaves_its_share_to_the_rest_in_proportion():
    # W without lead and opportunity creation: 30 first and 10 rest over two: 75 %, 12.5 %, 12.5 %.
    assert one_path(PRESETS["w"], [0, 1, 2], value=800) == [600, 100, 100]
    # The lead was created before any touch: that anchor is missing, too. Only opportunity creation (day 1.5) is there.
    assert one_path(PRESETS["w"], [0, 1, 2], value=700, lead=-1, opportunity=1.5) == [300, 300, 100]
    # Open: no close. Full path then has first 22.5, lead 22.5 and 10 for the one between.
    assert one_path(PRESETS["full_path"], [0, 1, 2], value=550, lead=2, close=None) == [225, 100, 225]


def test_no_anchor_and_no_rest_shares_evenly_so_that_nothing_is_lost():
    only_lead = Model("only_lead", "", "", anchors={Anchor.LEAD_CREATED: 1})
    assert one_path(only_lead, [0, 1], value=101) == [50, 51]


def test_anchors_on_one_touch_add_up():
    # First touch, lead and opportunity creation all on the first: 90 there, 10 on the other.
    assert one_path(PRESETS["w"], [0, 5], value=1000, lead=1, opportunity=2) == [900, 100]


def test_touches_in_the_same_second_have_a_fixed_order():
    assert one_path(PRESETS["first"], [3, 3, 3]) == [1000, 0, 0]
    assert one_path(PRESETS["last"], [3, 3, 3]) == [0, 0, 1000]


def test_the_exact_second_of_an_anchor_counts():
    assert one_path(PRESETS["u_marketo"], [0, 2, 4], lead=2) == [500, 500, 0]


def test_shapley_gives_each_campaign_the_same_however_often_it_touched():
    assert one_path(PRESETS["shapley"], [0, 1, 2, 3], channels="aaab") == [500, 0, 0, 500]


def test_weights_by_contact_role():
    linear = Model("by_role", "", "", rest=1, role_weights={"Decision Maker": 300, "Assistant": 0})
    assert one_path(linear, [0, 1, 2], value=400, roles={0: "Decision Maker", 1: "Assistant"}) == [300, 0, 100]


def test_markov_parts_share_by_campaign():
    markov = Model("chain", "", "", Strategy.MARKOV)
    touches = [{"path_key": 1, "touch_key": n, "channel": c, "occurred_s": n} for n, c in enumerate("abz")]
    found = share(touches, [{"path_key": 1, "value_minor": 900}], [markov], parts={"chain": {"a": 600_000, "b": 300_000}})
    assert [found[1, n]["chain"] for n in range(3)] == [600, 300, 0]


def test_a_model_of_ones_own_is_an_expression():
    own = Model("early", "", "", Strategy.OWN, expression=lambda: nw.col("touches") - nw.col("rank"))
    assert one_path(own, [0, 1, 2], value=300) == [200, 100, 0]


def test_negative_amounts_are_shared_like_positive_ones_and_zero_is_zero():
    assert one_path(PRESETS["linear"], [0, 1, 2], value=-1000) == [-333, -333, -334]
    assert one_path(PRESETS["w"], [0, 1, 2], value=0, lead=1) == [0, 0, 0]


def test_huge_amounts_and_many_touches_do_not_overflow():
    models = [PRESETS[name] for name in ("full_path", "time_decay", "linear", "shapley")]
    touches = [{"path_key": 1, "touch_key": n, "channel": f"c{n % 7}", "occurred_s": n * 60} for n in range(100_000)]
    path = {"path_key": 1, "value_minor": 10**17 + 1, "lead_created_s": 9_999, "opportunity_created_s": 999_999, "close_s": 10**8}
    found = share(touches, [path], models)
    for model in models:
        given = [credit[model.name] for credit in found.values()]
        assert sum(given) == 10**17 + 1
        assert min(given) >= 0


def worlds():
    touch = st.tuples(st.integers(0, 3), st.integers(0, 5 * DAY), st.sampled_from("abc"))
    moment = st.one_of(st.none(), st.integers(-DAY, 6 * DAY))
    return st.tuples(
        st.lists(touch, min_size=1, max_size=12),
        st.lists(st.tuples(st.integers(-(10**6), 10**6), moment, moment, moment), min_size=4, max_size=4),
    )


# Salesforce's are the plain ones, see above.
HEURISTIC = [model for name, model in PRESETS.items() if model.strategy is not Strategy.MARKOV and name not in SALESFORCE]


def made(world):
    touches = [
        {"path_key": path, "touch_key": number, "channel": channel, "occurred_s": second}
        for number, (path, second, channel) in enumerate(world[0])
    ]
    names = ("value_minor", "lead_created_s", "opportunity_created_s", "close_s")
    paths = [{"path_key": key, **dict(zip(names, row, strict=True))} for key, row in enumerate(world[1])]
    return touches, paths


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_credits_sum_to_the_value_in_any_order_of_rows(world, shuffler):
    touches, paths = made(world)
    found = share(touches, paths, HEURISTIC)
    for path in paths:
        mine = [credit for (key, _), credit in found.items() if key == path["path_key"]]
        for model in HEURISTIC:
            if mine:
                assert sum(credit[model.name] for credit in mine) == path["value_minor"]
                assert all(credit[model.name] * path["value_minor"] >= 0 for credit in mine)
    shuffled = random.Random(shuffler.random()).sample(touches, len(touches))
    assert share(shuffled, paths[::-1], HEURISTIC) == found


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_every_credit_is_within_one_unit_of_its_exact_share(world):
    touches, paths = made(world)
    large = [{**path, "value_minor": path["value_minor"] * 1000} for path in paths]
    small_found, large_found = share(touches, paths, HEURISTIC), share(touches, large, HEURISTIC)
    for key, credit in small_found.items():
        for model in HEURISTIC:
            assert abs(large_found[key][model.name] / 1000 - credit[model.name]) <= 1.001
