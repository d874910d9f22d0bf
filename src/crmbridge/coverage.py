"""Coverage: how much of the pipeline and of the won business has nobody linked to it. The first figure a user wants."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import narwhals as nw
import pyarrow as pa

from crmbridge.snapshot.frames import Frames, distinct

STATES = ("open", "won", "lost")


@dataclass(frozen=True)
class CoverageRow:
    """The coverage of one state in one currency.

    Attributes:
        state: open, won or lost.
        currency: ISO 4217; None where the CRM does not say.
        opportunities: how many.
        amount: the sum of the known amounts, exact.
        unknown_amounts: opportunities without an amount; they are counted, not summed.
        no_role, no_role_amount: opportunities nobody is linked to.
        no_primary, no_primary_amount: opportunities without a primary contact.
        no_touched, no_touched_amount: opportunities none of whose people was ever a member of a campaign.
    """

    state: str
    currency: str | None
    opportunities: int
    amount: Decimal
    unknown_amounts: int
    no_role: int
    no_role_amount: Decimal
    no_primary: int
    no_primary_amount: Decimal
    no_touched: int
    no_touched_amount: Decimal


@dataclass(frozen=True)
class Coverage:
    """Coverage by state and currency, sorted by (open, won, lost; currency)."""

    rows: tuple[CoverageRow, ...]

    def table(self) -> pa.Table:
        """The rows as columns."""
        return pa.Table.from_pylist([vars(row) for row in self.rows], schema=_SCHEMA)


_MONEY = pa.decimal128(38, 4)
_SCHEMA = pa.schema(
    [
        pa.field("state", pa.string()),
        pa.field("currency", pa.string()),
        *(
            pa.field(name, _MONEY if name.endswith("amount") else pa.int64())
            for name in CoverageRow.__dataclass_fields__
            if name not in {"state", "currency"}
        ),
    ]
)


def coverage(frames: Frames, *, planned: nw.LazyFrame[Any] | None = None) -> Coverage:
    """Count what is linked, as it is or as if the planned roles were there.

    Args:
        frames: the resolved frames.
        planned: opportunity_key, person_key, is_primary of roles to imagine; None for the state as it is.

    Returns:
        One row per (state, currency) that occurs.
    """
    linked = frames.roles.select("opportunity_key", "person_key", "is_primary")
    if planned is not None:
        linked = nw.concat([linked, planned.select("opportunity_key", "person_key", "is_primary")])
    members = distinct(frames.responses, "person_key")
    flags = {
        "has_role": linked,
        "has_primary": linked.filter(nw.col("is_primary")),
        "has_touched": linked.join(members, on="person_key", how="semi"),
    }
    opportunities = frames.opportunities.select("opportunity_key", "currency", "amount", state=_state())
    for name, pairs in flags.items():
        marked = distinct(pairs, "opportunity_key").with_columns(nw.lit(1).alias(name))
        opportunities = opportunities.join(marked, on="opportunity_key", how="left")
    counted = opportunities.group_by("state", "currency").agg(
        nw.len().alias("opportunities"),
        nw.col("amount").sum(),
        nw.col("amount").null_count().alias("unknown_amounts"),
        *(part for name in flags for part in _gap(name)),
    )
    rows = [CoverageRow(**_exact(row)) for row in counted.collect("pyarrow").to_native().to_pylist()]
    return Coverage(tuple(sorted(rows, key=lambda row: (STATES.index(row.state), row.currency or ""))))


def _state() -> nw.Expr:
    won = nw.when(nw.col("is_won")).then(nw.lit("won")).otherwise(nw.lit("lost"))
    return nw.when(nw.col("is_closed") | nw.col("is_won")).then(won).otherwise(nw.lit("open"))


def _gap(flag: str) -> tuple[nw.Expr, nw.Expr]:
    name = flag.replace("has_", "no_")
    missing = nw.col(flag).is_null()
    return (
        nw.when(missing).then(nw.lit(1)).otherwise(nw.lit(0)).sum().alias(name),
        nw.when(missing).then(nw.col("amount")).sum().alias(f"{name}_amount"),
    )


def _exact(row: dict[str, Any]) -> dict[str, Any]:
    """Give counts as whole numbers, whatever the engine sums them into, and sums of nothing their zero."""
    texts, zero = ("state", "currency"), Decimal("0.0000")
    amounts = {name: zero if value is None else value for name, value in row.items() if name.endswith("amount")}
    counts = {name: int(value) for name, value in row.items() if name not in amounts and name not in texts}
    return {name: row[name] for name in texts} | amounts | counts
