"""Amounts as whole minor units, and in one currency: exact, with one stated rounding."""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa
from babel import Locale
from babel.numbers import get_currency_precision

from crmbridge.attribution.settings import AttributionSettings, Rates

PLACES = 4
"""The model's money has four decimal places."""

_LARGEST_MINOR = 9 * 10**17
"""Larger amounts are typing errors; they would not fit either."""
_LARGEST_PRODUCT = 10**38
"""An amount in ten-thousandths by a rate: more does not fit into 128 bits."""

# How much of the reporting currency a unit of each currency is, on each day that is asked for: `into / out_of`. Where
# dates count, a rate for all time is not mixed with dated ones; of several bases the reporting currency is the first choice.
_RATES = """
    CREATE OR REPLACE TEMP TABLE attribution_rates AS
    WITH asked AS (
        SELECT DISTINCT currency, day FROM ({asked})
        UNION SELECT DISTINCT $report, day FROM ({asked})
    ), given AS (
        SELECT *, valid_from IS NULL AND valid_until IS NULL AS is_undated FROM resolved.exchange_rates
        WHERE currency <> base_currency
    ), rates AS (
        SELECT currency, base_currency, rate, valid_from, valid_until FROM given
        QUALIFY {may_mix} OR NOT is_undated OR bool_and(is_undated) OVER (PARTITION BY currency, base_currency)
        UNION ALL
        SELECT DISTINCT base_currency, base_currency, 1::DECIMAL(28, 12), NULL::DATE, NULL::DATE FROM resolved.exchange_rates
    ), held AS (
        SELECT a.currency, a.day, r.base_currency,
            -- In two parts: the product of decimals would not hold the largest rates.
            floor(r.rate)::HUGEINT * 1000000000000 + ((r.rate % 1)::DECIMAL(13, 12) * 1000000000000)::HUGEINT AS rate_e12
        FROM asked a JOIN rates r ON r.currency = a.currency
            AND coalesce(r.valid_from <= {held}, true) AND coalesce({held} < r.valid_until, true)
        QUALIFY row_number() OVER (PARTITION BY a.currency, a.day, r.base_currency
            ORDER BY r.valid_from DESC NULLS LAST, r.rate) = 1
    )
    SELECT here.currency, here.day, there.rate_e12 AS into_e12, here.rate_e12 AS out_of_e12
    FROM held here JOIN held there ON there.currency = $report AND there.day = here.day
        AND there.base_currency = here.base_currency
    QUALIFY row_number() OVER (PARTITION BY here.currency, here.day
        ORDER BY here.base_currency <> $report, here.base_currency <> here.currency, here.base_currency) = 1
"""

# Half to even, of whole numbers: numerator and denominator are positive.
_ROUNDED = """(numerator // denominator + CASE
    WHEN 2 * (numerator % denominator) > denominator THEN 1
    WHEN 2 * (numerator % denominator) = denominator THEN (numerator // denominator) % 2 ELSE 0 END)"""

_VALUES = """
    CREATE OR REPLACE TEMP TABLE "{name}" AS
    WITH given AS (
        SELECT g.*, (g.amount * 10000)::HUGEINT AS ten_thousandths,
            coalesce(g.currency, {home}) AS known_currency FROM ({source}) g
    ), fine AS (
        SELECT g.*, pow(10, {places} - coalesce(d.digits, 2))::BIGINT AS minor_step FROM given g
        LEFT JOIN currency_digits d ON d.currency = {wanted}
    ), converted AS (
        SELECT f.*, {numerator} AS numerator, {denominator} AS denominator FROM fine f {joins}
    ), rounded AS (
        SELECT * EXCLUDE (numerator, denominator),
            CASE WHEN {is_same} THEN ten_thousandths // step_of_same
                ELSE sign(ten_thousandths)::BIGINT * {rounded} END AS value_huge,
            CASE WHEN {is_same} THEN step_of_same ELSE minor_step END AS step
        FROM (SELECT *, CASE WHEN ten_thousandths % minor_step = 0 THEN minor_step ELSE 1 END AS step_of_same FROM converted)
    )
    SELECT * EXCLUDE (ten_thousandths, known_currency, minor_step, step_of_same, value_huge, currency),
        CASE WHEN abs(value_huge) <= {largest} THEN value_huge::BIGINT END AS value_minor,
        CASE WHEN {is_same} OR abs(value_huge) <= {largest} OR amount IS NULL THEN {reported} ELSE known_currency END AS currency
    FROM rounded
"""


def value_amounts(
    connection: duckdb.DuckDBPyConnection, source: str, name: str, *, settings: AttributionSettings, as_of_day: date
) -> None:
    """Turn amounts into whole units: of the currency's minor unit, or of 0.0001 where an amount is finer than that.

    Args:
        connection: with the schema `resolved`.
        source: a query with amount (decimal, may be null), currency (may be null), day (of its exchange rate; may be null).
        name: the temporary table to make: the columns of `source` with `currency` as reported, value_minor (BIGINT; null without
            amount or rate), step (value_minor * step are ten-thousandths).
        settings: `currency` and `rates`.
        as_of_day: the day of static rates.
    """
    _know_digits(connection, source, settings.currency)
    same = {
        "numerator": "NULL::HUGEINT", "denominator": "NULL::HUGEINT", "joins": "", "is_same": "true",
        "wanted": "g.currency", "reported": "known_currency", "home": "NULL",
    }  # fmt: skip
    parts = same if settings.currency is None else _conversion(connection, source, settings, as_of_day)
    connection.execute(_VALUES.format(name=name, source=source, places=PLACES, rounded=_ROUNDED, largest=_LARGEST_MINOR, **parts))


def _conversion(
    connection: duckdb.DuckDBPyConnection, source: str, settings: AttributionSettings, as_of_day: date
) -> dict[str, str]:
    report = settings.currency or ""
    home = _home_currency(connection) or report
    is_dated = settings.rates is Rates.DATED
    held, may_mix = ("a.day", "false") if is_dated else (f"DATE '{as_of_day}'", "true")
    asked = f"SELECT coalesce(currency, '{home}') AS currency, day FROM ({source}) WHERE day IS NOT NULL"
    connection.execute(_RATES.format(asked=asked, held=held, may_mix=may_mix), {"report": report})
    fits = f"abs(ten_thousandths) <= {_LARGEST_PRODUCT}::HUGEINT // r.into_e12"
    return {
        "numerator": f"CASE WHEN {fits} THEN abs(ten_thousandths) * r.into_e12 END",
        "denominator": "r.out_of_e12 * minor_step",
        "joins": "LEFT JOIN attribution_rates r ON r.currency = known_currency AND r.day = f.day",
        "is_same": f"known_currency = '{report}'",
        "wanted": f"'{report}'",
        "reported": f"'{report}'",
        "home": f"'{home}'",
    }


def _home_currency(connection: duckdb.DuckDBPyConnection) -> str | None:
    """What amounts without a currency are in: the base of the CRM's rates, where there is one."""
    rows = connection.execute("SELECT DISTINCT base_currency FROM resolved.exchange_rates LIMIT 2").fetchall()
    return _iso(str(rows[0][0])) if len(rows) == 1 else None


def _iso(code: str) -> str | None:
    """Codes go into SQL text: let nothing else through."""
    return code if len(code) == 3 and code.isascii() and code.isalpha() else None


def _know_digits(connection: duckdb.DuckDBPyConnection, source: str, report: str | None) -> None:
    known = connection.execute(f"SELECT DISTINCT currency FROM ({source}) WHERE currency IS NOT NULL").fetchall()
    codes = sorted({str(code) for (code,) in known} | ({report} if report else set()))
    table = pa.table(
        {
            "currency": pa.array(codes, pa.string()),
            "digits": pa.array([min(minor_digits(code), PLACES) for code in codes], pa.int64()),
        }
    )
    connection.register("given_digits", table)
    connection.execute("CREATE OR REPLACE TEMP TABLE currency_digits AS FROM given_digits")
    connection.unregister("given_digits")


def minor_digits(currency: str | None) -> int:
    """The decimal places of a currency's minor unit, by CLDR: 2 for EUR, 0 for JPY, 3 for KWD; 2 where it is unknown."""
    if currency is None or currency not in Locale("en").currencies:
        return 2
    return get_currency_precision(currency)
