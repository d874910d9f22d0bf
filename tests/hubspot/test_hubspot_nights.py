"""Whatever happens in a portal between two nights, the pull by changes ends like a full one: case by case, in a small world."""

import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from portals import open_adapter

from crmbridge.model import (
    Account,
    AccountContactRelation,
    Activity,
    ActivityParticipant,
    Campaign,
    CampaignMember,
    Contact,
    Entity,
    Lead,
    Opportunity,
)
from crmbridge.snapshot import Snapshot, WhyFull, pull
from crmbridge.testing.sandbox import HubSpotSandbox, HubSpotSwitches
from crmbridge.testing.sandbox.hubspot.store import HUBSPOT

NOW = datetime.now(UTC).replace(microsecond=0)
OLD = NOW - timedelta(days=400)
STAMPS = {"created_at": OLD, "modified_at": OLD}
ACTIVITIES = [("meeting", "40"), ("meeting", "41"), ("email", "42"), ("email", "43")]
WORLD = {
    Entity.ACCOUNT: [Account(id=str(n), name=f"Acme {n}", **STAMPS) for n in (10, 11, 12)],
    Entity.ACCOUNT_CONTACT_RELATION: [AccountContactRelation(id=f"r{n}", account_id="10", contact_id=str(n)) for n in (20, 21)],
    Entity.CONTACT: [
        Contact(id=str(n), last_name=f"Lark {n}", account_id="11" if n < 23 else None, **STAMPS) for n in range(20, 30)
    ],
    Entity.OPPORTUNITY: [
        Opportunity(id=str(n), account_id="10", is_closed=False, is_won=False, stage="Open", close_date=NOW.date(), **STAMPS)
        for n in range(30, 34)
    ],
    Entity.LEAD: [Lead(id="50", last_name="Lark", is_converted=True, converted_contact_id="29", **STAMPS)],
    Entity.ACTIVITY: [
        Activity(id=number, kind=kind, opportunity_id="30", occurred_at=OLD, **STAMPS) for kind, number in ACTIVITIES
    ],
    Entity.ACTIVITY_PARTICIPANT: [
        ActivityParticipant(id=f"p{number}", activity_id=number, contact_id="20", kind="attendee" if kind == "meeting" else "to")
        for kind, number in ACTIVITIES
    ],
    Entity.CAMPAIGN: [Campaign(id="fair", name="Fair", start_date=OLD.date(), **STAMPS)],
    Entity.CAMPAIGN_MEMBER: [
        CampaignMember(
            id=f"m{n}", campaign_id="fair", contact_id=str(20 + n), has_responded=True, responded_at=NOW - timedelta(days=days)
        )
        for n, days in enumerate((300, 120, 40))
    ],
}


def nothing(portal):
    pass


def hide(*kinds):
    return lambda portal: object.__setattr__(portal.switches, "hidden", frozenset(kinds))


def set_switch(name, value):
    return lambda portal: object.__setattr__(portal.switches, name, value)


def merge_then_archive(kind, master, loser):
    def happen(portal):
        portal._merge(kind, master, loser)
        portal.delete(kind, master)

    return happen


def link_to_company(portal, contact, company, *types):
    portal.store.links["contacts", "companies"][contact][company] = set(types)


def lose_the_primary_company(portal):
    portal.store.links["contacts", "companies"].pop("22")
    portal.store.records["contacts"]["22"].properties.pop("associatedcompanyid")


def have_another_primary_company(portal):
    links = portal.store.links["contacts", "companies"]["20"]
    links["11"].discard((HUBSPOT, 1))
    links["10"].add((HUBSPOT, 1))
    portal.store.records["contacts"]["20"].properties["associatedcompanyid"] = "10"


def name_a_stage_otherwise(portal):
    portal.store.pipelines[0]["stages"][0].update(label="Renamed")


def let_a_stage_win(portal):
    portal.store.pipelines[0]["stages"][0].update(metadata={"isClosed": "true", "probability": "1.0"})


def erase(kind, number):
    """For good: no archive tells of it."""

    def happen(portal):
        del portal.store.records[kind][number]
        for (from_kind, to_kind), by_id in portal.store.links.items():
            if from_kind == kind:
                by_id.pop(number, None)
            if to_kind == kind:
                for others in by_id.values():
                    others.pop(number, None)
        portal.store.forget_order()

    return happen


def respond(report, days_ago, contact):
    def happen(portal):
        day = (NOW - timedelta(days=days_ago)).date().isoformat()
        portal.store.responses[portal.hs_id(Entity.CAMPAIGN, "fair"), report].append((day, contact))

    return happen


NIGHTS = {
    "nothing": (nothing, nothing),
    "companies are hidden": (hide("companies"), nothing),
    "companies become hidden": (nothing, hide("companies")),
    "e-mails become hidden": (nothing, hide("emails")),
    "e-mails come to light": (hide("emails"), nothing),
    "a survivor is archived at once": (nothing, merge_then_archive("contacts", "20", "21")),
    "a survivor is archived later": (
        lambda portal: portal.merge_contacts("20", "21"),
        lambda portal: portal.delete("contacts", "20"),
    ),
    "a surviving company is archived": (nothing, merge_then_archive("companies", "11", "12")),
    "a surviving deal is archived": (nothing, merge_then_archive("deals", "30", "31")),
    "a contact loses its company": (nothing, lose_the_primary_company),
    "a contact's other company becomes the primary one": (nothing, have_another_primary_company),
    "a company is archived": (nothing, lambda portal: portal.delete("companies", "11")),
    "a stage is renamed": (nothing, name_a_stage_otherwise),
    "a stage becomes won": (nothing, let_a_stage_win),
    "days are counted elsewhere": (nothing, set_switch("time_zone", "Pacific/Auckland")),
    "a contact with links is erased": (nothing, erase("contacts", "20")),
    "a deal with links is erased": (nothing, erase("deals", "30")),
    "a meeting with links is erased": (nothing, erase("meetings", "40")),
    "another report names somebody too": (respond("contactFirstTouch", 200, "25"), respond("influencedContacts", 0, "25")),
    "two reports name somebody": (nothing, lambda portal: [respond(name, days, "26")(portal) for name, days in REPORTED]),
}
EVERY_TIME = {
    "nothing",
    "e-mails come to light",
    "a survivor is archived later",
    "a contact's other company becomes the primary one",
    "a stage becomes won",
    "a deal with links is erased",
    "two reports name somebody",
}
REPORTED = (("influencedContacts", 9), ("contactFirstTouch", 90))


def pulled(portal, path, **given):
    with closing(open_adapter(portal, time_zone=None)) as adapter:
        return pull(adapter, path, as_of=datetime.now(UTC), threads=1, **given)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshot.duckdb"


@pytest.fixture(scope="module")
def as_it_was(tmp_path_factory):
    """What a first pull of the world makes: a portal of the same number and the same world goes on from there."""
    path = tmp_path_factory.mktemp("first") / "snapshot.duckdb"
    with HubSpotSandbox(WORLD, HubSpotSwitches()) as portal:
        pulled(portal, path)
    return path


@pytest.mark.parametrize("night", [pytest.param(name, marks=() if name in EVERY_TIME else pytest.mark.slow) for name in NIGHTS])
def test_a_night_ends_like_a_full_pull(path, night, as_it_was):
    before, happens = NIGHTS[night]
    with HubSpotSandbox(WORLD, HubSpotSwitches()) as portal:
        before(portal)
        if before is nothing:
            shutil.copy(as_it_was, path)
        else:
            pulled(portal, path)
        hide()(portal) if night == "e-mails come to light" else happens(portal)
        later = pulled(portal, path, previous=path)
        whole = pulled(portal, path.with_name("whole.duckdb"))
    assert later.rows == whole.rows
    assert later.fingerprint == whole.fingerprint


def test_a_lead_with_several_contacts_is_not_read_every_night(path):
    with HubSpotSandbox(WORLD) as portal:
        portal.store.link(("leads", "contacts"), "50", "20")
        pulled(portal, path)
        assert pulled(portal, path, previous=path).reads[Entity.LEAD].changed == 0


def test_portals_that_do_not_tell_their_number_are_not_built_on(path):
    with HubSpotSandbox(WORLD, HubSpotSwitches(portal_id=None)) as portal:
        pulled(portal, path)
        later = pulled(portal, path, previous=path)
    assert {read.why_full for read in later.reads.values()} == {WhyFull.OTHER_SOURCE}


def test_touches_are_dated_anew_where_a_full_pull_is_due(path):
    with HubSpotSandbox(WORLD) as portal:
        pulled(portal, path)
        respond("influencedContacts", 250, "22")(portal)
        assert _responded(path, "22") > NOW - timedelta(days=60)
        pulled(portal, path, previous=path)
        assert _responded(path, "22") > NOW - timedelta(days=60)
        later = pulled(portal, path, previous=path, full_after_days=0)
        assert _responded(path, "22") < NOW - timedelta(days=230)
    assert WhyFull.DUE in {read.why_full for read in later.reads.values()}


def _responded(path, contact):
    with Snapshot.open(path) as snapshot:
        rows = snapshot.table(Entity.CAMPAIGN_MEMBER).to_pylist()
    (moment,) = (row["responded_at"] for row in rows if row["contact_id"] == contact)
    return moment


def test_a_deal_that_is_restored_while_it_is_read_keeps_its_roles(path):
    with HubSpotSandbox(WORLD) as portal:
        pulled(portal, path)
        portal.delete("deals", "33")
        with closing(open_adapter(portal)) as adapter, Snapshot.open(path) as snapshot:
            adapter.build_on(_Earlier(snapshot))
            assert [gone.id for gone in adapter.read_deleted(Entity.OPPORTUNITY, since=NOW)] == ["33"]
            portal.store.records["deals"]["33"].archived = None
            portal.change("deals", "33")
            portal.link("33", "20", ["Champion"])
            assert [batch["id"].to_pylist() for batch in adapter.read(Entity.OPPORTUNITY, since=NOW)] == [["33"]]
            roles = [row["opportunity_id"] for batch in adapter.read(Entity.CONTACT_ROLE) for row in batch.to_pylist()]
    assert "33" in roles


class _Earlier:
    def __init__(self, snapshot):
        self._snapshot = snapshot

    def read_at(self, entity):
        return self._snapshot.meta.as_of

    def columns(self, entity, *names):
        return self._snapshot.table(entity).select(names)

    def tell_gone(self, ids):
        assert not list(ids)
