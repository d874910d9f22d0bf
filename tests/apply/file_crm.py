"""A CRM in one SQLite file, so that it outlives a killed process; it can lose answers and tells when it commits."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel

from crmbridge.contract import (
    CONTRACT_VERSION,
    Capabilities,
    Checkpoint,
    Health,
    Outcome,
    Receipt,
    RoleWrite,
    WriteGuard,
    pair_state,
    settled,
    verdict,
)
from crmbridge.errors import CrmUnavailable
from crmbridge.model import ContactRole, Entity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class Options(BaseModel):
    path: Path


class FileCrm:
    name = "file"
    contract_version = CONTRACT_VERSION
    options = Options

    def __init__(self, path: Path, *, writes_per_call: int = 4, in_bulk: bool = False, can_write: bool = True) -> None:
        self.path = path
        self.writes_per_call = writes_per_call
        self.in_bulk = in_bulk
        self.can_write = can_write
        self.tell: Callable[[str], None] = lambda _: None  # called around every commit
        self.lost: set[str] = set()  # keys: written, and the answer lost
        self.dropped: set[str] = set()  # keys: never written, and the answer lost
        self.sent: list[str] = []
        with self._connect() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS role (id INTEGER PRIMARY KEY AUTOINCREMENT, opportunity_id TEXT, "
                "contact_id TEXT, role TEXT, is_primary INTEGER)"
            )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            entities=frozenset({Entity.OPPORTUNITY, Entity.CONTACT, Entity.CONTACT_ROLE}),
            incremental=frozenset(),
            deletions=frozenset(),
            role_names=(),
            has_primary=True,
            write_guard=WriteGuard.READ_COMPARE_WRITE,
            writes_per_call=self.writes_per_call,
            can_write=self.can_write,
        )

    def check(self) -> Health:
        return Health(checks=())

    def count(self, entity: Entity) -> int | None:
        return None

    def read(self, entity, *, since=None):
        raise AssertionError("this CRM is written to only")

    def read_deleted(self, entity, *, since):
        raise AssertionError("this CRM is written to only")

    def read_roles(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        with self._connect() as connection:
            for opportunity_id in opportunity_ids:
                yield from _roles(connection, opportunity_id)

    def write_roles(self, writes: Sequence[RoleWrite], *, checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:
        self.tell("called")
        if self.in_bulk:
            checkpoint(Checkpoint(kind="bulk-job", reference="7", keys=tuple(write.key for write in writes)))
            yield from [self._write(write) for write in writes]
            return
        for write in writes:
            yield self._write(write)

    def _write(self, write: RoleWrite) -> Receipt:
        self.sent.append(write.key)
        if write.key in self.dropped:
            self.dropped.remove(write.key)
            return Receipt(key=write.key, outcome=Outcome.UNKNOWN)
        with self._connect() as connection:
            before = pair_state(_roles(connection, write.opportunity_id), write.contact_id)
            outcome = verdict(write, before)
            if outcome is not None:
                return Receipt(key=write.key, outcome=outcome, before=before, after=before)
            if write.opportunity_id.startswith("locked"):
                return Receipt(key=write.key, outcome=Outcome.REJECTED, before=before, after=before, code="LOCKED")
            self._change(connection, write)
            after = pair_state(_roles(connection, write.opportunity_id), write.contact_id)
        self.tell("committed")
        if write.key in self.lost:
            return Receipt(key=write.key, outcome=Outcome.UNKNOWN)
        return Receipt(key=write.key, outcome=Outcome.APPLIED, before=before, after=after)

    def _change(self, connection: sqlite3.Connection, write: RoleWrite) -> None:
        if write.action == "remove":
            connection.executemany("DELETE FROM role WHERE id = ?", [(row.id,) for row in write.expected.rows])
            return
        if write.is_primary:
            connection.execute("UPDATE role SET is_primary = 0 WHERE opportunity_id = ?", (write.opportunity_id,))
        connection.execute(
            "INSERT INTO role (opportunity_id, contact_id, role, is_primary) VALUES (?, ?, ?, ?)",
            (write.opportunity_id, write.contact_id, write.role, write.is_primary),
        )

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:
        self.tell("settling")
        carried = {key for checkpoint in checkpoints for key in checkpoint.keys}
        with self._connect() as connection:
            for write in writes:
                found = settled(write, pair_state(_roles(connection, write.opportunity_id), write.contact_id))
                if self.in_bulk and found.outcome is Outcome.APPLIED and write.key not in carried:
                    raise CrmUnavailable("this was written by a job that no checkpoint names")
                yield found

    def close(self) -> None:
        pass

    # What people do in the CRM, and what a test looks at

    def by_hand(self, sql: str, *parameters: object) -> None:
        with self._connect() as connection:
            connection.execute(sql, parameters)

    def add(self, opportunity_id: str, contact_id: str, role: str | None = None, *, is_primary: bool = False) -> None:
        self.by_hand(
            "INSERT INTO role (opportunity_id, contact_id, role, is_primary) VALUES (?, ?, ?, ?)",
            opportunity_id,
            contact_id,
            role,
            is_primary,
        )

    def remove(self, opportunity_id: str, contact_id: str) -> None:
        self.by_hand("DELETE FROM role WHERE opportunity_id = ? AND contact_id = ?", opportunity_id, contact_id)

    def edit(self, opportunity_id: str, contact_id: str, role: str) -> None:
        self.by_hand("UPDATE role SET role = ? WHERE opportunity_id = ? AND contact_id = ?", role, opportunity_id, contact_id)

    def content(self) -> list[tuple[str, str, str | None, bool]]:
        """Every row without its id, sorted: duplicates show."""
        with self._connect() as connection:
            rows = connection.execute("SELECT opportunity_id, contact_id, role, is_primary FROM role").fetchall()
        return sorted((opp, contact, role, bool(primary)) for opp, contact, role, primary in rows)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path)
        try:
            connection.execute("PRAGMA synchronous = OFF")
            with connection:
                yield connection
        finally:
            connection.close()


def _roles(connection: sqlite3.Connection, opportunity_id: str) -> list[ContactRole]:
    rows = connection.execute(
        "SELECT id, contact_id, role, is_primary FROM role WHERE opportunity_id = ?", (opportunity_id,)
    ).fetchall()
    return [
        ContactRole(id=str(row_id), opportunity_id=opportunity_id, contact_id=contact, role=role, is_primary=bool(primary))
        for row_id, contact, role, primary in rows
    ]
