"""Fields of OpportunityContactRole that tell, in Salesforce itself, which run added a role, how sure it was, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crmbridge.adapters.salesforce.describe import ObjectFacts
    from crmbridge.adapters.salesforce.options import ProvenanceKey
    from crmbridge.contract import RoleWrite

_TEXT = frozenset({"string", "textarea", "email", "url"})
_NUMBERS = frozenset({"double", "currency"})
_PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class ProvenanceField:
    """One field that is there and may be set.

    Attributes:
        key: what of the provenance it takes.
        name: its API name.
        form: makes of the provenance's text what the field holds.
    """

    key: str
    name: str
    form: Callable[[str], str]


Provenance = tuple[ProvenanceField, ...]


def usable(wanted: Mapping[ProvenanceKey, str], facts: ObjectFacts) -> Provenance:
    """The fields, of those wanted, that can be written; the others are left out, and `unusable` says why."""
    return tuple(_field(key, name, facts) for key, name in sorted(wanted.items()) if _problem(key, name, facts) is None)


def unusable(wanted: Mapping[ProvenanceKey, str], facts: ObjectFacts) -> dict[str, str]:
    """Field -> why it cannot be written."""
    problems = {name: _problem(key, name, facts) for key, name in sorted(wanted.items())}
    return {name: problem for name, problem in problems.items() if problem is not None}


def cells(write: RoleWrite, fields: Provenance) -> dict[str, str | None]:
    """What these fields get for one write, by API name; None where nothing is known."""
    told = write.provenance
    return {field.name: field.form(told[field.key]) if field.key in told else None for field in fields}


def _problem(key: str, name: str, facts: ObjectFacts) -> str | None:
    if name not in facts.fields:
        return f"{facts.name} has no field {name}, or this user may not see it"
    if name not in facts.changeable:
        return f"{facts.name}.{name} may not be set by this user"
    kind = facts.fields[name]
    if kind in _TEXT or (key == "confidence" and kind in _NUMBERS | {_PERCENT}):
        return None
    return f"{facts.name}.{name} is of type {kind}; allowed: text{', number, percent' if key == 'confidence' else ''}"


def _field(key: str, name: str, facts: ObjectFacts) -> ProvenanceField:
    kind, longest = facts.fields[name], facts.lengths.get(name)
    if kind == _PERCENT:
        return ProvenanceField(key, name, lambda text: f"{100 * float(text):.2f}")
    return ProvenanceField(key, name, lambda text: text if kind in _NUMBERS else text[:longest])
