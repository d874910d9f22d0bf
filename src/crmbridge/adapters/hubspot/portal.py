"""What this portal has and this token may see; asked once each, when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crmbridge.adapters.hubspot.failures import Refusal
from crmbridge.adapters.hubspot.paths import ACCOUNT, OWNERS

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection

_UNAUTHORISED = 401
_UTC = "UTC"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a pipeline, by its own metadata: names say nothing reliable."""

    label: str
    pipeline: str
    is_closed: bool
    is_won: bool


class Portal:
    """One portal."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._refused: dict[str, Refusal | None] = {}

    def refusal(self, name: str) -> Refusal | None:
        """Why something cannot be read; None where it can.

        Args:
            name: a kind such as `deals`, or `owners`, `campaigns`.

        Raises:
            Refusal: the token itself is refused. CrmUnavailable: no answer.
        """
        if name not in self._refused:
            self._refused[name] = self._probed(name)
        return self._refused[name]

    def has(self, name: str) -> bool:
        """Whether something can be read."""
        return self.refusal(name) is None

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stages of all deal pipelines, by id."""
        found = self._connection.ask("GET", self._connection.paths.pipelines("deals"))["results"]
        return {str(stage["id"]): _stage(stage, pipeline) for pipeline in found for stage in pipeline["stages"]}

    @property
    def time_zone(self) -> str:
        """In which days are counted: by the options, else by HubSpot, else UTC."""
        return self._connection.options.time_zone or str(self._account.get("timeZone") or _UTC)

    @property
    def id(self) -> str | None:
        """Its number; None where HubSpot does not say."""
        told = self._account.get("portalId")
        return None if told is None else str(told)

    @cached_property
    def _account(self) -> Mapping[str, Any]:
        try:
            told = self._connection.ask("GET", ACCOUNT)
        except Refusal as refusal:
            if refusal.status == _UNAUTHORISED:
                raise
            return {}
        return told if isinstance(told, Mapping) else {}

    def _probed(self, name: str) -> Refusal | None:
        paths = {"owners": OWNERS, "campaigns": self._connection.paths.campaigns}
        try:
            self._connection.ask("GET", paths.get(name) or self._connection.paths.objects(name), query={"limit": 1})
        except Refusal as refusal:
            if refusal.status == _UNAUTHORISED:
                raise
            return refusal
        return None


def _stage(stage: dict[str, Any], pipeline: dict[str, Any]) -> Stage:
    told = stage.get("metadata") or {}
    is_closed = str(told.get("isClosed", "")).lower() == "true"
    is_certain = _number(told.get("probability")) == 1.0
    return Stage(str(stage["label"]), str(pipeline["label"]), is_closed, is_closed and is_certain)


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
