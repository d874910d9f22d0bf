"""What the adapter remembers from one pull to the next saves calls, and changes nothing else."""

import stat
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest
from portals import open_adapter

from crmbridge.adapters.hubspot.memory import Dated, Memory
from crmbridge.errors import WorkspaceError
from crmbridge.model import Campaign, CampaignMember, Contact, ContactRole, Entity, Opportunity
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


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made when needed" / "memory"


def night(portal, folder, *entities, **options):
    """What one pull reads, and its calls."""
    adapter = open_adapter(portal, links_stay=True, remember_in=folder, **options)
    before = portal.calls.copy()
    try:
        found = {}
        for entity in entities:
            since = TONIGHT if entity in adapter.capabilities.incremental else None
            found[entity] = {row["id"]: row for batch in adapter.read(entity, since=since) for row in batch.to_pylist()}
    finally:
        adapter.close()
    return found, portal.calls - before


def first_night(portal, folder):
    adapter = open_adapter(portal, links_stay=True, remember_in=folder)
    for entity in (Entity.OPPORTUNITY, Entity.CONTACT_ROLE, Entity.CAMPAIGN, Entity.CAMPAIGN_MEMBER):
        assert list(adapter.read(entity))
    adapter.close()


def test_roles_of_all_deals_are_read_though_only_changed_deals_are(portal, folder):
    first_night(portal, folder)
    new = portal.insert("deals", dealname="New", dealstage="x", pipeline="default")
    for deal in ("31", new):
        portal.link(deal, "21", ["Champion"])
    for _ in range(2):  # the second finds what the first one added
        found, calls = night(portal, folder, Entity.OPPORTUNITY, Entity.CONTACT_ROLE)
        assert {(row["opportunity_id"], row["contact_id"]) for row in found[Entity.CONTACT_ROLE].values()} == {
            ("30", "20"), ("31", "21"), (new, "21")
        }  # fmt: skip
        assert calls["deals"] == 1  # to see whether they may be read
        portal.store.records["deals"][new].updated = LONG_AGO


@pytest.mark.parametrize("spoilt", ["absent", "torn", "of another portal", "too old"])
def test_without_a_good_memory_all_is_asked_anew(portal, folder, spoilt):
    first_night(portal, folder)
    portal.link("33", "22", ["Champion"])
    file = folder / "deals.arrow"
    if spoilt == "absent":
        file.unlink()
    elif spoilt == "torn":
        file.write_bytes(file.read_bytes()[:-20])
    elif spoilt == "of another portal":
        Memory(folder, SimpleNamespace(id="2")).keep_deals(pa.array(["31"]), NOW)
    else:
        Memory(folder, SimpleNamespace(id="1")).keep_deals(pa.array(["31"]), TONIGHT - timedelta(seconds=1))
    found, calls = night(portal, folder, Entity.OPPORTUNITY, Entity.CONTACT_ROLE)
    assert {row["opportunity_id"] for row in found[Entity.CONTACT_ROLE].values()} == {"30", "33"}
    assert calls["deals"] == 2
    _, calls = night(portal, folder, Entity.OPPORTUNITY, Entity.CONTACT_ROLE)
    assert calls["deals"] == 1


def members(portal, folder, **options):
    found, calls = night(portal, folder, Entity.CAMPAIGN, Entity.CAMPAIGN_MEMBER, **options)
    told = [row for row in found[Entity.CAMPAIGN_MEMBER].values() if row["has_responded"]]
    rows = {row["contact_id"]: row["responded_at"].date() for row in told}
    return rows, calls[CALL]


def test_a_response_is_dated_once(portal, folder):
    plain, calls = members(portal, None)
    first, calls_first = members(portal, folder)
    again, calls_again = members(portal, folder)
    assert first == again == plain
    assert len(plain) == 5
    # Three reports over the whole time, and one question for the slice of days that is not over.
    assert (calls_first, calls_again) == (calls, 4)


def test_what_campaigns_touched_since_is_found_and_what_they_did_not_goes(portal, folder):
    members(portal, folder)
    told = portal.store.responses[portal.hs_id(Entity.CAMPAIGN, "fair"), "influencedContacts"]
    del told[0]
    told += [(NOW.date().isoformat(), "28"), ((NOW - timedelta(days=200)).date().isoformat(), "29")]
    found, _ = members(portal, folder)
    assert found == members(portal, None)[0]
    assert {"28", "29"} <= found.keys()
    assert "20" not in found


@pytest.mark.parametrize("change", ["another slice", "another beginning"])
def test_slices_that_have_moved_are_asked_anew(portal, folder, change):
    members(portal, folder)
    options = {"touch_slice_days": 3} if change == "another slice" else {}
    if change == "another beginning":
        campaign = portal.store.campaigns[portal.hs_id(Entity.CAMPAIGN, "fair")]
        campaign["properties"]["hs_start_date"] = (LONG_AGO.date() - timedelta(days=5)).isoformat()
    assert members(portal, folder, **options)[0] == members(portal, None, **options)[0]


def test_the_folder_is_private_and_holds_no_names(portal, folder):
    first_night(portal, folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert not any(b"Lark" in file.read_bytes() or b"Fair" in file.read_bytes() for file in folder.iterdir())


def test_a_folder_that_cannot_be_made_is_said(portal, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="remember_in"):
        first_night(portal, tmp_path / "file" / "memory")


def test_a_portal_without_a_number_is_not_remembered(tmp_path):
    nameless = Memory(tmp_path, SimpleNamespace(id=None))
    nameless.keep_deals(pa.array(["1"]), NOW)
    nameless.keep_touches({"g": Dated(NOW.date(), NOW.date(), {"1": 0})}, 7, NOW.date())
    assert (nameless.deals(NOW), nameless.touches(7)) == (None, {})
    assert not list(tmp_path.iterdir())
