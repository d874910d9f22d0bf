"""The org over HTTP: counts calls, checks sessions and limits, and lets planned trouble happen."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from crmbridge.testing.sandbox.salesforce.cursors import expired
from crmbridge.testing.sandbox.salesforce.faults import Trouble
from crmbridge.testing.sandbox.salesforce.login import invalid_session
from crmbridge.testing.sandbox.salesforce.rest import FIRST_VERSION, LAST_VERSION, Context
from crmbridge.testing.sandbox.salesforce.wire import Call, Refusal, Reply, not_found

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from crmbridge.testing.sandbox.salesforce.faults import Fault, Faults
    from crmbridge.testing.sandbox.salesforce.login import Logins
    from crmbridge.testing.sandbox.salesforce.rest import Rest

MOST_HEAD_BYTES = 16_384
_HTML = (
    b"<html><head><title>Service Unavailable</title></head><body>Down for maintenance, planted.name@planted.example</body></html>"
)
_HANDLED_INSIDE = (Trouble.JOB_FAILS,)


class Usage:
    """How many calls the day has seen, and which.

    Args:
        most: allowed a day.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, endpoint: str, *, is_api: bool = True) -> None:
        """One more call; logins do not count against the limit."""
        with self._lock:
            self.calls[endpoint] += 1
            self.used += is_api

    @property
    def is_over(self) -> bool:
        """Whether the call just counted was one too many."""
        return self.used > self.most


class App:
    """The ASGI application.

    Args:
        rest: everything below /services/data.
        logins: who may come in.
        faults: planned trouble.
        usage: counts the calls.
    """

    def __init__(self, rest: Rest, logins: Logins, faults: Faults, usage: Usage) -> None:
        self._rest = rest
        self._logins = logins
        self._faults = faults
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        call = _call(request, await request.body())
        if _head_bytes(request) > MOST_HEAD_BYTES:
            self._usage.count("too long")
            await Response(status_code=414)(scope, receive, send)
            return
        fault = self._faults.strike(call.method, unquote_plus(request.url.path + "?" + request.url.query))
        if fault and fault.trouble is Trouble.DROP_BEFORE:
            await _hang_up(scope, receive)
            return
        if fault and fault.trouble is Trouble.SLOW:
            await asyncio.sleep(fault.delay_s)
        reply = await run_in_threadpool(self._answer, call, fault, str(request.base_url).rstrip("/"))
        if fault and fault.trouble is Trouble.DROP_AFTER:
            await _hang_up(scope, receive)
        elif fault and fault.trouble is Trouble.TRUNCATED:
            await _send_half(reply, scope, receive, send)
        else:
            await self._response(reply)(scope, receive, send)

    def _answer(self, call: Call, fault: Fault | None, instance_url: str) -> Reply:
        try:
            return self._served(call, fault, instance_url)
        except Refusal as refusal:
            return refusal.reply()

    def _served(self, call: Call, fault: Fault | None, instance_url: str) -> Reply:
        door = self._door(call, instance_url)
        if fault and fault.trouble in (Trouble.BUSY, Trouble.BROKEN):
            self._usage.count("trouble")
            return _trouble(fault)
        if door:
            return door
        name, handler, parts = self._rest.find(call.method, call.path)
        self._usage.count(name)
        if name != "versions":
            self._admit(call, fault)
        inside = fault if fault and fault.trouble in _HANDLED_INSIDE else None
        return self._rest.answer(handler, Context(call, parts, inside))

    def _door(self, call: Call, instance_url: str) -> Reply | None:
        if call.path == "/services/oauth2/token" and call.method == "POST":
            self._usage.count("token", is_api=False)
            return self._logins.token(call, instance_url)
        if call.path.startswith("/services/Soap/u/") and call.method == "POST":
            self._usage.count("soap login", is_api=False)
            return self._logins.soap(call, instance_url, call.path.split("/")[4])
        return None

    def _admit(self, call: Call, fault: Fault | None) -> None:
        """Refuse a call without a session, of an unknown version, beyond the limit, or with an expired cursor.

        Raises:
            Refusal: one of these.
        """
        trouble = fault.trouble if fault else None
        if trouble is Trouble.SESSION_EXPIRED:
            self._logins.expire(call)
            raise invalid_session()
        self._logins.admit(call)
        if trouble is Trouble.LIMIT_REACHED:
            self._usage.most = self._usage.used - 1
        if self._usage.is_over:
            raise Refusal("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403)
        if not FIRST_VERSION <= float(call.version) <= LAST_VERSION:
            raise not_found()
        if trouble is Trouble.CURSOR_EXPIRED:
            self._rest.cursors.expire()
            raise expired()

    def _response(self, reply: Reply) -> Response:
        headers = {"Sforce-Limit-Info": f"api-usage={self._usage.used}/{self._usage.most}", **reply.headers}
        if isinstance(reply.body, dict | list | bytes):
            media = reply.content_type if reply.body != b"" else None
            return Response(_bytes(reply.body), reply.status, headers, media_type=media)
        return StreamingResponse(reply.body, reply.status, headers, media_type=reply.content_type)


def compressed(app: ASGIApp) -> ASGIApp:
    """The application with gzip for those who accept it."""
    return GZipMiddleware(app, minimum_size=500, compresslevel=1)


def _call(request: Request, body: bytes) -> Call:
    if request.headers.get("content-encoding", "") == "gzip":
        body = gzip.decompress(body)
    parts = request.url.path.split("/")
    version = parts[3].removeprefix("v") if len(parts) > 3 and parts[3].startswith("v") else f"{LAST_VERSION}.0"
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Call(request.method, request.url.path, dict(parse_qsl(request.url.query)), headers, body, version)


def _head_bytes(request: Request) -> int:
    head = sum(len(name) + len(value) for name, value in request.headers.raw)
    return head + len(request.scope["raw_path"]) + len(request.scope["query_string"])


def _trouble(fault: Fault) -> Reply:
    if fault.trouble is Trouble.BUSY:
        return Reply(503, _HTML, "text/html")
    return Refusal("UNKNOWN_EXCEPTION", "An unexpected error occurred, planted.name@planted.example", 500).reply()


def _bytes(body: Any) -> bytes:  # noqa: ANN401
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def _hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer."""
    scope["state"]["transport"].abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_half(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Promise the whole answer, send half of it, and close."""
    whole = _bytes(reply.body) if isinstance(reply.body, dict | list | bytes) else b"".join(reply.body)
    headers = [(b"content-length", str(len(whole)).encode()), (b"content-type", reply.content_type.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
    scope["state"]["transport"].close()
    while (await receive())["type"] != "http.disconnect":
        pass
