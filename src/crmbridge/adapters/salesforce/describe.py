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
_OK, _NOT_FOUND, _BROKEN = 200, 404, 500
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
        references: the objects that a lookup may lead to, by API name.
        parents: the fields that can be selected behind a lookup, by the relationship's name, such as RecordType.
        record_types: id and name of each.
    """

    name: str
    fields: Mapping[str, str]
    picklists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    changeable: frozenset[str] = frozenset()
    lengths: Mapping[str, int] = field(default_factory=dict)
    unique: frozenset[str] = frozenset()
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    record_types: tuple[tuple[str, str], ...] = ()

    def has(self, path: str) -> bool:
        """Whether a field can be selected; `RecordType.Name` where the lookup RecordTypeId can, and the name behind it."""
        parent, dot, child = path.partition(".")
        return child in self.parents.get(parent, ()) if dot else path in self.fields


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


def describe(connection: Connection, names: tuple[str, ...], parents: tuple[str, ...], chosen: Mapping[str, str]) -> Organisation:
    """Describe objects in one call; those that are not there, or may not be seen, are left out.

    Args:
        connection: whose user is asked about.
        names: what is read.
        parents: what is only looked into from those.
        chosen: a path of an object that the settings name, such as `Team__r.Name` of User; a call more where it leads to an
            object that is not among the others.

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
    further = {one for name, path in chosen.items() if name in bodies for one in _leads_to(bodies[name], path)}
    if unknown := tuple(sorted(further - set(asked))):
        bodies |= _described(connection, unknown)
    shown = {name: frozenset(item["name"] for item in body["fields"]) for name, body in bodies.items()}
    return Organisation({name: facts(body, shown) for name, body in bodies.items() if name in names})


def facts(body: Mapping[str, Any], shown: Mapping[str, frozenset[str]]) -> ObjectFacts:
    """Read one describe.

    Args:
        body: as received.
        shown: the fields of every object that was described.
    """
    fields = body["fields"]
    lookups = [item for item in fields if item.get("referenceTo")]
    return ObjectFacts(
        name=body["name"],
        fields={item["name"]: item["type"] for item in fields},
        picklists={item["name"]: _active(item) for item in fields if item.get("picklistValues")},
        flags={name: value for name, value in body.items() if isinstance(value, bool)},
        changeable=frozenset(item["name"] for item in fields if item.get("createable")),
        lengths={item["name"]: int(item["length"]) for item in fields if item.get("length")},
        unique=frozenset(item["name"] for item in fields if item.get("unique")),
        references={item["name"]: tuple(item["referenceTo"]) for item in lookups},
        parents={
            item["relationshipName"]: frozenset().union(*(shown.get(name, ()) for name in item["referenceTo"]))
            for item in lookups
            if item.get("relationshipName")
        },
        record_types=tuple(sorted((item["recordTypeId"], item["name"]) for item in body.get("recordTypeInfos") or ())),
    )


def _leads_to(body: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The objects behind a path's lookup; none where it is a field of the object itself, or no lookup."""
    parent, dot, _ = path.partition(".")
    found = (item["referenceTo"] for item in body["fields"] if dot and item.get("relationshipName") == parent)
    return tuple(next(found, ()))


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
    found = {name: answers[name]["body"] for name in names if answers[name]["httpStatusCode"] == _OK}
    # Where Salesforce broke down the object may well be there, and would seem to be gone for a night.
    broken = [name for name in names if answers[name]["httpStatusCode"] >= _BROKEN]
    return found | {name: body for name in broken if (body := _alone(connection, name)) is not None}


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
