"""Connections: an SQLite file that must exist, or a PostgreSQL server; never kept open between two calls."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from crmbridge.adapters.sql.failures import is_transient, translate
from crmbridge.errors import CrmRefused, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crmbridge.adapters.sql.options import SqlOptions

ATTEMPTS = 4


class Database:
    """Gives connections for reading and for writing; holds none."""

    def __init__(self, options: SqlOptions) -> None:
        self.options = options
        self.engine = _sqlite(options) if options.is_sqlite else _postgres(options)

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, False for PostgreSQL."""
        return self.options.is_sqlite

    def retrying(self) -> Retrying:
        """Try again, with growing random pauses, while the database cannot right now, but not past the timeout."""
        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, DBAPIError) and is_transient(error)),
            stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(self.options.timeout_s),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that cannot change anything.

        Raises:
            CrmUnavailable: nobody answers. CrmRefused: the file or the account is refused.
        """
        connection = self.connect()
        try:
            if self.is_sqlite:
                connection.exec_driver_sql("PRAGMA query_only = ON")
            else:
                connection = connection.execution_options(postgresql_readonly=True)
            yield connection
        finally:
            connection.close()

    def connect(self) -> sa.Connection:
        """Connect, trying a few times; raises only crmbridge's errors."""
        self._require_file()
        try:
            return self.retrying()(self.engine.connect)
        except DBAPIError as error:
            raise translate(error, "connecting") from None

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        self.engine.dispose()

    def _require_file(self) -> None:
        """An SQLite file that is not there must not be created in silence."""
        if self.is_sqlite and not self.options.sqlite_path.is_file():
            path = str(self.options.sqlite_path)
            raise CrmRefused(f"no SQLite database at {path!r}", hint="check url in [crm.options]; the path is relative to here")


def _sqlite(options: SqlOptions) -> sa.Engine:
    """An engine whose transactions are exactly those that are asked for: the driver begins none by itself."""
    mode = "ro" if options.read_only else "rw"
    uri = f"file:{quote(os.fspath(options.sqlite_path))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=options.timeout_s, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: sa.Connection) -> None:
    """Begin; a writer takes the lock at once, so that what it compares cannot change before it writes."""
    is_writer = connection.get_execution_options().get("crmbridge_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


def _postgres(options: SqlOptions) -> sa.Engine:
    try:
        engine = sa.create_engine(
            options.full_url(),
            connect_args={"connect_timeout": options.timeout_s, "application_name": "crmbridge"},
            poolclass=NullPool,
            hide_parameters=True,
        )
    except ImportError:
        raise SettingsError("PostgreSQL needs the driver psycopg", hint="pip install 'crmbridge[postgres]'") from None
    sa.event.listen(engine, "connect", partial(_set_session, _session_settings(options)))
    return engine


def _session_settings(options: SqlOptions) -> dict[str, str]:
    """Dates are written the one way this adapter reads them; the mapping's SQL sees the mapped schema first."""
    settings = {"timezone": "UTC", "datestyle": "ISO, YMD"}
    if options.schema_name is not None:
        name = options.schema_name.replace('"', '""')
        settings["search_path"] = f'"{name}", public'
    return settings


def _set_session(settings: dict[str, str], connection: Any, _record: object) -> None:  # noqa: ANN401 - a psycopg connection
    with connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.commit()
