"""Writes roles: compare and write in one transaction, one chunk at a time.

A chunk holds the database's own lock from before it compares until it commits: SQLite's write lock, or on PostgreSQL
the role table in SHARE ROW EXCLUSIVE mode, which keeps out every other writer of roles, whatever program it is, and
no reader. So nothing can change between compare and write, and whoever takes the lock later (`settle`) knows that
this transaction is over.

A chunk is written set by set. Where the database refuses a set, it is written again one by one, each behind a
savepoint, and what is refused alone is `rejected`. Where a refusal takes the whole transaction with it (a deferred
constraint at the commit, a trigger that rolls back), the chunk is run again with one transaction a write.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from crmbridge.adapters.sql import reader
from crmbridge.adapters.sql.failures import code, is_about_the_row, is_transient, translate
from crmbridge.adapters.sql.source import as_stored
from crmbridge.contract import Outcome, PairState, Receipt, RoleWrite, pair_state, settled, verdict
from crmbridge.errors import CrmBridgeError
from crmbridge.model import Entity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crmbridge.adapters.sql.catalog import Catalog, RoleTarget
    from crmbridge.adapters.sql.database import Database
    from crmbridge.model import ContactRole

CHUNK_WRITES = 500
"""Writes in one transaction."""


class _Undecided(Exception):
    """The answer to a commit was lost: it may or may not have happened."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class _TakenDown(Exception):
    """One refused row took its whole transaction with it; nothing of it was kept."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class RoleWriter:
    """Writes, and settles, on one database."""

    def __init__(self, database: Database, catalog: Catalog, target: RoleTarget) -> None:
        self._database = database
        self._catalog = catalog
        self._target = target
        self._time_zone = database.options.time_zone

    def write(self, writes: Sequence[RoleWrite]) -> Iterator[Receipt]:
        """Write, chunk by chunk; one receipt each. Raises only where nothing was sent."""
        something_left = False
        chunks = [writes[start : start + CHUNK_WRITES] for start in range(0, len(writes), CHUNK_WRITES)]
        for number, chunk in enumerate(chunks):
            try:
                receipts = self._chunk(chunk)
            except CrmBridgeError as error:
                if not something_left:
                    raise
                yield from _unsent([write for rest in chunks[number:] for write in rest], type(error).__name__)
                return
            something_left = True
            yield from receipts

    def settle(self, writes: Sequence[RoleWrite]) -> Iterator[Receipt]:
        """Wait for the lock, so that nothing lost is still under way, then judge each write by what is there.

        Raises:
            CrmUnavailable: the lock was not to be had in time: something is still under way.
        """
        for start in range(0, len(writes), CHUNK_WRITES):
            yield from self._settled([self._feasible(write) for write in writes[start : start + CHUNK_WRITES]])

    def _settled(self, writes: list[RoleWrite]) -> list[Receipt]:
        try:
            return list(self._database.retrying()(self._read_back, writes))
        except DBAPIError as error:
            raise translate(error, "settling roles") from None

    def _read_back(self, writes: list[RoleWrite]) -> list[Receipt]:
        with self._locked() as connection:
            states = self._states(connection, writes)
            connection.rollback()
        return [settled(write, states[write.key]) for write in writes]

    def _chunk(self, writes: Sequence[RoleWrite]) -> list[Receipt]:
        try:
            return list(self._database.retrying()(self._transaction, writes).values())
        except _Undecided as lost:
            return [Receipt(key=write.key, outcome=Outcome.UNKNOWN, code=lost.state) for write in writes]
        except _TakenDown as refused:
            return self._one_by_one(writes, refused.state)
        except DBAPIError as error:
            raise translate(error, "writing roles") from None

    def _one_by_one(self, writes: Sequence[RoleWrite], state: str) -> list[Receipt]:
        """Find the write that takes transactions down, by giving each its own."""
        if len(writes) == 1:
            return [Receipt(key=writes[0].key, outcome=Outcome.REJECTED, before=writes[0].expected, code=state)]
        receipts: list[Receipt] = []
        for position, write in enumerate(writes):
            try:
                receipts += self._chunk([write])
            except CrmBridgeError as error:
                if position == 0:
                    raise
                return [*receipts, *_unsent(writes[position:], type(error).__name__)]
        return receipts

    def _transaction(self, writes: Sequence[RoleWrite]) -> dict[str, Receipt]:
        """Compare and write one chunk; committed when it returns, and without a trace where it raises a DBAPIError."""
        receipts: dict[str, Receipt] = {}
        with self._locked() as connection:
            for wave in _waves([self._feasible(write) for write in writes]):
                receipts |= self._wave(connection, wave)
            _commit(connection)
        return receipts

    def _locked(self) -> sa.Connection:
        """A connection whose transaction holds the lock; closing it without a commit rolls back."""
        connection = self._database.connect().execution_options(crmbridge_writes=True)
        try:
            self._take_lock(connection)
        except DBAPIError:
            connection.close()
            raise
        return connection

    def _take_lock(self, connection: sa.Connection) -> None:
        connection.begin()
        if self._database.is_sqlite:
            return  # BEGIN IMMEDIATE took it
        seconds = self._database.options.timeout_s
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{seconds}s'")
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{4 * seconds}s'")
        table = connection.dialect.identifier_preparer.format_table(self._target.table)
        connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")

    def _feasible(self, write: RoleWrite) -> RoleWrite:
        """The write as this database can hold it: what has no column is left blank."""
        columns = self._target.columns
        role = write.role if "role" in columns else None
        return write.model_copy(update={"role": role, "is_primary": write.is_primary and "is_primary" in columns})

    def _wave(self, connection: sa.Connection, wave: list[RoleWrite]) -> dict[str, Receipt]:
        """Judge and write a set of writes of which no two touch the same opportunity."""
        before = self._states(connection, wave)
        judged = {write.key: verdict(write, before[write.key]) for write in wave}
        open_writes = [write for write in wave if judged[write.key] is None]
        refused = self._homeless(connection, open_writes)
        refused |= self._sent(connection, [write for write in open_writes if write.key not in refused])
        after = self._states(connection, open_writes) if open_writes else {}
        return {
            write.key: _receipt(write, judged[write.key], refused.get(write.key), before[write.key], after.get(write.key))
            for write in wave
        }

    def _states(self, connection: sa.Connection, writes: Sequence[RoleWrite]) -> dict[str, PairState]:
        """The pair of each write as it is now, read together."""
        roles: dict[str, list[ContactRole]] = defaultdict(list)
        ids = [write.opportunity_id for write in writes]
        for role in reader.read_roles(connection, self._catalog.of(Entity.CONTACT_ROLE), ids, time_zone=self._time_zone):
            roles[role.opportunity_id].append(role)
        return {write.key: pair_state(roles[write.opportunity_id], write.contact_id) for write in writes}

    def _homeless(self, connection: sa.Connection, writes: list[RoleWrite]) -> dict[str, str]:
        """The puts whose opportunity or contact is not there: the database may have no foreign key to object."""
        puts = [write for write in writes if write.action == "put"]
        opportunities = self._existing(connection, Entity.OPPORTUNITY, [write.opportunity_id for write in puts])
        contacts = self._existing(connection, Entity.CONTACT, [write.contact_id for write in puts])
        without_contact = {write.key: "CONTACT_NOT_FOUND" for write in puts if write.contact_id not in contacts}
        missing = {write.key: "OPPORTUNITY_NOT_FOUND" for write in puts if write.opportunity_id not in opportunities}
        return without_contact | missing

    def _existing(self, connection: sa.Connection, entity: Entity, ids: list[str]) -> set[str]:
        return reader.existing(connection, self._catalog.of(entity), ids) if ids else set()

    def _sent(self, connection: sa.Connection, writes: list[RoleWrite]) -> dict[str, str]:
        """Send a set together; where the database refuses it, one by one. Returns the codes of the refused."""
        if not writes or self._refusal(connection, writes) is None:
            return {}
        states = {write.key: self._refusal(connection, [write]) for write in writes}
        return {key: state for key, state in states.items() if state is not None}

    def _refusal(self, connection: sa.Connection, writes: list[RoleWrite]) -> str | None:
        """Run a set behind a savepoint; the code where the database refuses it, and then nothing of it is left."""
        savepoint = connection.begin_nested()
        try:
            self._execute(connection, writes)
            savepoint.commit()
        except DBAPIError as error:
            if is_transient(error) or not is_about_the_row(error):
                raise
            state = code(error)
            _roll_back_to(savepoint, state)
            return state
        return None

    def _execute(self, connection: sa.Connection, writes: list[RoleWrite]) -> None:
        target = self._target
        rows = [self._row(write) for write in writes if write.action == "put"]
        if rows:
            connection.execute(sa.insert(target.table), rows)
        gone = [row.id for write in writes if write.action == "remove" for row in write.expected.rows]
        if gone:
            stored = [as_stored(text, target.kind("id"), is_sqlite=self._database.is_sqlite) for text in gone]
            connection.execute(sa.delete(target.table).where(target.column("id").in_(stored)))

    def _row(self, write: RoleWrite) -> dict[str, Any]:
        target = self._target
        given: Mapping[str, Any] = {
            "opportunity_id": self._stored("opportunity_id", write.opportunity_id),
            "contact_id": self._stored("contact_id", write.contact_id),
            "role": write.role,
            "is_primary": target.booleans[write.is_primary],
        }
        row = {target.columns[name]: value for name, value in given.items() if name in target.columns}
        if target.roles.new_id == "uuid":
            row[target.columns["id"]] = self._stored("id", str(uuid.uuid4()))
        if target.roles.write_key is not None:
            row[target.roles.write_key] = write.key
        return {**row, **target.roles.values}

    def _stored(self, name: str, text: str) -> Any:  # noqa: ANN401 - whatever the column's type takes
        return as_stored(text, self._target.kind(name), is_sqlite=self._database.is_sqlite)


def _commit(connection: sa.Connection) -> None:
    """Commit, and tell a refusal (nothing kept) from a lost answer (nobody knows)."""
    try:
        connection.commit()
    except DBAPIError as error:
        state = code(error)
        if not error.connection_invalidated and is_about_the_row(error):
            raise _TakenDown(state) from None
        if state.startswith(("SQLITE_BUSY", "SQLITE_FULL", "40")):
            raise  # surely rolled back when the connection closes
        raise _Undecided(state) from None


def _roll_back_to(savepoint: sa.NestedTransaction, state: str) -> None:
    """Undo what came after the savepoint; where a trigger has rolled everything back, there is none any more."""
    try:
        savepoint.rollback()
    except DBAPIError:
        raise _TakenDown(state) from None


def _waves(writes: Sequence[RoleWrite]) -> list[list[RoleWrite]]:
    """Deal writes out so that each wave touches an opportunity once: a later write must see what an earlier one did."""
    waves: list[list[RoleWrite]] = []
    turns: dict[str, int] = defaultdict(int)
    for write in writes:
        turn = turns[write.opportunity_id]
        turns[write.opportunity_id] += 1
        if turn == len(waves):
            waves.append([])
        waves[turn].append(write)
    return waves


def _receipt(
    write: RoleWrite, judged: Outcome | None, refused: str | None, before: PairState, after: PairState | None
) -> Receipt:
    if judged is not None:
        return Receipt(key=write.key, outcome=judged, before=before, after=before)
    if refused is not None:
        return Receipt(key=write.key, outcome=Outcome.REJECTED, before=before, after=before, code=refused)
    after = after or before
    if after.rows == before.rows:
        # A rule or trigger of the database swallowed it without a word.
        return Receipt(key=write.key, outcome=Outcome.REJECTED, before=before, after=after, code="NO_EFFECT")
    return Receipt(key=write.key, outcome=Outcome.APPLIED, before=before, after=after)


def _unsent(writes: Sequence[RoleWrite], state: str) -> list[Receipt]:
    """What was never sent, after others were: `settle` will find it absent, and then it may be sent."""
    return [Receipt(key=write.key, outcome=Outcome.UNKNOWN, before=write.expected, code=state) for write in writes]
