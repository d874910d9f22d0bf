"""The journal's file: SQLite in WAL mode, synced at every commit, readable by its owner only.

A commit has reached the disk before `transaction` returns. After a torn tail SQLite opens at the last whole commit;
what was lost is found again by reading the CRM, which every run does before it writes.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crmbridge.errors import WorkspaceBusy, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION = 1
APPLICATION_ID = int.from_bytes(b"crmb", "big")

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE run (
        run_id TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('apply', 'undo')),
        plan_id TEXT NOT NULL,
        plan_hash TEXT NOT NULL,
        undoes_run_id TEXT REFERENCES run,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        state TEXT NOT NULL CHECK (state IN ('open', 'interrupted', 'finished', 'abandoned')))""",
    """CREATE TABLE intent (
        run_id TEXT NOT NULL REFERENCES run,
        seq INTEGER NOT NULL,
        key TEXT NOT NULL,
        line_id TEXT NOT NULL,
        action TEXT NOT NULL CHECK (action IN ('put', 'remove')),
        opportunity_id TEXT NOT NULL,
        contact_id TEXT NOT NULL,
        role TEXT,
        is_primary INTEGER NOT NULL,
        expected TEXT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY (run_id, seq),
        UNIQUE (run_id, key)) WITHOUT ROWID""",
    """CREATE TABLE receipt (
        run_id TEXT NOT NULL,
        key TEXT NOT NULL,
        outcome TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        code TEXT,
        received_at TEXT NOT NULL,
        PRIMARY KEY (run_id, key),
        FOREIGN KEY (run_id, key) REFERENCES intent (run_id, key)) WITHOUT ROWID""",
    """CREATE TABLE checkpoint (
        checkpoint_id INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL REFERENCES run,
        kind TEXT NOT NULL,
        reference TEXT NOT NULL,
        keys TEXT NOT NULL,
        made_at TEXT NOT NULL)""",
    """CREATE TABLE own_role (
        run_id TEXT NOT NULL REFERENCES run,
        key TEXT NOT NULL,
        role_id TEXT NOT NULL,
        opportunity_id TEXT NOT NULL,
        contact_id TEXT NOT NULL,
        since TEXT NOT NULL,
        ended_at TEXT,
        ended_by TEXT CHECK (ended_by IN ('undone', 'removed')),
        PRIMARY KEY (run_id, key, role_id)) WITHOUT ROWID""",
    "CREATE INDEX own_role_pair ON own_role (opportunity_id, contact_id) WHERE ended_at IS NULL",
    """CREATE TABLE veto (
        veto_id INTEGER PRIMARY KEY,
        opportunity_id TEXT NOT NULL,
        contact_id TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('removed', 'undone', 'rejected', 'person')),
        reason TEXT NOT NULL,
        run_id TEXT REFERENCES run,
        added_at TEXT NOT NULL,
        lifted_at TEXT)""",
    """CREATE UNIQUE INDEX veto_active ON veto (opportunity_id, contact_id, source, ifnull(run_id, ''))
        WHERE lifted_at IS NULL""",
)


class Database:
    """One connection to the journal's file; every failure of SQLite comes out as a WorkspaceError."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float) -> Database:
        """Open the file, making it where it is missing; refuse what is not ours.

        Raises:
            WorkspaceBusy: another process holds it for longer than `busy_timeout_s`.
            WorkspaceError: not a journal, damaged, of a newer version, or not writable.
        """
        with translated(path):
            _touch_private(path)
            connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
            try:
                _prepare(path, connection)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the connection; may be called twice."""
        with translated(self.path):
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything or nothing; durable on the disk when the block is left."""
        with translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with translated(self.path):
            return self._connection.execute(sql, parameters).fetchall()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into an error that names the file and the next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise _workspace_error(path, error) from None
    except OSError as error:
        raise WorkspaceError(
            f"The journal {path} cannot be opened: {error.strerror}.",
            hint="check that its folder exists and that you may write there",
        ) from None


def _workspace_error(path: Path, error: sqlite3.Error) -> WorkspaceError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    primary_code = code & 0xFF
    if primary_code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return WorkspaceBusy(
            f"Another process holds the journal {path}; nothing was done.",
            hint="wait until it has ended, then run again",
        )
    if primary_code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return WorkspaceError(
            f"The journal {path} could not be written ({_code_name(error)}): the disk or your quota is full. "
            "Nothing is lost: what was sent is read back from the CRM on the next run.",
            hint="free some space, then run the same command again",
        )
    if primary_code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return _damaged(path)
    if primary_code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return WorkspaceError(
            f"The journal {path} cannot be opened for writing ({_code_name(error)}).",
            hint="check the owner and the rights of the file and its folder",
        )
    return WorkspaceError(f"The journal {path} failed: {_code_name(error)}.")


def _damaged(path: Path) -> WorkspaceError:
    return WorkspaceError(
        f"{path} is damaged or is not a crmbridge journal.",
        hint="restore it from a backup; without it earlier runs cannot be undone and vetoes are forgotten",
    )


def _code_name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)


def _touch_private(path: Path) -> None:
    # made before SQLite sees it, so that it is never readable by others; -wal and -shm inherit its mode
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    is_new = not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if not is_new:
        _refuse_foreign(path, connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if is_new:
        _create(connection)


def _refuse_foreign(path: Path, connection: sqlite3.Connection) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise WorkspaceError(
            f"{path} is a SQLite file, but not a crmbridge journal.", hint="name another file, or move this one away"
        )
    (version,) = connection.execute("SELECT max(value) FROM meta WHERE name = 'schema_version'").fetchone()
    if version is None:
        raise _damaged(path)
    if int(version) > SCHEMA_VERSION:
        raise WorkspaceError(
            f"The journal {path} has version {version}; this crmbridge reads versions up to {SCHEMA_VERSION}.",
            hint="update crmbridge: pip install --upgrade crmbridge",
        )


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    # another process may have made it while this one waited for the lock
    if not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in _SCHEMA:
            connection.execute(statement)
        meta = {"schema_version": str(SCHEMA_VERSION), "workspace_id": str(uuid.uuid4())}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.execute("COMMIT")
