"""What the author of an adapter implements, and all that crmbridge will ever ask of it.

An adapter is a class, registered under the entry point group `crmbridge.adapters`, with three class attributes and eight methods
(see `Adapter`); two more are optional (`BuildsOnEarlier`). `crmbridge.testing.AdapterConformance` tests every sentence
below.

Reading
    `read` hands over Arrow record batches in the canonical schema (`crmbridge.model.arrow_schema`), ids as text, datetimes in
    UTC. Where rows are easier, build model objects and pass them through `crmbridge.model.record_batches`. An entity the CRM
    does not have is left out of `capabilities.entities`, and reading or counting it raises DataError or gives nothing; a field
    it does not have is null. Deleted records are left out; records merged into another may be given with `merged_into_id`.
    Order is free. A read that cannot finish raises: never end early in silence. `since` for an entity that is not in
    `capabilities.incremental` gives at least what changed, possibly everything. What `read` gives, it also gives with `since`
    once it has changed: being restored counts, and so does being merged away where `read` gives such records. `read_deleted`
    gives `merged_into_id` where the CRM knows it: None rather than wrong; a record that `read` gives as merged may be left out of
    it. Where the CRM may have forgotten what was deleted since then, `read_deleted` raises DeletionsUnknown, at any point; the
    entity is then read in full. What `read` no longer gives for any other reason, such as a condition on its records, is deleted
    too: an entity whose deletions are known only in part is left out of `capabilities.deletions`.

Writing
    `write_roles` yields exactly one receipt per write, in any order. A `put` adds the role where the pair is as `expected`; a
    `remove` deletes the very rows in `expected`. Where the CRM has no conditional write: read, compare, write, verify.
    * The pair is as expected: write it -> `applied`.
    * The pair is already as wanted, by this write or by anyone's hand -> `already`; nothing is written.
    * Anything else differs from `expected.rows` -> `conflict`; nothing is written. The primary is compared only by a `put` that
      asks to be primary: `conflict` unless the opportunity's primary is still `expected.primary_contact_id`.
    * The CRM refuses this record for good (unknown, deleted, invisible, validation rule) -> `rejected` with the CRM's code; also
      where the CRM itself has no foreign keys. A role that it does not offer is rejected or written as given, never altered.
    * It was sent and the answer was lost -> `unknown`. Never send it again blindly: `settle` reads back.
    One refused write never takes others with it. `write_roles` raises only if nothing left the machine. The receipts may be left
    unread at any point; what was sent by then is found by `settle`. After `applied`, `after.rows` are the rows that undo will
    expect; after any other outcome, before and after are both the pair as it is. A put that becomes the primary may clear the
    earlier primary's mark; no write touches other rows otherwise.
    `checkpoint` is called before anything that outlives the call exists (a Bulk job's id before its upload); it returns once the
    checkpoint is durable. Where it raises, nothing of that checkpoint is sent, and the error passes through.

Settling
    `settle` is called for writes whose receipt is missing or `unknown`, with the checkpoints of their run. It first brings remote
    jobs to a terminal state and waits out lost requests; only then does it read back: `applied` (the pair is as wanted),
    `absent` (it did not happen: safe to send again), or `conflict` (something else is there). It writes no role, and may be
    called again; where a removal of ours, whose answer was lost, has cleared the primary's mark on a row that is not ours, it
    puts that mark back.

Building on what is known (optional)
    Where the CRM does not tell everything that changed, an adapter may compare what is there now with the snapshot before. It
    then has the two methods of `BuildsOnEarlier` as well. A pull calls `build_on` before it reads anything, and once more with
    None when it is over, however it ends; what `capabilities` says of changes may depend on it. Where anything is due to be read
    in full again, such an adapter is given None, and everything is.

Threads and clocks
    One thread calls an adapter. `close` may be called twice. An adapter never logs names, addresses, tokens or response bodies,
    and raises only `crmbridge.errors`, `from None`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from crmbridge.model import ContactRole, Entity, Id, UtcDatetime

if TYPE_CHECKING:
    import pyarrow as pa

CONTRACT_VERSION = 1
"""An adapter names the version it was written for in `contract_version`; another version is refused before it is opened."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WriteGuard(StrEnum):
    """How the CRM keeps a write from trampling a change made since the plan: every adapter answers with one."""

    TRANSACTION = "transaction"
    """Compare and write happen in one transaction: no gap."""
    READ_COMPARE_WRITE = "read_compare_write"
    """Read, compare, write, verify: a gap of one round trip remains."""


class Capabilities(_Value):
    """What this CRM, as configured, can do. Every field is answered by the author; it drives both the code and the kit's skips.

    Attributes:
        entities: what `read` can give; always at least opportunity, contact and contact_role.
        incremental: entities for which `read(since=...)` returns only what changed.
        deletions: entities for which `read_deleted` knows what went.
        role_names: the roles this CRM offers, in its order; empty where any text is allowed.
        has_primary: whether one contact of an opportunity is the primary.
        write_guard: see `WriteGuard`.
        writes_per_call: the most writes that are sent to the CRM together.
        can_write: False where the connection is known to be read-only.
    """

    entities: frozenset[Entity]
    incremental: frozenset[Entity]
    deletions: frozenset[Entity]
    role_names: tuple[str, ...]
    has_primary: bool
    write_guard: WriteGuard
    writes_per_call: int
    can_write: bool


class Check(_Value):
    """One line of `crmbridge check`. `detail` names tables, fields and counts, never people."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    hint: str | None = None


class Health(_Value):
    """What `check` found, in the order it looked."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True where nothing failed; warnings are allowed."""
        return all(check.status != "failed" for check in self.checks)


class Deletion(_Value):
    """A record that is gone; `merged_into_id` where it lives on in another."""

    id: Id
    deleted_at: UtcDatetime | None = None
    merged_into_id: Id | None = None


class RoleRow(_Value):
    """One row (or label) that links a contact to an opportunity."""

    id: str
    role: str | None
    is_primary: bool


class PairState(_Value):
    """All that the CRM holds for one (opportunity, contact) pair, and who is the opportunity's primary.

    Attributes:
        rows: sorted by id; empty where the pair is absent.
        primary_contact_id: the lowest id where several are marked; None where nobody is.
    """

    rows: tuple[RoleRow, ...] = ()
    primary_contact_id: str | None = None


class RoleWrite(_Value):
    """One wanted change of one (opportunity, contact) pair.

    Attributes:
        key: stable across retries of this very write; no two writes share one.
        action: `put` adds the role to an absent pair, `remove` deletes the rows in `expected`.
        role: None leaves the role blank.
        expected: the pair as the plan saw it; `put` expects no rows.
        provenance: of a `put`, why it is made, as text under `run`, `confidence` (0 to 1) and `reason` (at most 255
            characters, no names or addresses): for fields that the CRM has for it. It is never compared, and an adapter without
            such fields ignores it.
    """

    key: str
    action: Literal["put", "remove"]
    opportunity_id: Id
    contact_id: Id
    role: str | None = None
    is_primary: bool = False
    expected: PairState = PairState()
    provenance: dict[str, str] = {}


class Outcome(StrEnum):
    """How a write ended."""

    APPLIED = "applied"
    ALREADY = "already"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    ABSENT = "absent"
    """Only from `settle`: it did not happen."""


class Receipt(_Value):
    """How one write ended, with the pair before and after as the adapter saw it.

    Attributes:
        code: the CRM's own error code for `rejected` and `unknown`, such as FIELD_CUSTOM_VALIDATION_EXCEPTION; never its message.
    """

    key: str
    outcome: Outcome
    before: PairState = PairState()
    after: PairState = PairState()
    code: str | None = None


class Checkpoint(_Value):
    """Something that will outlive the call: enough to find it again.

    Attributes:
        kind: the adapter's own word, such as `bulk-job`.
        reference: the CRM's id of it.
        keys: the writes it carries.
    """

    kind: str
    reference: str
    keys: tuple[str, ...]


class EarlierRecords(Protocol):
    """The snapshot before, as an adapter may read it while a pull is on."""

    def read_at(self, entity: Entity) -> datetime | None:
        """When an entity was read last, by whole or by its changes; None where it never was."""

    def columns(self, entity: Entity, *names: str) -> pa.Table:
        """Some columns of all records of an entity, as `read` gave them; no rows where it was never read."""

    def tell_gone(self, ids: Iterable[str]) -> None:
        """Say, while an entity is read by its changes, that these records of it turned out to be gone."""


@runtime_checkable
class BuildsOnEarlier(Protocol):
    """What an adapter has besides, that reads with fewer calls where it knows what was there (module docstring)."""

    def identity(self) -> str | None:
        """Tell which CRM this is, by its own word, and what of it all records hang on, such as the names of stages; may connect.

        A snapshot is built on only where it is the same; never where it is None.
        """

    def build_on(self, earlier: EarlierRecords | None) -> None:
        """Take the snapshot before, or None where everything is to be read anew."""


@runtime_checkable
class Adapter(Protocol):
    """One CRM. The class attributes are read before it is opened; `options` is a pydantic model of `[crm.options]`."""

    name: ClassVar[str]
    contract_version: ClassVar[int]
    options: ClassVar[type[BaseModel]]

    def __init__(self, options: BaseModel) -> None:
        """Keep the options; connect on first use. Raises SettingsError for options that contradict each other."""

    @property
    def capabilities(self) -> Capabilities:
        """What this CRM, as configured, can do; may connect."""

    def check(self) -> Health:
        """Look at credentials, permissions, objects, fields and limits; change nothing and raise nothing but bugs."""

    def count(self, entity: Entity) -> int | None:
        """How many records `read` will give, for progress and as a check on changes; None where asking would cost too much."""

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Give all records, or those changed at or after `since`, in canonical batches of 1 to 100,000 rows."""

    def read_deleted(self, entity: Entity, *, since: datetime) -> Iterator[Deletion]:
        """Give what was deleted or merged away at or after `since`."""

    def read_roles(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        """Give the roles of these opportunities as they are now; unknown ids give nothing."""

    def write_roles(self, writes: Sequence[RoleWrite], *, checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:
        """Write; one receipt each (module docstring)."""

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:
        """Find out what became of writes whose answer was lost; one receipt each (module docstring)."""

    def close(self) -> None:
        """Let go of connections."""


def pair_state(roles: Iterable[ContactRole], contact_id: str) -> PairState:
    """Read one contact's pair out of all roles of ONE opportunity.

    Args:
        roles: every role of the opportunity as it is now, any order; may be empty.
        contact_id: whose rows to pick.
    """
    roles = list(roles)
    rows = [
        RoleRow(id=role.id, role=role.role, is_primary=bool(role.is_primary)) for role in roles if role.contact_id == contact_id
    ]
    primary = min((role.contact_id for role in roles if role.is_primary), default=None)
    return PairState(rows=tuple(sorted(rows, key=lambda row: row.id)), primary_contact_id=primary)


def verdict(write: RoleWrite, now: PairState) -> Outcome | None:
    """Compare a write with the pair as it is now: ALREADY, CONFLICT, or None where it should be written.

    The one place where "as expected" is decided, so that every adapter decides it alike.
    """
    if write.action == "remove":
        if not now.rows:
            return Outcome.ALREADY
        return None if now.rows == write.expected.rows else Outcome.CONFLICT
    wanted = (write.role, write.is_primary)
    if any((row.role, row.is_primary) == wanted for row in now.rows):
        return Outcome.ALREADY
    if now.rows != write.expected.rows:
        return Outcome.CONFLICT
    if write.is_primary and now.primary_contact_id != write.expected.primary_contact_id:
        return Outcome.CONFLICT
    return None


def settled(write: RoleWrite, now: PairState) -> Receipt:
    """Judge a write whose answer was lost by the pair as it reads back, once nothing of it is still running."""
    if write.action == "remove":
        outcome = Outcome.APPLIED if not now.rows else Outcome.ABSENT if now.rows == write.expected.rows else Outcome.CONFLICT
    elif not now.rows:
        outcome = Outcome.ABSENT
    else:
        ours = len(now.rows) == 1 and (now.rows[0].role, now.rows[0].is_primary) == (write.role, write.is_primary)
        outcome = Outcome.APPLIED if ours else Outcome.CONFLICT
    return Receipt(key=write.key, outcome=outcome, before=write.expected, after=now)
