"""The objects and fields of the org, read from `objects.txt`, and what `describe` says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from crmbridge.testing.sandbox.salesforce.switches import Currencies, Emails, PersonAccounts, SharedActivities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crmbridge.testing.sandbox.salesforce.switches import Switches

_LINE = re.compile(r"(?P<name>\w+) (?P<type>\w+)(?:\((?P<inside>[^)]*)\))?(?: (?P<flags>[!cudxr]+))?(?: =(?P<values>.*))?")
_SYSTEM = (
    "CreatedDate datetime !d",
    "CreatedById reference(User:CreatedBy) !d",
    "LastModifiedDate datetime !d",
    "LastModifiedById reference(User:LastModifiedBy) !d",
    "SystemModstamp datetime !d",
)
_SQL = {"boolean": "BOOLEAN", "date": "DATE", "datetime": "TIMESTAMP", "int": "BIGINT"} | dict.fromkeys(
    ("currency", "double", "percent"), "DOUBLE"
)
_SOAP = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "int": "xsd:int",
    "currency": "xsd:double",
    "double": "xsd:double",
    "percent": "xsd:double",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field as Salesforce describes it; `length` in characters, `digits` as (precision, scale)."""

    name: str
    type: str
    length: int = 0
    digits: tuple[int, int] = (0, 0)
    is_nillable: bool = True
    is_createable: bool = False
    is_updateable: bool = False
    is_defaulted: bool = False
    is_external_id: bool = False
    is_restricted: bool = False
    refers_to: tuple[str, ...] = ()
    relationship: str | None = None
    values: tuple[str, ...] = ()

    @property
    def sql_type(self) -> str:
        """The column's type in the store."""
        return _SQL.get(self.type, "VARCHAR")

    @property
    def is_id(self) -> bool:
        """Whether its values are Salesforce ids."""
        return self.type in ("id", "reference")

    def described(self) -> dict[str, Any]:
        """This field's part of a describe."""
        return {
            "name": self.name,
            "label": self.name,
            "type": self.type,
            "soapType": _SOAP.get(self.type, "xsd:string"),
            "length": self.length,
            "precision": self.digits[0],
            "scale": self.digits[1],
            "nillable": self.is_nillable,
            "createable": self.is_createable,
            "updateable": self.is_updateable,
            "defaultedOnCreate": self.is_defaulted,
            "custom": self.name.endswith("__c"),
            "externalId": self.is_external_id,
            "unique": self.is_external_id,
            "idLookup": self.is_external_id or self.type in ("id", "email"),
            "filterable": True,
            "sortable": True,
            "referenceTo": list(self.refers_to),
            "relationshipName": self.relationship,
            "polymorphicForeignKey": len(self.refers_to) > 1,
            "restrictedPicklist": self.is_restricted,
            "picklistValues": [_picklist_value(value) for value in self.values],
        }


@dataclass(frozen=True)
class SObject:
    """One object; the field names are Salesforce's own spelling."""

    name: str
    prefix: str
    traits: frozenset[str]
    fields: tuple[Field, ...]
    is_writable: bool = True

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Field by its name in small letters: SOQL and the API do not tell case apart."""
        return {field.name.lower(): field for field in self.fields}

    @cached_property
    def by_relationship(self) -> dict[str, Field]:
        """Reference by its relationship's name in small letters."""
        return {field.relationship.lower(): field for field in self.fields if field.relationship}

    def described(self, version: str, *, with_fields: bool) -> dict[str, Any]:
        """What describe says; the global one leaves the fields out."""
        home = f"/services/data/v{version}/sobjects/{self.name}"
        told: dict[str, Any] = {
            "name": self.name,
            "label": self.name,
            "labelPlural": self.name,
            "keyPrefix": self.prefix,
            "custom": self.name.endswith("__c"),
            "createable": self.is_writable,
            "updateable": self.is_writable and self.name != "TaskRelation",
            "deletable": self.is_writable and "eternal" not in self.traits,
            "undeletable": "undeletable" in self.traits,
            "mergeable": "mergeable" in self.traits,
            "queryable": True,
            "retrieveable": True,
            "replicateable": "eternal" not in self.traits,
            "searchable": self.name != "OpportunityContactRole",
            "triggerable": "eternal" not in self.traits,
            "urls": {"sobject": home, "describe": f"{home}/describe", "rowTemplate": f"{home}/{{ID}}"},
        }
        if with_fields:
            told |= {"fields": [field.described() for field in self.fields], "childRelationships": [], "recordTypeInfos": []}
        return told


class Schema:
    """What exists in the store, and what of it the user may see.

    Args:
        switches: which features the org has.
        lookups: API names of further contact lookups on the opportunity.
    """

    def __init__(self, switches: Switches, lookups: tuple[str, ...] = ()) -> None:
        further = {name: list(lines) for name, lines in switches.custom_fields.items()}
        for name, lines in _optional_fields(switches, lookups):
            further.setdefault(name, []).extend(lines)
        self.stored = {sobject.name: sobject for sobject in _read(further, switches.read_only)}
        hidden = switches.hidden | _absent(switches)
        self._seen = {name.lower(): _without(sobject, hidden) for name, sobject in self.stored.items() if name not in hidden}

    def seen(self, name: str) -> SObject | None:
        """An object as the user sees it, in any spelling; None where there is none."""
        return self._seen.get(name.lower())

    def all_seen(self) -> list[SObject]:
        """Every object the user sees."""
        return list(self._seen.values())

    def by_prefix(self, record_id: str) -> SObject | None:
        """Which kind an id is of."""
        return next((sobject for sobject in self.stored.values() if sobject.prefix == record_id[:3]), None)


def _optional_fields(switches: Switches, lookups: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    if switches.currencies is Currencies.MULTIPLE:
        for name in ("Account", "Campaign", "Contact", "Lead", "Opportunity", "OpportunityContactRole"):
            yield name, ["CurrencyIsoCode picklist(3) cudr"]
    if switches.person_accounts is PersonAccounts.ON:
        yield "Account", ["IsPersonAccount boolean !d", "PersonContactId reference(Contact:PersonContact)"]
        yield "Contact", ["IsPersonAccount boolean !d"]
    yield "Opportunity", [f"{name} reference(Contact:{name.removesuffix('__c')}__r) cu" for name in lookups]


def _absent(switches: Switches) -> frozenset[str]:
    absent: set[str] = set()
    if switches.currencies is Currencies.SINGLE:
        absent |= {"CurrencyType", "DatedConversionRate"}
    if switches.shared_activities is SharedActivities.OFF:
        absent |= {"TaskRelation"}
    if switches.emails is Emails.TASKS:
        absent |= {"EmailMessage", "EmailMessageRelation"}
    return frozenset(absent)


def _read(further: dict[str, list[str]], read_only: frozenset[str]) -> Iterator[SObject]:
    text = files("crmbridge.testing.sandbox.salesforce").joinpath("objects.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for block in "\n".join(lines).strip().split("\n\n"):
        head, *rest = block.splitlines()
        name, prefix, *traits = head.split()
        told = [*rest, *further.get(name, []), *_system(traits)]
        parsed = (Field(name="Id", type="id", length=18, is_nillable=False, is_defaulted=True), *map(_field, told))
        yield SObject(name, prefix, frozenset(traits), parsed, name not in read_only)


def _system(traits: list[str]) -> list[str]:
    lines = ["CreatedDate datetime !d", "SystemModstamp datetime !d"] if "bare" in traits else list(_SYSTEM)
    return lines if "eternal" in traits else ["IsDeleted boolean !d", *lines]


def _field(line: str) -> Field:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"not a field line: {line!r}; write 'Name type(length) flags =value;value'")
    flags, kind, inside = match["flags"] or "", match["type"], match["inside"] or ""
    targets, _, relationship = inside.partition(":") if kind == "reference" else ("", "", "")
    numeric = kind in ("currency", "double", "percent")
    digits = tuple(int(part) for part in inside.split(",")) if numeric and inside else (0, 0)
    return Field(
        name=match["name"],
        type=kind,
        length=18 if kind == "reference" else 0 if numeric or not inside else int(inside),
        digits=(digits[0], digits[1]),
        is_nillable="!" not in flags,
        is_createable="c" in flags,
        is_updateable="u" in flags,
        is_defaulted="d" in flags,
        is_external_id="x" in flags,
        is_restricted="r" in flags,
        refers_to=tuple(targets.split(",")) if targets else (),
        relationship=relationship or None,
        values=tuple((match["values"] or "").split(";")) if match["values"] else (),
    )


def _without(sobject: SObject, hidden: frozenset[str]) -> SObject:
    fields = tuple(field for field in sobject.fields if f"{sobject.name}.{field.name}" not in hidden)
    return SObject(sobject.name, sobject.prefix, sobject.traits, fields, sobject.is_writable)


def _picklist_value(value: str) -> dict[str, Any]:
    return {"active": True, "defaultValue": False, "label": value, "validFor": None, "value": value}
