"""The resolved tables as lazy frames: what evidence, plan, coverage and attribution read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = pa.int64()
_TEXT = pa.string()
_FLAG = pa.bool_()

RESOLVED: dict[str, pa.Schema] = {
    "opportunities": pa.schema(
        [
            pa.field("opportunity_key", _KEY, nullable=False),
            pa.field("opportunity_id", _TEXT, nullable=False),
            pa.field("account_id", _TEXT),
            pa.field("name", _TEXT),
            pa.field("amount", pa.decimal128(22, 4)),
            pa.field("currency", _TEXT),
            pa.field("stage", _TEXT),
            pa.field("is_closed", _FLAG, nullable=False),
            pa.field("is_won", _FLAG, nullable=False),
            pa.field("close_date", pa.date32()),
            pa.field("created_s", _KEY),
            pa.field("close_s", _KEY),
            pa.field("owner_id", _TEXT),
            pa.field("team", _TEXT),
            pa.field("type", _TEXT),
            pa.field("record_type", _TEXT),
            pa.field("campaign_id", _TEXT),
        ]
    ),
    "opportunity_accounts": pa.schema(
        [pa.field("opportunity_key", _KEY, nullable=False), pa.field("account_id", _TEXT, nullable=False)]
    ),
    "contacts": pa.schema(
        [
            pa.field("contact_id", _TEXT, nullable=False),
            pa.field("person_key", _KEY, nullable=False),
            pa.field("account_id", _TEXT),
            pa.field("title", _TEXT),
            pa.field("email_domain", _TEXT),
            pa.field("created_s", _KEY),
            pa.field("has_left", _FLAG, nullable=False),
            pa.field("is_employee", _FLAG, nullable=False),
            pa.field("account_type", _TEXT),
            pa.field("owner_id", _TEXT),
        ]
    ),
    "people": pa.schema(
        [
            pa.field("person_key", _KEY, nullable=False),
            pa.field("contacts", pa.int64(), nullable=False),
            pa.field("leads", pa.int64(), nullable=False),
            pa.field("created_s", _KEY),
        ]
    ),
    "participants": pa.schema(
        [
            pa.field("activity_id", _TEXT, nullable=False),
            pa.field("kind", _TEXT, nullable=False),
            pa.field("participant_kind", _TEXT, nullable=False),
            pa.field("person_key", _KEY, nullable=False),
            pa.field("opportunity_key", _KEY),
            pa.field("account_id", _TEXT),
            pa.field("occurred_s", _KEY),
        ]
    ),
    "responses": pa.schema(
        [
            pa.field("member_id", _TEXT, nullable=False),
            pa.field("campaign_id", _TEXT, nullable=False),
            pa.field("person_key", _KEY, nullable=False),
            pa.field("has_responded", _FLAG, nullable=False),
            pa.field("responded_s", _KEY),
            pa.field("is_inferred", _FLAG, nullable=False),
        ]
    ),
    "roles": pa.schema(
        [
            pa.field("role_id", _TEXT, nullable=False),
            pa.field("opportunity_key", _KEY, nullable=False),
            pa.field("person_key", _KEY, nullable=False),
            pa.field("contact_id", _TEXT, nullable=False),
            pa.field("role", _TEXT),
            pa.field("is_primary", _FLAG, nullable=False),
            pa.field("created_s", _KEY),
        ]
    ),
    "lookups": pa.schema(
        [
            pa.field("lookup_id", _TEXT, nullable=False),
            pa.field("opportunity_key", _KEY, nullable=False),
            pa.field("person_key", _KEY, nullable=False),
            pa.field("contact_id", _TEXT, nullable=False),
            pa.field("field", _TEXT, nullable=False),
        ]
    ),
    "conversions": pa.schema(
        [
            pa.field("lead_id", _TEXT, nullable=False),
            pa.field("opportunity_key", _KEY, nullable=False),
            pa.field("person_key", _KEY, nullable=False),
            pa.field("converted_s", _KEY),
        ]
    ),
    "relations": pa.schema(
        [
            pa.field("relation_id", _TEXT, nullable=False),
            pa.field("account_id", _TEXT, nullable=False),
            pa.field("person_key", _KEY, nullable=False),
            pa.field("contact_id", _TEXT, nullable=False),
            pa.field("is_active", _FLAG, nullable=False),
        ]
    ),
    "account_domains": pa.schema(
        [pa.field("account_id", _TEXT, nullable=False), pa.field("email_domain", _TEXT, nullable=False)]
    ),
    "campaigns": pa.schema(
        [
            pa.field("campaign_id", _TEXT, nullable=False),
            pa.field("name", _TEXT),
            pa.field("type", _TEXT),
            pa.field("parent_id", _TEXT),
            pa.field("status", _TEXT),
            pa.field("start_date", pa.date32()),
            pa.field("end_date", pa.date32()),
            pa.field("actual_cost", pa.decimal128(22, 4)),
            pa.field("budgeted_cost", pa.decimal128(22, 4)),
            pa.field("currency", _TEXT),
        ]
    ),
    "exchange_rates": pa.schema(
        [
            pa.field("currency", _TEXT, nullable=False),
            pa.field("base_currency", _TEXT, nullable=False),
            pa.field("rate", pa.decimal128(28, 12), nullable=False),
            pa.field("valid_from", pa.date32()),
            pa.field("valid_until", pa.date32()),
        ]
    ),
}
"""The schema of every resolved table. Keys are dense and opaque; `_s` columns are epoch seconds in UTC."""


@dataclass(frozen=True)
class Frames:
    """One lazy frame per resolved table; hide or change one with `dataclasses.replace(frames, roles=...)`.

    All frames of one object come from one DuckDB connection, so they can be joined with each other.
    """

    opportunities: nw.LazyFrame[Any]
    opportunity_accounts: nw.LazyFrame[Any]
    contacts: nw.LazyFrame[Any]
    people: nw.LazyFrame[Any]
    participants: nw.LazyFrame[Any]
    responses: nw.LazyFrame[Any]
    roles: nw.LazyFrame[Any]
    lookups: nw.LazyFrame[Any]
    conversions: nw.LazyFrame[Any]
    relations: nw.LazyFrame[Any]
    account_domains: nw.LazyFrame[Any]
    campaigns: nw.LazyFrame[Any]
    exchange_rates: nw.LazyFrame[Any]


def frames_over(connection: duckdb.DuckDBPyConnection, *, schema: str = "resolved") -> Frames:
    """Wrap the resolved tables that `connection` sees in `schema`; nothing is read yet."""
    return Frames(**{f.name: nw.from_native(connection.table(f"{schema}.{f.name}")) for f in fields(Frames)})


def distinct(frame: nw.LazyFrame[Any], *columns: str) -> nw.LazyFrame[Any]:
    """Every combination of `columns` once; grouped, as Narwhals numbers all rows for `unique` and engines then sort them."""
    return frame.group_by(*columns).agg(nw.len().alias("rows")).select(*columns)


def frames_from_tables(tables: Mapping[str, pa.Table], *, connection: duckdb.DuckDBPyConnection | None = None) -> Frames:
    """Build frames from Arrow tables, in memory: for tests and for data that never were a snapshot.

    Args:
        tables: resolved table name -> rows; columns are cast to `RESOLVED`; tables and nullable columns left out are
            empty or null.
        connection: where to put them, in a schema `resolved`; a new in-memory DuckDB where None. The frames keep it alive.

    Raises:
        ValueError: a name that is no resolved table.
    """
    if unknown := sorted(set(tables) - set(RESOLVED)):
        raise ValueError(f"unknown resolved tables {unknown}; allowed: {sorted(RESOLVED)}")
    connection = connection or duckdb.connect(":memory:")
    connection.execute("CREATE SCHEMA IF NOT EXISTS resolved")
    for name, schema in RESOLVED.items():
        connection.register("incoming", _conformed(tables.get(name), schema))
        connection.execute(f"CREATE OR REPLACE TABLE resolved.{name} AS FROM incoming")
        connection.unregister("incoming")
    return frames_over(connection)


def _conformed(table: pa.Table | None, schema: pa.Schema) -> pa.Table:
    if table is None:
        return schema.empty_table()
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names)
