"""Carry out planned writes so that the process can be killed at any moment and run again with the same end.

Per chunk: read the pairs; decide what needs no sending (there already, changed since the plan, vetoed); journal what
will be sent; send; journal the receipts; settle what is unknown. Lines of one opportunity should lie side by side in
the plan: they then go into one chunk. An unfinished run is settled by reading back before anything is sent, and carried
on by the same plan. Only a line that reads back as absent is sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from crmbridge.contract import (
    Adapter,
    Checkpoint,
    Outcome,
    PairState,
    Receipt,
    RoleWrite,
    pair_state,
    verdict,
)
from crmbridge.errors import CrmBridgeError, CrmRefused, DataError, WorkspaceError
from crmbridge.journal import (
    FINAL_OUTCOMES,
    Journal,
    PlannedWrite,
    Progress,
    Run,
    RunKind,
    RunSummary,
    Settled,
    Step,
)
from crmbridge.verify import differences

if TYPE_CHECKING:
    from crmbridge.model import ContactRole

SENDS = 3
"""How often a line is sent within one call while reading back says that it did not happen."""

ProgressCallback = Callable[[Progress], None]


def execute(
    adapter: Adapter,
    journal: Journal,
    writes: Iterable[PlannedWrite],
    *,
    kind: RunKind,
    plan_id: str,
    plan_hash: str,
    undoes_run_id: str | None = None,
    progress: ProgressCallback = lambda _: None,
) -> RunSummary:
    """Write every line that still holds, one outcome each, and read back what was written.

    Args:
        adapter: an open CRM.
        journal: its workspace's journal.
        writes: any number of lines, read once, as a stream; keys are unique within the plan.
        kind: `undo` vetoes what it removes; see `crmbridge.undo`.
        plan_id: the plan's name, for people.
        plan_hash: the plan's identity: an unfinished run of the same hash is carried on.
        undoes_run_id: the run whose inverse this is.
        progress: called after each durable step.

    Raises:
        CrmRefused: the connection is known to be read-only.
        WorkspaceBusy: another run is writing.
        CrmBridgeError: whatever the adapter raises; the run is then `interrupted` and the same plan carries it on.
    """
    if not adapter.capabilities.can_write:
        raise CrmRefused(f"The {adapter.name} connection is read-only; nothing was written.", hint="crmbridge check")
    with journal.writing():
        _settle_unfinished(adapter, journal, progress)
        run, was_continued = journal.begin_run(kind, plan_id=plan_id, plan_hash=plan_hash, undoes_run_id=undoes_run_id)
        return _Walk(adapter, journal, run, progress).over(writes, was_continued=was_continued)


def resume(adapter: Adapter, journal: Journal, *, progress: ProgressCallback = lambda _: None) -> list[Settled]:
    """Find out, by reading back, what became of every line of unfinished runs whose answer was lost; nothing is sent.

    Returns:
        One entry per unfinished run that had such lines. The runs stay `interrupted`: the same plan carries each on.
    """
    with journal.writing():
        return _settle_unfinished(adapter, journal, progress)


def _settle_unfinished(adapter: Adapter, journal: Journal, progress: ProgressCallback) -> list[Settled]:
    found = []
    for run in journal.unfinished_runs():
        counts = _Walk(adapter, journal, run, progress).settle(journal.unsettled(run.run_id))
        journal.interrupt_run(run.run_id)
        if counts:
            found.append(Settled(run.run_id, counts))
    return found


@dataclass
class _Walk:
    """One run on its way."""

    adapter: Adapter
    journal: Journal
    run: Run
    progress: ProgressCallback
    done: int = 0

    def over(self, writes: Iterable[PlannedWrite], *, was_continued: bool) -> RunSummary:
        run_id = self.run.run_id
        with self._interruptible():
            self.done = _final_count(self.journal.counts(run_id).items())
            self._tell(Step.OPENED, 0)
            for chunk in _chunks(writes, self.adapter.capabilities.writes_per_call):
                self._write(self._still_open(chunk))
            found = tuple(differences(self.adapter, self.journal, run_id))
            state = self.journal.end_run(run_id)
        self._tell(Step.FINISHED, 0)
        return RunSummary(
            run_id=run_id,
            kind=self.run.kind,
            state=state,
            counts=self.journal.counts(run_id),
            refused=self.journal.refused(run_id),
            differences=found,
            was_continued=was_continued,
        )

    def settle(self, writes: Sequence[RoleWrite]) -> dict[str, int]:
        """Read back writes whose outcome is not known; returns lines per outcome."""
        if not writes:
            return {}
        receipts: dict[str, Receipt] = {}
        checkpoints = self.journal.checkpoints(self.run.run_id)
        _collect(self.adapter.settle(writes, checkpoints), writes, receipts)
        self._record(receipts.values())
        self._tell(Step.SETTLED, len(writes))
        outcomes = Counter(receipts[write.key].outcome if write.key in receipts else Outcome.UNKNOWN for write in writes)
        return {outcome.value: count for outcome, count in sorted(outcomes.items())}

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # a full disk must not hide the first error; an `open` run is carried on just as well
            with suppress(WorkspaceError):
                self.journal.interrupt_run(self.run.run_id)
            raise

    def _still_open(self, lines: list[PlannedWrite]) -> list[PlannedWrite]:
        keys = [line.write.key for line in lines]
        if len(set(keys)) < len(keys):
            raise DataError(f"Plan {self.run.plan_id} holds two writes with one key: {_first_double(keys)!r}.")
        final = self.journal.final_keys(self.run.run_id, keys)
        return [line for line in lines if line.write.key not in final]

    def _write(self, lines: list[PlannedWrite]) -> None:
        for _ in range(SENDS):
            if not lines:
                return
            self._send(lines)
            self.settle([line.write for line in self._with_outcome(lines, None, Outcome.UNKNOWN)])
            lines = self._with_outcome(lines, Outcome.ABSENT)

    def _with_outcome(self, lines: list[PlannedWrite], *wanted: Outcome | None) -> list[PlannedWrite]:
        outcomes = self.journal.outcomes(self.run.run_id, [line.write.key for line in lines])
        return [line for line in lines if outcomes.get(line.write.key) in wanted]

    def _send(self, lines: list[PlannedWrite]) -> None:
        roles = _read_roles(self.adapter, [line.write for line in lines])
        now = {line.write.key: _state(roles, line.write) for line in lines}
        absent_keys = {key for key, state in now.items() if not state.rows}
        blocked = self.journal.blocked(self.run, lines, absent_keys)
        decided = _decided([line.write for line in lines if line.write.key not in blocked], now, roles)
        self.journal.record_intents(self.run, lines, list(decided.values()), blocked)
        self.done += len(decided) + len(blocked)
        self._tell(Step.INTENDED, len(lines))
        self._call([line.write for line in lines if line.write.key not in decided and line.write.key not in blocked])

    def _call(self, writes: list[RoleWrite]) -> None:
        if not writes:
            return
        receipts: dict[str, Receipt] = {}
        checkpoints: list[Checkpoint] = []

        def checkpoint(reached: Checkpoint) -> None:
            checkpoints.append(reached)
            self.journal.record_checkpoint(self.run.run_id, reached)
            self._tell(Step.CHECKPOINTED, len(reached.keys))

        try:
            told = [_traced(write, self.run.run_id) for write in writes]
            _collect(self.adapter.write_roles(told, checkpoint=checkpoint), writes, receipts)
        except BaseException as error:
            if isinstance(error, CrmBridgeError) and not receipts and not checkpoints:
                # by contract nothing left the machine
                receipts = {write.key: Receipt(key=write.key, outcome=Outcome.ABSENT) for write in writes}
            # a full disk must not hide the first error; a line without a receipt is settled on the next run
            with suppress(WorkspaceError):
                self._record(receipts.values())
            raise
        self._record(_believed(write, receipts[write.key]) for write in writes if write.key in receipts)
        self._tell(Step.RECEIVED, len(receipts))

    def _record(self, receipts: Iterable[Receipt]) -> None:
        receipts = list(receipts)
        self.journal.record_receipts(self.run, receipts)
        self.done += _final_count((receipt.outcome, 1) for receipt in receipts)

    def _tell(self, step: Step, lines: int) -> None:
        self.progress(Progress(step, self.run.run_id, lines, self.done))


def _final_count(counts: Iterable[tuple[str, int]]) -> int:
    return sum(count for outcome, count in counts if outcome in FINAL_OUTCOMES)


def _collect(answers: Iterator[Receipt], writes: Sequence[RoleWrite], receipts: dict[str, Receipt]) -> None:
    """Fill `receipts`, by key, as the answers come: what came before an error is kept."""
    awaited = {write.key for write in writes}
    for receipt in answers:
        if receipt.key not in awaited or receipt.key in receipts:
            raise DataError(f"The adapter gave a receipt that nobody awaits: {receipt.key!r}.", hint="report it to its author")
        receipts[receipt.key] = receipt


def _traced(write: RoleWrite, run_id: str) -> RoleWrite:
    """The write with the run in its provenance, for CRMs that can keep it."""
    if write.action != "put":
        return write
    return write.model_copy(update={"provenance": {**write.provenance, "run": run_id}})


def _believed(write: RoleWrite, receipt: Receipt) -> Receipt:
    """Take for unknown what an adapter cannot know, or tells too vaguely to be undone: reading back finds it."""
    is_vague = write.action == "put" and receipt.outcome is Outcome.APPLIED and not receipt.after.rows
    if is_vague or receipt.outcome is Outcome.ABSENT:
        return receipt.model_copy(update={"outcome": Outcome.UNKNOWN})
    return receipt


def _decided(writes: Iterable[RoleWrite], now: dict[str, PairState], roles: dict[str, list[ContactRole]]) -> dict[str, Receipt]:
    """Receipts, by key, of the writes that need no sending: there already, or changed since the plan."""
    outcomes = ((write.key, Outcome.CONFLICT if _is_moved(write, roles) else verdict(write, now[write.key])) for write in writes)
    return {
        key: Receipt(key=key, outcome=outcome, before=now[key], after=now[key])
        for key, outcome in outcomes
        if outcome is not None
    }


def _read_roles(adapter: Adapter, writes: Sequence[RoleWrite]) -> dict[str, list[ContactRole]]:
    """The roles of every opportunity that is written to, as they are now."""
    roles: dict[str, list[ContactRole]] = {write.opportunity_id: [] for write in writes}
    for role in adapter.read_roles(list(roles)):
        roles[role.opportunity_id].append(role)
    return roles


def _state(roles: dict[str, list[ContactRole]], write: RoleWrite) -> PairState:
    return pair_state(roles[write.opportunity_id], write.contact_id)


def _is_moved(write: RoleWrite, roles: dict[str, list[ContactRole]]) -> bool:
    """Whether a row to be removed stands under another contact now, as a merge of contacts leaves it."""
    ids = {row.id for row in write.expected.rows}
    others = (role.id for role in roles[write.opportunity_id] if role.contact_id != write.contact_id)
    return write.action == "remove" and not ids.isdisjoint(others)


def _chunks(lines: Iterable[PlannedWrite], size: int) -> Iterator[list[PlannedWrite]]:
    """Chunks of at most `size` lines; an opportunity is split only where it alone is larger."""
    chunk: list[PlannedWrite] = []
    for _, group in groupby(lines, lambda line: line.write.opportunity_id):
        together = list(group)
        if chunk and len(chunk) + len(together) > size:
            yield chunk
            chunk = []
        chunk += together
        while len(chunk) > size:
            yield chunk[:size]
            chunk = chunk[size:]
    if chunk:
        yield chunk


def _first_double(keys: Sequence[str]) -> str:
    return next(key for key, count in Counter(keys).items() if count > 1)
