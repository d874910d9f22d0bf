"""What this organisation has and this user may see: objects, fields, role names, permissions. Read once, first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crmbridge.adapters.salesforce.connection import translated
from crmbridge.adapters.salesforce.failures import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crmbridge.adapters.salesforce.connection import Connection

_PER_COMPOSITE = 25
_OK, _NOT_FOUND = 200, 404
_NO_ENTRY = (401, 403)


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What describe says of one object.

    Attributes:
        fields: type by API name.
        picklists: the active values by API name, in their order.
        flags: createable, updateable, deletable, queryable, replicateable ... of the object.
        changeable: the fields that may be set on create.
        lengths: of text fields, in characters, by API name.
    """

    name: str
    fields: Mapping[str, str]
    picklists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    changeable: frozenset[str] = frozenset()
    lengths: Mapping[str, int] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Whether a field can be selected; `RecordType.Name` where the lookup RecordTypeId can."""
        parent, dot, _ = path.partition(".")
        return (_lookup_of(parent) if dot else path) in self.fields


@dataclass(frozen=True, slots=True)
class Organisation:
    """The objects of interest that are there, by API name."""

    objects: Mapping[str, ObjectFacts]

    def has(self, name: str) -> bool:
        """Whether an object is there and may be read."""
        return name in self.objects and self.objects[name].flags.get("queryable", True)


def describe(connection: Connection, names: tuple[str, ...]) -> Organisation:
    """Describe objects in one call; those that are not there, or may not be seen, are left out.

    Raises:
        CrmRefused, CrmUnavailable: see `Connection`.
    """
    bodies: dict[str, Any] = {}
    for start in range(0, len(names), _PER_COMPOSITE):
        bodies |= _described(connection, names[start : start + _PER_COMPOSITE])
    return Organisation({name: facts(body) for name, body in bodies.items()})


def facts(body: Mapping[str, Any]) -> ObjectFacts:
    """Read one describe."""
    fields = body["fields"]
    return ObjectFacts(
        name=body["name"],
        fields={item["name"]: item["type"] for item in fields},
        picklists={item["name"]: _active(item) for item in fields if item.get("picklistValues")},
        flags={name: value for name, value in body.items() if isinstance(value, bool)},
        changeable=frozenset(item["name"] for item in fields if item.get("createable")),
        lengths={item["name"]: int(item["length"]) for item in fields if item.get("length")},
    )


def _described(connection: Connection, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        return _together(connection, names)
    except Refusal as refusal:
        if refusal.status in _NO_ENTRY:
            raise
    except (ValueError, KeyError, TypeError):
        pass
    # A proxy or an organisation without composite: one call each.
    return {name: body for name in names if (body := _alone(connection, name)) is not None}


def _together(connection: Connection, names: tuple[str, ...]) -> dict[str, Any]:
    version = connection.options.api_version
    parts = [
        {"method": "GET", "url": f"/services/data/v{version}/sobjects/{name}/describe", "referenceId": name} for name in names
    ]
    answer = connection.request("POST", "composite", body={"compositeRequest": parts}).json()
    answers = {part["referenceId"]: part for part in answer["compositeResponse"]}
    return {name: answers[name]["body"] for name in names if answers[name]["httpStatusCode"] == _OK}


def _alone(connection: Connection, name: str) -> Any:  # noqa: ANN401 - a describe, or None
    try:
        with translated(f"the describe of {name}"):
            return getattr(connection.client, name).describe()
    except Refusal as refusal:
        if refusal.status == _NOT_FOUND:
            return None
        raise


def _active(item: Mapping[str, Any]) -> tuple[str, ...]:
    values = (value.get("value") for value in item["picklistValues"] if value.get("active", True))
    return tuple(dict.fromkeys(value for value in values if value))


def _lookup_of(relationship: str) -> str:
    return f"{relationship.removesuffix('__r')}__c" if relationship.endswith("__r") else f"{relationship}Id"
