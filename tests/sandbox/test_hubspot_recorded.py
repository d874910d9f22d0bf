"""The portal's answers beside recorded real ones, and the adapter on those; nothing of them is kept in this project."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.sandbox.portal_client import OBJECTS, PortalClient

from crmbridge.adapters.hubspot import HubSpotAdapter, HubSpotOptions, batches
from crmbridge.adapters.hubspot.batches import Input
from crmbridge.adapters.hubspot.connection import Connection
from crmbridge.adapters.hubspot.settle import Fate
from crmbridge.model import Account, Campaign, CampaignMember, Contact, Entity, Opportunity
from crmbridge.testing.sandbox import HubSpotSandbox, HubSpotSwitches
from plain_server import plain_server

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "hubspot-recorded"
LINKED, ALONE, COMPANY = "501", "103107104018", "29022297485"
PLAIN = ("HUBSPOT_DEFINED", 3)
THEN = datetime(2026, 1, 1, tzinfo=UTC)
CAMPAIGNS = "/marketing/v3/campaigns"

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded responses in {RECORDED}")


def recorded(name):
    return json.loads((RECORDED / f"{name}.json").read_text())


# --- the portal says it alike ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portal():
    """A portal that holds what the recorded one held, as far as is told."""
    common = {"created_at": THEN, "modified_at": THEN}
    contacts = [Contact(id=one, last_name="Lark", email=f"{one}@x.example", **common) for one in (LINKED, ALONE)]
    fairs = [
        Campaign(id=f"fair {one}", name="Fair", budgeted_cost=Decimal(2), currency="EUR", created_at=THEN) for one in range(3)
    ]
    touched = {"campaign_id": "fair 0", "has_responded": True, "responded_at": THEN}
    world = {
        Entity.ACCOUNT: [Account(id=COMPANY, name="Firm", **common)],
        Entity.CONTACT: [contacts[0].model_copy(update={"account_id": COMPANY}), contacts[1]],
        Entity.OPPORTUNITY: [Opportunity(id="7", name="Deal", is_closed=False, is_won=False, **common)],
        Entity.CAMPAIGN: fairs,
        Entity.CAMPAIGN_MEMBER: [CampaignMember(id=one, contact_id=one, **touched) for one in (LINKED, ALONE)],
    }
    with HubSpotSandbox(world, HubSpotSwitches(hidden=frozenset({"leads"}))) as sandbox:
        client = PortalClient(sandbox)
        yield client
        client.close()


def same_shape(ours, real, *, more=frozenset(), loose=frozenset()):
    """Both hold the same keys and kinds of values, all the way down; lists by their first item.

    Args:
        ours, real: what is compared.
        more: keys that ours may have and an older recording has not.
        loose: keys of objects whose own keys may be any: properties of which blank ones are left out.
    """
    if isinstance(real, dict):
        if not isinstance(ours, dict) or set(ours) - more != set(real) - more:
            return False
        return all(key in loose or same_shape(ours[key], real[key], more=more, loose=loose) for key in real)
    if isinstance(real, list):
        if not isinstance(ours, list) or bool(ours) != bool(real):
            return False
        return not real or same_shape(ours[0], real[0], more=more, loose=loose)
    return type(ours) is type(real)


def test_a_page_of_contacts_has_the_real_shape(portal):
    ours = portal.get(f"{OBJECTS}/contacts", limit=1, properties="email").json()
    assert same_shape(ours, recorded("read__objects-api__contacts-response"), more={"url", "hs_object_id"})


def test_a_batch_of_contacts_has_the_real_shape(portal):
    body = {"inputs": [{"id": LINKED}, {"id": ALONE}], "properties": ["email", "firstname", "lastname"]}
    for contact in (LINKED, ALONE):
        portal.sandbox.change("contacts", contact, firstname="Ann")
    answer = portal.post(f"{OBJECTS}/contacts/batch/read", body)
    assert answer.status_code == 200
    assert same_shape(answer.json(), recorded("read__objects-api__contacts-batch"))


@pytest.mark.parametrize(("page", "after"), [("1-first-page", None), ("2-second-page", "1")])
def test_a_page_of_a_search_has_the_real_shape(portal, page, after):
    real = recorded(f"search__contacts__{page}")
    portal.sandbox.change("contacts", ALONE, phone="1", firstname="Ann")
    portal.sandbox.change("contacts", LINKED, firstname="Ann")
    asked = ["company", "email", "firstname", "lastname", "phone", "website"]
    body = {"properties": asked, "limit": 1, "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]}
    ours = portal.search("contacts", **body, **({"after": after} if after else {})).json()
    assert same_shape(ours, real)


@pytest.mark.parametrize(
    ("name", "found"),
    [("read-via-search__contacts-payload", [LINKED, ALONE]), ("read__objects-api__contacts-req-payload-since-until", [])],
)
def test_a_search_as_others_send_it_is_understood(portal, name, found):
    """Moments as ISO 8601, and a limit as text."""
    for contact in (LINKED, ALONE):
        portal.sandbox.change("contacts", contact)
    answer = portal.post(f"{OBJECTS}/contacts/search", recorded(name))
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["results"]] == found


def test_an_unknown_kind_is_told_in_the_real_words(portal):
    real = recorded("search__error-invalid-object")
    answer = portal.search("butterflies")
    assert (answer.status_code, answer.json() | {"correlationId": ""}) == (400, real | {"correlationId": ""})


def test_a_missing_scope_is_told_in_the_real_words(portal):
    real = recorded("metadata-err-schemas-scope")
    answer = portal.get(f"{OBJECTS}/leads")
    assert answer.status_code == 403
    ours = answer.json()
    assert same_shape(ours, real)
    assert (ours["category"], ours["message"]) == (real["category"], real["message"])


def test_an_error_has_the_real_shape(portal):
    real = recorded("batch__create__contacts__err-conflict")
    assert same_shape(portal.get(f"{OBJECTS}/contacts", limit=1_000).json(), real)


def test_links_are_read_as_recorded(portal):
    real = recorded("search__contacts__contacts-to-companies")
    answer = portal.inputs("read", {"id": LINKED}, {"id": ALONE}, home="/crm/associations/2026-03/contacts/companies")
    assert answer.status_code == 207
    ours = answer.json()
    assert same_shape(ours, real)
    assert ours["results"] == real["results"]
    assert ours["errors"] == real["errors"]


def test_links_are_made_as_recorded(portal):
    plain = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}
    body = {"from": {"id": LINKED}, "to": {"id": COMPANY}, "types": [plain]}
    answer = portal.inputs("create", body, home="/crm/associations/2026-03/contacts/companies")
    assert answer.status_code == 201
    assert same_shape(answer.json(), recorded("associations__contact-to-company-resp"))


def test_an_id_that_is_none_is_refused_in_the_real_words(portal):
    real = recorded("associations__err-contact-to-contact")
    (unknown,) = real["errors"][0]["context"]["id"]
    body = {"from": {"id": "7"}, "to": {"id": unknown}, "types": []}
    answer = portal.inputs("create", body)
    assert answer.status_code == 207
    ours = answer.json()
    assert same_shape(ours, real)
    assert ours["errors"] == real["errors"][:1]


@pytest.mark.parametrize("home", [CAMPAIGNS, "/marketing/campaigns/2026-03"])
def test_pages_of_campaigns_have_the_real_shape(portal, home):
    first, last = (recorded(f"read__campaigns__{page}") for page in ("1-first-page", "2-last-page"))
    properties = "hs_name,hs_notes,hs_budget_items_sum_amount"
    ours = portal.get(home, limit=2, properties=properties).json()
    assert same_shape(ours, first, loose={"properties"})
    assert {type(text) for one in ours["results"] for text in one["properties"].values()} == {str}
    after = ours["paging"]["next"]["after"]
    assert after == first["paging"]["next"]["after"], "encoded as it stands in the link"
    (asked,) = parse_qs(urlsplit(first["paging"]["next"]["link"]).query)["after"]
    ours = portal.get(home, limit=2, properties=properties, after=asked).json()
    assert same_shape(ours, last, loose={"properties"})


def test_whom_a_campaign_touched_is_told_in_the_real_shape(portal):
    guid = portal.sandbox.hs_id(Entity.CAMPAIGN, "fair 0")
    ours = portal.get(f"{CAMPAIGNS}/{guid}/reports/contacts/influencedContacts").json()
    assert same_shape(ours, recorded("read__campaigns__influenced-contacts"))


def test_the_assets_of_a_campaign_are_told_in_the_real_shape(portal):
    guid = portal.sandbox.hs_id(Entity.CAMPAIGN, "fair 0")
    ours = portal.get(f"{CAMPAIGNS}/{guid}/assets/OBJECT_LIST").json()
    assert same_shape(ours, recorded("read__campaigns__marketing-email-assets-2-page"))


def test_pipelines_have_the_real_shape(portal):
    ours = portal.get("/crm/v3/pipelines/deals").json()
    assert same_shape(ours, recorded("metadata-deals-external-pipelines"))


# --- the adapter understands the real ones ---------------------------------------------------------------------------


@contextmanager
def answering(**by_path):
    """A server that gives recorded answers: method and path -> status and body, or a function of the request."""
    seen = []

    def answer(method, path, content):
        parts = urlsplit(path)
        asked = json.loads(content) if content else {name: values[0] for name, values in parse_qs(parts.query).items()}
        seen.append((parts.path, asked))
        status, body = by_path.get(f"{method} {parts.path}", (200, {"results": [], "total": 0}))
        return status, {}, json.dumps(body(asked) if callable(body) else body).encode()

    with plain_server(answer) as url:
        yield url, seen


@contextmanager
def adapter_on(answers, **options):
    with answering(**answers) as (url, seen):
        adapter = HubSpotAdapter(HubSpotOptions(access_token="token", base_url=url, time_zone="UTC", settle_wait_s=0, **options))
        try:
            yield adapter, seen
        finally:
            adapter.close()


def rows(adapter, entity, **options):
    return {row["id"]: row for batch in adapter.read(entity, **options) for row in batch.to_pylist()}


def paged(path, *names):
    """The pages of a recorded listing, by the cursor that stands in the link to each."""
    pages = [recorded(name) for name in names]
    cursors = [None]
    for page in pages[:-1]:
        cursors += parse_qs(urlsplit(page["paging"]["next"]["link"]).query)["after"]
    by_cursor = dict(zip(cursors, pages, strict=True))
    return {f"GET {path}": (200, lambda asked: by_cursor[asked.get("after")])}


@pytest.mark.parametrize(("api", "home"), [("v4", CAMPAIGNS), ("2026-03", "/marketing/campaigns/2026-03")])
def test_real_campaigns_are_read_to_the_last_page(api, home):
    with adapter_on(paged(home, "read__campaigns__1-first-page", "read__campaigns__2-last-page"), api=api) as (adapter, _):
        found = rows(adapter, Entity.CAMPAIGN)
    told = [one for page in ("1-first-page", "2-last-page") for one in recorded(f"read__campaigns__{page}")["results"]]
    assert {one: row["name"] for one, row in found.items()} == {one["id"]: one["properties"]["hs_name"] for one in told}
    assert [row["budgeted_cost"] for row in found.values()] == [Decimal(2), None, None]
    assert {row["actual_cost"] for row in found.values()} == {None}
    assert found[told[0]["id"]]["created_at"] == datetime.fromisoformat(told[0]["createdAt"])


def test_real_reports_name_whom_a_campaign_touched():
    (campaign,) = recorded("read__campaigns__2-last-page")["results"]
    report = f"GET {CAMPAIGNS}/{campaign['id']}/reports/contacts/influencedContacts"
    answers = paged(CAMPAIGNS, "read__campaigns__2-last-page") | {report: (200, recorded("read__campaigns__influenced-contacts"))}
    with adapter_on(answers, touch_sources=["reports"], touch_slice_days=366) as (adapter, _):
        found = rows(adapter, Entity.CAMPAIGN_MEMBER)
    assert {row["contact_id"] for row in found.values()} == {
        one["id"] for one in recorded("read__campaigns__influenced-contacts")["results"]
    }
    assert {(row["campaign_id"], row["has_responded"], row["date_quality"]) for row in found.values()} == {
        (campaign["id"], True, "inferred")
    }


def test_deals_on_real_stages_are_closed_and_won_by_their_metadata():
    pipelines = recorded("metadata-deals-external-pipelines")
    (frame, *_) = recorded("read__objects-api__contacts-batch")["results"]
    (pipeline,) = pipelines["results"]
    told = {"pipeline": pipeline["id"], "dealname": "Deal", "amount": "1.5"}
    deals = [
        frame | {"id": str(number), "properties": told | {"dealstage": stage["id"]}}
        for number, stage in enumerate(pipeline["stages"], 1)
    ]
    answers = {"GET /crm/v3/pipelines/deals": (200, pipelines), f"GET {OBJECTS}/deals": (200, {"results": deals})}
    with adapter_on(answers) as (adapter, _):
        found = rows(adapter, Entity.OPPORTUNITY)
    judged = {row["stage"]: (row["is_closed"], row["is_won"]) for row in found.values()}
    assert judged == {
        stage["label"]: (stage["metadata"]["isClosed"] == "true", stage["metadata"]["probability"] == "1.0")
        for stage in pipeline["stages"]
    }
    assert {row["record_type"] for row in found.values()} == {pipeline["label"]}
    assert {row["amount"] for row in found.values()} == {Decimal("1.5")}
    assert {row["created_at"] for row in found.values()} == {datetime.fromisoformat(frame["createdAt"])}


def test_real_contacts_are_read_from_a_listing():
    page = recorded("read__objects-api__contacts-response")
    del page["paging"]
    with adapter_on({f"GET {OBJECTS}/contacts": (200, page)}) as (adapter, _):
        found = rows(adapter, Entity.CONTACT)
    assert {one: (row["email"], row["modified_at"]) for one, row in found.items()} == {
        one["id"]: (one["properties"]["email"], datetime.fromisoformat(one["updatedAt"])) for one in page["results"]
    }


def test_real_contacts_are_read_from_a_search_with_their_real_links():
    pages = {None: recorded("search__contacts__1-first-page"), "54": recorded("search__contacts__2-second-page")}
    links = recorded("search__contacts__contacts-to-companies")
    answers = {
        f"POST {OBJECTS}/contacts/search": (200, lambda asked: pages[asked.get("after")]),
        "POST /crm/v4/associations/contacts/companies/batch/read": (207, links),
    }
    with adapter_on(answers, links_stay=True) as (adapter, seen):
        since = datetime(2024, 1, 1, tzinfo=UTC)
        found = rows(adapter, Entity.CONTACT, since=since)
        relations = rows(adapter, Entity.ACCOUNT_CONTACT_RELATION, since=since)
    told = [one for page in pages.values() for one in page["results"]]
    assert {one: row["last_name"] for one, row in found.items()} == {one["id"]: one["properties"]["lastname"] for one in told}
    assert {(row["contact_id"], row["account_id"]) for row in relations.values()} == {(LINKED, COMPANY)}
    (asked,) = [body for path, body in seen if path.endswith("contacts/companies/batch/read")][:1]
    assert asked == {"inputs": [{"id": LINKED}, {"id": ALONE}]}


def test_a_real_lack_of_scope_leaves_an_object_out():
    answers = {f"GET {OBJECTS}/leads": (403, recorded("metadata-err-schemas-scope"))}
    with adapter_on(answers) as (adapter, _):
        assert Entity.LEAD not in adapter.capabilities.entities
        (check,) = [check for check in adapter.check().checks if check.name == "leads"]
    assert (check.status, check.detail.partition(":")[0]) == ("warning", "MISSING_SCOPES")


def test_a_real_unknown_object_leaves_it_out():
    answers = {f"GET {OBJECTS}/leads": (400, recorded("search__error-invalid-object"))}
    with adapter_on(answers) as (adapter, _):
        assert Entity.LEAD not in adapter.capabilities.entities


@contextmanager
def created(status, name, *pairs):
    """What becomes of pairs that a recorded answer speaks of."""
    path = "POST /crm/v4/associations/deals/contacts/batch/create"
    with answering(**{path: (status, recorded(name))}) as (url, _):
        connection = Connection(HubSpotOptions(access_token="token", base_url=url))
        try:
            yield batches.create(connection, [Input(pair, (PLAIN,)) for pair in pairs])
        finally:
            connection.close()


def test_real_answers_are_matched_by_pair():
    told = recorded("associations__contact-to-company-resp")["results"]
    pairs = [(str(one["fromObjectId"]), str(one["toObjectId"])) for one in told]
    with created(201, "associations__contact-to-company-resp", *reversed(pairs), ("1", "2")) as answers:
        assert {pair: answers[pair].fate for pair in pairs} == dict.fromkeys(pairs, Fate.DONE)
        assert (answers["1", "2"].fate, answers["1", "2"].code) == (Fate.OPEN, "NO_RESULT")


def test_real_errors_are_matched_with_whom_they_name():
    errors = recorded("associations__err-contact-to-contact")["errors"]
    (unknown,) = errors[0]["context"]["id"]
    with created(207, "associations__err-contact-to-contact", ("1", unknown), ("1", "2")) as answers:
        assert (answers["1", unknown].fate, answers["1", unknown].code) == (Fate.REFUSED, "INVALID_IDENTIFIER")
        assert (answers["1", "2"].fate, answers["1", "2"].code) == (Fate.UNNAMED, "VALIDATION_ERROR")
