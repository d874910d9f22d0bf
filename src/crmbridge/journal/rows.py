"""How lines, receipts and runs lie in the journal's tables.

What is read back was validated when it was written; it is not validated again.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pyarrow as pa

from crmbridge.contract import Outcome, PairState, Receipt, RoleWrite
from crmbridge.journal.records import PlannedWrite, Run

_EMPTY = PairState()
EMPTY_STATE = _EMPTY.model_dump_json()

INTENT_COLUMNS = "line_id, i.key, action, i.opportunity_id, i.contact_id, role, is_primary, expected, detail"
RECEIPT_COLUMNS = "outcome, before, after, code"
RUN_COLUMNS = "run_id, kind, plan_id, plan_hash, undoes_run_id, started_at, finished_at, state"


def intent_row(run_id: str, seq: int, line: PlannedWrite) -> tuple[Any, ...]:
    """A line as a row of `intent`."""
    write = line.write
    pair = (write.opportunity_id, write.contact_id)
    expected = _state_json(write.expected)
    detail = json.dumps(line.detail)
    return (run_id, seq, write.key, line.line_id, write.action, *pair, write.role, write.is_primary, expected, detail)


def planned_write(row: tuple[Any, ...]) -> PlannedWrite:
    """A line from INTENT_COLUMNS."""
    line_id, key, action, opportunity_id, contact_id, role, is_primary, expected, detail = row
    write = RoleWrite.model_construct(
        key=key,
        action=action,
        opportunity_id=opportunity_id,
        contact_id=contact_id,
        role=role,
        is_primary=bool(is_primary),
        expected=_state(expected),
    )
    return PlannedWrite.model_construct(line_id=line_id, write=write, detail=json.loads(detail))


def receipt_row(run_id: str, receipt: Receipt, received_at: str) -> tuple[Any, ...]:
    """A receipt as a row of `receipt`."""
    states = (_state_json(receipt.before), _state_json(receipt.after))
    return (run_id, receipt.key, receipt.outcome.value, *states, receipt.code, received_at)


def receipt(key: str, row: tuple[Any, ...]) -> Receipt:
    """A receipt from RECEIPT_COLUMNS."""
    outcome, before, after, code = row
    return Receipt.model_construct(
        key=key,
        outcome=Outcome(outcome),
        before=_state(before),
        after=_state(after),
        code=code,
    )


def run(row: tuple[Any, ...]) -> Run:
    """A run from RUN_COLUMNS, without its counts."""
    run_id, kind, plan_id, plan_hash, undoes_run_id, started_at, finished_at, state = row
    return Run(
        run_id=run_id,
        kind=kind,
        plan_id=plan_id,
        plan_hash=plan_hash,
        undoes_run_id=undoes_run_id,
        started_at=datetime.fromisoformat(started_at),
        finished_at=datetime.fromisoformat(finished_at) if finished_at else None,
        state=state,
    )


def new_role_ids(receipt: Receipt) -> list[str]:
    """Ids of the rows that this receipt says we made; empty where nothing was written."""
    if receipt.outcome is not Outcome.APPLIED:
        return []
    before = {row.id for row in receipt.before.rows}
    return [row.id for row in receipt.after.rows if row.id not in before]


def _state(json_text: str) -> PairState:
    return _EMPTY if json_text == EMPTY_STATE else PairState.model_validate_json(json_text)


def _state_json(state: PairState) -> str:
    return state.model_dump_json() if state.rows or state.primary_contact_id is not None else EMPTY_STATE


_OWN_ROLES = pa.schema(
    [
        pa.field("role_id", pa.string()),
        pa.field("opportunity_id", pa.string()),
        pa.field("contact_id", pa.string()),
        pa.field("role", pa.string()),
        pa.field("is_primary", pa.bool_()),
        pa.field("since", pa.timestamp("us", tz="UTC")),
        pa.field("ended_at", pa.timestamp("us", tz="UTC")),
        pa.field("ended_by", pa.string()),
    ]
)


def own_roles(found: list[tuple[Any, ...]]) -> pa.Table:
    """Rows of `own_role` with their intent as columns."""
    read = [
        (*row[:4], bool(row[4]), datetime.fromisoformat(row[5]), row[6] and datetime.fromisoformat(row[6]), row[7])
        for row in found
    ]
    columns = list(zip(*read, strict=True)) or [()] * len(_OWN_ROLES)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, _OWN_ROLES, strict=True)], schema=_OWN_ROLES)
