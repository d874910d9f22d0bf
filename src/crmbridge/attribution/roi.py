"""What campaigns earned and cost: own cost and that of the campaigns below kept apart; undefined where nothing was spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import duckdb
import pyarrow as pa

from crmbridge.attribution.credit import credit_column, credits_sql, place_touches
from crmbridge.attribution.journeys import Scenario
from crmbridge.attribution.ledger import with_money
from crmbridge.attribution.models import Model
from crmbridge.attribution.money import value_amounts
from crmbridge.attribution.result import CREDITS, DIFFERENCES, ROI, SPREAD
from crmbridge.attribution.settings import AttributionSettings

_COSTS = (
    "SELECT campaign_id, name, type, parent_id, start_date, actual_cost AS amount, currency, {day} AS day FROM resolved.campaigns"
)

# UNION drops what is there already, so that circles end too.
_ABOVE = """
    WITH RECURSIVE above AS (
        SELECT campaign_id, {parent} AS parent_id FROM costs WHERE {parent} IS NOT NULL
        UNION
        SELECT a.campaign_id, {parent_of_above} FROM above a JOIN costs c ON c.campaign_id = a.parent_id
        WHERE {parent_of_above} IS NOT NULL
    )
"""

_CIRCULAR = (
    "CREATE OR REPLACE TEMP TABLE circular_campaigns AS "
    + _ABOVE.format(parent="parent_id", parent_of_above="c.parent_id")
    + "SELECT DISTINCT campaign_id FROM above WHERE campaign_id = parent_id"
)

_ROOTED = "CASE WHEN {0}campaign_id NOT IN (FROM circular_campaigns) THEN {0}parent_id END"

_TREE = (
    "CREATE OR REPLACE TEMP TABLE campaign_tree AS "
    + _ABOVE.format(parent=_ROOTED.format(""), parent_of_above=_ROOTED.format("c."))
    + "SELECT campaign_id AS below, parent_id AS above FROM above UNION ALL SELECT campaign_id, campaign_id FROM costs"
)

# A cost without a currency is in the only one there is; what an amount without a currency is in, nobody knows. A cost that no
# rate converts stays in its own, as amounts do.
_SPENT = """
    CREATE OR REPLACE TEMP TABLE spent AS
    WITH sole AS (
        SELECT CASE WHEN count(DISTINCT coalesce(currency, '')) = 1 THEN any_value(currency) END AS currency
        FROM deals WHERE state <> 'lost'
    )
    SELECT c.campaign_id AS channel, c.name, c.type, c.parent_id, strftime(c.start_date, '%Y-%m') AS month,
        coalesce(c.currency, sole.currency) AS currency,
        coalesce(c.value_minor::HUGEINT * c.step, (c.amount * 10000)::HUGEINT) AS cost,
        c.amount IS NOT NULL AND c.value_minor IS NULL AS is_unrated
    FROM costs c, sole
"""

# Opportunities with touches that count, also those whose amount is missing, or not joined to the others by any rate.
_REACHED = """
    CREATE OR REPLACE TEMP TABLE "{scenario}_reached" AS
    SELECT DISTINCT t.channel, t.path_key, d.state = 'won' AS is_won, d.currency, d.amount,
        d.residual = 'no_exchange_rate' AS is_unrated
    FROM {touches} t JOIN {standing} d ON d.opportunity_key = t.path_key WHERE d.state <> 'lost'
"""

# Money was spent and money was won, and no rate tells how much the one is of the other.
_APART = """
    CREATE OR REPLACE TEMP TABLE "{scenario}_apart" AS
    WITH won AS (
        SELECT DISTINCT channel, currency, is_unrated FROM "{scenario}_reached" WHERE is_won AND amount <> 0
    ), won_below AS (
        SELECT t.above AS channel, w.currency, w.is_unrated, bool_or(t.below = t.above) AS is_own
        FROM won w JOIN campaign_tree t ON t.below = w.channel GROUP BY ALL
    ), paid_below AS (
        SELECT t.above AS channel, s.currency, s.is_unrated, bool_or(t.below = t.above) AS is_own
        FROM spent s JOIN campaign_tree t ON t.below = s.channel WHERE s.cost > 0 GROUP BY ALL
    )
    SELECT channel, bool_or(p.is_own AND w.is_own) AS is_own_apart, bool_or(p.is_own) AS is_spent_apart
    FROM paid_below p JOIN won_below w USING (channel)
    WHERE p.is_unrated OR w.is_unrated OR p.currency IS DISTINCT FROM w.currency GROUP BY channel
"""

_PEOPLE = """
    CREATE OR REPLACE TEMP TABLE campaign_people AS
    SELECT campaign_id AS channel, person_key, has_responded, p.leads > 0 AS is_lead
    FROM engagements JOIN resolved.people p USING (person_key)
"""

_LONG = """
    SELECT {index} AS place, '{model}' AS model, channel, state, month, currency, "{column}" AS credit, opportunities
    FROM "{scenario}_earned"
"""

_ROI = """
    WITH models AS (SELECT DISTINCT place, model FROM ({models})),
    own_keys AS (SELECT channel, currency FROM spent UNION SELECT channel, currency FROM "{scenario}_earned"),
    -- A campaign has a row also in the currencies of those below it.
    keys AS (
        SELECT channel, currency, bool_or(is_own) AS is_own FROM (
            SELECT *, true AS is_own FROM own_keys
            UNION ALL SELECT t.above, k.currency, false FROM own_keys k JOIN campaign_tree t ON t.below = k.channel
        ) GROUP BY channel, currency
    ),
    earned AS (
        SELECT model, channel, currency, sum(credit) FILTER (state = 'won') AS won, sum(credit) FILTER (state = 'open') AS open
        FROM "{scenario}_long" GROUP BY model, channel, currency
    ),
    own AS (
        SELECT m.place, m.model, k.channel, k.currency, k.is_own, s.name, s.type, s.month, s.parent_id,
            c.cost, coalesce(e.won, 0) AS won, coalesce(e.open, 0) AS open,
            coalesce(a.is_own_apart, false) AS is_apart, coalesce(a.is_spent_apart, false) AS is_spent_apart,
            a.channel IS NOT NULL AS is_subtree_apart,
            coalesce(s.cost > 0 AND s.currency IS DISTINCT FROM k.currency, false) AS is_paid_elsewhere
        FROM keys k CROSS JOIN models m
        LEFT JOIN spent s ON s.channel = k.channel
        LEFT JOIN spent c ON c.channel = k.channel AND c.currency IS NOT DISTINCT FROM k.currency
        LEFT JOIN earned e ON e.model = m.model AND e.channel = k.channel AND e.currency IS NOT DISTINCT FROM k.currency
        LEFT JOIN "{scenario}_apart" a ON a.channel = k.channel
    ),
    below AS (
        SELECT o.model, coalesce(t.above, o.channel) AS channel, o.currency, sum(o.cost) AS cost, sum(o.won) AS won,
            sum(o.open) AS open
        FROM own o LEFT JOIN campaign_tree t ON t.below = o.channel GROUP BY ALL
    ),
    leveled AS (
        SELECT o.place, o.model, 'campaign' AS level, o.channel AS key, o.name, o.type, o.parent_id, o.currency, o.cost,
            b.cost AS subtree_cost, o.won, o.open, b.won AS subtree_won, b.open AS subtree_open, o.is_apart, o.is_subtree_apart,
            o.is_paid_elsewhere
        FROM own o JOIN below b ON b.model = o.model AND b.channel = o.channel AND b.currency IS NOT DISTINCT FROM o.currency
        UNION ALL {by_type} UNION ALL {by_month}
    ),
    -- Campaigns whose people and opportunities a row counts, each once. Those are no money: all of them, beside every currency.
    behind AS MATERIALIZED (
        SELECT *, dense_rank() OVER (ORDER BY level, key, currency) AS line FROM (
            SELECT unnest(['type', 'month']) AS level, unnest([type, month]) AS key, k.currency, channel
            FROM keys k JOIN spent s USING (channel) WHERE is_own
        ) WHERE key IS NOT NULL
    ),
    lines AS (SELECT DISTINCT line, level, key, currency FROM behind),
    peopled AS (
        SELECT 'campaign' AS level, channel AS key, currency, members, responses, leads FROM keys JOIN (
            SELECT channel, count(*) AS members, count(*) FILTER (has_responded) AS responses, count(*) FILTER (is_lead) AS leads
            FROM campaign_people GROUP BY channel
        ) USING (channel)
        UNION ALL
        SELECT level, key, currency, members, responses, leads FROM lines JOIN (
            SELECT line, count(*) AS members, count(*) FILTER (has_responded) AS responses, count(*) FILTER (is_lead) AS leads
            FROM (
                SELECT line, bool_or(has_responded) AS has_responded, bool_or(is_lead) AS is_lead
                FROM behind JOIN campaign_people USING (channel) GROUP BY line, person_key
            ) GROUP BY line
        ) USING (line)
    ),
    counted AS (
        SELECT 'campaign' AS level, channel AS key, k.currency, count(*) AS opportunities,
            count(*) FILTER (is_won) AS won_opportunities
        FROM keys k JOIN "{scenario}_reached" USING (channel) GROUP BY channel, k.currency
        UNION ALL
        SELECT level, key, currency, opportunities, won_opportunities FROM lines JOIN (
            SELECT line, count(*) AS opportunities, count(*) FILTER (is_won) AS won_opportunities
            FROM (SELECT DISTINCT b.line, path_key, is_won FROM behind b JOIN "{scenario}_reached" USING (channel)) GROUP BY line
        ) USING (line)
    )
    SELECT '{scenario}' AS scenario, l.*,
        CASE WHEN l.cost > 0 AND NOT l.is_apart THEN (l.won - l.cost)::DOUBLE / l.cost::DOUBLE END AS roi,
        CASE WHEN l.subtree_cost > 0 AND NOT l.is_subtree_apart
            THEN (l.subtree_won - l.subtree_cost)::DOUBLE / l.subtree_cost::DOUBLE END AS subtree_roi,
        coalesce(p.members, 0) AS members, coalesce(p.responses, 0) AS responses, coalesce(p.leads, 0) AS leads,
        coalesce(c.opportunities, 0) AS opportunities, coalesce(c.won_opportunities, 0) AS won_opportunities,
        {per_lead} AS cost_per_lead, {per_response} AS cost_per_response, {per_opportunity} AS cost_per_opportunity,
        {per_won} AS cost_per_won
    FROM leveled l
    LEFT JOIN peopled p ON p.level = l.level AND p.key = l.key AND p.currency IS NOT DISTINCT FROM l.currency
    LEFT JOIN counted c ON c.level = l.level AND c.key = l.key AND c.currency IS NOT DISTINCT FROM l.currency
    ORDER BY l.place, l.level, l.won DESC, l.key, l.currency
"""

# Undefined in every currency: what it won in one may have been paid for in another.
_GROUPED = """
    SELECT place, model, '{level}', {level}, {level}, {type}, NULL, currency, sum(cost), sum(cost), sum(won), sum(open), sum(won),
        sum(open), {apart}, {apart}, bool_or(is_paid_elsewhere)
    FROM own WHERE {level} IS NOT NULL AND is_own
    GROUP BY place, model, {level}, currency
"""
_APART_IN_ANY = "bool_or(bool_or(is_spent_apart)) OVER (PARTITION BY model, {level})"

_SPREAD = """
    WITH ranked AS (
        SELECT key, name, currency, {at} AS at_, roi, rank() OVER (PARTITION BY {at}, currency ORDER BY roi DESC) AS place
        FROM ({source}) WHERE roi IS NOT NULL
    )
    SELECT key AS campaign_id, any_value(name) AS name, currency, '{basis}' AS basis, min(roi) AS lowest_roi,
        max(roi) AS highest_roi,
        arg_min(at_, (roi, at_)) AS lowest_at, arg_min(at_, (-roi, at_)) AS highest_at, min(place) AS best_rank,
        max(place) AS worst_rank, min(roi) < 0 AND max(roi) > 0 AS changes_sign, min(place) <> max(place) AS changes_rank
    FROM ranked GROUP BY key, currency HAVING count(*) > 1
    ORDER BY changes_sign DESC, highest_roi - lowest_roi DESC, campaign_id, currency
"""


def prepare_campaigns(connection: duckdb.DuckDBPyConnection, *, settings: AttributionSettings, as_of_day: date) -> int:
    """Make the tables of what campaigns cost and how they hang together, after `journeys.prepare`.

    Makes `spent` (one row per campaign: channel, name, type, parent_id, month, currency, cost in ten-thousandths),
    `campaign_tree` (below, above; every campaign also with itself) and `campaign_people` (one row per campaign and person:
    channel, person_key, has_responded, is_lead).

    Returns:
        How many campaigns are their own ancestors; they count as roots.
    """
    day = f"coalesce(start_date, DATE '{as_of_day}')"
    value_amounts(connection, _COSTS.format(day=day), "costs", settings=settings, as_of_day=as_of_day)
    for statement in (_CIRCULAR, _TREE, _SPENT, _PEOPLE):
        connection.execute(statement)
    ((circular,),) = connection.execute("SELECT count(*) FROM circular_campaigns").fetchall()
    return int(circular)


def earn(connection: duckdb.DuckDBPyConnection, scenario: Scenario, models: Sequence[Model], *, parts: Mapping[str, str]) -> None:
    """Share out every amount of a scenario.

    Makes `<scenario>_places` (see `credit.place_touches`), and `<scenario>_earned`: channel, state, month, currency,
    opportunities and one column of ten-thousandths per model; `<scenario>_long`, the same with one row per model; and
    `<scenario>_reached` (channel, opportunity) and `<scenario>_apart` (campaigns whose cost and wins, or those of the campaigns
    below them, no rate joins) for `roi_table`.

    Args:
        connection: after `prepare_campaigns`.
        scenario: as `journeys.walk` gives it.
        models: at least one.
        parts: what `credit.credits_sql` needs for Markov models.
    """
    credited = f"(FROM {scenario.paths} WHERE earns)"
    place_touches(connection, touches=scenario.touches, paths=credited, places=f"{scenario.name}_places")
    shared = credits_sql(connection, models, places=f'"{scenario.name}_places"', parts=parts)
    sums = ", ".join(f'sum("{credit_column(m)}"::HUGEINT * d.step) AS "{credit_column(m)}"' for m in models)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE "{scenario.name}_earned" AS
        SELECT c.channel, d.state, d.month, d.currency, count(*) FILTER (c.channel_rank = 1) AS opportunities, {sums}
        FROM ({shared}) c JOIN {scenario.standing} d ON d.opportunity_key = c.path_key
        GROUP BY c.channel, d.state, d.month, d.currency"""
    )
    connection.execute(f'CREATE OR REPLACE TEMP TABLE "{scenario.name}_long" AS {_long(scenario, models)}')
    connection.execute(_REACHED.format(scenario=scenario.name, touches=scenario.touches, standing=scenario.standing))
    connection.execute(_APART.format(scenario=scenario.name))


def credits_table(connection: duckdb.DuckDBPyConnection, scenario: Scenario) -> pa.Table:
    """The credits of a scenario, one row per model, campaign, state, month and currency; sorted."""
    sql = f"""SELECT '{scenario.name}' AS scenario, model, channel AS campaign_id, * EXCLUDE (model, channel)
        FROM "{scenario.name}_long" ORDER BY place, campaign_id, state DESC, month, currency"""
    return with_money(connection.execute(sql).to_arrow_table(), CREDITS, money={"credit": "credit"})


def roi_table(connection: duckdb.DuckDBPyConnection, scenario: Scenario, models: Sequence[Model]) -> pa.Table:
    """ROI of a scenario by campaign, type and month, under every model; a table of the schema `ROI`."""
    names = " UNION ALL ".join(f"SELECT {index} AS place, '{model.name}' AS model" for index, model in enumerate(models))
    per = {
        "per_lead": _per("p.leads"),
        "per_response": _per("p.responses"),
        "per_opportunity": _per("c.opportunities"),
        "per_won": _per("c.won_opportunities"),
    }
    by_type, by_month = (
        _GROUPED.format(level=level, type=kind, apart=_APART_IN_ANY.format(level=level))
        for level, kind in (("type", "type"), ("month", "NULL"))
    )
    sql = _ROI.format(scenario=scenario.name, models=names, by_type=by_type, by_month=by_month, **per)
    table = connection.execute(sql).to_arrow_table()
    counts = {"won": "won_opportunities"}
    money = {
        "own_cost": "cost",
        "subtree_cost": "subtree_cost",
        "won_credit": "won",
        "open_credit": "open",
        "subtree_won_credit": "subtree_won",
        "subtree_open_credit": "subtree_open",
        **{f"cost_{name}": f"cost_{name}" for name in per},
    }
    return with_money(table, ROI, money=money, renamed=counts)


def _per(count: str) -> str:
    """Ten-thousandths per piece, rounded half up; null for no pieces, no cost, or a cost that is partly in another currency."""
    is_known = f"{count} > 0 AND l.cost IS NOT NULL AND NOT l.is_paid_elsewhere"
    return f"CASE WHEN {is_known} THEN (2 * l.cost + {count}) // (2 * {count}) END"


def _long(scenario: Scenario, models: Sequence[Model]) -> str:
    return " UNION ALL ".join(
        _LONG.format(index=index, model=model.name, column=credit_column(model), scenario=scenario.name)
        for index, model in enumerate(models)
    )


def spread_by_model(connection: duckdb.DuckDBPyConnection, roi: pa.Table) -> pa.Table:
    """How far a campaign's ROI moves with the model, as it is; a table of the schema `SPREAD`."""
    connection.register("given_roi", roi)
    try:
        source = "FROM given_roi WHERE level = 'campaign' AND scenario = 'as_is'"
        return with_money(connection.execute(_SPREAD.format(source=source, at="model", basis="model")).to_arrow_table(), SPREAD)
    finally:
        connection.unregister("given_roi")


def spread_by_threshold(connection: duckdb.DuckDBPyConnection, rois: Mapping[float, pa.Table]) -> pa.Table:
    """How far a campaign's ROI moves with the least confidence at which planned roles are taken; schema `SPREAD`."""
    if not rois:
        return SPREAD.empty_table()
    tables = [roi.append_column("threshold", pa.array([f"{at:g}"] * len(roi), pa.string())) for at, roi in rois.items()]
    connection.register("given_roi", pa.concat_tables(tables))
    try:
        sql = _SPREAD.format(source="FROM given_roi WHERE level = 'campaign'", at="threshold", basis="threshold")
        return with_money(connection.execute(sql).to_arrow_table(), SPREAD)
    finally:
        connection.unregister("given_roi")


def differences(connection: duckdb.DuckDBPyConnection, credited: pa.Table) -> pa.Table:
    """Per model, campaign, state and currency: as it is, as if applied, and the difference; schema `DIFFERENCES`."""
    connection.register("given_credits", credited)
    try:
        sql = """
            SELECT model, c.campaign_id, any_value(k.name) AS name, state, c.currency,
                coalesce(sum(credit) FILTER (scenario = 'as_is'), 0)::DECIMAL(38, 4) AS as_is,
                coalesce(sum(credit) FILTER (scenario = 'as_if_applied'), 0)::DECIMAL(38, 4) AS as_if_applied,
                (coalesce(sum(credit) FILTER (scenario = 'as_if_applied'), 0)
                    - coalesce(sum(credit) FILTER (scenario = 'as_is'), 0))::DECIMAL(38, 4) AS difference
            FROM given_credits c LEFT JOIN resolved.campaigns k USING (campaign_id)
            GROUP BY model, c.campaign_id, state, c.currency
            ORDER BY model, abs(difference) DESC, campaign_id, state, c.currency"""
        return with_money(connection.execute(sql).to_arrow_table(), DIFFERENCES)
    finally:
        connection.unregister("given_credits")
