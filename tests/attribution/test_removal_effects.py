"""Removal effects against brute force: play every chain out, once whole and once without each channel."""

import random
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise

import duckdb
import pyarrow as pa
import pytest
from earning import ACCOUNT, FAIR, deal, lost, person, resolved, role, seconds, touch, won

from crmbridge.attribution.markov import LEAST_JOURNEYS, removal_effects
from crmbridge.attribution.models import NOT_CAUSAL, PRESETS
from crmbridge.errors import DataError, SettingsError


def effects_of(journeys, order):
    """channel -> (removal effect, share); a journey is (channels, conversions, nulls)."""
    connection = duckdb.connect()
    steps = [
        {"path_key": key, "rank": rank, "channel": channel}
        for key, (channels, _, _) in enumerate(journeys)
        for rank, channel in enumerate(channels, start=1)
    ]
    outcomes = [{"path_key": key, "conversions": c, "nulls": n} for key, (_, c, n) in enumerate(journeys)]
    for name, rows in (("steps", steps), ("outcomes", outcomes)):
        connection.register("given", pa.Table.from_pylist(rows))
        connection.execute(f"CREATE TABLE {name} AS FROM given")
    found = removal_effects(connection, steps="steps", outcomes="outcomes", order=order).to_pylist()
    connection.close()
    return {row["channel"]: (row["removal_effect"], row["share"]) for row in found}


def played_out(journeys, order, without=None):
    """The chance to convert from the start, by going round until hardly anybody is left."""
    passed = defaultdict(Counter)
    for channels, conversions, nulls in journeys:
        states = [(), *(tuple(channels[max(0, i - order + 1) : i + 1]) for i in range(len(channels)))]
        for origin, target in pairwise(states):
            passed[origin][target] += conversions + nulls
        passed[states[-1]]["converted"] += conversions
        passed[states[-1]]["gone"] += nulls
    here, converted = {(): 1.0}, 0.0
    while sum(here.values()) > 1e-13:
        after = Counter()
        for state, chance in here.items():
            leaving = sum(passed[state].values())
            for target, number in (+passed[state]).items():
                share = chance * number / leaving
                if target == "converted":
                    converted += share
                elif target != "gone" and without not in target:
                    after[target] += share
        here = after
    return converted


def random_journeys(seed, channels="abcd"):
    dice = random.Random(seed)
    return [
        (dice.choices(channels, k=dice.randint(1, 6)), dice.randint(0, 5), dice.randint(0, 5) + (number == 0))
        for number in range(12)
    ] + [(list(channels), 1, 1)]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_removal_effects_are_those_of_brute_force(seed, order):
    journeys = random_journeys(seed)
    whole = played_out(journeys, order)
    expected = {channel: 1 - played_out(journeys, order, channel) / whole for channel in "abcd"}
    found = effects_of(journeys, order)
    assert {channel: effect for channel, (effect, _) in found.items()} == pytest.approx(expected, abs=1e-9)
    total = sum(expected.values())
    assert {channel: share for channel, (_, share) in found.items()} == pytest.approx(
        {channel: effect / total for channel, effect in expected.items()}, abs=1e-9
    )


def test_the_textbook_case():
    # One of three converts. Without A half of that is left; B and C stand on every way to a conversion.
    journeys = [("ABC", 1, 0), ("A", 0, 1), ("BC", 0, 1)]
    found = effects_of(journeys, 1)
    assert {channel: pytest.approx(pair) for channel, pair in found.items()} == {"A": (0.5, 0.2), "B": (1, 0.4), "C": (1, 0.4)}


def test_order_tells_apart_what_came_before():
    # At order 1 b looks the same after a and after c; at order 2 only a's way converts, and c is worth nothing.
    journeys = [("ab", 10, 0), ("cb", 0, 10)]
    assert effects_of(journeys, 1)["c"][0] == pytest.approx(0.5)
    assert effects_of(journeys, 2)["c"][0] == pytest.approx(0)


def test_a_channel_after_itself_changes_nothing_at_order_one():
    once = effects_of([("ab", 3, 1), ("b", 1, 4), ("a", 0, 2)], 1)
    again = effects_of([("aaab", 3, 1), ("b", 1, 4), ("aa", 0, 2)], 1)
    assert once["a"][0] == pytest.approx(1 - played_out([("ab", 3, 1), ("b", 1, 4), ("a", 0, 2)], 1, "a") / (4 / 11), abs=1e-9)
    assert again["b"][0] == pytest.approx(once["b"][0])


def test_nothing_converts_and_nothing_is_shared():
    assert effects_of([("ab", 0, 5)], 1) == {"a": (0, 0), "b": (0, 0)}


@pytest.mark.parametrize("order", [0, 5])
def test_other_orders_are_refused(order):
    with pytest.raises(DataError, match="allowed: 1 to 4"):
        effects_of([("a", 1, 1)], order)


def journeys_of_deals(number_won, number_lost, **opportunity):
    """Deals with a person each; won ones by way of the fair and the mail, lost ones by way of the mail."""
    tables = {name: [] for name in ("opportunities", "roles", "responses", "people")}
    for key in range(number_won + number_lost):
        is_won = key < number_won
        tables["people"].append({"person_key": key, "contacts": 1, "leads": 0, "created_s": seconds("2025-01-01")})
        tables["opportunities"].append(
            {
                "opportunity_key": key,
                "opportunity_id": f"O{key}",
                "amount": "100.00",
                "currency": "EUR",
                "is_closed": True,
                "is_won": is_won,
                "close_s": seconds("2026-05-31"),
                **opportunity,
            }
        )
        tables["roles"].append(
            {"role_id": f"R{key}", "opportunity_key": key, "person_key": key, "contact_id": f"C{key}", "is_primary": False}
        )
        for name in ("mail", "fair") if is_won else ("mail",):
            member = {"member_id": f"M{key}{name}", "campaign_id": name, "person_key": key, "has_responded": True}
            days = {"mail": "2026-02-01", "fair": "2026-03-01"}
            tables["responses"].append({**member, "responded_s": seconds(days[name]), "is_inferred": False})
    return decimal_amounts(tables)


def decimal_amounts(tables):
    for row in tables["opportunities"]:
        row["amount"] = None if row["amount"] is None else Decimal(row["amount"])
    return tables


def test_too_few_journeys_leave_markov_out_and_say_why():
    few = resolved(journeys_of_deals(LEAST_JOURNEYS, LEAST_JOURNEYS - 1), models=("linear", "markov"))
    assert [model.name for model in few.models] == ["linear"]
    assert few.skipped_models == {"markov": "needs 30 won and 30 lost opportunities with touches; there are 30 and 29"}


def test_too_few_won_ones_leave_shapley_out_too():
    few = resolved(journeys_of_deals(LEAST_JOURNEYS - 1, 90), models=("shapley", "linear"))
    assert [model.name for model in few.models] == ["linear"]
    assert few.skipped_models == {"shapley": "needs 30 won opportunities with touches; there are 29"}
    enough = resolved(journeys_of_deals(LEAST_JOURNEYS, 0), models=("shapley", "linear"))
    assert enough.skipped_models == {}


def test_enough_journeys_let_markov_take_part():
    found = resolved(journeys_of_deals(LEAST_JOURNEYS, LEAST_JOURNEYS), models=("linear", "markov"))
    assert found.skipped_models == {}
    given = {row["campaign_id"]: row["credit"] for row in found.credits.to_pylist() if row["model"] == "markov"}
    # Both stand on every way to a conversion: each removal effect is 1.
    assert given == {"fair": 1500, "mail": 1500}


def test_opportunities_without_amount_teach_as_well_won_like_lost():
    tables = journeys_of_deals(LEAST_JOURNEYS + 1, LEAST_JOURNEYS)
    for row in tables["opportunities"][1:]:
        row["amount"] = None
    found = resolved(tables, models=("markov",))
    assert {row["campaign_id"]: row["credit"] for row in found.credits.to_pylist()} == {"fair": 50, "mail": 50}
    assert sum(row["opportunities"] for row in found.ledger.to_pylist() if row["residual"] == "attributed") == 1


def test_markov_alone_on_too_little_is_refused_with_a_way_out(firm):
    bridge = firm(ACCOUNT, FAIR, person("C"), won("O"), lost("P"), deal("Q"), role("O", "C"), touch("C"), models=["markov"])
    with pytest.raises(SettingsError, match="no attribution model is left: markov needs 30 won and 30 lost") as caught:
        bridge.attribute()
    assert "linear" in caught.value.hint


def test_a_path_of_many_touches_on_one_channel_does_not_overflow():
    tables = journeys_of_deals(LEAST_JOURNEYS, LEAST_JOURNEYS)
    # Each of 8,000 touches weighs half a million; an amount just below their sum makes the largest product on the way.
    tables["opportunities"][0]["amount"] = Decimal("39999999.99")
    for key in range(1000, 9000):
        tables["people"].append({"person_key": key, "contacts": 1, "leads": 0})
        tables["roles"].append(
            {"role_id": f"R{key}", "opportunity_key": 0, "person_key": key, "contact_id": f"C{key}", "is_primary": False}
        )
        member = {"member_id": f"M{key}", "campaign_id": "fair", "person_key": key, "has_responded": True}
        tables["responses"].append({**member, "responded_s": seconds("2026-04-01"), "is_inferred": False})
    found = resolved(tables, models=("markov",))
    assert sum(row["credit"] for row in found.credits.to_pylist()) == Decimal("39999999.99") + 100 * (LEAST_JOURNEYS - 1)


def test_the_models_say_that_they_are_not_causal():
    assert "does not prove" in NOT_CAUSAL
    assert [name for name, model in PRESETS.items() if NOT_CAUSAL in model.note] == ["markov", "shapley"]
