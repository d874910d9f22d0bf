"""A pull of HubSpot by its changes ends like a full one: by default whatever changes, with `links_stay` as long as links do."""

from contextlib import closing
from datetime import UTC, datetime

import pytest
from portals import open_adapter

from crmbridge.demo.world import make_world
from crmbridge.model import Entity
from crmbridge.snapshot import pull
from crmbridge.snapshot.earlier import WhyFull
from crmbridge.testing.sandbox import HubSpotSandbox, HubSpotSwitches

WORLD = make_world(opportunities=40, as_of=datetime.now(UTC)).records
RECORDS = {Entity.ACCOUNT, Entity.CONTACT, Entity.OPPORTUNITY, Entity.LEAD, Entity.ACTIVITY}
BY_CHANGES = RECORDS | {Entity.ACCOUNT_CONTACT_RELATION, Entity.OPPORTUNITY_ACCOUNT, Entity.ACTIVITY_PARTICIPANT}
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def portal():
    with HubSpotSandbox(WORLD) as made:
        made.store.add("contacts", "1234567", {"lastname": "Lonely"}, LONG_AGO, LONG_AGO)
        yield made


def pulled(portal, path, options, *, previous=None):
    with closing(open_adapter(portal, **options)) as adapter:
        return pull(adapter, path, as_of=datetime.now(UTC), previous=previous)


def live(portal, kind):
    return [one for one in portal.store.records[kind] if portal.store.live(kind, one)]


def people_at_work(portal):
    """What changes records, and links by way of them."""
    deals, contacts, meetings = (live(portal, kind) for kind in ("deals", "contacts", "meetings"))
    portal.change("deals", deals[0], amount="777")
    portal.change("contacts", contacts[0], jobtitle="Buyer")
    portal.change("meetings", meetings[0], hs_meeting_start_time="2026-01-02T03:04:05.000Z")
    portal.link(deals[1], contacts[1], ["Evaluator"])
    portal.unlink(*next(iter(portal.roles())))
    portal.link(portal.insert("deals", dealname="New", dealstage="x", pipeline="default"), contacts[2])
    portal.delete("contacts", "1234567")
    portal.delete("meetings", meetings[1])
    portal.store.links["meetings", "contacts"].pop(meetings[2], None)
    portal.change("meetings", meetings[2], hs_meeting_start_time="2026-01-02T03:04:05.000Z")
    (guid, _), *_ = portal.store.responses
    portal.store.responses[guid, "influencedContacts"].append((datetime.now(UTC).date().isoformat(), contacts[3]))


def links_alone(portal):
    """What leaves the linked records as they were; links go with an archived record, and move with a merged one."""
    deals, contacts, emails, companies = (live(portal, kind) for kind in ("deals", "contacts", "emails", "companies"))
    portal.store.link(("emails", "deals"), emails[0], deals[3])
    portal.store.link(("emails", "contacts"), emails[1], contacts[4])
    portal.store.link(("deals", "companies"), deals[4], companies[0])
    portal.store.link(("contacts", "companies"), contacts[5], companies[1])
    by_deal = portal.store.links["deals", "companies"]
    by_deal.pop(next(deal for deal in by_deal if deal in deals[5:]))
    portal.delete("deals", deals[2])
    portal.delete("meetings", live(portal, "meetings")[1])
    portal.merge_deals(deals[6], deals[7])
    portal.merge_contacts(live(portal, "contacts")[6], live(portal, "contacts")[7])


@pytest.mark.slow
@pytest.mark.parametrize("stays", [False, True], ids=["links change", "links stay"])
def test_a_pull_by_changes_ends_like_a_full_one(portal, tmp_path, stays):
    options = {"links_stay": stays}
    path = tmp_path / "snapshot.duckdb"
    first = pulled(portal, path, options)
    people_at_work(portal)
    if not stays:
        links_alone(portal)
    later = pulled(portal, path, options, previous=path)
    whole = pulled(portal, tmp_path / "whole.duckdb", options)
    assert {entity for entity, read in later.reads.items() if read.why_full is None} == BY_CHANGES
    assert later.fingerprint != first.fingerprint
    assert later.rows == whole.rows
    assert later.fingerprint == whole.fingerprint


def test_of_what_did_not_change_only_what_is_linked_otherwise_is_read(portal, tmp_path):
    path = tmp_path / "snapshot.duckdb"
    for one in (one for records in portal.store.records.values() for one in records.values()):
        one.updated = LONG_AGO
    pulled(portal, path, {})
    emails, contacts = live(portal, "emails"), live(portal, "contacts")
    portal.store.link(("emails", "contacts"), emails[1], contacts[4])
    portal.store.links["emails", "contacts"].pop(emails[2])
    later = pulled(portal, path, {}, previous=path)
    assert {entity: later.reads[entity].changed for entity in RECORDS if later.reads[entity].changed} == {Entity.ACTIVITY: 2}


def test_another_portals_snapshot_is_not_built_on(portal, tmp_path):
    path = tmp_path / "snapshot.duckdb"
    pulled(portal, path, {})
    with HubSpotSandbox(WORLD, HubSpotSwitches(portal_id=2)) as other:
        later = pulled(other, path, {}, previous=path)
    assert {read.why_full for read in later.reads.values()} == {WhyFull.OTHER_SOURCE}
