"""Candidates for people and for spreadsheets: one row each, with its reasons as a sentence."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from crmbridge.errors import PlanRefused
from crmbridge.plan.file import Plan

DAY_OF_SECONDS = "strftime(make_timestamp(r.occurred_s * 1000000), '%Y-%m-%d')"
"""The day of a reason as candidates hold it, for `reasons_text`."""


def reasons_text(day: str) -> str:
    """SQL for a list of `reasons` as a sentence; wants the parameters of `reason_parameters`.

    Args:
        day: SQL for the day of the reason `r` as text; null where it has none.
    """
    return f"""array_to_string(list_transform(reasons, lambda r:
        coalesce(map($rule_names, $rule_texts)[r.rule], r.rule) || ' ['
        || CASE WHEN r.items > 1 THEN r.items || 'x, ' ELSE '' END || r.source_entity || ' ' || r.source_id
        || coalesce(', ' || {day}, '')
        || ': ' || CASE WHEN r.bits < 0 THEN '' ELSE '+' END || round(r.bits, 1) || ' bits]'), '; ')"""


def reason_parameters(plan: Plan) -> dict[str, list[str]]:
    """The sentences of a plan's rules, as `reasons_text` wants them."""
    return {"rule_names": list(plan.header.rules), "rule_texts": list(plan.header.rules.values())}


def candidates_table(connection: duckdb.DuckDBPyConnection, plan: Plan) -> pa.Table:
    """Every candidate of a plan, sorted by (opportunity, falling confidence, contact).

    Returns:
        opportunity_id, contact_id (null for a lead without contact), role, is_primary, confidence, decision, reasons (text).

    Raises:
        PlanRefused: the file beside the plan is gone.
    """
    if not plan.candidates_path.is_file():
        raise PlanRefused(f"the candidates of {plan.id} are gone", hint="crmbridge plan makes them anew")
    found = connection.execute(
        f"""SELECT opportunity_id, contact_id, role, is_primary, confidence, decision, {reasons_text(DAY_OF_SECONDS)} AS reasons
        FROM read_parquet($path) ORDER BY opportunity_id, confidence DESC, contact_id, reasons""",
        {"path": str(plan.candidates_path), **reason_parameters(plan)},
    )
    return found.to_arrow_table()
