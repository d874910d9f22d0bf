"""What goes wrong between here and Salesforce, told by status, error code and request id; never by a body."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from crmbridge.errors import CrmRefused, CrmUnavailable, LimitReached

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_LIMIT = "REQUEST_LIMIT_EXCEEDED"
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_LIMIT_HINT = "run the same command again tomorrow, or raise max_api_calls; `crmbridge check` tells what is left"


class Refusal(CrmRefused):
    """Salesforce understood a request and said no.

    Attributes:
        status: of HTTP.
        code: Salesforce's error code; UNKNOWN where it gave none.
    """

    def __init__(self, what: str, status: int, code: str, *, hint: str | None = None) -> None:
        super().__init__(f"Salesforce refused {what}: {status} {code}", hint=hint or _HINTS.get(code))
        self.status = status
        self.code = code


class AnswerLost(CrmUnavailable):
    """A request that changes something was sent, and nobody knows what became of it."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"Salesforce's answer to {what} was lost: {reason}", hint="run the same command again")
        self.reason = reason


_HINTS = {
    "INVALID_SESSION_ID": "the session is over; log in by JWT or client credentials, which renew themselves",
    "API_DISABLED_FOR_ORG": "this edition or user has no API access: ask for the permission API Enabled",
    "INSUFFICIENT_ACCESS": "ask the administrator for the permissions in docs/adapters/salesforce.md",
    "INVALID_FIELD": "a field or its permission went away; crmbridge check",
    "INVALID_TYPE": "an object or its permission went away; crmbridge check",
}


def limit_reached(what: str) -> LimitReached:
    """Salesforce's own daily limit."""
    return LimitReached(f"Salesforce's daily limit of API calls is used up; stopped before {what}", hint=_LIMIT_HINT)


def budget_spent(calls: int) -> LimitReached:
    """The user's own budget."""
    return LimitReached(f"max_api_calls = {calls} is used up", hint=_LIMIT_HINT)


def a_code(text: object) -> str:
    """An error code fit to be shown: whatever does not look like one may be anything, and stays out."""
    return text if isinstance(text, str) and _CODE.fullmatch(text) else "UNKNOWN"


def codes_in(content: bytes) -> list[tuple[str, str]]:
    """Read an error body: the codes, each with its message, which is for looking at and never for showing."""
    try:
        body = json.loads(content)
    except ValueError:
        return []
    items = body if isinstance(body, list) else [body]
    return [(a_code(item.get("errorCode")), str(item.get("message", ""))) for item in items if isinstance(item, dict)]


def first_code(content: bytes) -> str:
    """The first error code of a body."""
    return next((code for code, _ in codes_in(content)), "UNKNOWN")


def told(method: str | None, url: str | None, headers: Mapping[str, str] | None = None) -> str:
    """Name a request by method, path and request id: queries hold ids, so what follows the path stays out."""
    request_id = (headers or {}).get("X-Request-Id") or (headers or {}).get("Sfdc-Request-Id") or ""
    # Whatever a proxy writes in there is not ours to print.
    shown = f" (request {request_id})" if re.fullmatch(r"[A-Za-z0-9-]{1,64}", request_id) else ""
    return f"{method} {urlsplit(url or '').path}{shown}"
