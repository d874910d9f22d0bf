"""The ledger: it always balances, and every gap has its opportunities, its reason, and what closes it."""

from collections import Counter
from datetime import date
from decimal import Decimal

import pytest
from earning import (
    ACCOUNT,
    FAIR,
    credits_of,
    deal,
    lost,
    person,
    residuals,
    resolved,
    role,
    row_of,
    rows_of,
    seconds,
    touch,
    won,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from crmbridge.attribution.result import RESIDUALS
from crmbridge.model import OpportunityContactLookup, User

KEYS = ("state", "currency", "month", "owner_id", "record_type")

# Every opportunity has all the faults below its own, too: the first one that is tried takes it.
STEPS = {
    "missing_amount": {"amount": None, "currency": "GBP", "close_date": None},
    "missing_date": {"currency": "GBP", "close_date": None},
    "no_exchange_rate": {"currency": "GBP"},
    "no_role": {},
    "no_touch": {},
    "no_response": {},
    "undated_touch": {},
    "only_after_close": {},
    "outside_lookback": {},
    "attributed": {},
}
TOUCHES = {
    "no_response": {"day": "2020-01-01", "has_responded": False},
    "undated_touch": {"day": None},
    "only_after_close": {"day": "2026-06-02"},
    "outside_lookback": {"day": "2020-01-01"},
    "attributed": {"day": "2026-03-01"},
}


@pytest.fixture(scope="module")
def one_of_each(lasting_firm):
    """What a firm earns that has every residual once."""
    names = list(STEPS)
    with_role = names[names.index("no_touch") :]
    bridge = lasting_firm(
        *(ACCOUNT, FAIR, *(person(f"C-{name}") for name in names)),
        *(won(name, **fields) for name, fields in STEPS.items()),
        *(role(name, f"C-{name}") for name in with_role),
        *(touch(f"C-{name}", **fields) for name, fields in TOUCHES.items()),
    )
    return bridge.attribute(currency="EUR")


def test_each_residual_is_reached_in_the_documented_order(one_of_each):
    behind = {row["opportunity_id"]: row["residual"] for row in one_of_each.gaps.to_pylist()}
    assert behind == {name: name for name in STEPS if name != "attributed"}
    assert residuals(one_of_each) == dict.fromkeys(STEPS, 1)
    tried = [one.name for one in RESIDUALS if one.name != "only_in_future"]
    assert tried == list(STEPS)


def test_unknown_amounts_are_counted_and_not_summed(one_of_each):
    (unknown,) = rows_of(one_of_each.ledger, residual="missing_amount")
    assert (unknown["opportunities"], unknown["unknown_amounts"], unknown["amount"]) == (1, 1, 0)
    assert sum(row["unknown_amounts"] for row in one_of_each.ledger.to_pylist()) == 1


def test_every_residual_says_what_it_means_and_what_would_close_it():
    assert len({one.name for one in RESIDUALS}) == len(RESIDUALS) == 11
    assert all(one.sentence and one.remedy for one in RESIDUALS)


def test_open_ones_whose_touches_are_all_to_come(firm):
    bridge = firm(ACCOUNT, FAIR, person("C"), deal("O"), role("O", "C"), touch("C", "2026-07-01"))
    assert residuals(bridge.attribute()) == {"only_in_future": 1}


def test_implicit_mode_has_no_role_where_the_account_has_nobody(firm):
    bridge = firm(
        ACCOUNT, ACCOUNT.model_copy(update={"id": "B"}), FAIR, person("C"), won("O"), won("P", account_id="B"), touch("C")
    )
    found = bridge.attribute(mode="implicit")
    assert residuals(found) == {"attributed": 1, "no_role": 1}
    (empty,) = found.gaps.to_pylist()
    assert empty["opportunity_id"] == "P"


def test_lost_ones_are_in_no_ledger(firm):
    found = firm(ACCOUNT, lost("O"), lost("P", None)).attribute()
    assert (found.ledger.num_rows, found.gaps.num_rows) == (0, 0)


def test_a_month_is_that_of_the_close_and_of_the_expected_close_while_open(firm):
    bridge = firm(
        *(ACCOUNT, User(id="U")),
        *(won("O", close_date=date(2026, 5, 1), owner_id="U", record_type="New"), deal("P", close_date=date(2026, 9, 30))),
        *(deal("Q", close_date=None), won("R", close_date=date(2026, 4, 30))),
    )
    rows = bridge.attribute().ledger.to_pylist()
    assert [(row["state"], row["month"], row["owner_id"], row["record_type"]) for row in rows] == [
        ("won", "2026-04", None, None),
        ("won", "2026-05", "U", "New"),
        ("open", "2026-09", None, None),
        ("open", None, None, None),
    ]


def test_gaps_are_listed_largest_first_with_what_the_plan_closes(firm):
    def named(opportunity, contact):
        return OpportunityContactLookup(id=f"L{opportunity}", opportunity_id=opportunity, contact_id=contact, field="signer")

    bridge = firm(
        *(ACCOUNT, FAIR, person("C"), person("D"), touch("C")),
        *(won("O", "10"), won("P", "30"), won("Q", "20"), won("R", None), won("S", "-5")),
        *(named("O", "C"), named("P", "D")),
    )
    found = bridge.attribute(bridge.plan())
    assert [
        (row["opportunity_id"], row["residual"], row["residual_if_applied"], row["closes"]) for row in found.gaps.to_pylist()
    ] == [
        # A person without a touch is added to P: that is another gap, and closes none.
        ("P", "no_role", "no_touch", False),
        ("Q", "no_role", "no_role", False),
        ("O", "no_role", "attributed", True),
        ("S", "no_role", "no_role", False),
        ("R", "missing_amount", "missing_amount", False),
    ]
    alone = bridge.attribute()
    assert {(row["residual_if_applied"], row["closes"]) for row in alone.gaps.to_pylist()} == {(None, False)}


def opportunities():
    amount = st.one_of(st.none(), st.sampled_from([0, -1, 1, 333]), st.integers(-(10**10), 10**10))
    closed = st.sampled_from(["open", "won", "lost"])
    day = st.sampled_from([None, date(2026, 4, 30), date(2026, 5, 31), date(2026, 9, 30)])
    return st.tuples(
        amount, st.sampled_from(["EUR", "JPY", "KWD", "GBP", None]), closed, day, st.sampled_from([None, "U1", "U2"])
    )


MEMBERSHIPS = st.tuples(
    st.integers(0, 4),
    st.sampled_from(["fair", "mail", "call"]),
    st.booleans(),
    st.sampled_from([None, "2020-01-01", "2026-03-01", "2026-05-31", "2026-06-10", "2027-01-01"]),
)
PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=12, unique=True)


def tables_of(deals, members, roles):
    accounts = ["A", "B"]
    people = [{"person_key": key, "contacts": 1, "leads": 0, "created_s": seconds("2026-01-01")} for key in range(5)]
    return {
        "opportunities": [
            {
                "opportunity_key": key,
                "opportunity_id": f"O{key}",
                "amount": None if amount is None else Decimal(amount).scaleb(-4),
                "currency": currency,
                "is_closed": state != "open",
                "is_won": state == "won",
                "close_date": day,
                "close_s": day and seconds(f"{day} 23:59:59"),
                "created_s": seconds("2026-02-01"),
                "owner_id": owner,
                "record_type": owner and f"type of {owner}",
            }
            for key, (amount, currency, state, day, owner) in enumerate(deals)
        ],
        "opportunity_accounts": [{"opportunity_key": key, "account_id": accounts[key % 2]} for key in range(0, len(deals), 3)],
        "people": people,
        "contacts": [
            {"contact_id": f"C{key}", "person_key": key, "account_id": accounts[key % 2], "has_left": False, "is_employee": False}
            for key in range(4)
        ],
        "responses": [
            {
                "member_id": f"M{number}",
                "campaign_id": name,
                "person_key": who,
                "has_responded": responded,
                "responded_s": day and seconds(day),
                "is_inferred": False,
            }
            for number, (who, name, responded, day) in enumerate(members)
        ],
        "roles": [
            {"role_id": f"R{o}-{p}", "opportunity_key": o, "person_key": p, "contact_id": f"C{p}", "is_primary": False}
            for o, p in roles
            if o < len(deals)
        ],
        "exchange_rates": [
            {"currency": "JPY", "base_currency": "EUR", "rate": Decimal("163.2571"), "valid_from": date(2026, 5, 1)},
            {"currency": "KWD", "base_currency": "EUR", "rate": Decimal("0.335")},
        ],
    }


@settings(max_examples=14, deadline=None)
@given(
    st.lists(opportunities(), min_size=1, max_size=10),
    st.lists(MEMBERSHIPS, max_size=10),
    PAIRS,
    PAIRS,
    st.sampled_from(["explicit", "hybrid", "implicit"]),
    st.sampled_from(["responded", "all"]),
)
def test_it_balances_to_the_last_digit_whatever_the_firm(deals, members, roles, planned, mode, touches):
    tables = tables_of(deals, members, roles)
    imagined = [(o, p, 0.9, 0.4) for o, p in planned if o < len(deals)]
    found = resolved(tables, planned=imagined, mode=mode, touches=touches)
    expected, counted, unknown = Counter(), Counter(), Counter()
    for row in tables["opportunities"]:
        state = "won" if row["is_won"] else "lost" if row["is_closed"] else "open"
        month = row["close_date"] and f"{row['close_date']:%Y-%m}"
        key = (state, row["currency"], month, row["owner_id"], row["record_type"])
        if state != "lost":
            expected[key] += row["amount"] or 0
            counted[key] += 1
            unknown[key] += row["amount"] is None
    for scenario in ("as_is", "as_if_applied"):
        rows = rows_of(found.ledger, scenario=scenario)
        assert summed(rows, "amount") == expected
        assert summed(rows, "opportunities") == counted
        assert summed(rows, "unknown_amounts") == unknown
        assert len(rows_of(found.gaps)) == residual_count(found.ledger, "as_is")
        balanced_with_credits(found, scenario)


def balanced_with_credits(found, scenario):
    """What the ledger calls attributed is what every model shares out, per state, month and currency."""
    attributed = Counter()
    for row in rows_of(found.ledger, scenario=scenario, residual="attributed"):
        attributed[row["state"], row["month"], row["currency"]] += row["amount"]
    for model in found.models:
        given_out = Counter()
        for row in rows_of(found.credits, scenario=scenario, model=model.name):
            given_out[row["state"], row["month"], row["currency"]] += row["credit"]
        assert {k: v for k, v in given_out.items() if v} == {k: v for k, v in attributed.items() if v}


def summed(rows, column):
    total = Counter()
    for row in rows:
        total[tuple(row[key] for key in KEYS)] += row[column]
    return total


def residual_count(ledger, scenario):
    return sum(row["opportunities"] for row in rows_of(ledger, scenario=scenario) if row["residual"] != "attributed")


@settings(max_examples=10, deadline=None)
@given(st.lists(opportunities(), min_size=1, max_size=10), st.lists(MEMBERSHIPS, max_size=10), PAIRS)
def test_in_one_currency_it_balances_too_and_what_has_no_rate_stays_apart(deals, members, roles):
    tables = tables_of(deals, members, roles)
    found = resolved(tables, currency="EUR", mode="hybrid")
    balanced_with_credits(found, "as_is")
    kept = [row for row in found.ledger.to_pylist() if row["currency"] != "EUR"]
    assert {row["residual"] for row in kept} <= {"no_exchange_rate", "missing_date"}
    apart = Counter()
    for row in kept:
        apart[row["currency"]] += row["amount"]
    in_pounds = sum(
        row["amount"] or 0
        for row in tables["opportunities"]
        if row["currency"] == "GBP" and (row["is_won"] or not row["is_closed"])
    )
    assert apart["GBP"] == in_pounds


def test_an_attributed_opportunity_without_close_month_is_balanced(firm):
    bridge = firm(ACCOUNT, FAIR, person("C"), deal("O", close_date=None), role("O", "C"), touch("C"))
    found = bridge.attribute()
    assert credits_of(found, state="open") == {"fair": 100}
    assert row_of(found.ledger)["month"] is None
