"""Sandboxes and adapters for these tests: real HTTP, no waiting."""

from __future__ import annotations

from functools import cache

from crmbridge.adapters.hubspot import HubSpotAdapter, HubSpotOptions
from crmbridge.model import Entity
from crmbridge.testing.sandbox.hubspot import ids
from crmbridge.testing.sandbox.hubspot.switches import ROLE_LABELS

QUICK = {"settle_wait_s": 0, "time_zone": "UTC"}
PLAIN = ("HUBSPOT_DEFINED", 3)


@cache
def crm_id(entity, text):
    return ids.guid(text) if entity is Entity.CAMPAIGN else ids.number(text)


def options(portal, **given):
    return HubSpotOptions(**{"access_token": portal.access_token, "base_url": portal.url} | QUICK | given)


def open_adapter(portal, **given):
    return HubSpotAdapter(options(portal, **given))


def label_type(role):
    """The type of a role in a portal that has the labels of the demo world."""
    return PLAIN if role is None else ("USER_DEFINED", 101 + 2 * ROLE_LABELS.index(role))
