"""What the mapping comes to in this very database: sources with their columns, and the table roles are written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from crmbridge.adapters.sql.mapping import CrmMapping, canonical_mapping
from crmbridge.adapters.sql.source import Selectable, inspect, missing_table, table_columns
from crmbridge.errors import MappingError
from crmbridge.model import Entity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crmbridge.adapters.sql.mapping import RoleTable, Source
    from crmbridge.adapters.sql.options import SqlOptions

_WRITE = "contact_role.write"


@dataclass(frozen=True, slots=True)
class RoleTarget:
    """The table that roles are inserted into and deleted from.

    Attributes:
        roles: as mapped, complete.
        table: the same, for SQLAlchemy.
        booleans: how the primary column spells false and true.
        unfilled: columns that must not be empty, have no default, and are filled by nothing here.
    """

    roles: RoleTable
    table: sa.Table
    booleans: tuple[Any, Any]
    unfilled: tuple[str, ...]

    @property
    def columns(self) -> Mapping[str, str]:
        """Canonical field -> column."""
        return {str(field): column for field, column in self.roles.columns.items()}

    def column(self, name: str) -> sa.Column[Any]:
        """The column of a canonical field."""
        return self.table.c[self.columns[name]]

    def kind(self, name: str) -> sa.types.TypeEngine[Any]:
        """The type of that column."""
        return self.column(name).type


class Catalog:
    """Looks sources up when they are first asked for, and remembers them."""

    def __init__(self, mapping: CrmMapping, options: SqlOptions) -> None:
        self.mapping = mapping
        self._options = options
        self._known: dict[Entity, tuple[Selectable, ...]] = {}
        self._target: RoleTarget | None = None

    def learn(self, connection: sa.Connection, entity: Entity) -> tuple[Selectable, ...]:
        """Look the sources of one entity up in the database.

        Raises:
            MappingError: a table, column or expression is not there or not understood.
        """
        if entity not in self._known:
            sources = [self._placed(source) for source in self.mapping.sources.get(entity, ())]
            self._known[entity] = tuple(inspect(connection, entity, source) for source in sources)
        return self._known[entity]

    def of(self, entity: Entity) -> Sequence[Selectable]:
        """The sources of an entity that was learned before."""
        return self._known[entity]

    def learn_target(self, connection: sa.Connection) -> RoleTarget | None:
        """Look up where roles are written; None where the mapping does not say.

        Raises:
            MappingError: the table or a column of it is not there.
        """
        if self._target is None and self.mapping.roles is not None:
            roles = self.mapping.roles
            placed = roles.model_copy(update={"schema_name": roles.schema_name or self._options.schema_name})
            self._target = _target(connection, placed)
        return self._target

    def _placed(self, source: Source) -> Source:
        if source.table is None or source.schema_name is not None:
            return source
        return source.model_copy(update={"schema_name": self._options.schema_name})


def found_mapping(connection: sa.Connection, schema_name: str | None) -> CrmMapping:
    """The mapping of a database that has the canonical tables.

    Raises:
        MappingError: opportunity, contact or contact_role is not there.
    """
    described = {entity: table_columns(connection, str(entity), schema_name) for entity in Entity}
    columns = {entity: [column["name"] for column in there] for entity, there in described.items() if there is not None}
    return canonical_mapping(columns, schema_name)


def _target(connection: sa.Connection, roles: RoleTable) -> RoleTarget:
    name = roles.table or ""
    described = table_columns(connection, name, roles.schema_name)
    if described is None:
        raise missing_table(connection, _WRITE, name, roles.schema_name)
    is_sqlite = connection.dialect.name == "sqlite"
    filled = {*roles.columns.values(), *roles.values, *([roles.write_key] if roles.write_key else [])}
    _require_columns(filled, [column["name"] for column in described], name)
    columns = [sa.Column(column["name"], _write_type(column["type"], is_sqlite=is_sqlite)) for column in described]
    table = sa.Table(name, sa.MetaData(), *columns, schema=roles.schema_name)
    if roles.new_id == "database":
        filled.discard(roles.columns["id"])
    keys = set(sa.inspect(connection).get_pk_constraint(name, schema=roles.schema_name)["constrained_columns"])
    unfilled = [column["name"] for column in described if column["name"] not in filled and _must_be_given(column, keys)]
    return RoleTarget(roles, table, _booleans(roles, described), tuple(unfilled))


def _require_columns(needed: set[str], there: list[str], table: str) -> None:
    missing = sorted(needed - set(there))
    if missing:
        raise MappingError(f"{_WRITE}: no column {', '.join(missing)} in table {table}; there are: {', '.join(there)}")


def _write_type(kind: Any, *, is_sqlite: bool) -> Any:  # noqa: ANN401
    """SQLite converts by itself what it is handed; SQLAlchemy's own conversions would only be in the way."""
    return sa.types.NullType() if is_sqlite else kind


def _must_be_given(column: Any, keys: set[str]) -> bool:  # noqa: ANN401
    """True for a column the database refuses to leave out; SQLite numbers an INTEGER primary key by itself."""
    if column["nullable"] or column.get("default") is not None or column.get("identity") or column.get("computed"):
        return False
    return not (column["name"] in keys and isinstance(column["type"], sa.Integer))


def _booleans(roles: RoleTable, described: Sequence[Any]) -> tuple[Any, Any]:
    """How the primary column spells false and true: as mapped, else after its type."""
    if roles.booleans is not None:
        return roles.booleans
    kind = next((column["type"] for column in described if column["name"] == roles.columns.get("is_primary")), None)
    if isinstance(kind, sa.String):
        return ("false", "true")
    return (0, 1) if isinstance(kind, sa.Numeric | sa.Integer) else (False, True)
