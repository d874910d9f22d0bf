"""Writes rows by Bulk API 2.0 jobs, one after another; each job's id is journalled before it gets any data.

simple-salesforce's own loop aborts a job when one poll fails, and does not say which; so the jobs are driven here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv

from crmbridge.adapters.salesforce import jobs
from crmbridge.adapters.salesforce.bulk_query import text_columns
from crmbridge.adapters.salesforce.collections import ROLES
from crmbridge.adapters.salesforce.failures import AnswerLost, Refusal, a_code
from crmbridge.adapters.salesforce.ids import long_id
from crmbridge.adapters.salesforce.outcomes import Answer, Fate, refused, unanswered
from crmbridge.adapters.salesforce.provenance import Provenance, cells
from crmbridge.contract import Checkpoint
from crmbridge.errors import CrmBridgeError, CrmUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crmbridge.adapters.salesforce.connection import Connection
    from crmbridge.contract import RoleWrite

ROWS_PER_JOB = 10_000
"""Salesforce works in batches of so many, in parallel: a larger job could split an opportunity between two of them."""

NO_VALUE = "#N/A"
"""What a cell says for null; a text that reads so cannot be written by a job."""

KIND = "bulk-ingest"
_READS = 3
_PROCESSED = "numberRecordsProcessed"
_FAILED = "numberRecordsFailed"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a job.

    Attributes:
        key: the write it belongs to.
        group: the opportunity; its rows stay in one job.
        cells: by column, in the job's order; None for an empty cell.
    """

    key: str
    group: str
    cells: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Ingest:
    """What a job does.

    Attributes:
        operation: insert or delete.
        columns: of the CSV.
        match: those that tell a row in the results, whose order is free.
    """

    operation: str
    columns: tuple[str, ...]
    match: tuple[str, ...]

    def identity(self, row: Row) -> tuple[str, ...]:
        """What tells a row from the others of its job."""
        cells = dict(zip(self.columns, row.cells, strict=True))
        return tuple(long_id(cells[name] or "") for name in self.match)


def insertion(writes: Sequence[RoleWrite], *, key_field: str | None, provenance: Provenance = ()) -> tuple[Ingest, list[Row]]:
    """Rows that add one role for each write."""
    told = tuple(field.name for field in provenance)
    columns = ("OpportunityId", "ContactId", "Role", "IsPrimary", *told, *((key_field,) if key_field else ()))
    rows = []
    for write in writes:
        role = (write.opportunity_id, write.contact_id, write.role, "true" if write.is_primary else "false")
        row = (*role, *cells(write, provenance).values(), *((write.key,) if key_field else ()))
        rows.append(Row(write.key, write.opportunity_id, row))
    return Ingest("insert", columns, ("OpportunityId", "ContactId")), rows


def deletion(writes: Sequence[RoleWrite]) -> tuple[Ingest, list[Row]]:
    """Rows that delete what the writes expect."""
    rows = [Row(write.key, write.opportunity_id, (row.id,)) for write in writes for row in write.expected.rows]
    return Ingest("delete", ("Id",), ("Id",)), rows


def run(connection: Connection, ingest: Ingest, rows: Sequence[Row], checkpoint: Callable[[Checkpoint], None]) -> list[Answer]:
    """Send rows, job after job; answers in their order.

    Raises:
        CrmUnavailable, CrmRefused: nothing was sent. Whatever `checkpoint` raises: nothing of that job was sent.
    """
    answers: list[Answer] = []
    for part in _cut(rows):
        try:
            job_id = _create(connection, ingest)
        except CrmBridgeError as error:
            if not answers:
                raise
            return answers + [unanswered(f"NOT_SENT_{type(error).__name__}")] * (len(rows) - len(answers))
        _journal(connection, job_id, part, checkpoint)
        answers += _job(connection, ingest, job_id, part)
    return answers


def brought_to_end(connection: Connection, job_id: str) -> None:
    """Leave no job that could still write: abort one that never got its data, wait for one that did.

    Raises:
        CrmUnavailable: it still runs, or Salesforce cannot be asked.
    """
    path = _path(job_id)
    try:
        job = connection.get(path)
        if job.get("state") == jobs.OPEN:
            _abort(connection, job_id)
            job = connection.get(path)
        if job.get("state") not in jobs.TERMINAL:
            jobs.finished(connection, path)
    except Refusal as refusal:
        if refusal.status != _NOT_FOUND:
            raise  # deleted jobs, and those older than a week, are over


_NOT_FOUND = 404


def _cut(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut at opportunity boundaries, so that no two batches fight for one opportunity's lock."""
    start = 0
    while start < len(rows):
        end = min(start + ROWS_PER_JOB, len(rows))
        while start < end < len(rows) and rows[end].group == rows[end - 1].group:
            end -= 1
        # An opportunity larger than a job is cut all the same.
        end = end if end > start else min(start + ROWS_PER_JOB, len(rows))
        yield rows[start:end]
        start = end


def _create(connection: Connection, ingest: Ingest) -> str:
    body = {
        "object": ROLES,
        "operation": ingest.operation,
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    try:
        job_id = connection.request("POST", "jobs/ingest", body=body).json()["id"]
    except (ValueError, KeyError, TypeError, AnswerLost):
        # A job without data may now be open; it can do nothing.
        raise CrmUnavailable("the answer to the creation of a Bulk job was lost", hint="run the same command again") from None
    return str(job_id)


def _journal(connection: Connection, job_id: str, rows: Sequence[Row], checkpoint: Callable[[Checkpoint], None]) -> None:
    keys = tuple(dict.fromkeys(row.key for row in rows))
    try:
        checkpoint(Checkpoint(kind=KIND, reference=job_id, keys=keys))
    except BaseException:
        with suppress(CrmBridgeError):
            _abort(connection, job_id)
        raise


def _job(connection: Connection, ingest: Ingest, job_id: str, rows: Sequence[Row]) -> list[Answer]:
    """Upload, wait and read the results of one job; what goes wrong leaves rows open, and never raises."""
    try:
        if not _started(connection, ingest, job_id, rows):
            return [unanswered("JOB_NOT_STARTED")] * len(rows)
        job = jobs.finished(connection, _path(job_id), first_wait_s=0)
        found = _results(connection, ingest, job_id, job)
    except (CrmBridgeError, ValueError) as error:
        return [unanswered(f"LOST_{type(error).__name__}")] * len(rows)
    missing = unanswered("UNPROCESSED" if job["state"] != jobs.COMPLETE else "NO_RESULT")
    return [found.get(ingest.identity(row), missing) for row in rows]


def _started(connection: Connection, ingest: Ingest, job_id: str, rows: Sequence[Row]) -> bool:
    """Upload the data, once, and set the job off; a job whose upload failed is aborted, and wrote nothing."""
    try:
        connection.request("PUT", f"{_path(job_id)}/batches", data=_csv(ingest, rows), headers={"Content-Type": "text/csv"})
    except (AnswerLost, Refusal):
        _abort(connection, job_id)
        return False
    try:
        connection.request("PATCH", _path(job_id), body={"state": "UploadComplete"})
    except Refusal:
        # Perhaps the first of two attempts was heard: what state is it in?
        return bool(connection.get(_path(job_id)).get("state") != jobs.OPEN)
    return True


def _abort(connection: Connection, job_id: str) -> None:
    with suppress(Refusal):
        connection.request("PATCH", _path(job_id), body={"state": "Aborted"})


def _csv(ingest: Ingest, rows: Sequence[Row]) -> bytes:
    columns = list(zip(*(row.cells for row in rows), strict=True))
    table = pa.table({name: pa.array(cells, pa.string()) for name, cells in zip(ingest.columns, columns, strict=True)})
    buffer = pa.BufferOutputStream()
    csv.write_csv(table, buffer)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def _results(connection: Connection, ingest: Ingest, job_id: str, job: dict[str, Any]) -> dict[tuple[str, ...], Answer]:
    """What became of each row: successes always, for what a failed job has written stays written."""
    failed = int(job.get(_FAILED) or 0)
    succeeded = max(int(job.get(_PROCESSED) or 0) - failed, 0)
    found: dict[tuple[str, ...], Answer] = {}
    for row in _result_rows(connection, f"{_path(job_id)}/successfulResults", succeeded):
        found[_identity(ingest, row)] = Answer(Fate.DONE, row_id=long_id(row["sf__Id"] or ""))
    if failed or job["state"] != jobs.COMPLETE:
        for row in _result_rows(connection, f"{_path(job_id)}/failedResults", failed):
            code = a_code((row["sf__Error"] or "").partition(":")[0])
            found.setdefault(_identity(ingest, row), refused(code))
    return found


def _identity(ingest: Ingest, row: dict[str, str | None]) -> tuple[str, ...]:
    return tuple(long_id(row[name] or "") for name in ingest.match)


def _result_rows(connection: Connection, path: str, promised: int) -> list[dict[str, str | None]]:
    """The rows of a result, asked for again where it is cut off; in the end whatever came, for the rest reads back."""
    rows: list[dict[str, str | None]] = []
    for _ in range(_READS):
        try:
            rows = text_columns(connection.request("GET", path, headers={"Accept": "text/csv"}).content).to_pylist()
        except pa.ArrowInvalid:
            continue
        if len(rows) >= promised:
            break
    return rows


def _path(job_id: str) -> str:
    return f"jobs/ingest/{job_id}"
