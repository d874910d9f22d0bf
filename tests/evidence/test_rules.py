"""Each rule by itself: what it finds, what it does not, how strongly, and the edges of its windows."""

from __future__ import annotations

import pytest

from conftest import READS, WEIGHTS
from crmbridge.evidence.rules import BUILT_IN

SECOND = 1 / 86_400


def near(bits):
    """Bits are stated in hundredths."""
    return pytest.approx(bits, abs=0.00501)


def test_a_rule_is_silent_about_what_it_cannot_read(world):
    world.opportunity(1, "a", created=0).contact("c1", 1, "a", created=0, title="Head of Procurement", domain="a.example")
    said = world.judged(rules=BUILT_IN, weights=WEIGHTS).said()
    assert set(said[1, 1]) == {"created_with_opportunity", "title_seniority"}
    assert not READS.keys() & said[1, 1].keys()


# lead_conversion


def test_the_lead_that_became_the_opportunity_is_found_whenever_it_was_converted(world):
    world.opportunity(1, "a", closed=50).opportunity(2, "a").conversion("l1", 1, 7, day=-400).conversion("l2", 2, 8, None)
    judged = world.judged()
    assert judged.bits("lead_conversion", 1, 7) == 6.0
    assert judged.bits("lead_conversion", 2, 8) == 6.0
    row = judged.reasons[1, 7]["lead_conversion"]
    assert (row["source_entity"], row["source_id"], row["items"]) == ("lead", "l1", 1)


@pytest.mark.parametrize(("day", "bits"), [(64, 6.0), (64 + SECOND, None)])
def test_nothing_later_than_fourteen_days_after_the_close_counts(world, day, bits):
    world.opportunity(1, "a", closed=50).conversion("l1", 1, 1, day=day)
    assert world.judged().bits("lead_conversion") == bits


def test_evidence_after_as_of_is_ignored_also_within_the_days_after_the_close(world):
    world.opportunity(1, "a", closed=50).conversion("l1", 1, 1, day=55)
    assert world.judged(as_of=54).pairs == {}
    assert world.judged(as_of=55).bits("lead_conversion") == 6.0


def test_a_close_that_lies_in_the_future_does_not_let_the_future_in(world):
    world.opportunity(1, "a", closed=500).conversion("l1", 1, 1, day=101)
    assert world.judged(as_of=100).pairs == {}


# contact_lookup


def test_a_contact_field_names_its_person(world):
    world.opportunity(1).opportunity(2).lookup("x1", 1, 1, "c1")
    judged = world.judged()
    assert set(judged.pairs) == {(1, 1)}
    assert judged.bits("contact_lookup") == 5.5
    assert judged.reasons[1, 1]["contact_lookup"]["source_id"] == "x1"


# opportunity_activity


def test_a_meeting_on_the_opportunity_speaks_for_everybody_in_it_and_for_no_other_opportunity(world):
    world.opportunity(1, "a").opportunity(2, "a").contact("c1", 1, "a").activity("v1", 1, 2, opportunity=1)
    judged = world.judged()
    assert judged.bits("opportunity_activity", 1, 1) == judged.bits("opportunity_activity", 1, 2) == 4.0
    assert (2, 1) not in judged.pairs


@pytest.mark.parametrize(
    ("kind", "as_kind", "bits"),
    [
        ("meeting", "attendee", 4.0),
        ("call", "attendee", 4.0),
        ("email", "to", 3.4),
        ("email", "cc", 1.7),
        ("task", "related", 3.0),
    ],
)
def test_talking_weighs_more_than_writing_and_copy_half(world, kind, as_kind, bits):
    world.opportunity(1).activity("v1", 1, opportunity=1, kind=kind, as_kind=as_kind)
    assert world.judged().bits("opportunity_activity") == near(bits)


@pytest.mark.parametrize(("people", "bits"), [(4, 4.0), (8, 2.0), (40, 0.4)])
def test_each_of_a_crowd_says_less(world, people, bits):
    world.opportunity(1).activity("v1", *range(1, people + 1), opportunity=1)
    assert world.judged().bits("opportunity_activity") == near(bits)


def test_a_crowd_is_counted_in_people_not_in_ways_of_taking_part(world):
    world.opportunity(1)
    for kind in ("to", "cc", "attendee"):
        world.activity("v1", 1, 2, opportunity=1, as_kind=kind)
    assert world.judged().bits("opportunity_activity") == 4.0


def test_a_webinar_of_hundreds_says_nothing_of_anybody(world):
    world.opportunity(1).activity("v1", *range(1, 200), opportunity=1)
    assert world.judged().pairs == {}


def test_taking_part_twice_in_one_activity_is_one_item_at_its_best(world):
    world.opportunity(1).activity("v1", 1, opportunity=1, kind="email", as_kind="cc")
    world.activity("v1", 1, opportunity=1, kind="email", as_kind="to")
    judged = world.judged()
    assert judged.items("opportunity_activity") == 1
    assert judged.bits("opportunity_activity") == near(3.4)


def test_an_activity_without_a_date_keeps_a_stated_share(world):
    world.opportunity(1).activity("v1", 1, opportunity=1, day=None)
    assert world.judged().bits("opportunity_activity") == near(0.7 * 4)


@pytest.mark.parametrize(("day", "bits"), [(-60, 2.0), (-120, 1.0), (0, 4.0), (50, 4.0), (64, 4 * 2 ** (-14 / 60))])
def test_outside_the_opportunitys_own_time_the_bits_halve_every_sixty_days(world, day, bits):
    world.opportunity(1, closed=50).activity("v1", 1, opportunity=1, day=day)
    assert world.judged().bits("opportunity_activity") == near(bits)


def test_a_meeting_years_before_the_opportunity_says_nothing(world):
    world.opportunity(1).activity("v1", 1, opportunity=1, day=-800)
    assert world.judged().pairs == {}


@pytest.mark.parametrize(("day", "bits"), [(1_000, 4.0), (820, 4.0), (760, 2.0)])
def test_an_opportunity_without_a_creation_date_is_taken_to_be_half_a_year_long(world, day, bits):
    world.opportunity(1, created=None).activity("v1", 1, opportunity=1, day=day)
    assert world.judged(as_of=1_000).bits("opportunity_activity") == near(bits)


def test_an_opportunity_entered_after_its_close_is_taken_to_be_half_a_year_long(world):
    world.opportunity(1, created=300, closed=200).activity("v1", 1, opportunity=1, day=20)
    world.activity("v2", 2, opportunity=1, day=299)
    judged = world.judged()
    assert judged.bits("opportunity_activity") == 4.0
    assert (1, 2) not in judged.pairs


# account_activity


def test_an_activity_on_the_account_speaks_for_its_opportunity(world):
    world.opportunity(1, "a").activity("v1", 1, account="a").activity("v2", 2, account="elsewhere")
    judged = world.judged()
    assert set(judged.pairs) == {(1, 1)}
    assert judged.bits("account_activity") == 2.0


def test_an_activity_on_the_person_alone_speaks_for_their_account(world):
    world.opportunity(1, "a").contact("c1", 1, "a").contact("c2", 2, "b").activity("v1", 1, 2)
    assert world.judged().bits("account_activity") == 2.0
    assert set(world.judged().pairs) == {(1, 1)}


def test_an_activity_that_names_another_account_does_not_speak_for_the_persons_own(world):
    world.opportunity(1, "a").contact("c1", 1, "a").activity("v1", 1, account="b")
    assert world.judged().pairs == {}


def test_an_activity_on_an_opportunity_does_not_speak_for_the_accounts_others(world):
    world.opportunity(1, "a").opportunity(2, "a").contact("c1", 1, "a").activity("v1", 1, opportunity=2, account="a")
    assert set(world.judged().pairs) == {(2, 1)}


@pytest.mark.parametrize(
    ("day", "is_found"), [(-90, True), (-90 - SECOND, False), (64, True), (64 + SECOND, False), (None, False)]
)
def test_account_activity_counts_from_ninety_days_before_to_fourteen_after(world, day, is_found):
    world.opportunity(1, "a", closed=50).contact("c1", 1, "a").activity("v1", 1, day=day)
    assert ((1, 1) in world.judged().pairs) is is_found


def test_with_four_opportunities_alive_at_once_it_speaks_half_for_each(world):
    for key in range(1, 5):
        world.opportunity(key, "a", created=key, closed=50 + key)
    world.opportunity(5, "a", created=-300, closed=-200).opportunity(6, "a", created=300, closed=400)
    judged = world.contact("c1", 1, "a").activity("v1", 1, day=20).judged()
    assert [judged.bits("account_activity", key) for key in (1, 2, 3, 4)] == [1.0] * 4
    assert set(judged.pairs) == {(key, 1) for key in (1, 2, 3, 4)}


def test_one_activity_counts_once_though_the_opportunity_has_two_of_the_persons_accounts(world):
    world.opportunity(1, "a", "b").contact("c1", 1, "a").contact("c2", 1, "b").activity("v1", 1)
    judged = world.judged()
    assert judged.items("account_activity") == 1
    assert judged.bits("account_activity") == 2.0


def test_a_contact_without_account_belongs_where_their_address_belongs(world):
    world.opportunity(1, "a").contact("c1", 1, domain="acme.com").domain("a", "acme.com").activity("v1", 1)
    assert world.judged().bits("account_activity") == 2.0


def test_an_active_relation_is_belonging_and_an_ended_one_is_not(world):
    world.opportunity(1, "a").contact("c1", 1, "b").contact("c2", 2, "b").activity("v1", 1, 2)
    world.relation("r1", "a", 1, "c1").relation("r2", "a", 2, "c2", is_active=False)
    assert set(world.judged().pairs) == {(1, 1)}


# campaign_response


@pytest.mark.parametrize(
    ("day", "is_found"),
    [(50 - 365, True), (50 - 365 - SECOND, False), (50, True), (50 + SECOND, False), (None, False)],
)
def test_a_response_counts_within_the_lookback_before_the_close(world, day, is_found):
    world.opportunity(1, "a", closed=50).contact("c1", 1, "a").response("m1", 1, day)
    assert ((1, 1) in world.judged().pairs) is is_found


def test_a_response_speaks_for_its_account_only_and_no_answer_says_nothing(world):
    world.opportunity(1, "a", closed=50).opportunity(2, "b", closed=50).contact("c1", 1, "a").contact("c2", 2, "b").response(
        "m1", 1
    )
    world.response("m2", 2).rows["responses"][-1]["has_responded"] = False
    judged = world.judged()
    assert set(judged.pairs) == {(1, 1)}
    assert judged.bits("campaign_response") == 1.0


def test_a_date_that_was_inferred_says_less(world):
    world.opportunity(1, "a", closed=50).contact("c1", 1, "a").response("m1", 1, is_inferred=True)
    assert world.judged().bits("campaign_response") == near(0.7)


def test_two_records_of_one_person_in_one_campaign_are_one_response(world):
    world.opportunity(1, "a", closed=50).contact("c1", 1, "a").contact("c2", 1, "a").response("m1", 1).response("m2", 1)
    judged = world.judged()
    assert judged.items("campaign_response") == 1
    assert judged.bits("campaign_response") == 1.0


def test_responses_to_several_campaigns_add_up_to_a_cap(world):
    world.opportunity(1, "a", closed=50).contact("c1", 1, "a")
    for number in range(64):
        world.response(f"m{number}", 1, campaign=f"k{number}")
    assert world.judged().bits("campaign_response") == 1.5


# earlier_role


def test_a_role_on_an_earlier_opportunity_of_the_account_speaks_for_the_later_one_only(world):
    world.opportunity(1, "a", created=0, closed=50).opportunity(2, "a", created=50).opportunity(3, "b", created=60)
    judged = world.contact("c1", 1, "a").role("r1", 1, 1, "c1").judged()
    assert set(judged.pairs) == {(2, 1)}
    assert judged.bits("earlier_role", 2) == 2.5
    assert judged.reasons[2, 1]["earlier_role"]["source_id"] == "r1"


def test_an_earlier_opportunity_that_is_still_running_speaks_undecayed(world):
    world.opportunity(1, "a", created=0, closed=900).opportunity(2, "a", created=500, closed=600)
    assert world.role("r1", 1, 1, "c1").judged().bits("earlier_role", 2) == 2.5


def test_an_earlier_role_decays_with_the_time_since_that_opportunity_ended(world):
    world.opportunity(1, "a", created=0, closed=50).opportunity(2, "a", created=450, closed=460)
    assert world.role("r1", 1, 1, "c1").judged().bits("earlier_role", 2) == near(1.25)


def test_opportunities_opened_in_the_same_second_teach_each_other_nothing(world):
    world.opportunity(1, "a").opportunity(2, "a").role("r1", 1, 1, "c1")
    assert world.judged().pairs == {}


def test_two_role_rows_of_one_person_on_one_earlier_opportunity_are_one_item(world):
    world.opportunity(1, "a", "b", created=0, closed=50).opportunity(2, "a", "b", created=60)
    judged = world.role("r1", 1, 1, "c1").role("r2", 1, 1, "c2").judged()
    assert judged.items("earlier_role", 2) == 1


def test_roles_that_crmbridge_wrote_are_never_evidence(world):
    world.opportunity(1, "a", created=0, closed=50).opportunity(2, "a", created=60)
    world.role("ours", 1, 1, "c1").role("theirs", 1, 2, "c2")
    own = world.lazy("own", role_id=["ours"])
    assert set(world.judged(own_role_ids=own).pairs) == {(2, 2)}


# created_with_opportunity


@pytest.mark.parametrize(
    ("day", "bits"), [(3, 1.5), (3 + SECOND, None), (0, 1.5), (-3, 1.5 * 2 ** (-3 / 5)), (-3 - SECOND, None), (None, None)]
)
def test_a_contact_made_within_three_days_of_the_opportunity(world, day, bits):
    world.opportunity(1, "a").contact("c1", 1, "a", created=day)
    assert world.judged().bits("created_with_opportunity") == (None if bits is None else near(bits))


def test_without_the_opportunitys_creation_date_nothing_was_created_with_it(world):
    world.opportunity(1, "a", created=None).contact("c1", 1, "a", created=820)
    assert world.judged().pairs == {}


def test_an_import_of_a_hundred_contacts_says_a_tenth_of_each(world):
    world.opportunity(1, "a")
    for number in range(100):
        world.contact(f"c{number}", number, "a", created=0)
    assert world.judged().bits("created_with_opportunity") == near(0.15)


def test_an_import_of_many_opportunities_beside_one_contact_says_as_little(world):
    for key in range(1, 101):
        world.opportunity(key, "a")
    assert world.contact("c1", 1, "a", created=0).judged().bits("created_with_opportunity") == near(0.15)


def test_two_records_of_one_person_are_no_crowd(world):
    world.opportunity(1, "a").contact("c1", 1, "a", created=0).contact("c2", 1, "a", created=0)
    assert world.judged().bits("created_with_opportunity") == 1.5


# parallel_opportunity


def _two_deals(world):
    """Person 1 is named on opportunity 1; opportunity 2 is open at the same time."""
    return world.opportunity(1, "a", closed=50).opportunity(2, "a", closed=50).lookup("x", 1, 1, "c1")


@pytest.mark.parametrize(
    ("day", "bits"),
    [(10, -1.5), (-60, -0.75), (-90 - SECOND, None), (64 + SECOND, None), (None, None)],
)
def test_working_on_another_opportunity_meanwhile_speaks_against(world, day, bits):
    _two_deals(world).activity("v1", 1, opportunity=2, day=day)
    assert world.judged().bits("parallel_opportunity") == (None if bits is None else near(bits))


@pytest.mark.parametrize("day", [20, None])
def test_who_works_on_both_is_no_stranger(world, day):
    _two_deals(world).activity("v1", 1, opportunity=2).activity("v2", 1, opportunity=1, day=day)
    assert world.judged().bits("parallel_opportunity") is None


def test_a_webinar_logged_on_another_opportunity_hardly_speaks_against(world):
    _two_deals(world).activity("v1", *range(1, 41), opportunity=2)
    assert world.judged().bits("parallel_opportunity") == near(-0.15)


# other_account


def test_belonging_elsewhere_speaks_against_and_belonging_nowhere_does_not(world):
    world.opportunity(1, "a").contact("c1", 1, "b").contact("c2", 2, "a").contact("c3", 3)
    for person in (1, 2, 3):
        world.lookup(f"x{person}", 1, person, f"c{person}")
    judged = world.judged()
    assert [judged.bits("other_account", person=person) for person in (1, 2, 3)] == [-1.5, None, None]


@pytest.mark.parametrize("is_active", [True, False])
def test_who_has_a_record_relation_or_address_here_does_not_belong_elsewhere(world, is_active):
    world.opportunity(1, "a").domain("a", "acme.com").relation("r1", "a", 1, "c1", is_active=is_active)
    world.contact("c1", 1, "b").contact("c2", 2, "b").contact("c2b", 2, "a")
    world.contact("c3", 3, "b").contact("c3b", 3, domain="acme.com")
    for person in (1, 2, 3):
        world.lookup(f"x{person}", 1, person, f"c{person}")
    judged = world.judged()
    assert judged.bits("other_account", person=1) == (None if is_active else -1.5)
    assert judged.bits("other_account", person=2) is None
    assert judged.bits("other_account", person=3) is None


def test_an_opportunity_without_any_account_has_no_strangers(world):
    world.opportunity(1).contact("c1", 1, "b").lookup("x1", 1, 1, "c1")
    assert world.judged().said() == {(1, 1): {"contact_lookup": 5.5}}


# account_relation


def test_a_relation_supports_unless_it_ended_or_is_the_employment_itself(world):
    world.opportunity(1, "a").contact("c1", 1, "b").contact("c2", 2, "b").contact("c3", 3, "a")
    for person in (1, 2, 3):
        world.lookup(f"x{person}", 1, person, f"c{person}")
        world.relation(f"r{person}", "a", person, f"c{person}", is_active=person != 2)
    judged = world.judged()
    assert [judged.bits("account_relation", person=person) for person in (1, 2, 3)] == [0.4, None, None]


# email_domain


def test_an_address_at_the_accounts_domain_supports_a_contact_without_account(world):
    world.opportunity(1, "a").domain("a", "acme.com").contact("c1", 1, domain="acme.com")
    world.contact("c2", 2, domain="other.com").contact("c3", 3, "a", domain="acme.com").contact("c4", 4)
    for person in (1, 2, 3, 4):
        world.lookup(f"x{person}", 1, person, f"c{person}")
    judged = world.judged()
    assert [judged.bits("email_domain", person=person) for person in (1, 2, 3, 4)] == [0.5, None, None, None]


# title_seniority


def test_a_title_that_decides_supports(world):
    world.opportunity(1, "a")
    for person, title in enumerate(("CEO", "Head of Purchasing", "Software Engineer", None), start=1):
        world.contact(f"c{person}", person, "a", title=title).lookup(f"x{person}", 1, person, f"c{person}")
    judged = world.judged()
    assert [judged.bits("title_seniority", person=person) for person in (1, 2, 3, 4)] == [0.6, 0.6, None, None]


def test_rules_that_support_bring_nobody_in(world):
    world.opportunity(1, "a").domain("a", "acme.com").contact("c1", 1, "a", title="CEO")
    world.contact("c2", 2, domain="acme.com", title="CEO").contact("c3", 3, "b").relation("r", "a", 3, "c3")
    assert world.judged().pairs == {}
