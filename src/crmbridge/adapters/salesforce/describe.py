"""What this organisation has and this user may see: objects, fields, role names, permissions. Read once, first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crmbridge.adapters.salesforce.connection import translated
from crmbridge.adapters.salesforce.failures import Refusal
from crmbridge.errors import CrmRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crmbridge.adapters.salesforce.connection import Connection

_PER_COMPOSITE = 25
_OK, _NOT_FOUND = 200, 404
_NO_ENTRY = (401, 403)
_NOTHING_HINT = "choose an api_version that your organisation has, and see the permissions in docs/adapters/salesforce.md"


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What describe says of one object.

    Attributes:
        fields: type by API name.
        picklists: the active values by API name, in their order.
        flags: createable, updateable, deletable, queryable, replicateable ... of the object.
        changeable: the fields that may be set on create.
        lengths: of text fields, in characters, by API name.
        unique: the fields of which no two records may hold the same.
        parents: the fields of objects that are looked into from here, such as RecordType; none where it may not be seen.
    """

    name: str
    fields: Mapping[str, str]
    picklists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    changeable: frozenset[str] = frozenset()
    lengths: Mapping[str, int] = field(default_factory=dict)
    unique: frozenset[str] = frozenset()
    parents: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Whether a field can be selected; `RecordType.Name` where the lookup RecordTypeId can, and the name behind it."""
        parent, dot, child = path.partition(".")
        if not dot:
            return path in self.fields
        return _lookup_of(parent) in self.fields and child in self.parents.get(parent, (child,))


@dataclass(frozen=True, slots=True)
class Organisation:
    """The objects of interest that are there, by API name."""

    objects: Mapping[str, ObjectFacts]

    def has(self, name: str) -> bool:
        """Whether an object is there and may be read."""
        return name in self.objects and self.objects[name].flags.get("queryable", True)

    def lacks(self, name: str, paths: Iterable[str]) -> tuple[str, ...]:
        """What of an object is not there, or not shown: the object itself, or fields of it as `Contact.Title`."""
        if not self.has(name):
            return (name,)
        return tuple(f"{name}.{path}" for path in paths if not self.objects[name].has(path))


def describe(connection: Connection, names: tuple[str, ...], parents: tuple[str, ...]) -> Organisation:
    """Describe objects in one call; those that are not there, or may not be seen, are left out.

    Args:
        connection: whose user is asked about.
        names: what is read.
        parents: what is only looked into from those.

    Raises:
        CrmRefused, CrmUnavailable: see `Connection`.
    """
    bodies: dict[str, Any] = {}
    asked = (*names, *parents)
    for start in range(0, len(asked), _PER_COMPOSITE):
        bodies |= _described(connection, asked[start : start + _PER_COMPOSITE])
    if not bodies:
        version = connection.options.api_version
        raise CrmRefused(f"Salesforce shows none of the objects by API version {version}", hint=_NOTHING_HINT)
    shown = {name: frozenset(item["name"] for item in bodies.get(name, {}).get("fields", ())) for name in parents}
    return Organisation({name: facts(body, shown) for name, body in bodies.items() if name in names})


def facts(body: Mapping[str, Any], parents: Mapping[str, frozenset[str]]) -> ObjectFacts:
    """Read one describe."""
    fields = body["fields"]
    return ObjectFacts(
        name=body["name"],
        fields={item["name"]: item["type"] for item in fields},
        picklists={item["name"]: _active(item) for item in fields if item.get("picklistValues")},
        flags={name: value for name, value in body.items() if isinstance(value, bool)},
        changeable=frozenset(item["name"] for item in fields if item.get("createable")),
        lengths={item["name"]: int(item["length"]) for item in fields if item.get("length")},
        unique=frozenset(item["name"] for item in fields if item.get("unique")),
        parents=parents,
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
