from __future__ import annotations

import pytest
from reported import AS_OF, Page, opened, renamed

from crmbridge.demo.world import make_world


@pytest.fixture(scope="session")
def bridge(tmp_path_factory):
    """An invented CRM with hostile names, and a plan."""
    world = renamed(make_world(opportunities=200, as_of=AS_OF))
    with opened(tmp_path_factory.mktemp("report") / "crm", world.records) as made:
        made.plan()
        yield made


@pytest.fixture(scope="session")
def written(bridge, tmp_path_factory):
    """(report, html, page, folder) of it, the plan beside."""
    folder = tmp_path_factory.mktemp("report")
    report = bridge.report(folder / "page.html", plan=bridge.read_plan(), currency="EUR", tables=folder / "tables")
    html = report.path.read_text("utf-8")
    return report, html, Page(html), folder
