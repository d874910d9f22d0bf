"""Writes the plain records of the invented CRM: staff, accounts, contacts, deals and exchange rates."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from crmbridge.demo.dice import DAY_S, Dice, moment
from crmbridge.demo.people import OWN_DOMAIN
from crmbridge.demo.selling import draw_amount
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.demo.book import Book
    from crmbridge.demo.marketing import Marketing
    from crmbridge.demo.people import Firm, Person, Society
    from crmbridge.demo.selling import Deal

_RATES = {"EUR": "1", "USD": "1.08", "GBP": "0.855", "JPY": "158.4"}
_MONTHS = 40
_DEPARTMENTS = {"it": "IT", "finance": "Finance", "hr": "HR", "marketing": "Marketing", "operations": "Operations"}


def write_staff(dice: Dice, book: Book, society: Society) -> None:
    """Write one user for every colleague."""
    for colleague in society.sellers + society.others:
        book.write(
            Entity.USER,
            id=colleague.id,
            name=colleague.name,
            email=colleague.email,
            team=colleague.team if dice.yes(0.95) else None,
            is_active=colleague.is_active,
        )


def write_accounts(dice: Dice, book: Book, society: Society, as_of_s: float) -> None:
    """Write an account for every firm, and for a few a second one that was merged away."""
    for firm in society.firms:
        _account(dice, book, firm, as_of_s)
        if dice.yes(0.012):
            book.write(
                Entity.ACCOUNT,
                id=dice.new_id("001"),
                name=firm.name.upper(),
                owner_id=firm.owner.id,
                created_at=moment(firm.since_s + 40 * DAY_S),
                modified_at=moment(as_of_s - 30 * DAY_S),
                merged_into_id=firm.id,
                is_deleted=True,
            )
    own = book.write(Entity.ACCOUNT, id=dice.new_id("001"), name="Crestline", website=f"www.{OWN_DOMAIN}", type="Other")
    own["is_deleted"] = False


def _account(dice: Dice, book: Book, firm: Firm, as_of_s: float) -> None:
    website = dice.choice(("https://www.{}", "www.{}", "{}", "http://{}/", "https://{}/contact")).format(firm.domain)
    book.write(
        Entity.ACCOUNT,
        id=firm.id,
        name=firm.name,
        website=website if dice.yes(0.72) else None,
        type=firm.kind,
        parent_id=firm.parent.id if firm.parent else None,
        owner_id=firm.owner.id,
        created_at=moment(firm.since_s),
        modified_at=moment(dice.uniform(firm.since_s, as_of_s)),
    )


def write_contacts(dice: Dice, book: Book, society: Society, as_of_s: float) -> set[str]:
    """Write the contact records of every person; return the ids of those that were deleted since."""
    deleted: set[str] = set()
    for person in society.persons + society.colleagues:
        if len(person.contact_ids) == 1 and dice.yes(0.006):
            deleted.update(person.contact_ids)
        for contact_id in person.contact_ids:
            _contact(dice, book, person, contact_id, as_of_s, deleted)
    return deleted


def _contact(dice: Dice, book: Book, person: Person, contact_id: str, as_of_s: float, deleted: set[str]) -> None:
    is_main, is_merged = contact_id == person.contact_ids[0], contact_id in person.merged_ids
    late_s = 0.0 if is_main else dice.random() * 90 * DAY_S
    created_s = min(as_of_s - dice.random() * 60, person.known_s + late_s)
    book.write(
        Entity.CONTACT,
        id=contact_id,
        account_id=person.firm.id if dice.yes(0.97) else None,
        first_name=_first_name(dice, person, is_main=is_main),
        last_name=person.last[0] if is_main or dice.yes(0.6) else person.last[1],
        email=_address(dice, person, is_main=is_main),
        title=person.title if is_main or dice.yes(0.4) else None,
        department=_DEPARTMENTS.get(person.function) if dice.yes(0.3) else None,
        has_left=_has_left(dice, person),
        owner_id=person.firm.owner.id if dice.yes(0.9) else None,
        created_at=moment(created_s) if dice.yes(0.985) else None,
        modified_at=moment(dice.uniform(created_s, as_of_s)),
        merged_into_id=_master(person, contact_id) if is_merged else None,
        is_deleted=True if is_merged or contact_id in deleted else dice.choice((None, False)),
    )


def _master(person: Person, contact_id: str) -> str:
    """The record this one was merged into: the one merged just before, so that some merges form a chain."""
    place = person.merged_ids.index(contact_id)
    return person.merged_ids[place - 1] if place else person.contact_ids[0]


def _first_name(dice: Dice, person: Person, *, is_main: bool) -> str | None:
    if is_main:
        return person.first[0] if dice.yes(0.98) else None
    return dice.choice((person.first[0], person.first[1], person.first[1][:1] + ".", None))


def _address(dice: Dice, person: Person, *, is_main: bool) -> str | None:
    if person.email is None or (is_main and dice.yes(0.92)):
        return person.email
    return dice.choice((person.email, person.email, person.email.upper(), person.email.title(), f" {person.email}"))


def _has_left(dice: Dice, person: Person) -> bool | None:
    if person.left_s is not None and dice.yes(0.7):
        return True
    return None if dice.yes(0.3) else dice.yes(0.004)


def write_deals(dice: Dice, book: Book, deals: list[Deal], marketing: Marketing, as_of_s: float) -> None:
    """Write an opportunity for every deal."""
    for deal in deals:
        running = marketing.running(deal.created_s - 90 * DAY_S, deal.created_s) if dice.yes(0.2) else []
        book.write(
            Entity.OPPORTUNITY,
            id=deal.id,
            account_id=deal.firm.id if dice.yes(0.992) else None,
            name=f"{deal.firm.name} - {deal.product} {deal.kind}",
            amount=draw_amount(dice, deal),
            currency=deal.firm.currency if dice.yes(0.98) else None,
            stage=deal.stage,
            is_closed=deal.is_closed,
            is_won=deal.is_won,
            close_date=moment(deal.close_s).date(),
            type=deal.kind if dice.yes(0.93) else None,
            record_type="Partner" if deal.allies else "Renewal" if deal.kind == "Renewal" else "Standard",
            campaign_id=dice.choice(running).id if running else None,
            owner_id=deal.owner.id if dice.yes(0.995) else None,
            created_at=moment(deal.created_s),
            modified_at=moment(min(as_of_s, deal.end_s + dice.random() * 30 * DAY_S)),
        )


def write_rates(dice: Dice, book: Book, as_of_s: float) -> None:
    """Write monthly exchange rates against EUR, the last one without an end."""
    first = (moment(as_of_s) - timedelta(days=30 * _MONTHS)).date()
    for currency, middle in _RATES.items():
        for month in range(_MONTHS if currency != "EUR" else 1):
            wobble = Decimal(round(dice.uniform(0.96, 1.04), 4)).quantize(Decimal("0.0001")) if currency != "EUR" else Decimal(1)
            start = first + timedelta(days=30 * month)
            book.write(
                Entity.EXCHANGE_RATE,
                id=dice.new_id("04w"),
                currency=currency,
                base_currency="EUR",
                rate=Decimal(middle) * wobble,
                valid_from=start,
                valid_until=None if currency == "EUR" or month == _MONTHS - 1 else start + timedelta(days=30),
            )
