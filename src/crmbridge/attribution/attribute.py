"""From the snapshot to what every campaign earned: journeys, models, ledger and ROI put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.attribution.journeys import Scenario, prepare, walk
from crmbridge.attribution.ledger import gaps, ledger, with_money
from crmbridge.attribution.markov import LEAST_JOURNEYS, PARTS, removal_effects
from crmbridge.attribution.models import Model, Strategy
from crmbridge.attribution.restate import Books, Period, books
from crmbridge.attribution.result import (
    AS_IF_APPLIED,
    AS_IS,
    DIFFERENCES,
    JOURNEYS,
    WITHOUT_CAMPAIGN_EVIDENCE,
    Attribution,
    ModelInfo,
)
from crmbridge.attribution.roi import (
    credits_table,
    differences,
    earn,
    prepare_campaigns,
    roi_table,
    spread_by_model,
    spread_by_threshold,
)
from crmbridge.attribution.settings import AttributionSettings, Mode
from crmbridge.errors import SettingsError

_LONGEST_JOURNEY = 12
_JOURNEYS = f"""
    WITH walked AS (
        SELECT p.path_key, list(coalesce(k.name, p.channel) ORDER BY p.rank) AS path
        FROM "as_is_places" p LEFT JOIN resolved.campaigns k ON k.campaign_id = p.channel
        WHERE p.channel_rank = 1 GROUP BY p.path_key
    )
    SELECT * FROM (SELECT CASE WHEN len(path) > {_LONGEST_JOURNEY} THEN path[:{_LONGEST_JOURNEY}] || ['…'] ELSE path END AS path,
        count(*) AS opportunities, count(*) FILTER (d.state = 'won') AS won,
        coalesce(sum(d.value_minor::HUGEINT * d.step) FILTER (d.state = 'won'), 0) AS ten_thousandths, d.currency
    FROM walked w JOIN "as_is_standing" d ON d.opportunity_key = w.path_key
    GROUP BY ALL) ORDER BY won DESC, opportunities DESC, ten_thousandths DESC, path, currency LIMIT $most
"""

_ACCOUNT_WIDE = {
    Mode.HYBRID: "hybrid mode: where nobody has a role, everybody at the account counts, also people who had no part",
    Mode.IMPLICIT: "implicit mode: everybody at the account counts, also people who had no part",
}
_WON = """
    SELECT currency, '{column}' AS which, sum(value_minor::HUGEINT * step) AS ten_thousandths FROM {standing}
    WHERE state = 'won' AND residual = 'attributed' GROUP BY currency
"""


@dataclass(frozen=True)
class Planned:
    """Roles to imagine.

    Attributes:
        plan_id: of the plan.
        threshold: of its policy.
        roles: opportunity_key, person_key, role, confidence, confidence_without_campaign (null where it is not known).
    """

    plan_id: str
    threshold: float
    roles: nw.LazyFrame[Any]


def attribute(
    connection: duckdb.DuckDBPyConnection,
    *,
    roles: nw.LazyFrame[Any],
    planned: Planned | None = None,
    models: Sequence[Model],
    settings: AttributionSettings,
    as_of: datetime,
    time_zone: str,
    most_journeys: int = 100,
    stage: Callable[[str], None] = lambda _: None,
) -> Attribution:
    """Say who earned what, as it is and as if a plan were applied.

    Args:
        connection: holds the schema `resolved`; temporary tables are made in it.
        roles: opportunity_key, person_key, role: the contact roles as they are.
        planned: roles to imagine.
        models: in the order of reports, as `chosen_models` gives them.
        settings: what was asked.
        as_of: aware; open opportunities end here.
        time_zone: of the organisation, an IANA name.
        most_journeys: how many of the most frequent journeys to list.
        stage: told what is being computed.

    Raises:
        SettingsError: the data are not enough for any of the models.
    """
    day = as_of.astimezone(ZoneInfo(time_zone)).date()
    stage("opportunities and touches")
    prepare(connection, settings=settings, as_of_s=int(as_of.timestamp()), as_of_day=day)
    circular = prepare_campaigns(connection, settings=settings, as_of_day=day)
    _keep(connection, "standing_roles", roles.select("opportunity_key", "person_key", "role"))
    scenarios = [walk(connection, AS_IS, roles="standing_roles", settings=settings)]
    if planned is not None:
        stage("journeys as if the plan were applied")
        _keep(connection, "imagined_roles", planned.roles)
        scenarios.append(_imagine(connection, AS_IF_APPLIED, "true", settings))
    stage("models")
    taken, skipped = _fit(connection, models, scenarios[0])
    rois, credited, ledgers = [], [], []
    for scenario in scenarios:
        stage(f"credits {scenario.name.replace('_', ' ')}")
        earn(connection, scenario, taken, parts=_parts(connection, taken, scenario))
        credited.append(credits_table(connection, scenario))
        rois.append(roi_table(connection, scenario, taken))
        ledgers.append(ledger(connection, scenario))
    credits_all, roi_all = pa.concat_tables(credited), pa.concat_tables(rois)
    stage("spread")
    by_threshold = _by_threshold(connection, planned, taken[0], settings, whole=rois[1]) if planned is not None else {}
    spread = pa.concat_tables([spread_by_model(connection, rois[0]), spread_by_threshold(connection, by_threshold)])
    after = scenarios[1] if planned is not None else None
    return Attribution(
        as_of=as_of,
        time_zone=time_zone,
        settings=settings,
        models=tuple(ModelInfo(model.name, model.label, model.note) for model in taken),
        skipped_models=skipped,
        notes=_notes(connection, circular, settings, is_planned=planned is not None),
        scenarios=tuple(scenario.name for scenario in scenarios),
        plan_id=planned.plan_id if planned else None,
        credits=credits_all,
        ledger=pa.concat_tables(ledgers),
        gaps=gaps(connection, scenarios[0], after),
        roi=roi_all,
        spread=spread,
        journeys=with_money(
            connection.execute(_JOURNEYS, {"most": most_journeys}).to_arrow_table(),
            JOURNEYS,
            money={"won_amount": "ten_thousandths"},
        ),
        differences=differences(connection, credits_all) if after else DIFFERENCES.empty_table(),
        without_campaign_evidence=_without_campaigns(connection, planned, settings),
    )


def take_down(
    connection: duckdb.DuckDBPyConnection,
    period: Period,
    *,
    roles: nw.LazyFrame[Any],
    own: nw.LazyFrame[Any],
    models: Sequence[Model],
    settings: AttributionSettings,
    as_of: datetime,
    time_zone: str,
) -> Books:
    """Take down a period as it is, to be frozen or compared.

    Args:
        connection: holds the schema `resolved`.
        period: of the closes.
        roles: opportunity_key, person_key, role, contact_id, role_id: the contact roles as they are.
        own: role_id of those that crmbridge wrote.
        models: see `attribute`, as are the following.
        settings: what was asked.
        as_of: aware.
        time_zone: an IANA name.
    """
    day = as_of.astimezone(ZoneInfo(time_zone)).date()
    prepare(connection, settings=settings, as_of_s=int(as_of.timestamp()), as_of_day=day)
    prepare_campaigns(connection, settings=settings, as_of_day=day)
    _keep(connection, "all_roles", roles)
    _keep(connection, "own_role_ids", own.select("role_id"))
    scenario = walk(connection, AS_IS, roles="all_roles", settings=settings)
    taken, _ = _fit(connection, models, scenario)
    parts = _parts(connection, taken, scenario)
    earn(connection, scenario, taken, parts=parts)
    return books(connection, scenario, taken, period, parts=parts, settings=settings, time_zone=time_zone)


def _keep(connection: duckdb.DuckDBPyConnection, name: str, frame: nw.LazyFrame[Any]) -> None:
    connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {frame.to_native().sql_query()}')


def _imagine(connection: duckdb.DuckDBPyConnection, name: str, condition: str, settings: AttributionSettings) -> Scenario:
    """The journeys with those planned roles that meet a condition."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE "{name}_roles" AS SELECT opportunity_key, person_key, role FROM standing_roles
        UNION ALL SELECT opportunity_key, person_key, role FROM imagined_roles WHERE {condition}"""
    )
    return walk(connection, name, roles=f'"{name}_roles"', settings=settings)


def _fit(
    connection: duckdb.DuckDBPyConnection, models: Sequence[Model], scenario: Scenario
) -> tuple[list[Model], dict[str, str]]:
    """The models that the data are enough for, and why not the others.

    Raises:
        SettingsError: none of them is.
    """
    rows = connection.execute(
        f"""SELECT count(*) FILTER (p.state = 'won'), count(*) FILTER (p.state = 'lost') FROM {scenario.paths} p
        SEMI JOIN {scenario.touches} USING (path_key)"""
    ).fetchall()
    won, lost = rows[0]
    skipped = {model.name: why for model in models if (why := _too_little(model, won, lost))}
    taken = [model for model in models if model.name not in skipped]
    if not taken:
        name, why = next(iter(skipped.items()))
        raise SettingsError(f"no attribution model is left: {name} {why}", hint="name another beside it, such as linear")
    return taken, skipped


def _too_little(model: Model, won: int, lost: int) -> str | None:
    """Why so few opportunities are not enough for a model; None where they are."""
    if model.strategy is Strategy.MARKOV and min(won, lost) < LEAST_JOURNEYS:
        asked = f"{LEAST_JOURNEYS} won and {LEAST_JOURNEYS} lost opportunities with touches"
        return f"needs {asked}; there are {won:,} and {lost:,}"
    if model.strategy is Strategy.SHAPLEY and won < LEAST_JOURNEYS:
        return f"needs {LEAST_JOURNEYS} won opportunities with touches; there are {won:,}"
    return None


def _parts(connection: duckdb.DuckDBPyConnection, models: Sequence[Model], scenario: Scenario) -> dict[str, str]:
    """Learn the channels' shares for every Markov model; the names of the tables that hold them."""
    chains = [model for model in models if model.strategy is Strategy.MARKOV]
    if not chains:
        return {}
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE chain_steps AS SELECT path_key, channel,
        row_number() OVER (PARTITION BY path_key ORDER BY occurred_s, touch_key) AS rank FROM {scenario.touches}"""
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE chain_outcomes AS SELECT path_key, (state = 'won')::BIGINT AS conversions,
        (state = 'lost')::BIGINT AS nulls FROM {scenario.paths} WHERE state IN ('won', 'lost')"""
    )
    tables = {}
    for model in chains:
        shares = removal_effects(connection, steps="chain_steps", outcomes="chain_outcomes", order=model.order)
        connection.register("given_shares", shares)
        tables[model.name] = f'"{scenario.name}_parts_{model.name}"'
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {tables[model.name]} AS "
            f"SELECT channel, round(share * {PARTS})::BIGINT AS parts FROM given_shares"
        )
        connection.unregister("given_shares")
    connection.execute("DROP TABLE chain_steps; DROP TABLE chain_outcomes")
    return tables


def _by_threshold(
    connection: duckdb.DuckDBPyConnection, planned: Planned, model: Model, settings: AttributionSettings, *, whole: pa.Table
) -> dict[float, pa.Table]:
    """ROI under one model, with only those planned roles that are at least so sure; `whole` is that of the whole plan."""
    thresholds = sorted({at for at in settings.thresholds if at >= planned.threshold})
    columns = ["count(*)", *(f"count(*) FILTER (confidence >= {threshold!r})" for threshold in thresholds)]
    ((everybody, *counts),) = connection.execute(f"SELECT {', '.join(columns)} FROM imagined_roles").fetchall()
    # So many of the surest are always the same ones.
    by_count = {everybody: whole.filter(pc.equal(whole["model"], model.name))}
    for threshold, count in zip(thresholds, counts, strict=True):
        if count not in by_count:
            scenario = _imagine(connection, "at_threshold", f"confidence >= {threshold!r}", settings)
            earn(connection, scenario, [model], parts=_parts(connection, [model], scenario))
            by_count[count] = roi_table(connection, scenario, [model])
    return {threshold: by_count[count] for threshold, count in zip(thresholds, counts, strict=True)}


def _without_campaigns(connection: duckdb.DuckDBPyConnection, planned: Planned | None, settings: AttributionSettings) -> pa.Table:
    if planned is None or _is_unknown_without_campaigns(connection):
        return WITHOUT_CAMPAIGN_EVIDENCE.empty_table()
    _imagine(connection, "without_campaigns", f"confidence_without_campaign >= {planned.threshold!r}", settings)
    columns = {AS_IS: AS_IS, AS_IF_APPLIED: AS_IF_APPLIED, "without_campaigns": "without_campaign_evidence"}
    parts = " UNION ALL ".join(
        _WON.format(column=column, standing=f'"{scenario}_standing"') for scenario, column in columns.items()
    )
    sums = ", ".join(f"coalesce(sum(ten_thousandths) FILTER (which = '{column}'), 0) AS {column}" for column in columns.values())
    sql = f"SELECT currency, {sums} FROM ({parts}) GROUP BY currency ORDER BY currency"
    return with_money(
        connection.execute(sql).to_arrow_table(), WITHOUT_CAMPAIGN_EVIDENCE, money={name: name for name in columns.values()}
    )


def _is_unknown_without_campaigns(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether there are planned roles, and nobody knows how sure they are without campaign evidence."""
    rows = connection.execute("SELECT count(*) > 0 AND count(confidence_without_campaign) = 0 FROM imagined_roles").fetchall()
    return bool(rows[0][0])


def _notes(
    connection: duckdb.DuckDBPyConnection, circular: int, settings: AttributionSettings, *, is_planned: bool
) -> tuple[str, ...]:
    notes = [_ACCOUNT_WIDE[settings.mode]] if settings.mode in _ACCOUNT_WIDE else []
    if is_planned and _is_unknown_without_campaigns(connection):
        notes.append("the candidates beside the plan are gone: what would be attributed without campaign evidence is not known")
    if circular:
        notes.append(f"{_campaigns(circular)} among their own ancestors: they count as roots of the hierarchy")
    if settings.currency is not None:
        ((unrated,),) = connection.execute(
            "SELECT count(*) FROM costs WHERE amount IS NOT NULL AND value_minor IS NULL"
        ).fetchall()
        if unrated:
            notes.append(
                f"{_campaigns(unrated)} with a cost that no exchange rate converts to {settings.currency}: "
                "it stays in its own currency"
            )
    ((apart,),) = connection.execute("SELECT count(*) FROM as_is_apart").fetchall()
    if apart:
        mend = "add exchange rates in the CRM" if settings.currency else "[attribution] currency converts everything to one"
        notes.append(
            f"{_campaigns(apart)} with cost and credit in different currencies, their own or those of the campaigns below them: "
            f"ROI is undefined there; {mend}"
        )
    return tuple(notes)


def _campaigns(count: int) -> str:
    return f"{count:,} campaign" if count == 1 else f"{count:,} campaigns"
