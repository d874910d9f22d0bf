"""What becomes of a candidate, and in which order the grounds are looked at."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import contact, decision, decisions, judge, opportunity, role, scored

from crmbridge.plan.policy import MEANING, Decision


def test_a_confident_pair_is_added_and_becomes_the_primary_where_there_is_none():
    (row,) = judge([scored(1)], [contact(1)]).values()
    assert (row["decision"], row["contact_id"], row["role"], row["is_primary"]) == ("add", "C1", "Buyer", True)


def everything_against():
    """A pair against which every ground speaks at once, and how to take the grounds away one after the other, in order."""
    person = contact(1, account_id="P", account_type="PARTNER ", email_domain="rival.example", has_left=True, is_employee=True)
    case = {
        "pair": scored(1, 0.1, other=False), "contacts": [person], "roles": [role(1), role(2)], "vetoes": [(1, 1)],
        "owners": ("nobody",), "role_of": "Spy", "roles_allowed": ("Buyer",), "existing_roles": "skip",
        "exclude_email_domains": ("@Rival.example",), "max_writes": 0,
    }  # fmt: skip
    steps = {
        "out_of_scope": {"owners": ()},
        "has_role": {"roles": [role(2)]},
        "no_contact": None,
        "employee": {"contacts": [person | {"is_employee": False}]},
        "left_company": {"contacts": [person | {"is_employee": False, "has_left": False}]},
        "excluded_account": {"exclude_account_types": ("Competitor",)},
        "excluded_domain": {"exclude_email_domains": ("other.example",)},
        "vetoed": {"vetoes": [(2, 1), (1, 2)]},
        "opportunity_has_roles": {"existing_roles": "complete"},
        "campaign_only": {"pair": scored(1, 0.1)},
        "below_threshold": {"pair": scored(1, 0.5)},
        "role_not_allowed": {"roles_allowed": ("Buyer", "Spy"), "max_roles_per_opportunity": 1},
        "over_cap": {"max_roles_per_opportunity": 2},
        "over_max_writes": {"max_writes": 1},
        "add": None,
    }
    return case, steps


def test_the_grounds_are_looked_at_in_the_documented_order():
    case, steps = everything_against()
    seen = []
    for name, change in steps.items():
        if name == "no_contact":
            continue  # a lead has no contact to speak against; see below
        rest = {key: value for key, value in case.items() if key not in ("pair", "contacts")}
        seen.append((name, decision(case["pair"], case["contacts"], **rest)))
        case |= change or {}
    assert [got for _, got in seen] == [name for name, _ in seen]
    assert list(steps) == [item.value for item in Decision], "the enumeration tells the order"


def test_a_lead_without_a_contact_cannot_be_linked_whatever_else_holds():
    assert decision(scored(1, 0.1), [], vetoes=[(1, 1)]) == "no_contact"
    assert decision(scored(1), [], roles=[role(1)]) == "has_role"


def test_every_decision_has_a_meaning():
    assert set(MEANING) == set(Decision)


@pytest.mark.parametrize(("confidence", "expected"), [(0.4999, "below_threshold"), (0.5, "add")])
def test_the_threshold_itself_is_enough(confidence, expected):
    assert decision(scored(1, confidence), [contact(1)], threshold=0.5) == expected


# Scope


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"opportunities": "open"}, {1}),
        ({"opportunities": "closed"}, {2, 3, 4}),
        ({"opportunities": "all"}, {1, 2, 3, 4}),
        ({"closed_since": date(2024, 5, 1)}, {1, 3}),
        ({"opportunities": "closed", "closed_since": date(2024, 5, 1)}, {3}),
        ({"owners": ("it's", "me")}, {1, 2}),
        ({"teams": ("North",)}, {2}),
        ({"record_types": ("Renewal",)}, {3}),
        ({"types": ("New",)}, {4}),
        ({"owners": ("me",), "teams": ("North",)}, {2}),
        ({"types": ("Nothing",)}, set()),
    ],
)
def test_the_scope(policy, expected):
    deals = [
        opportunity(1, owner_id="it's"),
        # the last second of its day in a zone far west of Greenwich lies in the next day there
        opportunity(2, is_closed=True, close_date=date(2024, 4, 30), close_s=1714564799, owner_id="me", team="North"),
        opportunity(3, is_closed=True, is_won=True, close_date=date(2024, 5, 1), close_s=1714607999, record_type="Renewal"),
        opportunity(4, is_closed=True, type="New"),
    ]
    found = decisions([scored(1, key=key) for key in (1, 2, 3, 4)], [contact(1)], deals=deals, **policy)
    assert {key for (key, _), name in found.items() if name == "add"} == expected
    assert set(found.values()) <= {"add", "out_of_scope"}


# People


def test_the_partner_of_the_opportunity_itself_is_no_stranger():
    partner = contact(1, account_type="Partner")
    assert decision(scored(1), [partner]) == "add"
    assert decision(scored(1), [partner | {"account_id": "B"}]) == "excluded_account"
    assert decision(scored(1), [partner | {"account_id": "B"}], exclude_account_types=()) == "add"
    assert decision(scored(1), [partner | {"account_id": None, "account_type": None}]) == "add"


def test_exclusions_can_be_switched_off():
    assert decision(scored(1), [contact(1, is_employee=True)], exclude_employees=False) == "add"
    assert decision(scored(1), [contact(1, has_left=True)], exclude_left=False) == "add"


def test_of_several_records_the_one_on_the_account_stands_for_the_person():
    records = [contact(1, "C9", account_id="B"), contact(1, "C2"), contact(1, "C8", account_id=None)]
    (row,) = judge([scored(1)], records).values()
    assert row["contact_id"] == "C2"


def test_then_the_record_where_they_still_work():
    records = [contact(1, "C9", account_id="B", has_left=True), contact(1, "C2", account_id="B")]
    (row,) = judge([scored(1)], records).values()
    assert (row["contact_id"], row["decision"]) == ("C2", "add")


def test_who_left_the_account_of_the_opportunity_is_left_alone_though_they_work_elsewhere():
    records = [contact(1, "C1", has_left=True), contact(1, "C2", account_id="B")]
    assert decision(scored(1), records) == "left_company"


def test_a_colleague_under_any_of_their_records_is_a_colleague():
    assert decision(scored(1), [contact(1, "C1"), contact(1, "C0", account_id="B", is_employee=True)]) == "employee"


def test_a_role_of_any_record_is_the_persons():
    assert decision(scored(1), [contact(1, "C1"), contact(1, "C7")], roles=[role(1, contact_id="C7")]) == "has_role"


def test_a_blank_role_is_not_among_the_roles_allowed():
    assert decision(scored(1), [contact(1)], role_of=None, roles_allowed=("Buyer",)) == "role_not_allowed"
    assert decision(scored(1), [contact(1)], role_of=None) == "add"


# Caps and primary


def added(found):
    return [person for (_, person), row in sorted(found.items()) if row["decision"] == "add"]


def test_the_cap_counts_people_who_are_there_once_each():
    there = [role(8), role(8, role_id="again", role="Other"), role(9)]
    people = [contact(number) for number in range(1, 6)]
    pairs = [scored(number, 0.9 - number / 100) for number in range(1, 6)]
    found = judge(pairs, people, roles=there, max_roles_per_opportunity=4)
    assert added(found) == [1, 2]
    assert {row["decision"] for row in found.values()} == {"add", "over_cap"}


def test_ties_go_to_the_lower_contact_id_in_text():
    people = [contact(1, "b"), contact(2, "a"), contact(3, "B")]
    assert added(judge([scored(number) for number in (1, 2, 3)], people, max_roles_per_opportunity=1)) == [3]


def test_max_writes_takes_the_most_confident_of_all():
    pairs = [scored(1, 0.8, 1), scored(2, 0.9, 1), scored(1, 0.95, 2), scored(2, 0.7, 2)]
    found = judge(pairs, [contact(1), contact(2)], deals=[opportunity(1), opportunity(2)], max_writes=2)
    assert {pair for pair, row in found.items() if row["decision"] == "add"} == {(2, 1), (1, 2)}
    assert {row["decision"] for row in found.values()} == {"add", "over_max_writes"}
    assert all(row["is_primary"] == (row["decision"] == "add") for row in found.values())


def test_over_the_cap_is_not_counted_against_max_writes():
    pairs = [scored(1, 0.99, 1), scored(2, 0.98, 1), scored(1, 0.6, 2)]
    people = [contact(1), contact(2)]
    found = decisions(pairs, people, deals=[opportunity(1), opportunity(2)], max_writes=2, max_roles_per_opportunity=1)
    assert found == {(1, 1): "add", (1, 2): "over_cap", (2, 1): "add"}


def test_only_the_surest_added_person_becomes_primary():
    found = judge([scored(1, 0.7), scored(2, 0.9), scored(3, 0.95)], [contact(1), contact(2), contact(3)], vetoes=[(1, 3)])
    assert [pair for pair, row in found.items() if row["is_primary"]] == [(1, 2)]


@pytest.mark.parametrize("change", [{"primaries": [(1, "gone")]}, {"has_primary": False}, {"primary": "never"}])
def test_nobody_becomes_primary_where_there_is_one_or_must_be_none(change):
    (row,) = judge([scored(1)], [contact(1)], **change).values()
    assert (row["decision"], row["is_primary"]) == ("add", False)


# Always


@st.composite
def worlds(draw):
    people = draw(st.integers(1, 5))
    contacts = []
    for person in range(1, people + 1):
        for number in range(draw(st.integers(0, 3))):
            fields = {
                "account_id": draw(st.sampled_from(["A", "B", None])),
                "has_left": draw(st.booleans()),
                "is_employee": draw(st.booleans()),
                "account_type": draw(st.sampled_from([None, "Partner", "Customer"])),
            }
            contacts.append(contact(person, f"C{person}-{number}", **fields))
    every = [(key, person) for key in (1, 2) for person in range(1, people + 1)]
    confidences = st.sampled_from([0.2, 0.5, 0.7, 0.7, 0.9])
    pairs = [scored(p, draw(confidences), o, other=draw(st.booleans())) for o, p in every if draw(st.booleans())]
    roles = [role(p, o, is_primary=draw(st.booleans())) for o, p in every if draw(st.integers(0, 3)) == 0]
    vetoes = [pair for pair in every if draw(st.integers(0, 4)) == 0]
    policy = {
        "max_roles_per_opportunity": draw(st.integers(1, 3)),
        "max_writes": draw(st.sampled_from([None, 0, 1, 3])),
        "threshold": draw(st.sampled_from([0.3, 0.7])),
        "existing_roles": draw(st.sampled_from(["complete", "skip"])),
    }
    return contacts, pairs, roles, vetoes, policy


@settings(max_examples=12, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_whatever_the_world(world, shuffle):
    contacts, pairs, roles, vetoes, policy = world
    primaries = sorted({(row["opportunity_key"], "x") for row in roles if row["is_primary"]})
    deals = [opportunity(1), opportunity(2)]
    known = {"deals": deals, "vetoes": vetoes, "primaries": primaries, **policy}
    found = judge(pairs, contacts, roles=roles, **known)
    adds = {pair: row for pair, row in found.items() if row["decision"] == "add"}
    there = {(row["opportunity_key"], row["person_key"]) for row in roles}
    assert not adds.keys() & (there | set(vetoes))
    assert all(row["confidence"] >= policy["threshold"] for row in adds.values())
    owners = {row["contact_id"]: row["person_key"] for row in contacts}
    assert all(owners[row["contact_id"]] == person for (_, person), row in adds.items())
    assert policy["max_writes"] is None or len(adds) <= policy["max_writes"]
    for key in (1, 2):
        mine = sorted((row for (o, _), row in adds.items() if o == key), key=lambda row: -row["confidence"])
        held = {person for o, person in there if o == key}
        assert not mine or len(held) + len(mine) <= policy["max_roles_per_opportunity"]
        assert sum(row["is_primary"] for row in mine) == bool(mine and key not in dict(primaries))
        assert all(row["confidence"] <= mine[0]["confidence"] for row in mine if not row["is_primary"])
    assert not any(row["is_primary"] for pair, row in found.items() if pair not in adds)
    for rows in (contacts, pairs, roles):
        shuffle.shuffle(rows)
    assert judge(pairs, contacts, roles=roles, **known) == found


def test_a_lower_threshold_never_loses_anybody():
    pairs = [scored(number, 0.3 + number / 20) for number in range(1, 10)]
    people = [contact(number) for number in range(1, 10)]
    steps = [set(added(judge(pairs, people, threshold=threshold))) for threshold in (0.7, 0.5, 0.35)]
    assert all(before < after for before, after in pairwise(steps))
