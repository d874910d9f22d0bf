from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from deals import deals

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm, MemoryOptions

IDLE = (
    "lead_conversion",
    "opportunity_activity",
    "account_activity",
    "parallel_opportunity",
    "account_relation",
    "email_domain",
)
"""Rules that find nothing in this world; without them a plan takes a third of the time."""


class Clock:
    """Every look at it is a second later."""

    def __init__(self, hour=9):
        self.now = datetime(2025, 6, 1, hour, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def crm():
    return MemoryCrm(deals())


@pytest.fixture
def opened(tmp_path, clock, monkeypatch):
    """Open a bridge on a CRM in memory; keywords: adapter, options, folder, and sections of the settings."""
    monkeypatch.delenv("CRMBRIDGE_SETTINGS", raising=False)
    bridges = []

    def open_bridge(crm, *, adapter=MemoryAdapter, options=None, folder="workspace", **sections):
        settings = in_memory({"workspace": {"folder": str(tmp_path / folder)}, "rules": {"disabled": IDLE}, **sections})
        bridges.append(Bridge(settings, adapter=adapter(MemoryOptions(crm=crm, **(options or {}))), clock=clock))
        return bridges[-1]

    yield open_bridge
    for bridge in bridges:
        bridge.close()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A workspace that has pulled and planned, made once; an hour before each test begins."""
    folder = tmp_path_factory.mktemp("prepared") / "workspace"
    adapter = MemoryAdapter(MemoryOptions(crm=MemoryCrm(deals())))
    settings = in_memory({"workspace": {"folder": str(folder)}, "rules": {"disabled": IDLE}})
    with Bridge(settings, adapter=adapter, clock=Clock(hour=8)) as bridge:
        bridge.pull()
        bridge.plan()
    return folder


@pytest.fixture
def bridge(opened, crm, prepared, tmp_path):
    """A bridge that has pulled, and has no plan yet."""
    shutil.copytree(prepared, tmp_path / "workspace", ignore=shutil.ignore_patterns("plan-*"))
    return opened(crm)


@pytest.fixture
def plan(bridge, prepared):
    """The plan of that bridge, saved."""
    shutil.copytree(prepared / "plans", bridge.workspace.plans, dirs_exist_ok=True)
    return bridge.read_plan()
