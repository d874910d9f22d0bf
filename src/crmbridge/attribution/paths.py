"""The models on paths of your own: a table of touches in, the credit of every channel out; no CRM needed.

    from crmbridge.attribution.paths import attribute_paths

    attribute_paths(touches, models=["first", "linear", "markov"])

No path's credit is rounded by itself. What all paths of equally many touches give a channel is summed up in whole numbers, and
only a model's totals are rounded (largest remainder), so that they sum to the value exactly, in any order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import duckdb
import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.attribution.credit import credit_column, credits_sql, place_touches
from crmbridge.attribution.markov import LEAST_JOURNEYS, check_order, effects_of, shares_of
from crmbridge.attribution.models import PRESETS, Anchor, Model, Strategy
from crmbridge.attribution.sequences import NONE, Class, Ints, in_sequence
from crmbridge.errors import DataError, SettingsError

_FINE = 10**9
"""Parts of a minor unit in which classes of paths are summed up."""
_PARTS = 10**12
_MOST_MINOR = 10**17
_MOST_DIGITS = 9
_MOST_WHOLE = 1 << 62
_MICROSECONDS = 10**6
_LEARNING = {Strategy.MARKOV, Strategy.SHAPLEY}
"""They speak of all paths together; of a handful they say nothing."""


@dataclass(frozen=True)
class PathColumns:
    """Which columns of a table say what.

    Attributes:
        path: whose touch it is; any type that can be compared.
        order: position (whole numbers), moment or date; touches of the same order are told apart by the channel's name.
        channel: text.
        value: what the path was worth, the same on all its rows; null, or no such column, where it did not convert.
        conversions: how often the path converted; unless given, once where there is a value.
        nulls: how often it did not; unless given, once where it never converted.
    """

    path: str = "path"
    order: str = "order"
    channel: str = "channel"
    value: str | None = "value"
    conversions: str | None = None
    nulls: str | None = None

    def named(self) -> dict[str, str]:
        """Our name -> theirs, of what is there."""
        every = {"path": self.path, "moment": self.order, "channel": self.channel, "value": self.value}
        every |= {"conversions": self.conversions, "nulls": self.nulls}
        return {ours: theirs for ours, theirs in every.items() if theirs is not None}


PLAIN = PathColumns()


def attribute_paths(
    touches: Any,  # noqa: ANN401 - whatever Narwhals takes
    *,
    columns: PathColumns = PLAIN,
    models: Sequence[str | Model] = ("first", "last", "linear"),
    digits: int = 2,
    least_journeys: int = LEAST_JOURNEYS,
) -> pa.Table:
    """Share what paths were worth among their channels: `Paths` and `Paths.credits` in one."""
    with Paths(touches, columns=columns, digits=digits) as paths:
        return paths.credits(models, least_journeys=least_journeys)


class Paths:
    """Paths, taken in once for any number of models; a context manager, or to be closed.

    Args:
        touches: one row a touch: a pandas, Polars or Arrow table, a DuckDB relation, or whatever else Narwhals takes.
        columns: which of its columns say what. Without a value, a conversion is worth 1.
        digits: decimals of the credits, 0 to 9; values are rounded to as many.

    Attributes:
        channels: their names, sorted.

    Raises:
        DataError: a column is missing or of another kind; a path, order or channel is null; a path has several values; values
            are too large.
    """

    def __init__(
        self,
        touches: Any,  # noqa: ANN401 - whatever Narwhals takes
        *,
        columns: PathColumns = PLAIN,
        digits: int = 2,
    ) -> None:
        if not 0 <= digits <= _MOST_DIGITS:
            raise DataError(f"credits have 0 to {_MOST_DIGITS} digits, not {digits}")
        given = _taken(touches, columns)
        _checked(given)
        self._digits = digits
        self._is_time = pa.types.is_temporal(given.schema.field("moment").type)
        self.channels, numbers = _numbered(given["channel"])
        self._sequences = in_sequence(given["path"], _moments(given["moment"]), numbers, len(self.channels))
        self._store(given)
        self._total = self._checked_total()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Forget the paths; may be called twice."""
        self.__dict__.clear()

    def credits(self, models: Sequence[str | Model], *, least_journeys: int = LEAST_JOURNEYS) -> pa.Table:
        """Share what the paths were worth among their channels.

        Args:
            models: names of `crmbridge.attribution.models.PRESETS`, or models of your own. Paths know no creation of leads or
                opportunities: those anchors are missing. The close is the end of the path.
            least_journeys: Markov chains and Shapley values are refused on fewer conversions.

        Returns:
            `channel`, sorted, and a decimal column for every model, each with the sum of all values.

        Raises:
            DataError: time decay over positions; too few conversions.
            SettingsError: a model is unknown, or two share a name.
        """
        chosen = [_chosen(model) for model in models]
        if len({model.name for model in chosen}) < len(chosen):
            raise SettingsError("attribution models of the same name")
        return pa.table({"channel": self.channels, **{model.name: self._credit(model, least_journeys) for model in chosen}})

    def _credit(self, model: Model, least_journeys: int) -> pa.Array:
        fine = [0] * len(self.channels)
        for number, parts in self._fine(model, least_journeys):
            fine[number] += parts
        exact = [Decimal(whole).scaleb(-self._digits) for whole in _rounded(fine, self._total)]
        return pa.array(exact, pa.decimal128(38, self._digits))

    def _store(self, given: pa.Table) -> None:
        told = {"conversions": 0, "nulls": 0, "value": self._digits}
        rows = {name: _whole(given[name], digits) for name, digits in told.items() if name in given.column_names}
        for name in {"conversions", "nulls"} & rows.keys():
            rows[name] = _known(rows[name])
        said = {name: self._sequences.of_paths(row) for name, row in rows.items()}
        if torn := len(set().union(*(torn.tolist() for _, torn in said.values()))):
            raise DataError(f"{torn:,} paths have several values or counts; each path has one, repeated on its rows")
        by_path = {name: found for name, (found, _) in said.items()}
        self._conversions = by_path["conversions"] if "conversions" in by_path else (by_path["value"] != NONE).astype(np.int64)
        self._nulls = by_path["nulls"] if "nulls" in by_path else (self._conversions == 0).astype(np.int64)
        self._values = _known(by_path["value"]) if "value" in by_path else _times(self._conversions, 10**self._digits)

    def _checked_total(self) -> int:
        high, low = self._values >> 32, self._values & 0xFFFFFFFF
        total = (int(high.sum()) << 32) + int(low.sum())
        if max(int(np.abs(self._values).max(initial=0)), abs(total)) > _MOST_MINOR:
            raise DataError(f"the values sum to more than {_MOST_MINOR:,} minor units of {self._digits} digits")
        return total

    def _fine(self, model: Model, least_journeys: int) -> Iterable[tuple[int, int]]:
        """Parts of minor units by a channel's number, to be summed up."""
        if model.strategy is Strategy.ANCHORS:
            return _by_anchors(model, self._classes)
        if model.strategy in _LEARNING:
            self._check_enough(model, least_journeys)
        if model.strategy is Strategy.SHAPLEY:
            return ((number, total * _FINE // size) for number, size, total in self._sets)
        if model.strategy is Strategy.MARKOV:
            return self._by_removal(model)
        if model.strategy is Strategy.DECAY and not self._is_time:
            raise DataError("time decay needs moments or dates as the order of touches, not positions")
        return self._by_touch(model)

    @cached_property
    def _classes(self) -> list[Class]:
        return self._sequences.classes(self._values, len(self.channels))

    @cached_property
    def _sets(self) -> list[tuple[int, int, int]]:
        return self._sequences.sets(self._values, len(self.channels))

    def _by_touch(self, model: Model) -> Iterable[tuple[int, int]]:
        """Exactly shared touch by touch, then summed up."""
        with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
            for name, table in self._placed().items():
                connection.register(f"given_{name}", table)
            place_touches(connection, touches="given_touches", paths="given_paths", places="places")
            shared = credits_sql(connection, [model], places="places")
            sql = f'SELECT channel, sum("{credit_column(model)}")::HUGEINT FROM ({shared}) GROUP BY channel'
            credited = dict(connection.execute(sql).fetchall())
        return [(number, int(credited.get(name, 0)) * _FINE) for number, name in enumerate(self.channels)]

    def _placed(self) -> dict[str, pa.Table]:
        """Touches and paths as `place_touches` takes them."""
        sequences = self._sequences
        paths = np.repeat(np.arange(len(sequences.starts)), sequences.touches)
        channels = pa.DictionaryArray.from_arrays(pa.array(sequences.numbers), pa.array(self.channels, pa.string()))
        moments = sequences.moments // _MICROSECONDS if self._is_time else sequences.moments
        touches = {
            "path_key": paths,
            "touch_key": np.arange(len(paths)),
            "channel": channels.cast(pa.string()),
            "occurred_s": moments,
            "role": pa.nulls(len(paths), pa.string()),
        }
        unknown = pa.nulls(len(self._values), pa.int64())
        valued = {
            "path_key": np.arange(len(self._values)),
            "value_minor": self._values,
            "lead_created_s": unknown,
            "opportunity_created_s": unknown,
            "close_s": np.zeros_like(self._values),
        }
        return {"touches": pa.table(touches), "paths": pa.table(valued)}

    def _check_enough(self, model: Model, least_journeys: int) -> None:
        # Without any conversion a chain has nothing to lose, and no shares.
        converted, least = int(self._conversions.sum()), max(least_journeys, int(model.strategy is Strategy.MARKOV))
        if converted < least:
            raise DataError(f"the model {model.name!r} needs {least:,} conversions; there are {converted:,}")

    def _by_removal(self, model: Model) -> Iterable[tuple[int, int]]:
        channels = len(self.channels)
        check_order(model.order, channels=channels)
        passed = self._conversions + self._nulls
        flow = self._sequences.flow(channels, model.order, passed=passed, converted=self._conversions)
        parts = np.round(shares_of(effects_of(flow, channels)) * _PARTS).astype(np.int64).tolist()
        of = sum(parts)
        return [(number, self._total * part * _FINE // of) for number, part in enumerate(parts)]


def _chosen(model: str | Model) -> Model:
    if isinstance(model, Model):
        return model
    if model not in PRESETS:
        raise SettingsError(f"there is no attribution model {model!r}", hint=f"models: {', '.join(sorted(PRESETS))}")
    return PRESETS[model]


def _taken(touches: Any, columns: PathColumns) -> pa.Table:  # noqa: ANN401 - whatever Narwhals takes
    """The columns that matter, under our names."""
    frame = nw.from_native(touches).lazy()
    named, present = columns.named(), frame.collect_schema().names()
    if missing := sorted(set(named.values()) - set(present)):
        raise DataError(f"the paths have no column {missing[0]!r}; they have: {', '.join(present)}")
    if "value" not in named and "conversions" not in named:
        raise DataError("the paths need a column of values or one of conversions")
    taken: pa.Table = frame.select(**{ours: nw.col(theirs) for ours, theirs in named.items()}).collect("pyarrow").to_native()
    return taken


def _numbered(channels: pa.ChunkedArray) -> tuple[list[str], Ints]:
    """The channels' names, sorted, and every touch's channel by its place among them."""
    encoded = channels if pa.types.is_dictionary(channels.type) else channels.cast(pa.string()).dictionary_encode()
    whole = encoded.combine_chunks() if encoded.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    met, places = np.unique(np.asarray(whole.dictionary.to_pylist(), dtype=object), return_inverse=True)
    return met.tolist(), places.astype(np.int64)[whole.indices.to_numpy()]


def _checked(given: pa.Table) -> None:
    """Raises DataError where a touch has no path, order or channel, or an order that is none."""
    kind = given.schema.field("moment").type
    if not (pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise DataError(f"the order of touches is {kind}; allowed: whole numbers, moments, dates")
    for name, said in (("path", "path"), ("moment", "order"), ("channel", "channel")):
        if empty := given[name].null_count:
            raise DataError(f"{empty:,} touches have no {said}")
    for name in ("value", "conversions", "nulls"):
        if name in given.column_names and not _is_number(given.schema.field(name).type):
            raise DataError(f"the {name} of paths is {given.schema.field(name).type}; allowed: numbers")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind))


def _moments(moments: pa.ChunkedArray) -> Ints:
    """Positions as they are; moments and dates in microseconds."""
    try:
        if pa.types.is_temporal(moments.type):
            moments = moments.cast(pa.timestamp("us", getattr(moments.type, "tz", None)), safe=False)
        found: Ints = moments.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        raise DataError("a position is larger than 64 bits hold") from None
    return found


def _whole(column: pa.ChunkedArray, digits: int) -> Ints:
    """A column in units of so many digits, decimals without a float on the way; `NONE` where it is null.

    Raises:
        DataError: a number is not finite, or too large.
    """
    known = pc.fill_null(column, 0) if column.null_count else column
    try:
        if pa.types.is_decimal(column.type):
            found = _unscaled(known, digits)
        elif pa.types.is_floating(column.type):
            found = _nearest(known.to_numpy() * 10.0**digits)
        else:
            found = _times(known.cast(pa.int64()).to_numpy(), 10**digits)
    except pa.ArrowInvalid:
        raise _unusable() from None
    if column.null_count:
        found = np.where(column.is_null().to_numpy(), NONE, found)
    return found


def _unscaled(column: pa.ChunkedArray, digits: int) -> Ints:
    """Decimals in units of so many digits, half away from zero where they have more."""
    if column.type.scale > digits:
        column = pc.round(column, digits, round_mode="half_towards_infinity")
    wide = column.cast(pa.decimal128(38, digits)).combine_chunks()
    # A decimal is a whole number of 128 bits, the lower half first.
    halves = np.frombuffer(wide.buffers()[1] or b"", dtype=np.int64).reshape(-1, 2)[wide.offset : wide.offset + len(wide)]
    low, high = halves[:, 0], halves[:, 1]
    if (high != low >> 63).any():
        raise _unusable()
    return low.copy()


def _nearest(numbers: npt.NDArray[np.float64]) -> Ints:
    """Whole numbers, half away from zero."""
    if not (np.abs(numbers) < _MOST_WHOLE).all():
        raise _unusable()
    down = np.trunc(numbers)
    nearest: Ints = (down + np.sign(numbers) * (np.abs(numbers - down) >= 0.5)).astype(np.int64)
    return nearest


def _times(numbers: Ints, factor: int) -> Ints:
    if len(numbers) and max(int(numbers.max()), -int(numbers.min())) > _MOST_WHOLE // factor:
        raise _unusable()
    return numbers * factor


def _known(numbers: Ints) -> Ints:
    """Nothing where there is no number."""
    return np.where(numbers == NONE, 0, numbers)


def _unusable() -> DataError:
    return DataError("a value is no finite number, or too large")


def _by_anchors(model: Model, classes: Iterable[Class]) -> Iterable[tuple[int, int]]:
    """Credit by classes: what is first or last gets its anchor's weight, what is neither shares the rest."""
    anchors, rest = model.reduced()
    first = anchors.get(Anchor.FIRST, 0)
    last = anchors.get(Anchor.LAST, 0) + anchors.get(Anchor.CLOSE, 0)
    rest = rest if first or last or rest else 1
    held = (first > 0) + (last > 0)
    for number, touches, every, firsts, lasts in classes:
        others = max(touches - held, 0)
        scale = max(others, 1) if rest else 1
        among = every - firsts * (first > 0) - lasts * (last > 0) if others else 0
        whole = (first + last) * scale + rest * others
        yield number, ((first * firsts + last * lasts) * scale + rest * among) * _FINE // whole


def _rounded(fine: Sequence[int], total: int) -> list[int]:
    """Whole units that sum to the total: the largest remainders are rounded up."""
    if not fine:
        return []
    whole, left = zip(*(divmod(parts, _FINE) for parts in fine), strict=True)
    each, more = divmod(total - sum(whole), len(fine))
    nearest = sorted(range(len(fine)), key=lambda number: (-left[number], number))
    raised = set(nearest[:more])
    return [units + each + (number in raised) for number, units in enumerate(whole)]
