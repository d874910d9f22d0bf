"""The invented world: reproducible, valid, messy in known proportions, and silent about the truth."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from crmbridge.demo import DemoWorld, make_world
from crmbridge.errors import DataError, SettingsError
from crmbridge.model import RECORDS, Entity

AS_OF = datetime(2026, 6, 1, 12, tzinfo=UTC)
_PRINT = """
import hashlib
from datetime import UTC, datetime
from crmbridge.demo import make_world
world = make_world(seed=3, opportunities=60, as_of=datetime(2026, 6, 1, 12, tzinfo=UTC))
rows = [record.model_dump() for records in world.records.values() for record in records]
print(hashlib.sha256(repr((rows, sorted(world.truth), sorted(world.hidden), world.person_of)).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def world() -> DemoWorld:
    return make_world(seed=11, opportunities=1200, as_of=AS_OF)


def share(flags) -> float:
    flags = list(flags)
    return sum(map(bool, flags)) / len(flags)


def living(world, entity):
    return [record for record in world.records[entity] if not record.is_deleted]


def living_roles(world):
    deals, people = {deal.id for deal in living(world, Entity.OPPORTUNITY)}, world.person_of
    return {
        (role.opportunity_id, people[role.contact_id])
        for role in living(world, Entity.CONTACT_ROLE)
        if role.opportunity_id in deals and role.contact_id in people
    }


def by_person(world, pairs):
    return {(deal_id, world.person_of[contact_id]) for deal_id, contact_id in pairs}


def test_the_same_seed_gives_the_same_world_whatever_the_hash_seed():
    digests = {
        subprocess.run(
            [sys.executable, "-c", _PRINT],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


def test_another_seed_gives_another_world():
    assert make_world(seed=1, opportunities=20, as_of=AS_OF).truth != make_world(seed=2, opportunities=20, as_of=AS_OF).truth


@pytest.mark.parametrize("opportunities", [0, 1, 50])
def test_it_scales_down(opportunities):
    world = make_world(opportunities=opportunities, as_of=AS_OF)
    assert len(world.records[Entity.OPPORTUNITY]) == opportunities
    assert set(world.records) == set(RECORDS)
    assert bool(world.truth) == bool(opportunities)


@pytest.mark.large
def test_five_thousand_opportunities_take_seconds():
    started = time.process_time()
    world = make_world(as_of=AS_OF)
    assert len(world.records[Entity.OPPORTUNITY]) == 5000
    assert time.process_time() - started < 30


def test_a_naive_moment_and_a_negative_size_are_refused():
    with pytest.raises(DataError, match="no time zone"):
        make_world(as_of=datetime(2026, 6, 1))  # noqa: DTZ001
    with pytest.raises(SettingsError, match="-1"):
        make_world(opportunities=-1, as_of=AS_OF)


def test_every_record_is_valid_and_every_entity_is_there(world):
    for entity, records in world.records.items():
        assert records
        assert len({record.id for record in records}) == len(records)
        for record in records:
            assert RECORDS[entity].model_validate(record.model_dump()) == record


def test_addresses_lie_under_reserved_domains(world):
    for record in world.records[Entity.CONTACT] + world.records[Entity.LEAD] + world.records[Entity.USER]:
        assert not record.email or record.email.strip().lower().endswith((".example", ".test"))


def test_truth_names_living_records_once_per_person(world):
    deals = {deal.id for deal in living(world, Entity.OPPORTUNITY)}
    contacts = {contact.id for contact in living(world, Entity.CONTACT)}
    assert {deal_id for deal_id, _ in world.truth} <= deals
    assert {contact_id for _, contact_id in world.truth} <= contacts
    assert len(by_person(world, world.truth)) == len(world.truth)
    assert set(world.person_of) == {contact.id for contact in world.records[Entity.CONTACT]}


def test_hidden_is_the_truth_without_living_roles(world):
    assert world.hidden <= world.truth
    assert by_person(world, world.hidden) == by_person(world, world.truth) - living_roles(world)


def test_most_roles_are_missing_and_few_are_wrong(world):
    deals = {deal.id for deal in living(world, Entity.OPPORTUNITY)}
    roles = living_roles(world)
    assert 0.68 < len(world.hidden) / len(world.truth) < 0.84
    assert 0.38 < 1 - len({deal_id for deal_id, _ in roles}) / len(deals) < 0.60
    assert 0.01 < len(roles - by_person(world, world.truth)) / len(roles) < 0.09


def test_groups_have_one_to_nine_people_and_grow_with_the_amount(world):
    sizes = Counter(deal_id for deal_id, _ in world.truth)
    assert set(sizes.values()) <= set(range(1, 10))
    priced = [deal for deal in living(world, Entity.OPPORTUNITY) if deal.amount and deal.currency == "EUR" and sizes[deal.id]]
    priced.sort(key=lambda deal: deal.amount)
    quarter = len(priced) // 4
    assert sum(sizes[deal.id] for deal in priced[-quarter:]) > 1.5 * sum(sizes[deal.id] for deal in priced[:quarter])


def test_deals_are_won_lost_and_open_in_believable_shares(world):
    deals = living(world, Entity.OPPORTUNITY)
    assert 0.15 < share(deal.is_won for deal in deals) < 0.30
    assert 0.32 < share(deal.is_closed and not deal.is_won for deal in deals) < 0.50
    assert {deal.currency for deal in deals} >= {"EUR", "USD", "GBP", "JPY"}
    assert {deal.type for deal in deals} >= {"New Business", "Renewal", "Upsell"}


def test_parallel_deals_of_an_account_have_different_groups(world):
    groups: dict[str, set[str]] = {}
    for deal_id, person in by_person(world, world.truth):
        groups.setdefault(deal_id, set()).add(person)
    staff = Counter(contact.account_id for contact in living(world, Entity.CONTACT) if contact.account_id)
    by_account: dict[str, list] = {}
    for deal in living(world, Entity.OPPORTUNITY):
        if staff[deal.account_id] >= 5 and not deal.is_closed and deal.id in groups:
            by_account.setdefault(deal.account_id, []).append(groups[deal.id])
    parallel = [deals for deals in by_account.values() if len(deals) > 1]
    assert len(parallel) > 20
    assert share(set.intersection(*deals) != set.union(*deals) for deals in parallel) > 0.8


def test_people_stand_in_the_crm_twice(world):
    contacts = living(world, Entity.CONTACT)
    ids = Counter(world.person_of[contact.id] for contact in contacts)
    assert 0.02 < share(count > 1 for count in ids.values()) < 0.10
    addresses = {contact.email.strip().lower() for contact in contacts if contact.email}
    assert any(contact.email != contact.email.lower() for contact in contacts if contact.email)
    assert (
        sum(bool(lead.email) and lead.email.lower() in addresses and not lead.is_converted for lead in living(world, Entity.LEAD))
        > 50
    )
    merged = [contact for contact in world.records[Entity.CONTACT] if contact.merged_into_id]
    assert merged
    assert all(world.person_of[contact.id] == world.person_of[contact.merged_into_id] for contact in merged)


def test_mailboxes_are_shared_by_different_people(world):
    users = {}
    for contact in living(world, Entity.CONTACT):
        if contact.email:
            users.setdefault(contact.email.strip().lower(), set()).add(world.person_of[contact.id])
    shared = [address for address, people in users.items() if len(people) > 1]
    assert any(address.startswith("info@") for address in shared)
    assert any(not address.startswith(("info@", "kontakt@", "contact", "sales@", "office@", "zentrale@")) for address in shared)


def test_dates_are_wrong_late_and_missing(world):
    activities = living(world, Entity.ACTIVITY)
    assert 0.01 < share(activity.occurred_at is None for activity in activities) < 0.05
    assert 0 < share(activity.occurred_at and activity.occurred_at > AS_OF for activity in activities) < 0.02
    late = timedelta(days=14)
    assert share(a.occurred_at and a.created_at - a.occurred_at > late for a in activities) > 0.02
    assert max(activity.created_at for activity in activities) <= AS_OF
    dated = [deal for deal in living(world, Entity.OPPORTUNITY) if deal.close_date]
    assert 0.005 < share(deal.close_date < deal.created_at.date() for deal in dated) < 0.04
    responded = [member for member in living(world, Entity.CAMPAIGN_MEMBER) if member.has_responded]
    assert 0.08 < share(member.responded_at is None for member in responded) < 0.3
    assert any(member.responded_at is None and member.created_at is None for member in responded)


def test_links_are_broken_repeated_and_deleted(world):
    roles = world.records[Entity.CONTACT_ROLE]
    contacts, deals = set(world.person_of), {deal.id for deal in world.records[Entity.OPPORTUNITY]}
    assert any(role.contact_id not in contacts for role in roles)
    assert any(role.opportunity_id not in deals for role in roles)
    assert any(role.is_deleted for role in roles)
    assert max(Counter((role.opportunity_id, role.contact_id) for role in roles).values()) > 1
    assert max(Counter(role.opportunity_id for role in living(world, Entity.CONTACT_ROLE) if role.is_primary).values()) > 1
    assert any(account.merged_into_id for account in world.records[Entity.ACCOUNT])


def test_strangers_to_the_deal_leave_traces_too(world):
    people, truth = world.person_of, by_person(world, world.truth)
    deal_of = {a.id: a.opportunity_id for a in living(world, Entity.ACTIVITY) if a.opportunity_id}
    seen = {
        (deal_of[p.activity_id], people[p.contact_id])
        for p in living(world, Entity.ACTIVITY_PARTICIPANT)
        if p.activity_id in deal_of and p.contact_id in people
    }
    assert 0.2 < len(seen - truth) / len(seen) < 0.6
    kinds = {account.id: account.type for account in world.records[Entity.ACCOUNT]}
    types = {kinds.get(c.account_id) for c in world.records[Entity.CONTACT] if any(c.id == who for _, who in seen)}
    assert {"Partner", "Competitor"} <= types
    staff = {user.email.lower() for user in world.records[Entity.USER]}
    assert any(contact.email and contact.email.lower() in staff for contact in world.records[Entity.CONTACT])


def test_taking_the_whole_account_does_badly(world):
    staff: dict[str | None, set[str]] = {}
    for contact in living(world, Entity.CONTACT):
        staff.setdefault(contact.account_id, set()).add(world.person_of[contact.id])
    everybody = {(d.id, who) for d in living(world, Entity.OPPORTUNITY) if d.account_id for who in staff.get(d.account_id, ())}
    assert len(everybody & by_person(world, world.truth)) / len(everybody) < 0.25


def test_campaigns_have_levels_and_gaps_in_their_costs(world):
    campaigns = world.records[Entity.CAMPAIGN]
    ids = {campaign.id for campaign in campaigns}
    assert any(campaign.parent_id in ids for campaign in campaigns)
    assert {None, 0} <= {campaign.actual_cost for campaign in campaigns}
    members = world.records[Entity.CAMPAIGN_MEMBER]
    assert 0.15 < share(member.has_responded for member in members) < 0.6
    leads = living(world, Entity.LEAD)
    assert any(lead.converted_opportunity_id for lead in leads)
    assert any(lead.is_converted and not lead.converted_opportunity_id for lead in leads)


def test_neither_order_nor_ids_tell_members_from_others(world):
    contacts = world.records[Entity.CONTACT]
    members = {contact_id for _, contact_id in world.truth}
    is_member = [contact.id in members for contact in contacts]
    by_id = [contact.id in members for contact in sorted(contacts, key=lambda contact: contact.id)]
    for flags in (is_member, by_id):
        assert abs(rank_correlation(flags)) < 4 / len(flags) ** 0.5  # four standard errors of pure chance


def rank_correlation(flags: list[bool]) -> float:
    """Point-biserial correlation of a flag with its place in the list."""
    n, hits = len(flags), sum(flags)
    mean = (n - 1) / 2
    inside = sum(place for place, flag in enumerate(flags) if flag) / hits
    spread = ((n * n - 1) / 12) ** 0.5
    return (inside - mean) / spread * (hits / (n - hits)) ** 0.5
