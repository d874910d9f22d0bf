"""Money: exact to the last minor unit, in one currency where that is asked for, and named where no rate leads there."""

from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from earning import ACCOUNT, FAIR, campaign, credits_of, deal, person, rate, residuals, role, rows_of, touch, won
from hypothesis import given, settings
from hypothesis import strategies as st

from crmbridge.attribution.money import minor_digits, value_amounts
from crmbridge.attribution.settings import AttributionSettings, Rates
from crmbridge.snapshot.frames import RESOLVED, frames_from_tables

AS_OF_DAY = date(2026, 6, 15)
RATES = [
    ("USD", "EUR", "1.10", date(2026, 1, 1), date(2026, 5, 1)),
    ("USD", "EUR", "1.25", date(2026, 5, 1), None),
    ("JPY", "EUR", "160", date(2026, 1, 1), None),
]


def valued(amounts, rates=(), *, held=Rates.DATED, **asked):
    """(amount in the reported currency or None, currency) of every (amount, currency, day)."""
    given_rates = [
        dict(zip(RESOLVED["exchange_rates"].names, (*row[:2], Decimal(row[2]), *row[3:]), strict=True)) for row in rates
    ]
    with duckdb.connect() as connection:
        table = pa.Table.from_pylist(given_rates, schema=RESOLVED["exchange_rates"])
        frames_from_tables({"exchange_rates": table}, connection=connection)
        columns = ("number", "amount", "currency", "day")
        types = (pa.int64(), pa.decimal128(22, 4), pa.string(), pa.date32())
        rows = [dict(zip(columns, (number, *row), strict=True)) for number, row in enumerate(amounts)]
        connection.register("rows_of_test", pa.Table.from_pylist(rows, schema=pa.schema(list(zip(columns, types, strict=True)))))
        value_amounts(
            connection, "FROM rows_of_test", "valued", settings=AttributionSettings(rates=held, **asked), as_of_day=AS_OF_DAY
        )
        found = connection.execute("SELECT value_minor, step, currency FROM valued ORDER BY number").fetchall()
    return [(None if value is None else Decimal(value * step).scaleb(-4), currency) for value, step, currency in found]


def one(amount, given_in, day=date(2026, 5, 31), rates=RATES, **asked):
    (found,) = valued([(Decimal(amount), given_in, day)], rates, **asked)
    return found


@pytest.mark.parametrize(("currency", "digits"), [("EUR", 2), ("JPY", 0), ("KWD", 3), (None, 2), ("XXZ", 2)])
def test_minor_units_are_those_of_the_currency(currency, digits):
    assert minor_digits(currency) == digits


SHARES = [
    ("10", "EUR", ["3.33", "3.33", "3.34"]),
    ("10", "JPY", ["3", "3", "4"]),
    ("10", "KWD", ["3.333", "3.333", "3.334"]),
    # Finer than the minor unit: shared in units of what it is written in, so that nothing is lost.
    ("0.0002", "EUR", ["0.0000", "0.0001", "0.0001"]),
    ("-10", "EUR", ["-3.33", "-3.33", "-3.34"]),
    ("0", "EUR", ["0", "0", "0"]),
    ("10", None, ["3.33", "3.33", "3.34"]),
]
DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")


@pytest.fixture(scope="module")
def shared_out(lasting_firm):
    """What a firm earns in which each case is an opportunity with three people of its own, told by its record type."""
    people = {case: [f"C{case}-{number}" for number in range(3)] for case in range(len(SHARES))}
    bridge = lasting_firm(
        *(ACCOUNT, *(person(who) for three in people.values() for who in three)),
        *(won(f"O{case}", *given, record_type=str(case)) for case, (*given, _) in enumerate(SHARES)),
        *(role(f"O{case}", who) for case, three in people.items() for who in three),
        *(campaign(f"at-{who}", currency=None) for three in people.values() for who in three),
        *(touch(who, day, f"at-{who}") for three in people.values() for who, day in zip(three, DAYS, strict=True)),
    )
    return bridge.attribute()


@pytest.mark.parametrize(
    ("case", "amount", "shares"), [(case, amount, shares) for case, (amount, _, shares) in enumerate(SHARES)]
)
def test_shares_are_whole_minor_units(shared_out, case, amount, shares):
    given = {row["campaign_id"]: row["credit"] for row in rows_of(shared_out.credits, model="linear")}
    assert [given[f"at-C{case}-{number}"] for number in range(3)] == [Decimal(credit) for credit in shares]
    attributed = rows_of(shared_out.ledger, residual="attributed", record_type=str(case))
    assert [row["amount"] for row in attributed] == [Decimal(amount)]


AMOUNTS = st.one_of(st.none(), st.integers(-(10**9), 10**9).map(lambda whole: Decimal(whole).scaleb(-4)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(AMOUNTS, st.sampled_from(["EUR", "JPY", "KWD", None]), st.none()), min_size=1, max_size=9))
def test_amounts_in_their_own_currency_are_kept_to_the_last_digit(amounts):
    assert valued(amounts) == [(amount, currency) for amount, currency, _ in amounts]


def test_a_rate_is_that_of_the_day():
    assert one("110", "USD", date(2026, 4, 30), currency="EUR") == (Decimal(100), "EUR")
    # A rate ends before its valid_until.
    assert one("110", "USD", date(2026, 5, 1), currency="EUR") == (Decimal(88), "EUR")
    assert one("110", "USD", date(2026, 4, 30), currency="EUR", rates=RATES[:1]) == (Decimal(100), "EUR")
    assert one("110", "USD", date(2026, 5, 1), currency="EUR", rates=RATES[:1]) == (None, "USD")


def test_static_takes_the_rate_of_the_report_for_every_day():
    assert one("110", "USD", date(2026, 4, 30), currency="EUR", held=Rates.STATIC) == (Decimal(88), "EUR")
    assert one("110", "USD", date(2025, 12, 31), currency="EUR", held=Rates.STATIC) == (Decimal(88), "EUR")


def test_a_rate_leads_through_the_base_to_any_currency():
    # 125 USD are 100 EUR are 16,000 JPY.
    assert one("125", "USD", currency="JPY") == (Decimal(16000), "JPY")
    assert one("16000", "JPY", currency="USD") == (Decimal(125), "USD")


def test_conversion_rounds_once_half_to_even_to_the_minor_unit():
    rates = [("USD", "EUR", "2", None, None)]
    assert one("0.03", "USD", currency="EUR", rates=rates) == (Decimal("0.02"), "EUR")
    assert one("0.05", "USD", currency="EUR", rates=rates) == (Decimal("0.02"), "EUR")
    assert one("-0.07", "USD", currency="EUR", rates=rates) == (Decimal("-0.04"), "EUR")
    assert one("1.01", "EUR", currency="JPY") == (Decimal(162), "JPY")


def test_without_a_rate_the_amount_stays_what_it_is():
    assert one("5", "GBP", currency="EUR") == (None, "GBP")
    assert one("5", "USD", date(2025, 12, 31), currency="EUR") == (None, "USD")
    assert one("5", "USD", currency="EUR", rates=[]) == (None, "USD")


def test_amounts_of_the_reporting_currency_need_no_rate():
    assert one("5", "EUR", currency="EUR", rates=[]) == (Decimal(5), "EUR")


def test_an_amount_without_currency_is_in_the_base_of_the_rates():
    assert one("100", None, currency="USD") == (Decimal(125), "USD")
    assert one("100", None, currency="USD", rates=[]) == (Decimal(100), "USD")


def test_dated_rates_are_never_mixed_with_one_for_all_time():
    rates = [*RATES, ("USD", "EUR", "9", None, None)]
    assert one("110", "USD", date(2025, 12, 31), rates, currency="EUR") == (None, "USD")
    assert one("110", "USD", date(2026, 4, 30), rates, currency="EUR") == (Decimal(100), "EUR")


def test_several_bases_never_double_an_opportunity():
    rates = [("USD", "EUR", "1.25", None, None), ("GBP", "EUR", "0.8", None, None), ("GBP", "USD", "0.5", None, None)]
    assert valued([(Decimal(8), "GBP", AS_OF_DAY)], rates, currency="EUR") == [(Decimal(10), "EUR")]
    # Straight to the dollar: 0.5 pounds a dollar, not by way of the euro.
    assert valued([(Decimal(8), "GBP", AS_OF_DAY)], rates, currency="USD") == [(Decimal(16), "USD")]


def test_where_rates_overlap_the_later_one_holds():
    rates = [("USD", "EUR", "2", date(2026, 1, 1), None), ("USD", "EUR", "4", date(2026, 5, 1), None)]
    for given_in_order in (rates, rates[::-1]):
        assert valued([(Decimal(8), "USD", AS_OF_DAY)], given_in_order, currency="EUR") == [(Decimal(2), "EUR")]
    same_day = [("USD", "EUR", "4", None, None), ("USD", "EUR", "2", None, None)]
    assert valued([(Decimal(8), "USD", AS_OF_DAY)] * 2, same_day, currency="EUR") == [(Decimal(4), "EUR")] * 2


def test_absurd_amounts_are_named_and_break_nothing():
    largest = Decimal(10) ** 18 - 1
    rates = [("VND", "EUR", "27000", None, None), ("USD", "EUR", "1.25", None, None)]
    assert one(largest, "EUR", currency="VND", rates=rates) == (None, "EUR")
    assert one(largest, "EUR") == (None, "EUR")
    # It could be converted, and does not fit: it stays what it is, in its own currency.
    assert one(Decimal(10) ** 15, "USD", currency="VND", rates=rates) == (None, "USD")


def test_opportunities_without_rate_are_a_residual_in_their_own_currency(firm):
    people = (ACCOUNT, FAIR, person("C"), touch("C"), *(role(f"O{number}", "C") for number in range(4)))
    bridge = firm(
        *people,
        *(won("O0", "100"), won("O1", "125", "USD"), won("O2", "9.99", "GBP"), deal("O3", "125", "USD")),
        *(rate("USD", "1.25", "2026-05-01", "2026-06-01"), rate("USD", "2.5", "2026-06-01")),
    )
    found = bridge.attribute(currency="EUR")
    assert residuals(found) == {"attributed": 3, "no_exchange_rate": 1}
    (missing,) = rows_of(found.ledger, residual="no_exchange_rate")
    assert (missing["currency"], missing["amount"]) == ("GBP", Decimal("9.99"))
    assert credits_of(found) == {"fair": 200}
    # Open: at the rate of the report.
    assert credits_of(found, state="open") == {"fair": 50}


@pytest.mark.parametrize("units", ["2000000", "1600000000000000", "0.000000000001"])
@pytest.mark.parametrize("amount", ["9999999999999999", "999999999999999999", "-999999999999999999"])
def test_absurd_amounts_at_any_rate_are_left_out_and_end_nothing(amount, units):
    found = valued([(Decimal(amount), "EUR", AS_OF_DAY)], [("IRR", "EUR", units, None, None)], currency="IRR")
    exact = Decimal(amount) * Decimal(units) * 100
    expected = (None, "EUR") if abs(exact) > 9 * 10**17 else (round(exact) / Decimal(100), "IRR")
    assert found == [expected]


def test_a_typing_error_beside_a_weak_currency_stands_in_the_ledger(firm):
    records = (ACCOUNT, FAIR, person("C"), role("O", "C"), won("O", "600"), won("typo", "9999999999999999"), touch("C"))
    found = firm(*records, rate("IRR", "2000000")).attribute(currency="IRR")
    assert residuals(found) == {"attributed": 1, "no_exchange_rate": 1}
