"""The page and its tables as files, readable by their owner only."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from crmbridge.attribution.result import Attribution
from crmbridge.report.exports import Report, TableFormat, write_table
from crmbridge.report.material import Material
from crmbridge.report.page import page
from crmbridge.workspace import private_file, private_folder, private_text


def write_report(material: Material, target: Path, *, locale: str, tables: Path | None, table_format: TableFormat) -> Report:
    """Write the page, and every table behind it where a folder for them is given.

    Raises:
        SettingsError: no such locale.
        WorkspaceError: a file cannot be written.
    """
    text = page(material, locale=locale)
    with private_text(target) as file:
        file.write(text)
    found = material.attribution
    written = _write_tables(found, material.findings, tables, table_format) if tables is not None else ()
    return Report(target, written, found)


def _write_tables(found: Attribution, findings: pa.Table, folder: Path, output: TableFormat) -> tuple[Path, ...]:
    private_folder(folder)
    written = []
    for name, table in {**found.tables(), "findings": findings}.items():
        written.append(folder / f"{name}.{output}")
        with private_file(written[-1]) as file:
            write_table(table, file, output)
    return tuple(written)
