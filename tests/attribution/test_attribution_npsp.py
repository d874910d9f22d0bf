"""Data that nobody here made: members all "Sent" and undated, so nothing is attributed, and everything is named."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from benchmarks.npsp import SETS, bridge_on, load

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "npsp"
MODES = ("explicit", "hybrid", "implicit")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the NPSP dumps are not at ../shared/data/{FOLDER.name}")


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_attributed_and_everything_is_named_in_every_mode(name: str, tmp_path: Path) -> None:
    database = tmp_path / "crm.db"
    load(FOLDER / f"{name}.sql", database)
    with bridge_on(database, name, tmp_path / "workspace") as bridge:
        bridge.pull()
        with bridge.snapshot() as snapshot:
            rows = snapshot.connection.execute(
                """SELECT CASE WHEN is_won THEN 'won' ELSE 'open' END, currency, sum(amount), count(*)
                FROM resolved.opportunities WHERE is_won OR NOT is_closed GROUP BY ALL"""
            ).fetchall()
        expected = {(state, currency): (amount or Decimal(0), count) for state, currency, amount, count in rows}
        assert expected
        plan = bridge.plan()
        for mode in MODES:
            for touches in ("responded", "all"):
                # Where nothing is attributed, one threshold says as much as three.
                found = bridge.attribute(plan, mode=mode, touches=touches, thresholds=[0.9])
                for scenario in found.scenarios:
                    amounts, counts, attributed = Counter(), Counter(), 0
                    for row in found.ledger.to_pylist():
                        if row["scenario"] == scenario:
                            amounts[row["state"], row["currency"]] += row["amount"]
                            counts[row["state"], row["currency"]] += row["opportunities"]
                            attributed += row["residual"] == "attributed"
                    assert {key: (amounts[key], counts[key]) for key in counts} == expected
                    assert attributed == 0
                assert found.credits.num_rows == 0
                assert len(found.gaps) == sum(count for _, count in expected.values())
