"""Exchange rates: dated ones where the organisation keeps them, else today's; of the corporate currency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.salesforce.columns import canonical, constant
from crmbridge.model import Entity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crmbridge.adapters.salesforce.mapping import Source
    from crmbridge.adapters.salesforce.reader import Reader


def read(reader: Reader, sources: tuple[Source, ...]) -> Iterator[pa.RecordBatch]:
    """Give the rates: units of a currency per unit of the corporate one; no row for the corporate currency itself."""
    static_source, *dated_sources = sources
    static = _gathered(reader, static_source)
    base = static.filter(pc.equal(static["IsCorporate"], "true"))["IsoCode"].to_pylist()
    if not base:
        return
    with_dates = pa.array([], pa.string())
    for source in dated_sources:
        dated = _gathered(reader, source)
        yield from _batch(source, dated, base[0])
        with_dates = pc.unique(dated["IsoCode"])
    # Today's rate of a currency that has dated ones would contradict them.
    yield from _batch(static_source, static.filter(pc.invert(pc.is_in(static["IsoCode"], with_dates))), base[0])


def _gathered(reader: Reader, source: Source) -> pa.Table:
    empty = pa.table({path: pa.array([], pa.string()) for path in source.paths})
    return pa.concat_tables([empty, *reader.pages(source, None)])


def _batch(source: Source, table: pa.Table, base: str) -> Iterator[pa.RecordBatch]:
    table = table.filter(pc.not_equal(table["IsoCode"], base)).combine_chunks()
    if not len(table):
        return
    shaped = source.shape({name: table[name].chunk(0) for name in table.column_names}, len(table))
    yield canonical(Entity.EXCHANGE_RATE, {**shaped, "base_currency": constant(base, len(table))}, len(table))
