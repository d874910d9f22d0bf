"""What Salesforce tells otherwise than the canonical model has it. Every entry is explained in docs/parity.md."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, time

from crm_parity import AS_OF, Cause, Crm, Difference, World, each, in_turn

from crmbridge.model import Entity
from crmbridge.testing.sandbox import SalesforceSandbox

_WITH_IDS = (
    *(Entity.ACCOUNT, Entity.CONTACT, Entity.LEAD, Entity.OPPORTUNITY, Entity.CONTACT_ROLE, Entity.CAMPAIGN),
    *(Entity.CAMPAIGN_MEMBER, Entity.ACTIVITY, Entity.ACTIVITY_PARTICIPANT, Entity.ACCOUNT_CONTACT_RELATION, Entity.USER),
)


@contextmanager
def hold(world: World):
    """The world in an invented organisation with all its standard objects."""
    with SalesforceSandbox(world, clock=lambda: AS_OF) as org:
        options = {
            "base_url": org.url,
            "access_token": org.session_id,
            "left_field": "Has_Left__c",
            "team_field": "Department",
            "contact_lookup_fields": list(org.lookup_fields.values()),
        }
        yield {"adapter": "salesforce", "options": options}, {entity: org.id_map(entity) for entity in _WITH_IDS}


def _responded_on_a_day(member):
    at_noon = member.responded_at and datetime.combine(member.responded_at.astimezone(UTC).date(), time(12), UTC)
    return member.model_copy(update={"responded_at": at_noon})


def _never_inferred(member):
    return member.model_copy(update={"date_quality": "exact" if member.responded_at else None})


def _told_though_merged(record):
    return record.model_copy(update={"is_deleted": False}) if record.merged_into_id else record


def _addresses_in_mails_only(world: World) -> World:
    kind_of = {one.id: one.kind for one in world[Entity.ACTIVITY]}
    address_of = {one.id: one.email for one in world[Entity.CONTACT]}

    def told(one):
        if kind_of.get(one.activity_id) == "email":
            return one.model_copy(update={"email": one.email or address_of.get(one.contact_id)})
        is_a_record = one.contact_id or one.lead_id or one.user_id
        return one.model_copy(update={"email": None}) if is_a_record else None

    return each(Entity.ACTIVITY_PARTICIPANT, told)(world)


def _copies_in_mails_only(world: World) -> World:
    kind_of = {one.id: one.kind for one in world[Entity.ACTIVITY]}

    def told(one):
        kind = {"email": one.kind, "meeting": "attendee"}.get(kind_of.get(one.activity_id), "who")
        return one.model_copy(update={"kind": kind})

    return each(Entity.ACTIVITY_PARTICIPANT, told)(world)


SALESFORCE = Crm(
    name="salesforce",
    hold=hold,
    most=Difference(any=0.25, far=0.08, added=0.10),
    causes=(
        Cause(
            "the hour of a response",
            "CampaignMember.FirstRespondedDate is a date: it becomes noon UTC of that day",
            0.03,
            each(Entity.CAMPAIGN_MEMBER, _responded_on_a_day),
        ),
        Cause(
            "inferred responses",
            "a campaign member has no field that says whether its date of response was recorded or inferred later",
            0.08,
            each(Entity.CAMPAIGN_MEMBER, _never_inferred),
        ),
        Cause(
            "merged records",
            "queryAll gives the losers of a merge with MasterRecordId, so what names them finds the winner; "
            "a database that marks them as deleted leaves them out",
            0.02,
            in_turn(*(each(entity, _told_though_merged) for entity in (Entity.ACCOUNT, Entity.CONTACT, Entity.LEAD))),
        ),
        Cause(
            "further accounts of an opportunity",
            "an opportunity has one account; there is no standard object for partners and resellers on it",
            0.09,
            each(Entity.OPPORTUNITY_ACCOUNT, lambda _: None),
        ),
        Cause(
            "addresses",
            "TaskRelation and EventRelation hold records, never addresses; EmailMessageRelation holds both",
            0.12,
            _addresses_in_mails_only,
        ),
        Cause(
            "who got a copy",
            "only EmailMessageRelation tells sender, receiver and copy; the relations of tasks and events tell who took part",
            0.01,
            _copies_in_mails_only,
        ),
    ),
)
