"""Bulk API 2.0, by plain requests and by the real client."""

import csv
import io
import time

import pytest
from tests.sandbox.conftest import Ids

from crmbridge.testing import worlds
from crmbridge.testing.sandbox import Fault, RowFault, Switches, Trouble
from crmbridge.testing.sandbox.crowd import crowd_tables
from crmbridge.testing.sandbox.salesforce.switches import UnknownColumn

pytestmark = pytest.mark.slow  # the instrument itself; what adapters need of it shows in their tests

ENDED = ("JobComplete", "Failed", "Aborted")


def rows_of(answer):
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def wait(api, kind, job):
    while (told := api.get(f"/jobs/{kind}/{job}").json())["state"] not in ENDED:
        pass
    return told


def ask(api, soql, operation="query"):
    job = api.post("/jobs/query", {"operation": operation, "query": soql}).json()["id"]
    wait(api, "query", job)
    return job


def ingest(api, text, *, operation="insert", finish=True, **more):
    asked = {"object": "OpportunityContactRole", "operation": operation, "contentType": "CSV", "lineEnding": "LF"} | more
    job = api.post("/jobs/ingest", asked).json()
    upload = api.session.put(f"{api.sandbox.url}/{job['contentUrl']}", data=text.encode(), headers={"Content-Type": "text/csv"})
    assert (upload.status_code, upload.content) == (201, b"")
    api.patch(f"/jobs/ingest/{job['id']}", {"state": "UploadComplete"})
    return job["id"], wait(api, "ingest", job["id"]) if finish else None


def role_lines(ids, count, *, deal="opportunity-3"):
    return "OpportunityId,ContactId,Role\n" + "".join(
        f"{ids(deal)},{ids(f'contact-{number}')},Evaluator\n" for number in range(1, count + 1)
    )


def test_query_pages_with_locators(serve):
    api = serve(worlds.crowded(opportunities=1, contacts=5))
    job = ask(api, "SELECT Id, Account.Name, CreatedDate FROM Contact")
    locator, found, pages = None, [], 0
    while locator != "null":
        answer = api.get(f"/jobs/query/{job}/results", params={"maxRecords": 2} | ({"locator": locator} if locator else {}))
        locator, pages = answer.headers["Sforce-Locator"], pages + 1
        assert int(answer.headers["Sforce-NumberOfRecords"]) == len(rows_of(answer))
        found += rows_of(answer)
    assert (pages, len({row["Id"] for row in found})) == (3, 5)
    assert set(found[0]) == {"Id", "Account.Name", "CreatedDate"}


def test_values_are_quoted_texts(api, ids):
    soql = f"SELECT Id, Amount, IsWon, CloseDate, CreatedDate, Type FROM Opportunity WHERE Id IN ('{ids('opportunity-3')}')"
    answer = api.get(f"/jobs/query/{ask(api, soql)}/results")
    assert answer.text == (
        '"Id","Amount","IsWon","CloseDate","CreatedDate","Type"\n'
        f'"{ids("opportunity-3")}","98765432109.87","false","2024-02-03","2024-01-04T09:30:00.000Z",""\n'
    )


def test_an_empty_answer_has_its_header(api):
    answer = api.get(f"/jobs/query/{ask(api, 'SELECT Id, Name FROM Contact WHERE Id = null')}/results")
    assert (answer.text, answer.headers["Sforce-Locator"]) == ('"Id","Name"\n', "null")


def test_texts_of_every_script_survive(serve):
    api = serve(worlds.unicode_texts())
    answer = api.get(f"/jobs/query/{ask(api, 'SELECT Name FROM Account')}/results")
    assert {row["Name"] for row in rows_of(answer)} == set(worlds.UNICODE_TEXTS)


def test_query_all_by_bulk(serve):
    api = serve(worlds.graves())
    live, every = (ask(api, "SELECT Id FROM Contact", operation) for operation in ("query", "queryAll"))
    assert [len(rows_of(api.get(f"/jobs/query/{job}/results"))) for job in (live, every)] == [5, 7]


@pytest.mark.parametrize(
    "soql", ["SELECT COUNT() FROM Contact", "SELECT MAX(Name) FROM Contact", "SELECT Id FROM Contact OFFSET 1"]
)
def test_what_bulk_queries_cannot(api, soql):
    answer = api.post("/jobs/query", {"operation": "query", "query": soql})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "API_ERROR")


def test_a_query_job_takes_its_polls(serve):
    api = serve(switches=Switches(job_polls=2))
    made = api.post("/jobs/query", {"operation": "query", "query": "SELECT Id FROM Contact"}).json()
    assert (made["state"], made["apiVersion"], made["concurrencyMode"]) == ("UploadComplete", 62.0, "Parallel")
    assert api.get(f"/jobs/query/{made['id']}/results").status_code == 400
    states = [api.get(f"/jobs/query/{made['id']}").json()["state"] for _ in range(3)]
    assert states == ["InProgress", "InProgress", "JobComplete"]
    assert api.delete(f"/jobs/query/{made['id']}").status_code == 204
    assert api.get(f"/jobs/query/{made['id']}").status_code == 404


def test_ingest_tells_good_from_bad(api, ids):
    text = role_lines(ids, 3) + f"{ids('opportunity-3')},003000000000000,Evaluator\n"
    job, told = ingest(api, text)
    assert (told["state"], told["numberRecordsProcessed"], told["numberRecordsFailed"]) == ("JobComplete", 4, 1)
    good = rows_of(api.get(f"/jobs/ingest/{job}/successfulResults"))
    (bad,) = rows_of(api.get(f"/jobs/ingest/{job}/failedResults"))
    assert {row["ContactId"] for row in good} == {ids(f"contact-{number}") for number in (1, 2, 3)}
    assert {row["sf__Created"] for row in good} == {"true"}
    assert (bad["sf__Id"], bad["sf__Error"]) == ("", "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--")
    for address in ("unprocessedrecords", "unprocessedRecords"):
        assert api.get(f"/jobs/ingest/{job}/{address}").text == '"OpportunityId","ContactId","Role"\n'
    assert len(api.roles(ids("opportunity-3"))) == 3


def test_results_come_in_no_order(serve):
    api = serve(worlds.crowded(opportunities=1, contacts=30))
    ids = Ids(api.sandbox)
    job, _ = ingest(api, role_lines(ids, 30, deal="opportunity-1"))
    told = [row["ContactId"] for row in rows_of(api.get(f"/jobs/ingest/{job}/successfulResults"))]
    asked = [ids(f"contact-{number}") for number in range(1, 31)]
    assert sorted(told) == sorted(asked)
    assert told != asked


def test_one_upload_only(api, ids):
    job, _ = ingest(api, role_lines(ids, 1))
    again = api.session.put(f"{api.root}/jobs/ingest/{job}/batches", data=b"x")
    assert (again.status_code, again.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")


def test_cells_empty_and_null(api, ids):
    role = ids("role-1")
    ingest(api, f"Id,Role,ContactId\n{role},#N/A,\n", operation="update")
    assert (ids("contact-1"), None, True) in api.roles(ids("opportunity-1"))


def test_delete_by_bulk(api, ids):
    job, _ = ingest(api, f"Id\n{ids('role-1')}\n{ids('role-1')}\n", operation="delete")
    assert rows_of(api.get(f"/jobs/ingest/{job}/successfulResults")) == [
        {"sf__Id": ids("role-1"), "sf__Created": "false", "Id": ids("role-1")}
    ]
    assert len(api.roles(ids("opportunity-1"))) == 1


def test_upsert_by_bulk(serve):
    lines = {"OpportunityContactRole": ("Crmbridge_Key__c string(80) cux",)}
    api = serve(switches=Switches(custom_fields=lines))
    ids = Ids(api.sandbox)
    text = f"OpportunityId,ContactId,Crmbridge_Key__c\n{ids('opportunity-3')},{ids('contact-1')},k1\n"
    job, _ = ingest(api, text, operation="upsert", externalIdFieldName="Crmbridge_Key__c")
    assert rows_of(api.get(f"/jobs/ingest/{job}/successfulResults"))[0]["sf__Created"] == "true"
    assert len(api.roles(ids("opportunity-3"))) == 1


@pytest.mark.parametrize(("switch", "state"), [(UnknownColumn.IS_DROPPED, "JobComplete"), (UnknownColumn.FAILS_JOB, "Failed")])
def test_a_column_that_is_no_field(serve, switch, state):
    api = serve(switches=Switches(unknown_column=switch))
    ids = Ids(api.sandbox)
    text = f"OpportunityId,ContactId,Nope__c\n{ids('opportunity-3')},{ids('contact-1')},x\n"
    job, told = ingest(api, text)
    assert told["state"] == state
    if state == "JobComplete":
        assert "Nope__c" not in rows_of(api.get(f"/jobs/ingest/{job}/successfulResults"))[0]
    else:
        assert "Nope__c" in told["errorMessage"]
        assert len(rows_of(api.get(f"/jobs/ingest/{job}/unprocessedrecords"))) == 1


def test_a_job_that_fails_half_way_keeps_its_rows(api, ids):
    api.sandbox.faults.add(Fault(trouble=Trouble.JOB_FAILS, method="PATCH", path="/jobs/ingest/", rows=3))
    job, told = ingest(api, role_lines(ids, 5))
    assert (told["state"], told["numberRecordsProcessed"]) == ("Failed", 3)
    assert len(rows_of(api.get(f"/jobs/ingest/{job}/successfulResults"))) == 3
    assert len(rows_of(api.get(f"/jobs/ingest/{job}/unprocessedrecords"))) == 2
    assert len(api.roles(ids("opportunity-3"))) == 3


def test_an_aborted_job_keeps_its_rows(serve):
    api = serve(switches=Switches(job_polls=4))
    ids = Ids(api.sandbox)
    job, _ = ingest(api, role_lines(ids, 5), finish=False)
    api.get(f"/jobs/ingest/{job}")
    assert api.patch(f"/jobs/ingest/{job}", {"state": "Aborted"}).json()["state"] == "Aborted"
    assert len(api.roles(ids("opportunity-3"))) == 1
    assert len(rows_of(api.get(f"/jobs/ingest/{job}/unprocessedrecords"))) == 4
    assert api.delete(f"/jobs/ingest/{job}").status_code == 204


def test_jobs_end_without_anybody_looking(api, ids):
    ingest(api, role_lines(ids, 5), finish=False)
    assert api.roles(ids("opportunity-3")) == []
    api.sandbox.finish_jobs()
    assert len(api.roles(ids("opportunity-3"))) == 5


def test_locked_rows_of_a_job(api, ids):
    api.sandbox.row_faults.add(RowFault(code="UNABLE_TO_LOCK_ROW", contacts=frozenset({ids("contact-2")})))
    job, _ = ingest(api, role_lines(ids, 2))
    (bad,) = rows_of(api.get(f"/jobs/ingest/{job}/failedResults"))
    lock = f"unable to obtain exclusive access to this record or 1 records: {ids('opportunity-3')}"
    assert bad["sf__Error"] == f"UNABLE_TO_LOCK_ROW:{lock}:--"


def test_an_unknown_object_and_operation(api):
    assert api.post("/jobs/ingest", {"object": "Nope", "operation": "insert"}).json()[0]["errorCode"] == "INVALID_TYPE"
    assert api.post("/jobs/ingest", {"object": "Contact", "operation": "hardDelete"}).status_code == 400


def test_the_real_client_reads_and_writes(api, ids, real_client):
    client = real_client(api.sandbox, session_id=api.sandbox.session_id, instance="acme.my.salesforce.com")
    (page,) = client.bulk2.Contact.query("SELECT Id FROM Contact", wait=0)
    assert len(page.splitlines()) == 6
    role = {"OpportunityId": ids("opportunity-3"), "ContactId": ids("contact-1")}
    (told,) = client.bulk2.OpportunityContactRole.insert(records=[role], wait=0)
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"]) == (1, 0)


@pytest.mark.slow
def test_large_answers_come_fast(serve):
    api = serve(crowd_tables(opportunities=20_000, contacts=100_000, activities=50_000))
    job = ask(api, "SELECT Id, AccountId, Name, Email, Title, OwnerId, CreatedDate, SystemModstamp FROM Contact")
    began_s = time.perf_counter()
    answer = api.get(f"/jobs/query/{job}/results")
    assert answer.headers["Sforce-NumberOfRecords"] == "100000"
    assert time.perf_counter() - began_s < 10
