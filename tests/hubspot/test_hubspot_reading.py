"""The HubSpot adapter reads over real HTTP: everything, what changed, and whatever HubSpot keeps apart."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from crmbridge.adapters.hubspot import HubSpotAdapter, HubSpotOptions
from crmbridge.adapters.hubspot.reader import SEARCH_CEILING, SEARCH_PAGE
from crmbridge.adapters.hubspot.rolls import role_batch
from crmbridge.errors import CrmRefused, CrmUnavailable, DataError, DeletionsUnknown, LimitReached
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
    OpportunityAccount,
    User,
)
from crmbridge.testing import KeptRecords
from crmbridge.testing.sandbox import HubSpotFault, HubSpotSandbox, HubSpotSwitches, HubSpotTrouble
from crmbridge.testing.sandbox.hubspot.switches import Ids, RetryAfter

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=400)
QUICK = {"settle_wait_s": 0, "index_lag_s": 0}


def deal(number, **fields):
    common = {"account_id": "10", "is_closed": False, "is_won": False, "stage": "Proposal", "created_at": LONG_AGO}
    return Opportunity(id=str(number), name=f"Deal {number}", **{**common, "modified_at": LONG_AGO, **fields})


def contact(number, **fields):
    return Contact(id=str(number), last_name=f"Lark{number}", created_at=LONG_AGO, **{"modified_at": LONG_AGO, **fields})


WORLD = {
    Entity.USER: [
        User(id="7", name="Sam Seller", email="sam@seller.example", team="North", is_active=True, modified_at=LONG_AGO)
    ],
    Entity.ACCOUNT: [Account(id=str(n), name=f"Firm {n}", created_at=LONG_AGO, modified_at=LONG_AGO) for n in (10, 11)],
    Entity.CONTACT: [contact(20, account_id="10"), contact(21, account_id="11", merged_into_id=None), contact(22)],
    Entity.OPPORTUNITY: [
        deal(30, amount=Decimal("1234.5"), currency="EUR", close_date=date(2026, 3, 31), owner_id="7"),
        deal(31, is_closed=True, is_won=True, stage="Signed", record_type="Renewals", close_date=date(2026, 1, 1)),
        deal(32, is_closed=True, stage="Gone"),
    ],
    Entity.OPPORTUNITY_ACCOUNT: [OpportunityAccount(id="x", opportunity_id="30", account_id="11", is_primary=False)],
    Entity.ACCOUNT_CONTACT_RELATION: [AccountContactRelation(id="y", account_id="11", contact_id="20", is_active=True)],
    Entity.LEAD: [
        Lead(id="50", last_name="Wren", email="wren@firm.example", is_converted=False, created_at=LONG_AGO),
        Lead(id="51", last_name="Lark20", is_converted=True, converted_contact_id="20", converted_opportunity_id="31"),
    ],
    Entity.CAMPAIGN: [
        Campaign(id="fair", name="Fair", actual_cost=Decimal(500), currency="EUR", start_date=NOW.date() - timedelta(days=90))
    ],
    Entity.CAMPAIGN_MEMBER: [
        CampaignMember(id="m1", campaign_id="fair", contact_id="20", has_responded=True, responded_at=NOW - timedelta(days=40)),
        CampaignMember(id="m2", campaign_id="fair", contact_id="21", has_responded=False, created_at=NOW - timedelta(days=50)),
    ],
    Entity.ACTIVITY: [
        Activity(id="60", kind="meeting", opportunity_id="30", account_id="10", occurred_at=LONG_AGO, modified_at=LONG_AGO),
        Activity(id="61", kind="email", occurred_at=LONG_AGO, modified_at=LONG_AGO),
    ],
    Entity.ACTIVITY_PARTICIPANT: [
        ActivityParticipant(id="p1", activity_id="60", contact_id="20", kind="attendee"),
        ActivityParticipant(id="p2", activity_id="61", contact_id="21", kind="from"),
    ],
}


@pytest.fixture
def portal():
    with HubSpotSandbox(WORLD) as made:
        yield made


@pytest.fixture
def opened():
    """Open adapters, and close them at the end."""
    made = []

    def open_one(portal, **options):
        given = {"access_token": portal.access_token, "base_url": portal.url} | QUICK | options
        made.append(HubSpotAdapter(HubSpotOptions(**given)))
        return made[-1]

    yield open_one
    for adapter in made:
        adapter.close()


def rows(adapter, entity, **options):
    return {row["id"]: row for batch in adapter.read(entity, **options) for row in batch.to_pylist()}


@pytest.mark.parametrize("api", ["v4", "2026-03"])
def test_everything_is_read_in_either_family_of_paths(portal, opened, api):
    adapter = opened(portal, api=api)
    deals = rows(adapter, Entity.OPPORTUNITY)
    assert (deals["30"]["amount"], deals["30"]["currency"], deals["30"]["close_date"]) == (
        Decimal("1234.5"),
        "EUR",
        date(2026, 3, 31),
    )
    assert (deals["30"]["account_id"], deals["30"]["owner_id"], deals["30"]["stage"]) == ("10", "7", "Proposal")
    assert [(deals[one]["is_closed"], deals[one]["is_won"]) for one in ("30", "31", "32")] == [
        (False, False),
        (True, True),
        (True, False),
    ]
    assert deals["31"]["record_type"] == "Renewals"
    companies = rows(adapter, Entity.OPPORTUNITY_ACCOUNT).values()
    assert {(row["opportunity_id"], row["account_id"], row["is_primary"]) for row in companies} == {
        ("30", "10", True), ("30", "11", False), ("31", "10", True), ("32", "10", True)
    }  # fmt: skip
    assert rows(adapter, Entity.CONTACT)["20"]["account_id"] == "10"
    assert [(row["account_id"], row["contact_id"]) for row in rows(adapter, Entity.ACCOUNT_CONTACT_RELATION).values()] == [
        ("11", "20")
    ]
    assert rows(adapter, Entity.USER)["7"]["team"] == "North"
    assert rows(adapter, Entity.ACTIVITY)["meeting:60"]["opportunity_id"] == "30"
    people = rows(adapter, Entity.ACTIVITY_PARTICIPANT)
    assert {(row["activity_id"], row["contact_id"], row["kind"]) for row in people.values()} == {
        ("meeting:60", "20", "attendee"), ("email:61", "21", "from")
    }  # fmt: skip


def test_a_lead_stands_on_a_contact(portal, opened):
    adapter = opened(portal)
    leads = rows(adapter, Entity.LEAD)
    assert (leads["51"]["converted_contact_id"], leads["51"]["converted_opportunity_id"]) == ("20", "31")
    own = leads["50"]["converted_contact_id"]
    assert rows(adapter, Entity.CONTACT)[own]["email"] == "wren@firm.example"


@pytest.mark.parametrize(
    ("told", "meant"), [("true", True), ("false", False), ("2026-01-31", True), ("Retired", True), ("", None), (None, None)]
)
def test_a_property_may_say_who_has_left(portal, opened, told, meant):
    portal.change("contacts", "20", gone_since=told)
    adapter = opened(portal, left_property="gone_since")
    portal.merge_contacts("20", "21")
    assert {one: row["has_left"] for one, row in rows(adapter, Entity.CONTACT).items() if one in ("20", "21", "22")} == {
        "20": meant, "21": None, "22": None
    }  # fmt: skip
    assert rows(adapter, Entity.CONTACT, since=NOW - timedelta(hours=1))["20"]["has_left"] is meant
    assert rows(opened(portal), Entity.CONTACT)["20"]["has_left"] is None


def test_a_property_that_nobody_has_is_named(portal, opened):
    portal.change("contacts", "20", gone_since="2026-01-31")
    found = {}
    for name in ("gone_since", "gone_sinze"):
        (found[name],) = [one for one in opened(portal, left_property=name).check().checks if one.name == "left_property"]
    assert (found["gone_since"].status, found["gone_since"].detail) == ("ok", "gone_since: filled for 1")
    assert (found["gone_sinze"].status, "nobody is taken to have left" in found["gone_sinze"].detail) == ("warning", True)
    with pytest.raises(ValueError, match="left_property"):
        opened(portal, left_property="gone,since")


def test_touches_say_how_their_date_was_come_by(portal, opened):
    members = rows(opened(portal, touch_slice_days=1), Entity.CAMPAIGN_MEMBER)
    guid = portal.hs_id(Entity.CAMPAIGN, "fair")
    responded, listed = members[f"{guid}:20"], members[f"{guid}:21"]
    assert (responded["has_responded"], responded["date_quality"]) == (True, "inferred")
    assert responded["responded_at"].date() == (NOW - timedelta(days=40)).date()
    assert (listed["has_responded"], listed["responded_at"], listed["date_quality"]) == (False, None, "exact")
    assert listed["created_at"] == NOW - timedelta(days=50)


def test_a_response_that_nobody_dated_is_in_no_report(opened):
    undated = CampaignMember(id="m3", campaign_id="fair", contact_id="22", has_responded=True)
    with HubSpotSandbox({**WORLD, Entity.CAMPAIGN_MEMBER: [*WORLD[Entity.CAMPAIGN_MEMBER], undated]}) as portal:
        found = rows(opened(portal), Entity.CAMPAIGN_MEMBER)
    assert {row["contact_id"] for row in found.values()} == {"20", "21"}


def test_a_wider_slice_never_dates_a_touch_before_it_happened_and_costs_less(portal, opened):
    exact = opened(portal, touch_slice_days=1)
    rows(exact, Entity.CAMPAIGN_MEMBER)
    wide = opened(portal, touch_slice_days=30)
    (touched,) = [row["responded_at"] for row in rows(wide, Entity.CAMPAIGN_MEMBER).values() if row["has_responded"]]
    assert timedelta(0) <= touched.date() - (NOW - timedelta(days=40)).date() <= timedelta(days=30)
    assert wide.connection.calls < exact.connection.calls


def test_campaigns_cost_what_was_spent(portal, opened):
    (campaign,) = rows(opened(portal), Entity.CAMPAIGN).values()
    assert (campaign["name"], campaign["actual_cost"], campaign["currency"]) == ("Fair", Decimal(500), "EUR")


def test_only_what_changed_is_read_again(portal, opened):
    adapter = opened(portal, links_stay=True)
    adapter.build_on(KeptRecords())
    since = NOW - timedelta(hours=1)
    assert rows(adapter, Entity.OPPORTUNITY, since=since) == {}
    portal.change("deals", "30", amount="99")
    found = rows(adapter, Entity.OPPORTUNITY, since=since)
    assert {one: row["amount"] for one, row in found.items()} == {"30": Decimal(99)}
    assert found["30"]["account_id"] == "10"
    portal.change("meetings", "60")
    assert list(rows(adapter, Entity.ACTIVITY, since=since)) == ["meeting:60"]


def test_a_search_begins_earlier_by_what_the_index_lags(opened):
    with HubSpotSandbox(WORLD, HubSpotSwitches(index_lag_s=60)) as portal:
        portal.change("deals", "30", amount="99")
        adapter = opened(portal, index_lag_s=60)
        adapter.build_on(KeptRecords())
        # Not in the index yet: tonight it is not seen, and tomorrow's search reaches back far enough.
        assert rows(adapter, Entity.OPPORTUNITY, since=NOW) == {}
        portal.store.records["deals"]["30"].updated -= timedelta(seconds=61)
        assert list(rows(adapter, Entity.OPPORTUNITY, since=NOW)) == ["30"]


def test_links_change_no_record_so_records_with_links_are_read_whole(portal, opened):
    adapter = opened(portal)
    assert adapter.capabilities.incremental == {Entity.ACCOUNT}
    portal.store.link(("emails", "deals"), "61", "31")
    portal.store.link(("deals", "companies"), "32", "11")
    found = rows(adapter, Entity.ACTIVITY, since=NOW - timedelta(hours=1))
    assert found["email:61"]["opportunity_id"] == "31"
    assert "32:11" in rows(adapter, Entity.OPPORTUNITY_ACCOUNT, since=NOW - timedelta(hours=1))


def test_what_came_along_since_later_is_completed(portal, opened):
    adapter = opened(portal, links_stay=True)
    meeting, mail = (portal.store.records[kind][one] for kind, one in (("meetings", "60"), ("emails", "61")))
    meeting.updated, mail.updated = NOW, NOW - timedelta(hours=5)
    assert list(rows(adapter, Entity.ACTIVITY, since=NOW - timedelta(hours=1))) == ["meeting:60"]
    found = rows(adapter, Entity.ACTIVITY_PARTICIPANT, since=NOW - timedelta(hours=9))
    assert {row["activity_id"] for row in found.values()} == {"meeting:60", "email:61"}


def test_searches_go_on_beyond_their_ceiling(opened):
    many = SEARCH_CEILING + 450
    with HubSpotSandbox({Entity.CONTACT: [contact(1_000 + n, modified_at=NOW) for n in range(many)]}) as portal:
        found = rows(opened(portal, links_stay=True), Entity.CONTACT, since=NOW - timedelta(minutes=1))
        assert portal.calls["contacts/search"] > SEARCH_CEILING // SEARCH_PAGE
    assert len(found) == many


def test_searches_go_on_where_pages_come_short(opened):
    people = [contact(1_000 + n, modified_at=NOW) for n in range(120)]
    with HubSpotSandbox({Entity.CONTACT: people}, HubSpotSwitches(search_page=2)) as portal:
        found = rows(opened(portal, links_stay=True), Entity.CONTACT, since=NOW - timedelta(minutes=1))
    assert len(found) == len(people)


def test_links_that_a_listing_cuts_off_are_completed(opened):
    people = [contact(2_000 + n) for n in range(7)]
    world = {
        **WORLD,
        Entity.CONTACT: people,
        Entity.ACTIVITY_PARTICIPANT: [
            ActivityParticipant(id=f"p{one.id}", activity_id="60", contact_id=one.id, kind="attendee") for one in people
        ],
    }
    with HubSpotSandbox(world, HubSpotSwitches(inline_links=2, link_page=3)) as portal:
        found = rows(opened(portal), Entity.ACTIVITY_PARTICIPANT)
    assert {row["contact_id"] for row in found.values()} == {one.id for one in people}


def test_merged_ids_lead_to_the_survivor(portal, opened):
    portal.merge_contacts("20", "21")
    found = rows(opened(portal), Entity.CONTACT, since=NOW - timedelta(hours=1))
    assert found["21"]["merged_into_id"] == "20"
    assert found["20"]["merged_into_id"] is None


def test_what_was_archived_is_told_as_long_as_hubspot_knows(portal, opened):
    adapter = opened(portal)
    portal.delete("contacts", "22")
    portal.delete("meetings", "60")
    since = NOW - timedelta(hours=1)
    assert [gone.id for gone in adapter.read_deleted(Entity.CONTACT, since=since)] == ["22"]
    assert [gone.id for gone in adapter.read_deleted(Entity.ACTIVITY, since=since)] == ["meeting:60"]
    assert list(adapter.read_deleted(Entity.CONTACT, since=datetime.now(UTC) + timedelta(minutes=5))) == []
    assert "22" not in rows(adapter, Entity.CONTACT)
    with pytest.raises(DeletionsUnknown, match="90 days"):
        list(adapter.read_deleted(Entity.CONTACT, since=NOW - timedelta(days=91)))


def test_days_are_counted_in_the_portals_time_zone(opened):
    with HubSpotSandbox(WORLD, HubSpotSwitches(time_zone="Pacific/Auckland")) as portal:
        portal.change("deals", "30", closedate="2026-03-31T11:30:00.000Z")
        adapter = opened(portal)
        assert rows(adapter, Entity.OPPORTUNITY)["30"]["close_date"] == date(2026, 4, 1)
        assert rows(opened(portal, time_zone="UTC"), Entity.OPPORTUNITY)["30"]["close_date"] == date(2026, 3, 31)


def test_ids_may_come_as_text(opened):
    with HubSpotSandbox(WORLD, HubSpotSwitches(ids=Ids.TEXT)) as portal:
        portal.link("30", "20", ["Champion"])
        (role,) = opened(portal).read_roles(["30"])
    assert (role.contact_id, role.role) == ("20", "Champion")


@pytest.mark.parametrize("ids", Ids)
@pytest.mark.parametrize("primary", [None, "Champion", "nobody defined it"])
def test_roles_read_whole_are_those_read_deal_by_deal(opened, ids, primary):
    world = {**WORLD, Entity.CONTACT: [contact(100 + n) for n in range(7)]}
    with HubSpotSandbox(world, HubSpotSwitches(ids=ids, link_page=3)) as portal:
        for n in range(7):
            portal.link("30", str(100 + n), ["Champion", "Evaluator", "Blocker"][: n % 4])
        portal.link("32", "100", ["Champion"])
        portal.store.link(("deals", "contacts"), "32", "101", [("INTEGRATOR_DEFINED", 9)])  # told without a text
        del portal.store.labels["USER_DEFINED", portal.label_type("Blocker")]  # its text is not told any more
        adapter = opened(portal, primary_label=primary)
        whole = rows(adapter, Entity.CONTACT_ROLE)
        by_deal = {role.id: role.model_dump() for role in adapter.read_roles(["30", "31", "32"])}
    assert {one: {name: row[name] for name in by_deal[one]} for one, row in whole.items()} == by_deal
    assert len(by_deal) > 8


def test_a_deal_under_two_ids_is_told_once(opened, tmp_path):
    with HubSpotSandbox(WORLD) as portal:
        portal.link("30", "20", ["Champion"])
        roles = opened(portal)._roles
        (answer,) = roles._answers([{"id": "30"}])
        twice = role_batch([*answer, *answer], roles.labels.names, None)
    assert twice.num_rows == 1


def test_single_currency_portals_say_no_currency(portal, opened):
    portal.change("deals", "30", deal_currency_code=None)
    assert rows(opened(portal, currency="CHF"), Entity.OPPORTUNITY)["30"]["currency"] == "CHF"


def test_a_value_that_is_none_is_named_without_being_shown(portal, opened):
    portal.change("deals", "30", amount="planted@name.example")
    with pytest.raises(DataError, match=r"opportunity\.amount: HubSpot sent a value") as caught:
        rows(opened(portal), Entity.OPPORTUNITY)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("hidden", "gone"),
    [("leads", Entity.LEAD), ("campaigns", Entity.CAMPAIGN), ("owners", Entity.USER), ("companies", Entity.ACCOUNT)],
)
def test_what_the_token_may_not_see_is_named_and_left_out(opened, hidden, gone):
    with HubSpotSandbox(WORLD, HubSpotSwitches(hidden=frozenset({hidden}))) as portal:
        adapter = opened(portal)
        assert gone not in adapter.capabilities.entities
        (check,) = [check for check in adapter.check().checks if check.name == hidden]
        assert (check.status, "MISSING_SCOPES" in check.detail) == ("warning", True)
        with pytest.raises(DataError, match=f"no {gone.value}"):
            rows(adapter, gone)


def test_without_deals_nothing_can_be_done(opened):
    with HubSpotSandbox(WORLD, HubSpotSwitches(hidden=frozenset({"deals"}))) as portal:
        adapter = opened(portal)
        assert not adapter.check().ok
        with pytest.raises(CrmRefused, match="cannot read"):
            _ = adapter.capabilities


def test_a_token_that_is_wrong_is_said_at_once(portal, opened):
    adapter = opened(portal, access_token="pat-wrong-s3cret")
    (check,) = adapter.check().checks
    assert (check.name, check.status) == ("login", "failed")
    assert "s3cret" not in str(check)


def test_oauth_renews_tokens_on_the_way(portal, opened):
    tokens = portal.tokens
    secrets = {"client_id": tokens.client_id, "client_secret": tokens.client_secret, "refresh_token": tokens.refresh_token}
    adapter = opened(portal, access_token=None, **secrets)
    assert rows(adapter, Entity.USER)
    portal.expire_tokens()
    assert len(rows(adapter, Entity.OPPORTUNITY)) == 3


PASSING = [
    HubSpotTrouble.BUSY,
    HubSpotTrouble.BROKEN,
    HubSpotTrouble.GATEWAY,
    HubSpotTrouble.DROP_BEFORE,
    HubSpotTrouble.DROP_AFTER,
    HubSpotTrouble.TRUNCATED,
]


@pytest.mark.parametrize("trouble", PASSING)
def test_reads_are_asked_again(portal, opened, trouble):
    adapter = opened(portal)
    assert adapter.capabilities
    portal.faults.add(HubSpotFault(trouble=trouble, path="deals", nth=1))
    assert len(rows(adapter, Entity.OPPORTUNITY)) == 3
    assert portal.faults.struck


def test_the_short_limit_is_waited_out(opened):
    switches = HubSpotSwitches(calls_per_interval=15, interval_ms=300, retry_after=RetryAfter.ABSENT)
    with HubSpotSandbox(WORLD, switches) as portal:
        adapter = opened(portal)
        for _ in range(3):
            assert len(rows(adapter, Entity.OPPORTUNITY)) == 3


def test_the_daily_limit_ends_a_run(portal, opened):
    adapter = opened(portal)
    assert adapter.capabilities
    portal.faults.add(HubSpotFault(trouble=HubSpotTrouble.DAY_OVER, path="deals"))
    before = adapter.connection.calls
    with pytest.raises(LimitReached, match="daily limit"):
        rows(adapter, Entity.OPPORTUNITY)
    assert adapter.connection.calls == before + 1


def test_a_budget_of_ones_own(portal, opened):
    adapter = opened(portal, max_api_calls=3)
    with pytest.raises(LimitReached, match="max_api_calls = 3"):
        rows(adapter, Entity.OPPORTUNITY)
    assert portal.calls_used == 3


def test_a_portal_that_cannot_be_reached(opened, monkeypatch):
    monkeypatch.setattr("crmbridge.adapters.hubspot.connection.ATTEMPTS", 1)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    given = {"access_token": "pat-s3cret", "base_url": "http://127.0.0.1:9", "timeout_s": 1} | QUICK
    adapter = HubSpotAdapter(HubSpotOptions(**given))
    with pytest.raises(CrmUnavailable, match="did not answer GET /crm/v3/objects/") as caught:
        rows(adapter, Entity.OPPORTUNITY)
    assert "s3cret" not in str(caught.value)
    adapter.close()
    adapter.close()


def test_listings_feed_two_entities(portal, opened):
    """Links come along with their records: reading both costs no more than reading one."""
    adapter = opened(portal)
    rows(adapter, Entity.ACTIVITY)
    before = portal.calls_used
    assert len(rows(adapter, Entity.ACTIVITY_PARTICIPANT)) == 2
    assert portal.calls_used == before


def test_what_the_next_run_costs_is_told(portal, opened):
    checks = {check.name: check.detail for check in opened(portal).check().checks}
    assert "a full pull takes about" in checks["cost"]
    assert "of 650,000 API calls left" in checks["daily limit"]
    assert "Decision Maker" in checks["labels"]
