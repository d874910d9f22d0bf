"""The transport over real HTTP: what is asked again, what never is, budgets, renewal, addresses."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from crmbridge.adapters.salesforce import transport as transport_module
from crmbridge.adapters.salesforce.failures import AnswerLost, Refusal
from crmbridge.adapters.salesforce.transport import ATTEMPTS, Transport
from crmbridge.errors import CrmUnavailable, LimitReached

DATA = "/services/data/v64.0"
LIMIT = b'[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]'
EXPIRED = b'[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]'


class Server(ThreadingHTTPServer):
    """Answers with a script: (status, headers, body), or None to hang up."""

    daemon_threads = True

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script)
        self.seen = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        answer = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if answer is None:
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

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815

    def log_message(self, *args):
        pass


@contextmanager
def serving(*script, **options):
    server = Server(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    one_way = Transport(**{"base_url": server.url, "timeout_s": 5, "max_calls": None} | options)
    session = requests.Session()
    session.mount("https://", one_way)
    try:
        yield server, session, one_way
    finally:
        session.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(transport_module, "_wait", lambda state: 0)


def ok(body=b"{}", **headers):
    return (200, {"Content-Type": "application/json", **headers}, body)


def test_everything_goes_to_the_base_url_with_its_path():
    with serving(ok()) as (server, session, _):
        session.get(f"https://acme.my.salesforce.com{DATA}/limits?a=1")
    assert server.seen[0][1] == f"{DATA}/limits?a=1"


@pytest.mark.parametrize("trouble", [(503, {}, b"<html>"), (500, {}, b""), (429, {}, b""), None])
def test_a_read_is_asked_again(trouble):
    with serving(trouble, trouble, ok(b'{"a":1}')) as (server, session, _):
        assert session.get(f"https://x{DATA}/limits").json() == {"a": 1}
    assert len(server.seen) == 3


def test_a_body_that_breaks_off_is_asked_again():
    with serving((200, {"Content-Length": "100"}, b'{"a":'), ok(b'{"a":1}')) as (_, session, _):
        assert session.get(f"https://x{DATA}/limits").json() == {"a": 1}


def test_a_web_page_is_no_answer_to_a_read():
    with serving((200, {"Content-Type": "text/html"}, b"<html>"), ok(b'{"a":1}')) as (_, session, _):
        assert session.get(f"https://x{DATA}/limits").json() == {"a": 1}


def test_a_read_gives_up_in_the_end():
    with serving((503, {}, b"secret body")) as (server, session, _), pytest.raises(CrmUnavailable) as caught:
        session.get(f"https://x{DATA}/query?q=SELECT+secret")
    assert len(server.seen) == ATTEMPTS
    assert "secret" not in str(caught.value)
    assert "503" in str(caught.value)


@pytest.mark.parametrize("trouble", [(503, {}, b""), (500, {}, b""), (200, {"Content-Type": "text/html"}, b"<p>"), None])
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_write_is_never_sent_twice(method, trouble):
    with serving(trouble, ok()) as (server, session, one_way), pytest.raises(AnswerLost):
        session.request(method, f"https://x{DATA}/composite/sobjects", data=b"{}")
    assert len(server.seen) == 1
    assert one_way.lost_s is not None


def test_a_write_that_was_not_taken_is_sent_again():
    with serving((429, {"Retry-After": "0"}, b""), ok(b"[1]")) as (_, session, _):
        assert session.post(f"https://x{DATA}/composite/sobjects", data=b"{}").json() == [1]


def test_nothing_is_lost_where_nobody_listens():
    one_way = Transport(base_url="http://127.0.0.1:9", timeout_s=1, max_calls=None)
    session = requests.Session()
    session.mount("https://", one_way)
    with pytest.raises(CrmUnavailable) as caught:
        session.post(f"https://x{DATA}/composite/sobjects", data=b"{}")
    session.close()
    assert not isinstance(caught.value, AnswerLost)


def test_the_session_is_renewed_once_for_a_write_too():
    with serving((401, {}, EXPIRED), ok(b"[1]")) as (server, session, one_way):
        one_way.renew = lambda: "new-token"
        assert session.post(f"https://x{DATA}/composite/sobjects", data=b"{}").json() == [1]
    assert server.seen[1][2]["Authorization"] == "Bearer new-token"
    assert server.seen[1][3] == b"{}"


def test_a_session_that_stays_over_is_a_refusal():
    with serving((401, {}, EXPIRED)) as (server, session, one_way):
        one_way.renew = lambda: "new-token"
        with pytest.raises(Refusal) as caught:
            session.get(f"https://x{DATA}/limits")
    assert caught.value.code == "INVALID_SESSION_ID"
    assert len(server.seen) == 2


def test_the_daily_limit_ends_it():
    with serving((403, {}, LIMIT)) as (server, session, _), pytest.raises(LimitReached):
        session.post(f"https://x{DATA}/composite/sobjects", data=b"{}")
    assert len(server.seen) == 1


def test_other_403s_are_the_callers_affair():
    with serving((403, {}, b'[{"errorCode":"INSUFFICIENT_ACCESS","message":"no"}]')) as (_, session, _):
        assert session.get(f"https://x{DATA}/limits").status_code == 403


def test_the_budget_is_kept_to_the_call():
    with serving(ok(), max_calls=2) as (server, session, one_way):
        session.get(f"https://x{DATA}/limits")
        session.get(f"https://x{DATA}/limits")
        with pytest.raises(LimitReached):
            session.get(f"https://x{DATA}/limits")
        session.post("https://x/services/oauth2/token", data=b"")  # logins are not counted
    assert len(server.seen) == 3
    assert one_way.calls == 2


def test_the_usage_is_read():
    with serving(ok(**{"Sforce-Limit-Info": "api-usage=18/5000"})) as (_, session, one_way):
        session.get(f"https://x{DATA}/limits")
    assert one_way.usage == (18, 5000)


def test_answers_are_asked_for_packed_and_unpacked():
    with serving(ok(gzip.compress(b'{"a":1}'), **{"Content-Encoding": "gzip"})) as (server, session, _):
        assert session.get(f"https://x{DATA}/limits").json() == {"a": 1}
    assert server.seen[0][2]["Accept-Encoding"] == "gzip"


def test_waiting_is_bounded():
    with serving(None, timeout_s=0.2) as (_, session, _), pytest.raises(CrmUnavailable):
        session.get(f"https://x{DATA}/limits")
