"""The whole job on data that nobody here made; skipped where the dumps are absent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.npsp import SETS, bridge_on, hide, load, recovered, tables

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "npsp"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the NPSP dumps are not at ../shared/data/{FOLDER.name}")


# The least precision and recall of 60 % of the roles that were hidden.
LEAST = {"1k": (0.98, 0.65), "dev_org": (0.98, 0.62)}


@pytest.mark.parametrize("name", SETS)
def test_hidden_roles_come_back_beside_nothing_that_exists_and_undo_leaves_no_trace(name: str, tmp_path: Path) -> None:
    database = tmp_path / "crm.db"
    load(FOLDER / f"{name}.sql", database)
    hidden = hide(database, name)
    before = tables(database)
    existing = _pairs(database, name)
    with bridge_on(database, name, tmp_path / "workspace") as bridge:
        assert bridge.check().ok
        plan, found = recovered(bridge, hidden)
        precision, recall = LEAST[name]
        assert found.right / found.planned >= precision
        assert found.right / found.hidden >= recall
        planned = {(line.opportunity_id, line.contact_id) for line in plan.lines()}
        assert not planned & existing
        run = bridge.apply(plan)
        assert run.counts == {"applied": len(planned)}
        assert _pairs(database, name) == existing | planned
        assert bridge.coverage() == bridge.coverage(plan)
        assert bridge.undo(run.run_id).counts == {"applied": len(planned)}
    assert tables(database) == before


def _pairs(database: Path, name: str) -> set[tuple[str, str]]:
    columns = "opportunity_id, contact_id" if name == "1k" else '"OpportunityId", "ContactId"'
    with closing(sqlite3.connect(database)) as connection:
        return {(str(o), str(c)) for o, c in connection.execute(f"SELECT {columns} FROM OpportunityContactRole")}
