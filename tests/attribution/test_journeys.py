"""Whose touches count, from when to when, and that nobody is counted twice."""

import random
from collections import Counter
from decimal import Decimal

import pytest
from earning import (
    ACCOUNT,
    FAIR,
    campaign,
    credits_of,
    deal,
    lead,
    lost,
    moment,
    person,
    residuals,
    role,
    row_of,
    touch,
    won,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmbridge.model import AccountContactRelation, OpportunityAccount
from crmbridge.testing.memory import MemoryCrm
from crmbridge.testing.worlds import world_of

MAIL = campaign("mail")
BASE = (ACCOUNT, FAIR, MAIL, person("C"), won("O"), role("O", "C"))


def test_responded_members_are_touches_and_others_only_when_all_are_asked_for(firm):
    bridge = firm(*BASE, touch("C"), touch("C", campaign="mail", has_responded=False))
    assert credits_of(bridge.attribute()) == {"fair": 100}
    assert credits_of(bridge.attribute(touches="all")) == {"fair": 50, "mail": 50}


def test_a_touch_is_dated_by_its_response_else_its_creation_and_never_by_its_last_change(firm):
    changed = {"modified_at": moment("2026-06-10")}
    bridge = firm(
        *BASE,
        touch("C", None, created_at=moment("2026-02-01"), **changed),
        touch("C", "2026-03-01", "mail", created_at=moment("2026-01-01"), **changed),
    )
    found = bridge.attribute()
    assert (credits_of(found, "first"), credits_of(found, "last")) == ({"fair": 100}, {"mail": 100})


def test_only_a_last_change_is_no_date(firm):
    bridge = firm(*BASE, touch("C", None, modified_at=moment("2026-03-01")))
    assert residuals(bridge.attribute()) == {"undated_touch": 1}


SECONDS = [
    ("UTC", "2026-05-31 23:59:59", True),
    ("UTC", "2026-06-01 00:00:00", False),
    # Kiritimati is fourteen hours ahead, Pago Pago eleven behind: the close day ends there and then.
    ("Pacific/Kiritimati", "2026-05-31 09:59:59", True),
    ("Pacific/Kiritimati", "2026-05-31 10:00:00", False),
    ("Pacific/Pago_Pago", "2026-06-01 10:59:59", True),
    ("Pacific/Pago_Pago", "2026-06-01 11:00:00", False),
]


@pytest.fixture(scope="module")
def at_the_close(lasting_firm):
    """(zone, second) -> what became of the opportunity whose one touch was in that second."""
    told = {}
    for zone in sorted({zone for zone, _, _ in SECONDS}):
        seconds = [second for where, second, _ in SECONDS if where == zone]
        people = {second: f"C{number}" for number, second in enumerate(seconds)}
        bridge = lasting_firm(
            *(ACCOUNT, FAIR, *(person(who) for who in people.values())),
            *(won(f"O-{who}", record_type=second) for second, who in people.items()),
            *(role(f"O-{who}", who) for who in people.values()),
            *(touch(who, second) for second, who in people.items()),
            zone=zone,
        )
        for row in bridge.attribute().ledger.to_pylist():
            told.setdefault((zone, row["record_type"]), Counter())[row["residual"]] += row["opportunities"]
    return told


@pytest.mark.parametrize(("zone", "second", "counts"), SECONDS)
def test_nothing_after_the_close_day_counts_in_the_time_zone_of_the_organisation(at_the_close, zone, second, counts):
    assert at_the_close[zone, second] == {"attributed" if counts else "only_after_close": 1}


def test_nothing_after_the_close_of_a_lost_one_counts_either(firm):
    bridge = firm(
        *(ACCOUNT, FAIR, MAIL, person("C"), lost("O"), role("O", "C")),
        *(touch("C", "2026-05-31 23:59:59"), touch("C", "2026-06-01 00:00:00", "mail")),
    )
    # It earns nothing and is in no ledger, but teaches Markov models.
    assert bridge.attribute().ledger.num_rows == 0
    with bridge.snapshot() as snapshot:
        assert touches_of(snapshot) == ["fair"]


def touches_of(snapshot):
    from crmbridge.attribution.journeys import prepare, walk
    from crmbridge.attribution.settings import AttributionSettings

    asked = AttributionSettings()
    as_of = snapshot.meta.as_of
    prepare(snapshot.connection, settings=asked, as_of_s=int(as_of.timestamp()), as_of_day=as_of.date())
    scenario = walk(snapshot.connection, "as_is", roles="resolved.roles", settings=asked)
    return [name for (name,) in snapshot.connection.execute(f"SELECT channel FROM {scenario.touches}").fetchall()]


def test_one_touch_after_the_close_does_not_dilute_those_before(firm):
    bridge = firm(*BASE, touch("C"), touch("C", "2026-06-02", "mail"))
    assert credits_of(bridge.attribute()) == {"fair": 100}


def test_open_ones_end_at_the_report(firm):
    bridge = firm(
        *(ACCOUNT, FAIR, MAIL, person("C"), deal("O"), role("O", "C")),
        touch("C", "2026-06-15 12:00:00"),
        touch("C", "2026-06-15 12:00:01", "mail"),
    )
    assert credits_of(bridge.attribute(), state="open") == {"fair": 100}


def test_the_lookback_reaches_back_from_the_end_and_not_further(firm):
    # The end is the last second of 2026-05-31; ten days before that is the last second of 2026-05-21.
    bridge = firm(*BASE, touch("C", "2026-05-21 23:59:58"), touch("C", "2026-05-21 23:59:59", "mail"))
    assert credits_of(bridge.attribute(lookback_days=10)) == {"mail": 100}
    assert credits_of(bridge.attribute(lookback_days=11)) == {"fair": 50, "mail": 50}
    assert residuals(bridge.attribute(lookback_days=9)) == {"outside_lookback": 1}


def test_explicit_hybrid_and_implicit(firm):
    bridge = firm(
        *(ACCOUNT, FAIR, MAIL, person("C"), person("D"), won("with_role"), won("without"), role("with_role", "C")),
        *(touch("C"), touch("D", campaign="mail")),
    )
    assert credits_of(bridge.attribute(mode="explicit")) == {"fair": 100}
    # Hybrid: whoever has a role; where nobody has one, everybody at the account.
    assert credits_of(bridge.attribute(mode="hybrid")) == {"fair": 150, "mail": 50}
    assert credits_of(bridge.attribute(mode="implicit")) == {"fair": 100, "mail": 100}


@pytest.mark.parametrize("mode", ["explicit", "hybrid", "implicit"])
@pytest.mark.parametrize("has_role", [True, False])
def test_the_first_person_counts_for_lead_creation_without_a_membership_too(firm, mode, has_role):
    bridge = firm(
        *(ACCOUNT, person("C", created_at=moment("2026-03-15")), person("old", created_at=moment("2020-01-01")), won("O", "100")),
        *(campaign("a"), campaign("b"), touch("C", "2026-02-01", "a"), touch("C", "2026-03-01", "b")),
        *((role("O", "C"), role("O", "old")) if has_role else ()),
        models=["u_marketo"],
    )
    # The first person was there before any touch, so that the anchor is missing, and the first touch has everything.
    expected = {} if mode == "explicit" and not has_role else {"a": 100}
    assert credits_of(bridge.attribute(mode=mode), "u_marketo") == expected


def test_in_hybrid_mode_the_people_with_roles_are_asked_before_those_at_the_account(firm):
    bridge = firm(
        *(ACCOUNT, person("C", created_at=moment("2026-03-15")), person("old", created_at=moment("2020-01-01")), won("O", "100")),
        *(campaign("a"), campaign("b"), touch("C", "2026-02-01", "a"), touch("C", "2026-03-01", "b"), role("O", "C")),
        models=["u_marketo"],
    )
    assert credits_of(bridge.attribute(mode="hybrid"), "u_marketo") == {"a": 50, "b": 50}
    assert credits_of(bridge.attribute(mode="implicit"), "u_marketo") == {"a": 100}


def test_hybrid_does_not_fall_back_to_the_account_where_the_people_with_roles_have_no_touch(firm):
    bridge = firm(ACCOUNT, FAIR, person("C"), person("D"), won("O"), role("O", "C"), touch("D"))
    assert residuals(bridge.attribute(mode="hybrid")) == {"no_touch": 1}
    assert residuals(bridge.attribute(mode="implicit")) == {"attributed": 1}


def test_the_account_means_also_further_accounts_and_active_relations(firm):
    elsewhere = {"account_id": "B"}
    relation = {"account_id": "A", "contact_id": "R", "is_active": True}
    bridge = firm(
        *(ACCOUNT, ACCOUNT.model_copy(update={"id": "B"}), FAIR, MAIL, campaign("call"), campaign("gone"), won("O")),
        *(person("P", account_id="B"), person("R", account_id=None), person("Q", account_id=None)),
        OpportunityAccount(id="OA", opportunity_id="O", **elsewhere),
        AccountContactRelation(id="rel", **relation),
        AccountContactRelation(id="ended", **{**relation, "contact_id": "Q", "is_active": False}),
        *(touch("P"), touch("R", campaign="mail"), touch("Q", campaign="gone")),
    )
    assert credits_of(bridge.attribute(mode="implicit")) == {"fair": 50, "mail": 50}


def test_as_it_is_as_if_applied_and_the_difference(firm):
    from crmbridge.model import OpportunityContactLookup

    named = OpportunityContactLookup(id="L", opportunity_id="O", contact_id="D", field="signer")
    bridge = firm(*BASE, person("D"), named, touch("C"), touch("D", campaign="mail"))
    plan = bridge.plan()
    assert [(line.opportunity_id, line.contact_id) for line in plan.lines()] == [("O", "D")]
    found = bridge.attribute(plan)
    assert credits_of(found) == {"fair": 100}
    assert credits_of(found, scenario="as_if_applied") == {"fair": 50, "mail": 50}
    changed = {row["campaign_id"]: row["difference"] for row in found.differences.to_pylist() if row["model"] == "linear"}
    assert changed == {"fair": -50, "mail": 50}
    assert row_of(found.differences, model="linear", campaign_id="mail")["as_is"] == 0
    assert found.plan_id == plan.id
    # What was imagined is what comes true.
    bridge.apply(plan)
    assert credits_of(bridge.attribute()) == {"fair": 50, "mail": 50}


def test_one_person_under_several_ids_is_counted_once(firm):
    same = {"email": "zoe@acme.example", "last_name": "Zorn"}
    bridge = firm(
        *(ACCOUNT, FAIR, MAIL, won("O"), role("O", "C1"), role("O", "C2")),
        *(person("C1", **same), person("C2", **same), lead("L").model_copy(update=same)),
        *(touch("C1", "2026-03-03"), touch("C2", "2026-03-02"), touch("L", "2026-03-01", lead=True)),
        touch("L", "2026-03-02 13:00:00", "mail", lead=True),
    )
    found = bridge.attribute()
    # The fair is one touch, at the earliest of its three dates: before the mail.
    assert credits_of(found) == {"fair": 50, "mail": 50}
    assert credits_of(found, "first") == {"fair": 100}
    fair = row_of(found.roi, model="linear", level="campaign", key="fair")
    assert (fair["members"], fair["responses"], fair["leads"]) == (1, 1, 1)


def test_of_several_contacts_the_first_touch_is_anybodys_and_the_lead_is_the_oldest_ones(firm):
    bridge = firm(
        *(ACCOUNT, FAIR, MAIL, campaign("call"), won("O"), role("O", "C"), role("O", "D")),
        *(person("C", created_at=moment("2026-03-10")), person("D", created_at=moment("2026-02-10"))),
        *(touch("C", "2026-02-01"), touch("D", "2026-02-05", "mail"), touch("C", "2026-03-05", "call")),
        models=["u_hubspot", "u_marketo"],
    )
    found = bridge.attribute()
    # D was in the CRM first, and the mail was the last touch of anybody up to then.
    assert credits_of(found, "u_hubspot") == {"fair": 40, "mail": 40, "call": 20}
    assert credits_of(found, "u_marketo") == {"fair": 50, "mail": 50}


def test_two_people_at_one_fair_are_two_touches(firm):
    bridge = firm(*BASE, person("D"), role("O", "D"), touch("C"), touch("D"), touch("D", campaign="mail"))
    assert credits_of(bridge.attribute()) == {"fair": Decimal("66.66"), "mail": Decimal("33.34")}


MEMBERS = st.lists(
    st.tuples(st.sampled_from("123"), st.sampled_from(["fair", "mail"]), st.integers(1, 28), st.booleans()),
    min_size=1,
    max_size=8,
)


def members_of(drawn, *, spread=lambda who: f"C{who}"):
    made = {}
    for who, name, day, responded in drawn:
        identifier = spread(who)
        made[identifier, name] = touch(identifier, f"2026-05-{day:02d}", name, has_responded=responded)
    return list(made.values())


def world(members, *, twins=()):
    people = [person(f"C{who}", email=f"z{who}@acme.example", last_name=f"Zorn{who}") for who in "123"]
    more = [person(f"T{who}", email=f" Z{who}@ACME.example", last_name=f"Zorn{who}") for who in twins]
    roles = [role("O", "C1"), role("O", "C2"), role("P", "C3"), *(role("O", f"T{who}") for who in twins if who != "3")]
    return [ACCOUNT, FAIR, MAIL, won("O", "99.99"), deal("P", "0.07"), won("Q", "3"), *people, *more, *roles, *members]


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MEMBERS, st.randoms(use_true_random=False))
def test_duplicate_people_and_the_order_of_records_change_nothing(opened, drawn, dice):
    once = members_of(drawn)
    # Every membership is on file for the twin as well, as a bulk import leaves it.
    doubled = [one.model_copy(update={"id": f"twin-{one.id}", "contact_id": one.contact_id.replace("C", "T")}) for one in once]
    plain = opened(MemoryCrm(world_of(world(once))), folder=f"plain{dice.random()}")
    twice = world([*once, *doubled], twins="123")
    muddled = opened(MemoryCrm(world_of(random.Random(dice.random()).sample(twice, len(twice)))), folder=f"twice{dice.random()}")
    for mode in ("explicit", "implicit"):
        expected, found = plain.attribute(mode=mode), muddled.attribute(mode=mode)
        assert found.credits == expected.credits
        assert found.ledger == expected.ledger
        assert found.journeys == expected.journeys


def test_journeys_are_listed_by_their_campaigns_in_order(firm):
    bridge = firm(
        *BASE,
        *(won("P", "50"), role("P", "C"), deal("Q"), role("Q", "C"), person("D"), won("R", "7"), role("R", "D")),
        *(touch("C"), touch("C", "2026-04-01", "mail"), touch("D", "2026-04-01", "mail")),
    )
    found = bridge.attribute().journeys.to_pylist()
    assert [(row["path"], row["opportunities"], row["won"], row["won_amount"]) for row in found] == [
        (["Fair", "Mail"], 3, 2, 150),
        (["Mail"], 1, 1, 7),
    ]


def test_journeys_that_differ_only_beyond_a_dozen_campaigns_are_one_line(firm):
    names = [f"c{number:02d}" for number in range(14)]
    days = {name: f"2026-04-{number + 1:02d}" for number, name in enumerate(names)}
    bridge = firm(
        *BASE,
        *(won("P"), person("D"), role("P", "D"), *(campaign(name) for name in names)),
        *(touch("C", days[name], name) for name in names[:13]),
        *(touch("D", days[name], name) for name in names),
    )
    (row,) = bridge.attribute().journeys.to_pylist()
    assert (len(row["path"]), row["path"][-1], row["opportunities"]) == (13, "…", 2)
