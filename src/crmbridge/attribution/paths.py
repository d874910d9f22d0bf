"""The models on paths of your own: a table of touches in, the credit of every channel out; no CRM needed.

    from crmbridge.attribution.paths import attribute_paths

    attribute_paths(touches, models=["first", "linear", "markov"])

No path's credit is rounded by itself. What all paths of equally many touches give a channel is summed up in whole numbers, and
only a model's totals are rounded (largest remainder), so that they sum to the value exactly, in any order of the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa

from crmbridge.attribution.credit import credit_column, credits_sql, place_touches
from crmbridge.attribution.markov import LEAST_JOURNEYS, removal_effects
from crmbridge.attribution.models import PRESETS, Anchor, Model, Strategy
from crmbridge.errors import DataError, SettingsError

_FINE = 10**9
"""Parts of a minor unit in which classes of paths are summed up."""
_PARTS = 10**12
_MOST_MINOR = 10**17
_MOST_DIGITS = 9
_MOST_BIGINT = 2**62
_MICROSECONDS = 10**6
_ROWS_A_BATCH = 65_536
"""One batch is scanned by one thread."""

# Order and channel as one number: its least and greatest in a path are the first and the last touch, whatever order they share.
_TOUCHES = """
    CREATE TEMP TABLE touches AS
    SELECT path AS path_key, number, (({moment})::{type} - {start}) * {channels} + number AS place{told} FROM given
"""

_JOURNEYS = """
    CREATE TEMP TABLE journeys AS
    SELECT path_key, count(*) AS touches, min(place) % {channels} AS first_number, max(place) % {channels} AS last_number,
        {value} AS value_minor, {conversions} AS conversions, {nulls} AS nulls, {is_torn} AS is_torn
    FROM touches GROUP BY path_key
"""

# What paths of equally many touches give a channel: for all its touches, for those that are first, for those that are last.
_CLASSES = """
    CREATE TEMP TABLE classes AS
    WITH valued AS (FROM journeys WHERE value_minor <> 0)
    SELECT number, touches, sum(every)::HUGEINT AS every, sum(firsts)::HUGEINT AS firsts, sum(lasts)::HUGEINT AS lasts
    FROM (
        SELECT t.number, v.touches, sum(v.value_minor) AS every, 0 AS firsts, 0 AS lasts
        FROM touches t JOIN valued v USING (path_key) GROUP BY ALL
        UNION ALL SELECT first_number, touches, 0, sum(value_minor), 0 FROM valued GROUP BY ALL
        UNION ALL SELECT last_number, touches, 0, 0, sum(value_minor) FROM valued GROUP BY ALL
    ) GROUP BY number, touches
"""

_SETS = """
    CREATE TEMP TABLE sets AS
    WITH met AS (
        SELECT DISTINCT t.path_key, t.number, j.value_minor FROM touches t JOIN journeys j USING (path_key)
        WHERE j.value_minor <> 0
    ), sizes AS (SELECT path_key, count(*) AS size FROM met GROUP BY path_key)
    SELECT number, size, sum(value_minor)::HUGEINT AS every FROM met JOIN sizes USING (path_key) GROUP BY number, size
"""

_PLACED = """
    CREATE TEMP TABLE placed AS
    SELECT path_key, place AS touch_key, number AS channel, place // {channels} // {per_s} AS occurred_s, NULL::VARCHAR AS role
    FROM touches;
    CREATE TEMP TABLE valued_paths AS
    SELECT path_key, value_minor, NULL::BIGINT AS lead_created_s, NULL::BIGINT AS opportunity_created_s, 0::BIGINT AS close_s
    FROM journeys WHERE value_minor <> 0
"""

_ROUNDED = """
    WITH fine AS (
        SELECT c.number, coalesce(f.fine, 0)::HUGEINT AS fine FROM range($channels) c(number)
        LEFT JOIN (SELECT number, sum(fine) AS fine FROM ({fine}) GROUP BY number) f USING (number)
    ), floored AS (
        SELECT number, fine, CASE WHEN fine < 0 THEN -((-fine + {one} - 1) // {one}) ELSE fine // {one} END AS whole FROM fine
    ), ranked AS (
        SELECT number, whole, row_number() OVER (ORDER BY fine - whole * {one} DESC, number) AS nearness,
            $total::HUGEINT - sum(whole) OVER () AS missing FROM floored
    )
    SELECT (whole + missing // $channels + (nearness <= missing % $channels)::INTEGER)::DECIMAL(28, 0) * {unit} AS credit
    FROM ranked ORDER BY number
"""


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
        self._connection = duckdb.connect(config={"preserve_insertion_order": False})
        try:
            self._store(given.drop(["channel"]).append_column("number", numbers))
            self._total = self._checked_total()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Forget the paths; may be called twice."""
        self._connection.close()

    def credits(self, models: Sequence[str | Model], *, least_journeys: int = LEAST_JOURNEYS) -> pa.Table:
        """Share what the paths were worth among their channels.

        Args:
            models: names of `crmbridge.attribution.models.PRESETS`, or models of your own. Paths know no creation of leads or
                opportunities: those anchors are missing. The close is the end of the path.
            least_journeys: a Markov chain is refused on fewer conversions.

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

    def _credit(self, model: Model, least_journeys: int) -> pa.ChunkedArray:
        unit = f"{1 / 10**self._digits:.{self._digits}f}::DECIMAL({self._digits + 1}, {self._digits})"
        sql = _ROUNDED.format(fine=self._fine(model, least_journeys), one=_FINE, unit=unit)
        given = {"total": self._total, "channels": len(self.channels)}
        rounded = self._connection.execute(sql, given).to_arrow_table()["credit"]
        return rounded.cast(pa.decimal128(38, self._digits))

    def _store(self, given: pa.Table) -> None:
        self._connection.register("given", pa.Table.from_batches(given.to_batches(max_chunksize=_ROWS_A_BATCH), given.schema))
        moment = "epoch_us(moment::TIMESTAMP)" if self._is_time else "moment::BIGINT"
        spans = self._connection.execute(f"SELECT min({moment}), max({moment}) FROM given").fetchall()
        start, end = (value or 0 for value in spans[0])
        channels = max(len(self.channels), 1)
        kind = "BIGINT" if (end - start + 1) * channels < _MOST_BIGINT else "HUGEINT"
        told = _told(given.schema, self._digits)
        columns = "".join(f", {sql} AS {name}" for name, sql in told.items())
        try:
            self._connection.execute(_TOUCHES.format(moment=moment, start=start, type=kind, channels=channels, told=columns))
        except (duckdb.ConversionException, duckdb.OutOfRangeException):
            raise DataError("a value is no finite number, or too large") from None
        self._connection.unregister("given")
        self._connection.execute(_journeys(told, channels, self._digits))

    def _checked_total(self) -> int:
        torn, most, total = self._connection.execute(
            "SELECT count(*) FILTER (is_torn), max(abs(value_minor)), sum(value_minor) FROM journeys"
        ).fetchall()[0]
        if torn:
            raise DataError(f"{torn:,} paths have several values or counts; each path has one, repeated on its rows")
        if max(most or 0, abs(total or 0)) > _MOST_MINOR:
            raise DataError(f"the values sum to more than {_MOST_MINOR:,} minor units of {self._digits} digits")
        return int(total or 0)

    def _fine(self, model: Model, least_journeys: int) -> str:
        """A query for number and fine: parts of minor units, to be summed up by number."""
        if model.strategy is Strategy.ANCHORS:
            return _by_anchors(model, self._classes)
        if model.strategy is Strategy.SHAPLEY:
            return f"SELECT number, every * {_FINE} // size AS fine FROM {self._sets}"
        if model.strategy is Strategy.MARKOV:
            return self._by_removal(model, least_journeys)
        if model.strategy is Strategy.DECAY and not self._is_time:
            raise DataError("time decay needs moments or dates as the order of touches, not positions")
        return self._by_touch(model)

    @cached_property
    def _classes(self) -> str:
        self._connection.execute(_CLASSES)
        return "classes"

    @cached_property
    def _sets(self) -> str:
        self._connection.execute(_SETS)
        return "sets"

    @cached_property
    def _places(self) -> str:
        per_s = _MICROSECONDS if self._is_time else 1
        self._connection.execute(_PLACED.format(channels=max(len(self.channels), 1), per_s=per_s))
        place_touches(self._connection, touches="placed", paths="valued_paths", places="places")
        return "places"

    def _by_touch(self, model: Model) -> str:
        """Exactly shared touch by touch, then summed up."""
        shared = credits_sql(self._connection, [model], places=self._places)
        return (
            f'SELECT channel AS number, sum("{credit_column(model)}")::HUGEINT * {_FINE} AS fine FROM ({shared}) GROUP BY channel'
        )

    def _by_removal(self, model: Model, least_journeys: int) -> str:
        ((converted,),) = self._connection.execute("SELECT coalesce(sum(conversions), 0) FROM journeys").fetchall()
        if converted < max(least_journeys, 1):
            raise DataError(f"a Markov chain needs {max(least_journeys, 1)} conversions; there are {converted:,}")
        steps = "(SELECT path_key, place AS rank, number AS channel FROM touches)"
        effects = removal_effects(self._connection, steps=steps, outcomes="journeys", order=model.order)
        parts = np.round(effects["share"].to_numpy() * _PARTS).astype(np.int64)
        self._connection.register("given", pa.table({"number": effects["channel"].cast(pa.int64()), "parts": parts}))
        self._connection.execute("CREATE OR REPLACE TEMP TABLE effects AS FROM given")
        self._connection.unregister("given")
        share, of = "$total::HUGEINT * parts", int(parts.sum())
        return f"SELECT number, {share} // {of} * {_FINE} + ({share} % {of}) * {_FINE} // {of} AS fine FROM effects"


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


def _numbered(channels: pa.ChunkedArray) -> tuple[list[str], pa.Array]:
    """The channels' names, sorted, and every touch's channel by its place among them."""
    encoded = channels if pa.types.is_dictionary(channels.type) else channels.cast(pa.string()).dictionary_encode()
    whole = encoded.combine_chunks() if encoded.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    met, places = np.unique(np.asarray(whole.dictionary.to_pylist(), dtype=object), return_inverse=True)
    return met.tolist(), pa.array(places.astype(np.int64)[whole.indices.to_numpy()])


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


def _told(schema: pa.Schema, digits: int) -> dict[str, str]:
    """SQL for what the rows tell about their path: name -> value in minor units, how often it converted, how often not."""
    told = {name: f"coalesce({name}, 0)::BIGINT" for name in ("conversions", "nulls") if name in schema.names}
    if "value" in schema.names:
        told["value"] = f"{_scaled(schema.field('value').type, digits)}::BIGINT"
    return told


def _journeys(told: Collection[str], channels: int, digits: int) -> str:
    """The query that makes journeys of touches that tell so much."""
    conversions = "max(conversions)" if "conversions" in told else "(max(value) IS NOT NULL)::BIGINT"
    return _JOURNEYS.format(
        channels=channels,
        value="max(value)" if "value" in told else f"max(conversions) * {10**digits}",
        conversions=conversions,
        nulls="max(nulls)" if "nulls" in told else f"({conversions} = 0)::BIGINT",
        is_torn=" OR ".join(f"min({name}) <> max({name})" for name in told),
    )


def _scaled(kind: pa.DataType, digits: int) -> str:
    """SQL for a value in minor units; decimals without a float on the way."""
    if pa.types.is_decimal(kind) and kind.scale > digits:
        return f"(round(value, {digits})::DECIMAL(28, {digits}) * {10**digits})"
    if pa.types.is_decimal(kind):
        return f"(value * {10**digits})"
    return f"round(value * {10**digits})" if pa.types.is_floating(kind) else f"(value::BIGINT * {10**digits})"


def _by_anchors(model: Model, classes: str) -> str:
    """Credit by classes: what is first or last gets its anchor's weight, what is neither shares the rest."""
    anchors, rest = model.reduced()
    first = anchors.get(Anchor.FIRST, 0)
    last = anchors.get(Anchor.LAST, 0) + anchors.get(Anchor.CLOSE, 0)
    rest = rest if first or last or rest else 1
    held = (first > 0) + (last > 0)
    others = f"greatest(touches - {held}, 0)"
    scale = f"greatest({others}, 1)" if rest else "1"
    among = f"every{' - firsts' if first else ''}{' - lasts' if last else ''}"
    numerator = f"({first} * firsts + {last} * lasts) * {scale} + CASE WHEN {others} > 0 THEN {rest} * ({among}) ELSE 0 END"
    return f"SELECT number, ({numerator}) * {_FINE} // ({first + last} * {scale} + {rest} * {others}) AS fine FROM {classes}"
