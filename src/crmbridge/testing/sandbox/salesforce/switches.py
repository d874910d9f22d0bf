"""What an org may be like: the features it has switched on, and the behaviour nobody could look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, auto


class Currencies(Enum):
    """Whether the org keeps amounts in several currencies."""

    SINGLE = auto()
    MULTIPLE = auto()


class SharedActivities(Enum):
    """Whether a task or event may name several people; without it EventRelation holds invitees only."""

    OFF = auto()
    ON = auto()


class Emails(Enum):
    """Whether e-mails are EmailMessage records besides their tasks, which alone can hold bare addresses."""

    TASKS = auto()
    ENHANCED = auto()


class PersonAccounts(Enum):
    """With ON every contact without an account becomes a person account."""

    OFF = auto()
    ON = auto()


class SecondRow(Enum):
    """What a second, non-primary row for the primary contact reads back as."""

    AS_WRITTEN = auto()
    PRIMARY = auto()


class RowGone(Enum):
    """What deleting one of several rows of the primary contact does to the opportunity's primary."""

    KEEPS_PRIMARY = auto()
    CLEARS_PRIMARY = auto()


class MergePrimary(Enum):
    """What merging the primary contact into another does."""

    KEEPS_PRIMARY = auto()
    CLEARS_PRIMARY = auto()


class RoleWrite(Enum):
    """Whether writing a role counts as a change of its opportunity."""

    LEAVES_OPPORTUNITY = auto()
    STAMPS_OPPORTUNITY = auto()


class UnknownColumn(Enum):
    """What a column that is no field does to a Bulk ingest job."""

    IS_DROPPED = auto()
    FAILS_JOB = auto()


class UnknownField(Enum):
    """What a field that does not exist does to a collection."""

    FAILS_ROW = auto()
    FAILS_REQUEST = auto()


class DeletedContact(Enum):
    """Whether a role may point at a deleted contact."""

    ACCEPTED = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How this org is set up.

    Attributes:
        hidden: objects ("CampaignMember") and fields ("Contact.Email") that the user cannot see.
        read_only: objects whose records the user cannot create, change or delete.
        invisible_contacts: Salesforce ids of contacts that sharing keeps from the user; roles may still point at them.
        custom_fields: object -> further field lines as in objects.txt, such as "Crmbridge_Run__c string(80) cu".
        archived_before: activities that happened earlier are archived: only queryAll gives them.
        daily_calls: the org's limit; a call beyond it is refused with REQUEST_LIMIT_EXCEEDED.
        page_rows: the most rows of one page of a query.
        bulk_page_rows: the most rows of one page of Bulk results.
        job_polls: how often a job says InProgress before it ends.
        corporate_currency: what rates are relative to.
        time_zone: of the organisation.
    """

    currencies: Currencies = Currencies.MULTIPLE
    shared_activities: SharedActivities = SharedActivities.ON
    emails: Emails = Emails.ENHANCED
    person_accounts: PersonAccounts = PersonAccounts.OFF
    second_row: SecondRow = SecondRow.AS_WRITTEN
    row_gone: RowGone = RowGone.KEEPS_PRIMARY
    merge_primary: MergePrimary = MergePrimary.KEEPS_PRIMARY
    role_write: RoleWrite = RoleWrite.LEAVES_OPPORTUNITY
    unknown_column: UnknownColumn = UnknownColumn.IS_DROPPED
    unknown_field: UnknownField = UnknownField.FAILS_REQUEST
    deleted_contact: DeletedContact = DeletedContact.ACCEPTED
    hidden: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    invisible_contacts: frozenset[str] = frozenset()
    custom_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    archived_before: date | None = None
    daily_calls: int = 15_000
    page_rows: int = 2_000
    bulk_page_rows: int = 100_000
    job_polls: int = 1
    corporate_currency: str = "USD"
    time_zone: str = "UTC"
