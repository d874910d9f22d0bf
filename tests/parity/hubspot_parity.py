"""What HubSpot tells otherwise than the canonical model has it. Every entry is explained in docs/parity.md."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, time

from crm_parity import AS_OF, Cause, Crm, Difference, World, each, in_turn

from crmbridge.model import Contact, Entity
from crmbridge.testing.sandbox import HubSpotSandbox

_WITH_IDS = (*(Entity.ACCOUNT, Entity.CONTACT, Entity.LEAD, Entity.OPPORTUNITY, Entity.CAMPAIGN, Entity.ACTIVITY, Entity.USER),)
"""The others are links, and have the ids of what they link."""


@contextmanager
def hold(world: World):
    """The world in an invented portal."""
    with HubSpotSandbox(world, clock=lambda: AS_OF) as portal:
        options = {
            "base_url": portal.url,
            "access_token": portal.access_token,
            "time_zone": "UTC",
            "settle_wait_s": 0,
            "index_lag_s": 0,
            "touch_slice_days": 1,
            "left_property": "has_left",
        }
        yield {"adapter": "hubspot", "options": options}, {entity: portal.id_map(entity) for entity in _WITH_IDS}


def _leads_on_contacts(world: World) -> World:
    """Who is a lead only gets a contact of their own; what a lead did, its contact did."""
    contact_of = {lead.id: lead.converted_contact_id or f"contact of {lead.id}" for lead in world[Entity.LEAD]}
    own = [_own_contact(lead, contact_of[lead.id]) for lead in world[Entity.LEAD] if lead.converted_contact_id is None]

    def standing(lead):
        return lead.model_copy(update={"converted_contact_id": contact_of[lead.id], "first_name": None, "email": None})

    def by_contact(one):
        return one.model_copy(update={"contact_id": one.contact_id or contact_of.get(one.lead_id), "lead_id": None})

    world = {**world, Entity.CONTACT: [*world[Entity.CONTACT], *own]}
    deeds = (each(entity, by_contact) for entity in (Entity.CAMPAIGN_MEMBER, Entity.ACTIVITY_PARTICIPANT))
    return in_turn(each(Entity.LEAD, standing), *deeds)(world)


def _own_contact(lead, contact_id):
    fields = ("first_name", "last_name", "email", "title", "owner_id", "created_at", "modified_at", "is_deleted")
    return Contact(id=contact_id, **{name: getattr(lead, name) for name in fields})


def _responded_on_a_day(member):
    moment = member.has_responded and (member.responded_at or member.created_at)
    at_noon = datetime.combine(moment.astimezone(UTC).date(), time(12), UTC) if moment else None
    return member.model_copy(update={"responded_at": at_noon})


def _always_inferred(member):
    return member.model_copy(update={"date_quality": "inferred" if member.has_responded else "exact"})


def _first_response_only(world: World) -> World:
    dated = [one for one in world[Entity.CAMPAIGN_MEMBER] if one.responded_at and not one.is_deleted]
    first = {(one.campaign_id, one.contact_id): one.id for one in sorted(dated, key=lambda one: one.responded_at, reverse=True)}

    def told(one):
        return one if first.get((one.campaign_id, one.contact_id), one.id) == one.id else None

    return each(Entity.CAMPAIGN_MEMBER, told)(world)


def _told_though_merged(record):
    return record.model_copy(update={"is_deleted": False}) if record.merged_into_id else record


def _no_addresses(one):
    return one.model_copy(update={"email": None}) if one.contact_id or one.lead_id or one.user_id else None


def _no_copies(one):
    return one.model_copy(update={"kind": "to"}) if one.kind == "cc" else one


def _happened_when_entered(activity):
    return activity.model_copy(update={"occurred_at": activity.occurred_at or activity.created_at})


def _made_when_changed(contact):
    return contact.model_copy(update={"created_at": contact.created_at or contact.modified_at})


HUBSPOT = Crm(
    name="hubspot",
    hold=hold,
    most=Difference(any=0.55, far=0.11, added=0.17),
    causes=(
        Cause(
            "leads",
            "a lead is about a contact, hs_primary_contact_id; name, address, touches and activities are that contact's",
            0.06,
            _leads_on_contacts,
        ),
        Cause(
            "the hour of a response",
            "a campaign's reports name contacts between two days, without moments: a response is at noon UTC of its day",
            0.02,
            each(Entity.CAMPAIGN_MEMBER, _responded_on_a_day),
        ),
        Cause(
            "recorded responses",
            "a day found by asking report after report is marked as inferred, whatever the portal once knew of it",
            0.43,
            each(Entity.CAMPAIGN_MEMBER, _always_inferred),
        ),
        Cause(
            "a second response",
            "a report names a contact once: the earliest day stands for all responses to that campaign",
            0.001,
            _first_response_only,
        ),
        Cause(
            "when a lead was converted",
            "a lead has a link to the deal, and no moment at which it became one",
            0.001,
            each(Entity.LEAD, lambda lead: lead.model_copy(update={"converted_at": None})),
        ),
        Cause(
            "merged records",
            "a survivor names those merged into it, hs_merged_object_ids, so what names them finds the winner; "
            "a database that marks them as deleted leaves them out",
            0.01,
            in_turn(*(each(entity, _told_though_merged) for entity in (Entity.ACCOUNT, Entity.CONTACT, Entity.LEAD))),
        ),
        Cause(
            "fields that name a contact",
            "a deal has no field that names a contact; it is linked to contacts, with labels, and those links are its roles",
            0.02,
            each(Entity.OPPORTUNITY_CONTACT_LOOKUP, lambda _: None),
        ),
        Cause(
            "addresses",
            "an activity is linked to contacts: a link holds a record, never an address; the addresses in an e-mail's "
            "properties are not read",
            0.15,
            each(Entity.ACTIVITY_PARTICIPANT, _no_addresses),
        ),
        Cause(
            "who got a copy",
            "a link tells that a contact took part, not how; of an e-mail only its direction is read",
            0.01,
            each(Entity.ACTIVITY_PARTICIPANT, _no_copies),
        ),
        Cause(
            "undated activities",
            "an activity must have its hs_timestamp: one that nobody dated is at the moment of its entry",
            0.05,
            each(Entity.ACTIVITY, _happened_when_entered),
        ),
        Cause(
            "undated contacts",
            "every record has its createdate; the sandbox takes the moment of the last change where nobody knows better",
            0.002,
            each(Entity.CONTACT, _made_when_changed),
        ),
    ),
)
