"""What goes over the wire: a call, an answer, an error as HubSpot words it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; a body of None is none at all, bytes go out as they are."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"


class Refusal(Exception):
    """HubSpot says no to the whole call."""

    def __init__(self, status: int, category: str, message: str, sub_category: str | None = None, **more: Any) -> None:  # noqa: ANN401
        super().__init__(message)
        body = {
            "status": "error",
            "message": message,
            "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
            "category": category,
        }
        self.reply = Reply(status, body | ({"subCategory": sub_category} if sub_category else {}) | more)


def bad_request(message: str, sub_category: str | None = None) -> Refusal:
    """The call itself is wrong."""
    return Refusal(400, "VALIDATION_ERROR", message, sub_category)


def no_scope() -> Refusal:
    """The token may not see this."""
    return Refusal(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call.")


def not_found() -> Refusal:
    """There is no such thing."""
    return Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
