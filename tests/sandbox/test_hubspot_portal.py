"""The HubSpot sandbox itself, as the facts say: limits, labels, partial answers, searches, campaigns, logins, trouble."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests
import typer
from tests.sandbox.portal_client import OBJECTS, V4, PortalClient, given
from typer.testing import CliRunner

from crmbridge.adapters.hubspot import HubSpotAdapter, HubSpotOptions
from crmbridge.cli import sandbox as command
from crmbridge.cli.console import Console
from crmbridge.model import Campaign, CampaignMember, Contact, Entity, Opportunity
from crmbridge.testing.sandbox import HubSpotFault, HubSpotSandbox, HubSpotSwitches, HubSpotTrouble, PairFault
from crmbridge.testing.sandbox.hubspot.switches import Ids, LabelWrites, LinksChange, MergedIds, OverCap, RetryAfter

pytestmark = pytest.mark.slow  # the instrument itself; what adapters need of it shows in their tests

DATED = "/crm/associations/2026-03/deals/contacts"
DEAL, CONTACT, OTHER = "101", "201", "202"
CHAMPION, BLOCKER = 101, 103
LABELS = ("Champion", "Blocker")
THEN = datetime(2025, 1, 1, tzinfo=UTC)
COMMON = {"created_at": THEN, "modified_at": THEN}
CAMPAIGNS = "/marketing/v3/campaigns"


def world(contacts=6):
    return {
        Entity.OPPORTUNITY: [Opportunity(id=one, name="Deal", is_closed=False, is_won=False, **COMMON) for one in (DEAL, "102")],
        Entity.CONTACT: [Contact(id=str(201 + number), last_name=f"Lark{number}", **COMMON) for number in range(contacts)],
    }


@pytest.fixture
def serve():
    """Start portals; all stop after the test."""
    started = []

    def start(held=None, **switches):
        sandbox = HubSpotSandbox(world() if held is None else held, HubSpotSwitches(**{"labels": LABELS, **switches}))
        sandbox.start()
        started.append(PortalClient(sandbox))
        return started[-1]

    yield start
    for client in started:
        client.close()
        client.sandbox.stop()


@pytest.fixture
def portal(serve):
    return serve()


def codes(answer):
    return [error.get("subCategory", error["category"]).rpartition(".")[2] for error in answer.json().get("errors", ())]


# --- links: read, made, taken away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("home", [V4, DATED])
def test_a_pair_has_the_plain_type_beside_its_labels(portal, home):
    assert portal.create(DEAL, CONTACT, CHAMPION, home=home).status_code == 201
    answer = portal.inputs("read", {"id": DEAL}, home=home)
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert result == {
        "from": {"id": DEAL},
        "to": [
            {
                "toObjectId": int(CONTACT),
                "associationTypes": [
                    {"category": "HUBSPOT_DEFINED", "typeId": 3, "label": None},
                    {"category": "USER_DEFINED", "typeId": CHAMPION, "label": "Champion"},
                ],
            }
        ],
    }


def test_deals_without_contacts_are_errors_of_a_207(portal):
    portal.create(DEAL, CONTACT)
    answer = portal.inputs("read", {"id": DEAL}, {"id": "102"})
    assert answer.status_code == 207
    told = answer.json()
    assert [one["from"]["id"] for one in told["results"]] == [DEAL]
    assert (told["numErrors"], codes(answer)) == (1, ["NO_ASSOCIATIONS_FOUND"])
    assert told["errors"][0]["context"] == {"fromObjectId": ["102"], "fromObjectType": ["deal"], "toObjectType": ["contact"]}


def test_many_contacts_come_in_pages(serve):
    portal = serve(link_page=2)
    for contact in range(201, 206):
        portal.sandbox.link(DEAL, str(contact))
    found, after = [], None
    for _ in range(3):
        (result,) = portal.inputs("read", {"id": DEAL, **({"after": after} if after else {})}).json()["results"]
        found += [one["toObjectId"] for one in result["to"]]
        after = result.get("paging", {}).get("next", {}).get("after")
    assert (found, after) == (list(range(201, 206)), None)


@pytest.mark.parametrize("home", [V4, DATED])
@pytest.mark.parametrize(("switch", "left"), [(LabelWrites.REPLACE, {"Blocker"}), (LabelWrites.APPEND, {"Champion", "Blocker"})])
def test_writing_a_label_replaces_or_appends(serve, switch, left, home):
    portal = serve(label_writes=switch)
    portal.create(DEAL, CONTACT, CHAMPION, home=home)
    answer = portal.create(DEAL, CONTACT, BLOCKER, home=home)
    assert portal.sandbox.labels_of(DEAL, CONTACT) == left
    assert set(answer.json()["results"][0]["labels"]) == left


def test_the_plain_type_alone_replaces_labels_too(portal):
    portal.create(DEAL, CONTACT, CHAMPION)
    plain = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}
    portal.inputs("create", {"from": {"id": DEAL}, "to": {"id": CONTACT}, "types": [plain]})
    assert portal.sandbox.labels_of(DEAL, CONTACT) == set()


def test_archiving_a_pair_takes_all_its_labels(portal):
    portal.sandbox.link(DEAL, CONTACT, LABELS)
    portal.sandbox.link(DEAL, OTHER, LABELS)
    answer = portal.inputs("archive", {"from": {"id": DEAL}, "to": [{"id": CONTACT}]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (portal.sandbox.labels_of(DEAL, CONTACT), portal.sandbox.labels_of(DEAL, OTHER)) == (None, set(LABELS))


def test_archiving_a_label_leaves_the_others(portal):
    portal.sandbox.link(DEAL, CONTACT, LABELS)
    assert portal.inputs("labels/archive", given(DEAL, CONTACT, CHAMPION)).status_code == 204
    assert portal.sandbox.labels_of(DEAL, CONTACT) == {"Blocker"}
    assert portal.inputs("labels/archive", given(DEAL, CONTACT, BLOCKER)).status_code == 204
    assert portal.sandbox.labels_of(DEAL, CONTACT) == set()


def test_archiving_the_plain_type_takes_the_pair_apart(portal):
    portal.sandbox.link(DEAL, CONTACT, LABELS)
    plain = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}
    portal.inputs("labels/archive", {"from": {"id": DEAL}, "to": {"id": CONTACT}, "types": [plain]})
    assert portal.sandbox.labels_of(DEAL, CONTACT) is None


def test_the_newer_paths_may_answer_with_bodies(serve):
    portal = serve(archive_status=200, created_status=200)
    assert portal.create(DEAL, CONTACT).status_code == 200
    answer = portal.inputs("archive", {"from": {"id": DEAL}, "to": [{"id": CONTACT}]}, home=DATED)
    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETE")


@pytest.mark.parametrize(("switch", "kind"), [(Ids.NUMBERS, int), (Ids.TEXT, str)])
def test_ids_at_the_other_end_are_numbers_or_text(serve, switch, kind):
    portal = serve(ids=switch)
    told = portal.create(DEAL, CONTACT).json()["results"][0]
    assert {type(told["fromObjectId"]), type(told["toObjectId"])} == {kind}
    assert type(portal.inputs("read", {"id": DEAL}).json()["results"][0]["to"][0]["toObjectId"]) is kind


@pytest.mark.parametrize(("switch", "is_stamped"), [(LinksChange.LEAVES_RECORD, False), (LinksChange.STAMPS_RECORD, True)])
def test_whether_a_link_stamps_its_deal(serve, switch, is_stamped):
    portal = serve(links_change=switch)
    portal.create(DEAL, CONTACT)
    assert (portal.sandbox.store.records["deals"][DEAL].updated > THEN) is is_stamped


# --- batches: what fits, and what does not spread ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "most", "one"),
    [
        ("read", 1_000, {"id": DEAL}),
        ("create", 2_000, given(DEAL, CONTACT)),
        ("archive", 100, {"from": {"id": DEAL}, "to": [{"id": CONTACT}]}),
        ("labels/archive", 100, given(DEAL, CONTACT, CHAMPION)),
    ],
)
def test_batches_of_links_hold_at_most(portal, action, most, one):
    assert portal.inputs(action, *[one] * most).status_code < 300
    answer = portal.inputs(action, *[one] * (most + 1))
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


def test_taking_off_labels_may_hold_less(serve):
    portal = serve(labels_archive_most=1)
    assert portal.inputs("labels/archive", *[given(DEAL, CONTACT, CHAMPION)] * 2).status_code == 400


def test_a_batch_of_records_holds_a_hundred_and_tells_no_links(portal):
    portal.create(DEAL, CONTACT)
    answer = portal.post(f"{OBJECTS}/deals/batch/read", {"inputs": [{"id": DEAL}] * 100, "properties": ["dealname"]})
    assert answer.status_code == 200
    assert "associations" not in answer.json()["results"][0]
    assert portal.post(f"{OBJECTS}/deals/batch/read", {"inputs": [{"id": DEAL}] * 101}).status_code == 400


def test_a_record_that_is_not_there_makes_a_207_of_a_batch(portal):
    answer = portal.post(f"{OBJECTS}/deals/batch/read", {"inputs": [{"id": DEAL}, {"id": "999"}]})
    assert (answer.status_code, len(answer.json()["results"]), codes(answer)) == (207, 1, ["OBJECT_NOT_FOUND"])


def test_a_listing_gives_ten_or_at_most_a_hundred(serve):
    portal = serve(world(contacts=120))
    pages = [portal.get(f"{OBJECTS}/contacts", **query).json() for query in ({}, {"limit": 100}, {"limit": 100, "after": "300"})]
    assert [(len(page["results"]), page.get("paging", {}).get("next", {}).get("after")) for page in pages] == [
        (10, "210"), (100, "300"), (20, None)
    ]  # fmt: skip
    assert portal.get(f"{OBJECTS}/contacts", limit=101).status_code == 400


def test_a_listing_repeats_an_id_for_each_of_its_types(portal):
    portal.create(DEAL, CONTACT, CHAMPION)
    page = portal.get(f"{OBJECTS}/deals", associations="contacts").json()
    (found,) = [one["associations"]["contacts"]["results"] for one in page["results"] if "associations" in one]
    assert found == [{"id": CONTACT, "type": "deal_to_contact"}, {"id": CONTACT, "type": "champion"}]


def test_archived_records_have_a_listing_of_their_own(portal):
    portal.sandbox.delete("contacts", CONTACT)
    (gone,) = portal.get(f"{OBJECTS}/contacts", archived="true").json()["results"]
    assert (gone["id"], gone["archived"], "archivedAt" in gone) == (CONTACT, True, True)
    assert CONTACT not in {one["id"] for one in portal.get(f"{OBJECTS}/contacts").json()["results"]}


def test_one_bad_pair_takes_no_other_with_it(portal):
    answer = portal.inputs("create", given(DEAL, CONTACT), given(DEAL, "999"), given("998", OTHER), given(DEAL, OTHER))
    assert answer.status_code == 207
    told = answer.json()
    assert [one["toObjectId"] for one in told["results"]] == [201, 202]
    assert (told["numErrors"], codes(answer)) == (2, ["INVALID_IDENTIFIER"] * 2)
    assert [error["context"] for error in told["errors"]] == [{"id": ["999"]}, {"id": ["998"]}]


@pytest.mark.parametrize("has_context", [True, False])
def test_planned_refusals_strike_their_pairs_so_often(portal, has_context):
    portal.sandbox.pair_faults.add(
        PairFault(contacts=frozenset({OTHER}), attempts=1, has_context=has_context, message="Ada Planted")
    )
    answer = portal.inputs("create", given(DEAL, CONTACT), given(DEAL, OTHER))
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["message"], error.get("context")) == (
        207, "Ada Planted", {"id": [DEAL, OTHER]} if has_context else None
    )  # fmt: skip
    assert portal.create(DEAL, OTHER).status_code == 201


@pytest.mark.parametrize("number", [102, 999, 3])
def test_a_type_that_the_direction_does_not_have_refuses_the_whole_call(portal, number):
    answer = portal.inputs("create", given(DEAL, OTHER, CHAMPION), given(DEAL, CONTACT, number))
    assert (answer.status_code, answer.json()["subCategory"]) == (400, "crm.associations.INVALID_ASSOCIATION_TYPE")
    assert portal.sandbox.roles() == {}


# --- labels and caps -------------------------------------------------------------------------------------------------


def test_each_direction_of_a_label_has_a_number_of_its_own(portal):
    there, back = (
        {
            one["label"]: (one["category"], one["typeId"])
            for one in portal.get(f"/crm/v4/associations/{way}/labels").json()["results"]
        }
        for way in ("deals/contacts", "contacts/deals")
    )
    assert there == {None: ("HUBSPOT_DEFINED", 3), "Champion": ("USER_DEFINED", 101), "Blocker": ("USER_DEFINED", 103)}
    assert back == {None: ("HUBSPOT_DEFINED", 4), "Champion": ("USER_DEFINED", 102), "Blocker": ("USER_DEFINED", 104)}


def test_a_label_is_defined_in_both_directions(portal):
    answer = portal.post(f"{V4}/labels", {"label": "Legal", "name": "legal"})
    assert answer.status_code == 200
    assert [(one["typeId"], one["label"]) for one in answer.json()["results"]] == [(105, "Legal"), (106, "Legal")]
    portal.create(DEAL, CONTACT, 105)
    assert portal.sandbox.labels_of(DEAL, CONTACT) == {"Legal"}


@pytest.mark.parametrize(
    "body", [{"label": "A", "name": "a-b"}, {"label": "A", "name": "1a"}, {"label": "Champion", "name": "c"}, {}]
)
def test_a_label_that_cannot_be_is_refused(portal, body):
    assert portal.post(f"{V4}/labels", body).status_code == 400
    assert list(portal.sandbox.store.labels.values()) == list(LABELS)


def test_there_are_only_so_many_labels(serve):
    portal = serve(labels=[f"Label {number}" for number in range(9)])
    answers = [portal.post(f"{V4}/labels", {"label": name, "name": name}).status_code for name in ("ten", "eleven")]
    assert answers == [200, 400]


def test_caps_are_told_and_kept(serve):
    portal = serve(caps={"Champion": 1}, contacts_per_deal=2)
    told = portal.get("/crm/v4/associations/definitions/configurations/deals/contacts").json()["results"]
    assert {(one["category"], one["typeId"]): one["userEnforcedMaxToObjectIds"] for one in told} == {
        ("USER_DEFINED", CHAMPION): 1, ("HUBSPOT_DEFINED", 3): 2
    }  # fmt: skip
    answers = [
        portal.create(DEAL, contact, number) for contact, number in (("201", CHAMPION), ("202", CHAMPION), ("202", BLOCKER))
    ]
    assert [answer.status_code for answer in answers] == [201, 207, 201]
    assert portal.create(DEAL, "203", BLOCKER).status_code == 207
    assert portal.create(DEAL, "201", CHAMPION).status_code == 201, "who has the label may be given it again"


@pytest.mark.parametrize(
    ("switch", "status", "context"),
    [
        (OverCap.NAMED, 207, {"fromObjectId": [DEAL], "toObjectId": [OTHER]}),
        (OverCap.UNNAMED, 207, None),
        (OverCap.WHOLE, 400, None),
    ],
)
def test_how_an_exceeded_cap_is_told(serve, switch, status, context):
    portal = serve(caps={"Champion": 1}, over_cap=switch, tells_caps=False)
    assert portal.get("/crm/v4/associations/definitions/configurations/deals/contacts").status_code == 403
    answer = portal.inputs("create", given(DEAL, CONTACT, CHAMPION), given(DEAL, OTHER, CHAMPION))
    assert answer.status_code == status
    errors = answer.json().get("errors", [answer.json()])
    assert [(error["subCategory"], error.get("context")) for error in errors] == [
        ("crm.associations.ASSOCIATION_LIMIT_EXCEEDED", context)
    ]
    assert portal.sandbox.labels_of(DEAL, CONTACT) == (None if switch is OverCap.WHOLE else {"Champion"})


# --- merged records --------------------------------------------------------------------------------------------------


def test_a_merged_id_gives_the_survivor(portal):
    portal.sandbox.merge_contacts(CONTACT, OTHER)
    body = {"inputs": [{"id": OTHER}], "properties": ["hs_merged_object_ids"]}
    (found,) = portal.post(f"{OBJECTS}/contacts/batch/read", body).json()["results"]
    assert (found["id"], found["properties"]["hs_merged_object_ids"]) == (CONTACT, OTHER)


def test_merging_twice_keeps_all_ids(portal):
    portal.sandbox.merge_contacts(OTHER, "203")
    portal.sandbox.merge_contacts(CONTACT, OTHER)
    assert {portal.sandbox.store.survivor("contacts", one) for one in (CONTACT, OTHER, "203")} == {CONTACT}


@pytest.mark.parametrize(("switch", "status"), [(MergedIds.FOLLOWED, 201), (MergedIds.REFUSED, 207)])
def test_writing_to_a_merged_id(serve, switch, status):
    portal = serve(merged_ids=switch)
    portal.sandbox.link(DEAL, CONTACT, ["Blocker"])
    portal.sandbox.merge_contacts(CONTACT, OTHER)
    answer = portal.create(DEAL, OTHER, CHAMPION)
    assert answer.status_code == status
    assert [one["toObjectId"] for one in answer.json()["results"]] == ([201] if switch is MergedIds.FOLLOWED else [])
    assert portal.sandbox.labels_of(DEAL, CONTACT) == ({"Champion"} if switch is MergedIds.FOLLOWED else {"Blocker"})


def test_links_of_a_merged_deal_are_told_under_the_survivor(portal):
    portal.sandbox.link("102", CONTACT)
    portal.sandbox.merge_deals("102", DEAL)
    (result,) = portal.inputs("read", {"id": DEAL}).json()["results"]
    assert result["from"] == {"id": "102"}


# --- searches --------------------------------------------------------------------------------------------------------

CHANGED = {"propertyName": "lastmodifieddate", "operator": "GTE", "value": str(int(THEN.timestamp() * 1000))}
BY_ID = {"sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]}


def test_a_search_ends_at_its_ceiling_and_goes_on_by_id(serve):
    portal = serve(world(contacts=10_250))
    page = portal.search("contacts", CHANGED, limit=200, after="9800", **BY_ID).json()
    assert (page["total"], len(page["results"])) == (10_250, 200)
    beyond = portal.search("contacts", CHANGED, limit=200, after="10000", **BY_ID)
    assert (beyond.status_code, beyond.json()["category"]) == (400, "VALIDATION_ERROR")
    behind = {"propertyName": "hs_object_id", "operator": "GT", "value": page["results"][-1]["id"]}
    assert portal.search("contacts", CHANGED, behind, limit=200, **BY_ID).json()["total"] == 250


def test_a_page_of_a_search_holds_two_hundred(portal):
    assert portal.search("contacts", CHANGED, limit=200).status_code == 200
    assert portal.search("contacts", CHANGED, limit=201).status_code == 400


@pytest.mark.parametrize(("groups", "filters", "status"), [(5, 3, 200), (6, 1, 400), (1, 6, 200), (1, 7, 400), (4, 5, 400)])
def test_a_search_holds_so_many_filters(portal, groups, filters, status):
    body = {"filterGroups": [{"filters": [CHANGED] * filters}] * groups}
    assert portal.post(f"{OBJECTS}/contacts/search", body).status_code == status


def test_a_search_has_one_order(portal):
    assert portal.search("contacts", CHANGED, sorts=BY_ID["sorts"] * 2).status_code == 400


def test_the_index_lags_and_the_listing_does_not(serve):
    portal = serve(index_lag_s=60)
    recently = {**CHANGED, "value": str(int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000))}
    portal.sandbox.change("contacts", CONTACT, firstname="Ann")
    assert portal.search("contacts", recently).json()["total"] == 0
    page = portal.get(f"{OBJECTS}/contacts", properties="firstname").json()
    assert page["results"][0]["properties"]["firstname"] == "Ann"
    portal.sandbox.store.records["contacts"][CONTACT].updated -= timedelta(seconds=61)
    assert [one["id"] for one in portal.search("contacts", recently).json()["results"]] == [CONTACT]


def test_archived_records_are_in_no_search(portal):
    portal.sandbox.delete("contacts", CONTACT)
    assert portal.search("contacts", CHANGED).json()["total"] == 5


# --- limits ----------------------------------------------------------------------------------------------------------

RATES = "X-HubSpot-RateLimit-"


def tells_rates(answer):
    return any(name.lower().startswith(RATES.lower()) for name in answer.headers)


def test_the_short_limit_with_its_headers(serve):
    portal = serve(calls_per_interval=3, interval_ms=400)
    answers = [portal.get(f"{OBJECTS}/deals") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers[f"{RATES}Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert (answers[0].headers[f"{RATES}Max"], answers[0].headers[f"{RATES}Interval-Milliseconds"]) == ("3", "400")
    told = answers[3].json()
    assert (told["policyName"], told["errorType"], "Retry-After" in answers[3].headers) == (
        "TEN_SECONDLY_ROLLING",
        "RATE_LIMIT",
        False,
    )
    time.sleep(0.45)
    assert portal.get(f"{OBJECTS}/deals").status_code == 200


@pytest.mark.parametrize(("switch", "told"), [(RetryAfter.ABSENT, None), (RetryAfter.GIVEN, "1")])
def test_whether_a_429_says_how_long(serve, switch, told):
    portal = serve(calls_per_interval=1, retry_after=switch, has_rate_headers=False)
    answers = [portal.get(f"{OBJECTS}/deals") for _ in range(2)]
    assert answers[1].status_code == 429
    assert answers[1].headers.get("Retry-After") == told
    assert not any(tells_rates(answer) for answer in answers)


def test_searches_have_a_limit_of_their_own_and_tell_nothing_of_it(serve):
    portal = serve(searches_per_second=2)
    answers = [portal.search("contacts", CHANGED) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["policyName"] == "SECONDLY"
    assert not any(tells_rates(answer) for answer in answers)
    answer = portal.get(f"{OBJECTS}/contacts")
    assert (answer.status_code, tells_rates(answer)) == (200, True)


def test_the_day_ends_and_a_new_one_begins(serve):
    portal = serve(daily_calls=2)
    answers = [portal.get(f"{OBJECTS}/deals") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers[f"{RATES}Daily-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].json()["policyName"] == "DAILY"
    assert portal.create(DEAL, CONTACT).status_code == 429
    portal.sandbox.new_day()
    assert portal.create(DEAL, CONTACT).status_code == 201


def test_calls_are_counted_by_what_they_ask(portal):
    portal.get(f"{OBJECTS}/deals")
    portal.create(DEAL, CONTACT)
    portal.create(DEAL, CONTACT, home=DATED)
    assert portal.sandbox.calls == {"deals": 1, "deals to contacts batch/create": 2}
    assert portal.sandbox.calls_used == 3


# --- campaigns -------------------------------------------------------------------------------------------------------


@pytest.fixture
def marketing(serve):
    people = [
        CampaignMember(id="a", campaign_id="fair", contact_id=CONTACT, has_responded=True, responded_at=THEN),
        CampaignMember(id="b", campaign_id="fair", contact_id=OTHER, has_responded=False, created_at=THEN),
    ]
    fair = Campaign(id="fair", name="Fair", actual_cost=Decimal(500), budgeted_cost=Decimal(700), currency="EUR", created_at=THEN)
    more = [Campaign(id=f"fair {number}", name="Fair", created_at=THEN) for number in range(3)]
    return serve({**world(), Entity.CAMPAIGN: [fair, *more], Entity.CAMPAIGN_MEMBER: people})


def test_properties_that_campaigns_do_not_have_are_refused(marketing):
    assert marketing.get(CAMPAIGNS, properties="hs_name,hs_spend_items_sum_amount").status_code == 200
    assert marketing.get(CAMPAIGNS, properties="hs_name,hs_type").status_code == 400


def test_blank_properties_of_campaigns_are_left_out(marketing):
    page = marketing.get(CAMPAIGNS, properties="hs_name,hs_currency_code").json()
    guid = marketing.sandbox.hs_id(Entity.CAMPAIGN, "fair")
    assert page["total"] == 4
    assert {one["id"] == guid: one["properties"] for one in page["results"]} == {
        True: {"hs_name": "Fair", "hs_currency_code": "EUR"}, False: {"hs_name": "Fair"}
    }  # fmt: skip


def test_a_cursor_that_is_encoded_twice_is_none(marketing):
    page = marketing.get(CAMPAIGNS, limit=3).json()
    cursor = page["paging"]["next"]["after"]
    assert "%3D" in cursor
    assert marketing.get(CAMPAIGNS, limit=3, after=cursor).status_code == 400
    rest = marketing.get(CAMPAIGNS, limit=3, after=requests.utils.unquote(cursor)).json()
    assert len(rest["results"]) == 1
    assert {one["id"] for one in [*page["results"], *rest["results"]]} == set(marketing.sandbox.id_map(Entity.CAMPAIGN).values())


def test_budgets_are_totals(marketing):
    guid = marketing.sandbox.hs_id(Entity.CAMPAIGN, "fair")
    told = marketing.get(f"{CAMPAIGNS}/{guid}/budget/totals").json()
    assert (told["budgetTotal"], told["spendTotal"], told["remainingBudget"], told["currencyCode"]) == (700, 500, 200, "EUR")
    assert marketing.get(f"{CAMPAIGNS}/unknown/budget/totals").status_code == 404


def test_reports_name_contacts_between_two_days_and_no_moment(marketing):
    path = f"{CAMPAIGNS}/{marketing.sandbox.hs_id(Entity.CAMPAIGN, 'fair')}/reports/contacts/influencedContacts"
    day, before = THEN.date().isoformat(), (THEN.date() - timedelta(days=1)).isoformat()
    assert marketing.get(path, startDate=day, endDate=day).json()["results"] == [{"id": CONTACT}]
    assert marketing.get(path, startDate=before, endDate=before).json()["results"] == []


def test_lists_name_their_members_with_the_moment(marketing):
    guid = marketing.sandbox.hs_id(Entity.CAMPAIGN, "fair")
    (asset,) = marketing.get(f"{CAMPAIGNS}/{guid}/assets/OBJECT_LIST").json()["results"]
    members = marketing.get(f"/crm/v3/lists/{asset['id']}/memberships").json()["results"]
    assert {one["recordId"]: one["membershipTimestamp"] for one in members} == dict.fromkeys(
        [CONTACT, OTHER], "2025-01-01T00:00:00.000Z"
    )
    assert marketing.get(f"/crm/v3/lists/{asset['id']}/memberships", limit=251).status_code == 400


# --- who may come in -------------------------------------------------------------------------------------------------


def test_oauth_gives_a_token_to_whoever_knows_the_secrets(portal):
    known = portal.sandbox.tokens
    form = {"grant_type": "refresh_token", "client_id": known.client_id, "client_secret": known.client_secret}

    def token(**more):
        return requests.post(f"{portal.sandbox.url}/oauth/v1/token", data=form | more, timeout=10)

    granted = token(refresh_token=known.refresh_token).json()
    assert (granted["access_token"], granted["expires_in"]) == (portal.sandbox.access_token, 1800)
    assert token(refresh_token="wrong").status_code == 400
    portal.sandbox.expire_tokens()
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    answer = requests.get(f"{portal.sandbox.url}{OBJECTS}/deals", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert portal.get(f"{OBJECTS}/deals").status_code == 200


def test_without_a_token_nobody_comes_in(portal):
    assert requests.get(f"{portal.sandbox.url}{OBJECTS}/deals", timeout=10).status_code == 401


@pytest.mark.parametrize("hidden", ["leads", "owners", "campaigns", "contacts"])
def test_what_the_token_may_not_see(serve, hidden):
    portal = serve(hidden=frozenset({hidden}))
    path = {"owners": "/crm/v3/owners", "campaigns": CAMPAIGNS}.get(hidden, f"{OBJECTS}/{hidden}")
    answer = portal.get(path)
    assert (answer.status_code, answer.json()["category"]) == (403, "MISSING_SCOPES")


# --- trouble on demand -----------------------------------------------------------------------------------------------


def plan(portal, trouble, **where):
    portal.sandbox.faults.add(HubSpotFault(trouble=trouble, path="batch/create", **where))


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (HubSpotTrouble.BUSY, 503),
        (HubSpotTrouble.BROKEN, 500),
        (HubSpotTrouble.TOO_FAST, 429),
        (HubSpotTrouble.LOCKED, 423),
        (HubSpotTrouble.LOGIN_EXPIRED, 401),
        (HubSpotTrouble.DAY_OVER, 429),
    ],
)
def test_trouble_in_which_nothing_is_done(portal, trouble, status):
    plan(portal, trouble)
    assert portal.create(DEAL, CONTACT).status_code == status
    assert portal.sandbox.roles() == {}


def test_a_gateway_gives_up_though_it_is_done(portal):
    plan(portal, HubSpotTrouble.GATEWAY)
    answer = portal.create(DEAL, CONTACT)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (504, "text/html")
    assert portal.sandbox.labels_of(DEAL, CONTACT) == set()


@pytest.mark.parametrize(
    ("trouble", "is_done"),
    [(HubSpotTrouble.DROP_BEFORE, False), (HubSpotTrouble.DROP_AFTER, True), (HubSpotTrouble.TRUNCATED, True)],
)
def test_answers_that_are_lost(portal, trouble, is_done):
    plan(portal, trouble)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        portal.create(DEAL, CONTACT)
    assert (portal.sandbox.labels_of(DEAL, CONTACT) is not None) is is_done


@pytest.mark.parametrize("action", ["create", "archive", "labels/archive"])
def test_half_of_a_batch_is_done(portal, action):
    if action != "create":
        portal.sandbox.link(DEAL, CONTACT, LABELS)
        portal.sandbox.link(DEAL, OTHER, LABELS)
    portal.sandbox.faults.add(HubSpotFault(trouble=HubSpotTrouble.PARTIAL, path="batch"))
    many = [given(DEAL, one, CHAMPION) | ({"to": [{"id": one}]} if action == "archive" else {}) for one in (CONTACT, OTHER)]
    answer = portal.inputs(action, *many)
    assert (answer.status_code, codes(answer)) == (207, ["INTERNAL_ERROR"])
    left = {"create": ({"Champion"}, None), "archive": (None, set(LABELS)), "labels/archive": ({"Blocker"}, set(LABELS))}
    assert (portal.sandbox.labels_of(DEAL, CONTACT), portal.sandbox.labels_of(DEAL, OTHER)) == left[action]


def test_slow_answers_come_late(portal):
    plan(portal, HubSpotTrouble.SLOW, delay_s=0.3)
    began_s = time.monotonic()
    assert portal.create(DEAL, CONTACT).status_code == 201
    assert time.monotonic() - began_s >= 0.3


@pytest.mark.parametrize(
    ("trouble", "status"), [(HubSpotTrouble.BUSY, 503), (HubSpotTrouble.TOO_FAST, 429), (HubSpotTrouble.GATEWAY, 504)]
)
def test_logins_meet_trouble_too(portal, trouble, status):
    portal.sandbox.faults.add(HubSpotFault(trouble=trouble, path="oauth"))
    assert requests.post(f"{portal.sandbox.url}/oauth/v1/token", data={}, timeout=10).status_code == status


def test_a_fault_strikes_the_calls_it_names(portal):
    plan(portal, HubSpotTrouble.BUSY, method="POST", nth=2, times=2)
    assert [portal.create(DEAL, CONTACT).status_code for _ in range(4)] == [201, 503, 503, 201]
    assert portal.get(f"{OBJECTS}/deals").status_code == 200


@pytest.mark.parametrize("body", [None, [], {"inputs": "x"}, {"inputs": [{"from": {}}]}, {"inputs": [{"id": "x"}]}])
def test_what_makes_no_sense_is_refused_and_the_portal_lives_on(portal, body):
    assert portal.post(f"{V4}/batch/create", body).status_code == 400
    assert portal.get(f"{OBJECTS}/deals").status_code == 200


# --- the command -----------------------------------------------------------------------------------------------------


def test_what_the_command_tells_opens_the_portal(monkeypatch):
    told, found = [], []

    def look():
        (document,) = told
        adapter = HubSpotAdapter(HubSpotOptions(access_token=document["login"]["access_token"], base_url=document["url"]))
        found.append((adapter.check().ok, sum(batch.num_rows for batch in adapter.read(Entity.OPPORTUNITY))))
        adapter.close()

    monkeypatch.setattr(Console, "answer", lambda self, document, *lines: told.append(document))
    monkeypatch.setattr(command, "_wait", look)
    monkeypatch.setattr(command, "session_of", lambda _: type("S", (), {"console": Console(as_json=True)}))
    app = typer.Typer()
    command.register(app)
    words = ["sandbox", "hubspot", "--port", "0", "--demo", "--opportunities", "20"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    ((is_ok, deals),) = found
    assert is_ok
    assert deals >= 20
