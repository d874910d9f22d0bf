"""Which role a person would get: the field, the title's past, its class's past, its meaning, the default."""

from __future__ import annotations

import pytest

from crmbridge.evidence.role_names import suggest
from crmbridge.snapshot.keep import Keeper

SALESFORCE = ("Business User", "Decision Maker", "Economic Buyer", "Evaluator", "Executive Sponsor", "Influencer", "Other")
HUBSPOT = ("Decision maker", "Budget holder", "Champion", "End user", "Legal & Compliance")


def _suggested(world, people, *, role_names=SALESFORCE, default_role=None):
    """Suggest for (person, title) on opportunity 1: role by person."""
    chosen = world.lazy(
        "chosen",
        opportunity_key=[1] * len(people),
        person_key=list(people),
        contact_id=[f"c{person}" for person in people],
        title=list(people.values()),
    )
    for person, title in people.items():
        world.contact(f"c{person}", person, "a", title=title)
    named = suggest(
        world.opportunity(1, "a").score().sight,
        chosen,
        role_names=role_names,
        default_role=default_role,
        keep=Keeper(world.connection),
    )
    rows = named.collect("pyarrow").to_native().to_pylist()
    assert len(rows) == len(people)
    return {row["person_key"]: row["role"] for row in rows}


def _past(world, title, *roles, start=100):
    """People of that title who were given these roles on other opportunities."""
    for number, role in enumerate(roles, start=start):
        world.contact(f"c{number}", number, "a", title=title).role(f"r{number}", number, number, f"c{number}", role)
    return world


def test_the_titles_own_past_beats_what_it_means(world):
    _past(world, "Purchasing Clerk", *["Evaluator"] * 5)
    assert _suggested(world, {1: "purchasing clerk"}) == {1: "Evaluator"}


def test_the_past_of_its_class_beats_what_it_means(world):
    _past(world, "Head of Purchasing", *["Evaluator"] * 5)
    assert _suggested(world, {1: "Leiter Einkauf"}) == {1: "Evaluator"}


@pytest.mark.parametrize("roles", [["Evaluator"] * 4, ["Evaluator"] * 3 + ["Influencer"] * 3, [None, "", " "] * 3])
def test_too_little_or_too_divided_a_past_teaches_nothing(world, connection, roles):
    untaught = _suggested(type(world)(connection), {1: "CEO"})
    assert _suggested(_past(world, "CEO", *roles), {1: "CEO"}) == untaught


def test_a_role_that_the_crm_no_longer_allows_is_not_taught(world):
    _past(world, "CEO", *["Retired Role"] * 9)
    assert _suggested(world, {1: "CEO"})[1] in SALESFORCE


def test_where_any_text_is_allowed_the_past_teaches_any(world):
    _past(world, "CEO", *["Our own word"] * 5)
    assert _suggested(world, {1: "CEO"}, role_names=()) == {1: "Our own word"}


def test_what_a_contact_field_usually_means_beats_the_title(world):
    for number in range(200, 205):
        world.lookup(f"x{number}", number, number, f"c{number}", "Sponsor__c")
        world.role(f"r{number}", number, number, f"c{number}", "Executive Sponsor")
    world.lookup("x1", 1, 1, "c1", "Sponsor__c").lookup("x2", 1, 2, "c2", "Unknown__c")
    assert _suggested(world, {1: "Engineer", 2: None}, default_role="Other") == {1: "Executive Sponsor", 2: "Other"}


def test_of_two_fields_the_one_with_the_longer_past_is_believed(world):
    for number in range(200, 212):
        field, role = ("A__c", "Influencer") if number < 205 else ("B__c", "Evaluator")
        world.lookup(f"x{number}", number, number, f"c{number}", field).role(f"r{number}", number, number, "c", role)
    world.lookup("y1", 1, 1, "c1", "A__c").lookup("y2", 1, 1, "c1", "B__c")
    assert _suggested(world, {1: None}) == {1: "Evaluator"}


def test_a_title_is_named_by_the_crms_own_word(world):
    assert _suggested(world, {1: "CEO"}, role_names=HUBSPOT)[1] == "Decision maker"


def test_without_a_word_for_it_the_default_is_given_or_nothing(world, connection):
    assert _suggested(world, {1: "CEO", 2: None}, role_names=("Xyz",), default_role="Xyz") == {1: "Xyz", 2: "Xyz"}
    assert _suggested(type(world)(connection), {1: "CEO", 2: None}, role_names=("Xyz",)) == {1: None, 2: None}
