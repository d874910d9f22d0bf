"""What the adapter knows from the snapshot before saves calls, and changes nothing else."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from portals import open_adapter

from crmbridge.errors import CrmUnavailable, DeletionsUnknown
from crmbridge.model import Account, AccountContactRelation, Campaign, CampaignMember, Contact, ContactRole, Entity, Opportunity
from crmbridge.testing import KeptRecords
from crmbridge.testing.sandbox import HubSpotSandbox

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=400)
TONIGHT = NOW - timedelta(minutes=10)
CALL = "campaigns reports"


def responded(number, contact, days_ago):
    return CampaignMember(
        id=f"m{number}", campaign_id="fair", contact_id=contact, has_responded=True, responded_at=NOW - timedelta(days=days_ago)
    )


WORLD = {
    Entity.ACCOUNT: [Account(id=str(n), name="Acme", created_at=LONG_AGO, modified_at=LONG_AGO) for n in (10, 11)],
    Entity.ACCOUNT_CONTACT_RELATION: [AccountContactRelation(id=f"r{n}", account_id="10", contact_id=str(n)) for n in (20, 21)],
    Entity.CONTACT: [Contact(id=str(n), last_name=f"Lark{n}", created_at=LONG_AGO, modified_at=LONG_AGO) for n in range(20, 30)],
    Entity.OPPORTUNITY: [
        Opportunity(id=str(n), is_closed=False, is_won=False, stage="Open", created_at=LONG_AGO, modified_at=LONG_AGO)
        for n in range(30, 34)
    ],
    Entity.CONTACT_ROLE: [ContactRole(id="r", opportunity_id="30", contact_id="20", role="Evaluator")],
    Entity.CAMPAIGN: [Campaign(id="fair", name="Fair", start_date=LONG_AGO.date(), created_at=LONG_AGO, modified_at=LONG_AGO)],
    Entity.CAMPAIGN_MEMBER: [responded(n, str(20 + n), days_ago) for n, days_ago in enumerate((300, 250, 120, 40, 0))],
}


@pytest.fixture
def portal():
    with HubSpotSandbox(WORLD) as made:
        yield made


def read(portal, *entities, earlier=None, **options):
    """What one pull reads of some entities, kept to be built on; the rows of each by id; and its calls."""
    kept, found, before = KeptRecords(), {}, portal.calls.copy()
    with closing(open_adapter(portal, **options)) as adapter:
        adapter.build_on(earlier)
        for entity in entities:
            since = TONIGHT if earlier and entity in adapter.capabilities.incremental else None
            _ = list(adapter.read_deleted(entity, since=since)) if since else []
            batches = list(adapter.read(entity, since=since))
            kept.keep(entity, batches)
            found[entity] = {row["id"]: row for batch in batches for row in batch.to_pylist()}
    return kept, found, portal.calls - before


def test_roles_of_all_deals_are_read_though_only_changed_deals_are(portal):
    kept, _, _ = read(portal, Entity.OPPORTUNITY)
    new = portal.insert("deals", dealname="New", dealstage="x", pipeline="default")
    for deal in ("31", new):
        portal.link(deal, "21", ["Champion"])
    portal.merge_deals("32", "33")
    _, found, calls = read(portal, Entity.OPPORTUNITY, Entity.CONTACT_ROLE, earlier=kept)
    assert {(row["opportunity_id"], row["contact_id"]) for row in found[Entity.CONTACT_ROLE].values()} == {
        ("30", "20"), ("31", "21"), (new, "21")
    }  # fmt: skip
    assert calls["deals"] == 2  # to see whether they may be read, and what is archived


def test_deals_that_are_gone_are_not_asked_for_their_roles(portal):
    kept, _, _ = read(portal, Entity.OPPORTUNITY)
    for deal in ("30", "31", "32", "33"):
        portal.delete("deals", deal)
    _, found, calls = read(portal, Entity.OPPORTUNITY, Entity.CONTACT_ROLE, earlier=kept)
    assert found == {Entity.OPPORTUNITY: {}, Entity.CONTACT_ROLE: {}}
    assert "deals to contacts batch/read" not in calls


def test_a_merge_that_the_index_does_not_show_yet_takes_nothing_from_the_survivor(portal):
    entities = (Entity.CONTACT, Entity.ACCOUNT_CONTACT_RELATION, Entity.OPPORTUNITY)
    kept, _, _ = read(portal, *entities)
    portal.merge_contacts("20", "21")
    portal.store.records["contacts"]["20"].updated = LONG_AGO
    with closing(open_adapter(portal)) as adapter:
        adapter.build_on(kept)
        assert list(adapter.read(Entity.CONTACT, since=TONIGHT)) == []
        assert kept.gone == {"21"}
        assert [one.id for one in adapter.read_deleted(Entity.ACCOUNT_CONTACT_RELATION, since=TONIGHT)] == ["10:21"]


def test_a_deal_that_lives_on_in_another_is_gone(portal):
    portal.merge_deals("32", "33")
    _, found, _ = read(portal, Entity.OPPORTUNITY)
    assert found[Entity.OPPORTUNITY].keys() == {"30", "31", "32"}
    with closing(open_adapter(portal, links_stay=True)) as adapter:
        (gone,) = adapter.read_deleted(Entity.OPPORTUNITY, since=TONIGHT)
        assert (gone.id, gone.merged_into_id) == ("33", "32")


def test_of_links_it_is_known_what_went_only_beside_the_records_that_had_them(portal):
    kept, _, _ = read(portal, Entity.OPPORTUNITY, Entity.OPPORTUNITY_ACCOUNT)
    with closing(open_adapter(portal)) as adapter:
        adapter.build_on(kept)
        assert Entity.OPPORTUNITY_ACCOUNT in adapter.capabilities.deletions
        with pytest.raises(DeletionsUnknown):
            list(adapter.read_deleted(Entity.OPPORTUNITY_ACCOUNT, since=TONIGHT))
        _ = list(adapter.read(Entity.OPPORTUNITY, since=TONIGHT))
        assert list(adapter.read_deleted(Entity.OPPORTUNITY_ACCOUNT, since=TONIGHT)) == []
        adapter.build_on(None)
        with pytest.raises(DeletionsUnknown):
            list(adapter.read_deleted(Entity.OPPORTUNITY_ACCOUNT, since=TONIGHT))


@pytest.mark.parametrize("category", ["VALIDATION_ERROR", "INTERNAL_ERROR", None])
def test_a_record_that_could_not_be_read_is_not_taken_to_be_gone(portal, monkeypatch, category):
    kept, _, _ = read(portal, Entity.CONTACT, Entity.ACCOUNT_CONTACT_RELATION)
    portal.store.links["contacts", "companies"].pop("20")
    with closing(open_adapter(portal)) as adapter:
        adapter.build_on(kept)
        ask = adapter.connection.ask

        def spoilt(method, path, **given):
            answer = ask(method, path, **given)
            is_of_records = path.endswith("objects/contacts/batch/read")
            return {"results": [], "errors": [{"category": category}]} if is_of_records else answer

        monkeypatch.setattr(adapter.connection, "ask", spoilt)
        with pytest.raises(CrmUnavailable, match="could not read some records"):
            list(adapter.read(Entity.CONTACT, since=TONIGHT))
    assert kept.gone == set()


def test_links_that_stay_are_still_not_known_to_be_gone(portal):
    with closing(open_adapter(portal, links_stay=True)) as adapter:
        links = {Entity.ACCOUNT_CONTACT_RELATION, Entity.ACTIVITY_PARTICIPANT}
        assert links <= adapter.capabilities.incremental
        assert not links & adapter.capabilities.deletions


def members(portal, earlier=None, **options):
    kept, found, calls = read(portal, Entity.CAMPAIGN, Entity.CAMPAIGN_MEMBER, earlier=earlier, **options)
    told = [row for row in found[Entity.CAMPAIGN_MEMBER].values() if row["has_responded"]]
    rows = {row["contact_id"]: row["responded_at"].date() for row in told}
    return kept, rows, calls[CALL]


def test_a_response_is_dated_once(portal):
    kept, first, _ = members(portal)
    _, again, calls = members(portal, kept)
    assert first == again
    assert len(first) == 5
    # Three reports over the whole time, and one question for the slice of days that is not over.
    assert calls == 4


def test_what_campaigns_touched_since_is_found_and_what_they_did_not_goes(portal):
    kept, _, _ = members(portal)
    told = portal.store.responses[portal.hs_id(Entity.CAMPAIGN, "fair"), "influencedContacts"]
    del told[0]
    told += [(NOW.date().isoformat(), "28"), ((NOW - timedelta(days=200)).date().isoformat(), "29")]
    _, found, _ = members(portal, kept)
    assert found == members(portal)[1]
    assert {"28", "29"} <= found.keys()
    assert "20" not in found


@pytest.mark.parametrize("start", [-5, 3], ids=["earlier", "later"])
def test_slices_that_have_moved_are_asked_anew(portal, start):
    kept, _, _ = members(portal)
    campaign = portal.store.campaigns[portal.hs_id(Entity.CAMPAIGN, "fair")]
    campaign["createdAt"] = NOW.isoformat()
    campaign["properties"]["hs_start_date"] = (LONG_AGO.date() + timedelta(days=start)).isoformat()
    assert members(portal, kept)[1] == members(portal)[1]
