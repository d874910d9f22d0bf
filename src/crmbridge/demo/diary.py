"""Activities: what happened between people, and the part of it that somebody entered, somewhere, some day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crmbridge.demo.dice import DAY_S, YEAR_S, Dice, moment
from crmbridge.model import Entity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crmbridge.demo.book import Book
    from crmbridge.demo.people import Firm, Person, Seller, Society
    from crmbridge.demo.selling import Deal, Member

_KINDS = {"email": 44.0, "call": 20.0, "meeting": 23.0, "task": 10.0, "note": 3.0}
_EASE = {"email": 0.85, "call": 0.95, "meeting": 1.15, "task": 1.0, "note": 1.0}  # how likely a kind is to be entered
_HISTORY_S = 3 * YEAR_S


@dataclass(frozen=True, slots=True)
class Touch:
    """Something that happened: a kind, a time, a colleague and the people outside."""

    kind: str
    at_s: float
    owner: Seller
    people: Sequence[Person]


@dataclass(slots=True)
class Diary:
    """Writes touches into the book the way people do."""

    dice: Dice
    book: Book
    as_of_s: float

    def enter(self, touch: Touch, deal_id: str | None, firm: Firm | None) -> None:
        """Write a touch down as an activity with its participants."""
        occurred_s, entered_s = self._dates(touch)
        activity_id = self.dice.new_id("00T" if touch.kind != "meeting" else "00U")
        self.book.write(
            Entity.ACTIVITY,
            id=activity_id,
            kind="other" if self.dice.yes(0.02) else touch.kind,
            opportunity_id=deal_id,
            account_id=firm.id if firm else None,
            occurred_at=None if occurred_s is None else moment(occurred_s),
            owner_id=touch.owner.id,
            created_at=moment(entered_s),
            modified_at=moment(min(self.as_of_s, entered_s + self.dice.expovariate(1 / (9 * DAY_S)))),
        )
        for place, person in enumerate(touch.people):
            self._take_part(activity_id, touch.kind, place, person)
        if touch.kind == "meeting" and self.dice.yes(0.7):
            self._colleague(activity_id, touch.owner)

    def _dates(self, touch: Touch) -> tuple[float | None, float]:
        """When it happened as entered, and when it was entered: late, on the day of entry, undated, or mistyped."""
        late_s = self.dice.heavy(touch.owner.habits.delay_days, 1.3) * DAY_S
        entered_s = min(touch.at_s + late_s, self.as_of_s - self.dice.random() * 3600)
        fate = self.dice.random()
        if fate < 0.80:
            return touch.at_s, entered_s
        if fate < 0.93:
            return entered_s, entered_s
        if fate < 0.955:
            return None, entered_s
        if fate < 0.962:
            return touch.at_s + YEAR_S, entered_s
        if fate < 0.969:
            return touch.at_s - YEAR_S, entered_s
        return touch.at_s + self.dice.gauss(0, 9) * DAY_S, entered_s

    def _take_part(self, activity_id: str, kind: str, place: int, person: Person) -> None:
        part = {"email": ("from", "to", "to", "cc")[min(3, place + self.dice.randrange(2))], "meeting": "attendee"}.get(
            kind, "who"
        )
        if kind == "meeting" and place == 0 and self.dice.yes(0.5):
            part = "who"
        row = self.book.write(Entity.ACTIVITY_PARTICIPANT, id=self.dice.new_id("0RE"), activity_id=activity_id, kind=part)
        row.update(self._identity(person, kind))

    def _identity(self, person: Person, kind: str) -> dict[str, str | None]:
        """The contact mostly; its double, the lead, or only an address at other times."""
        dice = self.dice
        if person.lead_ids and dice.yes(0.15):
            return {"lead_id": dice.choice(person.lead_ids)}
        if person.email and kind in ("email", "meeting") and dice.yes(0.10):
            return {"email": _retyped(dice, person.email)}
        contact_id = person.contact_ids[0] if dice.yes(0.7) else dice.choice(person.contact_ids)
        return {"contact_id": contact_id, "email": person.email if dice.yes(0.2) else None}

    def _colleague(self, activity_id: str, owner: Seller) -> None:
        self.book.write(
            Entity.ACTIVITY_PARTICIPANT,
            id=self.dice.new_id("0RE"),
            activity_id=activity_id,
            user_id=owner.id,
            kind="attendee",
        )


def _retyped(dice: Dice, address: str) -> str:
    return address.upper() if dice.yes(0.1) else address.title() if dice.yes(0.15) else address


def keep_diaries(dice: Dice, book: Book, society: Society, deals: list[Deal], as_of_s: float) -> None:
    """Write the activities of every deal, and all that goes on at the firms besides."""
    diary = Diary(dice, book, as_of_s)
    for deal in deals:
        _follow_deal(diary, society, deal)
    for firm in society.firms:
        _follow_firm(diary, society, firm)


def _follow_deal(diary: Diary, society: Society, deal: Deal) -> None:
    dice = diary.dice
    if dice.yes(0.04):
        return  # a deal typed in after the handshake
    number = dice.count(min(70, dice.heavy(5 + 1.8 * len(deal.group), 0.7)))
    first_s, last_s = deal.created_s - 10 * DAY_S, min(deal.end_s + 4 * DAY_S, diary.as_of_s)
    for _ in range(number):
        touch = _deal_touch(dice, society, deal, first_s + dice.betavariate(1.1, 1.3) * (last_s - first_s))
        if dice.yes(touch.owner.habits.logged * _EASE[touch.kind]):
            _log_deal_touch(diary, deal, touch)


def _deal_touch(dice: Dice, society: Society, deal: Deal, at_s: float) -> Touch:
    kind = dice.pick(_KINDS)
    size = {
        "email": 1 + dice.count(0.6),
        "call": 1,
        "meeting": 2 + dice.count(1.2),
        "task": int(dice.yes(0.8)),
        "note": 0,
    }[kind]
    present = [member for member in deal.taking_part if member.joins_s <= at_s and member.person.is_known(at_s)]
    people = [member.person for member in dice.some(present, [member.involvement for member in present], size)]
    if kind == "meeting" and dice.yes(0.38):
        people += _passers_by(dice, deal, at_s, people)
    owner = deal.owner if dice.yes(0.9) else dice.choice(society.sellers + society.others)
    return Touch(kind, at_s, owner, people)


def _passers_by(dice: Dice, deal: Deal, at_s: float, people: list[Person]) -> list[Person]:
    """Colleagues who sit in on one meeting, mostly from the same unit."""
    near = [person for person in deal.firm.people if person.is_known(at_s) and person not in people]
    weights = [3.0 if person.unit == deal.unit else 1.0 for person in near]
    return dice.some(near, weights, 1 + dice.count(0.6))


def _log_deal_touch(diary: Diary, deal: Deal, touch: Touch) -> None:
    dice, habits = diary.dice, touch.owner.habits
    people = touch.people if dice.yes(habits.everyone) else touch.people[:1]
    entered = Touch(touch.kind, touch.at_s, touch.owner, people)
    place = dice.pick(habits.places)
    if place == "opportunity":
        filed = dice.choice(deal.firm.deals) if dice.yes(0.05) else deal
        diary.enter(entered, filed.id, deal.firm if dice.yes(0.6) else None)
    elif place == "account":
        diary.enter(entered, None, deal.firm)
    elif people:
        diary.enter(entered, None, None)


def _follow_firm(diary: Diary, society: Society, firm: Firm) -> None:
    """Everything that is not selling: support, account care, mass mail, cold calls and a recruiter now and then."""
    is_customer = firm.kind == "Customer" or any(deal.is_won for deal in firm.deals)
    if is_customer:
        _support(diary, society, firm)
        _account_care(diary, firm)
    _mass_mail(diary, society, firm)
    _cold_calls(diary, society, firm)
    if diary.dice.yes(0.06):
        _chat(diary, firm, diary.dice.choice(society.others), "other", 0.0, [diary.dice.choice(firm.people)])


def _chat(diary: Diary, firm: Firm, owner: Seller, kind: str, misfiled: float, people: Sequence[Person]) -> None:
    """Enter something that has nothing to do with a deal; now and then it is hung on an open one all the same."""
    dice = diary.dice
    at_s = diary.as_of_s - dice.random() * min(_HISTORY_S, diary.as_of_s - firm.since_s)
    known = [person for person in people if person.is_known(at_s)]
    if known:
        _file(diary, firm, Touch(kind, at_s, owner, known), misfiled)


def _file(diary: Diary, firm: Firm, touch: Touch, misfiled: float) -> None:
    dice = diary.dice
    running = [deal for deal in firm.deals if deal.created_s <= touch.at_s <= deal.end_s]
    deal_id = dice.choice(running).id if running and dice.yes(misfiled) else None
    diary.enter(touch, deal_id, firm if dice.yes(0.6) else None)


def _support(diary: Diary, society: Society, firm: Firm) -> None:
    dice = diary.dice
    regulars = dice.some(firm.people, [2.0 if person.level < 3 else 0.5 for person in firm.people], 1 + dice.count(1.0))
    staff = [colleague for colleague in society.others if colleague.team == "Support"]
    for _ in range(dice.count(min(60, 2.2 * len(firm.people) ** 0.6))):
        caller = dice.choice(regulars) if dice.yes(0.75) else dice.choice(firm.people)
        _chat(diary, firm, dice.choice(staff), dice.pick({"call": 5.0, "email": 4.0, "task": 3.0}), 0.07, [caller])


def _account_care(diary: Diary, firm: Firm) -> None:
    dice = diary.dice
    table = dice.some(firm.people, [0.4 + person.level for person in firm.people], 2 + dice.count(2.0))
    for _ in range(dice.count(1.0 + 0.8 * len(firm.people) ** 0.4)):
        guests = [person for person in table if dice.yes(0.7)]
        kind = dice.pick({"meeting": 6.0, "call": 2.0, "email": 3.0})
        _chat(diary, firm, firm.owner, kind, 0.16, guests if kind == "meeting" else guests[:1])


def _mass_mail(diary: Diary, society: Society, firm: Firm) -> None:
    dice = diary.dice
    if dice.yes(0.5):
        return
    staff = [colleague for colleague in society.others if colleague.team == "Marketing"]
    for person in firm.people:
        for _ in range(dice.count(0.8)):
            _chat(diary, firm, dice.choice(staff), "email", 0.03, [person])


def _cold_calls(diary: Diary, society: Society, firm: Firm) -> None:
    """Sequences of calls and mails to people who never asked."""
    dice = diary.dice
    for _ in range(dice.count(0.5 + 0.04 * len(firm.people))):
        person, caller = dice.choice(firm.people), dice.choice(society.others)
        start_s = diary.as_of_s - dice.random() * _HISTORY_S
        for step in range(1 + dice.count(2.0)):
            at_s = start_s + step * dice.uniform(1, 9) * DAY_S
            if at_s < diary.as_of_s and person.is_known(at_s):
                _file(diary, firm, Touch(dice.choice(("call", "email", "email")), at_s, caller, [person]), 0.15)


def strongest(members: list[Member]) -> Member:
    """The member who does most of the talking."""
    return max(members, key=lambda member: member.involvement)
