"""What goes wrong between here and HubSpot, told by status, category and code; never by a body."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crmbridge.errors import CrmRefused, CrmUnavailable, LimitReached

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = "UNKNOWN"
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_SUB_CATEGORY = re.compile(r"(?:\w+\.)*(\w+)", re.ASCII)
_CORRELATION = re.compile(r"[A-Za-z0-9-]{1,64}")
_LIMIT_HINT = "run the same command again tomorrow, or raise max_api_calls; `crmbridge check` tells what is left"


class Refusal(CrmRefused):
    """HubSpot understood a request and said no.

    Attributes:
        status: of HTTP.
        code: the sub-category where there is one, else the category; UNKNOWN where HubSpot gave neither.
        category: of HubSpot's error, such as MISSING_SCOPES.
        sub_category: without the part before its last dot.
    """

    def __init__(self, what: str, status: int, code: str, *, category: str = UNKNOWN, sub_category: str | None = None) -> None:
        super().__init__(f"HubSpot refused {what}: {status} {code}", hint=_HINTS.get(code) or _HINTS.get(category))
        self.status = status
        self.code = code
        self.category = category
        self.sub_category = sub_category


class AnswerLost(CrmUnavailable):
    """A request that changes something was sent, and nobody knows what became of it."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"HubSpot's answer to {what} was lost: {reason}", hint="run the same command again")
        self.reason = reason


_HINTS = {
    "EXPIRED_AUTHENTICATION": "the token is over; a service key, or OAuth with a refresh token, goes on",
    "INVALID_AUTHENTICATION": "check the token: a service key, or an app's; crmbridge check",
    "MISSING_SCOPES": "give the token the scopes in docs/adapters/hubspot.md; crmbridge check",
}


def refused(what: str, status: int, body: object) -> Refusal:
    """The refusal that a body tells of."""
    told: Mapping[str, Any] = body if isinstance(body, dict) else {}
    category, sub_category = a_code(told.get("category")), exact_code(told)
    return Refusal(what + _correlation(told), status, sub_category or category, category=category, sub_category=sub_category)


def limit_reached(what: str) -> LimitReached:
    """HubSpot's own daily limit."""
    return LimitReached(f"HubSpot's daily limit of API calls is used up; stopped before {what}", hint=_LIMIT_HINT)


def budget_spent(calls: int) -> LimitReached:
    """The user's own budget."""
    return LimitReached(f"max_api_calls = {calls} is used up", hint=_LIMIT_HINT)


def a_code(text: object) -> str:
    """An error code fit to be shown: whatever does not look like one may be anything, and stays out."""
    return text if isinstance(text, str) and _CODE.fullmatch(text) else UNKNOWN


def exact_code(told: Mapping[str, Any]) -> str | None:
    """The sub-category of an error, without what stands before its last dot; None where there is none."""
    text = told.get("subCategory")
    found = _SUB_CATEGORY.fullmatch(text) if isinstance(text, str) else None
    return a_code(found[1] if found else None) if text else None


def parsed(content: bytes) -> Any:  # noqa: ANN401 - whatever is in there
    """Read a body as JSON; None where it is none."""
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None


def told(method: str, url: str) -> str:
    """Name a request by method and path: queries hold ids and addresses, so they stay out."""
    return f"{method} {urlsplit(url).path}"


def _correlation(told: Mapping[str, Any]) -> str:
    """By what HubSpot's support finds a request."""
    text = told.get("correlationId")
    return f" (correlation {text})" if isinstance(text, str) and _CORRELATION.fullmatch(text) else ""
