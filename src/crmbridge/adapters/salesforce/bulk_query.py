"""Reads large objects by the Bulk API 2.0: one job, its CSV pages straight into Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv

from crmbridge.adapters.salesforce import jobs
from crmbridge.adapters.salesforce.failures import a_code
from crmbridge.errors import CrmUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import requests

    from crmbridge.adapters.salesforce.connection import Connection

PAGE_ROWS = 100_000
"""Rows asked for at a time: each page is a call, and is held in memory once."""

_ROWS_PER_SECOND = 100_000
"""How fast a query job is at best: asking sooner only costs calls."""

_READS = 3


def submit(connection: Connection, soql: str, *, everything: bool) -> str:
    """Start a query job and give its id.

    Raises:
        Refusal: this query, or this object, is not for the Bulk API.
    """
    body = {"operation": "queryAll" if everything else "query", "query": soql}
    identifier: str = connection.request("POST", "jobs/query", body=body).json()["id"]
    return identifier


def tables(connection: Connection, job_id: str, paths: Sequence[str], *, expected_rows: int) -> Iterator[pa.Table]:
    """Wait for a query job and give its pages as columns of text.

    Args:
        connection: where the job runs.
        job_id: see `submit`.
        paths: the selected fields.
        expected_rows: about how many there will be; only to wait with sense.

    Raises:
        CrmUnavailable: the job failed, a page could not be had whole, or they ended early.
    """
    path = f"jobs/query/{job_id}"
    wait_s = min(expected_rows / _ROWS_PER_SECOND, 30) if connection.options.poll_s >= 1 else 0
    job = jobs.finished(connection, path, first_wait_s=wait_s)
    if job["state"] != jobs.COMPLETE:
        reason = a_code(str(job.get("errorMessage", "")).partition(":")[0])
        raise CrmUnavailable(f"Bulk query job {job_id} ended as {job['state']} {reason}", hint="run the same command again")
    locator, given = "", 0
    while locator != "null":
        following = f"&locator={locator}" if locator else ""
        table, locator = _page(connection, f"{path}/results?maxRecords={PAGE_ROWS}{following}", paths)
        given += len(table)
        if len(table):
            yield table
    promised = job.get("numberRecordsProcessed")
    if promised not in (None, given):
        raise CrmUnavailable(f"the results of Bulk query job {job_id} ended after {given} of {promised} records")


def _page(connection: Connection, path: str, paths: Sequence[str]) -> tuple[pa.Table, str]:
    for _ in range(_READS):
        response = connection.request("GET", path, headers={"Accept": "text/csv"})
        table = _whole(response, paths)
        if table is not None:
            return table, response.headers.get("Sforce-Locator") or "null"
    raise CrmUnavailable("a page of Bulk results cannot be read: it is cut off, or is not CSV")


def _whole(response: requests.Response, paths: Sequence[str]) -> pa.Table | None:
    """Parse a page; None where it is not as long as its header says."""
    try:
        table = text_columns(response.content, paths)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    promised = response.headers.get("Sforce-NumberOfRecords", "")
    return None if promised.isdigit() and int(promised) != len(table) else table


def text_columns(content: bytes, paths: Sequence[str] | None = None) -> pa.Table:
    """Parse CSV in UTF-8 into columns of text, empty cells as nulls.

    Args:
        content: as received; the charset that a header may name or leave out does not matter.
        paths: the columns wanted; all where None.
    """
    if not content.strip():
        return pa.table({path: pa.array([], pa.string()) for path in paths or ()})
    if paths is None:
        names = csv.open_csv(pa.BufferReader(content), parse_options=_PARSING).schema.names
        paths = list(names)
    return csv.read_csv(
        pa.BufferReader(content),
        # One block: a text may hold line breaks, and must not lie across two.
        read_options=csv.ReadOptions(block_size=len(content) + 1),
        parse_options=_PARSING,
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(paths, pa.string()),
            include_columns=list(paths),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


_PARSING = csv.ParseOptions(newlines_in_values=True)
