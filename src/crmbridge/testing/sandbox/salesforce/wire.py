"""One call and its answer, apart from any web framework, and how the org says no."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A request: the path without the host, query parameters decoded, header names in small letters, body unpacked."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    version: str = "66.0"

    def json(self) -> Any:  # noqa: ANN401
        """The body as JSON.

        Raises:
            Refusal: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refusal("JSON_PARSER_ERROR", "Unexpected character in the request body") from None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON where `body` is a dict or list, else bytes or chunks of bytes as they are."""

    status: int = 200
    body: dict[str, Any] | list[Any] | bytes | Iterable[bytes] = b""
    content_type: str = "application/json;charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The org refuses a whole request; the answer is a list of one error, as Salesforce gives it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.status = status

    def reply(self) -> Reply:
        """The answer."""
        return Reply(self.status, [{"message": self.message, "errorCode": self.code}])


def not_found() -> Refusal:
    """No such address or record."""
    return Refusal("NOT_FOUND", "The requested resource does not exist", 404)
