"""The canonical tables in a database of one's own: made from the model, so that there is one source of truth.

SQLite has no exact decimal: a NUMERIC column would turn money into binary floats. Money and datetimes are therefore
text there, which keeps every digit; PostgreSQL has NUMERIC and TIMESTAMPTZ. There are no foreign keys: a CRM's data
have orphans, and finding them is the snapshot's business.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from crmbridge.adapters.sql.failures import translated
from crmbridge.model import Entity, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crmbridge.model import Record

_INSERT_ROWS = 5_000
_INDEXED = ("opportunity_id", "contact_id", "account_id", "activity_id", "campaign_id", "lead_id", "modified_at")
_NEW_ID = {"sqlite": "(lower(hex(randomblob(16))))", "postgresql": "(replace(gen_random_uuid()::text, '-', ''))"}


def create_tables(engine: sa.Engine, *, schema: str | None = None) -> None:
    """Create every canonical table that is not there yet, all or none.

    Args:
        engine: of SQLite or PostgreSQL.
        schema: where; None for the database's own default.
    """
    with translated("creating the canonical tables"), engine.begin() as connection:
        if engine.dialect.name == "sqlite" and not getattr(connection.connection.driver_connection, "in_transaction", False):
            connection.exec_driver_sql("BEGIN")  # by itself, Python's driver begins for changes of rows only
        _metadata(engine.dialect.name, schema).create_all(connection)


def load(engine: sa.Engine, records: Mapping[Entity, Iterable[Record]], *, schema: str | None = None) -> None:
    """Insert records into the canonical tables, all or none.

    Args:
        engine: of SQLite or PostgreSQL.
        records: by entity; any iterables, read once.
        schema: as given to `create_tables`.
    """
    tables = _metadata(engine.dialect.name, schema)
    with translated("loading records"), engine.begin() as connection:
        for entity, given in records.items():
            table = tables.tables[f"{schema}.{entity}" if schema else str(entity)]
            for rows in _blocks(given, is_sqlite=engine.dialect.name == "sqlite"):
                connection.execute(sa.insert(table), rows)


@cache
def _metadata(dialect: str, schema: str | None) -> sa.MetaData:
    metadata = sa.MetaData(schema=schema)
    for entity in Entity:
        table = sa.Table(str(entity), metadata, *(_column(entity, field, dialect) for field in arrow_schema(entity)))
        for name in _INDEXED:
            if name in table.c:
                # Left to itself, SQLAlchemy puts the schema's name before these and cuts what is then too long: two could be one.
                sa.Index(f"ix_{table.name}_{name}", table.c[name])
    return metadata


def _column(entity: Entity, field: pa.Field, dialect: str) -> sa.Column[Any]:
    is_key = field.name == "id"
    made = sa.text(_NEW_ID[dialect]) if is_key and entity is Entity.CONTACT_ROLE else None
    return sa.Column(
        field.name,
        _sqlite_type(field.type) if dialect == "sqlite" else _postgres_type(field.type),
        primary_key=is_key,
        nullable=field.nullable,
        server_default=made,
    )


def _sqlite_type(kind: pa.DataType) -> sa.types.TypeEngine[Any]:
    return sa.Boolean() if pa.types.is_boolean(kind) else sa.Text()


def _postgres_type(kind: pa.DataType) -> sa.types.TypeEngine[Any]:
    if pa.types.is_decimal(kind):
        return sa.Numeric(kind.precision, kind.scale)
    if pa.types.is_timestamp(kind):
        return sa.DateTime(timezone=True)
    if pa.types.is_date(kind):
        return sa.Date()
    return sa.Boolean() if pa.types.is_boolean(kind) else sa.Text()


def _blocks(records: Iterable[Record], *, is_sqlite: bool) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(records)
    while block := [record.model_dump() for record in islice(remaining, _INSERT_ROWS)]:
        yield [{name: _as_text(value) for name, value in row.items()} for row in block] if is_sqlite else block


def _as_text(value: Any) -> Any:  # noqa: ANN401
    """Money and moments as SQLite keeps them: text that reads back to the same value."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")
    return value.isoformat() if hasattr(value, "isoformat") else value
