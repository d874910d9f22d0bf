"""Which objects and fields an entity is read from, and how their columns become canonical ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.salesforce.columns import constant, first_of, moments, nulls, with_prefix
from crmbridge.model import Entity

if TYPE_CHECKING:
    from datetime import datetime

    from crmbridge.adapters.salesforce.describe import ObjectFacts, Organisation
    from crmbridge.adapters.salesforce.options import SalesforceOptions

STAMP = "SystemModstamp"
"""What incremental reads go by: unlike LastModifiedDate it moves with every change, Salesforce's own too."""

OBJECTS = (
    "Opportunity",
    "OpportunityContactRole",
    "Contact",
    "Account",
    "Lead",
    "Campaign",
    "CampaignMember",
    "Task",
    "Event",
    "TaskRelation",
    "EventRelation",
    "EmailMessageRelation",
    "AccountContactRelation",
    "User",
    "CurrencyType",
    "DatedConversionRate",
)
"""Everything that is looked at, and nothing else is ever touched."""

PARENTS = ("RecordType", "UserRole", "EmailMessage")
"""What is only looked into from those, as `RecordType.Name`."""

Texts = Mapping[str, pa.Array]
"""Columns of text by field, as selected."""

Shape = Callable[[Texts, int], dict[str, pa.Array]]


@dataclass(frozen=True, slots=True)
class Source:
    """One query that an entity is read by.

    Attributes:
        object_name: of Salesforce.
        paths: what is selected; only what the organisation has.
        where: conditions that all hold, without those on time.
        everything: deleted and archived records are looked at too (`queryAll`).
        shape: makes canonical columns of the selected ones.
        suffix: appended to the record's id to make the entity's id, where it is not a record of its own.
        blank_when: a condition under which the record has nothing of this to tell any more; for deletions.
        is_logged: whether Salesforce must be asked what was deleted; not where nothing is ever deleted by itself.
        is_told: whether all that changes or goes can be learnt; not where it hangs on another record, whose changes leave no
            stamp on this one.
    """

    object_name: str
    paths: tuple[str, ...]
    shape: Shape
    where: tuple[str, ...] = ()
    everything: bool = False
    suffix: str = ""
    blank_when: str = ""
    is_logged: bool = True
    is_told: bool = True

    def soql(self, since: datetime | None = None) -> str:
        """The query, for all records or those changed at or after `since`."""
        conditions = list(self.where)
        if since is not None:
            conditions.append(f"{STAMP} >= {soql_time(since)}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {', '.join(self.paths)} FROM {self.object_name}{where}"


def soql_time(moment: datetime) -> str:
    """A moment as SOQL writes it; Salesforce keeps whole seconds, so a fraction is dropped."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class _Plain:
    """An entity that is one object, field by field."""

    object_name: str
    fields: Mapping[str, str]
    needed: tuple[str, ...] = ("Id",)
    is_logged: bool = True


RECORD_TYPE = "RecordType.Name"
"""Few, and named by every describe: what they are called is part of what an organisation is told apart by."""

_COMMON = {"id": "Id", "modified_at": STAMP, "is_deleted": "IsDeleted"}
_OWNED = {**_COMMON, "owner_id": "OwnerId", "created_at": "CreatedDate"}
_NAMED = {"first_name": "FirstName", "last_name": "LastName", "email": "Email", "title": "Title"}
_MERGING = ("Account", "Contact", "Lead")

_PLAIN: dict[Entity, _Plain] = {
    Entity.ACCOUNT: _Plain(
        "Account",
        {**_OWNED, "name": "Name", "website": "Website", "type": "Type", "parent_id": "ParentId"}
        | {"merged_into_id": "MasterRecordId"},
    ),
    Entity.CONTACT: _Plain(
        "Contact",
        {**_OWNED, **_NAMED, "account_id": "AccountId", "department": "Department", "merged_into_id": "MasterRecordId"},
    ),
    Entity.LEAD: _Plain(
        "Lead",
        {**_OWNED, **_NAMED, "company": "Company", "status": "Status", "merged_into_id": "MasterRecordId"}
        | {"is_converted": "IsConverted", "converted_at": "ConvertedDate", "converted_account_id": "ConvertedAccountId"}
        | {"converted_contact_id": "ConvertedContactId", "converted_opportunity_id": "ConvertedOpportunityId"},
    ),
    Entity.OPPORTUNITY: _Plain(
        "Opportunity",
        {**_OWNED, "account_id": "AccountId", "name": "Name", "amount": "Amount", "currency": "CurrencyIsoCode"}
        | {"stage": "StageName", "is_closed": "IsClosed", "is_won": "IsWon", "close_date": "CloseDate", "type": "Type"}
        | {"record_type": RECORD_TYPE, "campaign_id": "CampaignId"},
        needed=("Id", "IsClosed", "IsWon"),
    ),
    Entity.CONTACT_ROLE: _Plain(
        "OpportunityContactRole",
        {**_COMMON, "opportunity_id": "OpportunityId", "contact_id": "ContactId", "role": "Role", "is_primary": "IsPrimary"}
        | {"created_by_id": "CreatedById", "created_at": "CreatedDate"},
        needed=("Id", "OpportunityId", "ContactId", "Role", "IsPrimary"),
    ),
    Entity.CAMPAIGN: _Plain(
        "Campaign",
        {**_OWNED, "name": "Name", "type": "Type", "status": "Status", "parent_id": "ParentId", "is_active": "IsActive"}
        | {"start_date": "StartDate", "end_date": "EndDate", "actual_cost": "ActualCost", "budgeted_cost": "BudgetedCost"}
        | {"currency": "CurrencyIsoCode"},
    ),
    Entity.CAMPAIGN_MEMBER: _Plain(
        "CampaignMember",
        {**_COMMON, "campaign_id": "CampaignId", "contact_id": "ContactId", "lead_id": "LeadId", "account_id": "AccountId"}
        | {"status": "Status", "has_responded": "HasResponded", "responded_at": "FirstRespondedDate"}
        | {"created_at": "CreatedDate"},
        needed=("Id", "CampaignId"),
    ),
    Entity.ACCOUNT_CONTACT_RELATION: _Plain(
        "AccountContactRelation",
        {**_COMMON, "account_id": "AccountId", "contact_id": "ContactId", "roles": "Roles", "is_direct": "IsDirect"}
        | {"is_active": "IsActive"},
        needed=("Id", "AccountId", "ContactId"),
    ),
    Entity.USER: _Plain(
        "User",
        {"id": "Id", "name": "Name", "email": "Email", "is_active": "IsActive", "modified_at": STAMP},
        is_logged=False,  # users are never deleted, only made inactive
    ),
}


@dataclass(frozen=True)
class Sources:
    """Every entity this organisation can give, as configured.

    Attributes:
        missing: what an entity would be read from and the organisation has not, or does not show: objects, and fields as
            `Contact.Title`. Of an entity that is left out, only what it cannot do without.
    """

    by_entity: Mapping[Entity, tuple[Source, ...]]
    missing: Mapping[Entity, tuple[str, ...]] = field(default_factory=dict)

    def is_told(self, entity: Entity) -> bool:
        """Whether its changes can be read alone; rates, which are few and belong together, are always read whole."""
        found = self.by_entity[entity]
        return entity is not Entity.EXCHANGE_RATE and all(source.is_told and STAMP in source.paths for source in found)


def sources(organisation: Organisation, options: SalesforceOptions) -> Sources:
    """Fit the mapping to what is there; an entity that lacks its object, or a field it cannot do without, is left out."""
    found: dict[Entity, tuple[Source, ...]] = {}
    missing: dict[Entity, tuple[str, ...]] = {}
    for entity, plain in _PLAIN.items():
        wanted = _wanted(entity, plain, options)
        missing[entity] = organisation.lacks(plain.object_name, plain.needed)
        if not missing[entity]:
            missing[entity] = organisation.lacks(plain.object_name, wanted.values())
            found[entity] = (_plain_source(plain, organisation.objects[plain.object_name], wanted, options),)
    found |= _activity_sources(organisation)
    found |= _lookup_sources(organisation, options)
    found[Entity.EXCHANGE_RATE] = _rate_sources(organisation)
    for entity, objects in _OF_SEVERAL.items():
        missing[entity] = tuple(one for name, paths in objects.items() for one in organisation.lacks(name, paths))
    return Sources({entity: found[entity] for entity in Entity if found.get(entity)}, missing)


def _wanted(entity: Entity, plain: _Plain, options: SalesforceOptions) -> dict[str, str]:
    extra = {Entity.CONTACT: ("has_left", options.left_field), Entity.USER: ("team", options.team_field)}
    name, path = extra.get(entity, ("", None))
    fields = dict(plain.fields) | ({name: path} if path else {})
    if options.currency is not None:
        fields.pop("currency", None)
    return fields


def _plain_source(plain: _Plain, facts: ObjectFacts, wanted: Mapping[str, str], options: SalesforceOptions) -> Source:
    kept = {name: path for name, path in wanted.items() if facts.has(path)}
    where: tuple[str, ...] = ()
    everything = False
    if plain.object_name in _MERGING and "merged_into_id" in kept:
        # Who was merged away is told too: what names the loser then finds the master.
        where, everything = ("(IsDeleted = false OR MasterRecordId != null)",), True
    return Source(
        plain.object_name,
        tuple(dict.fromkeys(kept.values())),
        partial(_plain_shape, kept, facts.fields.get(options.left_field or "", ""), options.currency),
        where=where,
        everything=everything,
        is_logged=plain.is_logged,
        is_told=all("." not in path or path == RECORD_TYPE for path in kept.values()),
    )


def _plain_shape(kept: Mapping[str, str], left_kind: str, currency: str | None, texts: Texts, _: int) -> dict[str, pa.Array]:
    shaped = {name: texts[path] for name, path in kept.items()}
    if "has_left" in shaped and left_kind != "boolean":
        shaped["has_left"] = _text_of(pc.is_valid(shaped["has_left"]))
    if "responded_at" in shaped:
        exact = pa.scalar("exact", pa.string())
        shaped["date_quality"] = pc.if_else(pc.is_valid(shaped["responded_at"]), exact, pa.scalar(None, pa.string()))
    for amount in {"amount", "actual_cost"} & shaped.keys() if currency else ():
        shaped["currency"] = pc.if_else(pc.is_valid(shaped[amount]), pa.scalar(currency), pa.scalar(None, pa.string()))
    return shaped


def _text_of(booleans: pa.Array) -> pa.Array:
    return pc.if_else(booleans, "true", "false")


# --- activities -----------------------------------------------------------------------------------------------------

_BOTH = ("Id", "WhatId", "AccountId", "OwnerId", "CreatedDate", STAMP, "ActivityDate")
_ACTIVITY_PATHS: dict[str, tuple[str, ...]] = {
    "Task": (*_BOTH, "TaskSubtype", "Type", "CompletedDateTime"),
    "Event": (*_BOTH, "StartDateTime", "ActivityDateTime", "EndDateTime", "IsAllDayEvent"),
}
_TASK_KINDS = {
    "call": "call",
    "email": "email",
    "listemail": "email",
    "meeting": "meeting",
    "note": "note",
    "other": "other",
}
_OPPORTUNITY, _ACCOUNT, _CONTACT, _LEAD, _USER = "006", "001", "003", "00Q", "005"
_LIVE = "IsDeleted = false"
WHO_SUFFIX = ":who"


def _activity_sources(organisation: Organisation) -> dict[Entity, tuple[Source, ...]]:
    present = [organisation.objects[name] for name in _ACTIVITY_PATHS if organisation.has(name)]
    if not present:
        return {}
    relations = [organisation.objects[name] for name, needed in _RELATIONS.items() if not organisation.lacks(name, needed)]
    # With Shared Activities the relations hold everybody; without, they hold a meeting's invitees only.
    is_shared = any(facts.name == "TaskRelation" for facts in relations)
    people = [] if is_shared else [_who_source(facts) for facts in present if facts.has("WhoId")]
    people += [_relation_source(facts) for facts in relations]
    if not organisation.lacks(_EMAILS, _EMAIL_NEEDED):
        people.append(_email_source(organisation.objects[_EMAILS]))
    return {Entity.ACTIVITY: tuple(map(_activity_source, present)), Entity.ACTIVITY_PARTICIPANT: tuple(people)}


_RELATIONS = {"TaskRelation": ("TaskId", "RelationId"), "EventRelation": ("EventId", "RelationId")}
_EMAILS = "EmailMessageRelation"
_EMAIL_NEEDED = ("EmailMessage.ActivityId", "RelationId")
_EMAIL_PATHS = ("Id", *_EMAIL_NEEDED, "RelationType", "RelationAddress", STAMP)


def _activity_source(facts: ObjectFacts) -> Source:
    paths = tuple(path for path in _ACTIVITY_PATHS[facts.name] if facts.has(path))
    # A meeting has a child row in each invited colleague's calendar: the same meeting again.
    where = (_LIVE, "IsChild != true") if facts.has("IsChild") else (_LIVE,)
    return Source(facts.name, paths, partial(_activity_shape, facts.name), where=where, everything=True)


def _activity_shape(object_name: str, texts: Texts, rows: int) -> dict[str, pa.Array]:
    given = _Given(texts, rows)
    what = given["WhatId"]
    return {
        "id": given["Id"],
        "kind": constant("meeting", rows) if object_name == "Event" else _task_kind(given),
        "opportunity_id": with_prefix(what, _OPPORTUNITY),
        "account_id": first_of(given["AccountId"], with_prefix(what, _ACCOUNT)),
        "occurred_at": _task_moment(given) if object_name == "Task" else _event_moment(given),
        "owner_id": given["OwnerId"],
        "created_at": given["CreatedDate"],
        "modified_at": given[STAMP],
    }


class _Given(dict[str, pa.Array]):
    """Columns by field; a field that was not selected is null throughout."""

    def __init__(self, texts: Texts, rows: int) -> None:
        super().__init__(texts)
        self._nothing = nulls(rows)

    def __missing__(self, path: str) -> pa.Array:
        return self._nothing


def _task_kind(given: _Given) -> pa.Array:
    """Salesforce's own subtype first; a plain task may still be called a call by its type."""
    names = pa.array(list(_TASK_KINDS))
    kinds = pa.array(list(_TASK_KINDS.values()))
    found = [kinds.take(pc.index_in(pc.utf8_lower(given[path]), names)) for path in ("TaskSubtype", "Type")]
    return first_of(*found, pa.scalar("task"))


def _task_moment(given: _Given) -> pa.Array:
    """When a task was done: to the second where it was closed on its own day, else its day."""
    done, day = given["CompletedDateTime"], given["ActivityDate"]
    is_same_day = pc.fill_null(pc.equal(pc.utf8_slice_codeunits(done, 0, 10), day), fill_value=False)
    return first_of(pc.if_else(is_same_day, done, moments(day)), done)


def _event_moment(given: _Given) -> pa.Array:
    """When a meeting began; one of a whole day has a day only, though Salesforce gives it as midnight UTC."""
    began = first_of(given["StartDateTime"], given["ActivityDateTime"], moments(given["ActivityDate"]), given["EndDateTime"])
    is_whole_day = pc.fill_null(pc.equal(given["IsAllDayEvent"], "true"), fill_value=False)
    return pc.if_else(is_whole_day, moments(first_of(given["ActivityDate"], pc.utf8_slice_codeunits(began, 0, 10))), began)


def _who_source(facts: ObjectFacts) -> Source:
    where = (_LIVE, *(("IsChild != true",) if facts.has("IsChild") else ()))
    return Source(
        facts.name,
        tuple(path for path in ("Id", "WhoId", STAMP) if facts.has(path)),
        _who_shape,
        where=(*where, "WhoId != null"),
        everything=True,
        suffix=WHO_SUFFIX,
        blank_when="WhoId = null",
    )


def _who_shape(texts: Texts, rows: int) -> dict[str, pa.Array]:
    people = _people(texts["WhoId"])
    identifier = pc.binary_join_element_wise(texts["Id"], WHO_SUFFIX, "")
    stamp = _Given(texts, rows)[STAMP]
    return {"id": identifier, "activity_id": texts["Id"], "kind": constant("who", rows), "modified_at": stamp, **people}


def _relation_source(facts: ObjectFacts) -> Source:
    activity, _ = _RELATIONS[facts.name]
    kind = "who" if facts.name == "TaskRelation" else "attendee"
    where = tuple(condition for path, condition in (("IsDeleted", _LIVE), ("IsWhat", "IsWhat != true")) if facts.has(path))
    paths = tuple(path for path in ("Id", activity, "RelationId", STAMP) if facts.has(path))
    return Source(facts.name, paths, partial(_relation_shape, activity, kind), where=where, everything=True)


def _relation_shape(activity: str, kind: str, texts: Texts, rows: int) -> dict[str, pa.Array]:
    return {
        "id": texts["Id"],
        "activity_id": texts[activity],
        "kind": constant(kind, rows),
        "modified_at": _Given(texts, rows)[STAMP],
        **_people(texts["RelationId"]),
    }


def _people(ids: pa.Array) -> dict[str, pa.Array]:
    return {
        "contact_id": with_prefix(ids, _CONTACT),
        "lead_id": with_prefix(ids, _LEAD),
        "user_id": with_prefix(ids, _USER),
    }


_EMAIL_KINDS = {"FromAddress": "from", "ToAddress": "to", "CcAddress": "cc"}


def _email_source(facts: ObjectFacts) -> Source:
    # The message's task is the activity; a message without one has none.
    return Source(
        facts.name,
        tuple(path for path in _EMAIL_PATHS if facts.has(path)),
        _email_shape,
        where=("EmailMessage.ActivityId != null",),
        is_logged=False,
        is_told=False,  # they go with their message, or its task, and no log says so
    )


def _email_shape(texts: Texts, rows: int) -> dict[str, pa.Array]:
    given = _Given(texts, rows)
    kinds = pa.array(list(_EMAIL_KINDS.values()))
    kind = kinds.take(pc.index_in(given["RelationType"], pa.array(list(_EMAIL_KINDS))))
    return {
        "id": given["Id"],
        "activity_id": given["EmailMessage.ActivityId"],
        "kind": first_of(kind, pa.scalar("other")),
        "email": given["RelationAddress"],
        "modified_at": given[STAMP],
        **_people(given["RelationId"]),
    }


# --- lookups and rates ----------------------------------------------------------------------------------------------


def _lookup_sources(organisation: Organisation, options: SalesforceOptions) -> dict[Entity, tuple[Source, ...]]:
    facts = organisation.objects.get("Opportunity")
    if facts is None:
        return {}
    found = tuple(_lookup_source(name) for name in options.contact_lookup_fields if facts.has(name))
    return {Entity.OPPORTUNITY_CONTACT_LOOKUP: found} if found else {}


def _lookup_source(name: str) -> Source:
    return Source(
        "Opportunity",
        ("Id", name, STAMP),
        partial(_lookup_shape, name),
        where=(f"{name} != null",),
        suffix=f":{name}",
        blank_when=f"{name} = null",
    )


def _lookup_shape(name: str, texts: Texts, rows: int) -> dict[str, pa.Array]:
    return {
        "id": pc.binary_join_element_wise(texts["Id"], f":{name}", ""),
        "opportunity_id": texts["Id"],
        "contact_id": texts[name],
        "field": constant(name, rows),
        "modified_at": texts[STAMP],
    }


def _rate_sources(organisation: Organisation) -> tuple[Source, ...]:
    """Rates of CurrencyType, and dated ones; what belongs together is sorted out by `rates`."""
    usable = [name for name, paths in _RATE_PATHS.items() if not organisation.lacks(name, paths)]
    return tuple(map(_rate_source, usable)) if "CurrencyType" in usable else ()


_RATE_PATHS: dict[str, tuple[str, ...]] = {
    "CurrencyType": ("Id", "IsoCode", "ConversionRate", "IsCorporate", STAMP),
    "DatedConversionRate": ("Id", "IsoCode", "ConversionRate", "StartDate", "NextStartDate", STAMP),
}


def _rate_source(name: str) -> Source:
    return Source(name, _RATE_PATHS[name], _rate_shape)


def _rate_shape(texts: Texts, rows: int) -> dict[str, pa.Array]:
    given = _Given(texts, rows)
    return {
        "id": given["Id"],
        "currency": given["IsoCode"],
        "rate": given["ConversionRate"],
        "valid_from": _known_day(given["StartDate"]),
        "valid_until": _known_day(given["NextStartDate"]),
        "modified_at": given[STAMP],
    }


_ENDLESS = pa.array(["0001-01-01", "9999-12-31"])


def _known_day(days: pa.Array) -> pa.Array:
    """Salesforce's first and last day of all days mean that there is none."""
    return pc.if_else(pc.is_in(days, _ENDLESS), pa.scalar(None, pa.string()), days)


_OF_SEVERAL: dict[Entity, Mapping[str, tuple[str, ...]]] = {
    Entity.ACTIVITY: _ACTIVITY_PATHS,
    Entity.ACTIVITY_PARTICIPANT: {"Task": ("WhoId",), "Event": ("WhoId",), **_RELATIONS, _EMAILS: _EMAIL_PATHS},
    Entity.EXCHANGE_RATE: _RATE_PATHS,
}
"""Entities that are read from more than one object, and what of each."""
