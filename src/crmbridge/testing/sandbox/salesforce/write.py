"""Writing rows, each on its own: what Collections, Bulk jobs and single records have in common."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from crmbridge.testing.sandbox.salesforce.ids import counted, to_long
from crmbridge.testing.sandbox.salesforce.primary import ROLE, PrimaryBook
from crmbridge.testing.sandbox.salesforce.switches import DeletedContact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crmbridge.testing.sandbox.salesforce.faults import RowFaults
    from crmbridge.testing.sandbox.salesforce.schema import Field, SObject
    from crmbridge.testing.sandbox.salesforce.store import Store

RUNNING_USER = counted("005", 1)
ROLLED_BACK = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
_ONE_EACH = {
    "CampaignMember": (("CampaignId", "ContactId"), ("CampaignId", "LeadId")),
    "AccountContactRelation": (("AccountId", "ContactId"),),
}


@dataclass(slots=True)
class Row:
    """One row on its way: what was asked, and what became of it.

    Attributes:
        asked: as the client sent it.
        values: as the store holds it.
        record_id: once known.
        code: why it failed; None while all is well.
    """

    asked: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    record_id: str | None = None
    is_created: bool = False
    code: str | None = None
    message: str = ""
    fields: tuple[str, ...] = ()

    def fail(self, code: str, message: str, fields: Iterable[str] = ()) -> None:
        """Refuse it; the first reason stands."""
        if self.code is None:
            self.code, self.message, self.fields = code, message, tuple(fields)


class Writer:
    """Writes rows into the store as the org allows.

    Args:
        store: where the records live.
        faults: refusals planned for contact roles.
    """

    def __init__(self, store: Store, faults: RowFaults) -> None:
        self._store = store
        self._faults = faults

    def write(
        self, operation: str, sobject: SObject, asked: Sequence[dict[str, Any]], *, key: str = "Id", all_or_none: bool = False
    ) -> list[Row]:
        """Write rows; one refused row leaves the others alone unless `all_or_none`.

        Args:
            operation: insert, update, upsert or delete.
            sobject: what they are.
            asked: field -> value as sent; texts are converted.
            key: the field that an upsert matches on.
            all_or_none: roll everything back when one fails.

        Returns:
            What became of each, in the order asked.
        """
        rows = [Row(dict(one)) for one in asked]
        steps = {"insert": self._insert, "update": self._update, "delete": self._delete}
        try:
            with self._store.transaction():
                if operation == "upsert":
                    self._upsert(sobject, rows, key)
                else:
                    steps[operation](sobject, rows)
                if all_or_none:
                    _roll_back_if_failed(rows)
        except _RollBackError:
            for row in rows:
                row.fail(ROLLED_BACK, "Record rolled back because not all records were valid and the request was using AllOrNone")
        return rows

    def _insert(self, sobject: SObject, rows: list[Row]) -> None:
        for row in rows:
            _clean(sobject, row, lambda field: field.is_createable, "create")
            _require(sobject, row)
        self._check(sobject, rows)
        now = self._store.now()
        good = _good(rows)
        for row in good:
            row.record_id, row.is_created = self._store.new_id(sobject.prefix), True
            row.values |= {"Id": row.record_id, "CreatedDate": now, "CreatedById": RUNNING_USER, "IsDeleted": False}
            row.values |= {"LastModifiedDate": now, "LastModifiedById": RUNNING_USER, "SystemModstamp": now}
        records = [_whole(sobject, row.values) for row in good]
        if sobject.name == ROLE and records:
            self._insert_roles(records)
        else:
            self._store.put(sobject.name, records)

    def _insert_roles(self, records: list[dict[str, Any]]) -> None:
        book = PrimaryBook(self._store, {record["OpportunityId"] for record in records})
        for record in records:
            book.add(record)
        self._store.put(ROLE, [record | {"IsPrimary": False} for record in records])
        book.keep()

    def _update(self, sobject: SObject, rows: list[Row]) -> None:
        found = self._find(sobject, rows)
        for row in rows:
            _clean(sobject, row, lambda field: field.is_updateable, "update")
        self._check(sobject, rows, found)
        good, now = _good(rows), self._store.now()
        for row in good:
            changed = {"LastModifiedDate": now, "LastModifiedById": RUNNING_USER, "SystemModstamp": now}
            found[str(row.record_id)] |= row.values | changed
        wholes = {str(row.record_id): found[str(row.record_id)] for row in good}
        if sobject.name == ROLE and good:
            book = PrimaryBook(self._store, {record["OpportunityId"] for record in wholes.values()})
            for record_id, record in wholes.items():
                is_primary = bool(record["IsPrimary"])
                book.alter(record["OpportunityId"], record_id, record["ContactId"], is_primary=is_primary)
            self._store.change(sobject.name, [_without_primary(record) for record in wholes.values()])
            book.keep()
        else:
            self._store.change(sobject.name, list(wholes.values()))

    def _upsert(self, sobject: SObject, rows: list[Row], key: str) -> None:
        known = sobject.by_name.get(key.lower())
        if known is None or not (known.is_external_id or known.type in ("id", "email")):
            for row in rows:
                row.fail("INVALID_FIELD", f"Field name provided, {key} does not match an External ID, for {sobject.name}")
            return
        matches = self._matches(sobject, known, rows)
        wanted = Counter(_key_of(row, known) for row in rows)
        for row in rows:
            mine = matches.get(_key_of(row, known), [])
            if wanted[_key_of(row, known)] > 1 and _key_of(row, known):
                row.fail("DUPLICATE_VALUE", f"Duplicate external id specified: {row.asked.get(known.name)}", [known.name])
            elif len(mine) > 1:
                row.fail("DUPLICATE_EXTERNAL_ID", f"{known.name}: more than one record found for external id field", mine)
            elif mine:
                row.asked["Id"] = mine[0]
        olds = [row for row in rows if row.asked.get("Id") and not row.code]
        self._insert(sobject, [row for row in rows if not row.asked.get("Id") and not row.code])
        self._update(sobject, olds)

    def _matches(self, sobject: SObject, known: Field, rows: list[Row]) -> dict[str, list[str]]:
        keys = [_key_of(row, known) for row in rows]
        sql = f'SELECT lower("{known.name}"), list("Id") FROM "{sobject.name}" WHERE lower("{known.name}") IN (SELECT unnest(?))'
        return dict(self._store.rows(f'{sql} AND NOT "IsDeleted" GROUP BY 1', [keys]))

    def _delete(self, sobject: SObject, rows: list[Row]) -> None:
        found = self._find(sobject, rows)
        if not sobject.is_writable:
            _refuse_access(rows)
        if sobject.name == ROLE:
            self._refuse_planned(rows, found)
        gone = [str(row.record_id) for row in _good(rows)]
        if sobject.name == ROLE:
            self._delete_roles([found[record_id] for record_id in gone])
        elif "undeletable" not in sobject.traits:
            self._store.erase(sobject.name, gone)
        else:
            self._store.mark_deleted(sobject.name, gone)
            if sobject.name == "Opportunity":
                self._bury_roles(gone)

    def _delete_roles(self, records: list[dict[str, Any]]) -> None:
        book = PrimaryBook(self._store, {record["OpportunityId"] for record in records})
        for record in records:
            book.remove(record["OpportunityId"], record["Id"])
        self._store.erase(ROLE, [record["Id"] for record in records])
        book.keep()

    def _bury_roles(self, opportunity_ids: list[str]) -> None:
        sql = f'SELECT "Id" FROM "{ROLE}" WHERE "OpportunityId" IN (SELECT unnest(?))'
        self._store.mark_deleted(ROLE, [found for (found,) in self._store.rows(sql, [opportunity_ids])])

    def _find(self, sobject: SObject, rows: list[Row]) -> dict[str, dict[str, Any]]:
        """Find what rows speak of by `Id`; fail those that speak of nothing, twice of one, or of something deleted."""
        for row in rows:
            row.record_id = to_long(str(row.asked.get("Id") or ""))
            if row.record_id is None or not row.record_id.startswith(sobject.prefix):
                row.fail("MALFORMED_ID", f"{sobject.name} ID: id value of incorrect type: {row.asked.get('Id')}", ["Id"])
        named = [str(row.record_id) for row in _good(rows)]
        found = self._store.records(sobject.name, named)
        gone = {one for (one,) in self._store.rows("SELECT id FROM deletions WHERE id IN (SELECT unnest(?))", [named])}
        seen: set[str] = set()
        for row in _good(rows):
            record_id = str(row.record_id)
            if record_id in seen:
                row.fail("DUPLICATE_VALUE", f"duplicate id in list: {record_id}")
            elif record_id in gone:
                row.fail("ENTITY_IS_DELETED", "entity is deleted")
            elif record_id not in found:
                row.fail("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
            seen.add(record_id)
        return found

    def _check(self, sobject: SObject, rows: list[Row], found: dict[str, dict[str, Any]] | None = None) -> None:
        if not sobject.is_writable:
            _refuse_access(rows)
        for known in sobject.fields:
            if known.refers_to:
                self._check_links(known, _good(rows))
            if known.is_external_id:
                self._check_unique(sobject, (known.name,), rows)
        for columns in _ONE_EACH.get(sobject.name, ()):
            self._check_unique(sobject, columns, rows)
        if sobject.name == ROLE:
            self._refuse_planned(rows, found or {})

    def _check_links(self, known: Field, rows: list[Row]) -> None:
        """Every link leads to a record of a right kind that is not deleted."""
        linked = {str(row.values[known.name]) for row in rows if row.values.get(known.name)}
        alive: dict[str, bool] = {}
        for name in known.refers_to:
            target = self._store.schema.stored.get(name)
            if target and linked:
                flag = '"IsDeleted"' if "isdeleted" in target.by_name else "false"
                sql = f'SELECT "Id", NOT {flag} FROM "{name}" WHERE "Id" IN (SELECT unnest(?))'
                alive |= dict(self._store.rows(sql, [sorted(linked)]))
        for row in rows:
            value = row.values.get(known.name)
            if value and value != RUNNING_USER:
                self._check_link(known, row, alive.get(value))

    def _check_link(self, known: Field, row: Row, is_alive: bool | None) -> None:  # noqa: FBT001 (a state of three)
        lenient = self._store.switches.deleted_contact is DeletedContact.ACCEPTED
        if is_alive is None:
            row.fail("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        elif not is_alive and not (lenient and known.name == "ContactId"):
            row.fail("ENTITY_IS_DELETED", "entity is deleted")

    def _check_unique(self, sobject: SObject, columns: tuple[str, ...], rows: list[Row]) -> None:
        asking = [row for row in _good(rows) if all(row.values.get(column) for column in columns)]
        first = [str(row.values[columns[0]]) for row in asking]
        names = ", ".join(f'"{column}"' for column in columns)
        sql = f'SELECT {names}, "Id" FROM "{sobject.name}" WHERE "{columns[0]}" IN (SELECT unnest(?)) AND NOT "IsDeleted"'
        taken = {record[:-1]: record[-1] for record in self._store.rows(sql, [first])} if asking else {}
        for row in asking:
            holder = taken.setdefault(tuple(row.values[column] for column in columns), row)
            if holder is not row and holder != row.record_id:
                row.fail("DUPLICATE_VALUE", f"duplicate value found: {columns[-1]} duplicates value on record", columns)

    def _refuse_planned(self, rows: list[Row], found: dict[str, dict[str, Any]]) -> None:
        for row in _good(rows):
            record = found.get(str(row.record_id), {}) | row.values
            refused = self._faults.refusal(record.get("OpportunityId"), record.get("ContactId"))
            if refused:
                row.fail(refused[0].code, refused[1], refused[0].fields)


class _RollBackError(Exception):
    """Undo the transaction; nothing is wrong with the sandbox."""


def _roll_back_if_failed(rows: list[Row]) -> None:
    if any(row.code for row in rows):
        raise _RollBackError


def _good(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.code is None]


def _refuse_access(rows: list[Row]) -> None:
    for row in rows:
        row.fail("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")


def _key_of(row: Row, known: Field) -> str:
    return str(row.asked.get(known.name) or "").lower()


def _without_primary(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "IsPrimary"}


def _whole(sobject: SObject, values: dict[str, Any]) -> dict[str, Any]:
    """A record with every field: flags false, owners the running user, names put together."""
    record: dict[str, Any] = {
        known.name: values.get(known.name, False if known.type == "boolean" else None) for known in sobject.fields
    }
    if "OwnerId" in record:
        record["OwnerId"] = record["OwnerId"] or RUNNING_USER
    if "FirstName" in record:
        record["Name"] = " ".join(filter(None, (record["FirstName"], record["LastName"])))
    return record


def _require(sobject: SObject, row: Row) -> None:
    missing = [
        known.name
        for known in sobject.fields
        if known.is_createable and not (known.is_nillable or known.is_defaulted) and row.values.get(known.name) is None
    ]
    if missing:
        row.fail("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)


def _clean(sobject: SObject, row: Row, allows: Callable[[Field], bool], verb: str) -> None:
    """Turn what was sent into values of the fields' types; fail the row where that cannot be."""
    for name, value in row.asked.items():
        known = sobject.by_name.get(name.lower())
        if name in ("attributes", "Id"):
            continue
        if known is None:
            row.fail("INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject.name}", [name])
        elif not allows(known):
            text = f"Unable to {verb} fields: {name}. Please check the security settings of this field"
            row.fail("INVALID_FIELD_FOR_INSERT_UPDATE", text, [name])
        else:
            row.values[known.name] = _converted(known, value, row)


def _converted(known: Field, value: Any, row: Row) -> Any:  # noqa: ANN401
    if value is None or value == "":
        return False if known.type == "boolean" else None
    try:
        converted = _as_type(known, value)
    except ValueError:
        row.fail("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{known.name}: value not of required type: {value}", [known.name])
        return None
    if isinstance(converted, str) and known.length and len(converted) > known.length and not known.is_id:
        row.fail("STRING_TOO_LONG", f"{known.name}: data value too large (max length={known.length})", [known.name])
    if known.is_restricted and known.values and converted not in known.values:
        code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
        row.fail(code, f"{known.name}: bad value for restricted picklist field: {value}", [known.name])
    return converted


def _as_type(known: Field, value: Any) -> Any:  # noqa: ANN401
    if known.is_id:
        long = to_long(str(value))
        if long is None:
            raise ValueError
        return long
    if known.type == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower(), False)
    if known.type == "date":
        return date.fromisoformat(str(value)[:10])
    if known.type == "datetime":
        return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    if known.sql_type == "DOUBLE":
        return float(value)
    return int(value) if known.sql_type == "BIGINT" else str(value)
