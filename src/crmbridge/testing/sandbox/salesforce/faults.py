"""Trouble on demand: what goes wrong with a call, and what goes wrong with a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from crmbridge.testing.sandbox.planned import PlannedFaults


class Trouble(StrEnum):
    """What happens to a call."""

    BUSY = "503 with a page of HTML, nothing done"
    BROKEN = "500, nothing done"
    DROP_BEFORE = "the connection closes, nothing done"
    DROP_AFTER = "done, then the connection closes before the answer"
    TRUNCATED = "done, and the answer ends half-way"
    SESSION_EXPIRED = "401 INVALID_SESSION_ID, and the session is gone"
    LIMIT_REACHED = "403 REQUEST_LIMIT_EXCEEDED, from now on"
    CURSOR_EXPIRED = "400 INVALID_QUERY_LOCATOR"
    JOB_FAILS = "the Bulk job fails after some rows"
    SLOW = "the answer takes its time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One trouble, for the calls it matches.

    Attributes:
        trouble: what happens.
        method: regular expression over the whole method.
        path: regular expression searched in the path with its query, percent-decoded.
        nth: the first matching call that is hit, counted from 1 since the fault was added.
        times: how many in a row are hit.
        delay_s: how long SLOW takes.
        rows: how many rows a job writes before JOB_FAILS; such a fault matches the PATCH that ends the upload.
    """

    trouble: Trouble
    method: str = ".*"
    path: str = ""
    nth: int = 1
    times: int = 1
    delay_s: float = 1.0
    rows: int = 0


class Faults(PlannedFaults[Fault]):
    """The troubles ahead of this org."""


_MESSAGES = {
    "UNABLE_TO_LOCK_ROW": "unable to obtain exclusive access to this record or 1 records: {opportunity}",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "This role is not allowed here.",
    "INSUFFICIENT_ACCESS_OR_READONLY": "insufficient access rights on object id",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "insufficient access rights on cross-reference id: {opportunity}",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "RoleTrigger: execution of BeforeInsert caused by: System.NullPointerException",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFault:
    """A contact role that the org refuses: a lock, a validation rule, a missing permission, a trigger.

    Attributes:
        code: the status code, such as UNABLE_TO_LOCK_ROW.
        opportunities: Salesforce ids it applies to; None for all.
        contacts: likewise.
        attempts: how many rows are refused before it ends; None for ever.
        message: Salesforce's text; a usual one unless given. Plant a name here to see that it is never logged.
        fields: the fields it blames.
    """

    code: str
    opportunities: frozenset[str] | None = None
    contacts: frozenset[str] | None = None
    attempts: int | None = None
    message: str | None = None
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class RowFaults:
    """The refusals ahead."""

    _waiting: list[tuple[RowFault, list[int]]] = field(default_factory=list)

    def add(self, *faults: RowFault) -> None:
        """Plan refusals; those added first are looked at first."""
        self._waiting += [(fault, [0]) for fault in faults]

    def clear(self) -> None:
        """Plan no refusal any more."""
        self._waiting.clear()

    def refusal(self, opportunity: str | None, contact: str | None) -> tuple[RowFault, str] | None:
        """The fault that refuses this row, with its message; counts the attempt."""
        for fault, used in self._waiting:
            fits = (fault.opportunities is None or opportunity in fault.opportunities) and (
                fault.contacts is None or contact in fault.contacts
            )
            if fits and (fault.attempts is None or used[0] < fault.attempts):
                used[0] += 1
                text = fault.message or _MESSAGES.get(fault.code, "refused").format(opportunity=opportunity)
                return fault, text
        return None
