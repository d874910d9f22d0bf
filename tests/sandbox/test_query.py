"""SOQL, pages and cursors, describe, and what the user cannot see."""

import gzip

import pytest
from tests.sandbox.conftest import Api

from crmbridge.model import Entity
from crmbridge.testing import worlds
from crmbridge.testing.sandbox import SalesforceSandbox, Switches

pytestmark = pytest.mark.slow  # the instrument itself; what adapters need of it shows in their tests


@pytest.fixture(scope="module")
def api():
    """One small org for all tests that only read."""
    with SalesforceSandbox(worlds.small()) as sandbox:
        shared = Api(sandbox)
        yield shared
        shared.session.close()


def names(api, where):
    return [row["Name"] for row in api.records(f"SELECT Name FROM Opportunity WHERE {where} ORDER BY Name")]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Name = 'DEAL 1'", [1]),
        ("Name != 'deal 1'", [2, 3, 4]),
        ("Name LIKE 'deal%' AND (NOT Name LIKE '%1')", [2, 3, 4]),
        ("Name IN ('Deal 1', 'Deal 4')", [1, 4]),
        ("Name NOT IN ('Deal 1', 'Deal 4')", [2, 3]),
        ("Amount = null", [4]),
        ("Amount != null", [1, 2, 3]),
        ("Amount > 0.1", [1, 3]),
        ("Amount >= 0.1 AND Amount < 1200.5", [2]),
        ("Type != 'New Business'", [2, 3, 4]),
        ("IsClosed = true", [1]),
        ("CloseDate <= 2024-02-02", [1, 2]),
        ("SystemModstamp > 2024-01-09T09:30:00Z", [3, 4]),
        ("SystemModstamp >= 2024-01-09T10:30:00+01:00", [2, 3, 4]),
        ("(Name = 'Deal 1' OR Name = 'Deal 2') AND IsClosed = false", [2]),
        ("Campaign.Name = 'Trade fair'", [2]),
        ("Id IN (SELECT OpportunityId FROM OpportunityContactRole WHERE IsPrimary = true)", [1]),
        ("Id NOT IN (SELECT OpportunityId FROM OpportunityContactRole)", [3, 4]),
    ],
)
def test_where(api, where, found):
    assert names(api, where) == [f"Deal {number}" for number in found]


def test_order_limit_and_offset(api):
    rows = api.records("SELECT Name FROM Opportunity ORDER BY Amount DESC NULLS LAST, Name LIMIT 2 OFFSET 1")
    assert [row["Name"] for row in rows] == ["Deal 1", "Deal 2"]


def test_parents_hang_in_the_record(api, ids):
    page = api.query(f"SELECT Name, Account.Name, Owner.UserRole.Name FROM Contact WHERE Id = '{ids('contact-1')}'").json()
    (record,) = page["records"]
    assert record["attributes"] == {
        "type": "Contact",
        "url": f"/services/data/v62.0/sobjects/Contact/{ids('contact-1')}",
    }
    assert record["Account"]["Name"] == "Company 2"
    assert record["Owner"]["UserRole"]["Name"] == "North"
    assert list(record) == ["attributes", "Name", "Account", "Owner"]
    (alone,) = api.records(f"SELECT Account.Name FROM Contact WHERE Id = '{ids('contact-5')}'")
    assert alone == {"Account": None}


def test_both_lengths_of_an_id_are_equal(api, ids):
    for known in (ids("contact-1"), ids("contact-1")[:15]):
        assert len(api.records(f"SELECT Id FROM Contact WHERE Id = '{known}'")) == 1


def test_values_have_json_types(api, ids):
    fields = "Amount, IsWon, CloseDate, CreatedDate, Type, CurrencyIsoCode"
    soql = f"SELECT {fields} FROM Opportunity WHERE Id = '{ids('opportunity-1')}'"
    (record,) = api.records(soql)
    assert record == {
        "Amount": 1200.5,
        "IsWon": True,
        "CloseDate": "2024-02-01",
        "CreatedDate": "2024-01-02T09:30:00.000+0000",
        "Type": "New Business",
        "CurrencyIsoCode": "EUR",
    }


def test_counts_and_figures(api):
    assert api.query("SELECT COUNT() FROM Contact").json() == {"totalSize": 5, "done": True, "records": []}
    (figures,) = api.records("SELECT COUNT(Id), MAX(Amount) most FROM Opportunity")
    assert figures == {"expr0": 4, "most": 98765432109.87}


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT Id Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Name = 'a", "MALFORMED_QUERY"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Contact", "INVALID_FIELD"),
        ("SELECT Id, Id FROM Contact", "INVALID_FIELD"),
        ("SELECT Nope.Name FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE CreatedDate > 'yesterday'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Id = 'nobody'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FROM Contact WHERE Name = '" + "x" * 4001 + "'", "MALFORMED_QUERY"),
    ],
)
def test_a_wrong_query_is_a_list_of_one_error(api, soql, code):
    answer = api.query(soql)
    assert answer.status_code == 400
    assert [set(error) for error in answer.json()] == [{"message", "errorCode"}]
    assert answer.json()[0]["errorCode"] == code


def test_a_quote_in_a_text_is_no_way_out(api):
    assert api.records("SELECT Id FROM Contact WHERE Name = 'O\\'Brien\\\\' OR Name = '\\'; DROP'") == []


def test_pages_follow_a_cursor(serve):
    api = serve(worlds.crowded(opportunities=1, contacts=450))
    first = api.query("SELECT Id FROM Contact").json()
    assert (first["totalSize"], first["done"], len(first["records"])) == (450, True, 450)
    paged = api.get("/query", params={"q": "SELECT Id FROM Contact"}, headers={"Sforce-Query-Options": "batchSize=200"}).json()
    assert (paged["totalSize"], paged["done"], len(paged["records"])) == (450, False, 200)
    second = api.session.get(api.sandbox.url + paged["nextRecordsUrl"]).json()
    third = api.session.get(api.sandbox.url + second["nextRecordsUrl"]).json()
    assert (len(second["records"]), len(third["records"]), third["done"]) == (200, 50, True)
    assert "nextRecordsUrl" not in third
    every = [record["Id"] for page in (paged, second, third) for record in page["records"]]
    assert len(set(every)) == 450


def test_an_expired_cursor(serve):
    api = serve(worlds.crowded(opportunities=1, contacts=3), Switches(page_rows=2))
    paged = api.query("SELECT Id FROM Contact").json()
    api.sandbox.expire_cursors()
    answer = api.session.get(api.sandbox.url + paged["nextRecordsUrl"])
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_a_cursor_shows_the_moment_it_was_opened(serve):
    api = serve(worlds.crowded(opportunities=1, contacts=3), Switches(page_rows=2))
    paged = api.query("SELECT Id FROM Contact").json()
    api.sandbox.insert("Contact", LastName="Later")
    rest = api.session.get(api.sandbox.url + paged["nextRecordsUrl"]).json()
    assert len(rest["records"]) == 1


def test_an_address_too_long_is_refused(api):
    many = ",".join(f"'{number:018d}'" for number in range(1000))
    assert api.query(f"SELECT Id FROM Contact WHERE Name IN ({many})").status_code == 414


def test_deleted_and_merged_are_seen_by_query_all_only(serve):
    api = serve(worlds.graves())
    dead, merged = (api.sandbox.sf_id(Entity.CONTACT, one) for one in ("contact-dead", "contact-merged"))
    seen = {row["Id"] for row in api.records("SELECT Id FROM Contact")}
    every = {row["Id"]: row for row in api.records("SELECT Id, IsDeleted, MasterRecordId FROM Contact", which="queryAll")}
    assert not {dead, merged} & seen
    assert every[dead] == {"Id": dead, "IsDeleted": True, "MasterRecordId": None}
    assert every[merged]["MasterRecordId"] == api.sandbox.sf_id(Entity.CONTACT, "contact-1")


def test_a_directly_deleted_role_is_gone_even_from_query_all(serve):
    api = serve(worlds.graves())
    assert len(api.records("SELECT Id FROM OpportunityContactRole", which="queryAll")) == 3


def test_archived_activities_are_seen_by_query_all_only(serve):
    from datetime import date

    api = serve(switches=Switches(archived_before=date(2024, 1, 5)))
    assert api.records("SELECT Id FROM Event") == []
    assert [row["IsArchived"] for row in api.records("SELECT Id, IsArchived FROM Event", which="queryAll")] == [True]
    assert len(api.records("SELECT Id FROM Task")) == 1


def test_hidden_objects_and_fields_do_not_exist_for_the_user(serve):
    api = serve(switches=Switches(hidden=frozenset({"CampaignMember", "Contact.Email"})))
    assert api.query("SELECT Id FROM CampaignMember").json()[0]["errorCode"] == "INVALID_TYPE"
    assert api.query("SELECT Email FROM Contact").json()[0]["errorCode"] == "INVALID_FIELD"
    assert api.get("/sobjects/CampaignMember/describe").status_code == 404
    assert "Email" not in {field["name"] for field in api.get("/sobjects/Contact/describe").json()["fields"]}


def test_an_invisible_contact_leaves_no_trace_but_its_role(serve):
    from crmbridge.testing.sandbox.salesforce.ids import made_from

    hidden = made_from("003", "contact-1")
    api = serve(switches=Switches(invisible_contacts=frozenset({hidden})))
    assert hidden not in {row["Id"] for row in api.records("SELECT Id FROM Contact")}
    rows = api.records("SELECT ContactId, Contact.Name FROM OpportunityContactRole")
    assert [row["Contact"] for row in rows if row["ContactId"] == hidden] == [None, None]


def test_gzip_both_ways(serve):
    api = serve()
    answer = api.query("SELECT Id, Name, Email, CreatedDate FROM Contact")
    assert answer.headers["Content-Encoding"] == "gzip"
    body = gzip.compress(b'{"LastName": "Packed"}')
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert api.session.post(api.root + "/sobjects/Contact", data=body, headers=headers).status_code == 201


def test_describe_says_what_may_be_written(api):
    told = api.get("/sobjects/OpportunityContactRole/describe").json()
    fields = {field["name"]: field for field in told["fields"]}
    assert (told["keyPrefix"], told["undeletable"], told["createable"]) == ("00K", False, True)
    assert (fields["OpportunityId"]["createable"], fields["OpportunityId"]["updateable"]) == (True, False)
    assert fields["Role"]["restrictedPicklist"] is False
    assert "Decision Maker" in {value["value"] for value in fields["Role"]["picklistValues"]}


def test_composite_asks_many_things_at_once(api):
    asked = [
        {"referenceId": "one", "method": "GET", "url": "/services/data/v62.0/sobjects/Contact/describe"},
        {"referenceId": "two", "method": "GET", "url": "/services/data/v62.0/query?q=SELECT+COUNT()+FROM+Contact"},
        {"referenceId": "three", "method": "GET", "url": "/services/data/v62.0/sobjects/Nope/describe"},
    ]
    answers = api.post("/composite", {"compositeRequest": asked}).json()["compositeResponse"]
    assert [answer["httpStatusCode"] for answer in answers] == [200, 200, 404]
    assert answers[1]["body"]["totalSize"] == 5
    assert answers[2]["body"][0]["errorCode"] == "NOT_FOUND"
    assert api.post("/composite", {"compositeRequest": asked * 9}).status_code == 400


def test_a_composite_holds_five_queries(api):
    one = {"method": "GET", "url": "/services/data/v62.0/query?q=SELECT+Id+FROM+Contact", "referenceId": "q"}
    page, *_ = api.post("/composite", {"compositeRequest": [one] * 5}).json()["compositeResponse"]
    assert page["body"]["totalSize"] == 5
    assert api.post("/composite", {"compositeRequest": [one] * 6}).status_code == 400


def test_limits_and_usage(serve):
    api = serve()
    answer = api.get("/limits")
    used = int(answer.headers["Sforce-Limit-Info"].removeprefix("api-usage=").split("/")[0])
    assert answer.json()["DailyApiRequests"] == {"Max": 15_000, "Remaining": 15_000 - used}
    assert api.sandbox.calls["limits"] == 1


def test_the_daily_limit_is_terminal(serve):
    api = serve(switches=Switches(daily_calls=2))
    assert [api.get("/limits").status_code for _ in range(4)] == [200, 200, 403, 403]
    assert api.get("/limits").json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]


def test_counts_leave_the_deleted_out(serve):
    api = serve(worlds.graves())
    told = api.get("/limits/recordCount", params={"sObjects": "Contact,Nope"}).json()
    assert told == {"sObjects": [{"count": 5, "name": "Contact"}]}


def test_versions_and_unknown_addresses(api):
    versions = api.session.get(f"{api.sandbox.url}/services/data").json()
    assert versions[-1] == {"label": "66.0", "url": "/services/data/v66.0", "version": "66.0"}
    assert "query" in api.get("").json()
    assert api.get("/nowhere").json()[0]["errorCode"] == "NOT_FOUND"
    assert api.delete("/limits").status_code == 405
    assert api.session.get(f"{api.sandbox.url}/services/data/v99.0/limits").status_code == 404


def test_the_real_client_reads_every_page(serve, real_client):
    api = serve(worlds.crowded(opportunities=1, contacts=5), Switches(page_rows=2))
    client = real_client(api.sandbox, session_id=api.sandbox.session_id, instance="acme.my.salesforce.com")
    assert client.query_all("SELECT Id FROM Contact")["totalSize"] == 5
    assert len(list(client.query_all_iter("SELECT Id FROM Contact"))) == 5
    assert client.Contact.describe()["name"] == "Contact"
