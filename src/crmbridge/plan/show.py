"""Candidates for people and for spreadsheets: one row each, with its reasons as a sentence."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from crmbridge.errors import PlanRefused
from crmbridge.plan.file import Plan

_REASON = """coalesce(map($rule_names, $rule_texts)[{r}rule], {r}rule) || ' ['
    || CASE WHEN {r}items > 1 THEN {r}items || 'x, ' ELSE '' END || {r}source_entity || ' ' || {r}source_id
    || coalesce(', ' || {day}, '') || ': ' || CASE WHEN {r}bits < 0 THEN '' ELSE '+' END || round({r}bits, 1) || ' bits]'"""

REASONS_OF_LINE = f"array_to_string(list_transform(reasons, lambda r: {_REASON.format(r='r.', day='r.occurred_at')}), '; ')"
"""SQL for the `reasons` of a plan's line as a sentence; wants the parameters of `reason_parameters`."""

_DAY = "strftime(make_timestamp(occurred_s * 1000000), '%Y-%m-%d')"

_CANDIDATES = f"""
    SELECT opportunity_id, contact_id, role, is_primary, confidence, decision, reasons
    FROM read_parquet($candidates) JOIN (
        SELECT opportunity_key, person_key,
            string_agg({_REASON.format(r="", day=_DAY)}, '; ' ORDER BY abs(bits) DESC, rule) AS reasons
        FROM read_parquet($reasons) GROUP BY opportunity_key, person_key
    ) USING (opportunity_key, person_key)
    ORDER BY opportunity_id, confidence DESC, contact_id, reasons
"""


def reason_parameters(plan: Plan) -> dict[str, list[str]]:
    """The sentences of a plan's rules, as the reasons' SQL wants them."""
    return {"rule_names": list(plan.header.rules), "rule_texts": list(plan.header.rules.values())}


def candidates_table(connection: duckdb.DuckDBPyConnection, plan: Plan) -> pa.Table:
    """Every candidate of a plan, sorted by (opportunity, falling confidence, contact).

    Returns:
        opportunity_id, contact_id (null for a lead without contact), role, is_primary, confidence, decision, reasons (text).

    Raises:
        PlanRefused: the file beside the plan is gone.
    """
    paths = {"candidates": plan.candidates_path, "reasons": plan.reasons_path}
    if not all(path.is_file() for path in paths.values()):
        raise PlanRefused(f"the candidates of {plan.id} are gone", hint="crmbridge plan makes them anew")
    named = {name: str(path) for name, path in paths.items()}
    return connection.execute(_CANDIDATES, {**named, **reason_parameters(plan)}).to_arrow_table()
