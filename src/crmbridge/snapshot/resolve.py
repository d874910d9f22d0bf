"""From what the CRM said (schema `crm`) to what is meant (schema `resolved`): one row per logical thing.

Deleted records are left out, merged ids followed to their master, orphans dropped (findings count them), out-of-range dates
null, every person decided once. Where the CRM has no accounts or no campaigns at all, their ids stand for themselves.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa

from crmbridge.model import Entity, arrow_schema
from crmbridge.snapshot.domains import SHARED_HOSTS, load_domains
from crmbridge.snapshot.people import define_person_macros, resolve_people

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    import duckdb

FIRST_DAY = date(1900, 1, 1)
LAST_DAY = date(2200, 12, 31)
"""Days outside are not dates but defaults, typos and overflows: findings, and null in `resolved`."""

MERGEABLE = (Entity.ACCOUNT, Entity.CONTACT, Entity.LEAD)

_MACROS = (
    f"in_range_day(d) AS d BETWEEN DATE '{FIRST_DAY}' AND DATE '{LAST_DAY}'",
    f"in_range(ts) AS ts >= TIMESTAMPTZ '{FIRST_DAY} 00:00:00+00' "
    f"AND ts < TIMESTAMPTZ '{LAST_DAY + timedelta(days=1)} 00:00:00+00'",
    "seconds(ts) AS CASE WHEN in_range(ts) THEN floor(epoch_us(ts) / 1000000)::BIGINT END",
    r"website_parts(url) AS regexp_extract(lower(trim(url)), '^(?:[a-z][a-z0-9+.-]*:)?(?://)?(?:[^/?#@]*@)?(?:www[0-9]?[.])?"
    r"([^/?#:]*)(?::[0-9]*)?/*([^/?#]*)', ['host', 'path'])",
    f"""website_host(url) AS CASE WHEN contains(website_parts(url).host, '.')
        AND NOT (website_parts(url).host IN {SHARED_HOSTS} AND website_parts(url).path <> '')
        THEN rtrim(website_parts(url).host, '.') END""",
)


def resolve(
    connection: duckdb.DuckDBPyConnection,
    *,
    entities: frozenset[Entity],
    zone: ZoneInfo,
    stage: Callable[[str], None] = lambda _: None,
) -> None:
    """Build the schema `resolved` from the schema `crm` of the same connection.

    Leaves the temporary tables that `findings.find` reads: `live_*`, `*_ids`, `merge_cycle_*`, `party`, `shared_email`.

    Args:
        connection: its default catalog holds the schema `crm`; no schema `resolved` yet.
        entities: what the CRM has; ids of accounts and campaigns it does not have are kept as they are.
        zone: the organisation's time zone; a close date ends at its last second there.
        stage: called with a word before each step.
    """
    connection.execute("CREATE SCHEMA resolved")
    connection.execute("; ".join(f"CREATE TEMP MACRO {macro}" for macro in _MACROS))
    define_person_macros(connection)
    for name, step in (
        ("merges", _follow_merges),
        ("people", resolve_people),
        ("domains", load_domains),
        ("close dates", lambda c: _load_close_days(c, zone)),
        ("records", lambda c: _resolve_records(c, entities)),
    ):
        stage(name)
        step(connection)


def _follow_merges(connection: duckdb.DuckDBPyConnection) -> None:
    for entity in MERGEABLE:
        _follow_merges_of(connection, entity)


def _follow_merges_of(connection: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    """Double the length of every merge chain until it ends: log2(longest chain) steps, and a bound on cycles.

    What still points at a merged record after that hangs on a cycle; those records stand for themselves.
    """
    connection.execute(
        f"CREATE TEMP TABLE merged_{entity} AS SELECT id, merged_into_id AS master_id FROM crm.{entity} "
        "WHERE merged_into_id IS NOT NULL AND merged_into_id <> id"
    )
    (merges,) = connection.execute(f"SELECT count(*) FROM merged_{entity}").fetchone() or (0,)
    for _ in range(int(merges).bit_length()):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE merged_{entity} AS SELECT m.id, coalesce(n.master_id, m.master_id) AS master_id "
            f"FROM merged_{entity} m LEFT JOIN merged_{entity} n ON n.id = m.master_id"
        )
    connection.execute(
        f"CREATE TEMP TABLE merge_cycle_{entity} AS SELECT m.id FROM merged_{entity} m "
        f"SEMI JOIN merged_{entity} n ON n.id = m.master_id"
    )
    connection.execute(f"DELETE FROM merged_{entity} WHERE id IN (SELECT id FROM merge_cycle_{entity})")
    connection.execute(
        f"CREATE TEMP VIEW live_{entity} AS SELECT r.*, r.rowid AS row_in_crm FROM crm.{entity} r "
        f"ANTI JOIN merged_{entity} m ON m.id = r.id WHERE r.is_deleted IS NOT TRUE"
    )
    connection.execute(
        f"CREATE TEMP TABLE {entity}_ids AS SELECT id, id AS live_id FROM live_{entity} UNION ALL "
        f"SELECT m.id, m.master_id FROM merged_{entity} m SEMI JOIN live_{entity} l ON l.id = m.master_id"
    )


def _load_close_days(connection: duckdb.DuckDBPyConnection, zone: ZoneInfo) -> None:
    days = connection.execute("SELECT DISTINCT close_date FROM crm.opportunity WHERE in_range_day(close_date)").fetchall()
    table = pa.table(
        {
            "close_date": pa.array([day for (day,) in days], pa.date32()),
            "close_s": pa.array([last_second(day, zone) for (day,) in days], pa.int64()),
        }
    )
    connection.register("days", table)
    connection.execute("CREATE TEMP TABLE close_day AS FROM days")
    connection.unregister("days")


def last_second(day: date, zone: ZoneInfo) -> int:
    """Epoch seconds of the last second of `day` in `zone`, also where a clock change falls on midnight."""
    midnight = datetime.combine(day + timedelta(days=1), time.min, tzinfo=zone)
    return int(midnight.astimezone(UTC).timestamp()) - 1


_OPPORTUNITY_IDS = """
CREATE TEMP TABLE opportunity_ids AS
    SELECT id, row_number() OVER (ORDER BY id) AS opportunity_key FROM crm.opportunity WHERE is_deleted IS NOT TRUE
"""

_OPPORTUNITIES = """
CREATE TABLE resolved.opportunities AS
    SELECT i.opportunity_key, o.id AS opportunity_id, {account} AS account_id, o.name,
        o.amount, o.currency, o.stage, coalesce(o.is_closed, false) OR coalesce(o.is_won, false) AS is_closed,
        coalesce(o.is_won, false) AS is_won, CASE WHEN in_range_day(o.close_date) THEN o.close_date END AS close_date,
        seconds(o.created_at) AS created_s, d.close_s, o.owner_id, u.team, o.type, o.record_type, o.campaign_id
    FROM crm.opportunity o
    JOIN opportunity_ids i ON i.id = o.id
    LEFT JOIN account_ids a ON a.id = o.account_id
    LEFT JOIN close_day d ON d.close_date = o.close_date
    LEFT JOIN crm.user u ON u.id = o.owner_id
"""

_OPPORTUNITY_ACCOUNTS = """
CREATE TABLE resolved.opportunity_accounts AS
    SELECT opportunity_key, account_id FROM resolved.opportunities WHERE account_id IS NOT NULL
    UNION
    SELECT o.opportunity_key, {account} FROM crm.opportunity_account r
    JOIN opportunity_ids o ON o.id = r.opportunity_id LEFT JOIN account_ids a ON a.id = r.account_id
    WHERE r.is_deleted IS NOT TRUE AND {account} IS NOT NULL
"""

_CONTACTS = """
CREATE TABLE resolved.contacts AS
    WITH employee AS (SELECT DISTINCT clean_email(email) AS email FROM crm.user WHERE email IS NOT NULL)
    SELECT r.id AS contact_id, p.person_key, {account} AS account_id, r.title,
        CASE WHEN NOT d.is_free THEN d.domain END AS email_domain, seconds(r.created_at) AS created_s,
        coalesce(r.has_left, false) AS has_left, e.email IS NOT NULL AS is_employee, t.type AS account_type, r.owner_id
    FROM live_contact r
    JOIN person_of p ON p.kind = 'c' AND p.row_in_crm = r.row_in_crm
    LEFT JOIN account_ids a ON a.id = r.account_id
    LEFT JOIN crm.account t ON t.id = a.live_id
    LEFT JOIN employee e ON e.email = p.email
    LEFT JOIN domain_of d ON d.host = email_host(p.email)
"""

_PARTICIPANTS = """
CREATE TABLE resolved.participants AS
    SELECT v.id AS activity_id, v.kind, r.kind AS participant_kind, r.person_key, o.opportunity_key,
        {account} AS account_id, seconds(v.occurred_at) AS occurred_s
    FROM took_part r
    JOIN crm.activity v ON v.id = r.activity_id
    LEFT JOIN opportunity_ids o ON o.id = v.opportunity_id
    LEFT JOIN account_ids a ON a.id = v.account_id
    WHERE v.is_deleted IS NOT TRUE
"""

_RESPONSES = """
CREATE TABLE resolved.responses AS
    SELECT r.id AS member_id, r.campaign_id, coalesce(c.person_key, l.person_key) AS person_key,
        coalesce(r.has_responded, r.responded_at IS NOT NULL) AS has_responded,
        coalesce(seconds(r.responded_at), seconds(r.created_at)) AS responded_s,
        seconds(r.responded_at) IS NULL OR coalesce(r.date_quality = 'inferred', false) AS is_inferred
    FROM crm.campaign_member r
    {campaign}
    LEFT JOIN contact_person c ON c.id = r.contact_id
    LEFT JOIN lead_person l ON l.id = r.lead_id
    WHERE r.is_deleted IS NOT TRUE AND coalesce(c.person_key, l.person_key) IS NOT NULL
"""

_LIVE_CAMPAIGN = (
    "SEMI JOIN (SELECT id FROM crm.campaign WHERE is_deleted IS NOT TRUE) live_campaign ON live_campaign.id = r.campaign_id"
)

_ROLES = """
CREATE TABLE resolved.roles AS
    SELECT r.id AS role_id, o.opportunity_key, c.person_key, c.contact_id, r.role,
        coalesce(r.is_primary, false) AS is_primary, seconds(r.created_at) AS created_s
    FROM crm.contact_role r
    JOIN opportunity_ids o ON o.id = r.opportunity_id
    JOIN contact_person c ON c.id = r.contact_id
    WHERE r.is_deleted IS NOT TRUE
"""

_LOOKUPS = """
CREATE TABLE resolved.lookups AS
    SELECT r.id AS lookup_id, o.opportunity_key, c.person_key, c.contact_id, r.field
    FROM crm.opportunity_contact_lookup r
    JOIN opportunity_ids o ON o.id = r.opportunity_id
    JOIN contact_person c ON c.id = r.contact_id
    WHERE r.is_deleted IS NOT TRUE
"""

_CONVERSIONS = """
CREATE TABLE resolved.conversions AS
    SELECT r.id AS lead_id, o.opportunity_key, p.person_key, seconds(r.converted_at) AS converted_s
    FROM live_lead r
    JOIN opportunity_ids o ON o.id = r.converted_opportunity_id
    JOIN lead_person p ON p.id = r.id
"""

_RELATIONS = """
CREATE TABLE resolved.relations AS
    SELECT r.id AS relation_id, {account} AS account_id, c.person_key, c.contact_id,
        coalesce(r.is_active, true) AS is_active
    FROM crm.account_contact_relation r
    JOIN contact_person c ON c.id = r.contact_id
    LEFT JOIN account_ids a ON a.id = r.account_id
    WHERE r.is_deleted IS NOT TRUE AND {account} IS NOT NULL
"""

# Counted by (account, domain) first: an account of 100,000 contacts is one row per domain, never pairs.
_ACCOUNT_DOMAINS = """
CREATE TABLE resolved.account_domains AS
    SELECT w.account_id, d.domain AS email_domain FROM website w
    JOIN domain_of d ON d.host = w.host WHERE d.domain IS NOT NULL AND NOT d.is_free
    UNION
    SELECT min(account_id), email_domain FROM (
        SELECT account_id, email_domain, count(*) AS contacts FROM resolved.contacts
        WHERE account_id IS NOT NULL AND email_domain IS NOT NULL GROUP BY account_id, email_domain
    ) GROUP BY email_domain HAVING count(*) = 1 AND min(contacts) >= 2
"""

# A parent that is gone, or the campaign itself, is no parent; longer circles are attribution's to name.
_CAMPAIGNS = """
CREATE TABLE resolved.campaigns AS
    SELECT r.id AS campaign_id, r.name, r.type, p.id AS parent_id, r.status,
        CASE WHEN in_range_day(r.start_date) THEN r.start_date END AS start_date,
        CASE WHEN in_range_day(r.end_date) THEN r.end_date END AS end_date, r.actual_cost, r.budgeted_cost, r.currency
    FROM crm.campaign r LEFT JOIN crm.campaign p ON p.id = r.parent_id AND p.is_deleted IS NOT TRUE
    WHERE r.is_deleted IS NOT TRUE
"""

_EXCHANGE_RATES = """
CREATE TABLE resolved.exchange_rates AS
    SELECT currency, base_currency, rate, valid_from, valid_until FROM crm.exchange_rate WHERE is_deleted IS NOT TRUE
"""


def _resolve_records(connection: duckdb.DuckDBPyConnection, entities: frozenset[Entity]) -> None:
    account = "a.live_id" if Entity.ACCOUNT in entities else "{alias}.account_id"
    campaign = _LIVE_CAMPAIGN if Entity.CAMPAIGN in entities else ""
    for statement, alias in (
        (_OPPORTUNITY_IDS, ""),
        (_OPPORTUNITIES, "o"),
        (_OPPORTUNITY_ACCOUNTS, "r"),
        (_CONTACTS, "r"),
        (_PARTICIPANTS, "v"),
        (_RESPONSES, ""),
        (_ROLES, ""),
        (_LOOKUPS, ""),
        (_CONVERSIONS, ""),
        (_RELATIONS, "r"),
        (_ACCOUNT_DOMAINS, ""),
        (_CAMPAIGNS, ""),
        (_EXCHANGE_RATES, ""),
    ):
        connection.execute(statement.format(account=account.format(alias=alias), campaign=campaign))


def create_crm_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the schema `crm` with one empty table per canonical entity, columns and types as in the model."""
    connection.execute(_crm_tables())


@cache
def _crm_tables() -> str:
    tables = []
    for entity in Entity:
        columns = ", ".join(f'"{field.name}" {_sql_type(field.type)}' for field in arrow_schema(entity))
        tables.append(f"CREATE TABLE crm.{entity} ({columns});")
    return "BEGIN; CREATE SCHEMA crm; " + " ".join(tables) + " COMMIT"


def _sql_type(type_: pa.DataType) -> str:
    if pa.types.is_decimal(type_):
        return f"DECIMAL({type_.precision}, {type_.scale})"
    return _SQL_TYPES[type_]


_SQL_TYPES = {
    pa.string(): "TEXT",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
}
