"""Which lines of a plan are written: all, or the most confident; never more than the policy allows at once."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from crmbridge.errors import SettingsError
from crmbridge.journal import PlannedWrite
from crmbridge.plan.file import Plan, PlanLine, role_write


def chosen_lines(plan: Plan, max_writes: int | None) -> tuple[Iterable[PlanLine], str]:
    """The lines to write, those of one opportunity side by side, and the identity of that choice.

    Args:
        plan: as read.
        max_writes: only the most confident; None for all, as a stream.

    Raises:
        BlastRadiusExceeded: over the caps of the plan's policy.
    """
    if max_writes is None:
        plan.refuse_if_too_large(writes=plan.header.lines, opportunities=plan.header.opportunities_changed)
        return plan.lines(), plan.id
    # Of two with one confidence the primary goes first: its opportunity should not be left without.
    best = heapq.nlargest(max_writes, plan.lines(), key=lambda line: (line.confidence, line.is_primary, line.line_id))
    best.sort(key=lambda line: (line.opportunity_id, -line.confidence, line.contact_id))
    plan.refuse_if_too_large(writes=len(best), opportunities=len({line.opportunity_id for line in best}))
    return best, f"{plan.id}:{max_writes}"


def planned_write(line: PlanLine, plan: Plan) -> PlannedWrite:
    """A line as the journal keeps it: with confidence and reasons."""
    detail = {"confidence": line.confidence, "reasons": [reason.model_dump(mode="json") for reason in line.reasons]}
    return PlannedWrite(line_id=line.line_id, write=role_write(line, plan.id), detail=detail)


def refuse_negative(max_writes: int | None) -> None:
    """Refuse a number of writes below zero.

    Raises:
        SettingsError: with the value.
    """
    if max_writes is not None and max_writes < 0:
        raise SettingsError(f"max_writes is {max_writes}; allowed: 0 or more")
