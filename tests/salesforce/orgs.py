"""Sandboxes and adapters for these tests: real HTTP, no waiting."""

from datetime import UTC, datetime, timedelta
from functools import cache

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


@cache
def crm_id(entity, text):
    return ids.made_from(MEETING.get(text, PREFIXES.get(entity, "001")), text)


def options(sandbox, **given):
    return SalesforceOptions(**{"access_token": sandbox.session_id, "base_url": sandbox.url} | QUICK | given)


def open_adapter(sandbox, **given):
    return SalesforceAdapter(options(sandbox, **given))


def login_options(sandbox, way, pem):
    known = sandbox.credentials
    return {
        "jwt": {"consumer_key": known.consumer_key, "username": known.username, "private_key": pem},
        "client credentials": {
            "consumer_key": known.consumer_key,
            "consumer_secret": known.consumer_secret,
            "domain": "acme.my",
        },
        "access token": {"access_token": known.session_id},
        "password": {"username": known.username, "password": known.password, "security_token": known.security_token},
    }[way]


def private_key():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *form).decode()
