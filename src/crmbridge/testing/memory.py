"""A CRM in memory and its adapters: the smallest complete reading of the contract, and a stand-in for tests.

`MemoryCrm` is the CRM: it outlives every adapter opened on it. `MemoryAdapter` writes at once. `MemoryBulkAdapter`
writes by jobs that run on after the call that sent them, as a bulk interface does, and so needs checkpoints. Faults are
made by subclassing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

from crmbridge.contract import (
    CONTRACT_VERSION,
    Capabilities,
    Check,
    Checkpoint,
    Deletion,
    Health,
    Outcome,
    PairState,
    Receipt,
    RoleWrite,
    WriteGuard,
    pair_state,
    settled,
    verdict,
)
from crmbridge.errors import DataError
from crmbridge.model import ContactRole, Entity, Record, record_batches
from crmbridge.testing.worlds import World, empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

NO_SUCH_RECORD = "NO_SUCH_RECORD"
ROLE_NOT_OFFERED = "ROLE_NOT_OFFERED"


class MemoryCrm:
    """The CRM itself: tables of records, and jobs that were accepted but have not run.

    Args:
        world: what it holds at first; deleted records are remembered as deleted.
    """

    def __init__(self, world: World | None = None) -> None:
        self._tables: dict[Entity, dict[str, Record]] = {entity: {} for entity in Entity}
        self._roles: dict[str, dict[str, ContactRole]] = {}
        self._jobs: dict[str, Sequence[RoleWrite]] = {}
        self._results: dict[str, dict[str, str | None]] = {}
        self._next = 0
        for group in (world or empty()).values():
            for record in group:
                self._keep(record)

    def records(self, entity: Entity) -> Iterator[Record]:
        """Give every record of an entity, deleted ones too, in the order they came."""
        if entity is not Entity.CONTACT_ROLE:
            yield from self._tables[entity].values()
            return
        for rows in self._roles.values():
            yield from rows.values()

    def roles(self, opportunity_id: str) -> list[ContactRole]:
        """Give the living roles of one opportunity; nothing for an unknown id."""
        return [role for role in self._roles.get(opportunity_id, {}).values() if not role.is_deleted]

    def write(self, write: RoleWrite) -> str | None:
        """Do one write without comparing anything; return an error code where it is refused."""
        if write.action == "remove":
            self._remove(write)
            return None
        for entity, identifier in ((Entity.OPPORTUNITY, write.opportunity_id), (Entity.CONTACT, write.contact_id)):
            record = self._tables[entity].get(identifier)
            if record is None or getattr(record, "is_deleted", None):
                return NO_SUCH_RECORD
        self._put(write)
        return None

    def accept(self, writes: Sequence[RoleWrite], *, reference: str) -> None:
        """Take in a job; it runs at some later moment, at the latest when somebody asks for its result."""
        self._jobs[reference] = writes

    def result(self, reference: str) -> dict[str, str | None]:
        """Run a job to its end unless it has; give the error code of each write's key, None where it was done."""
        if reference in self._jobs:
            self._results[reference] = {write.key: self.write(write) for write in self._jobs.pop(reference)}
        return self._results.get(reference, {})

    def run_jobs(self) -> None:
        """Let time pass: every accepted job comes to its end."""
        for reference in list(self._jobs):
            self.result(reference)

    def new_id(self, kind: str) -> str:
        """Make up an id that nothing else has."""
        self._next += 1
        return f"new-{kind}-{self._next}"

    def _keep(self, record: Record) -> None:
        if isinstance(record, ContactRole):
            self._roles.setdefault(record.opportunity_id, {})[record.id] = record
        else:
            self._tables[record.entity][record.id] = record  # type: ignore[attr-defined]

    def _put(self, write: RoleWrite) -> None:
        if write.is_primary:  # one primary at most: the newest takes it over
            for role in self.roles(write.opportunity_id):
                self._keep(role.model_copy(update={"is_primary": False}))
        now = datetime.now(UTC)
        self._keep(
            ContactRole(
                id=self.new_id("role"),
                opportunity_id=write.opportunity_id,
                contact_id=write.contact_id,
                role=write.role,
                is_primary=write.is_primary,
                created_at=now,
                modified_at=now,
            )
        )

    def _remove(self, write: RoleWrite) -> None:
        doomed = {row.id for row in write.expected.rows}
        for role in self.roles(write.opportunity_id):
            if role.id in doomed:
                self._keep(role.model_copy(update={"is_deleted": True, "modified_at": datetime.now(UTC)}))


class MemoryOptions(BaseModel):
    """How to open a `MemoryCrm`.

    Attributes:
        crm: the CRM itself; shared by every adapter opened with these options.
        role_names: the only roles it takes; empty where any text is allowed.
        entities: what it has.
        has_primary: whether it knows a primary contact.
        writes_per_call: the most writes of one job.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    crm: MemoryCrm
    role_names: tuple[str, ...] = ()
    entities: frozenset[Entity] = frozenset(Entity)
    has_primary: bool = True
    writes_per_call: int = 10


class MemoryAdapter:
    """Reads and writes a `MemoryCrm`, one write at a time."""

    name: ClassVar[str] = "memory"
    contract_version: ClassVar[int] = CONTRACT_VERSION
    options: ClassVar[type[BaseModel]] = MemoryOptions
    batch_rows: ClassVar[int] = 100

    def __init__(self, options: MemoryOptions) -> None:
        self._options = options
        self._crm = options.crm

    @property
    def capabilities(self) -> Capabilities:
        """Everything a CRM can do, as narrowed by the options."""
        return Capabilities(
            entities=self._options.entities,
            incremental=self._options.entities,
            deletions=self._options.entities,
            role_names=self._options.role_names,
            has_primary=self._options.has_primary,
            write_guard=WriteGuard.TRANSACTION,
            writes_per_call=self._options.writes_per_call,
            can_write=True,
        )

    def check(self) -> Health:
        """Nothing can be wrong with a CRM in memory."""
        return Health(checks=(Check(name="memory", status="ok", detail=f"{len(self._options.entities)} entities"),))

    def count(self, entity: Entity) -> int | None:
        """Count the living records."""
        return sum(1 for _ in self._living(entity))

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Give the living records in batches of `batch_rows`. Raises DataError for an entity that is left out."""
        changed = (record for record in self._living(entity) if since is None or _moment(record) >= since)
        yield from record_batches(entity, changed, rows=self.batch_rows)

    def read_deleted(self, entity: Entity, *, since: datetime) -> Iterator[Deletion]:
        """Give what was deleted or merged away."""
        for record in self._crm.records(entity):
            if _is_gone(record) and _moment(record) >= since:
                yield Deletion(
                    id=record.id,  # type: ignore[attr-defined]
                    deleted_at=_moment(record),
                    merged_into_id=getattr(record, "merged_into_id", None),
                )

    def read_roles(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        """Give the living roles as they are at this moment."""
        self._crm.run_jobs()
        for opportunity_id in dict.fromkeys(opportunity_ids):
            yield from self._crm.roles(opportunity_id)

    def write_roles(
        self,
        writes: Sequence[RoleWrite],
        *,
        checkpoint: Callable[[Checkpoint], None],  # noqa: ARG002 (nothing outlives a call in memory)
    ) -> Iterator[Receipt]:
        """Compare and write, one after the other."""
        for write in writes:
            before = self._state(write)
            outcome = self._judge(write, before)
            yield self._send(write, before) if outcome is None else _untouched(write, before, outcome)

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:
        """Bring jobs to their end, then read back."""
        for checkpoint in checkpoints:
            self._crm.result(checkpoint.reference)
        for write in writes:
            yield settled(write, self._state(write))

    def close(self) -> None:
        """Nothing to let go of."""

    def _living(self, entity: Entity) -> Iterator[Record]:
        if entity not in self._options.entities:
            allowed = ", ".join(sorted(self._options.entities))
            raise DataError(f"this CRM has no {entity}; it has: {allowed}")
        return (record for record in self._crm.records(entity) if not _is_gone(record))

    def _state(self, write: RoleWrite) -> PairState:
        return pair_state(self._crm.roles(write.opportunity_id), write.contact_id)

    def _judge(self, write: RoleWrite, before: PairState) -> Outcome | None:
        """Decide what needs no sending: REJECTED for a role that is not offered, else the contract's verdict."""
        names = self._options.role_names
        if write.action == "put" and names and write.role not in (None, *names):
            return Outcome.REJECTED
        return verdict(write, before)

    def _send(self, write: RoleWrite, before: PairState) -> Receipt:
        return self._receipt(write, before, self._crm.write(write))

    def _receipt(self, write: RoleWrite, before: PairState, code: str | None) -> Receipt:
        outcome = Outcome.APPLIED if code is None else Outcome.REJECTED
        return Receipt(key=write.key, outcome=outcome, before=before, after=self._state(write), code=code)


class MemoryBulkAdapter(MemoryAdapter):
    """Writes by jobs of at most `writes_per_call` writes; all are sent before the first answer is awaited."""

    name: ClassVar[str] = "memory-bulk"

    def write_roles(self, writes: Sequence[RoleWrite], *, checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:
        """Answer what needs no sending, send the others as jobs, then await each job."""
        before: dict[str, PairState] = {}
        needed: list[RoleWrite] = []
        for write in writes:
            before[write.key] = self._state(write)
            outcome = self._judge(write, before[write.key])
            if outcome is None:
                needed.append(write)
            else:
                yield _untouched(write, before[write.key], outcome)
        jobs = [self._submit(chunk, checkpoint) for chunk in self._chunks(needed)]
        for reference, chunk in jobs:
            codes = self._crm.result(reference)
            for write in chunk:
                yield self._receipt(write, before[write.key], codes[write.key])

    def _submit(self, chunk: Sequence[RoleWrite], checkpoint: Callable[[Checkpoint], None]) -> tuple[str, Sequence[RoleWrite]]:
        reference = self._crm.new_id("job")
        checkpoint(Checkpoint(kind="bulk-job", reference=reference, keys=tuple(write.key for write in chunk)))
        self._crm.accept(chunk, reference=reference)
        return reference, chunk

    def _chunks(self, writes: Sequence[RoleWrite]) -> Iterable[Sequence[RoleWrite]]:
        step = self._options.writes_per_call
        return (writes[start : start + step] for start in range(0, len(writes), step))


def _untouched(write: RoleWrite, before: PairState, outcome: Outcome) -> Receipt:
    code = ROLE_NOT_OFFERED if outcome is Outcome.REJECTED else None
    return Receipt(key=write.key, outcome=outcome, before=before, after=before, code=code)


def _moment(record: Record) -> datetime:
    """When the record last changed; a record that does not say is taken to have changed just now."""
    moment: datetime | None = getattr(record, "modified_at", None)
    return moment or datetime.now(UTC)


def _is_gone(record: Record) -> bool:
    return bool(getattr(record, "is_deleted", False))
