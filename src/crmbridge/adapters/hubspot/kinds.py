"""HubSpot's kinds of objects: what is asked of each, and how its records become canonical columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from crmbridge.model import Entity

MERGED = "hs_merged_object_ids"
"""The ids of those that were merged into a record, with semicolons between."""

Found: TypeAlias = Mapping[str, Any]
"""One record: id, properties, createdAt, updatedAt, and `links`: kind -> [(id, whether it is the primary one)]."""
Column: TypeAlias = Callable[[Found], str | None]


def prop(name: str) -> Column:
    """A property; HubSpot's blank is none."""

    def read(found: Found) -> str | None:
        text: str | None = found["properties"].get(name)
        return text or None

    return read


def record_id(found: Found) -> str:
    """The id."""
    return str(found["id"])


def created(found: Found) -> str | None:
    """When it was made."""
    return found.get("createdAt") or prop("createdate")(found)


def modified(found: Found) -> str | None:
    """When it was changed last."""
    return found.get("updatedAt") or None


def linked(kind: str) -> Column:
    """The one linked record of a kind: the primary, else the one with the lowest number."""
    return lambda found: the_one(found["links"].get(kind, ()))


def the_one(links: Sequence[tuple[str, bool]]) -> str | None:
    """The primary of several links, else the one with the lowest number."""
    return min(links, key=lambda link: (not link[1], len(link[0]), link[0]))[0] if links else None


@dataclass(frozen=True)
class Kind:
    """A kind of objects.

    Attributes:
        name: as in paths.
        entity: what its records are.
        columns: canonical field -> how it is read.
        stamp: the property of its latest change.
        links: kinds whose links are asked for.
        extra: properties that are needed besides those of the columns.
    """

    name: str
    entity: Entity
    columns: Mapping[str, Column]
    properties: tuple[str, ...]
    stamp: str = "hs_lastmodifieddate"
    links: tuple[str, ...] = ()
    merges: bool = False
    constants: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> tuple[str, ...]:
        """Every property to ask for."""
        return (*self.properties, self.stamp, *((MERGED,) if self.merges else ()))


def _kind(name: str, entity: Entity, fields: Mapping[str, str | Column], **given: Any) -> Kind:  # noqa: ANN401
    """Fields by name of a property, or by what reads them."""
    columns = {ours: prop(theirs) if isinstance(theirs, str) else theirs for ours, theirs in fields.items()}
    properties = tuple(dict.fromkeys(theirs for theirs in fields.values() if isinstance(theirs, str)))
    whole = {"id": record_id, "created_at": created, "modified_at": modified, **columns}
    return Kind(name, entity, whole, (*properties, *given.pop("extra", ())), **given)


COMPANIES = _kind(
    "companies",
    Entity.ACCOUNT,
    {"name": "name", "website": "domain", "type": "type", "parent_id": "hs_parent_company_id", "owner_id": "hubspot_owner_id"},
    merges=True,
)
CONTACTS = _kind(
    "contacts",
    Entity.CONTACT,
    {
        "account_id": "associatedcompanyid",
        "first_name": "firstname",
        "last_name": "lastname",
        "email": "email",
        "title": "jobtitle",
        "owner_id": "hubspot_owner_id",
    },
    stamp="lastmodifieddate",
    links=("companies",),
    merges=True,
)
DEALS = _kind(
    "deals",
    Entity.OPPORTUNITY,
    {
        "account_id": linked("companies"),
        "name": "dealname",
        "amount": "amount",
        "currency": "deal_currency_code",
        "stage": "dealstage",
        "close_date": "closedate",
        "type": "dealtype",
        "record_type": "pipeline",
        "owner_id": "hubspot_owner_id",
    },
    links=("companies",),
    merges=True,
    extra=("hs_is_closed", "hs_is_closed_won"),
)
LEADS = _kind(
    "leads",
    Entity.LEAD,
    {
        "last_name": "hs_lead_name",
        "status": "hs_pipeline_stage",
        "converted_contact_id": lambda found: prop("hs_primary_contact_id")(found) or the_one(found["links"].get("contacts", ())),
        "converted_account_id": "hs_primary_company_id",
        "converted_opportunity_id": linked("deals"),
        "is_converted": lambda found: (
            "true" if found["links"].get("contacts") or prop("hs_primary_contact_id")(found) else "false"
        ),
        "owner_id": "hubspot_owner_id",
    },
    links=("contacts", "deals"),
    extra=("hs_primary_contact_id",),
)


def _activity(name: str, kind: str, moment: str = "hs_timestamp", extra: tuple[str, ...] = ()) -> Kind:
    return _kind(
        name,
        Entity.ACTIVITY,
        {
            "opportunity_id": linked("deals"),
            "account_id": linked("companies"),
            "occurred_at": lambda found: prop(moment)(found) or prop("hs_timestamp")(found),
            "owner_id": "hubspot_owner_id",
        },
        links=("deals", "contacts", "companies"),
        extra=(moment, *(("hs_timestamp",) if moment != "hs_timestamp" else ()), *extra),
        constants={"kind": kind},
    )


ACTIVITIES = (
    _activity("meetings", "meeting", "hs_meeting_start_time"),
    _activity("calls", "call"),
    _activity("emails", "email", extra=("hs_email_direction",)),
    _activity("notes", "note"),
    _activity("tasks", "task"),
)
KINDS = {kind.name: kind for kind in (COMPANIES, CONTACTS, DEALS, LEADS, *ACTIVITIES)}

INCOMING_EMAIL = "INCOMING_EMAIL"


def has_left(text: str | None) -> str | None:
    """Whether a contact has left, by a checkbox or by a property that is filled then; a blank one says nothing."""
    if not text:
        return None
    return "false" if text.lower() == "false" else "true"


def participant_kind(found: Found, kind: Kind) -> str:
    """What a linked contact was in an activity: HubSpot says it of e-mails, by their direction."""
    if kind.constants["kind"] == "meeting":
        return "attendee"
    if kind.constants["kind"] == "email":
        return "from" if prop("hs_email_direction")(found) == INCOMING_EMAIL else "to"
    return "who"
