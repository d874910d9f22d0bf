"""Leads, campaigns and their members: what marketing knows of the same people, and of many others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from crmbridge.demo.dice import DAY_S, YEAR_S, Dice, moment
from crmbridge.demo.names import draw_name, plain
from crmbridge.demo.people import PRIVATE_MAIL
from crmbridge.demo.titles import FUNCTIONS, draw_title
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.demo.book import Book, Draft
    from crmbridge.demo.people import Firm, Person, Society
    from crmbridge.demo.selling import Deal

# kind -> (share of campaigns, chance that a listed person responds, typical cost)
_KINDS = {
    "Webinar": (20, 0.33, 4_000),
    "Email": (26, 0.07, 800),
    "Trade Show": (11, 0.5, 45_000),
    "Content": (16, 0.55, 6_000),
    "Advertisement": (9, 0.2, 20_000),
    "Direct Mail": (6, 0.05, 5_000),
    "Seminar / Conference": (8, 0.45, 30_000),
    "Referral Program": (4, 0.4, 2_000),
}
_REGIONS = ("EMEA", "DACH", "US", "Global", "Iberia", "France")
_HISTORY_S = 3.4 * YEAR_S
_MONTH_S = 30 * DAY_S
_RESPONDED = {"Webinar": "Attended", "Trade Show": "Visited Booth", "Content": "Downloaded"}


@dataclass(slots=True)
class Campaign:
    """A campaign that runs from `start_s` to `end_s`; `members` are the keys of those already on its list."""

    id: str
    kind: str
    start_s: float
    end_s: float
    members: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Marketing:
    """The marketing department: writes campaigns and their members."""

    dice: Dice
    book: Book
    as_of_s: float
    campaigns: list[Campaign] = field(default_factory=list)

    def running(self, from_s: float, until_s: float) -> list[Campaign]:
        """Return the campaigns that run in a span of time."""
        return [campaign for campaign in self.campaigns if campaign.start_s <= until_s and campaign.end_s >= from_s]

    def enlist(self, campaign: Campaign, identity: dict[str, str], at_s: float, chance: float) -> None:
        """Put a person on a list, once, and have them respond with the given chance."""
        key = next(iter(identity.values()))
        if key in campaign.members or at_s >= self.as_of_s:
            return
        campaign.members.add(key)
        has_responded = self.dice.yes(chance)
        listed_s = max(campaign.start_s - 14 * DAY_S, at_s - self.dice.expovariate(1 / (8 * DAY_S)))
        row = self.book.write(
            Entity.CAMPAIGN_MEMBER,
            id=self.dice.new_id("00v"),
            campaign_id=campaign.id,
            status=_RESPONDED.get(campaign.kind, "Responded") if has_responded else self.dice.choice(("Sent", "Sent", "Invited")),
            has_responded=has_responded,
            created_at=moment(min(listed_s, at_s)),
            **identity,
        )
        if has_responded:
            row.update(self._response_date(at_s))

    def _response_date(self, at_s: float) -> Draft:
        """Recorded, inferred by some import, or lost; a few lost the creation date with it."""
        fate = self.dice.random()
        if fate < 0.72:
            return {"responded_at": moment(at_s), "date_quality": "exact" if fate < 0.5 else None}
        if fate < 0.84:
            late_s = min(at_s + self.dice.uniform(1, 30) * DAY_S, self.as_of_s - 60)
            return {"responded_at": moment(late_s), "date_quality": "inferred"}
        return {"created_at": None} if fate < 0.88 else {}


def run_campaigns(dice: Dice, book: Book, society: Society, deals: list[Deal], as_of_s: float) -> Marketing:
    """Plan the campaigns in programmes of one or two levels and fill their lists; buyers respond somewhat more."""
    marketing = Marketing(dice, book, as_of_s)
    _plan(marketing, society, max(8, min(260, len(deals) // 18)))
    _fill_lists(marketing, society)
    for deal in deals:
        _attract(marketing, deal)
    return marketing


def _plan(marketing: Marketing, society: Society, number: int) -> None:
    programmes: list[str] = []
    series: list[str] = []
    for _ in range(number):
        if not programmes or marketing.dice.yes(0.09):
            programmes.append(_campaign(marketing, society, None, 300).id)
        elif marketing.dice.yes(0.12):
            series.append(_campaign(marketing, society, marketing.dice.choice(programmes), 150).id)
        parents = [marketing.dice.choice(programmes), *([marketing.dice.choice(series)] if series else []), None]
        _campaign(marketing, society, marketing.dice.choice(parents), 30)


def _campaign(marketing: Marketing, society: Society, parent_id: str | None, days: float) -> Campaign:
    dice = marketing.dice
    kind = dice.choices(list(_KINDS), [share for share, _, _ in _KINDS.values()])[0]
    start_s = marketing.as_of_s - dice.random() * _HISTORY_S
    campaign = Campaign(dice.new_id("701"), kind, start_s, start_s + dice.heavy(days, 0.6) * DAY_S)
    start = moment(start_s).date()
    cost = Decimal(round(dice.heavy(_KINDS[kind][2], 0.7)))
    actual = dice.random()
    marketing.book.write(
        Entity.CAMPAIGN,
        id=campaign.id,
        name=f"{start.year}-{start.month:02d} {kind} {dice.choice(_REGIONS)}",
        type=kind if dice.yes(0.93) else None,
        status="Completed" if campaign.end_s < marketing.as_of_s else "In Progress",
        parent_id=parent_id,
        is_active=campaign.end_s > marketing.as_of_s,
        start_date=start,
        end_date=start + timedelta(seconds=campaign.end_s - start_s) if dice.yes(0.8) else None,
        actual_cost=cost if actual < 0.62 else Decimal(0) if actual < 0.77 else None,
        budgeted_cost=cost + 500 if dice.yes(0.6) else None,
        currency=dice.choice(("EUR", "EUR", "EUR", "USD", "GBP")),
        owner_id=dice.choice(society.others).id,
        created_at=moment(start_s - 20 * DAY_S),
        modified_at=moment(min(campaign.end_s, marketing.as_of_s)),
    )
    marketing.campaigns.append(campaign)
    return campaign


def _identity(dice: Dice, person: Person) -> dict[str, str]:
    if person.lead_ids and dice.yes(0.4):
        return {"lead_id": dice.choice(person.lead_ids)}
    return {"contact_id": person.contact_ids[0] if dice.yes(0.8) else dice.choice(person.contact_ids)}


def _fill_lists(marketing: Marketing, society: Society) -> None:
    """Fill lists with whoever is around; some people register for everything."""
    dice, persons = marketing.dice, society.persons
    strangers = [draft["id"] for draft in marketing.book.drafts[Entity.LEAD] if not draft.get("is_converted")]
    reach = [person.curiosity for person in persons]
    for campaign in marketing.campaigns:
        size = int(dice.heavy(0.0045 * len(persons) + 2, 0.8))
        chance = _KINDS[campaign.kind][1]
        for person in dice.choices(persons, reach, k=min(size, len(persons))):
            at_s = dice.uniform(campaign.start_s, campaign.end_s)
            if person.is_known(at_s):
                marketing.enlist(campaign, _identity(dice, person), at_s, chance * min(1.6, 0.6 + 0.3 * person.curiosity))
        for lead_id in dice.choices(strangers, k=size // 3) if strangers else []:
            marketing.enlist(campaign, {"lead_id": lead_id}, dice.uniform(campaign.start_s, campaign.end_s), chance)
        if dice.yes(0.15):
            marketing.enlist(campaign, {"account_id": dice.choice(society.buyers).id}, campaign.start_s + DAY_S, 0.2)


def _attract(marketing: Marketing, deal: Deal) -> None:
    """People who are about to buy read more; so do their colleagues, a little."""
    from_s, until_s = deal.created_s - 150 * DAY_S, min(deal.end_s, marketing.as_of_s)
    running = marketing.running(from_s, until_s)
    if not running:
        return
    readers = [(member.person, 0.5 if member.part else 0.25) for member in deal.taking_part]
    readers.append((marketing.dice.choice(deal.firm.people), 0.5))
    for person, rate in readers:
        for _ in range(marketing.dice.count(rate)):
            _read(marketing, person, marketing.dice.choice(running), from_s, until_s)


def _read(marketing: Marketing, person: Person, campaign: Campaign, from_s: float, until_s: float) -> None:
    at_s = marketing.dice.uniform(max(from_s, campaign.start_s), min(until_s, campaign.end_s))
    if person.is_here(at_s):
        marketing.enlist(campaign, _identity(marketing.dice, person), at_s, 0.72)


def gather_leads(dice: Dice, book: Book, society: Society, deals: list[Deal], as_of_s: float) -> None:
    """Make leads: those that opened a deal, those converted without one, doubles of contacts, and strangers."""
    for deal in deals:
        if deal.kind == "New Business" and dice.yes(0.24):
            _open_deal(dice, book, deal, as_of_s)
    for person in society.persons:
        fate = dice.random()
        if fate < 0.05:
            _convert(dice, book, person, person.known_s, None)
        elif fate < 0.085:
            _double(dice, book, person, as_of_s)
    for _ in range(len(society.persons) // 5):
        _stranger(dice, book, society, as_of_s)


def _open_deal(dice: Dice, book: Book, deal: Deal, as_of_s: float) -> None:
    """Convert the lead of a member, or of someone who only filled in the form, into the deal."""
    pool = deal.around if deal.around and dice.yes(0.3) else deal.group
    weights = [1.0 / (1.0 + (member.joins_s - deal.created_s + 11 * DAY_S) / (20 * DAY_S)) for member in pool]
    for member in dice.some(pool, weights, 2 if dice.yes(0.08) else 1):
        at_s = deal.created_s if dice.yes(0.8) else min(as_of_s, deal.created_s + dice.random() * 20 * DAY_S)
        member.person.known_s = min(member.person.known_s, at_s)
        _convert(dice, book, member.person, at_s, deal)


def _convert(dice: Dice, book: Book, person: Person, at_s: float, deal: Deal | None) -> None:
    row = _lead(dice, book, person, at_s - dice.heavy(25, 1.0) * DAY_S)
    row.update(
        status="Qualified",
        is_converted=True,
        converted_at=moment(at_s) if dice.yes(0.95) else None,
        converted_account_id=person.firm.id,
        converted_contact_id=person.contact_ids[0],
        converted_opportunity_id=deal.id if deal else None,
    )
    if deal:
        person.opened.add(deal.id)


def _double(dice: Dice, book: Book, person: Person, as_of_s: float) -> None:
    if person.email:
        _lead(dice, book, person, dice.uniform(min(person.known_s, as_of_s - DAY_S), as_of_s))


def _lead(dice: Dice, book: Book, person: Person, created_s: float) -> Draft:
    lead_id = dice.new_id("00Q")
    person.lead_ids.append(lead_id)
    email = person.email.title() if person.email and dice.yes(0.15) else person.email
    return book.write(
        Entity.LEAD,
        id=lead_id,
        first_name=person.first[0] if dice.yes(0.85) else None,
        last_name=person.last[0],
        email=email,
        title=person.title if dice.yes(0.6) else draw_title(dice, person.function, person.level, person.firm.language),
        company=_as_typed(dice, person.firm),
        status=dice.choice(("Open", "Working", "Nurturing")),
        is_converted=False,
        owner_id=dice.choice((person.firm.owner.id, None)),
        created_at=moment(created_s),
        modified_at=moment(created_s),
    )


def _as_typed(dice: Dice, firm: Firm) -> str:
    return dice.choice((firm.name, firm.name, firm.name.upper(), firm.name.rsplit(" ", 1)[0]))


def _stranger(dice: Dice, book: Book, society: Society, as_of_s: float) -> None:
    """A lead that is nobody's contact; some work at a firm the CRM knows."""
    firm = dice.choice(society.buyers)
    first, last = draw_name(dice, firm.language)
    domain = firm.domain if dice.yes(0.25) else dice.choice(PRIVATE_MAIL)
    created_s = as_of_s - dice.random() * _HISTORY_S
    book.write(
        Entity.LEAD,
        id=dice.new_id("00Q"),
        first_name=first[0],
        last_name=last[0],
        email=f"{plain(first[1])}.{plain(last[1])}{dice.randrange(100, 99999)}@{domain}" if dice.yes(0.9) else None,
        title=draw_title(dice, dice.choice(FUNCTIONS), dice.randrange(5), firm.language),
        company=_as_typed(dice, firm) if domain == firm.domain else None,
        status=dice.choice(("Open", "Working", "Unqualified")),
        is_converted=False,
        created_at=moment(created_s),
        modified_at=moment(created_s),
    )
