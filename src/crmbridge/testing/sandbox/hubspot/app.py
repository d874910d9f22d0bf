"""The portal over HTTP: finds what a call is about, checks tokens and limits, and lets planned trouble happen."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from crmbridge.testing.sandbox.hubspot.associations import Associations
from crmbridge.testing.sandbox.hubspot.faults import HubSpotFault, HubSpotFaults, HubSpotTrouble
from crmbridge.testing.sandbox.hubspot.marketing import Marketing
from crmbridge.testing.sandbox.hubspot.objects import Objects
from crmbridge.testing.sandbox.hubspot.store import KINDS, PLAIN, Store
from crmbridge.testing.sandbox.hubspot.switches import HubSpotSwitches, RetryAfter
from crmbridge.testing.sandbox.hubspot.wire import Call, Refusal, Reply, no_scope, not_found, unknown_kind

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_HTML = b"<html><body>Bad gateway, planted.name@planted.example</body></html>"
_DATED = "2026-03"
_OBJECTS = re.compile(rf"/crm/(?:v3/objects|objects/{_DATED})/(?P<kind>\w+)(?P<rest>/.*)?")
_LINKS = re.compile(rf"/crm/(?:v4/associations|associations/{_DATED})/(?P<from>\w+)/(?P<to>\w+)/(?P<action>[\w/]+)")
_CAPS = re.compile(rf"/crm/(?:v4/associations|associations/{_DATED})/definitions/configurations/(?P<from>\w+)/(?P<to>\w+)")
_CAMPAIGNS = re.compile(rf"/marketing/(?:v3/campaigns|campaigns/{_DATED})(?:/(?P<guid>[\w-]+)/(?P<part>.+))?")
_MEMBERS = re.compile(r"/crm/v3/lists/(?P<list>\w+)/memberships")
_PIPELINES = re.compile(r"/crm/v3/pipelines/(?P<kind>\w+)")
_PLANTED = "planted.name@planted.example"
_SEARCH = "/search"
_EVER = {"createdAt": "1970-01-01T00:00:00Z", "updatedAt": "1970-01-01T00:00:00Z", "archived": False}


class Tokens:
    """Who may come in, and how a new token is got."""

    def __init__(self) -> None:
        self.client_id, self.client_secret, self.refresh_token = "sandbox-client", "sandbox-secret", "sandbox-refresh"
        self._number = 1

    @property
    def access_token(self) -> str:
        """The one that is good now."""
        return f"pat-sandbox-{self._number}"

    def expire(self) -> None:
        """End it."""
        self._number += 1

    def granted(self, form: dict[str, str]) -> Reply:
        """A token for whoever knows the secrets."""
        known = {"client_id": self.client_id, "client_secret": self.client_secret, "refresh_token": self.refresh_token}
        if form.get("grant_type") != "refresh_token" or any(form.get(name) != text for name, text in known.items()):
            return Reply(400, {"status": "BAD_REFRESH_TOKEN", "message": f"missing or invalid refresh token, {_PLANTED}"})
        return Reply(
            200,
            {"access_token": self.access_token, "refresh_token": self.refresh_token, "expires_in": 1800, "token_type": "bearer"},
        )


class App:
    """The ASGI application.

    Attributes:
        calls: how often each endpoint was called.
        used: calls that count against the day.
    """

    def __init__(
        self, store: Store, switches: HubSpotSwitches, faults: HubSpotFaults, tokens: Tokens, associations: Associations
    ) -> None:
        self._store, self._switches, self._faults, self._tokens = store, switches, faults, tokens
        self._objects, self._links, self._marketing = Objects(store, switches), associations, Marketing(store)
        self._lock = threading.Lock()
        self._recent: deque[float] = deque()
        self._searched: deque[float] = deque()
        self._is_over = False
        self.calls: Counter[str] = Counter()
        self.used = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        content = await request.body()
        fault = self._faults.strike(request.method, unquote_plus(request.url.path + "?" + request.url.query))
        trouble = fault.trouble if fault else None
        if trouble is HubSpotTrouble.DROP_BEFORE:
            await _hang_up(scope, receive)
            return
        if fault and trouble is HubSpotTrouble.SLOW:
            await asyncio.sleep(fault.delay_s)
        reply = await run_in_threadpool(self._answer, request, content, fault)
        if trouble is HubSpotTrouble.DROP_AFTER:
            await _hang_up(scope, receive)
        elif trouble is HubSpotTrouble.TRUNCATED:
            await _send_half(reply, scope, receive, send)
        elif trouble is HubSpotTrouble.GATEWAY:
            await Response(_HTML, 504, media_type="text/html")(scope, receive, send)
        else:
            headers = {**self._headers(request.url.path), **reply.headers}
            await Response(_bytes(reply.body), reply.status, headers, media_type=reply.media)(scope, receive, send)

    def new_day(self) -> None:
        """No call has been made yet."""
        self.used, self._is_over = 0, False

    def _answer(self, request: Request, content: bytes, fault: HubSpotFault | None) -> Reply:
        with self._lock:
            try:
                return self._served(request, content, fault.trouble if fault else None)
            except Refusal as refusal:
                return refusal.reply
            except (KeyError, TypeError, ValueError):
                return Refusal(400, "VALIDATION_ERROR", f"Invalid input JSON, {_PLANTED}").reply

    def _served(self, request: Request, content: bytes, trouble: HubSpotTrouble | None) -> Reply:
        path = request.url.path.rstrip("/")
        if path == "/oauth/v1/token":
            self.calls["token"] += 1
            self._refuse(trouble)
            return self._tokens.granted(dict(parse_qsl(content.decode())))
        name, handler = self._found(path, request.method, is_partial=trouble is HubSpotTrouble.PARTIAL)
        self.calls[name] += 1
        self.used += 1
        self._admit(request, trouble, is_search=path.endswith(_SEARCH))
        body = json.loads(content) if content else None
        return handler(Call(request.method, path, dict(parse_qsl(request.url.query)), body))

    def _admit(self, request: Request, trouble: HubSpotTrouble | None, *, is_search: bool) -> None:
        """Raises Refusal: a token that is over, a limit, or planned trouble."""
        if trouble is HubSpotTrouble.LOGIN_EXPIRED:
            self._tokens.expire()
        if request.headers.get("authorization") != f"Bearer {self._tokens.access_token}":
            raise Refusal(401, "EXPIRED_AUTHENTICATION", f"The OAuth token used to make this call expired, {_PLANTED}")
        if trouble is HubSpotTrouble.DAY_OVER or self.used > self._switches.daily_calls:
            self._is_over = True
        if self._is_over:
            raise self._too_many("DAILY", "You have reached your daily limit.")
        if is_search and _is_full(self._searched, self._switches.searches_per_second, 1):
            raise self._too_many("SECONDLY", "You have reached your secondly limit.")
        if _is_full(self._recent, self._switches.calls_per_interval, self._switches.interval_ms / 1000):
            trouble = HubSpotTrouble.TOO_FAST
        self._refuse(trouble)

    def _refuse(self, trouble: HubSpotTrouble | None) -> None:
        """Raises Refusal: trouble in which nothing is done."""
        if trouble is HubSpotTrouble.TOO_FAST:
            raise self._too_many("TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.")
        if trouble is HubSpotTrouble.LOCKED:
            raise Refusal(423, "LOCKED", f"This record is locked, {_PLANTED}")
        if trouble is HubSpotTrouble.BROKEN:
            raise Refusal(500, "INTERNAL_ERROR", f"internal error, {_PLANTED}")
        if trouble is HubSpotTrouble.BUSY:
            refusal = Refusal(503, "SERVICE_UNAVAILABLE", "")
            refusal.reply = Reply(503, _HTML, media="text/html")
            raise refusal

    def _too_many(self, policy: str, message: str) -> Refusal:
        refusal = Refusal(429, "RATE_LIMITS", message, errorType="RATE_LIMIT", policyName=policy)
        if self._switches.retry_after is RetryAfter.GIVEN:
            refusal.reply = Reply(429, refusal.reply.body, {"Retry-After": "1"})
        return refusal

    def _headers(self, path: str) -> dict[str, str]:
        """What is left; searches never tell."""
        if not self._switches.has_rate_headers or path.endswith(_SEARCH):
            return {}
        told = {"Daily": self._switches.daily_calls, "Daily-Remaining": max(self._switches.daily_calls - self.used, 0)}
        told["Interval-Milliseconds"] = self._switches.interval_ms
        if self._switches.calls_per_interval is not None:
            told |= {"Max": self._switches.calls_per_interval}
            told["Remaining"] = max(self._switches.calls_per_interval - len(self._recent), 0)
        return {f"X-HubSpot-RateLimit-{name}": str(number) for name, number in told.items()}

    def _found(self, path: str, method: str, *, is_partial: bool) -> tuple[str, Callable[[Call], Reply]]:
        """The name of an endpoint, and who answers it.

        Raises:
            Refusal: there is no such endpoint, or the token may not see it.
        """
        if path == "/crm/v3/owners":
            return self._seen("owners"), self._owners
        if path == "/account-info/v3/details":
            return "account", lambda _: Reply(
                200, {"portalId": self._switches.portal_id, "timeZone": self._switches.time_zone, "companyCurrency": "EUR"}
            )
        if match := _PIPELINES.fullmatch(path):
            return "pipelines", lambda _: self._pipelines(match["kind"])
        if match := _MEMBERS.fullmatch(path):
            return self._seen("lists"), lambda call: self._marketing.members(call, match["list"])
        if match := _CAMPAIGNS.fullmatch(path):
            return self._campaigns(match)
        if match := _CAPS.fullmatch(path):
            return "caps", lambda _: self._links.caps((match["from"], match["to"]))
        if match := _LINKS.fullmatch(path):
            return self._of_links((match["from"], match["to"]), match["action"], method, is_partial=is_partial)
        if match := _OBJECTS.fullmatch(path):
            return self._of_objects(match["kind"], match["rest"] or "", method)
        raise not_found()

    def _campaigns(self, match: re.Match[str]) -> tuple[str, Callable[[Call], Reply]]:
        name = self._seen("campaigns")
        if match["guid"] is None:
            return name, self._marketing.campaigns
        return f"{name} {match['part'].partition('/')[0]}", lambda call: self._marketing.part(call, match["guid"], match["part"])

    def _of_links(
        self, pair: tuple[str, str], action: str, method: str, *, is_partial: bool
    ) -> tuple[str, Callable[[Call], Reply]]:
        for kind in pair:
            self._seen(kind)
        if (method, action) == ("GET", "labels") and pair == ("contacts", "deals"):
            return "contacts to deals labels", lambda _: self._links.labels(pair)
        if pair not in PLAIN:
            raise not_found()
        answers: dict[tuple[str, str], Callable[[Call], Reply]] = {
            ("POST", "batch/read"): lambda call: self._links.read(call, pair),
            ("POST", "batch/create"): lambda call: self._links.create(call, pair, only_half=is_partial),
            ("POST", "batch/archive"): lambda call: self._links.archive(call, pair, only_half=is_partial),
            ("POST", "batch/labels/archive"): lambda call: self._links.archive_labels(call, pair, only_half=is_partial),
            ("GET", "labels"): lambda _: self._links.labels(pair),
            ("POST", "labels"): lambda call: self._links.define(call, pair),
        }
        if (method, action) not in answers:
            raise not_found()
        return f"{pair[0]} to {pair[1]} {action}", answers[method, action]

    def _of_objects(self, kind: str, rest: str, method: str) -> tuple[str, Callable[[Call], Reply]]:
        if kind not in KINDS:
            raise unknown_kind(kind)
        name = self._seen(kind)
        answers: dict[tuple[str, str], Callable[[Call], Reply]] = {
            ("GET", ""): lambda call: self._objects.listed(call, kind),
            ("POST", "/batch/read"): lambda call: self._objects.read(call, kind),
            ("POST", _SEARCH): lambda call: self._objects.search(call, kind),
        }
        if (method, rest) not in answers:
            raise not_found()
        return f"{name}{rest}", answers[method, rest]

    def _pipelines(self, kind: str) -> Reply:
        found = self._store.pipelines if kind == "deals" else []
        return Reply(200, {"results": [_pipeline(one) for one in found]})

    def _owners(self, call: Call) -> Reply:
        limit, after = int(call.query.get("limit", "100")), int(call.query.get("after", "0"))
        is_archived = call.query.get("archived", "false").lower() == "true"
        found = [one for one in self._store.owners if one["archived"] is is_archived]
        body: dict[str, Any] = {"results": found[after : after + limit]}
        if after + limit < len(found):
            body["paging"] = {"next": {"after": str(after + limit)}}
        return Reply(200, body)

    def _seen(self, name: str) -> str:
        if name in self._switches.hidden:
            raise no_scope()
        return name


def _bytes(body: object) -> bytes:
    return b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()


def _is_full(recent: deque[float], most: int | None, span_s: float) -> bool:
    """Whether so many calls have been let in within the span; one that is let in counts."""
    now = time.monotonic()
    while recent and recent[0] < now - span_s:
        recent.popleft()
    if most is None or len(recent) < most:
        recent.append(now)
        return False
    return True


def _pipeline(held: dict[str, Any]) -> dict[str, Any]:
    """A pipeline with all that HubSpot tells of it."""
    stages = [{**stage, **_EVER, "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT"} for stage in held["stages"]]
    return {**held, **_EVER, "stages": stages}


async def _hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer."""
    scope["state"]["transport"].abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_half(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Promise the whole answer, send half of it, and close."""
    whole = json.dumps(reply.body).encode() if reply.body is not None else b"{}"
    headers = [(b"content-length", str(len(whole)).encode()), (b"content-type", reply.media.encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
    scope["state"]["transport"].close()
    while (await receive())["type"] != "http.disconnect":
        pass
