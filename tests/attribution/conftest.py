from __future__ import annotations

from contextlib import ExitStack
from functools import partial

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
    with ExitStack() as closing:
        yield partial(_open, closing, tmp_path)


@pytest.fixture
def firm(opened):
    """A bridge on records by hand."""

    def open_firm(*records, **more):
        return opened(MemoryCrm(world_of(records)), **more)

    return open_firm


@pytest.fixture(scope="module")
def lasting_firm(tmp_path_factory):
    """A bridge on records by hand, for all tests of a module, that only look at it."""
    with ExitStack() as closing, pytest.MonkeyPatch.context() as patch:
        patch.delenv("CRMBRIDGE_SETTINGS", raising=False)

        def open_firm(*records, **more):
            return _open(closing, tmp_path_factory.mktemp("firm"), MemoryCrm(world_of(records)), **more)

        yield open_firm


def _open(closing, parent, crm, *, zone="UTC", folder="workspace", pull=True, **attribution):
    workspace = {"folder": str(parent / folder), "time_zone": zone}
    settings = in_memory({"workspace": workspace, "attribution": attribution})
    bridge = closing.enter_context(Bridge(settings, adapter=MemoryAdapter(MemoryOptions(crm=crm)), clock=lambda: AS_OF))
    if pull:
        bridge.pull()
    return bridge
