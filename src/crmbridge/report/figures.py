"""Numbers, dates and names as people write them, in one locale; nothing on the page is formatted anywhere else."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_datetime, get_month_names
from babel.numbers import format_compact_currency, format_compact_decimal, format_currency, format_decimal, format_percent

from crmbridge.errors import SettingsError

UNDEFINED = "undefined"
"""A ratio without a denominator: neither 0 nor infinite."""
NO_CURRENCY = "no currency"
_TURNS_TEXT_AROUND = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SMALL = Decimal("0.0005")
_LEAST_SHORT = 1_000


@dataclass(frozen=True)
class Figures:
    """Formats for one locale.

    Args:
        locale: a language with or without a territory, such as `en`, `de-DE`, `fr_CA`.

    Raises:
        SettingsError: no such locale.
    """

    locale: str = "en"

    def __post_init__(self) -> None:
        try:
            Locale.parse(self.locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            hint = "name a language, with or without a country: en, en-GB, de, fr, es, ja"
            raise SettingsError(f"there is no locale {self.locale!r}", hint=hint) from None
        object.__setattr__(self, "locale", self.locale.replace("-", "_"))

    def count(self, number: int) -> str:
        """A whole number."""
        return _minus(format_decimal(number, locale=self.locale))

    def short_count(self, number: int) -> str:
        """A whole number for a headline: 7.7K."""
        return _minus(format_compact_decimal(number, locale=self.locale, fraction_digits=0 if abs(number) < 1_000 else 1))

    def money(self, amount: Decimal | None, currency: str | None) -> str:
        """An exact amount, to the cent or whatever the currency has."""
        if amount is None:
            return UNDEFINED
        if currency is None:
            return _minus(f"{format_decimal(amount, format='#,##0.00', locale=self.locale)} ({NO_CURRENCY})")
        return _minus(format_currency(amount, plain(currency), locale=self.locale))

    def short_money(self, amount: Decimal | None, currency: str | None) -> str:
        """An amount to look at: 12.4M; the exact one belongs beside it or in the table behind it."""
        if amount is None:
            return UNDEFINED
        if abs(amount) < _LEAST_SHORT:
            return self.money(amount.quantize(Decimal("0.01")) if amount % 1 else amount, currency)
        digits = 1
        if currency is None:
            return _minus(f"{format_compact_decimal(amount, locale=self.locale, fraction_digits=digits)} ({NO_CURRENCY})")
        return _minus(format_compact_currency(amount, plain(currency), locale=self.locale, fraction_digits=digits))

    def percent(self, share: Decimal | float | None, digits: int = 0) -> str:
        """A share; `undefined` for the share of nothing. A small share is no zero."""
        if share is None:
            return UNDEFINED
        exact = Decimal(str(share)) or Decimal(0)  # and not a zero with a minus
        if digits == 0 and 0 < abs(exact) < Decimal("0.005"):
            digits = 1
        if 0 < exact < _SMALL:
            return f"< {self._percent(Decimal('0.001'), 1)}"
        if -_SMALL < exact < 0:
            return f"> {self._percent(Decimal('-0.001'), 1)}"
        return self._percent(exact, digits)

    def roi(self, ratio: Decimal | float | None) -> str:
        """A return on investment with its sign; `undefined` where there is no cost."""
        if ratio is None:
            return UNDEFINED
        exact = Decimal(str(ratio))
        return ("+" if exact > 0 else "") + self._percent(exact, 0)

    def factor(self, number: Decimal | float | None, digits: int = 1) -> str:
        """A plain number with so many places."""
        return UNDEFINED if number is None else _minus(format_decimal(number, format=_places(digits), locale=self.locale))

    def day(self, day: date) -> str:
        """A date: Nov 23, 2026."""
        return format_date(day, "medium", locale=self.locale)

    def moment(self, moment: datetime, time_zone: str) -> str:
        """A moment in a time zone, with its name."""
        there = moment.astimezone(ZoneInfo(time_zone))
        return f"{format_datetime(there, 'medium', locale=self.locale)} ({time_zone})"

    def month(self, month: str) -> str:
        """`2026-03` as Mar 2026; anything else as it is."""
        year, _, number = month.partition("-")
        if not (year.isdigit() and number.isdigit() and 1 <= int(number) <= 12):
            return plain(month)
        return f"{get_month_names('abbreviated', locale=self.locale)[int(number)]} {year}"

    def _percent(self, share: Decimal, digits: int) -> str:
        # The locale's own pattern says where the sign stands; only the number of places is ours.
        pattern = Locale.parse(self.locale).percent_formats[None].pattern
        return _minus(format_percent(share, format=pattern.replace("#,##0", _places(digits)), locale=self.locale))


def plain(text: str) -> str:
    """A name without what could steer a page or a terminal: control signs, and signs that turn the direction of text."""
    if text.isprintable() and not _TURNS_TEXT_AROUND & set(text):
        return text
    return "".join(" " if unicodedata.category(sign) in {"Cc", "Zl", "Zp", "Cs"} else sign for sign in text if _harmless(sign))


def short(text: str, width: int) -> str:
    """The beginning of a long name, visibly cut."""
    clean = plain(text)
    return clean if len(clean) <= width else clean[: width - 1].rstrip() + "…"


def _harmless(sign: str) -> bool:
    return sign not in _TURNS_TEXT_AROUND


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def _places(digits: int) -> str:
    return "#,##0" + ("." + "0" * digits if digits else "")
