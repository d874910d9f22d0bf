"""The HubSpot adapter keeps the contract: in both families of paths, whether a portal replaces labels or appends them."""

from __future__ import annotations

from typing import ClassVar

import pytest
from held_worlds import held
from portals import crm_id, label_type, options

from crmbridge.adapters.hubspot import HubSpotAdapter
from crmbridge.model import Entity
from crmbridge.testing import AdapterConformance
from crmbridge.testing.sandbox import HubSpotSandbox, HubSpotSwitches
from crmbridge.testing.sandbox.hubspot.switches import Ids, LabelWrites


class HubSpotKit(AdapterConformance):
    adapter_class = HubSpotAdapter
    chosen: ClassVar[dict] = {}
    switches: ClassVar[dict] = {}

    def setup_method(self):
        super().setup_method()
        self.portals = []
        self.kind_of = {}

    def teardown_method(self):
        super().teardown_method()
        for portal in self.portals:
            portal.stop()

    def load(self, world):
        portal = HubSpotSandbox(_numbered(world), HubSpotSwitches(**self.switches))
        portal.start()
        self.portals.append(portal)
        for role in world.get(Entity.CONTACT_ROLE, ()):
            if role.is_primary and not role.is_deleted and "primary_label" in self.chosen:
                portal.link(role.opportunity_id, role.contact_id, [self.chosen["primary_label"]])
        return options(portal, touch_slice_days=1, **self.chosen)

    def crm_id(self, entity, text):
        return crm_id(entity, text)

    def sandbox(self, world):
        self.kind_of = {crm_id(Entity.ACTIVITY, one.id): one.kind for one in world.get(Entity.ACTIVITY, ())}
        return super().sandbox(held(world))

    def fit(self, record):
        """Links have the ids of what they link; activities are numbered by kind."""
        return record.model_copy(update=_LINK_IDS.get(record.entity, lambda *_: {})(record, self.kind_of))


def _numbered(world):
    """Activities under HubSpot's numbers again, without their kind before them."""
    fields = {Entity.ACTIVITY: "id", Entity.ACTIVITY_PARTICIPANT: "activity_id"}
    changed = {
        entity: [one.model_copy(update={field: getattr(one, field).rpartition(":")[2]}) for one in world.get(entity, ())]
        for entity, field in fields.items()
    }
    return {**world, **changed}


def _role(role, _):
    category, number = label_type(role.role)
    return {"id": f"{role.opportunity_id}:{role.contact_id}:{category}:{number}"}


def _participant(one, kind_of):
    activity = f"{kind_of[one.activity_id]}:{one.activity_id}"
    return {"id": f"{activity}:{one.contact_id}", "activity_id": activity}


_LINK_IDS = {
    Entity.CONTACT_ROLE: _role,
    Entity.ACTIVITY: lambda one, _: {"id": f"{one.kind}:{one.id}"},
    Entity.ACTIVITY_PARTICIPANT: _participant,
    Entity.ACCOUNT_CONTACT_RELATION: lambda one, _: {"id": f"{one.account_id}:{one.contact_id}"},
    Entity.OPPORTUNITY_ACCOUNT: lambda one, _: {"id": f"{one.opportunity_id}:{one.account_id}"},
    Entity.CAMPAIGN_MEMBER: lambda one, _: {"id": f"{one.campaign_id}:{one.contact_id}"},
}


class TestHubSpot(HubSpotKit):
    pass


@pytest.mark.slow
class TestHubSpotDatedPaths(HubSpotKit):
    chosen: ClassVar[dict] = {"api": "2026-03", "primary_label": "Other", "links_stay": True}
    switches: ClassVar[dict] = {
        "label_writes": LabelWrites.APPEND,
        "ids": Ids.TEXT,
        "archive_status": 200,
        "created_status": 200,
    }
