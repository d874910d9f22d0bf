"""A pull of HubSpot by its changes ends like a full one: by default whatever changes, with `links_stay` as long as links do."""

from contextlib import closing
from datetime import UTC, datetime

import pytest
from portals import open_adapter

from crmbridge.demo.world import make_world
from crmbridge.model import Entity
from crmbridge.snapshot import pull
from crmbridge.testing.sandbox import HubSpotSandbox

WORLD = make_world(opportunities=40, as_of=datetime.now(UTC)).records
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
    (guid, _), *_ = portal.store.responses
    portal.store.responses[guid, "influencedContacts"].append((datetime.now(UTC).date().isoformat(), contacts[3]))


def links_alone(portal):
    """What leaves every record as it was; links go with an archived record as well."""
    deals, contacts, emails, companies = (live(portal, kind) for kind in ("deals", "contacts", "emails", "companies"))
    portal.store.link(("emails", "deals"), emails[0], deals[3])
    portal.store.link(("emails", "contacts"), emails[1], contacts[4])
    portal.store.link(("deals", "companies"), deals[4], companies[0])
    portal.store.link(("contacts", "companies"), contacts[5], companies[1])
    by_deal = portal.store.links["deals", "companies"]
    by_deal.pop(next(deal for deal in by_deal if deal in deals[5:]))
    portal.delete("deals", deals[2])
    portal.delete("meetings", live(portal, "meetings")[1])


@pytest.mark.parametrize(
    ("stays", "remembers"),
    [
        pytest.param(False, False, id="links change"),
        pytest.param(False, True, id="links change, remembering", marks=pytest.mark.slow),
        pytest.param(True, False, id="links stay", marks=pytest.mark.slow),
        pytest.param(True, True, id="links stay, remembering"),
    ],
)
def test_a_pull_by_changes_ends_like_a_full_one(portal, tmp_path, stays, remembers):
    options = {"links_stay": stays, "remember_in": tmp_path / "memory" if remembers else None}
    path = tmp_path / "snapshot.duckdb"
    first = pulled(portal, path, options)
    people_at_work(portal)
    if not stays:
        links_alone(portal)
    later = pulled(portal, path, options, previous=path)
    by_changes = {entity for entity, read in later.reads.items() if read.why_full is None}
    assert (Entity.ACTIVITY in by_changes, Entity.OPPORTUNITY in by_changes) == (stays, stays and remembers)
    assert later.fingerprint != first.fingerprint
    whole = pulled(portal, tmp_path / "whole.duckdb", {})
    assert later.rows == whole.rows
    assert later.fingerprint == whole.fingerprint
