"""What goes over the wire: a call, an answer, an error as HubSpot words it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

SINGULAR = {
    "companies": "company",
    "contacts": "contact",
    "deals": "deal",
    "leads": "lead",
    "meetings": "meeting_event",
    "calls": "call",
    "emails": "email",
    "notes": "note",
    "tasks": "task",
}

OBJECT_TYPES = {
    "contacts": "0-1",
    "companies": "0-2",
    "deals": "0-3",
    "tasks": "0-27",
    "notes": "0-46",
    "meetings": "0-47",
    "calls": "0-48",
    "emails": "0-49",
    "leads": "0-136",
}

Problem: TypeAlias = dict[str, Any]
"""One error of a 207."""


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

    def __init__(
        self,
        status: int,
        category: str | None,
        message: str,
        sub_category: str | None = None,
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(message)
        body = {"status": "error", "message": message, "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf"}
        told = {"category": category, "subCategory": sub_category}
        self.reply = Reply(status, body | {name: text for name, text in told.items() if text} | more)


def problem(category: str, sub_category: str | None, message: str, **context: list[str]) -> Problem:
    """One error of a 207."""
    told: Problem = {"status": "error", "category": category, "message": message}
    return told | ({"subCategory": sub_category} if sub_category else {}) | ({"context": context} if context else {})


def bad_request(message: str, sub_category: str | None = None) -> Refusal:
    """The call itself is wrong."""
    return Refusal(400, "VALIDATION_ERROR", message, sub_category)


def no_scope() -> Refusal:
    """The token may not see this."""
    context = {"requiredGranularScopes": ["sandbox-read"], "links": ["https://developers.hubspot.com/scopes"]}
    return Refusal(403, "MISSING_SCOPES", "One or more of the following scopes are required.", context=context)


def unknown_kind(kind: str) -> Refusal:
    """Nobody knows objects of this kind; such an answer has no category."""
    return Refusal(400, None, f"Unable to infer object type from: {kind}")


def not_found() -> Refusal:
    """There is no such thing."""
    return Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
