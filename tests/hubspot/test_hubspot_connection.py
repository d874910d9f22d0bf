"""One connection over real HTTP, against scripted answers: who is asked again, what never is, limits, renewal, cursors."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from crmbridge.adapters.hubspot import HubSpotOptions
from crmbridge.adapters.hubspot import connection as connection_module
from crmbridge.adapters.hubspot.connection import ATTEMPTS, Connection
from crmbridge.adapters.hubspot.failures import AnswerLost, Refusal
from crmbridge.errors import CrmUnavailable, DataError, LimitReached

READ, WRITE = "/crm/v3/objects/deals", "/crm/v4/associations/deals/contacts/batch/create"
HUNG_UP = None
CUT_OFF = (200, {"Content-Length": "100"}, b'{"results":')
DAILY = {"status": "error", "message": "You have reached your daily limit.", "policyName": "DAILY"}
ROLLING = DAILY | {"message": "You have reached your ten_secondly_rolling limit.", "policyName": "TEN_SECONDLY_ROLLING"}
SECONDLY = DAILY | {"message": "You have reached your secondly limit.", "policyName": "SECONDLY"}
EXPIRED = {"status": "error", "message": "secret", "category": "EXPIRED_AUTHENTICATION"}
OAUTH = {"client_id": "id", "client_secret": "secret", "refresh_token": "refresh"}


class Server(ThreadingHTTPServer):
    """Answers with a script: (status, headers, body), or None to hang up; the last one for ever."""

    daemon_threads = True

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.seen = list(script), []

    @property
    def paths(self):
        return [urlsplit(path).path for path, _, _ in self.seen]


class Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def _serve(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.path, self.headers.get("Authorization"), content))
        answer = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if answer is HUNG_UP:
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if int(headers.get("Content-Length", len(body))) != len(body):
            self.close_connection = True

    do_GET = do_POST = _serve  # noqa: N815

    def log_message(self, *args):
        pass


@contextmanager
def serving(*script, **options):
    server = Server(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    given = {"access_token": "token", "base_url": f"http://127.0.0.1:{server.server_port}", "timeout_s": 5} | options
    made = Connection(HubSpotOptions(**given))
    try:
        yield server, made
    finally:
        made.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """How long it would have waited."""
    waited, real = [], connection_module._wait
    monkeypatch.setattr(connection_module, "_wait", lambda state: waited.append(real(state)) or 0)
    return waited


def told(body=None, status=200, **headers):
    return (status, {"Content-Type": "application/json", **headers}, b"" if body is None else json.dumps(body).encode())


# --- who is asked again ----------------------------------------------------------------------------------------------


HTML, NO_OBJECT = (200, {}, b"<html>"), (200, {}, b"[1]")
PASSING = [told(ROLLING, 429), (423, {}, b"{}"), (477, {}, b"{}")]
BROKEN = [(500, {}, b"{}"), (502, {}, b"<html>"), (503, {}, b"<html>"), (504, {}, b""), (521, {}, b""), HUNG_UP, CUT_OFF]


@pytest.mark.parametrize("trouble", [*PASSING, *BROKEN, HTML, NO_OBJECT])
def test_a_read_is_asked_again(trouble):
    with serving(trouble, trouble, told({"results": [1]})) as (server, connection):
        assert connection.ask("GET", READ) == {"results": [1]}
    assert len(server.seen) == 3


def test_a_read_gives_up_in_the_end_without_telling_what_was_answered():
    with serving((503, {}, b"secret body")) as (server, connection), pytest.raises(CrmUnavailable) as caught:
        connection.ask("GET", READ, query={"q": "secret"})
    assert len(server.seen) == ATTEMPTS
    assert "secret" not in str(caught.value)
    assert f"GET {READ}: 503" in str(caught.value)


@pytest.mark.parametrize("trouble", [*BROKEN, HTML])
def test_a_write_whose_answer_is_lost_is_never_sent_twice(trouble):
    with serving(trouble, told({"results": []}, 201)) as (server, connection), pytest.raises(AnswerLost):
        connection.send("POST", WRITE, body={"inputs": []})
    assert len(server.seen) == 1


@pytest.mark.parametrize("trouble", PASSING)
def test_a_write_that_was_not_taken_is_sent_again(trouble):
    with serving(trouble, told({"results": []}, 201)) as (server, connection):
        assert connection.send("POST", WRITE, body={"inputs": [1]}).status == 201
    assert [content for _, _, content in server.seen] == [b'{"inputs": [1]}'] * 2


def test_what_is_sent_after_a_wait_is_made_anew():
    with serving((423, {}, b"{}"), told({"results": []}, 201)) as (server, connection):
        assert connection.send("POST", WRITE, body={"inputs": [1, 2]}, again=lambda: {"inputs": [2]}).status == 201
    assert [content for _, _, content in server.seen] == [b'{"inputs": [1, 2]}', b'{"inputs": [2]}']


def test_nothing_is_sent_where_nothing_is_left_of_it():
    with serving((423, {}, b"{}"), told({"results": []}, 201)) as (server, connection):
        assert connection.send("POST", WRITE, body={"inputs": [1]}, again=lambda: None).status == 204
    assert len(server.seen) == 1


def test_nothing_is_lost_where_nobody_listens():
    connection = Connection(HubSpotOptions(access_token="token", base_url="http://127.0.0.1:9", timeout_s=1))
    with pytest.raises(CrmUnavailable) as caught:
        connection.send("POST", WRITE, body={})
    assert not isinstance(caught.value, AnswerLost)
    connection.close()


@pytest.mark.parametrize("status", [200, 201, 207])
def test_any_success_is_an_answer(status):
    with serving(told({"results": []}, status)) as (_, connection):
        answer = connection.send("POST", WRITE, body={})
    assert (answer.status, answer.body) == (status, {"results": []})


def test_no_content_is_an_answer_too():
    with serving(told(None, 204)) as (_, connection):
        assert connection.send("POST", WRITE, body={}).body is None


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_refusal_is_told_by_its_codes_and_by_what_support_asks_for():
    body = {"category": "VALIDATION_ERROR", "subCategory": "crm.associations.INVALID_ASSOCIATION_TYPE", "message": "secret"}
    with serving(told(body | {"correlationId": "aeb5-1"}, 400)) as (server, connection), pytest.raises(Refusal) as caught:
        connection.send("POST", WRITE, body={})
    assert (caught.value.status, caught.value.code, caught.value.category) == (
        400, "INVALID_ASSOCIATION_TYPE", "VALIDATION_ERROR"
    )  # fmt: skip
    assert str(caught.value) == f"HubSpot refused POST {WRITE} (correlation aeb5-1): 400 INVALID_ASSOCIATION_TYPE"
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [{}, {"message": "secret"}, {"category": "Secret Smith"}, {"subCategory": "secret@x.example"}])
def test_every_part_of_an_error_is_optional(body):
    with serving(told(body, 400)) as (_, connection), pytest.raises(Refusal) as caught:
        connection.ask("GET", READ)
    assert (caught.value.code, "ecret" in str(caught.value)) == ("UNKNOWN", False)


def test_an_answer_that_lacks_what_it_should_hold_is_told_in_words():
    with serving(told({"status": "COMPLETE"})) as (_, connection), pytest.raises(DataError, match=f"GET {READ} has no 'results'"):
        connection.ask("GET", READ)["results"]


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ask", "send"])
@pytest.mark.parametrize("body", [DAILY, {"message": DAILY["message"]}])
def test_the_daily_limit_ends_it_at_once(method, body):
    with serving(told(body, 429)) as (server, connection), pytest.raises(LimitReached, match="daily limit"):
        getattr(connection, method)("POST", WRITE, body={})
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "wait_s"),
    [
        (ROLLING, {}, 429, 10),
        (ROLLING, {"X-HubSpot-RateLimit-Interval-Milliseconds": "2500"}, 429, 2.5),
        (ROLLING, {"Retry-After": "7"}, 429, 7),
        (ROLLING, {"Retry-After": "100000"}, 429, 60),
        (SECONDLY, {}, 429, 1),
        ({}, {}, 423, 2),
        ({}, {"Retry-After": "5"}, 477, 5),
        ({}, {}, 477, 2),
    ],
)
def test_how_long_is_waited(waits, body, headers, status, wait_s):
    with serving(told(body, status, **headers), told({"results": []})) as (_, connection):
        connection.ask("GET", READ)
    (waited,) = waits
    assert wait_s <= waited < wait_s + 0.6


def test_where_nothing_is_left_of_ten_seconds_the_next_call_waits(monkeypatch):
    slept = []
    headers = {"X-HubSpot-RateLimit-Remaining": "0", "X-HubSpot-RateLimit-Interval-Milliseconds": "4000"}
    with serving(told({"results": []}, **headers), told({"results": []})) as (_, connection):
        connection.ask("GET", READ)
        monkeypatch.setattr("crmbridge.adapters.hubspot.transport.time.sleep", slept.append)
        connection.ask("GET", READ)
    assert 3 < slept[0] <= 4


def test_what_is_left_of_the_day_is_learnt():
    headers = {"X-HubSpot-RateLimit-Daily": "250000", "X-HubSpot-RateLimit-Daily-Remaining": "17"}
    with serving(told({"results": []}, **headers)) as (_, connection):
        connection.ask("GET", READ)
        assert connection.daily == (17, 250_000)


def test_the_budget_is_kept_to_the_call():
    with serving(told({"results": []}), max_api_calls=2) as (server, connection):
        connection.ask("GET", READ)
        connection.send("POST", WRITE, body={})
        with pytest.raises(LimitReached, match="max_api_calls = 2"):
            connection.send("POST", WRITE, body={})
        assert (len(server.seen), connection.calls) == (2, 2)


# --- logins ----------------------------------------------------------------------------------------------------------

GRANTED = told({"access_token": "fresh", "expires_in": 1800})


def test_oauth_fetches_a_token_first():
    with serving(GRANTED, told({"results": []}), access_token=None, **OAUTH) as (server, connection):
        connection.ask("GET", READ)
    assert server.paths == ["/oauth/v1/token", READ]
    form = dict(parse_qsl(server.seen[0][2].decode()))
    assert form == {"grant_type": "refresh_token", **OAUTH}
    assert [authorization for _, authorization, _ in server.seen] == [None, "Bearer fresh"]


@pytest.mark.parametrize("method", ["ask", "send"])
def test_a_token_that_is_over_is_renewed_once_for_a_write_too(method):
    with serving(told(EXPIRED, 401), GRANTED, told({"results": []}), **OAUTH) as (server, connection):
        getattr(connection, method)("POST", WRITE, body={"inputs": []})
    assert server.paths == [WRITE, "/oauth/v1/token", WRITE]
    assert [authorization for _, authorization, _ in server.seen] == ["Bearer token", None, "Bearer fresh"]


def test_a_token_that_stays_over_is_a_refusal():
    script = told(EXPIRED, 401), GRANTED, told(EXPIRED, 401)
    with serving(*script, **OAUTH) as (server, connection), pytest.raises(Refusal) as caught:
        connection.ask("GET", READ)
    assert (caught.value.status, len(server.seen)) == (401, 3)


def test_without_oauth_nothing_is_renewed():
    with serving(told(EXPIRED, 401)) as (server, connection), pytest.raises(Refusal, match="EXPIRED_AUTHENTICATION"):
        connection.ask("GET", READ)
    assert len(server.seen) == 1


def test_a_login_that_is_refused_is_told_as_such():
    script = told({"status": "BAD_REFRESH_TOKEN", "message": "secret"}, 400)
    with serving(script, access_token=None, **OAUTH) as (_, connection), pytest.raises(Refusal) as caught:
        connection.ask("GET", READ)
    assert "POST /oauth/v1/token: 400" in str(caught.value)
    assert caught.value.status == 401
    assert "client_secret and refresh_token" in caught.value.hint


def test_a_token_that_no_header_can_hold_is_not_told():
    granted = told({"access_token": "fresh\nsecret"})
    with serving(granted, access_token=None, **OAUTH) as (_, connection), pytest.raises(CrmUnavailable) as caught:
        connection.ask("GET", READ)
    assert "secret" not in str(caught.value)


# --- pages -----------------------------------------------------------------------------------------------------------


def test_a_cursor_is_sent_as_it_stands_in_the_link():
    first = {"results": [1], "paging": {"next": {"after": "Mg%3D%3D", "link": "https://api.hubapi.com/x?after=Mg%3D%3D"}}}
    with serving(told(first), told({"results": [2]})) as (server, connection):
        pages = list(connection.pages(READ, {"limit": 100, "archived": False}))
    assert [page["results"] for page in pages] == [[1], [2]]
    assert [urlsplit(path).query for path, _, _ in server.seen] == [
        "limit=100&archived=false", "limit=100&archived=false&after=Mg%3D%3D"
    ]  # fmt: skip
