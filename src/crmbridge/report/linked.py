"""Coverage for a page: how many opportunities nobody is linked to, over all currencies, since these are counts."""

from __future__ import annotations

from dataclasses import dataclass

from crmbridge.coverage import STATES, Coverage, CoverageRow

GAPS = {
    "no_role": "Nobody is linked",
    "no_primary": "No primary contact",
    "no_touched": "Nobody a campaign ever touched",
}
"""Column of `Coverage` -> what the page calls it."""


@dataclass(frozen=True)
class Linked:
    """How many opportunities of one state have one gap.

    Attributes:
        gap: a key of `GAPS`.
        as_is, applied: opportunities with the gap; `applied` is None without a plan.
    """

    state: str
    gap: str
    opportunities: int
    as_is: int
    applied: int | None

    @property
    def as_is_share(self) -> float:
        """Of the opportunities of this state."""
        return self.as_is / self.opportunities

    @property
    def applied_share(self) -> float | None:
        """The same with the plan; None without one."""
        return None if self.applied is None else self.applied / self.opportunities


def linked(before: Coverage, after: Coverage | None) -> tuple[Linked, ...]:
    """Count gaps by gap and state; states without opportunities are left out."""
    now, then = _by_state(before), _by_state(after) if after else None
    return tuple(
        Linked(
            state=state,
            gap=gap,
            opportunities=_count(now[state], "opportunities"),
            as_is=_count(now[state], gap),
            applied=_count(then[state], gap) if then else None,
        )
        for gap in GAPS
        for state in STATES
        if _count(now[state], "opportunities")
    )


def _by_state(found: Coverage) -> dict[str, list[CoverageRow]]:
    return {state: [row for row in found.rows if row.state == state] for state in STATES}


def _count(rows: list[CoverageRow], name: str) -> int:
    return sum(getattr(row, name) for row in rows)
