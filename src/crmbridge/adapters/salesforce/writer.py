"""Writes roles: read, compare, write, verify; and puts a primary back that a deletion of ours has cleared."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from crmbridge.adapters.salesforce import bulk_ingest, collections
from crmbridge.adapters.salesforce.failures import Refusal
from crmbridge.adapters.salesforce.ids import is_id, long_id
from crmbridge.adapters.salesforce.outcomes import (
    LOCKED,
    Answer,
    Fate,
    receipt,
    refused,
    together,
    unanswered,
    waves,
)
from crmbridge.contract import Checkpoint, Outcome, PairState, Receipt, RoleWrite, pair_state, settled, verdict
from crmbridge.errors import CrmBridgeError, CrmUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from crmbridge.adapters.salesforce.connection import Connection
    from crmbridge.adapters.salesforce.provenance import Provenance
    from crmbridge.adapters.salesforce.reader import Reader
    from crmbridge.model import ContactRole

LOCK_ATTEMPTS = 5
"""How often a row is sent while somebody else holds its lock."""

TAKES_BACK = "takes_back"
"""The kind of checkpoint that names a row of ours which came in beside somebody else's."""

_LOCK_WAIT_S = 1.0
_KEYS_PER_QUERY = 100
_INVISIBLE = "CONTACT_NOT_VISIBLE"
_MALFORMED = "MALFORMED_ID"

Roles = dict[str, list["ContactRole"]]
"""The roles of opportunities, by opportunity."""


class RoleWriter:
    """Writes, and settles, over one connection."""

    def __init__(self, connection: Connection, reader: Reader, provenance: Provenance = ()) -> None:
        self._connection = connection
        self._reader = reader
        self._provenance = provenance
        self._options = connection.options

    def write(self, writes: Sequence[RoleWrite], checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:
        """Write, wave by wave; one receipt each. Raises only where nothing was sent."""
        something_left = False
        dealt = waves([_normal(write) for write in writes])
        for number, wave in enumerate(dealt):
            try:
                receipts = self._wave(wave, checkpoint)
            except (CrmUnavailable, Refusal) as error:
                if not something_left:
                    raise
                rest = [write for later in dealt[number:] for write in later]
                yield from _unknown(rest, f"NOT_SENT_{type(error).__name__}")
                return
            something_left = True
            yield from receipts

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:
        """Bring jobs to their end, wait out lost requests, then judge each write by what is there.

        Raises:
            CrmUnavailable: something is still under way, or Salesforce cannot be asked.
        """
        awaited = {write.key for write in writes}
        for checkpoint in checkpoints:
            if checkpoint.kind == bulk_ingest.KIND and not awaited.isdisjoint(checkpoint.keys):
                bulk_ingest.brought_to_end(self._connection, checkpoint.reference)
        normal = [_normal(write) for write in writes]
        named = {key: one.reference for one in checkpoints if one.kind == TAKES_BACK for key in one.keys}
        receipts = self._read_back(normal, named)
        absent = [write for write in normal if receipts[write.key].outcome is Outcome.ABSENT]
        if absent and self._wait_out():
            receipts |= self._read_back(absent, named)
        yield from receipts.values()

    def _wait_out(self) -> bool:
        """Wait until a request whose answer was lost, by this process or one before, cannot be at work any more."""
        lost_s = self._connection.transport.lost_s
        since_s = time.monotonic() - lost_s if lost_s is not None else 0
        time.sleep(max(self._options.settle_wait_s - since_s, 0))
        return self._options.settle_wait_s > 0

    def _read_back(self, writes: Sequence[RoleWrite], named: Mapping[str, str]) -> dict[str, Receipt]:
        """Judge writes by what is there; `named` has the rows of those that came in beside another's, by write."""
        # No primary is put back here: what went since the write was made may have been cleared by a person.
        now = self._roles(writes)
        receipts = {write.key: settled(write, _state(now, write)) for write in writes}
        there = [write for write in writes if write.action == "put" and receipts[write.key].outcome is not Outcome.ABSENT]
        row_ids = {key: row_id for key, row_id in named.items() if key in receipts} | self._row_ids(there)
        now |= self._take_back_beside({row_id: write for write in there if (row_id := row_ids.get(write.key))})
        for write in there:
            if write.key in row_ids:
                receipts[write.key] = _known(write, row_ids[write.key], _state(now, write))
        return receipts

    def _row_ids(self, writes: Sequence[RoleWrite]) -> dict[str, str | None]:
        """Which row each write has made, None for none, by the key that the row carries; empty where rows carry none."""
        field = self._options.write_key_field
        if field is None:
            return {}
        found: dict[str, str | None] = {write.key: None for write in writes}
        for start in range(0, len(writes), _KEYS_PER_QUERY):
            keys = ", ".join(_quoted(write.key) for write in writes[start : start + _KEYS_PER_QUERY])
            try:
                rows = self._connection.records(f"SELECT Id, {field} FROM {collections.ROLES} WHERE {field} IN ({keys})")
            except Refusal as refusal:
                if refusal.code != "INVALID_FIELD":
                    raise
                return {}  # there is no such field: no row can carry it
            found |= {row[field]: long_id(row["Id"]) for row in rows}
        return found

    def _take_back_beside(self, row_ids: Mapping[str, RoleWrite]) -> Roles:
        """Take back those of our rows that stand beside somebody else's; gives the roles of their opportunities."""
        if not row_ids:
            return {}
        now = self._roles(row_ids.values())
        beside = {}
        for row_id, write in row_ids.items():
            ids = [row.id for row in _state(now, write).rows]
            if row_id in ids and len(ids) > 1:
                beside[row_id] = write
        return now | self._take_back(beside, now) if beside else now

    def _wave(self, wave: list[RoleWrite], checkpoint: Callable[[Checkpoint], None]) -> list[Receipt]:
        before, visible = self._before(wave)
        judged = {write.key: verdict(write, _state(before, write)) for write in wave}
        needed = sorted((write for write in wave if judged[write.key] is None), key=_place)
        answers = _impossible(needed, visible)
        sent = [write for write in needed if write.key not in answers]
        answers |= self._sent(sent, checkpoint)
        try:
            after = self._verified(sent, answers, before, checkpoint)
        except CrmBridgeError as error:
            # It was sent: whoever settles reads back.
            after = before
            answers |= {write.key: unanswered(f"UNVERIFIED_{type(error).__name__}") for write in sent}
        is_keyed = self._options.write_key_field is not None
        return [_receipt(write, judged[write.key], answers, before, after, is_keyed=is_keyed) for write in wave]

    def _before(self, writes: Sequence[RoleWrite]) -> tuple[Roles, frozenset[str]]:
        """The roles of these opportunities, and which of the contacts to be added are there and may be seen."""
        found: Roles = {write.opportunity_id: [] for write in writes}
        contacts = [write.contact_id for write in writes if write.action == "put"]
        roles, visible = self._reader.roles_and_visible(list(found), contacts)
        for role in roles:
            found[role.opportunity_id].append(role)
        return found, visible

    def _roles(self, writes: Iterable[RoleWrite]) -> Roles:
        found: Roles = {write.opportunity_id: [] for write in writes}
        for role in self._reader.read_roles(list(found)):
            found[role.opportunity_id].append(role)
        return found

    def _sent(self, writes: Sequence[RoleWrite], checkpoint: Callable[[Checkpoint], None]) -> dict[str, Answer]:
        """Send removals, then additions; again, after a while, what was locked."""
        removes = [write for write in writes if write.action == "remove"]
        puts = [write for write in writes if write.action == "put"]
        answers: dict[str, Answer] = {}
        for group, send in ((removes, self._removed), (puts, self._added)):
            if not group:
                continue
            try:
                answers |= self._unlocked(group, lambda part, send=send: send(part, checkpoint))  # type: ignore[misc]
            except (CrmUnavailable, Refusal) as error:
                if not answers:
                    raise
                answers |= {write.key: unanswered(f"NOT_SENT_{type(error).__name__}") for write in group}
        return answers

    def _unlocked(
        self, writes: Sequence[RoleWrite], send: Callable[[Sequence[RoleWrite]], dict[str, Answer]]
    ) -> dict[str, Answer]:
        answers = send(writes)
        for attempt in range(1, LOCK_ATTEMPTS):
            locked = [write for write in writes if answers[write.key].code == LOCKED]
            if not locked:
                break
            time.sleep(_LOCK_WAIT_S * 2 ** (attempt - 1))
            try:
                # Who held the lock was changing this very opportunity.
                now = self._roles(locked)
                unchanged = [write for write in locked if verdict(write, _state(now, write)) is None]
                if not unchanged:
                    break
                answers |= send(unchanged)
            except (CrmUnavailable, Refusal):
                break  # what was locked stays open
        return answers

    def _added(self, writes: Sequence[RoleWrite], checkpoint: Callable[[Checkpoint], None]) -> dict[str, Answer]:
        key_field, provenance = self._options.write_key_field, self._provenance
        if len(writes) <= self._options.bulk_write_rows or any(write.role == bulk_ingest.NO_VALUE for write in writes):
            answers = collections.insert(self._connection, writes, key_field=key_field, provenance=provenance)
        else:
            ingest, rows = bulk_ingest.insertion(writes, key_field=key_field, provenance=provenance)
            answers = bulk_ingest.run(self._connection, ingest, rows, checkpoint)
        return {write.key: answer for write, answer in zip(writes, answers, strict=True)}

    def _removed(self, writes: Sequence[RoleWrite], checkpoint: Callable[[Checkpoint], None]) -> dict[str, Answer]:
        ingest, rows = bulk_ingest.deletion(writes)
        if len(rows) <= self._options.bulk_write_rows:
            answers = collections.delete(self._connection, [row.cells[0] or "" for row in rows])
        else:
            answers = bulk_ingest.run(self._connection, ingest, rows, checkpoint)
        by_key: dict[str, list[Answer]] = defaultdict(list)
        for row, answer in zip(rows, answers, strict=True):
            by_key[row.key].append(answer)
        return {key: together(group) for key, group in by_key.items()}

    def _verified(
        self,
        writes: Sequence[RoleWrite],
        answers: Mapping[str, Answer],
        before: Roles,
        checkpoint: Callable[[Checkpoint], None],
    ) -> Roles:
        """Read what was written; take back a row that came beside another's, and restore a primary that went."""
        if not writes:
            return before
        after = before | self._roles(writes)
        removed = [write for write in writes if write.action == "remove"]
        primaries = {write.opportunity_id: _primary(before[write.opportunity_id]) for write in removed}
        doubled = {row_id: write for write in writes for row_id in _doubled(write, answers[write.key], _state(after, write))}
        if doubled:
            for row_id, write in doubled.items():
                checkpoint(Checkpoint(kind=TAKES_BACK, reference=row_id, keys=(write.key,)))
            after |= self._take_back(doubled, after)
        lacking = _lacking_primary(removed, primaries, after)
        if lacking and self._restored(lacking):
            after |= self._roles([write for write in writes if write.opportunity_id in lacking])
        return after

    def _take_back(self, row_ids: Mapping[str, RoleWrite], now: Roles) -> Roles:
        """Delete rows of ours, and leave the primary as the others have it; gives the roles of their opportunities.

        Raises:
            CrmUnavailable: it could not be done; whoever settles tries again.
        """
        others = {
            write.opportunity_id: [role for role in now[write.opportunity_id] if role.id not in row_ids]
            for write in row_ids.values()
        }
        self._delete(list(row_ids))
        after = self._roles(row_ids.values())
        lacking = _lacking_primary((), {opportunity_id: _primary(roles) for opportunity_id, roles in others.items()}, after)
        if lacking and self._restored(lacking):
            after |= self._roles([write for write in row_ids.values() if write.opportunity_id in lacking])
        return after

    def _delete(self, ids: Sequence[str]) -> None:
        """Delete rows, again where they are locked or an answer is lost: what is gone already is refused, and no harm done."""
        for attempt in range(LOCK_ATTEMPTS):
            answers = collections.delete(self._connection, ids)
            ids = [row_id for row_id, answer in zip(ids, answers, strict=True) if answer.fate is Fate.OPEN]
            if not ids:
                return
            time.sleep(_LOCK_WAIT_S * 2**attempt)
        raise CrmUnavailable("a role that came in beside somebody else's could not be taken back yet")

    def _restored(self, lacking: Mapping[str, str]) -> bool:
        """Make rows primary again.

        Raises:
            CrmUnavailable: it could not be done; whoever settles tries again.
        """
        answers = collections.mark_primary(self._connection, list(lacking.values()))
        if any(answer.fate is Fate.OPEN for answer in answers):
            raise CrmUnavailable("a primary contact that Salesforce cleared could not be put back yet")
        return True


def _primary(roles: Sequence[ContactRole]) -> str | None:
    return pair_state(roles, "").primary_contact_id


def _lacking_primary(removed: Sequence[RoleWrite], primaries: Mapping[str, str | None], now: Roles) -> dict[str, str]:
    """Where the primary went with a row that was not theirs: the row to mark again, by opportunity."""
    gone = {(write.opportunity_id, write.contact_id) for write in removed}
    lacking: dict[str, str] = {}
    for opportunity_id, contact_id in primaries.items():
        roles = now[opportunity_id]
        if contact_id is None or (opportunity_id, contact_id) in gone or any(role.is_primary for role in roles):
            continue
        row = min((role.id for role in roles if role.contact_id == contact_id), default=None)
        if row is not None:
            lacking[opportunity_id] = row
    return lacking


def _doubled(write: RoleWrite, answer: Answer, after: PairState) -> list[str]:
    """Our row, where somebody added one of the same contact in the same moment: theirs stays."""
    ids = [row.id for row in after.rows]
    is_beside = write.action == "put" and answer.fate is Fate.DONE and len(ids) > 1 and answer.row_id in ids
    return [answer.row_id] if is_beside and answer.row_id else []


def _receipt(
    write: RoleWrite, judged: Outcome | None, answers: Mapping[str, Answer], before: Roles, after: Roles, *, is_keyed: bool
) -> Receipt:
    was, now = _state(before, write), _state(after, write)
    if judged is not None:
        return Receipt(key=write.key, outcome=judged, before=was, after=was)
    answer = answers[write.key]
    if is_keyed and write.action == "put" and answer.fate is Fate.OPEN:
        # Whose row it is that can be seen, its key tells: whoever settles asks for it.
        return Receipt(key=write.key, outcome=Outcome.UNKNOWN, before=was, after=now, code=answer.code or "NO_ANSWER")
    return receipt(write, answer, was, now)


def _state(roles: Roles, write: RoleWrite) -> PairState:
    return pair_state(roles[write.opportunity_id], write.contact_id)


def _place(write: RoleWrite) -> tuple[str, bool, str]:
    """By opportunity, for their locks are taken together; the primary last."""
    return (write.opportunity_id, write.is_primary, write.contact_id)


def _impossible(writes: Sequence[RoleWrite], visible: frozenset[str]) -> dict[str, Answer]:
    """The writes that must not be sent: Salesforce would take a contact that is deleted, or that nobody here may see."""
    invisible = {write.key: refused(_INVISIBLE) for write in writes if write.action == "put" and write.contact_id not in visible}
    malformed = {write.key: refused(_MALFORMED) for write in writes if not _is_well_formed(write)}
    return invisible | malformed


def _known(write: RoleWrite, row_id: str | None, now: PairState) -> Receipt:
    """Judge a put whose row is known: whatever else is there is somebody else's."""
    judged = settled(write, now)
    is_foreign = bool(now.rows) and row_id not in {row.id for row in now.rows}
    return judged.model_copy(update={"outcome": Outcome.CONFLICT}) if is_foreign else judged


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _is_well_formed(write: RoleWrite) -> bool:
    return is_id(write.opportunity_id) and is_id(write.contact_id) and all(is_id(row.id) for row in write.expected.rows)


def _normal(write: RoleWrite) -> RoleWrite:
    """The write as it will read back: every id in its long form, a role without text as none."""
    rows = tuple(row.model_copy(update={"id": long_id(row.id)}) for row in write.expected.rows)
    primary = write.expected.primary_contact_id
    expected = PairState(
        rows=tuple(sorted(rows, key=lambda row: row.id)), primary_contact_id=long_id(primary) if primary else None
    )
    return write.model_copy(
        update={
            "opportunity_id": long_id(write.opportunity_id),
            "contact_id": long_id(write.contact_id),
            "role": write.role or None,
            "expected": expected,
        }
    )


def _unknown(writes: Sequence[RoleWrite], code: str) -> Iterator[Receipt]:
    for write in writes:
        yield Receipt(key=write.key, outcome=Outcome.UNKNOWN, before=write.expected, after=write.expected, code=code)
