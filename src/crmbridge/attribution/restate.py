"""Freezing a period, and saying later what changed in it and why, per campaign and to the last minor unit.

What is kept of a period: the credits of every won opportunity that closed in it, by campaign and model, and what they were made
of (amount, month, people, touches). A later look compares opportunity by opportunity; every difference has exactly one cause,
the first that applies in the order of `CAUSES`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.attribution.credit import credit_column, credits_sql
from crmbridge.attribution.journeys import Scenario
from crmbridge.attribution.ledger import with_money
from crmbridge.attribution.models import Model
from crmbridge.attribution.result import MONEY
from crmbridge.attribution.settings import AttributionSettings
from crmbridge.errors import SettingsError

CAUSES = {
    "newly_won": "the opportunity was not won in this period before",
    "no_longer_won": "the opportunity is no longer won in this period: reopened, moved, or deleted",
    "amount": "its amount, currency or exchange rate changed",
    "role_by_crmbridge": "people whom crmbridge linked were added, or are gone again",
    "role_by_people": "people were added or removed in the CRM",
    "role_name": "the roles that its people have were named otherwise",
    "creation_date": "it, or the first of its people, now counts as created at another time",
    "close_date": "its close date was moved within this period, and other touches count by it",
    "touch": "touches of its people were added, removed or dated otherwise",
    "calculation": "the settings, the time zone or the models changed, or what Markov models learned",
}
"""Why credit of a frozen period moved, in the order in which causes are tried.

Where the settings of journeys and money, or the time zone, differ from those of the freeze, amounts and touches cannot be
compared: what they would explain is `calculation`.
"""

CREDITS = pa.schema(
    [
        ("opportunity_id", pa.string()),
        ("model", pa.string()),
        ("campaign_id", pa.string()),
        ("currency", pa.string()),
        ("credit", MONEY),
    ]
)
BASIS = pa.schema(
    [
        ("opportunity_id", pa.string()),
        ("currency", pa.string()),
        ("amount", MONEY),
        ("people", pa.string()),
        ("own_people", pa.string()),
        ("role_names", pa.string()),
        ("creation", pa.string()),
        ("touches", pa.string()),
        ("close_date", pa.string()),
    ]
)
RESTATEMENT = pa.schema(
    [
        ("model", pa.string()),
        ("campaign_id", pa.string()),
        ("name", pa.string()),
        ("currency", pa.string()),
        ("cause", pa.string()),
        ("opportunities", pa.int64()),
        ("frozen", MONEY),
        ("now", MONEY),
        ("difference", MONEY),
    ]
)

_MODELS, _SETTINGS, _TIME_ZONE = b"crmbridge.models", b"crmbridge.settings", b"crmbridge.time_zone"
_DECISIVE = {"mode", "touches", "lookback_days", "currency", "rates"}
_PERIOD = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(0[1-9]|1[0-2])))?")


@dataclass(frozen=True)
class Period:
    """A month, a quarter or a year of closes.

    Attributes:
        name: `2026-03`, `2026-Q1` or `2026`.
        first, last: months, inclusive, as `2026-03`.
    """

    name: str
    first: str
    last: str

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read a period.

        Raises:
            SettingsError: it is none.
        """
        found = _PERIOD.fullmatch(text.strip().upper())
        if found is None:
            raise SettingsError(f"{text!r} is not a period", hint="a month 2026-03, a quarter 2026-Q1, or a year 2026")
        year, quarter, month = found.groups()
        if month:
            return cls(found.group(), f"{year}-{month}", f"{year}-{month}")
        if quarter:
            return cls(found.group(), f"{year}-{3 * int(quarter) - 2:02d}", f"{year}-{3 * int(quarter):02d}")
        return cls(year, f"{year}-01", f"{year}-12")


@dataclass(frozen=True)
class Books:
    """What is kept of a period.

    Attributes:
        credits: opportunity_id, model, campaign_id, currency, credit.
        basis: per won opportunity of the period its currency, amount, and as sorted text its people (ids of contacts
            with a role), those whom crmbridge linked, their roles, when it and the first of its people were created, its
            touches (campaign and second) and its close date. Its metadata hold the models, the settings and the time zone that
            it was taken down under. Older books know neither the close date nor the time zone.
    """

    credits: pa.Table
    basis: pa.Table

    @property
    def models(self) -> set[str]:
        """The names of the models, also of those that gave no credit."""
        return set(self._metadata(_MODELS).split())

    @property
    def settings(self) -> str:
        """What of the settings decides over journeys and money."""
        return self._metadata(_SETTINGS)

    @property
    def time_zone(self) -> str:
        """An IANA name; nothing in older books."""
        return self._metadata(_TIME_ZONE)

    def is_comparable(self, other: Books) -> bool:
        """Whether amounts and touches of both were found in the same way, as far as they say."""
        zones = {self.time_zone, other.time_zone} - {""}
        return self.settings == other.settings and len(zones) < 2

    def _metadata(self, key: bytes) -> str:
        return str((self.basis.schema.metadata or {}).get(key, b""), "utf-8")


_MINE = "d.state = 'won' AND d.month BETWEEN $first AND $last"

_CREDITS = """
    SELECT d.opportunity_id, c.model, c.channel AS campaign_id, d.currency, sum(c.credit::HUGEINT * d.step) AS ten_thousandths
    FROM (UNPIVOT (SELECT path_key, channel, {columns} FROM ({shared})) ON {columns} INTO NAME model VALUE credit) c
    JOIN {standing} d ON d.opportunity_key = c.path_key
    WHERE {mine} GROUP BY d.opportunity_id, c.model, c.channel, d.currency HAVING ten_thousandths <> 0
    ORDER BY ALL
"""

_BASIS = """
    WITH mine AS (SELECT * FROM {standing} d WHERE {mine}),
    people AS (
        SELECT opportunity_key, string_agg(DISTINCT contact_id, ' ' ORDER BY contact_id) AS people,
            string_agg(DISTINCT contact_id, ' ' ORDER BY contact_id) FILTER (is_own) AS own_people,
            string_agg(DISTINCT contact_id || '=' || coalesce(role, ''), ' ' ORDER BY contact_id || '=' || coalesce(role, ''))
                AS role_names
        FROM (SELECT r.*, r.role_id IN (SELECT role_id FROM own_role_ids) AS is_own FROM all_roles r)
        GROUP BY opportunity_key
    ), touched AS (
        SELECT path_key, string_agg(channel || '@' || occurred_s, ' ' ORDER BY occurred_s, channel) AS touches
        FROM {touches} GROUP BY path_key
    )
    SELECT m.opportunity_id, m.currency,
        coalesce(m.value_minor::HUGEINT * m.step, (m.amount * 10000)::HUGEINT) AS ten_thousandths,
        coalesce(p.people, '') AS people, coalesce(p.own_people, '') AS own_people, coalesce(p.role_names, '') AS role_names,
        concat(w.opportunity_created_s, ' ', w.lead_created_s) AS creation, coalesce(t.touches, '') AS touches,
        m.close_date::VARCHAR AS close_date
    FROM mine m LEFT JOIN people p USING (opportunity_key) LEFT JOIN touched t ON t.path_key = m.opportunity_key
    LEFT JOIN {paths} w ON w.path_key = m.opportunity_key
    ORDER BY m.opportunity_id
"""

_RESTATEMENT = """
    WITH opportunities AS (
        SELECT coalesce(b.opportunity_id, n.opportunity_id) AS opportunity_id, CASE
            WHEN b.opportunity_id IS NULL THEN 'newly_won'
            WHEN n.opportunity_id IS NULL THEN 'no_longer_won'
            WHEN $is_comparable AND (b.amount IS DISTINCT FROM n.amount OR b.currency IS DISTINCT FROM n.currency) THEN 'amount'
            WHEN b.people <> n.people AND b.own_people <> n.own_people THEN 'role_by_crmbridge'
            WHEN b.people <> n.people THEN 'role_by_people'
            WHEN b.role_names <> n.role_names THEN 'role_name'
            WHEN $is_comparable AND b.creation <> n.creation THEN 'creation_date'
            WHEN $is_comparable AND b.touches <> n.touches AND b.close_date <> n.close_date THEN 'close_date'
            WHEN $is_comparable AND b.touches <> n.touches THEN 'touch'
            ELSE 'calculation' END AS cause
        FROM basis_before b FULL JOIN basis_now n USING (opportunity_id)
    ), both_credits AS (
        SELECT coalesce(b.opportunity_id, n.opportunity_id) AS opportunity_id, coalesce(b.model, n.model) AS model,
            coalesce(b.campaign_id, n.campaign_id) AS campaign_id, coalesce(b.currency, n.currency) AS currency,
            coalesce(b.credit, 0)::DECIMAL(38, 4) AS frozen, coalesce(n.credit, 0)::DECIMAL(38, 4) AS now
        FROM credits_before b FULL JOIN credits_now n ON n.opportunity_id = b.opportunity_id AND n.model = b.model
            AND n.campaign_id = b.campaign_id AND n.currency IS NOT DISTINCT FROM b.currency
    )
    SELECT c.model, c.campaign_id, any_value(k.name) AS name, c.currency, o.cause, count(*) AS opportunities,
        sum(c.frozen) AS frozen, sum(c.now) AS now, (sum(c.now) - sum(c.frozen))::DECIMAL(38, 4) AS difference
    FROM both_credits c JOIN opportunities o USING (opportunity_id)
    LEFT JOIN resolved.campaigns k ON k.campaign_id = c.campaign_id
    WHERE c.frozen <> c.now
    GROUP BY c.model, c.campaign_id, c.currency, o.cause
    ORDER BY c.model, abs(difference) DESC, c.campaign_id, o.cause, c.currency
"""


def books(
    connection: duckdb.DuckDBPyConnection,
    scenario: Scenario,
    models: Sequence[Model],
    period: Period,
    *,
    parts: dict[str, str],
    settings: AttributionSettings,
    time_zone: str,
) -> Books:
    """Take down a period as it is.

    Args:
        connection: after `roi.earn`; with the tables `all_roles` (opportunity_key, contact_id, role, role_id) and
            `own_role_ids` (role_id).
        scenario: as it is.
        models: as they were given to `earn`.
        period: of the closes.
        parts: as they were given to `earn`.
        settings: what was asked.
        time_zone: an IANA name.
    """
    months = {"first": period.first, "last": period.last}
    shared = credits_sql(connection, models, places=f'"{scenario.name}_places"', parts=parts)
    columns = ", ".join(f'"{credit_column(model)}"' for model in models)
    named = {"standing": scenario.standing, "touches": scenario.touches, "paths": scenario.paths, "mine": _MINE}
    credited = connection.execute(_CREDITS.format(columns=columns, shared=shared, **named), months).to_arrow_table()
    names = pc.replace_substring_regex(credited["model"], "^credit__", "")
    credited = credited.set_column(credited.column_names.index("model"), "model", names)
    found = connection.execute(_BASIS.format(**named), months).to_arrow_table()
    basis = with_money(found, BASIS, money={"amount": "ten_thousandths"})
    under = {
        _MODELS: " ".join(model.name for model in models),
        _SETTINGS: settings.model_dump_json(include=_DECISIVE),
        _TIME_ZONE: time_zone,
    }
    return Books(with_money(credited, CREDITS, money={"credit": "ten_thousandths"}), basis.replace_schema_metadata(under))


def restate(connection: duckdb.DuckDBPyConnection, before: Books, now: Books) -> pa.Table:
    """Compare a frozen period with how it stands now.

    Returns:
        A table of the schema `RESTATEMENT`: one row per model, campaign, currency and cause, the largest difference first; equal
        credits are left out, so that nothing changed gives no rows. Only models of both, then and now, are compared.
    """
    both = pa.array(sorted(before.models & now.models), pa.string())
    tables = {
        "credits_before": before.credits.filter(pc.is_in(before.credits["model"], both)),
        "credits_now": now.credits.filter(pc.is_in(now.credits["model"], both)),
        "basis_before": pa.concat_tables([BASIS.empty_table(), before.basis], promote_options="default"),
        "basis_now": now.basis,
    }
    for name, table in tables.items():
        connection.register("given", table)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM given")
        connection.unregister("given")
    found = connection.execute(_RESTATEMENT, {"is_comparable": before.is_comparable(now)}).to_arrow_table()
    return with_money(found, RESTATEMENT)
