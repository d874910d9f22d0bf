"""Writes rows by sObject Collections: 200 to a call, each row with an answer of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crmbridge.adapters.salesforce.failures import AnswerLost, Refusal, a_code
from crmbridge.adapters.salesforce.ids import long_id
from crmbridge.adapters.salesforce.outcomes import Answer, Fate, refused, unanswered
from crmbridge.adapters.salesforce.provenance import Provenance, cells
from crmbridge.errors import CrmBridgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crmbridge.adapters.salesforce.connection import Connection
    from crmbridge.contract import RoleWrite

ROWS_PER_CALL = 200
ROLES = "OpportunityContactRole"
_NO_ENTRY = (401, 403)
# Refusals that no other choice of rows would change: nothing is learnt by sending them one by one.
_ABOUT_ALL_ROWS = frozenset({"INVALID_FIELD", "INVALID_TYPE", "NOT_FOUND", "METHOD_NOT_ALLOWED", "API_DISABLED_FOR_ORG"})


def insert(
    connection: Connection, writes: Sequence[RoleWrite], *, key_field: str | None, provenance: Provenance = ()
) -> list[Answer]:
    """Add one role for each write; answers in their order. Raises only where nothing was sent."""

    def send(part: Sequence[RoleWrite]) -> object:
        body = {"allOrNone": False, "records": [_record(write, key_field, provenance) for write in part]}
        return connection.request("POST", "composite/sobjects", body=body).json()

    return _in_parts(send, writes)


def delete(connection: Connection, ids: Sequence[str]) -> list[Answer]:
    """Delete rows; answers in their order. Raises only where nothing was sent."""

    def send(part: Sequence[str]) -> object:
        return connection.request("DELETE", f"composite/sobjects?ids={','.join(part)}&allOrNone=false").json()

    return _in_parts(send, ids)


def mark_primary(connection: Connection, ids: Sequence[str]) -> list[Answer]:
    """Make rows the primary of their opportunities; raises like `insert`."""

    def send(part: Sequence[str]) -> object:
        rows = [{"attributes": {"type": ROLES}, "Id": row_id, "IsPrimary": True} for row_id in part]
        return connection.request("PATCH", "composite/sobjects", body={"allOrNone": False, "records": rows}).json()

    return _in_parts(send, ids)


def _record(write: RoleWrite, key_field: str | None, provenance: Provenance) -> dict[str, Any]:
    record = {
        "attributes": {"type": ROLES},
        "OpportunityId": write.opportunity_id,
        "ContactId": write.contact_id,
        "Role": write.role,
        "IsPrimary": write.is_primary,
    }
    return record | cells(write, provenance) | ({key_field: write.key} if key_field else {})


def _in_parts(send: Callable[[Any], object], rows: Sequence[Any]) -> list[Answer]:
    answers: list[Answer] = []
    for start in range(0, len(rows), ROWS_PER_CALL):
        part = rows[start : start + ROWS_PER_CALL]
        try:
            answers += _answered(send, part)
        except CrmBridgeError as error:
            if not answers:
                raise
            # What was not sent is open: reading back will find it absent.
            return answers + [unanswered(_why(error))] * (len(rows) - len(answers))
    return answers


def _answered(send: Callable[[Any], object], part: Sequence[Any]) -> list[Answer]:
    try:
        return _read(send(part), len(part))
    except AnswerLost as lost:
        return [unanswered(f"LOST_{lost.reason}")] * len(part)
    except ValueError:  # a body that is not JSON
        return [unanswered("LOST_BODY")] * len(part)
    except Refusal as refusal:
        if refusal.status in _NO_ENTRY:
            raise
        code, is_about_all = refusal.code, refusal.code in _ABOUT_ALL_ROWS
    if len(part) == 1 or is_about_all:
        return [refused(code)] * len(part)
    # The request as a whole was refused, so nothing of it was done: find the row that spoils it.
    middle = len(part) // 2
    answers = _answered(send, part[:middle])
    try:
        return answers + _answered(send, part[middle:])
    except CrmBridgeError as error:
        return answers + [unanswered(_why(error))] * (len(part) - middle)


def _read(body: object, rows: int) -> list[Answer]:
    """Read the results, which come in the order of the request."""
    if not isinstance(body, list) or len(body) != rows:
        return [unanswered("LOST_BODY")] * rows
    return [_row_answer(item) for item in body]


def _row_answer(item: dict[str, Any]) -> Answer:
    if item.get("success") is True:
        return Answer(Fate.DONE, row_id=long_id(str(item.get("id"))))
    errors = item.get("errors") or [{}]
    return refused(a_code(errors[0].get("statusCode")))


def _why(error: CrmBridgeError) -> str:
    return f"NOT_SENT_{type(error).__name__}"
