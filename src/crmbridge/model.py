"""The domain: what a CRM knows, in the field's own words.

One definition each: a frozen pydantic model, from which the columnar (Arrow) schema is derived. Ids are the CRM's own, as
text. Datetimes are aware and in UTC; dates are dates; money is an exact decimal beside its ISO 4217 currency. `None` means the
CRM does not say: every rule and report works with what is there. Fields that hold personal data are left out of `repr`.
"""

from __future__ import annotations

import types
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa


def _to_utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("naive datetime: give it a time zone")
    return moment.astimezone(UTC)


Id = Annotated[str, StringConstraints(min_length=1)]
UtcDatetime = Annotated[datetime, AfterValidator(_to_utc)]
Money = Annotated[Decimal, Field(max_digits=22, decimal_places=4)]
Rate = Annotated[Decimal, Field(max_digits=28, decimal_places=12, gt=0)]
Personal = Annotated[str | None, Field(repr=False)]

ActivityKind = Literal["task", "call", "email", "meeting", "note", "other"]
ParticipantKind = Literal["who", "attendee", "from", "to", "cc", "other"]
DateQuality = Literal["exact", "inferred"]


class Entity(StrEnum):
    """The names of the canonical entities; also the table names of mapping files and snapshots."""

    ACCOUNT = "account"
    CONTACT = "contact"
    LEAD = "lead"
    OPPORTUNITY = "opportunity"
    CONTACT_ROLE = "contact_role"
    CAMPAIGN = "campaign"
    CAMPAIGN_MEMBER = "campaign_member"
    ACTIVITY = "activity"
    ACTIVITY_PARTICIPANT = "activity_participant"
    ACCOUNT_CONTACT_RELATION = "account_contact_relation"
    OPPORTUNITY_CONTACT_LOOKUP = "opportunity_contact_lookup"
    OPPORTUNITY_ACCOUNT = "opportunity_account"
    USER = "user"
    EXCHANGE_RATE = "exchange_rate"


class Record(BaseModel):
    """A record of the CRM; immutable, strict, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    entity: ClassVar[Entity]


class Account(Record):
    """A company. `type` is the CRM's own word (Customer, Partner, Competitor ...); exclusions match on it."""

    entity = Entity.ACCOUNT
    id: Id
    name: Personal = None
    website: str | None = None
    type: str | None = None
    parent_id: Id | None = None
    owner_id: Id | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    merged_into_id: Id | None = None
    is_deleted: bool | None = None


class Contact(Record):
    """A person at an account. `has_left` is true where the CRM says the person no longer works there."""

    entity = Entity.CONTACT
    id: Id
    account_id: Id | None = None
    first_name: Personal = None
    last_name: Personal = None
    email: Personal = None
    title: Personal = None
    department: str | None = None
    has_left: bool | None = None
    owner_id: Id | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    merged_into_id: Id | None = None
    is_deleted: bool | None = None


class Lead(Record):
    """A person not yet tied to an account; after conversion it points at what it became."""

    entity = Entity.LEAD
    id: Id
    first_name: Personal = None
    last_name: Personal = None
    email: Personal = None
    title: Personal = None
    company: Personal = None
    status: str | None = None
    is_converted: bool | None = None
    converted_at: UtcDatetime | None = None
    converted_account_id: Id | None = None
    converted_contact_id: Id | None = None
    converted_opportunity_id: Id | None = None
    owner_id: Id | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    merged_into_id: Id | None = None
    is_deleted: bool | None = None


class Opportunity(Record):
    """A deal. `close_date` is the expected day while open and the actual day once closed, in the organisation's time zone."""

    entity = Entity.OPPORTUNITY
    id: Id
    account_id: Id | None = None
    name: Personal = None
    amount: Money | None = None
    currency: str | None = None
    stage: str | None = None
    is_closed: bool | None = None
    is_won: bool | None = None
    close_date: date | None = None
    type: str | None = None
    record_type: str | None = None
    campaign_id: Id | None = None
    owner_id: Id | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class ContactRole(Record):
    """The link this library exists for: a contact's role on an opportunity."""

    entity = Entity.CONTACT_ROLE
    id: Id
    opportunity_id: Id
    contact_id: Id
    role: str | None = None
    is_primary: bool | None = None
    created_by_id: Id | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class Campaign(Record):
    """A marketing campaign; `actual_cost` is spent, `budgeted_cost` is not."""

    entity = Entity.CAMPAIGN
    id: Id
    name: str | None = None
    type: str | None = None
    status: str | None = None
    parent_id: Id | None = None
    is_active: bool | None = None
    start_date: date | None = None
    end_date: date | None = None
    actual_cost: Money | None = None
    budgeted_cost: Money | None = None
    currency: str | None = None
    owner_id: Id | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class CampaignMember(Record):
    """A person touched by a campaign. `date_quality` tells a recorded response date from an inferred one."""

    entity = Entity.CAMPAIGN_MEMBER
    id: Id
    campaign_id: Id
    contact_id: Id | None = None
    lead_id: Id | None = None
    account_id: Id | None = None
    status: str | None = None
    has_responded: bool | None = None
    responded_at: UtcDatetime | None = None
    date_quality: DateQuality | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class Activity(Record):
    """A task, call, e-mail, meeting or note; its people are activity participants."""

    entity = Entity.ACTIVITY
    id: Id
    kind: ActivityKind = "other"
    opportunity_id: Id | None = None
    account_id: Id | None = None
    occurred_at: UtcDatetime | None = None
    owner_id: Id | None = None
    created_at: UtcDatetime | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class ActivityParticipant(Record):
    """One person on one activity, by contact, lead or user id, or by address only."""

    entity = Entity.ACTIVITY_PARTICIPANT
    id: Id
    activity_id: Id
    contact_id: Id | None = None
    lead_id: Id | None = None
    user_id: Id | None = None
    email: Personal = None
    kind: ParticipantKind = "who"
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class AccountContactRelation(Record):
    """A contact's relation to an account other than (or besides) its own."""

    entity = Entity.ACCOUNT_CONTACT_RELATION
    id: Id
    account_id: Id
    contact_id: Id
    roles: str | None = None
    is_direct: bool | None = None
    is_active: bool | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class OpportunityContactLookup(Record):
    """A contact named by a field of the opportunity itself (or by a table beside it); `field` is that field's name."""

    entity = Entity.OPPORTUNITY_CONTACT_LOOKUP
    id: Id
    opportunity_id: Id
    contact_id: Id
    field: str
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class OpportunityAccount(Record):
    """A further account of an opportunity, in CRMs that allow several."""

    entity = Entity.OPPORTUNITY_ACCOUNT
    id: Id
    opportunity_id: Id
    account_id: Id
    is_primary: bool | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class User(Record):
    """A colleague who works in the CRM: an owner, never a buyer."""

    entity = Entity.USER
    id: Id
    name: Personal = None
    email: Personal = None
    team: str | None = None
    is_active: bool | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


class ExchangeRate(Record):
    """Units of `currency` per unit of `base_currency`, from `valid_from` up to but not including `valid_until`."""

    entity = Entity.EXCHANGE_RATE
    id: Id
    currency: str
    base_currency: str
    rate: Rate
    valid_from: date | None = None
    valid_until: date | None = None
    modified_at: UtcDatetime | None = None
    is_deleted: bool | None = None


RECORDS: dict[Entity, type[Record]] = {
    cls.entity: cls
    for cls in (
        Account,
        Contact,
        Lead,
        Opportunity,
        ContactRole,
        Campaign,
        CampaignMember,
        Activity,
        ActivityParticipant,
        AccountContactRelation,
        OpportunityContactLookup,
        OpportunityAccount,
        User,
        ExchangeRate,
    )
}

ESSENTIAL: frozenset[Entity] = frozenset({Entity.OPPORTUNITY, Entity.CONTACT, Entity.CONTACT_ROLE})
"""Without these three there is nothing to find and nowhere to write it; every other entity may be absent."""


@cache
def arrow_schema(entity: Entity) -> pa.Schema:
    """The canonical columnar schema of an entity, derived from its model.

    Text is `string`, datetimes are `timestamp[us, UTC]`, dates are `date32`, money is `decimal128(22, 4)`, rates are
    `decimal128(28, 12)`. A column is nullable exactly where the model's field is.
    """
    import pyarrow as pa

    fields = RECORDS[entity].model_fields
    return pa.schema([_arrow_field(name, info.annotation, info.metadata) for name, info in fields.items()])


def record_batches(entity: Entity, records: Iterable[Record], *, rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Turn model objects into record batches of the canonical schema, for authors who prefer rows.

    Args:
        entity: what the records are.
        records: n records of that entity, any order.
        rows: the most rows of one batch.

    Yields:
        Batches of at most `rows` rows, in the order given; nothing for an empty iterable.
    """
    import pyarrow as pa

    schema = arrow_schema(entity)
    chunk: list[dict[str, Any]] = []
    for record in records:
        chunk.append(record.model_dump())
        if len(chunk) == rows:
            yield pa.RecordBatch.from_pylist(chunk, schema=schema)
            chunk = []
    if chunk:
        yield pa.RecordBatch.from_pylist(chunk, schema=schema)


def records(entity: Entity, batch: pa.RecordBatch | pa.Table) -> Iterator[Record]:
    """Read canonical columns back as model objects, in order."""
    cls = RECORDS[entity]
    for row in batch.to_pylist():
        yield cls.model_validate(row)


def _arrow_field(name: str, annotation: Any, metadata: list[Any]) -> pa.Field:  # noqa: ANN401
    import pyarrow as pa

    bare, nullable, nested = _unwrap(annotation)
    return pa.field(name, _arrow_type(bare, [*metadata, *nested]), nullable=nullable)


def _unwrap(annotation: Any) -> tuple[Any, bool, list[Any]]:  # noqa: ANN401
    """Strip `Annotated` and `| None`; return the bare type, whether it is nullable, and the metadata met on the way."""
    origin = get_origin(annotation)
    if origin is Annotated:
        bare, nullable, nested = _unwrap(get_args(annotation)[0])
        return bare, nullable, [*annotation.__metadata__, *nested]
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in get_args(annotation) if arg is not type(None))
        bare, _, nested = _unwrap(inner)
        return bare, True, nested
    return annotation, False, []


def _arrow_type(bare: Any, metadata: list[Any]) -> pa.DataType:  # noqa: ANN401
    import pyarrow as pa

    if bare is Decimal:
        digits, places = _decimal_shape(metadata)
        return pa.decimal128(digits, places)
    if get_origin(bare) is Literal:
        return pa.string()
    return {str: pa.string(), bool: pa.bool_(), date: pa.date32(), datetime: pa.timestamp("us", tz="UTC")}[bare]


def _decimal_shape(metadata: list[Any]) -> tuple[int, int]:
    shape: dict[str, int] = {}
    for item in metadata:
        for part in getattr(item, "metadata", None) or [item]:
            for key in ("max_digits", "decimal_places"):
                if getattr(part, key, None) is not None:
                    shape[key] = getattr(part, key)
    return shape["max_digits"], shape["decimal_places"]
