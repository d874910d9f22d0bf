"""The whole job on data that nobody here made; skipped where the dumps are absent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.npsp import SETS, bridge_on, hide, load, recovered, tables

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "npsp"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the NPSP dumps are not at ../shared/data/{FOLDER.name}")


@pytest.fixture(params=SETS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_nothing_is_added_to_a_pair_that_exists_and_undo_leaves_no_trace(name: str, tmp_path: Path) -> None:
    database = tmp_path / "crm.db"
    load(FOLDER / f"{name}.sql", database)
    hide(database, name)
    before = tables(database)
    existing = _pairs(database, name)
    with bridge_on(database, name, tmp_path / "workspace") as bridge:
        assert bridge.check().ok
        bridge.pull()
        plan = bridge.plan()
        planned = {(line.opportunity_id, line.contact_id) for line in plan.lines()}
        assert planned
        assert not planned & existing
        run = bridge.apply(plan)
        assert run.counts == {"applied": len(planned)}
        assert _pairs(database, name) == existing | planned
        assert bridge.coverage() == bridge.coverage(plan)
        assert bridge.undo(run.run_id).counts == {"applied": len(planned)}
    assert tables(database) == before


@pytest.mark.parametrize(("name", "precision", "recall"), [("1k", 0.98, 0.65), ("dev_org", 0.98, 0.62)])
def test_hidden_roles_come_back(name: str, precision: float, recall: float, tmp_path: Path) -> None:
    database = tmp_path / "crm.db"
    load(FOLDER / f"{name}.sql", database)
    hidden = hide(database, name)
    with bridge_on(database, name, tmp_path / "workspace") as bridge:
        _, found = recovered(bridge, hidden)
    assert found.right / found.planned >= precision
    assert found.right / found.hidden >= recall


def _pairs(database: Path, name: str) -> set[tuple[str, str]]:
    columns = "opportunity_id, contact_id" if name == "1k" else '"OpportunityId", "ContactId"'
    with closing(sqlite3.connect(database)) as connection:
        return {(str(o), str(c)) for o, c in connection.execute(f"SELECT {columns} FROM OpportunityContactRole")}
