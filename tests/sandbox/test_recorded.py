"""The sandbox's answers beside recorded real ones, where those are at hand; nothing of them is kept in this project."""

import json
from pathlib import Path

import pytest
from tests.sandbox.conftest import Ids

from crmbridge.testing import worlds
from crmbridge.testing.sandbox import Switches
from crmbridge.testing.sandbox.salesforce.switches import Currencies

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "salesforce-recorded"
OBJECTS = ("Account", "Contact", "Event", "Lead", "Opportunity", "OpportunityContactRole")
TRAITS = ("name", "keyPrefix", "createable", "updateable", "deletable", "undeletable", "mergeable", "queryable", "triggerable")
FLAGS = ("type", "soapType", "nillable", "createable", "updateable", "defaultedOnCreate", "length", "relationshipName")
# The recorded org has no record types for opportunities, so no such field.
FURTHER = {"Contact": {"Has_Left__c"}, "Opportunity": {"Signer__c", "RecordTypeId"}}

needs_recorded = pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded responses in {RECORDED}")
pytestmark = needs_recorded


@pytest.fixture(scope="module")
def describes():
    return json.loads((RECORDED / "describes.json").read_text())["describes"]


@pytest.fixture
def single(serve):
    return serve(switches=Switches(currencies=Currencies.SINGLE))


@pytest.mark.parametrize("name", OBJECTS)
def test_describe_agrees_on_every_field_that_both_have(single, describes, name):
    real, ours = describes[name], single.get(f"/sobjects/{name}/describe").json()
    assert {trait: ours[trait] for trait in TRAITS} == {trait: real[trait] for trait in TRAITS}
    real_fields = {field["name"]: field for field in real["fields"]}
    our_fields = {field["name"]: field for field in ours["fields"]}
    assert set(our_fields) - set(real_fields) == FURTHER.get(name, set())
    for field_name in set(our_fields) & set(real_fields):
        mine, theirs = our_fields[field_name], real_fields[field_name]
        assert {flag: mine[flag] for flag in FLAGS} == {flag: theirs[flag] for flag in FLAGS}, field_name
        assert set(mine["referenceTo"]) <= set(theirs["referenceTo"]), field_name
        assert mine["restrictedPicklist"] == theirs["restrictedPicklist"], field_name
        assert set(mine) <= set(theirs)


def test_the_standard_roles_are_offered(single, describes):
    def values(told):
        (role,) = [field for field in told["fields"] if field["name"] == "Role"]
        return [value["value"] for value in role["picklistValues"]]

    real = values(describes["OpportunityContactRole"])
    assert values(single.get("/sobjects/OpportunityContactRole/describe").json()) == real


def same_shape(ours, real):
    """Both hold the same keys and kinds of values, all the way down; lists by their first item."""
    if isinstance(real, dict):
        return isinstance(ours, dict) and set(ours) == set(real) and all(same_shape(ours[key], real[key]) for key in real)
    if isinstance(real, list):
        return isinstance(ours, list) and (not real or not ours or same_shape(ours[0], real[0]))
    return type(ours) is type(real)


def recorded(name):
    """(method, path, parsed answer) of each call of a cassette that has all three."""
    yaml = pytest.importorskip("yaml")
    interactions = yaml.safe_load((RECORDED / name).read_text())["interactions"]
    for one in interactions:
        if "request" in one and "{" in str(one["response"]["body"]["string"]):
            path = one["request"]["uri"].partition("/services/data/vxx.0")[2]
            yield one["request"]["method"], path, json.loads(one["response"]["body"]["string"])


def answer_to(name, method, ends):
    return next(body for verb, path, body in recorded(name) if verb == method and path.startswith(ends))


def test_a_page_of_records_has_the_real_shape(single):
    real = answer_to("TestUpdatesIntegrationTests.test_updates_task.yaml", "GET", "/query/?q=SELECT+Id%2CName+FROM")
    assert same_shape(single.query("SELECT Id, Name FROM Account").json(), real)


def test_a_collection_has_the_real_shape(serve):
    api = serve(worlds.small())
    ids = Ids(api.sandbox)
    real = answer_to("TestUpsert.test_upsert__rest.yaml", "POST", "/composite/sobjects")
    ours = api.add_roles((ids("opportunity-3"), ids("contact-1"), None, False)).json()
    assert same_shape(ours, real)


def test_an_upsert_has_the_real_shape(single):
    real = answer_to("TestUpsert.test_upsert__rest.yaml", "PATCH", "/composite/sobjects/Contact/Email")
    record = {"attributes": {"type": "Contact"}, "LastName": "New", "Email": "new@planted.example"}
    known = {"attributes": {"type": "Contact"}, "LastName": "Known", "Email": "PERSON1@company1.example"}
    ours = single.patch("/composite/sobjects/Contact/Email", {"records": [record, known]}).json()
    assert same_shape(ours, real)
    assert [one["created"] for one in ours] == [True, False]


def test_a_composite_error_has_the_real_shape(single):
    real = answer_to("TestCompositeParallelSalesforce.test_errors.yaml", "POST", "/composite")
    asked = {"referenceId": "CCI__RefId__0__", "method": "GET", "url": "/services/data/v62.0/sobjects/Foo"}
    ours = single.post("/composite", {"compositeRequest": [asked]}).json()
    assert same_shape(ours, real)
    assert ours["compositeResponse"][0]["body"][0] == real["compositeResponse"][0]["body"][0]


def test_a_count_of_records_has_the_real_shape(single):
    real = answer_to("TestUpdatesIntegrationTests.test_updates_task.yaml", "GET", "/limits/recordCount")
    assert same_shape(single.get("/limits/recordCount", params={"sObjects": "Account"}).json(), real)


def test_the_organisation_has_fields_of_the_real_one(single):
    real = json.loads(_organisation())
    ours = single.records("SELECT Id, Name, TimeZoneSidKey, IsSandbox, OrganizationType, InstanceName FROM Organization")[0]
    assert all(type(ours[name]) is type(real[name]) for name in ours)


def _organisation():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((RECORDED / "GET_sobjects_Organization.yaml").read_text())["response"]["body"]["string"]
