"""Turns columns of text, as every database can give them, into canonical Arrow columns: no value is touched by Python.

Each canonical column type has one reader of text. What cannot be read raises `BadValue` with its row, so that the
caller can name the record; the value itself is told only where it is nothing but digits and punctuation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import PydanticUndefined

from crmbridge.model import RECORDS, Entity, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo

_TRUE = ("true", "t", "yes", "y", "1", "1.0", "on")
_FALSE = ("false", "f", "no", "n", "0", "0.0", "off")
_ZONED = r"\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$"
_HARMLESS = re.compile(r"[-0-9 .,:/+TZ]{1,40}")


class BadValue(Exception):
    """A value that its column's type cannot hold.

    Attributes:
        row: its place in the column, from 0.
        text: the value, or what may be said of it.
    """

    def __init__(self, row: int, text: str) -> None:
        super().__init__(row)
        self.row = row
        self.text = text


@dataclass(frozen=True, slots=True)
class Target:
    """A canonical column, and how to read text into it.

    Attributes:
        type: its Arrow type.
        required: it may not be null.
        is_id: an empty text is no id.
        allowed: the only texts it takes; empty where any goes.
        default: what the model says where the database says nothing.
    """

    entity: Entity
    name: str
    type: pa.DataType
    required: bool
    is_id: bool
    allowed: tuple[str, ...]
    default: str | None

    @property
    def expected(self) -> str:
        """What a value must look like, in words."""
        if self.allowed:
            return f"one of {', '.join(self.allowed)}"
        if pa.types.is_boolean(self.type):
            return "one of true, false, yes, no, 1, 0"
        if pa.types.is_decimal(self.type):
            return f"a number of at most {self.type.precision} digits, {self.type.scale} of them decimals, such as 1234.5"
        if pa.types.is_date(self.type):
            return "a date such as 2026-01-31"
        return "a date and time such as 2026-01-31 09:30:00 or 2026-01-31T09:30:00Z"


@cache
def targets(entity: Entity) -> Mapping[str, Target]:
    """The canonical columns of an entity, in order."""
    fields = RECORDS[entity].model_fields
    return {column.name: _target(entity, column, fields[column.name]) for column in arrow_schema(entity)}


def column(target: Target, texts: Sequence[str | None], *, null_values: Sequence[str], time_zone: str) -> pa.Array:
    """Read one column.

    Args:
        target: what it becomes.
        texts: n values as the database wrote them.
        null_values: texts that mean nothing, besides NULL.
        time_zone: of datetimes without an offset, and of the days of datetimes.

    Returns:
        n values of the target's type; null where the database says nothing and the model has no default.

    Raises:
        BadValue: the first value that cannot be read.
    """
    found = _nulled(pa.array(texts, pa.string()), target, null_values)
    try:
        return _filled(_cast(found, target, time_zone), target)
    except pa.ArrowInvalid:
        raise _first_bad(found, target, time_zone) from None


def constant(target: Target, text: str, rows: int, *, time_zone: str) -> pa.Array:
    """Repeat one value, written as text, for `rows` rows; raises BadValue like `column`."""
    (value,) = column(target, [text], null_values=(), time_zone=time_zone)
    return pa.repeat(value, rows)


def nothing(target: Target, rows: int) -> pa.Array:
    """The column of a field that the database does not have."""
    return _filled(pa.nulls(rows, target.type), target)


def _target(entity: Entity, field: pa.Field, info: FieldInfo) -> Target:
    is_id = field.name == "id" or field.name.endswith("_id")
    default = info.default if info.default is not PydanticUndefined else None
    return Target(entity, field.name, field.type, not field.nullable, is_id, _literals(info.annotation), default)


def _literals(annotation: Any) -> tuple[str, ...]:  # noqa: ANN401
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((get_args(part) for part in get_args(annotation) if get_origin(part) is Literal), ())


def _nulled(found: pa.Array, target: Target, null_values: Sequence[str]) -> pa.Array:
    """Turn texts that mean nothing into null; an empty text is neither an id nor a number nor a date."""
    is_plain_text = pa.types.is_string(target.type) and not target.is_id and not target.allowed
    if not pa.types.is_string(target.type):
        found = pc.utf8_trim_whitespace(found)
    empty = set(null_values) if is_plain_text else {*null_values, ""}
    if not empty:
        return found
    return pc.if_else(pc.is_in(found, pa.array(sorted(empty), pa.string())), pa.scalar(None, pa.string()), found)


def _cast(found: pa.Array, target: Target, time_zone: str) -> pa.Array:
    if target.allowed:
        return _allowed(found, target.allowed)
    if pa.types.is_boolean(target.type):
        return _booleans(found)
    if pa.types.is_timestamp(target.type):
        return _moments(found, time_zone)
    if pa.types.is_date(target.type):
        return _days(found, time_zone)
    return pc.cast(found, target.type)


def _allowed(found: pa.Array, allowed: tuple[str, ...]) -> pa.Array:
    _require(pc.is_in(found, pa.array([*allowed, None], pa.string())))
    return found


def _booleans(found: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(found)
    is_true = pc.is_in(lower, pa.array(_TRUE))
    _require(pc.or_(is_true, pc.is_in(lower, pa.array([*_FALSE, None], pa.string()))))
    return pc.if_else(pc.is_null(found), pa.scalar(None, pa.bool_()), is_true)


def _require(accepted: pa.Array) -> None:
    if not pc.all(accepted, min_count=0).as_py():
        raise pa.ArrowInvalid("not accepted")


def _moments(found: pa.Array, time_zone: str) -> pa.Array:
    """Read datetimes: with an offset as they are, without one as of `time_zone`."""
    is_zoned = pc.match_substring_regex(found, _ZONED)
    nothing_here = pa.scalar(None, pa.string())
    zoned = pc.cast(pc.if_else(is_zoned, found, nothing_here), pa.timestamp("us", "UTC"))
    local = pc.cast(pc.if_else(is_zoned, nothing_here, found), pa.timestamp("us"))
    placed = pc.assume_timezone(local, time_zone, ambiguous="earliest", nonexistent="latest")
    return pc.coalesce(zoned, pc.cast(placed, pa.timestamp("us", "UTC")))


def _days(found: pa.Array, time_zone: str) -> pa.Array:
    """Read dates; a datetime gives its day in `time_zone`."""
    longest = pc.max(pc.utf8_length(found)).as_py() or 0
    if longest <= len("2026-01-31"):
        return pc.cast(found, pa.date32())
    local = pc.local_timestamp(pc.cast(_moments(found, time_zone), pa.timestamp("us", time_zone)))
    return pc.cast(local, pa.date32(), safe=False)


def _filled(found: pa.Array, target: Target) -> pa.Array:
    return found if target.default is None else pc.fill_null(found, target.default)


def _first_bad(found: pa.Array, target: Target, time_zone: str) -> BadValue:
    """Find the first value that fails, by halving."""
    low, high = 0, len(found)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _reads(found[low:middle], target, time_zone) else (low, middle)
    text = found[low].as_py() or ""
    return BadValue(low, repr(text) if _HARMLESS.fullmatch(text) else f"a text of {len(text)} characters")


def _reads(found: pa.Array, target: Target, time_zone: str) -> bool:
    try:
        _cast(found, target, time_zone)
    except pa.ArrowInvalid:
        return False
    return True
