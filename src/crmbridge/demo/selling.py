"""The deals of the invented world and who really decides them: the hidden truth, before any record of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from crmbridge.demo.dice import DAY_S, YEAR_S, Dice

if TYPE_CHECKING:
    from crmbridge.demo.people import Firm, Person, Seller, Society

# What is sold, and how much each function of the customer cares for it.
PRODUCTS: dict[str, dict[str, float]] = {
    "Planning": {"operations": 5, "finance": 2, "it": 2, "data": 2, "executive": 2, "procurement": 1},
    "Payroll": {"hr": 6, "finance": 3, "it": 2, "legal": 1, "executive": 1.5, "procurement": 0.7},
    "Security": {"it": 6, "legal": 1.5, "engineering": 2, "executive": 1, "finance": 1, "procurement": 1},
    "Campaigns": {"marketing": 6, "sales": 2.5, "data": 2, "it": 1.2, "executive": 1.3, "finance": 0.7},
    "Sourcing": {"procurement": 6, "finance": 2.5, "operations": 2, "legal": 1, "it": 1, "executive": 1},
    "Design": {"engineering": 6, "it": 2, "operations": 2, "procurement": 1, "executive": 1},
    "Insight": {"data": 5, "finance": 2, "marketing": 1.5, "it": 2.5, "executive": 1.5, "operations": 1.5},
}
_STRANGE_FUNCTION = 0.35
_SCALE = {"EUR": 1.0, "USD": 1.1, "GBP": 0.86, "JPY": 160.0}
_OPEN_STAGES = {"Prospecting": 2, "Qualification": 3, "Needs Analysis": 2, "Proposal": 3, "Negotiation": 2}


@dataclass(slots=True)
class Member:
    """Someone who takes part in a deal; `part` is their true role, `None` for people who are merely around."""

    person: Person
    part: str | None
    involvement: float
    joins_s: float


@dataclass(slots=True)
class Deal:
    """A sale. `group` is the real buying group, `around` people who keep turning up without being part of it."""

    id: str
    firm: Firm
    product: str
    unit: int
    kind: str
    owner: Seller
    created_s: float
    end_s: float
    close_s: float
    is_closed: bool
    is_won: bool
    stage: str
    amount: float
    before: Deal | None = None
    group: list[Member] = field(default_factory=list)
    around: list[Member] = field(default_factory=list)
    allies: list[Firm] = field(default_factory=list)

    @property
    def taking_part(self) -> list[Member]:
        """The group and those around it."""
        return [*self.group, *self.around]


def sell(dice: Dice, society: Society, opportunities: int, as_of_s: float) -> list[Deal]:
    """Make the deals of about three years, oldest first, each with its true buying group of one to nine people."""
    firms = society.buyers
    chosen = dice.choices(firms, [len(firm.people) ** 0.5 for firm in firms], k=opportunities)
    starts = sorted((_draw_start(dice, as_of_s), number) for number in range(opportunities))
    deals = []
    for (created_s, is_open), number in starts:
        deal = _deal(dice, society, chosen[number], created_s, as_of_s, is_open=is_open)
        _gather(dice, society, deal)
        deal.firm.since_s = min(deal.firm.since_s, created_s - dice.uniform(0, 200) * DAY_S)
        deal.firm.deals.append(deal)
        deals.append(deal)
    return deals


def _draw_start(dice: Dice, as_of_s: float) -> tuple[float, bool]:
    """Draw when a deal begins and whether it is still open; a few open ones were forgotten long ago."""
    is_open = dice.yes(0.37)
    if is_open and dice.yes(0.8):
        return as_of_s - min(dice.heavy(75, 0.9), 500) * DAY_S, True
    return as_of_s - dice.uniform(20 * DAY_S, 3 * YEAR_S), is_open


def _deal(dice: Dice, society: Society, firm: Firm, created_s: float, as_of_s: float, *, is_open: bool) -> Deal:
    before = _earlier(dice, firm, created_s)
    kind = dice.pick({"Renewal": 5, "Upsell": 4, "New Business": 1}) if before else "New Business"
    size = len(firm.people) ** 0.45
    amount = dice.heavy(9_000 * size, 0.95) * (0.8 if kind == "Renewal" else 1.0)
    end_s = created_s + min(max(dice.heavy(55 + amount / 2_500, 0.6), 4), 400) * DAY_S
    if not is_open:
        end_s = min(end_s, dice.uniform((created_s + as_of_s) / 2, as_of_s - DAY_S))
    is_won = not is_open and dice.yes(0.62 if kind == "Renewal" else 0.31)
    return Deal(
        id=dice.new_id("006"),
        firm=firm,
        product=before.product if before and kind == "Renewal" else dice.choice(list(PRODUCTS)),
        unit=before.unit if before and kind != "New Business" else dice.randrange(firm.units),
        kind=kind,
        owner=firm.owner if dice.yes(0.7) else dice.choice(society.sellers),
        created_s=created_s,
        end_s=as_of_s if is_open else end_s,
        close_s=max(end_s, as_of_s + dice.uniform(-60, 120) * DAY_S) if is_open and dice.yes(0.8) else end_s,
        is_closed=not is_open,
        is_won=is_won,
        stage=dice.pick(_OPEN_STAGES) if is_open else "Closed Won" if is_won else "Closed Lost",
        amount=amount,
        before=before if kind != "New Business" else None,
    )


def _earlier(dice: Dice, firm: Firm, created_s: float) -> Deal | None:
    won = [deal for deal in firm.deals if deal.is_won and deal.end_s < created_s]
    return dice.choice(won) if won and dice.yes(0.75) else None


def draw_amount(dice: Dice, deal: Deal) -> Decimal | None:
    """The amount as entered, in the firm's currency; a few deals have none or zero."""
    if dice.yes(0.05):
        return dice.choice((None, None, Decimal(0)))
    money = deal.amount * _SCALE[deal.firm.currency]
    if deal.firm.currency == "JPY":
        return Decimal(round(money, -3))
    return Decimal(round(money, -2)) if dice.yes(0.7) else Decimal(round(money * 100)).scaleb(-2)


def _gather(dice: Dice, society: Society, deal: Deal) -> None:
    """Choose the buying group and the people around it, and settle since when the CRM knows them."""
    wanted = min(9, max(1, round(dice.heavy(1.5 + (deal.amount / 4_000) ** 0.42, 0.38))))
    people = _candidates(dice, society, deal)
    kept = [member.person for member in deal.before.group if member.person.is_here(deal.created_s)] if deal.before else []
    chosen = [person for person in kept if dice.yes(0.62)][:wanted]
    rest = [person for person in people if person not in chosen]
    chosen += dice.some(rest, [_pull(dice, deal, person) for person in rest], wanted - len(chosen))
    _settle(dice, deal, chosen, share=0.55)
    deal.group = [_member(dice, deal, person, _part(dice, person, place)) for place, person in enumerate(chosen)]
    _surround(dice, society, deal, [person for person in deal.firm.people if person not in chosen])


def _candidates(dice: Dice, society: Society, deal: Deal) -> list[Person]:
    """People of the firm, now and then also of its parent or an independent consultant."""
    people = [person for person in deal.firm.people if person.is_here(deal.created_s)]
    if deal.firm.parent and dice.yes(0.35):
        people += [person for person in deal.firm.parent.people if person.level >= 2 and person.is_here(deal.created_s)][:3]
    if dice.yes(0.04):
        people.append(dice.choice(dice.choice(society.consultants).people))
    return people or deal.firm.people[:1]


def _pull(dice: Dice, deal: Deal, person: Person) -> float:
    """How strongly a deal draws a person in: their function, their unit, their rank, and a good deal of luck."""
    function = PRODUCTS[deal.product].get(person.function, _STRANGE_FUNCTION)
    unit = 3.0 if person.unit == deal.unit else 1.3 if person.unit == 0 else 0.35
    rank = (0.35, 0.9, 1.5, 1.7, 1.0)[person.level] * (1.0 + min(deal.amount, 400_000) / 250_000 * (person.level >= 3))
    return function * unit * rank * dice.heavy(1.0, 0.8)


def _settle(dice: Dice, deal: Deal, people: list[Person], *, share: float) -> None:
    """Decide when people first entered the CRM: long before, or in the course of this deal."""
    span_s = max(deal.end_s - deal.created_s, DAY_S)
    for person in people:
        if not person.is_anchored:
            if dice.yes(share):
                person.known_s = deal.created_s + max(-4 * DAY_S, dice.uniform(-0.15, 0.7) * span_s)
            elif person.known_s > deal.created_s:
                person.known_s = deal.created_s - dice.uniform(0, 600) * DAY_S
            person.is_anchored = True
        if person.left_s is not None and person.left_s < person.known_s:
            person.left_s = None


def _part(dice: Dice, person: Person, place: int) -> str:
    """The true role: follows function and rank more often than not."""
    if dice.yes(0.12):
        return dice.choice(("Influencer", "Evaluator", "Business User", "Decision Maker"))
    if person.level == 4:
        return dice.pick({"Executive Sponsor": 4, "Economic Buyer": 3, "Decision Maker": 4})
    if person.function in ("finance", "procurement"):
        return dice.pick({"Economic Buyer": 5, "Evaluator": 2, "Influencer": 2})
    if person.function in ("it", "engineering", "data"):
        return dice.pick({"Technical Buyer": 5, "Evaluator": 3, "Influencer": 1, "Decision Maker": person.level})
    if person.level == 3:
        return dice.pick({"Decision Maker": 6, "Influencer": 2, "Economic Buyer": 1})
    return dice.pick({"Business User": 4, "Evaluator": 2, "Influencer": 2 + (place == 0)})


def _member(dice: Dice, deal: Deal, person: Person, part: str | None) -> Member:
    """How much of the talking a person does: sponsors and signers speak seldom, evaluators all the time."""
    median = {"Executive Sponsor": 0.3, "Economic Buyer": 0.55, "Influencer": 0.6, "Evaluator": 1.5}.get(part or "", 1.0)
    late = dice.random() ** 2 * 0.8 * (deal.end_s - deal.created_s)
    return Member(person, part, dice.heavy(median, 0.9), deal.created_s - 10 * DAY_S + late)


def _surround(dice: Dice, society: Society, deal: Deal, others: list[Person]) -> None:
    """Choose who keeps turning up without a say: assistants, curious colleagues, a partner's people."""
    here = [person for person in others if person.is_here(deal.created_s)]
    weights = [(3.0 if person.unit == deal.unit else 1.0) * (1.6, 1.2, 1.0, 0.6, 0.3)[person.level] for person in here]
    near = dice.some(here, weights, dice.count(1.5))
    _settle(dice, deal, near, share=0.4)
    if dice.yes(0.12):
        ally = dice.choice(society.partners)
        deal.allies.append(ally)
        near += dice.sample(ally.people, min(len(ally.people), 1 + dice.count(0.5)))
    if dice.yes(0.05):
        near.append(dice.choice(dice.choice(society.consultants).people))
    if dice.yes(0.015):
        near.append(dice.choice(dice.choice(society.competitors).people))
    if society.colleagues and dice.yes(0.04):
        near.append(dice.choice(society.colleagues))
    chosen = {id(member.person) for member in deal.group}
    deal.around = [_member(dice, deal, person, None) for person in near if id(person) not in chosen]
    for member in deal.around:
        member.involvement *= 0.55
