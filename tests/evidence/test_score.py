"""The sum: parts that add up, decay, caps, what never happens, and what a person's own rule may do."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from importlib import metadata

import duckdb
import narwhals as nw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmbridge.errors import DataError, PluginError, SettingsError
from crmbridge.evidence import score as score_room
from crmbridge.evidence.rule import Rule, Stance, Weight, Windows, evidence
from crmbridge.evidence.rules import BUILT_IN
from crmbridge.evidence.score import score
from crmbridge.evidence.settings import RuleSettings, rules_in_force
from crmbridge.snapshot.frames import frames_from_tables
from crmbridge.snapshot.keep import Keeper


def _busy(world, *, is_won=False, twice=False):
    """Every rule says something; `twice` gives each person a second record of everything that may be doubled."""
    world.opportunity(1, "a", "b", created=100, closed=200, is_won=is_won).opportunity(2, "a", created=0, closed=90)
    world.opportunity(3, "a", created=110, closed=205, is_won=is_won).domain("a", "acme.com")
    world.contact("c1", 1, "a", title="CEO", created=101).contact("c2", 2, domain="acme.com").contact("c3", 3, "z")
    world.contact("c4", 4, "z").lookup("x4", 1, 4, "c4")
    world.activity("v1", 1, 2, opportunity=1, day=120).activity("v2", 1, day=130).activity("v3", 3, opportunity=3, day=150)
    world.response("m1", 1, 140).response("m2", 2, 60).role("r1", 2, 1, "c1").lookup("x1", 1, 3, "c3")
    world.conversion("l1", 1, 2, 100).relation("n1", "a", 3, "c3")
    if twice:
        world.contact("d1", 1, "a", title="CEO", created=101).contact("d2", 2, domain="acme.com").contact("d3", 3, "z")
        world.activity("v1", 1, opportunity=1, day=120, as_kind="organizer").response("m9", 1, 140).role("r9", 2, 1, "d1")
        world.relation("n9", "a", 3, "d3")
    return world


def test_every_built_in_rule_speaks_in_the_busy_world(world):
    said = {rule for by_rule in _busy(world).judged().said().values() for rule in by_rule}
    assert said == {rule.name for rule in BUILT_IN}


def test_the_printed_parts_add_up_to_the_score(world):
    judged = _busy(world).judged(prior_bits=-4.37)
    assert len(judged.pairs) > 4
    for pair, row in judged.pairs.items():
        parts = judged.said()[pair]
        printed = [round(bits, 2) for bits in parts.values()]
        assert list(parts.values()) == printed
        assert row["bits"] == round(-4.37 + sum(printed), 6)
        assert row["confidence"] == pytest.approx(1 / (1 + 2 ** -row["bits"]))
        plain = [round(bits, 2) for rule, bits in parts.items() if rule != "campaign_response"]
        assert row["bits_without_campaign"] == round(-4.37 + sum(plain), 6)
        assert row["confidence_without_campaign"] == pytest.approx(1 / (1 + 2 ** -row["bits_without_campaign"]))


def test_an_even_chance_is_where_bits_and_prior_cancel(world):
    world.opportunity(1).lookup("x1", 1, 1, "c1")
    assert world.judged(prior_bits=-5.5).pairs[1, 1]["confidence"] == 0.5


@pytest.mark.parametrize(("mails", "bits"), [(1, 3.4), (2, 3.4 + 0.85 * 0.6), (40, 3.4 + 0.85 * 2.0)])
def test_forty_mails_are_not_certainty(world, mails, bits):
    world.opportunity(1)
    for number in range(mails):
        world.activity(f"v{number}", 1, opportunity=1, kind="email", as_kind="to")
    judged = world.judged()
    assert judged.bits("opportunity_activity") == pytest.approx(bits, abs=0.00501)
    assert judged.items("opportunity_activity") == mails


def test_the_strongest_item_is_the_one_that_is_shown(world):
    world.opportunity(1).activity("v9", 1, opportunity=1, kind="email", as_kind="cc").activity("v1", 1, opportunity=1)
    row = world.judged().reasons[1, 1]["opportunity_activity"]
    assert (row["source_id"], row["items"]) == ("v1", 2)


def test_items_that_are_too_faint_to_hear_are_not_counted_as_repeats(world):
    world.opportunity(1).activity("v1", 1, opportunity=1)
    for number in range(40):
        world.activity(f"old{number}", 1, opportunity=1, day=-300)
    judged = world.judged()
    assert (judged.items("opportunity_activity"), judged.bits("opportunity_activity")) == (1, 4.0)


def test_won_and_lost_are_treated_alike(world, connection):
    won, lost = (type(world)(connection) for _ in range(2))
    assert _busy(won, is_won=True).judged().said() == _busy(lost, is_won=False).judged().said()


@pytest.mark.slow
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_changes_nothing(world, connection, seed):
    straight, shuffled = _busy(type(world)(connection)), _busy(type(world)(connection))
    for rows in shuffled.rows.values():
        random.Random(seed).shuffle(rows)
    first = straight.judged()
    second = shuffled.judged()
    assert first.reasons == second.reasons
    assert first.pairs == second.pairs


def test_a_persons_further_records_change_no_bits(world, connection):
    once = _busy(type(world)(connection)).judged()
    twice = _busy(type(world)(connection), twice=True).judged()
    assert once.said() == twice.said()
    assert once.pairs == twice.pairs


def test_nothing_in_nothing_out(world):
    assert world.judged().pairs == {}
    world.opportunity(1, "a").contact("c1", 1, "a", title="CEO")
    judged = world.judged()
    assert (judged.pairs, dict(judged.reasons)) == ({}, {})


# No circles


def test_a_campaign_alone_never_carries_a_pair_whatever_supports_it(world):
    world.opportunity(1, "a", "b", closed=50).domain("b", "acme.com").relation("n1", "b", 1, "c1")
    world.contact("c1", 1, "a", title="CEO").contact("c2", 1, domain="acme.com", title="Head of IT")
    for number in range(64):
        world.response(f"m{number}", 1, campaign=f"k{number}")
    row = world.judged().pairs[1, 1]
    # It can never be added, so nothing else is weighed for it.
    assert set(world.judged().reasons[1, 1]) == {"campaign_response"}
    assert row["confidence"] < 0.5
    assert not row["has_other_proposal"]


def test_a_rule_that_was_silenced_or_speaks_against_is_no_other_proposal(world):
    world.opportunity(1, "a", closed=50).contact("c1", 1, "a").response("m1", 1).activity("v1", 1)
    assert world.judged().pairs[1, 1]["has_other_proposal"]
    for bits in (0.0, -1.0):
        rules = [
            replace(rule, weight=rule.weight.model_copy(update={"bits": bits})) if rule.name == "account_activity" else rule
            for rule in BUILT_IN
        ]
        assert not world.judged(rules=rules).pairs[1, 1]["has_other_proposal"]


# Windows


def test_windows_can_be_widened(world):
    world.opportunity(1, "a", closed=50).contact("c1", 1, "a").activity("v1", 1, day=75)
    assert world.judged().pairs == {}
    assert (1, 1) in world.judged(windows=Windows(after_close_days=30)).pairs


# Own rules


def _find_all(sight):
    """Every person with every opportunity: what a rule that supports must not achieve."""
    people = sight.frames.contacts.select("person_key", "contact_id").with_columns(one=nw.lit(1))
    pairs = sight.opportunities.select("opportunity_key").with_columns(one=nw.lit(1)).join(people, on="one")
    return evidence(pairs.with_columns(occurred_s=nw.lit(None, dtype=nw.Int64)), source="contact", source_id="contact_id")


def _rule(find=_find_all, *, name="mine", stance=Stance.PROPOSES, bits=3.0, is_campaign=False):
    return Rule(
        name=name,
        stance=stance,
        weight=Weight(bits=bits, undated=1.0),
        reason="is mine",
        find=find,
        is_campaign=is_campaign,
    )


def test_a_rule_of_a_script_proposes(world):
    world.opportunity(1).contact("c1", 1)
    judged = world.judged(rules=[*BUILT_IN, _rule()])
    assert judged.said() == {(1, 1): {"mine": 3.0}}
    assert judged.pairs[1, 1]["has_other_proposal"]


def test_a_rule_of_a_script_that_supports_brings_nobody_in_however_it_is_written(world):
    world.opportunity(1).opportunity(2).contact("c1", 1).contact("c2", 2).lookup("x", 1, 1, "c1")
    judged = world.judged(rules=[*BUILT_IN, _rule(stance=Stance.SUPPORTS)])
    assert set(judged.pairs) == {(1, 1)}
    assert judged.bits("mine") == 3.0


def test_strength_beyond_one_is_one_and_none_is_silence(world):
    world.opportunity(1).contact("c1", 1)
    for strength, bits in ((7.0, 3.0), (-1.0, None), (None, None)):
        find = lambda sight, s=strength: _find_all(sight).with_columns(strength=nw.lit(s, dtype=nw.Float64))  # noqa: E731
        assert world.judged(rules=[_rule(find)]).bits("mine") == bits


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.drop("strength"), "no column 'strength'"),
        (lambda frame: frame.with_columns(source_id=nw.lit(1)), "'source_id' as Int32"),
        (lambda frame: frame.with_columns(occurred_s=nw.lit("2024")), "'occurred_s' as String"),
        (lambda frame: frame.select("no_such_column"), "failed: "),
        (lambda frame: frame.to_native(), "failed: AttributeError"),
    ],
)
def test_a_rule_that_gives_something_else_is_named(world, change, says):
    world.opportunity(1).contact("c1", 1)
    with pytest.raises(PluginError, match=f"rule 'mine' .*{says}"):
        world.judged(rules=[_rule(lambda sight: change(_find_all(sight)))])


def test_a_proposing_rule_that_asks_for_pairs_is_told_so(world):
    with pytest.raises(PluginError, match="rule 'mine' failed: TypeError"):
        world.judged(rules=[_rule(lambda sight: sight.proposed)])


def test_two_rules_of_one_name_are_refused(world):
    with pytest.raises(PluginError, match="two rules are called 'mine'"):
        world.judged(rules=[_rule(), _rule()])


def test_a_weight_for_no_rule_is_refused(world):
    with pytest.raises(DataError, match="'lead_converson', which is no rule"):
        world.judged(weights={"lead_converson": Weight(bits=1)})


def test_without_a_rule_that_proposes_there_is_nothing_to_do(world):
    with pytest.raises(SettingsError, match="no rule that proposes"):
        world.judged(rules=[_rule(stance=Stance.SUPPORTS)])


# Settings


def test_settings_silence_and_reweigh(world):
    rules = rules_in_force(RuleSettings(disabled=("contact_lookup",)), {"lead_conversion": 2.5}, extra=[_rule()])
    world.opportunity(1).contact("c1", 1).lookup("x", 1, 1, "c1").conversion("l", 1, 1)
    assert world.judged(rules=rules).said() == {(1, 1): {"lead_conversion": 2.5, "mine": 3.0}}


def test_weights_may_stay_for_rules_that_are_disabled():
    rules = rules_in_force(RuleSettings(disabled=("contact_lookup",)), {"contact_lookup": 2.5})
    assert "contact_lookup" not in [rule.name for rule in rules]


@pytest.mark.parametrize(
    ("disabled", "bits", "says"),
    [
        (("contact_lokup",), {}, r"\[rules\] disabled names 'contact_lokup', which is no rule; rules: account_activity"),
        ((), {"nobody": 1.0}, r"\[weights\] names 'nobody'"),
        ((), {"contact_lookup": 21.0}, r"\[weights\] contact_lookup = 21.0; allowed: -20 to 20"),
        ((), {"contact_lookup": math.nan}, r"\[weights\] contact_lookup = nan"),
    ],
)
def test_settings_that_name_or_weigh_wrongly_are_refused(disabled, bits, says):
    with pytest.raises(SettingsError, match=says):
        rules_in_force(RuleSettings(disabled=disabled), bits)


PLUGIN = _rule(name="from_a_package")
NOT_A_RULE = "something else"


@pytest.fixture
def installed(monkeypatch):
    """Make entry points of rules appear, as if a package had been installed."""

    def install(*points):
        made = [metadata.EntryPoint(name, value, "crmbridge.rules") for name, value in points]
        monkeypatch.setattr(metadata, "entry_points", lambda *, group: made if group == "crmbridge.rules" else [])

    return install


def test_a_rule_of_a_package_takes_part_once_it_is_named(world, installed):
    installed(("from_a_package", f"{__name__}:PLUGIN"), ("broken", "no_such_module:RULE"))
    assert "from_a_package" not in [rule.name for rule in rules_in_force(RuleSettings(), {})]
    rules = rules_in_force(RuleSettings(plugins=("from_a_package",)), {"from_a_package": 1.25})
    world.opportunity(1).contact("c1", 1)
    assert world.judged(rules=rules).said() == {(1, 1): {"from_a_package": 1.25}}


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([], "rule 'mine' is not installed; installed rules: none"),
        ([("mine", "no_such_module:RULE")], "cannot be imported from 'no_such_module:RULE': ModuleNotFoundError"),
        ([("mine", f"{__name__}:PLUGIN"), ("mine", f"{__name__}:PLUGIN")], "announced by several packages"),
        ([("mine", f"{__name__}:NOT_A_RULE")], "is a str, not a crmbridge Rule"),
    ],
)
def test_a_rule_of_a_package_that_cannot_be_had_is_named(installed, points, says):
    installed(*points)
    with pytest.raises(PluginError, match=says):
        rules_in_force(RuleSettings(plugins=("mine",)), {})


# Size


def _sized(connection, **queries):
    tables = {name: connection.sql(query).to_arrow_table() for name, query in queries.items()}
    return frames_from_tables(tables, connection=connection)


def _timed(frames, connection, *, as_of_day):
    began = time.monotonic()
    scored = score(frames, as_of_s=as_of_day * 86_400, keep=Keeper(connection))
    count = scored.pairs.select(nw.len().alias("n")).collect("pyarrow").item(0, "n")
    return int(count), time.monotonic() - began


@pytest.mark.large
def test_an_account_of_100_000_contacts_and_300_opportunities():
    with duckdb.connect(config={"memory_limit": "3GB", "threads": 2}) as connection:
        frames = _sized(
            connection,
            opportunities="""SELECT i AS opportunity_key, 'o' || i AS opportunity_id, 'a' AS account_id, true AS is_closed,
                false AS is_won, i * 10 * 86400 AS created_s, (i * 10 + 90) * 86400 AS close_s FROM range(300) t(i)""",
            opportunity_accounts="SELECT i AS opportunity_key, 'a' AS account_id FROM range(300) t(i)",
            contacts="""SELECT 'c' || i AS contact_id, i AS person_key, 'a' AS account_id, 'CEO' AS title,
                'a.com' AS email_domain,
                (i % 3000) * 86400 AS created_s, false AS has_left, false AS is_employee FROM range(100000) t(i)""",
            account_domains="SELECT 'a' AS account_id, 'a.com' AS email_domain",
            relations="""SELECT 'n' || i AS relation_id, 'a' AS account_id, i AS person_key, 'c' || i AS contact_id,
                true AS is_active FROM range(100000) t(i)""",
            participants="""SELECT 'v' || i AS activity_id, 'email' AS kind, 'to' AS participant_kind, i AS person_key,
                CASE WHEN i % 4 = 0 THEN i % 300 END AS opportunity_key, NULL::VARCHAR AS account_id,
                (i % 3000) * 86400 AS occurred_s FROM range(100000) t(i)""",
            responses="""SELECT 'm' || i AS member_id, 'k' || i % 50 AS campaign_id, i AS person_key, true AS has_responded,
                (i * 7 % 3000) * 86400 AS responded_s, false AS is_inferred FROM range(0, 100000, 5) t(i)""",
        )
        pairs, seconds = _timed(frames, connection, as_of_day=4_000)
    assert 100_000 < pairs < 5_000_000
    assert seconds < 60


@pytest.mark.large
def test_a_catch_all_account_of_20_000_opportunities_and_people():
    with duckdb.connect(config={"memory_limit": "3GB", "threads": 2}) as connection:
        keys = "FROM range(20000) t(i)"
        frames = _sized(
            connection,
            opportunities=f"""SELECT i AS opportunity_key, 'o' || i AS opportunity_id, 'a' AS account_id, false AS is_closed,
                false AS is_won, 0 AS created_s {keys}""",
            opportunity_accounts=f"SELECT i AS opportunity_key, 'a' AS account_id {keys}",
            contacts=f"""SELECT 'c' || i AS contact_id, i AS person_key, CASE WHEN i % 2 = 0 THEN 'a' END AS account_id,
                'a.com' AS email_domain, 0 AS created_s, false AS has_left, false AS is_employee {keys}""",
            account_domains="SELECT 'a' AS account_id, 'a.com' AS email_domain",
            relations=f"""SELECT 'n' || i AS relation_id, 'a' AS account_id, i AS person_key, 'c' || i AS contact_id,
                true AS is_active {keys}""",
            lookups=f"""SELECT 'x' || i AS lookup_id, i AS opportunity_key, i AS person_key, 'c' || i AS contact_id,
                'Buyer' AS field {keys}""",
            participants=f"""SELECT 'v' || i AS activity_id, 'call' AS kind, 'to' AS participant_kind, i AS person_key,
                NULL::BIGINT AS opportunity_key, NULL::VARCHAR AS account_id, 86400 AS occurred_s {keys}""",
        )
        pairs, seconds = _timed(frames, connection, as_of_day=100)
    assert pairs == 20_000
    assert seconds < 60


def test_what_happens_at_a_catch_all_account_speaks_for_none_of_its_opportunities(world, monkeypatch):
    world.opportunity(1, "a").opportunity(2, "a").opportunity(3, "b").contact("c1", 1, "a").contact("c2", 2, "b")
    world.activity("v1", 1, 2)
    monkeypatch.setattr(score_room, "CATCH_ALL_OPPORTUNITIES", 1)
    assert set(world.judged().pairs) == {(3, 2)}
