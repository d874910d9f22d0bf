"""The whole main job on an invented Salesforce, through the real client over real HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.world import make_world
from crmbridge.testing.sandbox import SalesforceSandbox

_COLUMNS = ("OpportunityId", "ContactId", "Role", "IsPrimary")


def _roles(org: SalesforceSandbox) -> list[tuple]:
    return sorted(tuple(row[name] for name in ("Id", *_COLUMNS)) for row in org.rows("OpportunityContactRole"))


def _settings(org: SalesforceSandbox, folder) -> dict:
    options = {
        "base_url": org.url,
        "domain": "rehearsal.my",
        "consumer_key": org.credentials.consumer_key,
        "consumer_secret": org.credentials.consumer_secret,
        "left_field": "Has_Left__c",
        "contact_lookup_fields": list(org.lookup_fields),
    }
    return {
        "crm": {"adapter": "salesforce", "options": options},
        "policy": {"max_changed_percent": 100},
        "workspace": {"folder": str(folder)},
    }


@pytest.mark.parametrize("opportunities", [60, pytest.param(2_000, marks=pytest.mark.large)])
def test_pull_plan_apply_again_and_undo(opportunities, tmp_path):
    world = make_world(opportunities=opportunities, as_of=datetime.now(UTC))
    with SalesforceSandbox(world.records) as org:
        before = _roles(org)
        with Bridge(in_memory(_settings(org, tmp_path / "workspace"))) as bridge:
            assert bridge.check().ok
            first = bridge.backfill(apply=True)
            lines = first.plan.header.lines
            assert lines > opportunities / 2
            assert first.run.counts == {"applied": lines}
            assert first.run.differences == ()
            assert len(_roles(org)) == len(before) + lines
            second = bridge.backfill(apply=True)
            assert (second.plan.header.lines, second.run) == (0, None)
            assert bridge.undo(first.run.run_id).counts == {"applied": lines}
        assert _roles(org) == before
