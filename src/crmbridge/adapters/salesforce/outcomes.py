"""What became of each row that was sent, and what that makes of the write it belongs to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from crmbridge.contract import Outcome, PairState, Receipt, RoleWrite, settled, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOCKED = "UNABLE_TO_LOCK_ROW"
"""Somebody else was writing beside it: the row was not written, and may be sent again."""

_PASSING = frozenset({LOCKED, "SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG", "UNKNOWN_EXCEPTION"})
_GONE = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"})


class Fate(StrEnum):
    """What Salesforce said of a row."""

    DONE = "done"
    REFUSED = "refused"
    OPEN = "open"
    """Lost, or never sent: only reading back tells."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The fate of a row or of a write; `code` is Salesforce's, or says why there is no answer."""

    fate: Fate
    code: str | None = None
    row_id: str | None = None


def refused(code: str) -> Answer:
    """A row that Salesforce did not take; a passing reason leaves it open."""
    return Answer(Fate.OPEN if code in _PASSING else Fate.REFUSED, code)


def unanswered(code: str) -> Answer:
    """A row without an answer."""
    return Answer(Fate.OPEN, code)


def together(answers: Iterable[Answer]) -> Answer:
    """The answer to a write of several rows: the worst of theirs; a row that was gone already is as good as removed."""
    worst = Answer(Fate.DONE)
    for answer in answers:
        if answer.fate is Fate.OPEN:
            return answer
        if answer.fate is Fate.REFUSED and answer.code not in _GONE:
            worst = answer
    return worst


def receipt(write: RoleWrite, answer: Answer, before: PairState, after: PairState) -> Receipt:
    """Judge a write by what Salesforce said and by how the pair reads now."""
    outcome = _outcome(write, answer, after)
    if outcome is Outcome.APPLIED:
        return Receipt(key=write.key, outcome=outcome, before=before, after=after)
    code = answer.code if outcome in (Outcome.REJECTED, Outcome.UNKNOWN) else None
    return Receipt(key=write.key, outcome=outcome, before=after, after=after, code=code or _DEFAULT_CODES.get(outcome))


_DEFAULT_CODES = {Outcome.REJECTED: "NO_EFFECT", Outcome.UNKNOWN: "NO_ANSWER"}


def _outcome(write: RoleWrite, answer: Answer, after: PairState) -> Outcome:
    if answer.fate is Fate.OPEN:
        # Seen is seen; not seen yet may only be late, and `settle` waits.
        return Outcome.APPLIED if settled(write, after).outcome is Outcome.APPLIED else Outcome.UNKNOWN
    if answer.fate is Fate.REFUSED:
        return Outcome.ALREADY if verdict(write, after) is Outcome.ALREADY else Outcome.REJECTED
    if write.action == "remove":
        return Outcome.CONFLICT if after.rows else Outcome.APPLIED
    if not after.rows:
        return Outcome.REJECTED  # a trigger swallowed it without a word
    is_ours = [row.id for row in after.rows] == [answer.row_id]
    return Outcome.APPLIED if is_ours else Outcome.CONFLICT


def waves(writes: Sequence[RoleWrite]) -> list[list[RoleWrite]]:
    """Deal writes out so that none depends on another of its wave.

    A pair is written once a wave, and so is the primary of an opportunity: a later write must see what an earlier did.
    """
    dealt: list[list[RoleWrite]] = []
    turns: dict[tuple[str, str], int] = defaultdict(int)
    for write in writes:
        needs = [(write.opportunity_id, write.contact_id), *([(write.opportunity_id, "")] if write.is_primary else [])]
        turn = max(turns[need] for need in needs)
        for need in needs:
            turns[need] = turn + 1
        if turn == len(dealt):
            dealt.append([])
        dealt[turn].append(write)
    return dealt
