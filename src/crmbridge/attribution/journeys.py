"""Journeys: per opportunity the touches that count, and for every opportunity the one reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb

from crmbridge.attribution.money import value_amounts
from crmbridge.attribution.settings import AttributionSettings, Mode, Touches

DAY_S = 86_400

_DEALS = """
    SELECT opportunity_key, opportunity_id, name, amount, currency, owner_id, record_type, created_s, close_date,
        CASE WHEN is_won THEN 'won' WHEN is_closed THEN 'lost' ELSE 'open' END AS state,
        strftime(close_date, '%Y-%m') AS month, CASE WHEN is_closed OR is_won THEN close_s END AS close_s,
        CASE WHEN is_closed OR is_won THEN close_s ELSE {as_of_s} END AS end_s,
        CASE WHEN is_closed OR is_won THEN close_date ELSE DATE '{as_of_day}' END AS day
    FROM resolved.opportunities
"""

# One touch is one person's one campaign, however many records say so: the earliest response, else the earliest date known.
_ENGAGEMENTS = """
    CREATE OR REPLACE TEMP TABLE engagements AS
    SELECT row_number() OVER (ORDER BY person_key, campaign_id) AS touch_key, * FROM (
        SELECT person_key, campaign_id, bool_or(has_responded) AS has_responded,
            coalesce(min(responded_s) FILTER (has_responded), min(responded_s)) AS occurred_s
        FROM resolved.responses GROUP BY person_key, campaign_id
    )
"""

_BY_ROLE = "SELECT opportunity_key, person_key, min(role) AS role FROM {roles} GROUP BY opportunity_key, person_key"

_BELONGING = """
    SELECT account_id, person_key FROM resolved.contacts WHERE account_id IS NOT NULL
    UNION SELECT account_id, person_key FROM resolved.relations WHERE is_active
"""

# Only people with a touch: an account of 100,000 contacts and 1,000 opportunities is never multiplied out.
_AT_ACCOUNT = f"""
    SELECT DISTINCT a.opportunity_key, b.person_key, NULL::VARCHAR AS role FROM resolved.opportunity_accounts a
    JOIN (FROM ({_BELONGING}) SEMI JOIN engagements USING (person_key)) b USING (account_id)
"""

_OLDEST_BY_ROLE = """
    SELECT opportunity_key, min(p.created_s) AS lead_created_s FROM {roles} JOIN resolved.people p USING (person_key)
    GROUP BY opportunity_key
"""

# Everybody there, also those without a touch; one moment per account, not one per person and opportunity.
_OLDEST_AT_ACCOUNT = f"""
    SELECT opportunity_key, min(lead_created_s) AS lead_created_s FROM resolved.opportunity_accounts JOIN (
        SELECT account_id, min(p.created_s) AS lead_created_s FROM ({_BELONGING}) JOIN resolved.people p USING (person_key)
        GROUP BY account_id
    ) USING (account_id) GROUP BY opportunity_key
"""

_HAS_PEOPLE_AT_ACCOUNT = """
    SELECT opportunity_key FROM resolved.opportunity_accounts SEMI JOIN (
        SELECT account_id FROM resolved.contacts UNION SELECT account_id FROM resolved.relations WHERE is_active
    ) USING (account_id)
"""

_REACH = """
    CREATE OR REPLACE TEMP TABLE "{scenario}_reach" AS
    SELECT l.opportunity_key, e.touch_key, e.campaign_id AS channel, e.occurred_s, l.role, e.has_responded,
        {counts} AS counts, e.occurred_s <= d.end_s AS is_before_end,
        e.occurred_s <= d.end_s AND e.occurred_s >= d.end_s - {lookback_s} AS is_inside
    FROM "{scenario}_links" l JOIN engagements e USING (person_key) JOIN deals d USING (opportunity_key)
"""

_STANDING = """
    CREATE OR REPLACE TEMP TABLE "{scenario}_standing" AS
    WITH flags AS (
        SELECT opportunity_key, count(*) FILTER (counts) AS counting,
            count(*) FILTER (counts AND occurred_s IS NOT NULL) AS dated,
            count(*) FILTER (counts AND is_before_end) AS before_end,
            count(*) FILTER (counts AND is_inside) AS inside
        FROM "{scenario}_reach" GROUP BY opportunity_key
    ), linked AS (SELECT DISTINCT opportunity_key, true AS has_people FROM ({people}))
    SELECT d.*, CASE
        WHEN d.amount IS NULL THEN 'missing_amount'
        WHEN d.end_s IS NULL THEN 'missing_date'
        WHEN d.value_minor IS NULL THEN 'no_exchange_rate'
        WHEN l.has_people IS NULL THEN 'no_role'
        WHEN f.opportunity_key IS NULL THEN 'no_touch'
        WHEN f.counting = 0 THEN 'no_response'
        WHEN f.dated = 0 THEN 'undated_touch'
        WHEN f.before_end = 0 THEN CASE WHEN d.state = 'open' THEN 'only_in_future' ELSE 'only_after_close' END
        WHEN f.inside = 0 THEN 'outside_lookback'
        ELSE 'attributed' END AS residual
    FROM deals d LEFT JOIN flags f USING (opportunity_key) LEFT JOIN linked l USING (opportunity_key)
"""

_PATHS = """
    CREATE OR REPLACE TEMP TABLE "{scenario}_paths" AS
    SELECT s.opportunity_key AS path_key, coalesce(s.value_minor, 0) AS value_minor, o.lead_created_s,
        s.created_s AS opportunity_created_s, s.close_s, s.state, s.state <> 'lost' AND s.residual = 'attributed' AS earns
    FROM "{scenario}_standing" s LEFT JOIN ({oldest}) o USING (opportunity_key)
"""


@dataclass(frozen=True)
class Scenario:
    """The names of the temporary tables of one way of looking: as it is, or with roles that are not there yet.

    Attributes:
        name: the tables' prefix.
    """

    name: str

    @property
    def links(self) -> str:
        """opportunity_key, person_key, role: whose touches count."""
        return f'"{self.name}_links"'

    @property
    def standing(self) -> str:
        """One row per opportunity, with its value and its residual."""
        return f'"{self.name}_standing"'

    @property
    def touches(self) -> str:
        """path_key, touch_key, channel, occurred_s, role: inside the lookback, never after the close."""
        return f'"{self.name}_touches"'

    @property
    def paths(self) -> str:
        """path_key, value_minor, the anchors' moments, state, earns: whether its amount is shared out; lost ones only teach."""
        return f'"{self.name}_paths"'


def prepare(connection: duckdb.DuckDBPyConnection, *, settings: AttributionSettings, as_of_s: int, as_of_day: date) -> None:
    """Make what every scenario shares: the temporary tables `deals` and `engagements`.

    Args:
        connection: with the schema `resolved`.
        settings: what was asked.
        as_of_s: epoch seconds: open opportunities end here.
        as_of_day: the same as a day of the organisation.
    """
    deals = _DEALS.format(as_of_s=as_of_s, as_of_day=as_of_day)
    value_amounts(connection, deals, "deals", settings=settings, as_of_day=as_of_day)
    connection.execute(_ENGAGEMENTS)


def walk(connection: duckdb.DuckDBPyConnection, name: str, *, roles: str, settings: AttributionSettings) -> Scenario:
    """Follow the journeys of one scenario.

    Args:
        connection: after `prepare`.
        name: of the scenario.
        roles: a table of opportunity_key, person_key, role.
        settings: mode, touches, lookback.

    Returns:
        The names of the tables it made.
    """
    by_role = _BY_ROLE.format(roles=roles)
    links, people, oldest = _links(by_role, roles, settings.mode)
    counts = "e.has_responded" if settings.touches is Touches.RESPONDED else "true"
    connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}_links" AS {links}')
    connection.execute(_REACH.format(scenario=name, counts=counts, lookback_s=settings.lookback_days * DAY_S))
    connection.execute(_STANDING.format(scenario=name, people=people))
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE "{name}_touches" AS '
        f"SELECT opportunity_key AS path_key, touch_key, channel, occurred_s, role "
        f'FROM "{name}_reach" WHERE counts AND is_inside'
    )
    connection.execute(f'DROP TABLE "{name}_reach"')
    connection.execute(_PATHS.format(scenario=name, oldest=oldest))
    return Scenario(name)


def _links(by_role: str, roles: str, mode: Mode) -> tuple[str, str, str]:
    """Whose touches count, which opportunities have people at all, and when the first of these was created; three queries."""
    oldest = _OLDEST_BY_ROLE.format(roles=roles)
    if mode is Mode.EXPLICIT:
        return by_role, f"SELECT opportunity_key FROM {roles}", oldest
    if mode is Mode.IMPLICIT:
        return _AT_ACCOUNT, _HAS_PEOPLE_AT_ACCOUNT, _OLDEST_AT_ACCOUNT
    others, oldest_of_others = (
        f"SELECT * FROM ({query}) ANTI JOIN {roles} USING (opportunity_key)" for query in (_AT_ACCOUNT, _OLDEST_AT_ACCOUNT)
    )
    return (
        f"({by_role}) UNION ALL ({others})",
        f"SELECT opportunity_key FROM {roles} UNION {_HAS_PEOPLE_AT_ACCOUNT}",
        f"({oldest}) UNION ALL ({oldest_of_others})",
    )
