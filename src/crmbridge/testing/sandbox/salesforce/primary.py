"""Who is primary on an opportunity once roles are written: the part of the org that clients get wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crmbridge.testing.sandbox.salesforce.switches import RoleWrite, RowGone, SecondRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crmbridge.testing.sandbox.salesforce.store import Store

ROLE = "OpportunityContactRole"


@dataclass(slots=True)
class _Row:
    record_id: str
    contact_id: str
    is_primary: bool = False


class PrimaryBook:
    """The roles of some opportunities while a request changes them.

    A primary is a contact, not a row: naming a new one clears every other contact's rows.

    Args:
        store: where they live.
        opportunity_ids: which are about to change.
    """

    def __init__(self, store: Store, opportunity_ids: Iterable[str]) -> None:
        self._store = store
        self._rows: dict[str, list[_Row]] = {one: [] for one in opportunity_ids}
        self._before: dict[str, bool] = {}
        sql = f'SELECT "OpportunityId", "Id", "ContactId", "IsPrimary" FROM "{ROLE}" WHERE "OpportunityId" IN (SELECT unnest(?))'
        for opportunity_id, record_id, contact_id, is_primary in store.rows(sql, [list(self._rows)]):
            self._rows[opportunity_id].append(_Row(record_id, contact_id, is_primary))
            self._before[record_id] = is_primary

    def add(self, record: dict[str, Any]) -> None:
        """A new role; `record` gets the IsPrimary that it reads back as."""
        rows = self._rows[record["OpportunityId"]]
        rows.append(_Row(record["Id"], record["ContactId"]))
        self._before[record["Id"]] = False
        self._name(rows, rows[-1], is_primary=bool(record["IsPrimary"]))

    def alter(self, opportunity_id: str, record_id: str, contact_id: str, *, is_primary: bool) -> None:
        """A changed role."""
        rows = self._rows[opportunity_id]
        row = next(row for row in rows if row.record_id == record_id)
        row.contact_id = contact_id
        row.is_primary = False
        self._name(rows, row, is_primary=is_primary)

    def remove(self, opportunity_id: str, record_id: str) -> None:
        """A deleted role."""
        rows = self._rows[opportunity_id]
        gone = next(row for row in rows if row.record_id == record_id)
        rows.remove(gone)
        self._before.pop(record_id, None)
        twins = [row for row in rows if row.contact_id == gone.contact_id]
        was_primary = gone.is_primary or any(row.is_primary for row in twins)
        if twins and was_primary and self._store.switches.row_gone is RowGone.CLEARS_PRIMARY:
            for row in rows:
                row.is_primary = False

    def _name(self, rows: list[_Row], chosen: _Row, *, is_primary: bool) -> None:
        twins = [row for row in rows if row.contact_id == chosen.contact_id and row is not chosen]
        per_contact = self._store.switches.second_row is SecondRow.PRIMARY
        if is_primary:
            for row in rows:
                row.is_primary = row is chosen or (row in twins and (per_contact or row.is_primary))
        elif per_contact and any(row.is_primary for row in twins):
            chosen.is_primary = True

    def is_primary(self, record_id: str) -> bool:
        """What a role reads back as."""
        return next(row.is_primary for rows in self._rows.values() for row in rows if row.record_id == record_id)

    def keep(self) -> None:
        """Write the primaries that changed, the opportunities' contacts, and their stamps where the org does that."""
        now = self._store.now()
        rows = [row for group in self._rows.values() for row in group]
        changed = [row for row in rows if row.is_primary != self._before[row.record_id]]
        self._store.change(
            ROLE,
            [
                {"Id": row.record_id, "IsPrimary": row.is_primary, "SystemModstamp": now, "LastModifiedDate": now}
                for row in changed
            ],
        )
        self._store.change("Opportunity", [{"Id": one, "ContactId": self._primary_of(one)} for one in self._rows])
        if self._store.switches.role_write is RoleWrite.STAMPS_OPPORTUNITY:
            stamps = [{"Id": one, "SystemModstamp": now, "LastModifiedDate": now} for one in self._rows]
            self._store.change("Opportunity", stamps)

    def _primary_of(self, opportunity_id: str) -> str | None:
        return min((row.contact_id for row in self._rows[opportunity_id] if row.is_primary), default=None)
