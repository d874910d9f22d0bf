"""What a CRM may hold that nobody hoped for: it is named, and nothing breaks."""

from decimal import Decimal

import duckdb
import narwhals as nw
import pytest
from earning import (
    ACCOUNT,
    AS_OF,
    FAIR,
    campaign,
    credits_of,
    deal,
    lost,
    person,
    residuals,
    role,
    row_of,
    rows_of,
    seconds,
    touch,
    won,
)

from crmbridge.attribution.attribute import attribute
from crmbridge.attribution.models import PRESETS, Strategy
from crmbridge.attribution.settings import AttributionSettings
from crmbridge.snapshot.frames import frames_from_tables

HTML = '<script>alert("1")</script> & [bold]50 %[/bold]'
RIGHT_TO_LEFT = "\u202eמבצע אביב\u202c حملة"


def test_no_campaigns(firm):
    found = firm(ACCOUNT, person("C"), won("O"), deal("P"), role("O", "C")).attribute()
    assert residuals(found) == {"no_touch": 1, "no_role": 1}
    assert [found.credits.num_rows, found.roi.num_rows, found.spread.num_rows, found.journeys.num_rows] == [0] * 4


def test_no_touches(firm):
    found = firm(ACCOUNT, FAIR, campaign("mail", "50"), person("C"), won("O"), role("O", "C")).attribute()
    assert residuals(found) == {"no_touch": 1}
    assert row_of(found.roi, model="linear", level="campaign", key="mail")["roi"] == -1


def test_no_opportunities_at_all(firm):
    bridge = firm(ACCOUNT, FAIR, person("C"), touch("C"))
    for mode in ("explicit", "hybrid", "implicit"):
        assert bridge.attribute(mode=mode).ledger.num_rows == 0


def test_nothing_at_all(firm):
    assert firm().attribute().ledger.num_rows == 0


def test_all_amounts_missing(firm):
    found = firm(ACCOUNT, FAIR, person("C"), won("O", None), deal("P", None), role("O", "C"), touch("C")).attribute()
    assert residuals(found) == {"missing_amount": 2}
    assert sum(row["unknown_amounts"] for row in found.ledger.to_pylist()) == 2
    assert found.credits.num_rows == 0


def test_negative_and_zero_amounts_are_shared_like_any_other(firm):
    bridge = firm(
        *(ACCOUNT, FAIR, campaign("mail"), person("C"), touch("C"), touch("C", "2026-04-01", "mail")),
        *(won("O", "-100.01"), won("P", "0"), won("Q", "-0.01"), *(role(name, "C") for name in "OPQ")),
    )
    found = bridge.attribute()
    assert residuals(found) == {"attributed": 3}
    assert sum(credits_of(found).values()) == Decimal("-100.02")
    assert credits_of(found, "first") == {"fair": Decimal("-100.02")}
    assert row_of(found.roi, model="first", level="campaign", key="fair")["opportunities"] == 3


def test_names_with_markup_and_right_to_left_text_stay_what_they_are(firm):
    bridge = firm(
        *(ACCOUNT, person("C"), won("O"), role("O", "C")),
        *(campaign("html", "1", name=HTML), campaign("rtl", "1", name=RIGHT_TO_LEFT), campaign("it's; --", "1", name="'")),
        *(touch("C", "2026-03-01", "html"), touch("C", "2026-03-02", "rtl"), touch("C", "2026-03-03", "it's; --")),
    )
    found = bridge.attribute()
    assert found.journeys.to_pylist()[0]["path"] == [HTML, RIGHT_TO_LEFT, "'"]
    assert {row["name"] for row in rows_of(found.roi, level="campaign")} == {HTML, RIGHT_TO_LEFT, "'"}
    assert len(credits_of(found)) == 3


def test_odd_role_names_in_weights(firm):
    name = 'It\'s "the" boss; --'
    bridge = firm(
        *(ACCOUNT, FAIR, campaign("mail"), person("C"), person("D"), won("O", "4"), role("O", "C", name), role("O", "D")),
        *(touch("C"), touch("D", campaign="mail")),
        models=["boss"],
        custom={"boss": {"rest": 1, "role_weights": {name: 300}}},
    )
    assert credits_of(bridge.attribute(), "boss") == {"fair": 3, "mail": 1}


def test_lost_ones_alone_earn_nothing(firm):
    found = firm(ACCOUNT, FAIR, person("C"), lost("O"), role("O", "C"), touch("C")).attribute()
    assert (found.credits.num_rows, found.journeys.num_rows) == (0, 0)


@pytest.fixture
def crowd():
    """One won opportunity whose 100,000 people met 200 campaigns, one each."""
    connection = duckdb.connect()
    frames = frames_from_tables({}, connection=connection)
    close_s = seconds("2026-05-31")
    connection.execute(
        f"""
        INSERT INTO resolved.opportunities (opportunity_key, opportunity_id, account_id, amount, currency, is_closed, is_won,
            close_date, close_s, created_s)
        VALUES (1, 'O', 'A', 123456789.01, 'EUR', true, true, DATE '2026-05-31', {close_s}, {close_s} - 8000000);
        INSERT INTO resolved.people SELECT i, 1, 0, {close_s} - 9000000 FROM range(100000) t(i);
        INSERT INTO resolved.roles (role_id, opportunity_key, person_key, contact_id, is_primary)
        SELECT 'R' || i, 1, i, 'C' || i, false FROM range(100000) t(i);
        INSERT INTO resolved.responses SELECT 'M' || i, 'c' || i % 200, i, true, {close_s} - 100 * i, false
        FROM range(100000) t(i);
        """
    )
    yield connection, frames
    connection.close()


def test_a_hundred_thousand_touches_on_one_opportunity(crowd, monkeypatch):
    monkeypatch.setattr("crmbridge.attribution.attribute.LEAST_JOURNEYS", 0)
    connection, frames = crowd
    models = [model for model in PRESETS.values() if model.strategy is not Strategy.MARKOV]
    found = attribute(
        connection,
        roles=frames.roles.select(nw.all()),
        models=models,
        settings=AttributionSettings(),
        as_of=AS_OF,
        time_zone="UTC",
    )
    for model in models:
        given = [row["credit"] for row in rows_of(found.credits, model=model.name)]
        assert sum(given) == Decimal("123456789.01"), model.name
        assert min(given) >= 0
    assert len(found.journeys.to_pylist()[0]["path"]) == 13
