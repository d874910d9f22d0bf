"""Named small worlds: canonical records that the author of an adapter loads into a CRM of their own.

A world maps entities to records, parents before children, so that a database with foreign keys can be filled in that
order. A record with `is_deleted` true is gone since its `modified_at`: load it as deleted where the CRM remembers
deletions, else leave it out; with `merged_into_id` it was merged into another. Everyone in here is invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from crmbridge.model import (
    Account,
    AccountContactRelation,
    Activity,
    ActivityParticipant,
    Campaign,
    CampaignMember,
    Contact,
    ContactRole,
    Entity,
    ExchangeRate,
    Lead,
    Opportunity,
    OpportunityAccount,
    OpportunityContactLookup,
    Record,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

World: TypeAlias = Mapping[Entity, Sequence[Record]]

LOAD_ORDER: tuple[Entity, ...] = (
    Entity.USER,
    Entity.ACCOUNT,
    Entity.CAMPAIGN,
    Entity.CONTACT,
    Entity.OPPORTUNITY,
    Entity.LEAD,
    Entity.CONTACT_ROLE,
    Entity.CAMPAIGN_MEMBER,
    Entity.ACTIVITY,
    Entity.ACTIVITY_PARTICIPANT,
    Entity.ACCOUNT_CONTACT_RELATION,
    Entity.OPPORTUNITY_CONTACT_LOOKUP,
    Entity.OPPORTUNITY_ACCOUNT,
    Entity.EXCHANGE_RATE,
)
"""Parents before children."""

ODD_IDS: tuple[str, ...] = (
    "O'Brien",
    'say "hi"',
    "two words",
    "back\\slash",
    "semi;colon,comma",
    "-- drop",
    "100%_done",
    ":bind %s {brace}",
    "007",
    "7",
    "7.0",
    "1e3",
    "null",
    "Case",
    "case",
    "\u00e9",
    "e\u0301",
    "\u6771\u4eac",
    "\U0001f600",
    "z" * 200,
    "z" * 199 + "y",
)
"""Ids that differ only by case, leading zeros, Unicode form or after 199 characters, or look like something else."""

UNICODE_TEXTS: tuple[str, ...] = (
    "Zo\u00eb \u00d1and\u00fa",
    "e\u0301 decomposed",
    "\u6771\u4eac \u5c71\u7530",
    "\u0645\u0631\u062d\u0628\u0627",
    "\u0130stanbul \u1e9e",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    'O\'Brien "the" \\boss',
    "tab\tand\nnewline",
)

PERSONAL_MARK = "zq7x"
"""Every personal text of `personal()` holds it, so that a leak is found wherever it surfaces."""

_START = datetime(2024, 1, 1, 9, 30, tzinfo=UTC)


def _day(number: int) -> datetime:
    return _START + timedelta(days=number)


def world_of(records: Iterable[Record]) -> World:
    """Group records by entity, parents first; the order inside an entity is kept."""
    grouped: dict[Entity, list[Record]] = {entity: [] for entity in LOAD_ORDER}
    for record in records:
        grouped[record.entity].append(record)
    return grouped


def empty() -> World:
    """A CRM with nothing in it."""
    return world_of(())


def small() -> World:
    """Three accounts, five contacts, four opportunities with three roles, and at least two records of everything else.

    `opportunity-1` has a primary (`contact-1`) and a second role (`contact-2`); `opportunity-2` has one role without a
    name; `opportunity-3` and `opportunity-4` have none. Every entity has at least two moments of change.
    """
    return world_of([*_companies(), *_people(), *_deals(), *_marketing(), *_activities(), *_links()])


def _companies() -> Iterable[Record]:
    yield User(id="user-1", name="Pat Seller", email="pat@seller.example", team="North", is_active=True, modified_at=_day(1))
    yield User(id="user-2", name="Kim Seller", email="kim@seller.example", is_active=False, modified_at=_day(9))
    for number, kind in enumerate(("Customer", "Partner", None), start=1):
        yield Account(
            id=f"account-{number}",
            name=f"Company {number}",
            website=f"https://www.company{number}.example" if number < 3 else None,
            type=kind,
            parent_id="account-1" if number == 3 else None,
            owner_id="user-1",
            created_at=_day(number),
            modified_at=_day(number * 2),
        )


def _people() -> Iterable[Record]:
    names = (("Ada", "Lark"), ("Ben", "Moss"), ("Cleo", "Nash"), ("Dan", None), (None, "Oak"))
    for number, (first, last) in enumerate(names, start=1):
        yield Contact(
            id=f"contact-{number}",
            account_id=f"account-{1 + number % 2}" if number < 5 else None,
            first_name=first,
            last_name=last,
            email=f"person{number}@company{number}.example" if number != 4 else None,
            title="Head of Procurement" if number == 1 else None,
            department="Finance" if number == 2 else None,
            has_left=number == 5,
            owner_id="user-1",
            created_at=_day(number),
            modified_at=_day(number * 3),
        )
    yield Lead(
        id="lead-1",
        first_name="Eve",
        last_name="Pine",
        email="eve@new.example",
        company="New",
        status="Open",
        is_converted=False,
        created_at=_day(3),
        modified_at=_day(4),
    )
    yield Lead(
        id="lead-2",
        first_name="Ada",
        last_name="Lark",
        email="person1@company1.example",
        company="Company 1",
        is_converted=True,
        converted_at=_day(6),
        converted_account_id="account-1",
        converted_contact_id="contact-1",
        converted_opportunity_id="opportunity-1",
        owner_id="user-2",
        created_at=_day(2),
        modified_at=_day(6),
    )


def _deals() -> Iterable[Record]:
    amounts = (Decimal("1200.50"), Decimal("0.10"), Decimal("98765432109.87"), None)
    for number, amount in enumerate(amounts, start=1):
        yield Opportunity(
            id=f"opportunity-{number}",
            account_id=f"account-{1 + number % 2}",
            name=f"Deal {number}",
            amount=amount,
            currency="EUR" if amount is not None else None,
            stage="Closed Won" if number == 1 else "Proposal",
            is_closed=number == 1,
            is_won=number == 1,
            close_date=date(2024, 2, number),
            type="New Business" if number == 1 else None,
            campaign_id="campaign-1" if number == 2 else None,
            owner_id="user-1",
            created_at=_day(number),
            modified_at=_day(number * 4),
        )
    links = (("1", "1", "Decision Maker", True), ("1", "2", "Evaluator", False), ("2", "1", None, False))
    for number, (opportunity, contact, role, is_primary) in enumerate(links, start=1):
        yield ContactRole(
            id=f"role-{number}",
            opportunity_id=f"opportunity-{opportunity}",
            contact_id=f"contact-{contact}",
            role=role,
            is_primary=is_primary,
            created_by_id="user-1",
            created_at=_day(number),
            modified_at=_day(number * 5),
        )


def _marketing() -> Iterable[Record]:
    yield Campaign(
        id="campaign-1",
        name="Trade fair",
        type="Event",
        status="Completed",
        is_active=False,
        start_date=date(2024, 1, 2),
        end_date=date(2024, 1, 3),
        actual_cost=Decimal("999.99"),
        budgeted_cost=Decimal("1000.00"),
        currency="EUR",
        owner_id="user-2",
        created_at=_day(0),
        modified_at=_day(3),
    )
    yield Campaign(
        id="campaign-2",
        name="Newsletter",
        parent_id="campaign-1",
        is_active=True,
        created_at=_day(0),
        modified_at=_day(5),
    )
    yield CampaignMember(
        id="member-1",
        campaign_id="campaign-1",
        contact_id="contact-1",
        status="Attended",
        has_responded=True,
        responded_at=_day(1),
        date_quality="exact",
        created_at=_day(0),
        modified_at=_day(1),
    )
    yield CampaignMember(
        id="member-2",
        campaign_id="campaign-2",
        lead_id="lead-1",
        status="Sent",
        has_responded=False,
        created_at=_day(4),
        modified_at=_day(7),
    )


def _activities() -> Iterable[Record]:
    yield Activity(
        id="activity-1",
        kind="meeting",
        opportunity_id="opportunity-1",
        account_id="account-2",
        occurred_at=_day(2),
        owner_id="user-1",
        created_at=_day(2),
        modified_at=_day(2),
    )
    yield Activity(id="activity-2", kind="email", account_id="account-1", occurred_at=_day(5), modified_at=_day(6))
    yield ActivityParticipant(
        id="participant-1", activity_id="activity-1", contact_id="contact-2", kind="attendee", modified_at=_day(2)
    )
    yield ActivityParticipant(
        id="participant-2", activity_id="activity-2", email="guest@other.example", kind="cc", modified_at=_day(6)
    )


def _links() -> Iterable[Record]:
    yield AccountContactRelation(
        id="relation-1",
        account_id="account-3",
        contact_id="contact-1",
        roles="Adviser",
        is_direct=False,
        is_active=True,
        modified_at=_day(1),
    )
    yield AccountContactRelation(
        id="relation-2",
        account_id="account-1",
        contact_id="contact-2",
        is_direct=True,
        is_active=False,
        modified_at=_day(2),
    )
    for number in (1, 2):
        yield OpportunityContactLookup(
            id=f"lookup-{number}",
            opportunity_id=f"opportunity-{number}",
            contact_id="contact-3",
            field="signer",
            modified_at=_day(number),
        )
        yield OpportunityAccount(
            id=f"link-{number}",
            opportunity_id=f"opportunity-{number}",
            account_id="account-3",
            is_primary=number == 1,
            modified_at=_day(number),
        )
    yield ExchangeRate(
        id="rate-1",
        currency="EUR",
        base_currency="USD",
        rate=Decimal("0.915"),
        valid_from=date(2024, 1, 1),
        valid_until=date(2024, 2, 1),
        modified_at=_day(0),
    )
    yield ExchangeRate(
        id="rate-2",
        currency="EUR",
        base_currency="USD",
        rate=Decimal("0.925"),
        valid_from=date(2024, 2, 1),
        modified_at=_day(31),
    )


def odd_ids() -> World:
    """One contact, one opportunity and one role for each of `ODD_IDS`, under one account; the role's id is odd too."""
    built: list[Record] = [Account(id="account", modified_at=_day(0))]
    for odd in ODD_IDS:
        built.append(Contact(id=odd, account_id="account", last_name="Odd", has_left=False, modified_at=_day(1)))
        built.append(_open_deal(odd, account_id="account"))
        built.append(ContactRole(id=odd, opportunity_id=odd, contact_id=odd, is_primary=False, modified_at=_day(2)))
    return world_of(built)


def unicode_texts() -> World:
    """Contacts, an account and a campaign whose texts come from many scripts, with quotes, tabs and new lines."""
    built: list[Record] = []
    for number, text in enumerate(UNICODE_TEXTS, start=1):
        built.append(Account(id=f"account-{number}", name=text, modified_at=_day(0)))
        built.append(Campaign(id=f"campaign-{number}", name=text, is_active=True, modified_at=_day(0)))
        built.append(
            Contact(
                id=f"contact-{number}",
                account_id=f"account-{number}",
                first_name=text,
                last_name=text[::-1],
                title=text,
                has_left=False,
                modified_at=_day(1),
            )
        )
    return world_of(built)


def crowded(*, opportunities: int, contacts: int) -> World:
    """One account with that many opportunities and contacts, without roles; ids count up from 1."""
    built: list[Record] = [Account(id="account-1", modified_at=_day(0))]
    built += [_open_deal(f"opportunity-{number}", account_id="account-1") for number in range(1, opportunities + 1)]
    built += [
        Contact(id=f"contact-{number}", account_id="account-1", last_name="Crowd", has_left=False, modified_at=_day(1))
        for number in range(1, contacts + 1)
    ]
    return world_of(built)


def doubled() -> World:
    """`opportunity-1` names `contact-1` twice, under two roles: what no one meant and many CRMs hold."""
    roles = [
        ContactRole(
            id=f"role-{number}",
            opportunity_id="opportunity-1",
            contact_id="contact-1",
            role=role,
            is_primary=False,
            modified_at=_day(2),
        )
        for number, role in enumerate(("Decision Maker", "Evaluator"), start=1)
    ]
    crowd = crowded(opportunities=1, contacts=2)
    return world_of([*(record for group in crowd.values() for record in group), *roles])


def graves() -> World:
    """`small()` and, besides, a deleted record of each essential entity and a contact merged into `contact-1`."""
    dead: list[Record] = [
        Contact(id="contact-dead", last_name="Past", has_left=False),
        Contact(id="contact-merged", last_name="Lark", has_left=False, merged_into_id="contact-1"),
        Opportunity(id="opportunity-dead", is_closed=False, is_won=False),
        ContactRole(id="role-dead", opportunity_id="opportunity-3", contact_id="contact-1", is_primary=False),
    ]
    gone = {"is_deleted": True, "modified_at": _day(100)}
    dead = [record.model_copy(update=gone) for record in dead]
    return world_of([*(record for group in small().values() for record in group), *dead])


def personal() -> World:
    """`small()`, with `PERSONAL_MARK` in every field that holds personal data."""
    return {entity: [_marked(record) for record in group] for entity, group in small().items()}


def _marked(record: Record) -> Record:
    fields = type(record).model_fields
    private = [name for name in fields if not fields[name].repr and getattr(record, name) is not None]
    texts = {name: f"{PERSONAL_MARK}@{name}.example" if name == "email" else f"{PERSONAL_MARK} {name}" for name in private}
    return record.model_copy(update=texts)


def _open_deal(identifier: str, *, account_id: str) -> Opportunity:
    return Opportunity(
        id=identifier,
        account_id=account_id,
        name="Deal",
        stage="Proposal",
        is_closed=False,
        is_won=False,
        close_date=date(2024, 6, 30),
        created_at=_day(0),
        modified_at=_day(1),
    )
