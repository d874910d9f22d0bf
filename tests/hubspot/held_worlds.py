"""The kit's worlds as a portal can hold them: what HubSpot has no place for is left out, what it adds by itself is added.

Each change is a fact of HubSpot, told in docs/adapters/hubspot.md and docs/parity.md.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from crmbridge.model import Contact, Entity, OpportunityAccount

RECENTLY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
_STAMPED = (Entity.ACCOUNT, Entity.CONTACT, Entity.LEAD, Entity.OPPORTUNITY, Entity.CAMPAIGN, Entity.ACTIVITY)


def held(world):
    """The world of a portal; ids are still the world's."""
    for change in (_stamped, _leads_on_contacts, _pipelines, _companies_of_deals, _relations, _touches, _people, _graves):
        world = change(world)
    return world


def _stamped(world):
    """Everything has a moment of creation."""
    return {
        entity: [one.model_copy(update={"created_at": one.created_at or one.modified_at}) for one in group]
        if entity in _STAMPED
        else group
        for entity, group in world.items()
    }


def _leads_on_contacts(world):
    """A lead is about a contact, who has the name and the address."""
    contacts, leads = list(world[Entity.CONTACT]), []
    for lead in world[Entity.LEAD]:
        contact_id = lead.converted_contact_id or f"contact of {lead.id}"
        if lead.converted_contact_id is None:
            fields = ("first_name", "last_name", "email", "title", "owner_id", "created_at", "modified_at")
            contacts.append(Contact(id=contact_id, **{name: getattr(lead, name) for name in fields}))
        leads.append(lead.model_copy(update={"converted_contact_id": contact_id, "is_converted": True}))
    return {**world, Entity.CONTACT: contacts, Entity.LEAD: leads}


def _pipelines(world):
    """Every deal is in a pipeline."""
    deals = [one.model_copy(update={"record_type": one.record_type or "Sales Pipeline"}) for one in world[Entity.OPPORTUNITY]]
    return {**world, Entity.OPPORTUNITY: deals}


def _companies_of_deals(world):
    """A deal's own company is an association like the others, and the primary one."""
    rows = {}
    for deal in world[Entity.OPPORTUNITY]:
        if deal.account_id and not deal.is_deleted:
            rows[deal.id, deal.account_id] = True
    for one in world[Entity.OPPORTUNITY_ACCOUNT]:
        rows.setdefault((one.opportunity_id, one.account_id), False)
    changed = {deal.id: deal.modified_at for deal in world[Entity.OPPORTUNITY]}
    links = [
        OpportunityAccount(
            id=f"{deal}:{account}", opportunity_id=deal, account_id=account, is_primary=is_primary, modified_at=changed[deal]
        )
        for (deal, account), is_primary in rows.items()
    ]
    return {**world, Entity.OPPORTUNITY_ACCOUNT: links}


def _relations(world):
    """The companies of a contact besides its own; an association that is over is none."""
    contacts = {one.id: one for one in world[Entity.CONTACT]}
    rows = []
    for one in world[Entity.ACCOUNT_CONTACT_RELATION]:
        contact = contacts[one.contact_id]
        other = next(account.id for account in world[Entity.ACCOUNT] if account.id != contact.account_id)
        account_id = other if one.account_id == contact.account_id else one.account_id
        facts = {"account_id": account_id, "is_direct": False, "is_active": True, "modified_at": contact.modified_at}
        rows.append(one.model_copy(update=facts))
    return {**world, Entity.ACCOUNT_CONTACT_RELATION: rows}


def _touches(world):
    """Members are contacts; a response has a day, found out by asking; joining a list has a moment."""
    contact_of = {lead.id: lead.converted_contact_id for lead in world[Entity.LEAD]}
    rows = []
    for one in world[Entity.CAMPAIGN_MEMBER]:
        day = one.responded_at or one.created_at
        facts = {"contact_id": one.contact_id or contact_of[one.lead_id], "lead_id": None, "modified_at": None}
        facts["date_quality"] = "inferred" if one.has_responded else "exact"
        facts["responded_at"] = day.replace(hour=12, minute=0, second=0) if one.has_responded else None
        rows.append(one.model_copy(update=facts))
    return {**world, Entity.CAMPAIGN_MEMBER: rows}


def _people(world):
    """Who took part is a contact."""
    activities = {one.id: one for one in world[Entity.ACTIVITY]}
    rows = [
        one.model_copy(update={"modified_at": activities[one.activity_id].modified_at})
        for one in world[Entity.ACTIVITY_PARTICIPANT]
        if one.contact_id
    ]
    return {**world, Entity.ACTIVITY_PARTICIPANT: rows}


def _graves(world):
    """What was archived is kept for 90 days; a merge changes the survivor."""
    survivors = {one.merged_into_id for group in world.values() for one in group if getattr(one, "merged_into_id", None)}
    return {
        entity: [
            one.model_copy(update={"modified_at": RECENTLY}) if getattr(one, "is_deleted", None) or one.id in survivors else one
            for one in group
        ]
        for entity, group in world.items()
    }
