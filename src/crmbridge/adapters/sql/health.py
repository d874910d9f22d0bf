"""What `crmbridge check` says about a database: the connection, every mapped table and field, the right to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from crmbridge.adapters.sql.convert import targets
from crmbridge.adapters.sql.failures import translated
from crmbridge.contract import Check, Health
from crmbridge.errors import CrmBridgeError, CrmRefused
from crmbridge.model import Entity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crmbridge.adapters.sql.catalog import Catalog, RoleTarget
    from crmbridge.adapters.sql.database import Database

_RIGHTS_HINT = "ask the database's administrator for SELECT, INSERT and DELETE on the role table"


def examine(database: Database, learn: Callable[[], Catalog]) -> Health:
    """Look at everything, in the order it is used; changes nothing and raises nothing.

    Args:
        database: where to look.
        learn: gives the catalog; may raise crmbridge's errors.
    """
    return Health(checks=tuple(_checks(database, learn)))


def _checks(database: Database, learn: Callable[[], Catalog]) -> Iterator[Check]:
    try:
        with database.reading() as connection, translated("connecting"):
            connection.execute(sa.select(1))
        yield Check(name="connection", status="ok", detail="SQLite" if database.is_sqlite else "PostgreSQL")
    except CrmBridgeError as error:
        yield _failed("connection", error)
        return
    try:
        catalog = learn()
    except CrmBridgeError as error:
        yield _failed("tables", error)
        return
    for entity in Entity:
        yield _entity_check(database, catalog, entity)
    yield _write_check(database, catalog)


def _failed(name: str, error: CrmBridgeError) -> Check:
    return Check(name=name, status="failed", detail=error.message, hint=error.hint)


def _entity_check(database: Database, catalog: Catalog, entity: Entity) -> Check:
    name = str(entity)
    if entity not in catalog.mapping.sources:
        return Check(name=name, status="warning", detail="not mapped: rules that need it find nothing")
    try:
        with database.reading() as connection, translated(f"looking at {entity}"):
            selectables = catalog.learn(connection, entity)
            rows = sum(connection.scalars(selectable.select_count()).one() for selectable in selectables)
    except CrmBridgeError as error:
        return _failed(name, error)
    blank = [field for field in targets(entity) if field not in catalog.mapping.fields(entity) and field != "id"]
    fields = f"; without {', '.join(blank)}" if blank else ""
    return Check(name=name, status="ok" if rows else "warning", detail=f"{rows:,} records{fields}")


def _write_check(database: Database, catalog: Catalog) -> Check:
    name = "writing roles"
    if database.options.read_only:
        return Check(name=name, status="warning", detail="read_only is set: plans can be made, not applied")
    try:
        with database.reading() as connection, translated("looking at the role table"):
            target = catalog.learn_target(connection)
        if target is None:
            hint = "add [contact_role.write] to the mapping"
            return Check(name=name, status="warning", detail="the mapping does not say where roles are written", hint=hint)
        _require_rights(database, target)
    except CrmBridgeError as error:
        return _failed(name, error)
    return _unfilled_check(name, target)


def _unfilled_check(name: str, target: RoleTarget) -> Check:
    table = target.roles.table
    if target.unfilled:
        columns = ", ".join(target.unfilled)
        hint = 'give them in [contact_role.write.values]; an id without a default needs new_id = "uuid"'
        return Check(name=name, status="failed", detail=f"table {table}: nothing fills {columns}", hint=hint)
    return Check(name=name, status="ok", detail=f"table {table}")


def _require_rights(database: Database, target: RoleTarget) -> None:
    """Ask for the rights without using them."""
    if database.is_sqlite:
        _require_sqlite_lock(database)
        return
    with database.reading() as connection, translated("looking at rights"):
        table = connection.dialect.identifier_preparer.format_table(target.table)
        granted = {right: connection.scalars(_has_right(table, right)).one() for right in ("SELECT", "INSERT", "DELETE")}
        refuses = connection.exec_driver_sql("SHOW default_transaction_read_only").scalar() == "on"
        refuses = refuses or bool(connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar())
    missing = [right for right, given in granted.items() if not given]
    if missing:
        raise CrmRefused(f"no right to {', '.join(missing)} on table {table}", hint=_RIGHTS_HINT)
    if refuses:
        raise CrmRefused("the server or the account is read-only", hint="connect to the primary server")


def _has_right(table: str, right: str) -> sa.Select[tuple[bool]]:
    return sa.select(sa.func.has_table_privilege(table, right))


def _require_sqlite_lock(database: Database) -> None:
    """Take the write lock and give it back: only a writable file in a writable folder grants it."""
    with translated("asking for the write lock"), database.connect() as connection:
        connection.execution_options(crmbridge_writes=True).begin().rollback()
