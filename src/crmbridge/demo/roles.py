"""What the CRM already says of the groups: contact roles by habit, lookup fields, further accounts, relations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crmbridge.demo.diary import strongest
from crmbridge.demo.dice import DAY_S, Dice, moment
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.demo.book import Book, Draft
    from crmbridge.demo.people import Firm, Person, Society
    from crmbridge.demo.selling import Deal

_SIGNERS = ("Economic Buyer", "Decision Maker", "Executive Sponsor")
_OUTSIDE_ROLES = ("Consultant", "Implementation Partner", "Adviser", None)
_LOOKUPS = {"Economic_Buyer__c": 0.11, "Primary_Contact__c": 0.08, "Technical_Contact__c": 0.04}

Named = list[tuple["Person", str | None]]


def name_roles(dice: Dice, book: Book, deals: list[Deal], as_of_s: float) -> None:
    """Write contact roles the way each seller does; the people a converted lead brought in come first."""
    named: dict[str, Named] = {}
    for deal in deals:
        roles = _converted(dice, deal) + _by_habit(dice, deal)
        if deal.before and dice.yes(0.05):
            roles += named.get(deal.before.id, [])  # cloned from the earlier deal, stale people and all
        named[deal.id] = list({id(person): (person, part) for person, part in reversed(roles)}.values())[::-1]
        _write(dice, book, deal, named[deal.id], as_of_s)


def _converted(dice: Dice, deal: Deal) -> Named:
    brought = [member for member in deal.taking_part if deal.id in member.person.opened]
    return [(member.person, None) for member in brought if dice.yes(0.45)]


def _by_habit(dice: Dice, deal: Deal) -> Named:
    habit = deal.owner.habits.roles if dice.yes(0.93) else dice.choice(("none", "champion"))
    group = deal.group
    if habit == "champion":
        pool = deal.around if deal.around and dice.yes(0.07) else group
        return [(strongest(pool).person, strongest(pool).part)]
    if habit == "signer":
        signers = [member for member in group if member.part in _SIGNERS] or group
        signer = max(signers, key=lambda member: member.person.level)
        return [(signer.person, signer.part if dice.yes(0.8) else "Decision Maker")]
    if habit == "first record":
        return [(_first_record(dice, deal), None)]
    if habit == "diligent":
        listed = [(member.person, member.part) for member in group if dice.yes(0.84)]
        return listed + [(member.person, "Other") for member in deal.around if dice.yes(0.07)]
    return []


def _first_record(dice: Dice, deal: Deal) -> Person:
    """The contact the deal was opened from: often the first member, at times just the account's oldest record."""
    if dice.yes(0.15):
        return min(deal.firm.people, key=lambda person: person.known_s)
    return min(deal.group, key=lambda member: (member.joins_s, member.person.known_s)).person


def _write(dice: Dice, book: Book, deal: Deal, roles: Named, as_of_s: float) -> None:
    for place, (person, part) in enumerate(roles):
        entered_s = min(as_of_s, dice.uniform(deal.created_s, max(deal.end_s, deal.created_s + DAY_S)))
        role = part if dice.yes(0.8) else dice.choice((None, "Influencer", "Other", "Business User"))
        book.write(
            Entity.CONTACT_ROLE,
            id=dice.new_id("00K"),
            opportunity_id=deal.id,
            contact_id=person.contact_ids[0] if dice.yes(0.85) else dice.choice(person.contact_ids),
            role=role,
            is_primary=dice.yes(0.8) if place == 0 else dice.yes(0.05),
            created_by_id=deal.owner.id,
            created_at=moment(entered_s),
            modified_at=moment(entered_s),
        )


def fill_lookups(dice: Dice, book: Book, deals: list[Deal]) -> None:
    """Fill the contact fields on some deals; one in four names someone stale or simply wrong."""
    for deal in deals:
        for name, share in _LOOKUPS.items():
            if dice.yes(share):
                person = _looked_up(dice, deal, name)
                book.write(
                    Entity.OPPORTUNITY_CONTACT_LOOKUP,
                    id=dice.new_id("a0L"),
                    opportunity_id=deal.id,
                    contact_id=person.contact_ids[0],
                    field=name,
                    modified_at=moment(dice.uniform(deal.created_s, deal.end_s)),
                )


def _looked_up(dice: Dice, deal: Deal, name: str) -> Person:
    if dice.yes(0.25):
        stale = deal.before.group if deal.before else []
        return dice.choice(stale).person if stale else dice.choice(deal.firm.people)
    wanted = {"Economic_Buyer__c": _SIGNERS, "Technical_Contact__c": ("Technical Buyer", "Evaluator")}.get(name, ())
    fitting = [member for member in deal.group if member.part in wanted]
    return dice.choice(fitting).person if fitting else strongest(deal.group).person


def list_accounts(dice: Dice, book: Book, deals: list[Deal]) -> None:
    """List the partner on the deals that have one, with the main account beside it, and the odd sister company."""
    for deal in deals:
        further = [ally.id for ally in deal.allies if dice.yes(0.6)]
        if deal.firm.parent and dice.yes(0.2):
            further.append(deal.firm.parent.id)
        for account_id in [deal.firm.id, *further] if further else []:
            book.write(
                Entity.OPPORTUNITY_ACCOUNT,
                id=dice.new_id("a0P"),
                opportunity_id=deal.id,
                account_id=account_id,
                is_primary=account_id == deal.firm.id,
            )


def relate(dice: Dice, book: Book, society: Society) -> None:
    """Relate consultants and partners' people to several customers, and some contacts to their own account."""
    for firm in society.consultants + society.partners:
        for person in firm.people:
            for client in dice.sample(society.buyers, min(len(society.buyers), dice.count(1.2))):
                row = _relation(dice, book, client, person)
                row.update(roles=dice.choice(_OUTSIDE_ROLES), is_direct=False)
    for firm in society.buyers:
        for person in firm.people if dice.yes(0.2) else []:
            _relation(dice, book, firm, person)["is_direct"] = True


def _relation(dice: Dice, book: Book, firm: Firm, person: Person) -> Draft:
    return book.write(
        Entity.ACCOUNT_CONTACT_RELATION,
        id=dice.new_id("07k"),
        account_id=firm.id,
        contact_id=person.contact_ids[0],
        is_active=dice.yes(0.88),
    )
