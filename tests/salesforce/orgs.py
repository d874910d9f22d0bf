"""Sandboxes and adapters for these tests: real HTTP, no waiting."""

from datetime import UTC, datetime, timedelta

from crmbridge.adapters.salesforce import SalesforceAdapter, SalesforceOptions
from crmbridge.model import Entity
from crmbridge.testing.sandbox.salesforce import ids

PREFIXES = {
    Entity.ACCOUNT: "001",
    Entity.CONTACT: "003",
    Entity.LEAD: "00Q",
    Entity.OPPORTUNITY: "006",
    Entity.CONTACT_ROLE: "00K",
    Entity.CAMPAIGN: "701",
    Entity.CAMPAIGN_MEMBER: "00v",
    Entity.ACTIVITY: "00T",
    Entity.ACTIVITY_PARTICIPANT: "0CZ",
    Entity.ACCOUNT_CONTACT_RELATION: "07k",
    Entity.USER: "005",
    Entity.EXCHANGE_RATE: "04w",
}
# The first activity of the small world is a meeting.
MEETING = {"activity-1": "00U", "participant-1": "0RE"}
RECENTLY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
QUICK = {"poll_s": 0.001, "settle_wait_s": 0, "team_field": "Department", "left_field": "Has_Left__c"}


def crm_id(entity, text):
    return ids.made_from(MEETING.get(text, PREFIXES.get(entity, "001")), text)


def options(sandbox, **given):
    return SalesforceOptions(**{"access_token": sandbox.session_id, "base_url": sandbox.url} | QUICK | given)


def open_adapter(sandbox, **given):
    return SalesforceAdapter(options(sandbox, **given))
