"""Paths by hand: one row per touch, shared out under a model."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from crmbridge.attribution.credit import credit_column, credits_sql, place_touches

DAY = 86_400
TOUCHES = pa.schema(
    [
        ("path_key", pa.int64()),
        ("touch_key", pa.int64()),
        ("channel", pa.string()),
        ("occurred_s", pa.int64()),
        ("role", pa.string()),
    ]
)
PATHS = pa.schema(
    [
        ("path_key", pa.int64()),
        ("value_minor", pa.int64()),
        ("lead_created_s", pa.int64()),
        ("opportunity_created_s", pa.int64()),
        ("close_s", pa.int64()),
    ]
)


def share(touches, paths, models, parts=None):
    """Credits by (path, touch): {(path_key, touch_key): {model: credit}}."""
    connection = duckdb.connect()
    for name, rows, schema in (("touches", touches, TOUCHES), ("paths", paths, PATHS)):
        connection.register("given", pa.Table.from_pylist(rows, schema=schema))
        connection.execute(f"CREATE TABLE {name} AS FROM given")
        connection.unregister("given")
    for name, rows in (parts or {}).items():
        connection.register("given", pa.table({"channel": list(rows), "parts": pa.array(rows.values(), pa.int64())}))
        connection.execute(f"CREATE TABLE {name} AS FROM given")
        connection.unregister("given")
    place_touches(connection, touches="touches", paths="paths", places="places")
    sql = credits_sql(connection, models, places="places", parts={name: name for name in parts or {}})
    found = connection.execute(sql).to_arrow_table().to_pylist()
    connection.close()
    return {(row["path_key"], row["touch_key"]): {model.name: row[credit_column(model)] for model in models} for row in found}


def one_path(model, days, **more):
    """Credits of one path in the order of its touches; days are whole days from a start."""
    return side_by_side({"only": {"days": days, **more}}, [model])["only"][model.name]


def side_by_side(paths, models):
    """Credits of paths that do not touch each other, under each model: {name: {model: credits in the order of touches}}."""
    touches = [touch for key, path in enumerate(paths.values()) for touch in _touches(key, **path)]
    found = share(touches, [_path(key, **path) for key, path in enumerate(paths.values())], models)
    return {
        name: {model.name: [found[key, number][model.name] for number in range(len(path["days"]))] for model in models}
        for key, (name, path) in enumerate(paths.items())
    }


def _touches(key, *, days, roles=None, channels="abcdefghij", **_of_the_path):
    return [
        {
            "path_key": key,
            "touch_key": number,
            "channel": channels[number],
            "occurred_s": int(day * DAY),
            "role": (roles or {}).get(number),
        }
        for number, day in enumerate(days)
    ]


def _path(key, *, value=1000, lead=None, opportunity=None, close=100, **_of_the_touches):
    moments = {"lead_created_s": lead, "opportunity_created_s": opportunity, "close_s": close}
    return {"path_key": key, "value_minor": value, **{k: None if v is None else int(v * DAY) for k, v in moments.items()}}
