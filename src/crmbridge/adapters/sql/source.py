"""One mapped table or FROM clause, made ready to be selected from: it knows its columns and says what it lacks."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from crmbridge.adapters.sql.convert import Target, targets
from crmbridge.adapters.sql.failures import code
from crmbridge.adapters.sql.mapping import DERIVED_ID
from crmbridge.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import TypeAlias

    from crmbridge.adapters.sql.mapping import FieldSource, Source
    from crmbridge.model import Entity

    Statement: TypeAlias = sa.Select[*tuple[Any, ...]]

_DELETED = ("true", "t", "yes", "y", "1", "1.0", "on")
_MARGIN = "-1 day"


class Selectable:
    """A source of one entity, inspected.

    Attributes:
        entity: what its records are.
        source: as mapped.
        columns: the columns it has, with their types where the database tells.
    """

    def __init__(self, entity: Entity, source: Source, columns: Mapping[str, Any], *, is_sqlite: bool) -> None:
        self.entity = entity
        self.source = source
        self.columns = columns
        self._is_sqlite = is_sqlite

    @property
    def origin(self) -> str:
        """How messages call it."""
        return f"table {self.source.table}" if self.source.table else "from"

    @property
    def selected(self) -> list[Target]:
        """The canonical fields that are read from the database; the rest are constants, derived or null."""
        fields = self.source.fields
        return [target for name, target in targets(self.entity).items() if name in fields and fields[name].value is None]

    def select(self) -> Statement:
        """Select every mapped field as text, without deleted rows and without pairs that lack an end."""
        texts = [sa.cast(self.expression(target.name), sa.Text).label(target.name) for target in self.selected]
        return sa.select(*texts).select_from(self._from()).where(*self._conditions())

    def select_count(self) -> Statement:
        """Count what `select` gives."""
        return sa.select(sa.func.count()).select_from(self._from()).where(*self._conditions())

    def select_gone(self) -> Statement:
        """Select id, modified_at, merged_into_id and is_deleted, as text, of what was deleted or merged away."""
        names = [name for name in ("id", "modified_at", "merged_into_id", "is_deleted") if name in self.source.fields]
        texts = [sa.cast(self.expression(name), sa.Text).label(name) for name in names]
        marks = [self._is_deleted()] if "is_deleted" in names else []
        marks += [self._is_given("merged_into_id")] if "merged_into_id" in names else []
        return sa.select(*texts).select_from(self._from()).where(*self._own_conditions(), sa.or_(*marks))

    def expression(self, name: str) -> sa.ColumnElement[Any]:
        """The SQL of a canonical field; constants have none."""
        field = self.source.fields[name]
        if field.sql is not None:
            return sa.literal_column(f"({field.sql})")
        return self._column(field)

    def among(self, name: str, ids: Sequence[str]) -> sa.ColumnElement[bool]:
        """The condition that a field is one of these ids; by the bare column, for its index, where types allow it."""
        expression = self.expression(name)
        kind = self.columns.get(self.source.fields[name].column or "") if self.source.table else None
        bound = [as_stored(text, kind, is_sqlite=self._is_sqlite) for text in ids]
        if kind is None or isinstance(kind, sa.types.NullType | sa.Enum):
            return sa.cast(expression, sa.Text).in_(list(ids))
        return expression.in_([value for value in bound if value is not None])

    def changed_since(self, since: datetime) -> sa.ColumnElement[bool]:
        """A coarse condition that drops what surely changed before; the exact one follows in Arrow."""
        expression = self.expression("modified_at")
        kind = self.columns.get(self.source.fields["modified_at"].column or "")
        if self._is_sqlite:
            moment = sa.func.datetime(expression)
            bound = sa.func.datetime(since.strftime("%Y-%m-%d %H:%M:%S"), _MARGIN)
            return sa.or_(moment.is_(None), moment >= bound)
        if isinstance(kind, sa.DateTime) and kind.timezone:
            return sa.or_(expression.is_(None), expression >= sa.literal(since, sa.DateTime(timezone=True)))
        return sa.true()

    def _from(self) -> Any:  # noqa: ANN401 - a TextClause is not typed as something to select from
        source = self.source
        if source.table is not None:
            return sa.table(source.table, schema=source.schema_name)
        return sa.text(_escaped(source.from_sql or ""))

    def _column(self, field: FieldSource) -> sa.ColumnElement[Any]:
        name = field.column or ""
        if self.source.table is not None:
            return sa.column(name, None if self._is_sqlite else self.columns[name])
        alias, dot, bare = name.rpartition(".")
        quoted = bare.replace('"', '""')
        return sa.literal_column(f'{alias}{dot}"{quoted}"')

    def _own_conditions(self) -> list[sa.ColumnElement[bool]]:
        where = self.source.where
        return [sa.literal_column(f"({where})")] if where else []

    def _conditions(self) -> list[sa.ColumnElement[bool]]:
        fields = self.source.fields
        ends = [name for name in DERIVED_ID.get(self.entity, ()) if name in fields and fields[name].value is None]
        conditions = [*self._own_conditions(), *(self._is_given(name) for name in ends)]
        if "is_deleted" in fields and fields["is_deleted"].value is None:
            conditions.append(sa.not_(self._is_deleted()))
        return conditions

    def _is_given(self, name: str) -> sa.ColumnElement[bool]:
        text = sa.cast(self.expression(name), sa.Text)
        return sa.and_(text.is_not(None), text.not_in(["", *self.source.null_values]))

    def _is_deleted(self) -> sa.ColumnElement[bool]:
        text = sa.func.lower(sa.cast(self.expression("is_deleted"), sa.Text))
        return sa.func.coalesce(text, "false").in_(_DELETED)


def as_stored(text: str, kind: object, *, is_sqlite: bool) -> Any:  # noqa: ANN401 - whatever the column's type takes
    """An id as its column stores it; None where the column cannot hold such an id, so that nothing has it.

    SQLite converts by the column's own affinity; PostgreSQL must be handed the right type.
    """
    if "\x00" in text:
        return None
    if is_sqlite or not isinstance(kind, sa.types.TypeEngine):
        return text
    python_type = _python_type(kind)
    if python_type is int:
        return _as_integer(text)
    if python_type is UUID:
        return _as_uuid(text)
    return text


def inspect(connection: sa.Connection, entity: Entity, source: Source) -> Selectable:
    """Look a source up in the database.

    Raises:
        MappingError: the table or a column is not there, or an SQL expression is not understood.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    columns = _table_columns(connection, entity, source) if source.table else _from_columns(connection, entity, source)
    selectable = Selectable(entity, source, columns, is_sqlite=is_sqlite)
    _require_columns(selectable)
    _require_understood(connection, selectable)
    return selectable


def table_columns(connection: sa.Connection, table: str, schema_name: str | None) -> list[Any] | None:
    """Describe a table's or view's columns; None where there is no such table."""
    try:
        return list(sa.inspect(connection).get_columns(table, schema=schema_name))
    except NoSuchTableError:
        return None


def _table_columns(connection: sa.Connection, entity: Entity, source: Source) -> dict[str, Any]:
    columns = table_columns(connection, source.table or "", source.schema_name)
    if columns is None:
        raise missing_table(connection, str(entity), source.table or "", source.schema_name)
    return {column["name"]: column["type"] for column in columns}


def missing_table(connection: sa.Connection, where: str, table: str, schema_name: str | None) -> MappingError:
    """The error for a table that is not there, with the ones that are."""
    inspector = sa.inspect(connection)
    try:
        there = sorted([*inspector.get_table_names(schema=schema_name), *inspector.get_view_names(schema=schema_name)])
    except DBAPIError:
        there = []
    close = difflib.get_close_matches(table, there, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "name the table and its schema in the mapping file"
    return MappingError(f"{where}: no table {table!r} in the database; there are: {', '.join(there) or 'none'}", hint=hint)


def _from_columns(connection: sa.Connection, entity: Entity, source: Source) -> dict[str, Any]:
    statement = sa.select(sa.text("*")).select_from(sa.text(_escaped(source.from_sql or ""))).where(sa.false())
    try:
        with connection.begin_nested():
            return dict.fromkeys(connection.execute(statement).keys())
    except DBAPIError as error:
        raise MappingError(f"{entity}.from: the database answered {code(error)}", hint="try the clause in a query") from None


def _require_columns(selectable: Selectable) -> None:
    for name, field in selectable.source.fields.items():
        if field.column is None:
            continue
        column = field.column if selectable.source.table else field.column.rpartition(".")[2]
        if column not in selectable.columns:
            raise _missing_column(selectable, name, column)


def _missing_column(selectable: Selectable, name: str, column: str) -> MappingError:
    there = list(selectable.columns)
    close = difflib.get_close_matches(column, there, n=1)
    hint = f"did you mean {close[0]!r}?" if close else 'a constant is { value = "..." }, an expression { sql = "..." }'
    where = f"{selectable.entity}.fields.{name}"
    return MappingError(f"{where}: no column {column!r} in {selectable.origin}; there are: {', '.join(there)}", hint=hint)


def _require_understood(connection: sa.Connection, selectable: Selectable) -> None:
    """Run the select for no row; where it fails, find the condition or the one expression that is to blame."""
    if _refusal(connection, selectable.select()) is None:
        return
    source = selectable.source
    bare = Selectable(selectable.entity, source.model_copy(update={"where": None}), selectable.columns, is_sqlite=False)
    for name, field in source.fields.items():
        state = _refusal(connection, sa.select(bare.expression(name)).select_from(bare._from())) if field.sql else None  # noqa: SLF001
        if state is not None:
            where = f"{selectable.entity}.fields.{name}"
            raise MappingError(f"{where}: the database answered {state} to sql = {field.sql!r}", hint="try it in a query")
    state = _refusal(connection, selectable.select())
    raise MappingError(f"{selectable.entity}: the database answered {state} to its where or fields", hint="try it in a query")


def _refusal(connection: sa.Connection, statement: Statement) -> str | None:
    """The database's code where it does not accept a statement; it is run for no row."""
    try:
        with connection.begin_nested():
            connection.execute(statement.where(sa.false())).close()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return code(error)
    return None


def _escaped(sql: str) -> str:
    """Keep SQLAlchemy from taking `:name` in a user's SQL for a parameter."""
    return sql.replace(":", "\\:")


def _python_type(kind: sa.types.TypeEngine[Any]) -> type | None:
    try:
        return kind.python_type
    except NotImplementedError:
        return None


def _as_integer(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text and abs(number) < 2**63 else None


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
