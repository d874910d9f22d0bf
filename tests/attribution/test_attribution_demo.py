"""The invented CRM with all its mess: it balances in every mode, and says what campaigns alone would claim."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from earning import residuals, rows_of

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.world import make_world
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm, MemoryOptions

AS_OF = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    settings = in_memory(
        {
            "workspace": {"folder": str(tmp_path_factory.mktemp("demo") / "workspace"), "time_zone": "Europe/Berlin"},
            "policy": {"max_changed_percent": 100},
        }
    )
    crm = MemoryCrm(make_world(seed=5, opportunities=300, as_of=AS_OF).records)
    with Bridge(settings, adapter=MemoryAdapter(MemoryOptions(crm=crm)), clock=lambda: AS_OF) as bridge:
        bridge.pull()
        bridge.plan()
        yield bridge


@pytest.fixture(scope="module")
def expected(demo):
    """(state, currency, month, owner, record type) -> amount, from the records themselves."""
    with demo.snapshot() as snapshot:
        rows = snapshot.connection.execute(
            """SELECT CASE WHEN is_won THEN 'won' ELSE 'open' END, currency, strftime(close_date, '%Y-%m'), owner_id, record_type,
                coalesce(sum(amount), 0)
            FROM resolved.opportunities WHERE is_won OR NOT is_closed GROUP BY ALL"""
        ).fetchall()
    return {tuple(row[:5]): row[5] for row in rows}


@pytest.mark.parametrize("mode", ["explicit", "hybrid", "implicit"])
@pytest.mark.parametrize("touches", ["responded", pytest.param("all", marks=pytest.mark.slow)])
def test_it_balances_per_currency_month_owner_and_record_type(demo, expected, mode, touches):
    found = demo.attribute(demo.read_plan(), mode=mode, touches=touches)
    for scenario in found.scenarios:
        sums, attributed = Counter(), Counter()
        for row in rows_of(found.ledger, scenario=scenario):
            sums[row["state"], row["currency"], row["month"], row["owner_id"], row["record_type"]] += row["amount"]
            if row["residual"] == "attributed":
                attributed[row["state"], row["currency"], row["month"]] += row["amount"]
        assert sums == expected
        assert attributed
        for model in found.models:
            credited = Counter()
            for row in rows_of(found.credits, scenario=scenario, model=model.name):
                credited[row["state"], row["currency"], row["month"]] += row["credit"]
            assert +credited == +attributed


def test_the_plan_closes_gaps_and_what_campaigns_alone_claim_stands_beside(demo):
    found = demo.attribute(demo.read_plan())
    before, after = residuals(found), residuals(found, "as_if_applied")
    assert after["attributed"] > before["attributed"]
    assert after.get("no_role", 0) < before["no_role"]
    closed = rows_of(found.gaps, closes=True)
    assert len(closed) == after["attributed"] - before["attributed"]
    rows = found.without_campaign_evidence.to_pylist()
    assert rows
    for row in rows:
        assert row["as_is"] <= row["without_campaign_evidence"] <= row["as_if_applied"]
    won = sum((row["amount"] for row in rows_of(found.ledger, scenario="as_is", state="won", residual="attributed")), Decimal(0))
    assert sum(row["as_is"] for row in rows) == won


def test_in_one_currency_everything_is_in_it_or_has_no_rate(demo):
    found = demo.attribute(currency="EUR")
    apart = [row for row in found.ledger.to_pylist() if row["currency"] != "EUR"]
    assert {row["residual"] for row in apart} <= {"no_exchange_rate", "missing_date"}
    assert sum(row["amount"] for row in rows_of(found.ledger, residual="attributed", currency="EUR", state="won")) > 0
    assert {row["currency"] for row in found.credits.to_pylist()} == {"EUR"}


def test_markov_takes_part_where_there_is_enough_history(demo):
    assert "markov" in demo.attribute().skipped_models
    found = demo.attribute(mode="hybrid")
    assert "markov" in {model.name for model in found.models}
    assert found.skipped_models == {}
