"""Trouble on demand, seen from outside."""

import time

import pytest
import requests

from crmbridge.testing import worlds
from crmbridge.testing.sandbox import Fault, Switches, Trouble

ROLES = "/composite/sobjects"


def plan(api, trouble, **more):
    api.sandbox.faults.add(Fault(trouble=trouble, **more))


def put_role(api, ids):
    return api.add_roles((ids("opportunity-3"), ids("contact-1"), None, False))


def test_busy_is_a_page_of_html(api, ids):
    plan(api, Trouble.BUSY, method="POST", path=ROLES)
    answer = put_role(api, ids)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (503, "text/html")
    assert api.roles(ids("opportunity-3")) == []
    assert put_role(api, ids).status_code == 200


def test_broken_does_nothing(api, ids):
    plan(api, Trouble.BROKEN, path=ROLES)
    assert put_role(api, ids).status_code == 500
    assert api.roles(ids("opportunity-3")) == []


@pytest.mark.parametrize(("trouble", "written"), [(Trouble.DROP_BEFORE, 0), (Trouble.DROP_AFTER, 1), (Trouble.TRUNCATED, 1)])
def test_lost_answers(api, ids, trouble, written):
    plan(api, trouble, method="POST", path=ROLES)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        put_role(api, ids)
    assert len(api.roles(ids("opportunity-3"))) == written


def test_truncated_without_compression_too(api):
    plan(api, Trouble.TRUNCATED, path="/limits")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.get("/limits", headers={"Accept-Encoding": "identity"})


def test_truncated_bulk_results(serve):
    api = serve(worlds.crowded(opportunities=1, contacts=50), Switches(job_polls=0))
    job = api.post("/jobs/query", {"operation": "query", "query": "SELECT Id FROM Contact"}).json()["id"]
    api.get(f"/jobs/query/{job}")
    plan(api, Trouble.TRUNCATED, path="/results")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.get(f"/jobs/query/{job}/results")
    assert len(api.get(f"/jobs/query/{job}/results").text.splitlines()) == 51


def test_an_expired_session_stays_expired_until_a_new_login(api):
    plan(api, Trouble.SESSION_EXPIRED, path="/limits")
    assert api.get("/limits").json()[0]["errorCode"] == "INVALID_SESSION_ID"
    assert api.get("/limits").status_code == 401
    known = api.sandbox.credentials
    form = {"grant_type": "client_credentials"}
    auth = (known.consumer_key, known.consumer_secret)
    token = requests.post(f"{api.sandbox.url}/services/oauth2/token", data=form, auth=auth, timeout=10).json()
    assert token["instance_url"] == api.sandbox.url
    api.session.headers["Authorization"] = f"Bearer {token['access_token']}"
    assert api.get("/limits").status_code == 200


def test_the_limit_is_reached_for_good(api):
    plan(api, Trouble.LIMIT_REACHED, path="/limits")
    assert [api.get("/limits").status_code for _ in range(2)] == [403, 403]
    assert api.query("SELECT Id FROM Contact").json()[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"


def test_a_cursor_expires_in_the_middle(serve):
    api = serve(worlds.crowded(opportunities=1, contacts=5), Switches(page_rows=2))
    plan(api, Trouble.CURSOR_EXPIRED, path="/query/01g", nth=2)
    page = api.query("SELECT Id FROM Contact").json()
    page = api.session.get(api.sandbox.url + page["nextRecordsUrl"]).json()
    answer = api.session.get(api.sandbox.url + page["nextRecordsUrl"])
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_slow_answers_come_late(api):
    plan(api, Trouble.SLOW, path="/limits", delay_s=0.5)
    with pytest.raises(requests.Timeout):
        api.get("/limits", timeout=0.1)
    began_s = time.monotonic()
    assert api.get("/limits", timeout=5).status_code == 200
    assert time.monotonic() - began_s < 0.4


def test_a_fault_strikes_the_calls_it_names(api):
    plan(api, Trouble.BUSY, method="GET", path="FROM Contact", nth=2, times=2)
    answers = [api.query("SELECT Id FROM Contact").status_code for _ in range(4)]
    assert answers == [200, 503, 503, 200]
    assert api.query("SELECT Id FROM Account").status_code == 200
    assert [fault.trouble for fault in api.sandbox.faults.struck] == [Trouble.BUSY] * 2


def test_no_trouble_once_cleared(api):
    plan(api, Trouble.BUSY)
    api.sandbox.faults.clear()
    assert api.get("/limits").status_code == 200
