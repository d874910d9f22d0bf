"""HubSpot's kinds of objects: what is asked of each, and how its records become canonical columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.model import Entity, arrow_schema

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.bunch import Bunch

MERGED = "hs_merged_object_ids"
"""The ids of those that were merged into a record, with semicolons between."""

Column: TypeAlias = "Callable[[Bunch], pa.Array]"


def prop(name: str) -> Column:
    """A property."""
    return lambda bunch: bunch.prop(name)


def record_id(bunch: Bunch) -> pa.Array:
    """The ids."""
    return bunch.top("id")


def created(bunch: Bunch) -> pa.Array:
    """When they were made."""
    return pc.coalesce(bunch.top("createdAt"), bunch.prop("createdate"))


def modified(bunch: Bunch) -> pa.Array:
    """When they were changed last."""
    return bunch.top("updatedAt")


def linked(kind: str) -> Column:
    """The one linked record of a kind: the primary, else the one with the lowest number."""
    return lambda bunch: bunch.the_one(kind)


def first_of(*columns: Column) -> Column:
    """The first of several that holds anything."""
    return lambda bunch: pc.coalesce(*(column(bunch) for column in columns))


def flags(truths: pa.Array) -> pa.Array:
    """Truths as HubSpot tells them."""
    return pc.if_else(truths, "true", "false")


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
        merges: whether one may be merged into another.
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
    def prefix(self) -> str:
        """What stands before a record's number: activities are numbered within their kind only."""
        return f"{self.constants['kind']}:" if self.entity is Entity.ACTIVITY else ""

    @property
    def keeps_merged(self) -> bool:
        """Whether what was merged away is still a record, which says where it lives on."""
        return self.merges and "merged_into_id" in arrow_schema(self.entity).names

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
_CONTACT_OF_LEAD = first_of(prop("hs_primary_contact_id"), linked("contacts"))
LEADS = _kind(
    "leads",
    Entity.LEAD,
    {
        "last_name": "hs_lead_name",
        "status": "hs_pipeline_stage",
        "converted_contact_id": _CONTACT_OF_LEAD,
        "converted_account_id": "hs_primary_company_id",
        "converted_opportunity_id": linked("deals"),
        "is_converted": lambda bunch: flags(pc.is_valid(_CONTACT_OF_LEAD(bunch))),
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
            "occurred_at": first_of(prop(moment), prop("hs_timestamp")),
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


def has_left(told: pa.Array) -> pa.Array:
    """Whether contacts have left, by a checkbox or by a property that is filled then; a blank one says nothing."""
    return pc.if_else(pc.equal(pc.utf8_lower(told), "false"), "false", pc.if_else(pc.is_valid(told), "true", None))


def participant_kinds(bunch: Bunch, kind: Kind) -> pa.Array:
    """What a linked contact was in each activity: HubSpot says it of e-mails, by their direction."""
    if kind.constants["kind"] == "email":
        is_incoming = pc.fill_null(pc.equal(bunch.prop("hs_email_direction"), INCOMING_EMAIL), fill_value=False)
        return pc.if_else(is_incoming, "from", "to")
    return pa.repeat("attendee" if kind.constants["kind"] == "meeting" else "who", len(bunch))
