"""Candidates for people and for spreadsheets: one row each, with its reasons as a sentence."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from crmbridge.errors import PlanRefused
from crmbridge.plan.file import Plan

REASONS_TEXT = """array_to_string(list_transform(reasons, lambda r:
    coalesce(map($rule_names, $rule_texts)[r.rule], r.rule) || ' ['
    || CASE WHEN r.items > 1 THEN r.items || 'x, ' ELSE '' END || r.source_entity || ' ' || r.source_id
    || CASE WHEN r.occurred_s IS NULL THEN '' ELSE strftime(make_timestamp(r.occurred_s * 1000000), ', %Y-%m-%d') END
    || ': ' || CASE WHEN r.bits < 0 THEN '' ELSE '+' END || round(r.bits, 1) || ' bits]'), '; ')"""
"""SQL over a candidate's `reasons`; wants the parameters of `reason_parameters`."""


def reason_parameters(plan: Plan) -> dict[str, list[str]]:
    """The sentences of a plan's rules, as `REASONS_TEXT` wants them."""
    return {"rule_names": list(plan.header.rules), "rule_texts": list(plan.header.rules.values())}


def candidates_table(connection: duckdb.DuckDBPyConnection, plan: Plan) -> pa.Table:
    """Every candidate of a plan, sorted by (opportunity, falling confidence, contact).

    Returns:
        opportunity_id, contact_id, role, is_primary, confidence, decision, reasons (text), confidence_without_campaign.

    Raises:
        PlanRefused: the file beside the plan is gone.
    """
    if not plan.candidates_path.is_file():
        raise PlanRefused(f"the candidates of {plan.id} are gone", hint="crmbridge plan makes them anew")
    found = connection.execute(
        f"""SELECT opportunity_id, contact_id, role, is_primary, confidence, decision, {REASONS_TEXT} AS reasons,
            confidence_without_campaign
        FROM read_parquet($path) ORDER BY opportunity_id, confidence DESC, contact_id""",
        {"path": str(plan.candidates_path), **reason_parameters(plan)},
    )
    return found.to_arrow_table()
