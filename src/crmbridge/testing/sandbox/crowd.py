"""Large worlds by set-based generation: for speed and for counting calls, not for the quality of evidence."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from crmbridge.model import Entity, arrow_schema

_START = "TIMESTAMPTZ '2024-01-01 09:30:00+00'"
_DAYS = 700
_CONTACTS_EACH = 5
_PER_USER = 500


def crowd_tables(*, opportunities: int, contacts: int, activities: int, roles: int | None = None) -> dict[Entity, pa.Table]:
    """Make a world of any size.

    Accounts of five contacts; activities of one participant, half of them on an opportunity of the participant's
    account; a role for every second opportunity. Everything changed within 700 days from 2024-01-01 on.

    Args:
        opportunities: how many; ids `opportunity-1` and so on.
        contacts: how many, at least 1.
        activities: how many.
        roles: how many; half the opportunities unless given.

    Returns:
        Canonical tables; entities that are not mentioned are left out.
    """
    size = {
        "opportunities": opportunities,
        "contacts": contacts,
        "activities": activities,
        "roles": opportunities // 2 if roles is None else roles,
        "accounts": max(contacts // _CONTACTS_EACH, 1),
        "users": max(opportunities // _PER_USER, 1),
    }
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    try:
        return {entity: _made(connection, entity, sql.format(**size)) for entity, sql in _SQL.items()}
    finally:
        connection.close()


def _made(connection: duckdb.DuckDBPyConnection, entity: Entity, sql: str) -> pa.Table:
    """The query's columns, the rest null, in the canonical schema."""
    given = connection.execute(sql).to_arrow_table()
    schema = arrow_schema(entity)
    columns = [
        given[field.name].cast(field.type) if field.name in given.column_names else pa.nulls(given.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _stamps(spread: int) -> str:
    moment = f"{_START} + to_seconds((i * {spread}) % ({_DAYS} * 86400))"
    return f"{moment} AS created_at, {moment} AS modified_at"


_SQL = {
    Entity.USER: f"""SELECT 'user-' || i AS id, 'Seller ' || i AS name, 's' || i || '@seller.example' AS email, true AS is_active,
        {_START} AS modified_at FROM range(1, {{users}} + 1) r(i)""",
    Entity.ACCOUNT: f"""SELECT 'account-' || i AS id, 'Company ' || i AS name, 'https://company' || i || '.example' AS website,
        'user-' || (1 + i % {{users}}) AS owner_id, {_stamps(7919)} FROM range(1, {{accounts}} + 1) r(i)""",
    Entity.CONTACT: f"""SELECT 'contact-' || i AS id, 'account-' || (1 + i % {{accounts}}) AS account_id, 'Ada' AS first_name,
        'Lark' || i AS last_name, 'p' || i || '@company' || (1 + i % {{accounts}}) || '.example' AS email, false AS has_left,
        CASE i % 3 WHEN 0 THEN 'Head of Procurement' WHEN 1 THEN 'Engineer' END AS title, {_stamps(104729)}
        FROM range(1, {{contacts}} + 1) r(i)""",
    Entity.OPPORTUNITY: f"""SELECT 'opportunity-' || i AS id, 'account-' || (1 + i % {{accounts}}) AS account_id,
        'Deal ' || i AS name,
        (i % 99991 + 0.5)::DECIMAL(22, 4) AS amount, 'EUR' AS currency, i % 3 = 0 AS is_closed, i % 6 = 0 AS is_won,
        CASE WHEN i % 6 = 0 THEN 'Closed Won' WHEN i % 3 = 0 THEN 'Closed Lost' ELSE 'Proposal' END AS stage,
        DATE '2024-02-01' + (i % {_DAYS})::INTEGER AS close_date, 'user-' || (1 + i % {{users}}) AS owner_id, {_stamps(15485863)}
        FROM range(1, {{opportunities}} + 1) r(i)""",
    Entity.CONTACT_ROLE: f"""SELECT 'role-' || i AS id, 'opportunity-' || (1 + i % {{opportunities}}) AS opportunity_id,
        'contact-' || (1 + i % {{contacts}}) AS contact_id, 'Evaluator' AS role, i % 2 = 0 AS is_primary, {_stamps(32452843)}
        FROM range(1, {{roles}} + 1) r(i)""",
    Entity.ACTIVITY: f"""SELECT 'activity-' || i AS id, CASE i % 4 WHEN 0 THEN 'meeting' WHEN 1 THEN 'email' WHEN 2 THEN 'call'
        ELSE 'task' END AS kind, CASE WHEN i % 2 = 0 THEN 'opportunity-' || (1 + i % {{opportunities}}) END AS opportunity_id,
        'account-' || (1 + i % {{accounts}}) AS account_id, {_stamps(49979687)}, created_at AS occurred_at
        FROM range(1, {{activities}} + 1) r(i)""",
    Entity.ACTIVITY_PARTICIPANT: f"""SELECT 'participant-' || i AS id, 'activity-' || i AS activity_id,
        'contact-' || (1 + i % {{contacts}}) AS contact_id,
        CASE i % 4 WHEN 0 THEN 'attendee' WHEN 1 THEN 'to' ELSE 'who' END AS kind,
        {_START} AS modified_at FROM range(1, {{activities}} + 1) r(i)""",
}
