"""A small world by hand: five deals of one company; contact fields name four people, and nobody has a role.

| deal | state | amount       | named in a contact field |
| O1   | open  | 100.10 EUR   | C1, C2                   |
| O2   | won   | 0.20 EUR     | C3, who was at a fair    |
| O3   | won   | unknown, USD | C4                       |
| O4   | lost  | 7 EUR        |                          |
| O5   | open  | unknown      |                          |
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from crmbridge.contract import RoleWrite, pair_state
from crmbridge.model import (
    Account,
    Campaign,
    CampaignMember,
    Contact,
    ContactRole,
    Opportunity,
    OpportunityContactLookup,
)
from crmbridge.testing.worlds import world_of

CREATED = datetime(2025, 1, 10, tzinfo=UTC)
LATER = datetime(2025, 5, 20, tzinfo=UTC)
PAIRS = {("O1", "C1"), ("O1", "C2"), ("O2", "C3"), ("O3", "C4")}


def deals(*more, without=()):
    """The world with further records, and without those of these ids."""
    records = [
        Account(id="A", name="Acme"),
        Campaign(id="fair", name="Fair"),
        CampaignMember(id="M1", campaign_id="fair", contact_id="C3", has_responded=True, responded_at=CREATED),
        *(contact(f"C{number}") for number in range(1, 5)),
        opportunity("O1", amount=Decimal("100.10"), currency="EUR"),
        opportunity("O2", amount=Decimal("0.20"), currency="EUR", is_closed=True, is_won=True),
        opportunity("O3", currency="USD", is_closed=True, is_won=True),
        opportunity("O4", amount=Decimal(7), currency="EUR", is_closed=True),
        opportunity("O5"),
        *(named(deal, person) for deal, person in sorted(PAIRS)),
    ]
    return world_of(record for record in [*records, *more] if record.id not in without)


def contact(identifier, **fields):
    return Contact(id=identifier, **{"account_id": "A", "last_name": f"Zorn{identifier}", "created_at": CREATED, **fields})


def opportunity(identifier, **fields):
    common = {"account_id": "A", "is_closed": False, "is_won": False, "close_date": date(2025, 3, 1), "created_at": CREATED}
    return Opportunity(id=identifier, name=f"Deal {identifier}", **{**common, **fields})


def named(deal, person):
    return OpportunityContactLookup(id=f"L-{deal}-{person}", opportunity_id=deal, contact_id=person, field="signer")


def given(deal, person, **fields):
    """A role that a person gave."""
    return ContactRole(id=f"R-{deal}-{person}", opportunity_id=deal, contact_id=person, is_primary=False, **fields)


def pairs(crm):
    return {(role.opportunity_id, role.contact_id) for number in range(1, 10) for role in crm.roles(f"O{number}")}


def planned(plan):
    return {(line.opportunity_id, line.contact_id) for line in plan.lines()}


def remove(crm, deal, person):
    """A person deletes a role by hand."""
    state = pair_state(crm.roles(deal), person)
    crm.write(RoleWrite(key="by hand", action="remove", opportunity_id=deal, contact_id=person, expected=state))


def change(crm, deal, person, **fields):
    """A person edits a role by hand."""
    (role,) = [role for role in crm.roles(deal) if role.contact_id == person]
    crm._keep(role.model_copy(update=fields))
