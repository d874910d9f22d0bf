"""Every table of the report as a file: CSV for spreadsheets, Parquet and JSON for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from crmbridge.attribution.result import Attribution
from crmbridge.plan.review import harmless


class TableFormat(StrEnum):
    """How tables are written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        path: the page.
        tables: the files of the tables behind it.
        attribution: what it shows.
    """

    path: Path
    tables: tuple[Path, ...]
    attribution: Attribution


def write_table(table: pa.Table, file: IO[bytes], output: TableFormat) -> None:
    """Write one table.

    CSV has exact amounts, lists as JSON, and cells that a spreadsheet would run as formulas are neutralised; JSON is a list of
    objects with amounts as text, so that no reader rounds them.
    """
    if output is TableFormat.PARQUET:
        pq.write_table(table, file)
    elif output is TableFormat.CSV:
        pyarrow.csv.write_csv(_flat(table), file)
    else:
        file.write(json.dumps(table.to_pylist(), default=str, ensure_ascii=False, indent=1).encode())


def _flat(table: pa.Table) -> pa.Table:
    columns = [_cells(table[field.name], field.type) for field in table.schema]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def _cells(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_list(kind):
        return pa.chunked_array([pa.array([json.dumps(one, ensure_ascii=False) for one in column.to_pylist()], pa.string())])
    if not pa.types.is_string(kind):
        return column
    # Each different text is looked at once; there are far fewer of them than cells.
    known = column.combine_chunks().dictionary_encode()
    safe = pa.array([harmless(text) for text in known.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([pc.take(safe, known.indices)])
