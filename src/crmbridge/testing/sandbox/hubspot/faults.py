"""Trouble on demand, for a portal."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from crmbridge.testing.sandbox.planned import PlannedFaults


class HubSpotTrouble(StrEnum):
    """What happens to a call."""

    BUSY = "503 with a page of HTML, nothing done"
    BROKEN = "500, nothing done"
    GATEWAY = "504, though it is done"
    TOO_FAST = "429 TEN_SECONDLY_ROLLING, nothing done"
    DAY_OVER = "429 DAILY, from now on"
    LOCKED = "423, nothing done"
    DROP_BEFORE = "the connection closes, nothing done"
    DROP_AFTER = "done, then the connection closes before the answer"
    TRUNCATED = "done, and the answer ends half-way"
    LOGIN_EXPIRED = "401 EXPIRED_AUTHENTICATION, and the token is over"
    PARTIAL = "207: the first half of the inputs is done, in writes"
    SLOW = "the answer takes its time"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSpotFault:
    """One trouble, for the calls it matches.

    Attributes:
        trouble: what happens.
        method: regular expression over the whole method.
        path: regular expression searched in the path with its query, percent-decoded.
        nth: the first matching call that is hit, counted from 1 since the fault was added.
        times: how many in a row are hit.
        delay_s: how long SLOW takes.
    """

    trouble: HubSpotTrouble
    method: str = ".*"
    path: str = ""
    nth: int = 1
    times: int = 1
    delay_s: float = 1.0


class HubSpotFaults(PlannedFaults[HubSpotFault]):
    """The troubles ahead of this portal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFault:
    """A pair that HubSpot refuses inside a batch.

    Attributes:
        deals, contacts: ids it applies to; None for all.
        attempts: how often it refuses before it ends; None for ever.
        category, sub_category: of the error.
        has_context: whether the error names the ids.
        message: HubSpot's text. Plant a name here to see that it is never logged.
    """

    deals: frozenset[str] | None = None
    contacts: frozenset[str] | None = None
    attempts: int | None = None
    category: str = "VALIDATION_ERROR"
    sub_category: str = "crm.associations.INVALID_IDENTIFIER"
    has_context: bool = True
    message: str = "refused for planted.name@planted.example"


@dataclass(slots=True)
class PairFaults:
    """The refusals ahead."""

    _waiting: list[tuple[PairFault, list[int]]] = field(default_factory=list)

    def add(self, *faults: PairFault) -> None:
        """Plan refusals; those added first are looked at first."""
        self._waiting += [(fault, [0]) for fault in faults]

    def clear(self) -> None:
        """Plan no refusal any more."""
        self._waiting.clear()

    def refusal(self, deal: str, contact: str) -> PairFault | None:
        """The fault that refuses this pair; counts the attempt."""
        for fault, used in self._waiting:
            fits = (fault.deals is None or deal in fault.deals) and (fault.contacts is None or contact in fault.contacts)
            if fits and (fault.attempts is None or used[0] < fault.attempts):
                used[0] += 1
                return fault
        return None
