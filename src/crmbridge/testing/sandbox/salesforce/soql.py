"""The subset of SOQL that the sandbox understands: parsed by hand into a small tree.

Field lists with parent paths, COUNT() and other aggregates without GROUP BY, WHERE with = != <> < <= > >= LIKE IN NOT IN
(lists and subqueries), AND OR NOT, null, dates and datetimes, ORDER BY, LIMIT, OFFSET.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeAlias, TypeVar

from crmbridge.testing.sandbox.salesforce.wire import Refusal

Value: TypeAlias = str | bool | int | float | date | datetime | None

Item = TypeVar("Item")

MOST_CHARACTERS = 100_000
MOST_IN_STRING = 4_000

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
    |(?P<date>\d{4}-\d\d-\d\d)
    |(?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    |(?P<name>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)
    |(?P<sign><=|>=|!=|<>|[=<>(),]))""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_COMPARISONS = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "like": "like"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`; `in` and `not in` hold a tuple or a query."""

    path: str
    operator: str
    value: Value | tuple[Value, ...] | Query


@dataclass(frozen=True, slots=True)
class Joined:
    """Conditions joined by `and` or `or`."""

    word: str
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """NOT a condition."""

    part: Condition


Condition: TypeAlias = Comparison | Joined | Negated


@dataclass(frozen=True, slots=True)
class Selected:
    """One item of the field list; `function` is an aggregate in small letters, with `path` empty for COUNT()."""

    path: str
    function: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query."""

    selected: tuple[Selected, ...]
    sobject: str
    condition: Condition | None = None
    order: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    offset: int | None = None

    @property
    def is_count(self) -> bool:
        """Whether it is SELECT COUNT()."""
        return len(self.selected) == 1 and self.selected[0] == Selected("", "count")

    @property
    def is_aggregate(self) -> bool:
        """Whether it gives one row of figures."""
        return any(item.function for item in self.selected) and not self.is_count


def malformed(message: str) -> Refusal:
    """The query cannot be read."""
    return Refusal("MALFORMED_QUERY", message)


def parse(text: str) -> Query:
    """Parse a query.

    Raises:
        Refusal: MALFORMED_QUERY, with what was unexpected.
    """
    if len(text) > MOST_CHARACTERS:
        raise Refusal("QUERY_TOO_COMPLICATED", f"SOQL statements cannot be longer than {MOST_CHARACTERS} characters.")
    parser = _Parser(text)
    query = parser.query()
    parser.end()
    return query


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._place = 0

    def query(self) -> Query:
        self._word("select")
        selected = self._list(self._selected)
        self._word("from")
        sobject = self._name()
        condition = self._any() if self._takes("where") else None
        order = self._order()
        limit = self._count_after("limit")
        return Query(tuple(selected), sobject, condition, order, limit, self._count_after("offset"))

    def end(self) -> None:
        if self._place < len(self._tokens):
            raise malformed(f"unexpected token: {self._peek()}")

    def _selected(self) -> Selected:
        if self._sees("("):
            raise malformed("nested queries in the field list are not supported here")
        name = self._name()
        if not self._takes("("):
            return Selected(name)
        function = name.lower()
        if function not in ("count", "min", "max", "sum", "count_distinct"):
            raise malformed(f"unexpected token: {name}")
        path = "" if self._sees(")") else self._name()
        self._word(")")
        alias = self._name() if not (self._sees(",") or self._sees("from")) else None
        return Selected(path, function, alias)

    def _any(self) -> Condition:
        parts = [self._negated()]
        words: set[str] = set()
        while self._sees("and") or self._sees("or"):
            words.add(self._next()[1].lower())
            parts.append(self._negated())
        if len(words) > 1:
            raise malformed("unexpected token: mixing AND and OR needs parentheses")
        return Joined(words.pop(), tuple(parts)) if words else parts[0]

    def _negated(self) -> Condition:
        if self._takes("not"):
            return Negated(self._negated())
        if self._takes("("):
            inner = self._any()
            self._word(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        path = self._name()
        if self._takes("not"):
            self._word("in")
            return Comparison(path, "not in", self._members())
        if self._takes("in"):
            return Comparison(path, "in", self._members())
        operator = _COMPARISONS.get(self._next()[1].lower())
        if operator is None:
            raise malformed(f"unexpected token: {self._tokens[self._place - 1][1]}")
        return Comparison(path, operator, self._value())

    def _members(self) -> tuple[Value, ...] | Query:
        self._word("(")
        members: tuple[Value, ...] | Query = self.query() if self._sees("select") else tuple(self._list(self._value))
        self._word(")")
        return members

    def _value(self) -> Value:
        kind, text = self._next()
        if kind == "string":
            return _unquoted(text)
        if kind == "datetime":
            return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
        if kind == "date":
            return date.fromisoformat(text)
        if kind == "number":
            return float(text) if "." in text else int(text)
        constants: dict[str, Value] = {"null": None, "true": True, "false": False}
        if kind == "name" and text.lower() in constants:
            return constants[text.lower()]
        raise malformed(f"unexpected token: {text}")

    def _order(self) -> tuple[tuple[str, str], ...]:
        if not self._takes("order"):
            return ()
        self._word("by")
        return tuple(self._list(self._order_item))

    def _order_item(self) -> tuple[str, str]:
        path, way, nulls = self._name(), "ASC", ""
        if self._sees("asc") or self._sees("desc"):
            way = self._next()[1].upper()
        if self._takes("nulls"):
            nulls = self._next()[1].upper()
        return path, f"{way} NULLS {nulls or ('FIRST' if way == 'ASC' else 'LAST')}"

    def _count_after(self, word: str) -> int | None:
        if not self._takes(word):
            return None
        kind, text = self._next()
        if kind != "number" or not text.isdigit():
            raise malformed(f"unexpected token: {text}")
        return int(text)

    def _list(self, item: Callable[[], Item]) -> list[Item]:
        items = [item()]
        while self._takes(","):
            items.append(item())
        return items

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise malformed(f"unexpected token: {text}")
        return text

    def _word(self, word: str) -> None:
        if not self._takes(word):
            raise malformed(f"expecting {word!r}, found {self._peek()!r}")

    def _takes(self, word: str) -> bool:
        if self._sees(word):
            self._place += 1
            return True
        return False

    def _sees(self, word: str) -> bool:
        return self._place < len(self._tokens) and self._tokens[self._place][1].lower() == word

    def _peek(self) -> str:
        return self._tokens[self._place][1] if self._place < len(self._tokens) else "<EOF>"

    def _next(self) -> tuple[str, str]:
        if self._place >= len(self._tokens):
            raise malformed("unexpected token: <EOF>")
        self._place += 1
        return self._tokens[self._place - 1]


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place, text = [], 0, text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise malformed(f"unexpected character at column {place}")
        found.append((match.lastgroup or "", match[match.lastgroup or 0]))
        place = match.end()
    return found


def _unquoted(text: str) -> str:
    inner = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1] if match[1] not in "%_" else match[0]), text[1:-1])
    if len(inner) > MOST_IN_STRING:
        raise malformed("maximum length of a string literal in WHERE is 4000")
    return inner
