"""Who exists in the invented world: the vendor's own staff with their habits, the firms, and the people in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crmbridge.demo.dice import DAY_S, YEAR_S, Dice
from crmbridge.demo.names import FIRM_FORMS, FIRM_STEMS, FIRM_TRADES, draw_name, plain
from crmbridge.demo.titles import FUNCTIONS, draw_title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crmbridge.demo.selling import Deal

OWN_DOMAIN = "crestline.example"
PRIVATE_MAIL = ("freepost.example", "postfach.test", "courrier-libre.example", "correo.test")
_FUNCTION_SHARE = dict(zip(FUNCTIONS, (5, 11, 15, 16, 9, 7, 9, 9, 3, 11, 5), strict=True))
_LEVEL_SHARE = {0: 17, 1: 31, 2: 28, 3: 17, 4: 7}
_LANGUAGE_SHARE = {"en": 46, "de": 28, "fr": 14, "es": 12}
_KIND_SHARE: Mapping[str | None, float] = {"Customer": 46, "Prospect": 38, None: 12, "Other": 4}
_MOST_PEOPLE = 200


@dataclass(frozen=True, slots=True)
class Habits:
    """How one seller treats the CRM.

    `logged` is the share of touches ever entered; `places` weighs where they are hung (opportunity, account, contact);
    `everyone` is the chance to enter all who took part instead of one; `delay_days` the typical wait before entering;
    `roles` names the habit with contact roles.
    """

    logged: float
    places: Mapping[str, float]
    everyone: float
    delay_days: float
    roles: str


@dataclass(frozen=True, slots=True)
class Seller:
    """A colleague with a user of the CRM."""

    id: str
    name: str
    email: str
    team: str
    habits: Habits
    is_active: bool


@dataclass(slots=True)
class Person:
    """A human being outside the vendor. `contact_ids` starts with the record that most people use."""

    firm: Firm
    first: tuple[str, str]
    last: tuple[str, str]
    function: str
    level: int
    unit: int
    email: str | None
    title: str | None
    known_s: float
    left_s: float | None
    curiosity: float
    contact_ids: list[str]
    merged_ids: list[str] = field(default_factory=list)
    lead_ids: list[str] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)  # deals that a lead of this person was converted into
    is_anchored: bool = False  # `known_s` is settled by a deal

    def is_here(self, at_s: float) -> bool:
        """Tell whether the person works at the firm then."""
        return self.left_s is None or self.left_s > at_s

    def is_known(self, at_s: float) -> bool:
        """Tell whether the CRM has the contact by then and the person is still at the firm."""
        return self.known_s <= at_s and self.is_here(at_s)


@dataclass(slots=True)
class Firm:
    """A company with its people and, once sold to, its deals."""

    id: str
    name: str
    domain: str
    language: str
    currency: str
    kind: str | None
    units: int
    owner: Seller
    since_s: float
    parent: Firm | None = None
    people: list[Person] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)


@dataclass(slots=True)
class Society:
    """Everybody: `buyers` are sold to; the others turn up in meetings and lists."""

    sellers: list[Seller]
    others: list[Seller]
    buyers: list[Firm]
    partners: list[Firm]
    consultants: list[Firm]
    competitors: list[Firm]
    colleagues: list[Person] = field(default_factory=list)  # staff who were entered as contacts

    @property
    def firms(self) -> list[Firm]:
        """Every firm, buyers first."""
        return [*self.buyers, *self.partners, *self.consultants, *self.competitors]

    @property
    def persons(self) -> list[Person]:
        """Everybody who is a contact at a firm, the vendor's own staff left out."""
        return [person for firm in self.firms for person in firm.people]


_ON_DEAL = {"opportunity": 0.86, "account": 0.06, "contact": 0.08}
_ON_ACCOUNT = {"opportunity": 0.22, "account": 0.62, "contact": 0.16}
_ON_CONTACT = {"opportunity": 0.18, "account": 0.07, "contact": 0.75}
_MIXED = {"opportunity": 0.50, "account": 0.18, "contact": 0.32}
_LOGGING = (
    # share of sellers, share of touches logged, where, chance to enter everybody, days late
    (0.22, 0.85, _ON_DEAL, 0.85, 0.6),
    (0.14, 0.60, _ON_ACCOUNT, 0.55, 2.0),
    (0.18, 0.60, _ON_CONTACT, 0.45, 2.0),
    (0.28, 0.55, _MIXED, 0.65, 1.5),
    (0.18, 0.13, _MIXED, 0.40, 9.0),
)
_ROLE_HABITS = (
    (0.53, "none"),
    (0.14, "champion"),
    (0.09, "signer"),
    (0.09, "first record"),
    (0.15, "diligent"),
)
_SALES_TEAMS = {"Enterprise": 3.0, "Mid-Market": 4.0, "SMB": 2.0, "Renewals": 1.5}
_OTHER_TEAMS = ("Support", "Customer Success", "Sales Development", "Marketing")


def _spread(dice: Dice, shares: list[float], number: int) -> list[int]:
    """Deal out `number` places among kinds by their shares, in random order."""
    total, upto, places = sum(shares), 0.0, []
    for kind, share in enumerate(shares):
        before, upto = round(upto / total * number), upto + share
        places += [kind] * (round(upto / total * number) - before)
    dice.shuffle(places)
    return places


def hire(dice: Dice, opportunities: int) -> tuple[list[Seller], list[Seller]]:
    """Hire sellers, about one for 60 deals, and the colleagues of other teams."""
    number = max(8, min(90, opportunities // 60))
    logging = _spread(dice, [row[0] for row in _LOGGING], number)
    roles = _spread(dice, [row[0] for row in _ROLE_HABITS], number)
    sellers = [
        _colleague(dice, dice.pick(_SALES_TEAMS), _habits(dice, way, habit)) for way, habit in zip(logging, roles, strict=True)
    ]
    quiet = _habits(dice, 3, 0)
    others = [_colleague(dice, team, quiet) for team in _OTHER_TEAMS for _ in range(max(2, number // 9))]
    return sellers, others


def _habits(dice: Dice, way: int, habit: int) -> Habits:
    _, logged, places, everyone, delay_days = _LOGGING[way]
    wobble = dice.uniform(0.85, 1.12)
    return Habits(logged * wobble, places, everyone * wobble, delay_days, _ROLE_HABITS[habit][1])


def _colleague(dice: Dice, team: str, habits: Habits) -> Seller:
    first, last = draw_name(dice, "en")
    mailbox = f"{plain(first[1])}.{plain(last[1])}{dice.randrange(2, 99)}@{OWN_DOMAIN}"
    return Seller(dice.new_id("005"), f"{first[0]} {last[0]}", mailbox, team, habits, dice.yes(0.9))


def populate(dice: Dice, opportunities: int, as_of_s: float) -> Society:
    """Make the staff, about one buying firm for three deals, and the other firms around them."""
    sellers, others = hire(dice, opportunities)
    number = max(4, round(opportunities * 0.34))
    domains: set[str] = set()

    def found(kind: str | None, sizes: float) -> Firm:
        firm = _firm(dice, kind, dice.choice(sellers), as_of_s, domains)
        size = min(_MOST_PEOPLE, max(1, int(sizes * dice.paretovariate(1.0))))
        firm.units = 1 + min(6, size // 12)
        mailboxes: set[str] = set()
        firm.people = [_person(dice, firm, as_of_s, mailboxes) for _ in range(size)]
        return firm

    buyers = [found(dice.pick(_KIND_SHARE), 1.7) for _ in range(number)]
    partners = [found("Partner", 2.0) for _ in range(max(2, number // 25))]
    consultants = [found(dice.choice(("Consultant", "Other", None)), 1.0) for _ in range(max(2, number // 30))]
    competitors = [found("Competitor", 1.0) for _ in range(max(1, number // 80))]
    _adopt(dice, buyers)
    return Society(sellers, others, buyers, partners, consultants, competitors)


def _adopt(dice: Dice, firms: list[Firm]) -> None:
    """Give some firms a parent company; chains stay one level deep."""
    for firm in firms:
        mother = dice.choice(firms)
        if dice.yes(0.08) and mother is not firm and mother.parent is None and all(child.parent is not firm for child in firms):
            firm.parent = mother


def _firm(dice: Dice, kind: str | None, owner: Seller, as_of_s: float, taken: set[str]) -> Firm:
    language = dice.pick(_LANGUAGE_SHARE)
    stem, trade = dice.choice(FIRM_STEMS), dice.choice(FIRM_TRADES)
    name = f"{stem} {trade} {dice.choice(FIRM_FORMS[language])}".strip()
    currency = dice.pick({"USD": 5, "GBP": 3, "JPY": 1, "EUR": 2}) if language == "en" else "EUR"
    since_s = as_of_s - dice.uniform(0.3, 7) * YEAR_S
    return Firm(
        dice.new_id("001"),
        name,
        _domain(dice, f"{stem}-{trade}", language, taken),
        language,
        currency,
        kind,
        1,
        owner,
        since_s,
    )


def _domain(dice: Dice, words: str, language: str, taken: set[str]) -> str:
    label = plain(words, language).replace("-", dice.choice(("-", "")))
    domain = f"{label}.{dice.choice(('example', 'test'))}"
    while domain in taken:
        domain = f"{label}{dice.randrange(2, 9999)}.{dice.choice(('example', 'test'))}"
    taken.add(domain)
    return domain


def _person(dice: Dice, firm: Firm, as_of_s: float, taken: set[str]) -> Person:
    first, last = draw_name(dice, firm.language)
    function, level = dice.pick(_FUNCTION_SHARE), dice.pick(_LEVEL_SHARE)
    known_s = dice.uniform(firm.since_s, as_of_s - 3 * DAY_S)
    left_s = dice.uniform(known_s, as_of_s + 0.3 * YEAR_S) if dice.yes(0.09) else None
    return Person(
        firm=firm,
        first=first,
        last=last,
        function=function,
        level=level,
        unit=dice.randrange(firm.units),
        email=_mailbox(dice, firm, first[1], last[1], taken),
        title=draw_title(dice, function, level, firm.language),
        known_s=known_s,
        left_s=left_s if left_s is not None and left_s < as_of_s else None,
        curiosity=dice.heavy(1.0, 1.0),
        contact_ids=[dice.new_id("003")],
    )


def _mailbox(dice: Dice, firm: Firm, first: str, last: str, taken: set[str]) -> str | None:
    if dice.yes(0.07):
        return None
    given, family = plain(first, firm.language), plain(last, firm.language)
    domain = dice.choice(PRIVATE_MAIL) if dice.yes(0.03) else firm.domain
    if domain == firm.domain and dice.yes(0.03):
        domain = f"mail.{domain}"
    local = dice.choice(
        (f"{given}.{family}", f"{given}.{family}", f"{given[:1]}.{family}", f"{given[:1]}{family}", f"{family}.{given}")
    )
    # private mail is shared by the whole world, so those names always carry a number
    stem, address = (
        local,
        f"{local}@{domain}" if domain not in PRIVATE_MAIL else f"{local}{dice.randrange(10**6)}@{domain}",
    )
    while address in taken:
        address = f"{stem}{dice.randrange(2, 999)}@{domain}"
    taken.add(address)
    return address
