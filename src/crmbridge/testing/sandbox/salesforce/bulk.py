"""Bulk API 2.0: query jobs, and ingest jobs that go on whether anybody looks or not."""

from __future__ import annotations

import csv
import io
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pacsv

from crmbridge.testing.sandbox.salesforce import soql
from crmbridge.testing.sandbox.salesforce.compile import Scope, as_text, no_such_type
from crmbridge.testing.sandbox.salesforce.switches import UnknownColumn
from crmbridge.testing.sandbox.salesforce.wire import Refusal, Reply, not_found
from crmbridge.testing.sandbox.salesforce.write import RUNNING_USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crmbridge.testing.sandbox.salesforce.compile import Compiled
    from crmbridge.testing.sandbox.salesforce.schema import SObject
    from crmbridge.testing.sandbox.salesforce.store import Store
    from crmbridge.testing.sandbox.salesforce.wire import Call
    from crmbridge.testing.sandbox.salesforce.write import Row, Writer

MOST_BYTES = 150 * 1024 * 1024
BATCH_ROWS = 10_000
_CSV = "text/csv;charset=UTF-8"
_DELIMITERS = {"COMMA": ",", "TAB": "\t", "SEMICOLON": ";", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
_RUNNING, _ENDED = ("UploadComplete", "InProgress"), ("JobComplete", "Failed", "Aborted")


@dataclass(slots=True)
class Job:
    """A job of either kind; `state` is Salesforce's word."""

    job_id: str
    told: dict[str, Any]
    state: str
    polls_left: int
    polls_done: int = 0
    message: str | None = None


@dataclass(slots=True)
class QueryJob(Job):
    """A query whose answer is fixed when it is made."""

    compiled: Compiled | None = None
    table: pa.Table | None = None


@dataclass(slots=True)
class IngestJob(Job):
    """Rows on their way in.

    Attributes:
        header: as uploaded; None until the upload.
        cells: as uploaded.
        done: what became of the first rows.
        fails_after: how many rows are written before the job fails; None where it does not.
    """

    sobject: SObject | None = None
    header: list[str] | None = None
    cells: list[list[str]] = field(default_factory=list)
    done: list[Row] = field(default_factory=list)
    fails_after: int | None = None


class Bulk:
    """All jobs of the org.

    Args:
        store: what queries read.
        writer: what ingest jobs write with.
    """

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._lock = threading.RLock()
        self.queries: dict[str, QueryJob] = {}
        self.ingests: dict[str, IngestJob] = {}
        self._shuffle = random.Random(7)  # noqa: S311 (order, not secrets)

    def create_query(self, call: Call) -> Reply:
        """POST /jobs/query."""
        asked = call.json()
        scope = {"query": Scope.LIVE, "queryAll": Scope.ALL}.get(asked.get("operation"))
        if scope is None:
            raise _invalid(f"operation {asked.get('operation')!r} is not supported for query jobs")
        _refuse_constructs(soql.parse(asked.get("query", "")))
        compiled, table = self._store.query(asked["query"], scope, as_text)
        told = self._told(call, asked, compiled.sobject.name, "V2Query")
        job = QueryJob(told["id"], told, "UploadComplete", self._store.switches.job_polls, compiled=compiled, table=table)
        self.queries[job.job_id] = job
        return Reply(200, self._seen(job))

    def create_ingest(self, call: Call) -> Reply:
        """POST /jobs/ingest."""
        asked = call.json()
        sobject = self._store.schema.seen(str(asked.get("object")))
        if sobject is None:
            raise no_such_type(str(asked.get("object")))
        if asked.get("operation") not in ("insert", "update", "upsert", "delete"):
            raise _invalid(f"operation {asked.get('operation')!r} is not supported")
        if asked["operation"] == "upsert" and not asked.get("externalIdFieldName"):
            raise _invalid("externalIdFieldName is required for upsert")
        told = self._told(call, asked, sobject.name, "V2Ingest")
        told["contentUrl"] = f"services/data/v{call.version}/jobs/ingest/{told['id']}/batches"
        job = IngestJob(told["id"], told, "Open", self._store.switches.job_polls, sobject=sobject)
        self.ingests[job.job_id] = job
        return Reply(200, self._seen(job))

    def upload(self, call: Call, job_id: str) -> Reply:
        """PUT /jobs/ingest/<id>/batches, once."""
        job = self._ingest(job_id)
        if job.state != "Open" or job.header is not None:
            raise Refusal("INVALIDJOBSTATE", "Found multiple contents for job: only one upload is allowed")
        if len(call.body) > MOST_BYTES:
            raise Refusal("FILE_SIZE_EXCEEDED", "The file is larger than 150 MB", 413)
        reader = csv.reader(io.StringIO(call.body.decode("utf-8-sig"), newline=""), delimiter=self._delimiter(job))
        job.header, *job.cells = list(reader) or [[]]
        return Reply(201)

    def change(self, call: Call, job_id: str, *, fails_after: int | None = None) -> Reply:
        """PATCH /jobs/ingest/<id>: UploadComplete or Aborted."""
        with self._lock:
            job, state = self._ingest(job_id), call.json().get("state")
            if state == "Aborted" and job.state not in _ENDED:
                job.state = "Aborted"
            elif state == "UploadComplete" and job.state == "Open":
                job.state, job.fails_after = "UploadComplete", fails_after
                self._look_over(job)
            else:
                raise Refusal("INVALIDJOBSTATE", f"cannot change a job in state {job.state} to {state}")
            return Reply(200, self._seen(job))

    def change_query(self, call: Call, job_id: str) -> Reply:
        """PATCH /jobs/query/<id>: Aborted."""
        job = self._query(job_id)
        if call.json().get("state") != "Aborted" or job.state in _ENDED:
            raise Refusal("INVALIDJOBSTATE", f"cannot change a job in state {job.state}")
        job.state = "Aborted"
        return Reply(200, self._seen(job))

    def look(self, kind: str, job_id: str) -> Reply:
        """GET /jobs/<kind>/<id>: a job gets on a bit between two looks."""
        with self._lock:
            job: Job = self._query(job_id) if kind == "query" else self._ingest(job_id)
            if job.state in _RUNNING:
                self._get_on(job)
            return Reply(200, self._seen(job))

    def delete(self, kind: str, job_id: str) -> Reply:
        """DELETE /jobs/<kind>/<id>: only jobs that have ended."""
        job: Job = self._query(job_id) if kind == "query" else self._ingest(job_id)
        if job.state in _RUNNING:
            raise Refusal("API_ERROR", f"cannot delete a job in state {job.state}")
        jobs: dict[str, Any] = self.queries if kind == "query" else self.ingests
        del jobs[job_id]
        return Reply(204)

    def list_jobs(self, kind: str) -> Reply:
        """GET /jobs/<kind>."""
        jobs = self.queries if kind == "query" else self.ingests
        return Reply(200, {"done": True, "nextRecordsUrl": None, "records": [self._seen(job) for job in jobs.values()]})

    def query_results(self, call: Call, job_id: str) -> Reply:
        """GET /jobs/query/<id>/results, a page of CSV at a time."""
        job = self._query(job_id)
        if job.state != "JobComplete" or job.table is None or job.compiled is None:
            raise Refusal("INVALIDJOBSTATE", f"results are not ready: the job is in state {job.state}")
        start = _place(call.query.get("locator", "0"), job.table.num_rows)
        most = min(int(call.query.get("maxRecords", BATCH_ROWS**2)), self._store.switches.bulk_page_rows)
        part = job.table.slice(start, most)
        end = start + part.num_rows
        locator = "null" if end >= job.table.num_rows else f"MT{end}"
        names = [".".join(column.path) for column in job.compiled.columns]
        headers = {"Sforce-Locator": locator, "Sforce-NumberOfRecords": str(part.num_rows)}
        return Reply(200, _csv_chunks(part.rename_columns(names)), _CSV, headers)

    def results(self, job_id: str, which: str) -> Reply:
        """GET one of the three results of an ingest job, in no order."""
        job = self._ingest(job_id)
        if job.state not in _ENDED:
            raise Refusal("INVALIDJOBSTATE", f"results are not ready: the job is in state {job.state}")
        header = job.header or []
        kept = [place for place, name in enumerate(header) if job.sobject and name.lower() in job.sobject.by_name]
        done = list(enumerate(job.done))
        self._shuffle.shuffle(done)
        names = [header[place] for place in kept]
        if which == "unprocessed":
            return _csv_reply(header, job.cells[len(job.done) :])
        if which == "failed":
            failed = [[_old_id(row), _error(row), *_cells(job, place, kept)] for place, row in done if row.code]
            return _csv_reply(["sf__Id", "sf__Error", *names], failed)
        good = [[row.record_id, str(row.is_created).lower(), *_cells(job, place, kept)] for place, row in done if not row.code]
        return _csv_reply(["sf__Id", "sf__Created", *names], good)

    def finish(self) -> None:
        """Let every running job come to its end, as time does."""
        with self._lock:
            for job in [*self.queries.values(), *self.ingests.values()]:
                while job.state in _RUNNING:
                    self._get_on(job)

    def _get_on(self, job: Job) -> None:
        job.polls_done += 1
        is_last = job.polls_done > job.polls_left
        if isinstance(job, IngestJob):
            share = 1.0 if is_last else job.polls_done / (job.polls_left + 1)
            self._process(job, int(len(job.cells) * share))
        if job.state in _RUNNING:
            job.state = "JobComplete" if is_last else "InProgress"

    def _process(self, job: IngestJob, until: int) -> None:
        if job.fails_after is not None:
            until = min(until, job.fails_after)
        while len(job.done) < until:
            start = len(job.done)
            asked = [self._asked(job, cells) for cells in job.cells[start : min(until, start + BATCH_ROWS)]]
            if job.sobject is None:
                return
            key = str(job.told.get("externalIdFieldName") or "Id")
            job.done += self._writer.write(job.told["operation"], job.sobject, asked, key=key)
        if job.fails_after is not None and len(job.done) >= min(job.fails_after, len(job.cells)):
            job.state, job.message = "Failed", "InternalServerError : processing failed"

    def _asked(self, job: IngestJob, cells: list[str]) -> dict[str, Any]:
        """A row as field -> value: an empty cell is left out, #N/A is null, columns that are no field are dropped."""
        known = job.sobject.by_name if job.sobject else {}
        pairs = [(name.lower(), cell) for name, cell in zip(job.header or [], cells, strict=True) if cell]
        return {known[name].name: None if cell == "#N/A" else cell for name, cell in pairs if name in known}

    def _look_over(self, job: IngestJob) -> None:
        """Fail a job whose upload cannot be understood."""
        header = job.header or []
        known = job.sobject.by_name if job.sobject else {}
        unknown = [name for name in header if name.lower() not in known]
        if unknown and self._store.switches.unknown_column is UnknownColumn.FAILS_JOB:
            job.state, job.message = "Failed", f"InvalidBatch : Field name not found : {unknown[0]}"
        elif any(len(cells) != len(header) for cells in job.cells):
            job.state, job.message = "Failed", "InvalidBatch : The number of fields in a row does not match the header"

    def _told(self, call: Call, asked: dict[str, Any], sobject: str, kind: str) -> dict[str, Any]:
        now = self._store.now().isoformat(timespec="milliseconds") + "+0000"
        told = {
            "id": self._store.new_id("750"),
            "operation": asked["operation"],
            "object": sobject,
            "createdById": RUNNING_USER,
            "createdDate": now,
            "systemModstamp": now,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(call.version),
            "lineEnding": asked.get("lineEnding", "LF"),
            "columnDelimiter": asked.get("columnDelimiter", "COMMA"),
            "jobType": kind,
        }
        if asked.get("externalIdFieldName"):
            told["externalIdFieldName"] = asked["externalIdFieldName"]
        return told

    def _seen(self, job: Job) -> dict[str, Any]:
        told = job.told | {"state": job.state}
        if isinstance(job, IngestJob):
            told |= {
                "numberRecordsProcessed": len(job.done),
                "numberRecordsFailed": sum(1 for row in job.done if row.code),
                "retries": 0,
                "totalProcessingTime": 100 * job.polls_done,
            }
        elif isinstance(job, QueryJob) and job.state == "JobComplete" and job.table is not None:
            told |= {"numberRecordsProcessed": job.table.num_rows, "retries": 0, "totalProcessingTime": 100}
        return told | ({"errorMessage": job.message} if job.message else {})

    def _delimiter(self, job: IngestJob) -> str:
        return _DELIMITERS.get(job.told["columnDelimiter"], ",")

    def _query(self, job_id: str) -> QueryJob:
        if job_id not in self.queries:
            raise not_found()
        return self.queries[job_id]

    def _ingest(self, job_id: str) -> IngestJob:
        if job_id not in self.ingests:
            raise not_found()
        return self.ingests[job_id]


def _refuse_constructs(query: soql.Query) -> None:
    if query.is_count or query.is_aggregate:
        raise _invalid("Aggregate Relationships and functions are not supported in Bulk Query")
    if query.offset is not None:
        raise _invalid("OFFSET is not supported in Bulk Query")


def _invalid(message: str) -> Refusal:
    return Refusal("API_ERROR", message)


def _place(locator: str, rows: int) -> int:
    digits = locator.removeprefix("MT")
    if not digits.isdigit() or int(digits) > rows:
        raise Refusal("INVALID_QUERY_LOCATOR", "invalid query locator")
    return int(digits)


def _csv_chunks(table: pa.Table) -> Iterator[bytes]:
    """CSV with every value quoted, a batch at a time."""
    writing = pacsv.WriteOptions(include_header=True, quoting_style="all_valid")
    for number, batch in enumerate(table.to_batches(max_chunksize=BATCH_ROWS) or [None]):
        part = table.slice(0, 0) if batch is None else pa.Table.from_batches([batch])
        sink = io.BytesIO()
        if number:
            writing = pacsv.WriteOptions(include_header=False, quoting_style="all_valid")
        pacsv.write_csv(part, sink, writing)
        yield sink.getvalue()


def _csv_reply(header: list[str], rows: list[list[Any]]) -> Reply:
    sink = io.StringIO()
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return Reply(200, sink.getvalue().encode(), "text/csv")


def _cells(job: IngestJob, place: int, kept: list[int]) -> list[str]:
    return [job.cells[place][column] for column in kept]


def _old_id(row: Row) -> str:
    return row.record_id or "" if not row.is_created else ""


def _error(row: Row) -> str:
    return f"{row.code}:{row.message}:{','.join(row.fields)}--"
