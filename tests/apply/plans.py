"""Small plans for the tests."""

from __future__ import annotations

from crmbridge.apply import execute
from crmbridge.contract import PairState, RoleWrite
from crmbridge.journal import PlannedWrite


def put(opportunity_id, contact_id, role="Evaluator", *, is_primary=False, plan="p", primary_was=None):
    write = RoleWrite(
        key=f"{plan}:{opportunity_id}:{contact_id}",
        action="put",
        opportunity_id=opportunity_id,
        contact_id=contact_id,
        role=role,
        is_primary=is_primary,
        expected=PairState(primary_contact_id=primary_was),
    )
    return PlannedWrite(line_id=f"L-{opportunity_id}-{contact_id}", write=write, detail={"confidence": 0.9})


def apply(crm, journal, lines, *, plan="p", **options):
    return execute(crm, journal, lines, kind="apply", plan_id=plan, plan_hash=plan, **options)
