"""An invented CRM of believable mess, with the hidden truth of who really decided each deal.

The world is simulated, not labelled: people and deals come first, the buying groups follow from them, things happen,
and only then do sellers with their habits enter a part of it. Nothing here knows how anybody scores evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crmbridge.demo.book import Book
from crmbridge.demo.diary import keep_diaries
from crmbridge.demo.dice import Dice
from crmbridge.demo.marketing import gather_leads, run_campaigns
from crmbridge.demo.mess import blur_people, soil
from crmbridge.demo.people import Society, populate
from crmbridge.demo.registry import write_accounts, write_contacts, write_deals, write_rates, write_staff
from crmbridge.demo.roles import fill_lookups, list_accounts, name_roles, relate
from crmbridge.demo.selling import Deal, sell
from crmbridge.errors import DataError, SettingsError
from crmbridge.model import Entity

if TYPE_CHECKING:
    from datetime import datetime

    from crmbridge.model import Record

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class DemoWorld:
    """The records of an invented CRM and the truth behind them.

    Attributes:
        records: every canonical entity, shuffled; orphans, doubles and deleted records among them.
        truth: (opportunity_id, contact_id) of the real buying groups, one pair per person, with or without a role
            in the CRM; only opportunities and contacts that still exist.
        person_of: contact_id -> person for every contact record, merged ones too; two ids of one human being share it.
        hidden: the pairs of `truth` whose person has no contact role on the opportunity, under any of their ids.
    """

    records: dict[Entity, list[Record]]
    truth: frozenset[Pair]
    person_of: dict[str, str]
    hidden: frozenset[Pair]


def make_world(*, seed: int = 7, opportunities: int = 5000, as_of: datetime) -> DemoWorld:
    """Make an invented CRM of about three years' history up to `as_of`.

    Args:
        seed: the same seed, size and `as_of` give the same world on every machine.
        opportunities: how many, >= 0; accounts, contacts and the rest follow from it.
        as_of: aware; the moment the CRM is looked at. Only mistyped dates lie later.

    Raises:
        DataError: `as_of` is naive.
        SettingsError: `opportunities` is negative.
    """
    if as_of.utcoffset() is None:
        raise DataError(f"as_of has no time zone: {as_of.isoformat()}", hint="pass an aware datetime, such as datetime.now(UTC)")
    if opportunities < 0:
        raise SettingsError(f"opportunities is {opportunities}; it must be 0 or more")
    dice, book, as_of_s = Dice(seed), Book(), float(int(as_of.timestamp()))
    society = populate(dice, opportunities, as_of_s)
    blur_people(dice, society, as_of_s)
    deals = sell(dice, society, opportunities, as_of_s)
    deleted = _write_all(dice, book, society, deals, as_of_s)
    return _reveal(dice, book, society, deals, deleted)


def _write_all(dice: Dice, book: Book, society: Society, deals: list[Deal], as_of_s: float) -> set[str]:
    """Write every entity and soil it; return the ids of deleted contacts."""
    gather_leads(dice, book, society, deals, as_of_s)
    keep_diaries(dice, book, society, deals, as_of_s)
    marketing = run_campaigns(dice, book, society, deals, as_of_s)
    name_roles(dice, book, deals, as_of_s)
    fill_lookups(dice, book, deals)
    list_accounts(dice, book, deals)
    relate(dice, book, society)
    write_staff(dice, book, society)
    write_accounts(dice, book, society, as_of_s)
    deleted = write_contacts(dice, book, society, as_of_s)
    write_deals(dice, book, deals, marketing, as_of_s)
    write_rates(dice, book, as_of_s)
    soil(dice, book, deals)
    return deleted


def _reveal(dice: Dice, book: Book, society: Society, deals: list[Deal], deleted: set[str]) -> DemoWorld:
    people = society.persons + society.colleagues
    person_of = {contact_id: person.contact_ids[0] for person in people for contact_id in person.contact_ids}
    merged = {contact_id for person in people for contact_id in person.merged_ids}
    gone = {draft["id"] for draft in book.drafts[Entity.OPPORTUNITY] if draft.get("is_deleted")}
    named = _named(book, person_of, merged)
    members = [
        (deal.id, member.person.contact_ids[0])
        for deal in deals
        if deal.id not in gone
        for member in deal.group
        if member.person.contact_ids[0] not in deleted
    ]
    truth = frozenset((deal_id, named.get((deal_id, person), person)) for deal_id, person in members)
    hidden = frozenset(pair for pair in members if pair not in named)
    return DemoWorld(book.publish(dice), truth, person_of, hidden)


def _named(book: Book, person_of: dict[str, str], merged: set[str]) -> dict[Pair, str]:
    """(opportunity, person) with a living role -> the living contact record that carries it."""
    named: dict[Pair, str] = {}
    for draft in book.drafts[Entity.CONTACT_ROLE]:
        person = person_of.get(draft["contact_id"])
        if person and not draft.get("is_deleted"):
            contact_id = person if draft["contact_id"] in merged else draft["contact_id"]
            named.setdefault((draft["opportunity_id"], person), contact_id)
    return named
