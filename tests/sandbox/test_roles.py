"""Contact roles: what the org does with them, known and unknown."""

import pytest
from tests.sandbox.conftest import Ids

from crmbridge.model import Entity
from crmbridge.testing import worlds
from crmbridge.testing.sandbox import RowFault, Switches
from crmbridge.testing.sandbox.salesforce.switches import (
    DeletedContact,
    MergePrimary,
    RoleWrite,
    RowGone,
    SecondRow,
    UnknownField,
)

pytestmark = pytest.mark.slow  # a server for every switch


def status_codes(answer):
    return [None if one["success"] else one["errors"][0]["statusCode"] for one in answer.json()]


def test_results_come_in_order_and_failures_do_not_spread(api, ids):
    deal, people = ids("opportunity-3"), [ids(f"contact-{number}") for number in (1, 2)]
    answer = api.add_roles((deal, people[0], "R", False), (deal, None, "R", False), (deal, people[1], None, False))
    assert answer.status_code == 200
    first, second, third = answer.json()
    assert (first["success"], first["errors"], first["id"][:3]) == (True, [], "00K")
    assert second == {
        "success": False,
        "errors": [
            {
                "statusCode": "REQUIRED_FIELD_MISSING",
                "message": "Required fields are missing: [ContactId]",
                "fields": ["ContactId"],
            }
        ],
    }
    assert third["success"]
    assert set(api.roles(deal)) == {(people[0], "R", False), (people[1], None, False)}


def test_all_or_none_rolls_back(api, ids):
    deal = ids("opportunity-3")
    answer = api.add_roles((deal, ids("contact-1"), "R", True), (deal, "003000000000000", "R", False), all_or_none=True)
    assert status_codes(answer) == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_CROSS_REFERENCE_KEY"]
    assert api.roles(deal) == []


def test_a_collection_holds_at_most_200(api, ids):
    role = (ids("opportunity-3"), ids("contact-1"), None, False)
    assert api.add_roles(*[role] * 201).status_code == 400
    assert api.add_roles(*[role] * 200).status_code == 200
    assert len(api.roles(ids("opportunity-3"))) == 200  # duplicates are allowed


def test_a_new_primary_clears_the_old_one(api, ids):
    deal = ids("opportunity-1")
    api.add_roles((deal, ids("contact-3"), "Influencer", True))
    assert [contact for contact, _, is_primary in api.roles(deal) if is_primary] == [ids("contact-3")]
    (record,) = api.records(f"SELECT ContactId FROM Opportunity WHERE Id = '{deal}'")
    assert record["ContactId"] == ids("contact-3")


def test_the_last_primary_of_a_request_wins(api, ids):
    deal = ids("opportunity-3")
    api.add_roles(*[(deal, ids(f"contact-{number}"), None, True) for number in (1, 2, 3)])
    assert [contact for contact, _, is_primary in api.roles(deal) if is_primary] == [ids("contact-3")]


def test_primary_by_update(api, ids):
    deal = ids("opportunity-1")
    rows = api.records(f"SELECT Id, IsPrimary FROM OpportunityContactRole WHERE OpportunityId = '{deal}' AND IsPrimary = false")
    record = {"attributes": {"type": "OpportunityContactRole"}, "Id": rows[0]["Id"], "IsPrimary": True}
    assert status_codes(api.patch("/composite/sobjects", {"records": [record]})) == [None]
    assert [contact for contact, _, is_primary in api.roles(deal) if is_primary] == [ids("contact-2")]


def test_an_opportunity_cannot_be_exchanged(api, ids):
    record = {"attributes": {"type": "OpportunityContactRole"}, "Id": ids("role-1"), "OpportunityId": ids("opportunity-2")}
    answer = api.patch("/composite/sobjects", {"records": [record]})
    assert status_codes(answer) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]


@pytest.mark.parametrize(("switch", "reads_back"), [(SecondRow.AS_WRITTEN, [False, True]), (SecondRow.PRIMARY, [True, True])])
def test_second_row_of_the_primary_contact(serve, switch, reads_back):
    api = serve(switches=Switches(second_row=switch))
    ids = Ids(api.sandbox)
    api.add_roles((ids("opportunity-1"), ids("contact-1"), "Evaluator", False))
    rows = [row for row in api.roles(ids("opportunity-1")) if row[0] == ids("contact-1")]
    assert sorted(is_primary for _, _, is_primary in rows) == reads_back


@pytest.mark.parametrize("second", list(SecondRow))
@pytest.mark.parametrize(("switch", "left"), [(RowGone.KEEPS_PRIMARY, 1), (RowGone.CLEARS_PRIMARY, 0)])
def test_deleting_the_second_row_of_the_primary_contact(serve, second, switch, left):
    api = serve(switches=Switches(second_row=second, row_gone=switch))
    ids = Ids(api.sandbox)
    (added,) = api.add_roles((ids("opportunity-1"), ids("contact-1"), "Evaluator", False)).json()
    api.remove(added["id"])
    assert sum(is_primary for _, _, is_primary in api.roles(ids("opportunity-1"))) == left


@pytest.mark.parametrize(("switch", "moved"), [(RoleWrite.LEAVES_OPPORTUNITY, 0), (RoleWrite.STAMPS_OPPORTUNITY, 1)])
def test_whether_a_role_stamps_its_opportunity(serve, switch, moved):
    api = serve(switches=Switches(role_write=switch))
    ids = Ids(api.sandbox)
    api.add_roles((ids("opportunity-3"), ids("contact-1"), None, False))
    assert len(api.records("SELECT Id FROM Opportunity WHERE SystemModstamp > 2025-01-01T00:00:00Z")) == moved


def test_deletes_are_hard_and_logged(api, ids):
    role = ids("role-1")
    assert status_codes(api.remove(role)) == [None]
    assert status_codes(api.remove(role)) == ["ENTITY_IS_DELETED"]
    assert len(api.records("SELECT Id FROM OpportunityContactRole", which="queryAll")) == 2
    assert api.sandbox.store.rows("SELECT object, id FROM deletions") == [("OpportunityContactRole", role)]


def test_roles_of_a_deleted_opportunity_are_marked(api, ids):
    api.sandbox.delete("Opportunity", ids("opportunity-1"))
    assert len(api.records("SELECT Id FROM OpportunityContactRole")) == 1
    marked = api.records("SELECT Id FROM OpportunityContactRole WHERE IsDeleted = true", which="queryAll")
    assert len(marked) == 2
    assert status_codes(api.add_roles((ids("opportunity-1"), ids("contact-1"), None, False))) == ["ENTITY_IS_DELETED"]


@pytest.mark.parametrize(("switch", "code"), [(DeletedContact.ACCEPTED, None), (DeletedContact.REFUSED, "ENTITY_IS_DELETED")])
def test_a_role_for_a_deleted_contact(serve, switch, code):
    api = serve(worlds.graves(), Switches(deleted_contact=switch))
    ids = Ids(api.sandbox)
    assert status_codes(api.add_roles((ids("opportunity-3"), ids("contact-dead"), None, False))) == [code]


@pytest.mark.parametrize("switch", list(UnknownField))
def test_an_unknown_field_in_a_collection(serve, switch):
    api = serve(switches=Switches(unknown_field=switch))
    ids = Ids(api.sandbox)
    record = {"attributes": {"type": "OpportunityContactRole"}, "OpportunityId": ids("opportunity-3")}
    record |= {"ContactId": ids("contact-1")}
    answer = api.post("/composite/sobjects", {"records": [record, record | {"Nope__c": "x"}]})
    if switch is UnknownField.FAILS_REQUEST:
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_FIELD")
    else:
        assert status_codes(answer) == [None, "INVALID_FIELD"]


@pytest.mark.parametrize(
    "code",
    [
        "UNABLE_TO_LOCK_ROW",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    ],
)
def test_planned_refusals_strike_their_rows_so_often(api, ids, code):
    api.sandbox.row_faults.add(RowFault(code=code, opportunities=frozenset({ids("opportunity-3")}), attempts=2))
    roles = [(ids(deal), ids("contact-3"), None, False) for deal in ("opportunity-3", "opportunity-4")]
    assert [status_codes(api.add_roles(*roles)) for _ in range(3)] == [[code, None], [code, None], [None, None]]


def test_a_planted_message_is_told(api, ids):
    api.sandbox.row_faults.add(RowFault(code="FIELD_CUSTOM_VALIDATION_EXCEPTION", message="not for Ada Planted"))
    answer = api.add_roles((ids("opportunity-3"), ids("contact-3"), None, False))
    assert answer.json()[0]["errors"][0]["message"] == "not for Ada Planted"


def test_a_user_who_may_only_read(serve):
    api = serve(switches=Switches(read_only=frozenset({"OpportunityContactRole"})))
    ids = Ids(api.sandbox)
    assert api.get("/sobjects/OpportunityContactRole/describe").json()["createable"] is False
    answer = api.add_roles((ids("opportunity-3"), ids("contact-3"), None, False))
    assert status_codes(answer) == ["INSUFFICIENT_ACCESS_OR_READONLY"]


def test_unknown_role_values_and_long_ones(api, ids):
    deal, contact = ids("opportunity-3"), ids("contact-3")
    answer = api.add_roles((deal, contact, "Court jester", False), (deal, contact, "", False), (deal, contact, "x" * 41, False))
    assert status_codes(answer) == [None, None, "STRING_TOO_LONG"]
    assert [role for _, role, _ in api.roles(deal) if role] == ["Court jester"]


def test_upsert_by_an_external_id(serve):
    lines = {"OpportunityContactRole": ("Crmbridge_Key__c string(80) cux", "Crmbridge_Run__c string(80) cu")}
    api = serve(switches=Switches(custom_fields=lines))
    ids = Ids(api.sandbox)
    record = {
        "attributes": {"type": "OpportunityContactRole"},
        "OpportunityId": ids("opportunity-3"),
        "ContactId": ids("contact-3"),
        "Crmbridge_Key__c": "k1",
    }
    address = "/composite/sobjects/OpportunityContactRole/Crmbridge_Key__c"
    (first,) = api.patch(address, {"records": [record]}).json()
    assert (first["success"], first["created"]) == (True, True)
    again = {name: value for name, value in record.items() if name != "OpportunityId"} | {"Role": "Evaluator"}
    (second,) = api.patch(address, {"records": [again]}).json()
    assert second == {"id": first["id"], "success": True, "errors": [], "created": False}
    assert api.roles(ids("opportunity-3")) == [(ids("contact-3"), "Evaluator", False)]
    answer = api.post("/composite/sobjects", {"records": [record]})
    assert status_codes(answer) == ["DUPLICATE_VALUE"]
    assert api.patch("/composite/sobjects/OpportunityContactRole/Role", {"records": [record]}).json()[0]["success"] is False


@pytest.mark.parametrize(("switch", "primaries"), [(MergePrimary.KEEPS_PRIMARY, 1), (MergePrimary.CLEARS_PRIMARY, 0)])
def test_merging_contacts_moves_what_they_have(serve, switch, primaries):
    api = serve(switches=Switches(merge_primary=switch))
    ids = Ids(api.sandbox)
    api.sandbox.merge_contacts(ids("contact-2"), ids("contact-1"))
    rows = api.roles(ids("opportunity-1"))
    assert [contact for contact, _, _ in rows] == [ids("contact-2")] * 2
    assert sum(is_primary for _, _, is_primary in rows) == primaries
    (loser,) = api.records(f"SELECT MasterRecordId FROM Contact WHERE Id = '{ids('contact-1')}'", which="queryAll")
    assert loser["MasterRecordId"] == ids("contact-2")


def test_a_campaign_member_is_unique(api, ids):
    record = {"attributes": {"type": "CampaignMember"}, "CampaignId": ids("campaign-1"), "ContactId": ids("contact-1")}
    assert status_codes(api.post("/composite/sobjects", {"records": [record]})) == ["DUPLICATE_VALUE"]
    other = record | {"ContactId": ids("contact-2")}
    assert status_codes(api.post("/composite/sobjects", {"records": [other, other]})) == [None, "DUPLICATE_VALUE"]


def test_single_records(api, ids):
    body = {"OpportunityId": ids("opportunity-3"), "ContactId": ids("contact-1")[:15]}
    made = api.post("/sobjects/OpportunityContactRole", body)
    assert (made.status_code, made.json()["success"]) == (201, True)
    address = f"/sobjects/OpportunityContactRole/{made.json()['id']}"
    assert api.patch(address, {"Role": "Other"}).status_code == 204
    assert api.get(address, params={"fields": "Role,ContactId"}).json()["ContactId"] == ids("contact-1")
    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404
    assert api.delete(address).json()[0]["errorCode"] == "ENTITY_IS_DELETED"


def test_by_hand_speaks_of_the_same_store(api, ids):
    made = api.sandbox.insert("OpportunityContactRole", OpportunityId=ids("opportunity-3"), ContactId=ids("contact-1"))
    api.sandbox.change("OpportunityContactRole", made, Role="Other")
    assert api.roles(ids("opportunity-3")) == [(ids("contact-1"), "Other", False)]
    api.sandbox.delete("OpportunityContactRole", made)
    with pytest.raises(ValueError, match="ENTITY_IS_DELETED"):
        api.sandbox.delete("OpportunityContactRole", made)


def test_the_id_map_goes_both_ways(api):
    known = api.sandbox.sf_id(Entity.CONTACT, "contact-1")
    assert api.sandbox.canonical_id(Entity.CONTACT, known) == "contact-1"
    with pytest.raises(KeyError):
        api.sandbox.sf_id(Entity.CONTACT, "nobody")
