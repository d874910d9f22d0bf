"""What became of a write: by what HubSpot answered, and above all by how the pair reads afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from crmbridge.contract import Outcome, PairState, Receipt, RoleWrite, verdict

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.associations import Roles


class Fate(StrEnum):
    """What HubSpot said of a pair."""

    DONE = "done"
    REFUSED = "refused"
    UNNAMED = "unnamed"
    """Some pairs of its batch were refused, and HubSpot does not say which: reading back tells."""
    OPEN = "open"
    """Lost, never sent, or to be tried again: only reading back tells, once time has passed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The fate of a pair; `code` is HubSpot's, or says why there is no answer."""

    fate: Fate
    code: str | None = None


def settled_receipts(roles: Roles, writes: Sequence[RoleWrite], *, wait_s: float) -> Iterator[Receipt]:
    """Judge writes whose answer was lost by what is there; before one counts as absent, wait out what may still be at work.

    Raises:
        CrmUnavailable: HubSpot cannot be asked.
    """
    receipts = _read_back(roles, writes)
    absent = [write for write in writes if receipts[write.key].outcome is Outcome.ABSENT]
    if absent and wait_s > 0:
        time.sleep(wait_s)
        receipts |= _read_back(roles, absent)
    yield from receipts.values()


def _read_back(roles: Roles, writes: Sequence[RoleWrite]) -> dict[str, Receipt]:
    links = roles.links(write.opportunity_id for write in writes)
    return {write.key: _settled(write, roles.state(links, (write.opportunity_id, write.contact_id))) for write in writes}


def _settled(write: RoleWrite, now: PairState) -> Receipt:
    if is_as_wanted(write, now):
        outcome = Outcome.APPLIED
    else:
        outcome = Outcome.ABSENT if now.rows == write.expected.rows else Outcome.CONFLICT
    return Receipt(key=write.key, outcome=outcome, before=write.expected, after=now)


def is_as_wanted(write: RoleWrite, now: PairState) -> bool:
    """Whether the pair is as this write leaves it: its role beside those that were expected, and no others."""
    if write.action == "remove":
        return not now.rows
    is_there = any((row.role, row.is_primary) == (write.role, write.is_primary) for row in now.rows)
    return is_there and _others(write, now) == _others(write, write.expected)


def _others(write: RoleWrite, state: PairState) -> set[str]:
    """The labels beside the one that is written; the row of a pair without labels goes when it gets one."""
    return {row.id for row in state.rows if row.role not in (None, write.role)}


def receipt(write: RoleWrite, answer: Answer, before: PairState, after: PairState) -> Receipt:
    """Judge a write by what HubSpot said and by how the pair reads now."""
    outcome = _outcome(write, answer, after)
    if outcome is Outcome.APPLIED:
        return Receipt(key=write.key, outcome=outcome, before=before, after=after)
    default = "NOT_SEEN" if outcome is Outcome.UNKNOWN else None
    code = answer.code or default if outcome in (Outcome.REJECTED, Outcome.UNKNOWN) else None
    return Receipt(key=write.key, outcome=outcome, before=after, after=after, code=code)


def _outcome(write: RoleWrite, answer: Answer, after: PairState) -> Outcome:
    if answer.fate is Fate.REFUSED:
        return Outcome.ALREADY if verdict(write, after) is Outcome.ALREADY else Outcome.REJECTED
    if is_as_wanted(write, after):
        return Outcome.APPLIED
    if answer.fate is Fate.UNNAMED:
        return Outcome.REJECTED
    # Not seen yet may only be late: `settle` waits, and then knows.
    is_late = answer.fate is Fate.OPEN or after.rows == write.expected.rows
    return Outcome.UNKNOWN if is_late else Outcome.CONFLICT
