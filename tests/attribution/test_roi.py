"""ROI: own cost and that of all below kept apart, and undefined where it cannot be known."""

from datetime import date
from decimal import Decimal

import pytest
from earning import ACCOUNT, campaign, deal, lead, person, rate, resolved, role, row_of, rows_of, seconds, touch, won

PEOPLE = (ACCOUNT, person("C"), role("O", "C"))
STARTED = {"type": "Event", "start_date": date(2026, 2, 1)}
APART = "with cost and credit in different currencies, their own or those of the campaigns below them: ROI is undefined there"


def roi_of(found, key, **wanted):
    return row_of(found.roi, **{"model": "linear", "level": "campaign", "key": key, **wanted})


def test_own_cost_and_subtree_are_kept_apart(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C", campaign="leaf"), touch("C", campaign="branch")),
        *(campaign("root", "100"), campaign("branch", "50", parent_id="root"), campaign("leaf", "25", parent_id="branch")),
        campaign("beside", "10"),
    )
    found = bridge.attribute()
    shown = {
        row["key"]: (row["own_cost"], row["subtree_cost"], row["won_credit"], row["subtree_won_credit"])
        for row in rows_of(found.roi, model="linear", level="campaign")
    }
    assert shown == {
        "root": (100, 175, 0, 600),
        "branch": (50, 75, 300, 600),
        "leaf": (25, 25, 300, 300),
        "beside": (10, 10, 0, 0),
    }
    assert (roi_of(found, "root")["roi"], roi_of(found, "root")["subtree_roi"]) == (-1, pytest.approx(425 / 175))
    assert (roi_of(found, "branch")["roi"], roi_of(found, "branch")["subtree_roi"]) == (5, 7)


def test_a_campaign_below_that_cost_nothing_earns_for_the_one_above(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C", campaign="leaf")),
        *(campaign("root", "100"), campaign("leaf", None, parent_id="root"), campaign("free", None, "USD", parent_id="root")),
    )
    root = roi_of(bridge.attribute(), "root", currency="EUR")
    assert (root["subtree_roi"], root["roi"]) == (5, -1)


def test_pipeline_stands_beside_what_was_won(firm):
    bridge = firm(*PEOPLE, won("O", "600"), deal("P", "40"), role("P", "C"), touch("C"), campaign("fair", "100"))
    row = roi_of(bridge.attribute(), "fair")
    assert (row["won_credit"], row["open_credit"], row["roi"], row["opportunities"], row["won"]) == (600, 40, 5, 2, 1)


COSTS = {"unknown": (None, None), "nothing": ("0", None), "less": ("-5", None), "something": ("100", 5)}


@pytest.fixture(scope="module")
def costing(lasting_firm):
    """What a firm earns in which each cost is that of a campaign with an opportunity of its own."""
    bridge = lasting_firm(
        *(ACCOUNT, *(person(f"C-{name}") for name in COSTS)),
        *(won(f"O-{name}", "600") for name in COSTS),
        *(role(f"O-{name}", f"C-{name}") for name in COSTS),
        *(touch(f"C-{name}", campaign=name) for name in COSTS),
        *(campaign(name, cost, budgeted_cost=Decimal(7)) for name, (cost, _) in COSTS.items()),
    )
    return bridge.attribute()


@pytest.mark.parametrize("name", COSTS)
def test_without_a_cost_roi_is_undefined(costing, name):
    row, (_, roi) = roi_of(costing, name), COSTS[name]
    assert (row["roi"], row["subtree_roi"], row["won_credit"]) == (roi, roi, 600)


def test_a_campaign_that_cost_and_won_nothing_is_minus_one(firm):
    assert roi_of(firm(*PEOPLE, won("O"), campaign("fair", "100")).attribute(), "fair")["roi"] == -1


def test_cost_per_lead_response_opportunity_and_won(firm):
    bridge = firm(
        *(*PEOPLE, person("D"), person("E"), lead("L1"), lead("L2"), lead("L3"), campaign("fair", "100")),
        *(won("O"), deal("P"), deal("Q"), role("P", "C"), role("Q", "D")),
        *(touch("C"), touch("D"), touch("E", has_responded=False)),
        *(touch(name, lead=True, has_responded=name == "L1") for name in ("L1", "L2", "L3")),
    )
    row = roi_of(bridge.attribute(), "fair")
    assert (row["members"], row["responses"], row["leads"], row["opportunities"], row["won"]) == (6, 3, 3, 3, 1)
    assert row["cost_per_lead"] == row["cost_per_response"] == row["cost_per_opportunity"] == Decimal("33.3333")
    assert row["cost_per_won"] == 100


def test_cost_per_nothing_is_undefined(firm):
    row = roi_of(firm(*PEOPLE, won("O"), campaign("fair", "100")).attribute(), "fair")
    assert [row[f"cost_per_{of}"] for of in ("lead", "response", "opportunity", "won")] == [None] * 4


def test_people_count_once_for_a_type_and_a_month(firm):
    bridge = firm(
        *(ACCOUNT, lead("L"), lead("M"), touch("L", lead=True, campaign="a"), touch("L", lead=True, campaign="b")),
        *(touch("M", lead=True, campaign="a", has_responded=False), touch("M", lead=True, campaign="c")),
        *(campaign("a", "10", **STARTED), campaign("b", "10", **STARTED), campaign("c", "10", "USD", **STARTED)),
    )
    found = bridge.attribute()
    for level in ("type", "month"):
        row = row_of(found.roi, model="linear", level=level, currency="EUR")
        assert (row["own_cost"], row["members"], row["responses"], row["leads"]) == (20, 2, 1, 2)
        assert (row["cost_per_lead"], row["cost_per_response"]) == (10, 20)
        # What was spent in dollars has its own people.
        there = row_of(found.roi, model="linear", level=level, currency="USD")
        assert (there["members"], there["cost_per_response"]) == (1, 10)


def test_won_opportunities_without_an_amount_count(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), won("N", None), role("N", "C"), deal("P", None), role("P", "C"), touch("C")),
        campaign("fair", "100"),
    )
    row = roi_of(bridge.attribute(), "fair")
    assert (row["opportunities"], row["won"], row["cost_per_won"], row["roi"]) == (3, 2, 50, 5)


@pytest.mark.parametrize("currency", [None, "EUR"])
def test_opportunities_count_in_whatever_currency(firm, currency):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C"), campaign("fair", "100", **STARTED)),
        *(record for name in "PQR" for record in (won(name, "600", "USD"), role(name, "C"))),
    )
    for level in ("campaign", "type", "month"):
        row = row_of(bridge.attribute(currency=currency).roi, model="linear", level=level, currency="EUR")
        assert (row["roi"], row["won"], row["cost_per_won"], row["cost_per_opportunity"]) == (None, 4, 25, 25)


def test_cost_per_piece_is_undefined_where_some_of_the_cost_is_in_another_currency(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C", campaign="here"), touch("C", campaign="there")),
        *(campaign("here", "100", **STARTED), campaign("there", "100", "USD", **STARTED)),
    )
    row = row_of(bridge.attribute().roi, model="linear", level="type", currency="EUR")
    assert (row["own_cost"], row["won"], row["members"]) == (100, 1, 1)
    assert [row[f"cost_per_{of}"] for of in ("response", "opportunity", "won")] == [None] * 3


def test_by_type_and_by_month_of_the_start(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C", campaign="a"), touch("C", campaign="b"), touch("C", campaign="c")),
        campaign("a", "10", type="Event", start_date=date(2026, 2, 1)),
        campaign("b", "20", type="Event", start_date=date(2026, 3, 1)),
        campaign("c", "30", type="Mail", start_date=date(2026, 3, 31)),
    )
    found = bridge.attribute()
    by = {(row["level"], row["key"]): row for row in rows_of(found.roi, model="linear") if row["level"] != "campaign"}
    assert {key: (row["own_cost"], row["won_credit"]) for key, row in by.items()} == {
        ("type", "Event"): (30, 400),
        ("type", "Mail"): (30, 200),
        ("month", "2026-02"): (10, 200),
        ("month", "2026-03"): (50, 400),
    }
    # One opportunity is one opportunity, however many events of a type led to it.
    assert by["type", "Event"]["opportunities"] == 1


def test_campaigns_that_are_their_own_ancestors_are_roots(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C", campaign="under")),
        *(campaign("a", "1", parent_id="c"), campaign("b", "2", parent_id="a"), campaign("c", "4", parent_id="b")),
        *(campaign("self", "8", parent_id="self"), campaign("under", "16", parent_id="b")),
    )
    found = bridge.attribute()
    costs = {row["key"]: row["subtree_cost"] for row in rows_of(found.roi, model="linear", level="campaign")}
    assert costs == {"a": 1, "b": 18, "c": 4, "self": 8, "under": 16}
    assert "4 campaigns among their own ancestors: they count as roots of the hierarchy" in found.notes


def test_cost_and_credit_in_different_currencies_give_no_roi_anywhere(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C"), touch("C", campaign="mail")),
        campaign("program", "5", type="Program"),
        campaign("fair", "100", "USD", type="Event", parent_id="program"),
        campaign("mail", "100", type="Event"),
    )
    found = bridge.attribute()
    fair = {row["currency"]: row for row in rows_of(found.roi, model="linear", level="campaign", key="fair")}
    assert {code: (row["own_cost"], row["won_credit"], row["roi"]) for code, row in fair.items()} == {
        "USD": (100, 0, None),
        "EUR": (None, 300, None),
    }
    program = roi_of(found, "program", currency="EUR")
    assert (program["roi"], program["subtree_roi"], program["subtree_won_credit"]) == (-1, None, 300)
    assert roi_of(found, "program", currency="USD")["subtree_cost"] == 100
    assert [row["currency"] for row in rows_of(found.roi, model="linear", level="type", key="Program")] == ["EUR"]
    assert row_of(found.roi, model="linear", level="type", key="Event", currency="EUR")["roi"] is None
    assert roi_of(found, "mail")["roi"] == 2
    # The fair, and the program above it.
    assert found.notes == (f"2 campaigns {APART}; [attribution] currency converts everything to one",)


def test_costs_are_converted_at_the_start_of_the_campaign(firm):

    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C"), rate("USD", "2", "2026-01-01", "2026-03-01"), rate("USD", "4", "2026-03-01")),
        campaign("fair", "100", "USD", start_date=date(2026, 2, 1)),
    )
    row = roi_of(bridge.attribute(currency="EUR"), "fair")
    assert (row["own_cost"], row["roi"], row["currency"]) == (50, 11, "EUR")


def test_a_cost_without_rate_leaves_roi_undefined_and_says_so(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "600"), touch("C")),
        *(campaign("program", "5"), campaign("fair", "100", "GBP", parent_id="program", start_date=date(2026, 2, 1))),
    )
    found = bridge.attribute(currency="EUR")
    fair = {
        row["currency"]: (row["own_cost"], row["won_credit"], row["roi"])
        for row in rows_of(found.roi, model="linear", key="fair")
    }
    assert fair == {"EUR": (None, 600, None), "GBP": (100, 0, None)}
    assert roi_of(found, "program", currency="EUR")["subtree_roi"] is None
    assert found.notes == (
        "1 campaign with a cost that no exchange rate converts to EUR: it stays in its own currency",
        f"2 campaigns {APART}; add exchange rates in the CRM",
    )


def defined(found):
    """Where ROI is defined, own and that of the subtree."""
    rows = rows_of(found.roi, model="linear")
    own = {(row["level"], row["key"], row["currency"]) for row in rows if row["roi"] is not None}
    return own, {(row["level"], row["key"], row["currency"]) for row in rows if row["subtree_roi"] is not None}


@pytest.mark.parametrize(("cost_in", "won_in", "currency"), [("EUR", "USD", None), ("CHF", "EUR", "EUR")])
def test_a_program_that_paid_for_wins_below_it_in_another_currency_has_no_roi_with_them(firm, cost_in, won_in, currency):
    bridge = firm(
        *(*PEOPLE, won("O", "600", won_in), touch("C", campaign="leaf"), campaign("root", "100", cost_in, **STARTED)),
        campaign("leaf", None, won_in, parent_id="root", **STARTED),
    )
    found = bridge.attribute(currency=currency)
    assert defined(found) == ({("campaign", "root", cost_in)}, set())
    assert any(note.startswith(f"1 campaign {APART}") for note in found.notes)


@pytest.mark.parametrize("currency", [None, "EUR"])
def test_wins_that_no_rate_converts_leave_roi_undefined(firm, currency):
    bridge = firm(*PEOPLE, won("O", "600", "USD"), touch("C"), campaign("fair", "100", **STARTED))
    found = bridge.attribute(currency=currency)
    assert defined(found) == (set(), set())
    assert any(note.startswith(f"1 campaign {APART}") for note in found.notes)


def test_wins_beside_each_other_in_different_currencies_undo_only_the_roi_above(firm):
    bridge = firm(
        *(*PEOPLE, person("D"), role("P", "D"), won("O", "600"), won("P", "600", "USD"), campaign("root")),
        *(touch("C", campaign="here"), touch("D", campaign="there")),
        *(campaign("here", "100", parent_id="root", **STARTED), campaign("there", "100", "USD", parent_id="root", **STARTED)),
    )
    codes = {"here": ("EUR",), "there": ("USD",)}
    keys = {("campaign", "here"), ("campaign", "there"), ("type", "Event"), ("month", "2026-02")}
    own, subtree = defined(bridge.attribute())
    assert own == subtree
    assert own == {(level, key, code) for level, key in keys for code in codes.get(key, ("EUR", "USD"))}


@pytest.mark.parametrize("cost", ["0", "-5", None])
def test_where_no_money_was_spent_no_currency_is_in_the_way(firm, cost):
    bridge = firm(
        *(*PEOPLE, won("O", "600", "USD"), touch("C"), touch("C", campaign="mail")),
        *(campaign("fair", cost, type="Event"), campaign("mail", "50", "USD", type="Event")),
    )
    found = bridge.attribute()
    assert row_of(found.roi, model="linear", level="type", currency="USD")["roi"] == 11
    assert found.notes == ()


def test_a_win_of_nothing_needs_no_rate(firm):
    bridge = firm(*PEOPLE, won("O", "600"), won("P", "0", "USD"), role("P", "C"), touch("C"), campaign("fair", "100"))
    assert roi_of(bridge.attribute(), "fair", currency="EUR")["roi"] == 5


def test_spread_shows_who_gains_or_loses_by_the_model(firm):
    bridge = firm(
        *(*PEOPLE, won("O", "100"), touch("C", "2026-02-01", "early"), touch("C", "2026-03-01", "late")),
        *(campaign("early", "50"), campaign("late", "50"), campaign("free"), campaign("idle", "1")),
        models=["first", "last", "linear"],
    )
    found = bridge.attribute()
    spread = {row["campaign_id"]: row for row in rows_of(found.spread, basis="model")}
    early = spread["early"]
    assert (early["lowest_roi"], early["lowest_at"], early["highest_roi"], early["highest_at"]) == (-1, "last", 1, "first")
    assert (early["best_rank"], early["worst_rank"], early["changes_sign"], early["changes_rank"]) == (1, 2, True, True)
    # No ROI, no spread.
    assert set(spread) == {"early", "late", "idle"}
    assert (spread["idle"]["lowest_roi"], spread["idle"]["changes_sign"]) == (-1, False)


def small(*, campaigns=("fair", "mail"), amount="100"):
    common = {
        "is_closed": True,
        "is_won": True,
        "close_s": seconds("2026-05-31"),
        "currency": "EUR",
        "close_date": date(2026, 5, 31),
    }
    return {
        "opportunities": [{"opportunity_key": 0, "opportunity_id": "O", "amount": Decimal(amount), **common}],
        "people": [{"person_key": key, "contacts": 1, "leads": 0} for key in range(2)],
        "responses": [
            {
                "member_id": f"M{key}",
                "campaign_id": name,
                "person_key": key,
                "has_responded": True,
                "responded_s": seconds("2026-03-01"),
                "is_inferred": False,
            }
            for key, name in enumerate(campaigns)
        ],
        "campaigns": [{"campaign_id": name, "name": name, "actual_cost": Decimal(50), "currency": "EUR"} for name in campaigns],
    }


def test_spread_by_the_least_confidence_of_planned_roles():
    found = resolved(small(), planned=[(0, 0, 0.6, 0.6), (0, 1, 0.95, 0.2)], models=("linear",), thresholds=(0.3, 0.5, 0.7, 0.9))
    spread = {row["campaign_id"]: row for row in rows_of(found.spread, basis="threshold")}
    # At 0.5 both are taken; at 0.7 and 0.9 only the mail's. Below the plan's own threshold nobody knows.
    assert (spread["fair"]["lowest_roi"], spread["fair"]["lowest_at"]) == (-1, "0.7")
    assert (spread["fair"]["highest_roi"], spread["fair"]["highest_at"]) == (0, "0.5")
    assert (spread["mail"]["lowest_at"], spread["mail"]["highest_roi"]) == ("0.5", 1)
    # From nought up is no change of sign, and neither is from below up to nought.
    assert [row["changes_sign"] for row in spread.values()] == [False, False]


def test_what_would_be_attributed_without_campaign_evidence_stands_beside():
    sure = resolved(small(), planned=[(0, 0, 0.6, 0.6)]).without_campaign_evidence.to_pylist()
    assert sure == [{"currency": "EUR", "as_is": 0, "as_if_applied": 100, "without_campaign_evidence": 100}]
    unsure = resolved(small(), planned=[(0, 0, 0.6, 0.4)]).without_campaign_evidence.to_pylist()
    assert unsure == [{"currency": "EUR", "as_is": 0, "as_if_applied": 100, "without_campaign_evidence": 0}]


def test_where_nobody_knows_it_nothing_is_claimed():
    found = resolved(small(), planned=[(0, 0, 0.6, None)])
    assert found.without_campaign_evidence.num_rows == 0
    assert any("without campaign evidence is not known" in note for note in found.notes)
    assert resolved(small()).without_campaign_evidence.num_rows == 0


def test_a_campaign_that_is_not_on_file_keeps_its_credit():
    tables = small()
    tables["campaigns"] = []
    found = resolved(tables, planned=[(0, 0, 0.6, 0.6)])
    row = roi_of(found, "fair", scenario="as_if_applied")
    assert (row["name"], row["won_credit"], row["roi"]) == (None, 100, None)


def test_a_cost_without_currency_is_in_the_only_one_there_is(firm):
    records = (*PEOPLE, won("O", "600"), touch("C"), campaign("fair", "100", None))
    assert roi_of(firm(*records).attribute(), "fair")["roi"] == 5
    two = firm(*records, won("P", "1", "USD"), folder="two").attribute()
    assert {(row["currency"], row["roi"]) for row in rows_of(two.roi, model="linear", key="fair")} == {
        ("EUR", None),
        (None, None),
    }
