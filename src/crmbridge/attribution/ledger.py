"""The gap ledger: every amount is attributed, or in the one residual that says why it is not."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from crmbridge.attribution.journeys import Scenario
from crmbridge.attribution.result import GAPS, LEDGER

_LEDGER = """
    SELECT $scenario AS scenario, state, currency, month, owner_id, record_type, residual, count(*) AS opportunities,
        (coalesce(sum(value_minor::HUGEINT * step), 0) + coalesce(sum(CASE WHEN value_minor IS NULL THEN
            (amount * 10000)::HUGEINT END), 0)) AS ten_thousandths,
        count(*) FILTER (amount IS NULL) AS unknown_amounts
    FROM {standing} WHERE state <> 'lost'
    GROUP BY state, currency, month, owner_id, record_type, residual
    ORDER BY state DESC, currency, month, owner_id, record_type, residual
"""

_GAPS = """
    SELECT a.opportunity_id, a.name, a.state, a.currency,
        CASE WHEN a.value_minor IS NULL THEN (a.amount * 10000)::HUGEINT
            ELSE a.value_minor::HUGEINT * a.step END AS ten_thousandths,
        a.month, a.owner_id, a.residual, {after} AS residual_if_applied,
        coalesce({after} = 'attributed', false) AS closes
    FROM {standing} a {join}
    WHERE a.state <> 'lost' AND a.residual <> 'attributed'
    ORDER BY ten_thousandths DESC NULLS LAST, a.opportunity_id
"""


def ledger(connection: duckdb.DuckDBPyConnection, scenario: Scenario) -> pa.Table:
    """Sum up won and open opportunities by state, currency, month, owner, record type and residual.

    Returns:
        A table of the schema `LEDGER`, sorted; for each key the residuals sum to all of its known amounts.
    """
    sql = _LEDGER.format(standing=scenario.standing)
    return with_money(
        connection.execute(sql, {"scenario": scenario.name}).to_arrow_table(), LEDGER, money={"amount": "ten_thousandths"}
    )


def gaps(connection: duckdb.DuckDBPyConnection, as_is: Scenario, as_if_applied: Scenario | None) -> pa.Table:
    """List the opportunities that are not attributed, largest first, and whether the plan would change that."""
    after, join = "NULL::VARCHAR", ""
    if as_if_applied is not None:
        after, join = "b.residual", f"JOIN {as_if_applied.standing} b USING (opportunity_key)"
    sql = _GAPS.format(standing=as_is.standing, after=after, join=join)
    return with_money(connection.execute(sql).to_arrow_table(), GAPS, money={"amount": "ten_thousandths"})


def with_money(
    table: pa.Table, schema: pa.Schema, *, money: Mapping[str, str] | None = None, renamed: Mapping[str, str] | None = None
) -> pa.Table:
    """Turn columns of whole ten-thousandths into exact money, and bring the table into its schema.

    Args:
        table: has every column of `schema`, or the one that is named for it.
        schema: of the result.
        money: name of a money column -> name of the column of ten-thousandths in `table`.
        renamed: name of another column of the result -> its name in `table`, where that differs.
    """
    names = renamed or {}
    made = []
    for field in schema:
        whole = (money or {}).get(field.name)
        made.append(_money(table[whole]) if whole else table[names.get(field.name, field.name)].cast(field.type))
    return pa.Table.from_arrays(made, schema=schema)


def _money(ten_thousandths: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB gives HUGEINT as decimal(38, 0): the same digits, four of them behind the point."""
    whole = ten_thousandths.combine_chunks().cast(pa.decimal128(38, 0))
    return pa.chunked_array([pa.Array.from_buffers(pa.decimal128(38, 4), len(whole), whole.buffers(), offset=whole.offset)])
