"""The whole main job on an invented HubSpot portal, through the real client over real HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from troubled import MODES, PAIR, THREE

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.world import make_world
from crmbridge.testing.sandbox import HubSpotSandbox, HubSpotSwitches
from crmbridge.testing.sandbox.hubspot.switches import ROLE_LABELS

JOBS = [("v4", "replaces", 60), pytest.param("2026-03", "appends", 2_000, marks=pytest.mark.large)]


def _pairs(portal: HubSpotSandbox) -> dict[tuple[str, str], frozenset]:
    """Every contact of every deal with all the types of their link: labels, and the plain one."""
    by_deal = portal.store.links[PAIR]
    return {(deal, contact): frozenset(types) for deal, contacts in by_deal.items() for contact, types in contacts.items()}


def _settings(portal: HubSpotSandbox, api: str, folder) -> dict:
    return {
        "crm": {"adapter": "hubspot", "options": {"base_url": portal.url, "access_token": portal.access_token, "api": api}},
        "policy": {"max_changed_percent": 100},
        "workspace": {"folder": str(folder)},
    }


def _label_some(portal: HubSpotSandbox) -> dict[tuple[str, str], frozenset]:
    """Somebody has set three labels on every seventh pair."""
    chosen = sorted(_pairs(portal))[::7]
    for pair in chosen:
        portal.link(*pair, THREE)
    return {pair: _pairs(portal)[pair] for pair in chosen}


@pytest.mark.parametrize(("api", "mode", "opportunities"), JOBS)
def test_pull_plan_apply_again_and_undo(api, mode, opportunities, tmp_path):
    world = make_world(opportunities=opportunities, as_of=datetime.now(UTC))
    with HubSpotSandbox(world.records, HubSpotSwitches(labels=(*ROLE_LABELS, *THREE), **MODES[mode])) as portal:
        labelled = _label_some(portal)
        before = _pairs(portal)
        assert len(labelled) > 5
        with Bridge(in_memory(_settings(portal, api, tmp_path / "workspace"))) as bridge:
            assert bridge.check().ok
            first = bridge.backfill(apply=True)
            lines = first.plan.header.lines
            assert lines > opportunities / 2
            assert first.run.counts == {"applied": lines}
            assert first.run.differences == ()
            _hold_written(portal, before, list(first.plan.lines()))
            second = bridge.backfill(apply=True)
            assert (second.plan.header.lines, second.run) == (0, None)
            assert bridge.undo(first.run.run_id).counts == {"applied": lines}
        assert _pairs(portal) == before


def _hold_written(portal: HubSpotSandbox, before, lines):
    """What the plan says is there, under the label of its name; everything else is as it was, to the type."""
    planned = {(line.opportunity_id, line.contact_id): {line.role} - {None} for line in lines}
    assert len(planned) == len(lines)
    assert {pair: portal.labels_of(*pair) for pair in planned} == planned
    assert any(planned.values())
    now = _pairs(portal)
    assert {pair: types for pair, types in now.items() if pair not in planned} == before
