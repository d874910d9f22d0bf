"""Streams a mapped entity out of the database as Arrow batches of the canonical schema."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from crmbridge.adapters.sql.convert import BadValue, Target, column, constant, nothing, targets
from crmbridge.adapters.sql.mapping import DERIVED_ID
from crmbridge.contract import Deletion
from crmbridge.errors import DataError
from crmbridge.model import ContactRole, Entity, arrow_schema, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import TypeAlias

    from crmbridge.adapters.sql.source import Selectable, Statement

    _Texts: TypeAlias = Mapping[str, Sequence[str | None]]

BATCH_ROWS = 20_000
"""Rows fetched and converted together: few enough to stay near the processor, enough to make Python's share vanish."""

ID_GROUP = 500
"""Ids asked for together."""

_MAPPING_HINT = 'read it through an expression: { sql = "..." }, or name its empty value in null_values'


def read(
    connection: sa.Connection, selectable: Selectable, *, since: datetime | None, time_zone: str
) -> Iterator[pa.RecordBatch]:
    """Give the records of one source, or those changed at or after `since`.

    Raises:
        DataError: a value that its field cannot hold, with the record's id.
    """
    statement = selectable.select()
    if since is not None:
        statement = statement.where(selectable.changed_since(since))
    with _fetched(connection, statement) as blocks:
        for texts in blocks:
            batch = _batch(selectable, texts, time_zone)
            batch = _changed_since(batch, since) if since is not None else batch
            if batch.num_rows:
                yield batch


def read_roles(
    connection: sa.Connection, selectables: Sequence[Selectable], opportunity_ids: Sequence[str], *, time_zone: str
) -> Iterator[ContactRole]:
    """Give the roles of these opportunities as they are now."""
    ids = list(dict.fromkeys(opportunity_ids))
    for group in (ids[start : start + ID_GROUP] for start in range(0, len(ids), ID_GROUP)):
        for selectable in selectables:
            yield from _roles_among(connection, selectable, group, time_zone)


def _roles_among(
    connection: sa.Connection, selectable: Selectable, group: Sequence[str], time_zone: str
) -> Iterator[ContactRole]:
    statement = selectable.select().where(selectable.among("opportunity_id", group))
    wanted = set(group)
    with _fetched(connection, statement) as blocks:
        for texts in blocks:
            for role in records(Entity.CONTACT_ROLE, _batch(selectable, texts, time_zone)):
                # A column may find more than the ids asked for: SQLite takes '007' for 7.
                if isinstance(role, ContactRole) and role.opportunity_id in wanted:
                    yield role


def existing(connection: sa.Connection, selectables: Iterable[Selectable], ids: Sequence[str]) -> set[str]:
    """Say which of at most a few hundred ids exist, undeleted, where the mapping looks."""
    found: set[str] = set()
    for selectable in selectables:
        statement = selectable.select().where(selectable.among("id", ids)).with_only_columns(_text_id(selectable))
        found.update(connection.scalars(statement))
    return found & set(ids)


def read_deleted(connection: sa.Connection, selectable: Selectable, *, since: datetime, time_zone: str) -> Iterator[Deletion]:
    """Give what this source marks as deleted or merged away, at or after `since`."""
    statement = selectable.select_gone().where(selectable.changed_since(since))
    kinds = targets(selectable.entity)
    with _fetched(connection, statement) as blocks:
        for texts in blocks:
            columns = {name: _converted(selectable, kinds[name], texts, time_zone) for name in texts}
            gone = _changed_since(pa.RecordBatch.from_pydict(columns), since)
            for row in gone.select([name for name in gone.schema.names if name != "is_deleted"]).to_pylist():
                yield Deletion(id=row["id"], deleted_at=row["modified_at"], merged_into_id=row.get("merged_into_id"))


def _text_id(selectable: Selectable) -> sa.ColumnElement[str]:
    return sa.cast(selectable.expression("id"), sa.Text)


@contextmanager
def _fetched(connection: sa.Connection, statement: Statement) -> Iterator[Iterator[_Texts]]:
    """Stream a select of texts, column by column, BATCH_ROWS rows at a time; the cursor closes with the block."""
    result = connection.execute(statement, execution_options={"yield_per": BATCH_ROWS})
    names = list(result.keys())
    with closing(result):
        yield (dict(zip(names, zip(*rows, strict=True), strict=True)) for rows in result.partitions())


def _batch(selectable: Selectable, texts: _Texts, time_zone: str) -> pa.RecordBatch:
    """Convert one fetched block into a canonical batch."""
    schema = arrow_schema(selectable.entity)
    kinds = targets(selectable.entity)
    arrays = {name: _field(selectable, kinds[name], texts, time_zone) for name in schema.names}
    if arrays["id"].null_count and selectable.entity in DERIVED_ID and "id" not in texts:
        arrays["id"] = _derived_id(selectable.entity, arrays)
    _require_given(selectable, kinds, arrays)
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema)


def _field(selectable: Selectable, target: Target, texts: _Texts, time_zone: str) -> pa.Array:
    rows = len(next(iter(texts.values())))
    field = selectable.source.fields.get(target.name)
    if field is None:
        return nothing(target, rows)
    if field.value is not None:
        return constant(target, field.value, rows, time_zone=time_zone)
    return _converted(selectable, target, texts, time_zone)


def _converted(selectable: Selectable, target: Target, texts: _Texts, time_zone: str) -> pa.Array:
    try:
        return column(target, texts[target.name], null_values=selectable.source.null_values, time_zone=time_zone)
    except BadValue as bad:
        row, received = bad.row, bad.text
    which = texts["id"][row] if "id" in texts else f"row {row + 1} of {selectable.origin}"
    raise DataError(
        f"{selectable.entity} {which}: {target.name} cannot be read; received {received}; expected {target.expected}",
        hint=_MAPPING_HINT,
    )


def _derived_id(entity: Entity, arrays: Mapping[str, pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(*(arrays[name] for name in DERIVED_ID[entity]), ":")


def _require_given(selectable: Selectable, kinds: Mapping[str, Target], arrays: Mapping[str, pa.Array]) -> None:
    for name, array in arrays.items():
        if not (kinds[name].required and array.null_count):
            continue
        row = pc.index(pc.is_null(array), pa.scalar(value=True)).as_py()
        which = arrays["id"][row].as_py() or f"row {row + 1} of a batch of {selectable.origin}"
        raise DataError(
            f"{selectable.entity} {which}: {name} is empty, which it must not be",
            hint='leave such rows out: where = "..." in the mapping file',
        )


def _changed_since(batch: pa.RecordBatch, since: datetime) -> pa.RecordBatch:
    """Keep what changed at or after `since`; what does not say when it changed is kept, lest it be missed."""
    is_new = pc.greater_equal(batch.column("modified_at"), pa.scalar(since, pa.timestamp("us", "UTC")))
    return batch.filter(pc.fill_null(is_new, fill_value=True))
