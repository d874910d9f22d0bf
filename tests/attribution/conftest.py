from __future__ import annotations

import pytest
from earning import AS_OF

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm, MemoryOptions
from crmbridge.testing.worlds import world_of


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open a bridge on a CRM in memory, and pull unless told not to; keywords are of `[attribution]`."""
    monkeypatch.delenv("CRMBRIDGE_SETTINGS", raising=False)
    bridges = []

    def open_bridge(crm, *, zone="UTC", folder="workspace", pull=True, **attribution):
        workspace = {"folder": str(tmp_path / folder), "time_zone": zone}
        settings = in_memory({"workspace": workspace, "attribution": attribution})
        bridges.append(Bridge(settings, adapter=MemoryAdapter(MemoryOptions(crm=crm)), clock=lambda: AS_OF))
        if pull:
            bridges[-1].pull()
        return bridges[-1]

    yield open_bridge
    for bridge in bridges:
        bridge.close()


@pytest.fixture
def firm(opened):
    """A bridge on records by hand."""

    def open_firm(*records, **more):
        return opened(MemoryCrm(world_of(records)), **more)

    return open_firm
