"""The mess: doubles, shared mailboxes, merges, orphans, deletions and wrong dates, as years of use leave them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from crmbridge.demo.dice import DAY_S, Dice
from crmbridge.demo.people import Person
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.demo.book import Book, Draft
    from crmbridge.demo.people import Firm, Society
    from crmbridge.demo.selling import Deal

GENERIC_MAILBOXES = {
    "en": ("info", "sales", "office"),
    "de": ("info", "kontakt", "zentrale"),
    "fr": ("info", "contact"),
    "es": ("info", "contacto"),
}
_DELETED_SHARE = {
    Entity.ACTIVITY: 0.01,
    Entity.ACTIVITY_PARTICIPANT: 0.005,
    Entity.CAMPAIGN_MEMBER: 0.006,
    Entity.LEAD: 0.006,
    Entity.CONTACT_ROLE: 0.004,
    Entity.OPPORTUNITY: 0.007,
    Entity.CAMPAIGN: 0.01,
    Entity.ACCOUNT_CONTACT_RELATION: 0.01,
    Entity.OPPORTUNITY_CONTACT_LOOKUP: 0.005,
}


def blur_people(dice: Dice, society: Society, as_of_s: float) -> None:
    """Enter people twice, let them share mailboxes, and list some of the vendor's own staff as contacts."""
    for firm in society.firms:
        if len(firm.people) > 1:
            _share_mailboxes(dice, firm)
        for person in firm.people:
            _double(dice, person)
    _list_colleagues(dice, society, as_of_s)


def _share_mailboxes(dice: Dice, firm: Firm) -> None:
    if dice.yes(0.10):
        mailbox = f"{dice.choice(GENERIC_MAILBOXES[firm.language])}@{firm.domain}"
        for person in dice.sample(firm.people, min(len(firm.people), 1 + dice.count(1.0))):
            person.email = mailbox
    if dice.yes(0.04):
        chief, assistant = dice.sample(firm.people, 2)  # an assistant entered under the chief's address
        assistant.email = chief.email


def _double(dice: Dice, person: Person) -> None:
    if person.email and dice.yes(0.045):
        person.contact_ids.append(dice.new_id("003"))
    if dice.yes(0.015):
        person.merged_ids += [dice.new_id("003") for _ in range(2 if dice.yes(0.15) else 1)]
        person.contact_ids += person.merged_ids


def _list_colleagues(dice: Dice, society: Society, as_of_s: float) -> None:
    staff = society.sellers + society.others
    for colleague in dice.sample(staff, max(1, len(staff) // 7)):
        first, last = colleague.name.split(" ", 1)
        society.colleagues.append(
            Person(
                firm=dice.choice(society.buyers),
                first=(first, first),
                last=(last, last),
                function="sales",
                level=2,
                unit=0,
                email=colleague.email if dice.yes(0.7) else colleague.email.title(),
                title=dice.choice((None, "Account Executive", "Solution Engineer")),
                known_s=as_of_s - dice.uniform(1000, 1500) * DAY_S,
                left_s=None,
                curiosity=0.1,
                contact_ids=[dice.new_id("003")],
            )
        )


def soil(dice: Dice, book: Book, deals: list[Deal]) -> None:
    """Soil the finished book: dates of deals, roles twice, several primaries, orphans and deletions."""
    _mistype_dates(dice, book.drafts[Entity.OPPORTUNITY])
    _repeat_roles(dice, book)
    _second_primaries(dice, book)
    _remove_wrong_roles(dice, book, deals)
    _orphan(dice, book)
    for entity, share in _DELETED_SHARE.items():
        for draft in book.drafts[entity]:
            if dice.yes(share):
                draft["is_deleted"] = True


def _mistype_dates(dice: Dice, drafts: list[Draft]) -> None:
    for draft in drafts:
        fate = dice.random()
        if fate < 0.012:
            draft["close_date"] = draft["created_at"].date() - timedelta(days=dice.randrange(1, 90))
        elif fate < 0.018:
            draft["close_date"] += timedelta(days=365)
        elif fate < 0.024:
            draft["close_date"] = None
        elif fate < 0.028:
            draft["created_at"] += timedelta(days=3650)


def _repeat_roles(dice: Dice, book: Book) -> None:
    for draft in list(book.drafts[Entity.CONTACT_ROLE]):
        if dice.yes(0.03):
            role = draft["role"] if dice.yes(0.4) else dice.choice(("Influencer", "Other", "Evaluator"))
            again = draft | {"id": dice.new_id("00K"), "role": role, "is_primary": False}
            book.write(Entity.CONTACT_ROLE, **again)


def _second_primaries(dice: Dice, book: Book) -> None:
    seen: set[str] = set()
    for draft in book.drafts[Entity.CONTACT_ROLE]:
        if draft["opportunity_id"] in seen and dice.yes(0.06):
            draft["is_primary"] = True
        seen.add(draft["opportunity_id"])


def _remove_wrong_roles(dice: Dice, book: Book, deals: list[Deal]) -> None:
    """Leave the traces of roles that someone added and someone else removed."""
    for deal in deals:
        if dice.yes(0.012):
            book.write(
                Entity.CONTACT_ROLE,
                id=dice.new_id("00K"),
                opportunity_id=deal.id,
                contact_id=dice.choice(deal.firm.people).contact_ids[0],
                role="Other",
                is_deleted=True,
            )


def _orphan(dice: Dice, book: Book) -> None:
    """Repeat a few links with one end pointing at a record that is gone."""
    links = (
        (Entity.CONTACT_ROLE, "00K", (("contact_id", "003"), ("opportunity_id", "006")), 0.006),
        (Entity.ACTIVITY_PARTICIPANT, "0RE", (("activity_id", "00T"),), 0.003),
        (Entity.CAMPAIGN_MEMBER, "00v", (("campaign_id", "701"),), 0.003),
    )
    for entity, prefix, ends, share in links:
        for draft in list(book.drafts[entity]):
            if dice.yes(share):
                column, missing = dice.choice(ends)
                book.write(entity, **(draft | {"id": dice.new_id(prefix), column: dice.new_id(missing)}))
