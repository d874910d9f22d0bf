"""Translates what a database driver raises: by code only, for messages may hold values, addresses or the password."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from crmbridge.errors import CrmBridgeError, CrmRefused, CrmUnavailable, DataError, MappingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUSY_SQLITE = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_REFUSED_SQLITE = {
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
    "SQLITE_AUTH",
    "SQLITE_PERM",
    "SQLITE_NOTADB",
    "SQLITE_CORRUPT",
}
_ROW_SQLITE = {"SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG"}
_UNREACHABLE = "CONNECTION_FAILED"
_NOT_UTF8 = "NOT_UTF8"

_TRANSIENT_STATES = ("08", "40", "53", "55P03", "57", "58")
_REFUSED_STATES = ("28", "3D", "42501", "25006", "0A")
_ROW_STATES = ("21", "22", "23", "27", "44", "P0", "42501", "42804")
_COMING_BACK = ("starting up", "shutting down", "recovery", "too many", "remaining connection slots", "reserved")


def code(error: DBAPIError) -> str:
    """The database's own code of an error: an SQLSTATE, or the name SQLite gives it."""
    origin = error.orig
    state = getattr(origin, "sqlstate", None)
    if isinstance(state, str):
        return state
    name = getattr(origin, "sqlite_errorname", None)
    if isinstance(name, str):
        return name
    if type(origin).__module__.startswith("sqlite3"):
        return _NOT_UTF8 if "UTF-8" in str(origin) else "SQLITE_ERROR"
    return _state_of_silence(error)


def is_transient(error: DBAPIError) -> bool:
    """True where the same transaction may simply be run again: nothing of it was kept."""
    found = code(error)
    return found == _UNREACHABLE or _sqlite_family(found) in _BUSY_SQLITE or found.startswith(_TRANSIENT_STATES)


def is_about_the_row(error: DBAPIError) -> bool:
    """True where the database refused this very row (a constraint, a trigger, a value) and would take others."""
    found = code(error)
    return _sqlite_family(found) in _ROW_SQLITE or found.startswith(_ROW_STATES) or _is_users_own(found)


def translate(error: DBAPIError, doing: str) -> CrmBridgeError:
    """Make the error that says what to do; the driver's words are left behind.

    Args:
        error: what SQLAlchemy raised.
        doing: what was being done, such as "reading opportunity".
    """
    found = code(error)
    said = f"{doing}: the database answered {found}"
    if found == _NOT_UTF8:
        return DataError(f"{doing}: a text is not UTF-8", hint="mend the text in the database")
    if found == "SQLITE_FULL" or found == "53100":
        return CrmUnavailable(f"{said}: its disk is full", hint="free space, then run again; nothing was lost")
    if is_transient(error):
        return CrmUnavailable(said, hint="check that the database is reachable and not locked, then run again")
    if _sqlite_family(found) in _REFUSED_SQLITE or found.startswith(_REFUSED_STATES):
        return CrmRefused(said, hint="check the file, the account, its password and its rights: crmbridge check")
    if found == "SQLITE_ERROR" or found.startswith("42"):
        return MappingError(f"{said}: it does not understand the mapping's SQL", hint="crmbridge check")
    if is_about_the_row(error):
        return DataError(f"{said}: an SQL expression of the mapping fails on a value", hint="crmbridge check")
    return CrmUnavailable(said, hint="see the database's log, then run again")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Let no driver's error out of the block."""
    try:
        yield
    except DBAPIError as error:
        raise translate(error, doing) from None
    except SQLAlchemyError as error:
        raise CrmUnavailable(f"{doing}: {type(error).__name__}", hint="crmbridge check") from None


def _sqlite_family(found: str) -> str:
    """SQLITE_CONSTRAINT_TRIGGER -> SQLITE_CONSTRAINT; SQLite's extended codes carry their family as a prefix."""
    return "_".join(found.split("_")[:2])


def _is_users_own(state: str) -> bool:
    """True for an SQLSTATE of the database's own functions: the standard leaves them classes from I to Z and 5 to 9."""
    known = ("53", "55", "57", "58", "P0", "XX")
    return len(state) == len("23505") and (state[0] in "56789" or "I" <= state[0] <= "Z") and not state.startswith(known)


def _state_of_silence(error: DBAPIError) -> str:
    """Give a state to an error that has none: libpq tells why a connection failed only in words, which stay here.

    A server that answers says FATAL and means it, unless it is only coming up, going down, or full.
    """
    words = str(error.orig)
    if error.connection_invalidated or "FATAL" not in words:
        is_clients = type(error.orig).__name__ == "DataError"
        return "22000" if is_clients else _UNREACHABLE
    if any(word in words for word in _COMING_BACK):
        return _UNREACHABLE
    return "28000"
