"""Sharing amounts among touches, exactly: whole minor units, all models in one pass.

Every weight is a whole number. In the order of a path's touches, credit is what the running total of the weights has earned
so far, rounded down, less what was given before: every touch is within one minor unit of its exact share, the sum is the
amount, and nothing depends on the order of the rows (docs/decisions). A model by anchors knows its running total from the
places of the anchors alone; the others sum theirs up. SQL, not Narwhals, because it divides whole numbers: `//`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import duckdb
import narwhals as nw

from crmbridge.attribution.models import DAY_S, Anchor, Model, Strategy, WeightExpression

CREDIT = "credit__"
_DECAY_SCALE = 1 << 20
_NARROW_TOTAL = 1 << 31
"""Where a path's weights are less than this in sum, as decay's always are, products of two of them fit into 64 bits."""
_ROLE_PERCENT = 100
_MOST_OWN = 10**12
"""Larger weights of an own model count as this: a hundred thousand of them still fit into 64 bits."""
_MOST_NARROW = 10_000
"""Anchors and rest of at most this in sum: a path of 100,000 touches stays below a total of 2^31."""

_ANCHOR_RANKS = {
    Anchor.FIRST: "1",
    Anchor.LEAD_CREATED: "lead_created_rank",
    Anchor.OPPORTUNITY_CREATED: "opportunity_created_rank",
    Anchor.LAST: "touches",
    Anchor.CLOSE: "close_rank",
}

# In the order of time, the last touch up to a moment is as many touches in as there are touches up to it.
_PLACES = """
    CREATE OR REPLACE TEMP TABLE "{places}" AS
    WITH marks AS (
        SELECT path_key, count(*) AS touches, max(t.occurred_s) AS latest_s,
            nullif(count(*) FILTER (t.occurred_s <= p.lead_created_s), 0) AS lead_created_rank,
            nullif(count(*) FILTER (t.occurred_s <= p.opportunity_created_s), 0) AS opportunity_created_rank
        FROM {touches} t JOIN {paths} p USING (path_key) GROUP BY path_key
    )
    SELECT t.*, row_number() OVER (PARTITION BY path_key ORDER BY t.occurred_s, t.touch_key) AS rank,
        row_number() OVER (PARTITION BY path_key, t.channel ORDER BY t.occurred_s, t.touch_key) AS channel_rank,
        m.touches, m.latest_s, m.lead_created_rank, m.opportunity_created_rank,
        CASE WHEN p.close_s IS NOT NULL THEN m.touches END AS close_rank, p.value_minor
    FROM {touches} t JOIN {paths} p USING (path_key) JOIN marks m USING (path_key)
"""


def credit_column(model: Model) -> str:
    """The column of a model's credit."""
    return CREDIT + model.name


def place_touches(connection: duckdb.DuckDBPyConnection, *, touches: str, paths: str, places: str) -> None:
    """Give every touch its place in its path: a temporary table.

    Args:
        connection: where the tables are.
        touches: a table of path_key, touch_key (whole numbers; together unique, touch_key breaks ties), channel, occurred_s, and
            role (text, may be null).
        paths: a table of path_key, value_minor (BIGINT), lead_created_s, opportunity_created_s, close_s (may be null).
        places: the name of the table to make: the columns of `touches`, value_minor, and rank (1 is the earliest), channel_rank
            (1 is the channel's earliest), touches (of the path), latest_s, and the anchors' ranks, null where one is missing.
    """
    connection.execute(_PLACES.format(touches=touches, paths=paths, places=places))


def credits_sql(
    connection: duckdb.DuckDBPyConnection, models: Sequence[Model], *, places: str, parts: Mapping[str, str] | None = None
) -> str:
    """Share every path's value among its touches, under every model at once.

    Args:
        connection: where `places` is; weights of OWN models are computed there.
        models: with unique names.
        places: a table as `place_touches` makes it.
        parts: for MARKOV models: name -> table of channel, parts (BIGINT >= 0, in sum at most a million).

    Returns:
        A query that gives the columns of `places` and a BIGINT `credit__<model>` in minor units; for each path and model they
        sum to value_minor.
    """
    source = places
    for model in models:
        if model.strategy is Strategy.OWN:
            source = _with_own_weight(connection, model, source)
        if model.strategy is Strategy.MARKOV:
            table = (parts or {})[model.name]
            joined = f'SELECT s.*, coalesce(q.parts, 0) AS "parts__{model.name}"'
            source = f"({joined} FROM {source} s LEFT JOIN {table} q USING (channel))"
    weights = "".join(f', ({_weight(model)})::BIGINT AS "w__{model.name}"' for model in models)
    sums = "".join(_sums(model) for model in models)
    shares = "".join(f', {_share(model)} AS "{credit_column(model)}"' for model in models)
    return f"""
        SELECT * EXCLUDE ({", ".join(f'"{letter}__{model.name}"' for model in models for letter in "wct")}) FROM (
            SELECT *{shares} FROM (SELECT *{sums} FROM (SELECT *{weights} FROM {source})
            {_windows(models)})
        )
    """


def _windows(models: Sequence[Model]) -> str:
    if all(_is_closed_form(model) for model in models):
        return ""
    return """WINDOW so_far AS (PARTITION BY path_key ORDER BY rank ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        whole AS (PARTITION BY path_key)"""


def _is_closed_form(model: Model) -> bool:
    return model.strategy is Strategy.ANCHORS and not model.role_weights


def _is_narrow(model: Model) -> bool:
    """Whether the square of a path's total fits into 64 bits whatever the path."""
    if model.role_weights or model.strategy in {Strategy.MARKOV, Strategy.OWN}:
        return False
    anchors, rest = model.reduced()
    return sum(anchors.values()) + rest <= _MOST_NARROW


def _sums(model: Model) -> str:
    """Running total and total of a model's weights."""
    if _is_closed_form(model):
        running, total = _anchored_totals(model)
    else:
        running, total = f'sum("w__{model.name}") OVER so_far', f'sum("w__{model.name}") OVER whole'
    return f', ({running})::BIGINT AS "c__{model.name}", ({total})::BIGINT AS "t__{model.name}"'


def _share(model: Model) -> str:
    """What the running total has earned, less what was given before; the same for negative amounts, mirrored.

    With value = whole * total + rest, the floor of value * running / total is whole * running + rest * running // total, and
    nothing on the way is larger than the value or the square of the total.
    """
    weight, running, total = (f'"{letter}__{model.name}"' for letter in "wct")
    earned = _earned("abs(value_minor)", weight, running, total)
    if not _is_narrow(model):
        wide = _earned("abs(value_minor)::HUGEINT", weight, running, total)
        earned = f"CASE WHEN {total} < {_NARROW_TOTAL} THEN {earned} ELSE ({wide})::BIGINT END"
    # A model that gives no weight to anything in a path shares it evenly: nothing is lost.
    even = _earned("abs(value_minor)", "1", "rank", "touches")
    return f"sign(value_minor)::BIGINT * CASE WHEN {total} = 0 THEN {even} ELSE {earned} END"


def _earned(value: str, weight: str, running: str, total: str) -> str:
    return (
        f"({value} // {total}) * {weight} + (({value} % {total}) * {running}) // {total} "
        f"- (({value} % {total}) * ({running} - {weight})) // {total}"
    )


def _weight(model: Model) -> str:
    weight = _WEIGHTS[model.strategy](model)
    if not model.role_weights:
        return weight
    cases = " ".join(f"WHEN {_text(role)} THEN {percent}" for role, percent in model.role_weights.items())
    return f"({weight}) * CASE role {cases} ELSE {_ROLE_PERCENT} END"


def _by_anchors(model: Model) -> str:
    anchors, rest = model.reduced()
    if not anchors:
        return "1"
    here = " + ".join(f"coalesce({weight} * (rank = {_ANCHOR_RANKS[anchor]})::INTEGER, 0)" for anchor, weight in anchors.items())
    is_anchor = " OR ".join(f"rank = {_ANCHOR_RANKS[anchor]}" for anchor in anchors)
    scale = f"greatest(touches - ({_distinct(anchors, 'touches')}), 1)" if rest else "1"
    return f"CASE WHEN coalesce({is_anchor}, false) THEN ({here}) * {scale} ELSE {rest} END"


def _anchored_totals(model: Model) -> tuple[str, str]:
    """Running total and total, from the anchors' places: those passed so far, and the other touches so far."""
    anchors, rest = model.reduced()
    if not anchors:
        return "rank", "touches"
    scale = f"greatest(touches - ({_distinct(anchors, 'touches')}), 1)" if rest else "1"

    def until(place: str) -> str:
        passed = " + ".join(
            f"coalesce({weight} * ({_ANCHOR_RANKS[anchor]} <= {place})::INTEGER, 0)" for anchor, weight in anchors.items()
        )
        return f"({passed}) * {scale} + {rest} * ({place} - ({_distinct(anchors, place)}))"

    return until("rank"), until("touches")


def _distinct(anchors: Mapping[Anchor, int], place: str) -> str:
    """How many different touches up to `place` the anchors fall on."""
    ranks = [_ANCHOR_RANKS[anchor] for anchor in anchors]
    counted = []
    for index, rank in enumerate(ranks):
        earlier = "".join(f" AND {rank} IS DISTINCT FROM {other}" for other in ranks[:index])
        counted.append(f"coalesce(({rank} <= {place}{earlier})::INTEGER, 0)")
    return " + ".join(counted)


def _by_decay(model: Model) -> str:
    half_lives = f"(latest_s - occurred_s) / {model.half_life_days * DAY_S!r}"
    return f"round(pow(2.0, -({half_lives})) * least({_DECAY_SCALE}, {_NARROW_TOTAL} // touches))"


def _by_channel_set(_: Model) -> str:
    return "(channel_rank = 1)::INTEGER"


def _by_channel_parts(model: Model) -> str:
    return f'"parts__{model.name}"'


def _by_own(model: Model) -> str:
    return f'least(greatest("own__{model.name}", 0), {_MOST_OWN})'


_WEIGHTS = {
    Strategy.ANCHORS: _by_anchors,
    Strategy.DECAY: _by_decay,
    Strategy.SHAPLEY: _by_channel_set,
    Strategy.MARKOV: _by_channel_parts,
    Strategy.OWN: _by_own,
}


def _with_own_weight(connection: duckdb.DuckDBPyConnection, model: Model, source: str) -> str:
    expression = cast("WeightExpression", model.expression)  # a Model of OWN without one cannot be made
    frame = nw.from_native(connection.sql(f"FROM {source}"))
    weighed = frame.with_columns(expression().cast(nw.Int64).alias(f"own__{model.name}"))
    return f"({weighed.to_native().sql_query()})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
