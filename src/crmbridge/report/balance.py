"""The ledger for a page: per state, currency and scenario one balance of attributed money and named residuals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

AS_IS, APPLIED = "as_is", "as_if_applied"
ATTRIBUTED = "attributed"
SCENARIOS = {AS_IS: "As it is", APPLIED: "With the plan"}
"""Scenario -> what the page calls it."""
_KEYS = ["scenario", "state", "currency", "residual"]
_ZERO = Decimal(0)


@dataclass(frozen=True)
class Part:
    """One line of a balance.

    Attributes:
        amount: the sum of the known amounts.
        unknown_amounts: opportunities without an amount; counted, not summed.
    """

    residual: str
    opportunities: int = 0
    amount: Decimal = _ZERO
    unknown_amounts: int = 0


@dataclass(frozen=True)
class Balance:
    """Where all of the money of one state in one currency is, in the ledger's order; `attributed` is the last part.

    Attributes:
        state: won or open.
        currency: None where the CRM does not say.
        scenario: as_is or as_if_applied.
    """

    state: str
    currency: str | None
    scenario: str
    parts: tuple[Part, ...]

    @property
    def amount(self) -> Decimal:
        """All of the money."""
        return sum((part.amount for part in self.parts), _ZERO)

    @property
    def opportunities(self) -> int:
        """All opportunities, also those without an amount."""
        return sum(part.opportunities for part in self.parts)

    @property
    def has_amounts(self) -> bool:
        """Whether any opportunity has an amount."""
        return any(part.opportunities > part.unknown_amounts for part in self.parts)

    @property
    def attributed(self) -> Part:
        """The part that campaigns earned."""
        return self.part(ATTRIBUTED)

    @property
    def share(self) -> Decimal | None:
        """How much of the money is attributed; None where there is none to divide."""
        return self.attributed.amount / self.amount if self.amount > 0 else None

    @property
    def is_drawable(self) -> bool:
        """Whether a bar can show it: nothing negative, something positive."""
        return self.amount > 0 and all(part.amount >= 0 for part in self.parts)

    def part(self, residual: str) -> Part:
        """One part; an empty one where nothing fell there."""
        return next((part for part in self.parts if part.residual == residual), Part(residual))


@dataclass(frozen=True)
class Pair:
    """A balance as it is, and with the plan applied where there is one."""

    as_is: Balance
    applied: Balance | None

    @property
    def state(self) -> str:
        """Won or open."""
        return self.as_is.state

    @property
    def currency(self) -> str | None:
        """None where the CRM does not say."""
        return self.as_is.currency

    @property
    def both(self) -> tuple[Balance, ...]:
        """The balances there are."""
        return (self.as_is,) if self.applied is None else (self.as_is, self.applied)

    @property
    def rows(self) -> tuple[tuple[Part, Part | None], ...]:
        """Every residual that occurs in either, side by side, in order."""
        names = {part.residual: None for balance in self.both for part in balance.parts if part.opportunities}
        order = [part.residual for part in self.as_is.parts]
        applied = self.applied
        return tuple((self.as_is.part(name), applied.part(name) if applied else None) for name in sorted(names, key=order.index))


def pairs(ledger: pa.Table, residuals: Sequence[str]) -> tuple[Pair, ...]:
    """Sum the ledger for the page.

    Args:
        ledger: `Attribution.ledger`.
        residuals: all names in the ledger's order.

    Returns:
        One pair per state and currency: won before open, the currency of most opportunities first.
    """
    sums = [("opportunities", "sum"), ("amount", "sum"), ("unknown_amounts", "sum")]
    rows = ledger.group_by(_KEYS).aggregate(sums).to_pylist()
    found = {(row["scenario"], row["state"], row["currency"]) for row in rows}
    balances = {key: _balance(key, rows, residuals) for key in found}
    made = [
        Pair(balance, balances.get((APPLIED, balance.state, balance.currency)))
        for (scenario, _, _), balance in balances.items()
        if scenario == AS_IS
    ]
    return tuple(sorted(made, key=lambda pair: (pair.state != "won", -pair.as_is.opportunities, pair.currency or "\uffff")))


def _balance(key: tuple[str, str, str | None], rows: Iterable[dict[str, object]], residuals: Sequence[str]) -> Balance:
    parts = {row["residual"]: _part(row) for row in rows if (row["scenario"], row["state"], row["currency"]) == key}
    order = [*(name for name in residuals if name != ATTRIBUTED), ATTRIBUTED]
    scenario, state, currency = key
    return Balance(state, currency, scenario, tuple(parts.get(name, Part(name)) for name in order))


def _part(row: dict[str, object]) -> Part:
    return Part(
        residual=str(row["residual"]),
        opportunities=int(str(row["opportunities_sum"] or 0)),
        amount=Decimal(str(row["amount_sum"] or 0)),
        unknown_amounts=int(str(row["unknown_amounts_sum"] or 0)),
    )
