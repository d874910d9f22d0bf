"""The REST endpoints, one small function each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from crmbridge.testing.sandbox.salesforce.bulk import Bulk
from crmbridge.testing.sandbox.salesforce.compile import Scope, no_such_type
from crmbridge.testing.sandbox.salesforce.cursors import Cursors, count_answer, expired
from crmbridge.testing.sandbox.salesforce.ids import to_long
from crmbridge.testing.sandbox.salesforce.switches import UnknownField
from crmbridge.testing.sandbox.salesforce.wire import Call, Refusal, Reply, not_found
from crmbridge.testing.sandbox.salesforce.write import Writer

if TYPE_CHECKING:
    from crmbridge.testing.sandbox.salesforce.faults import Fault, RowFaults
    from crmbridge.testing.sandbox.salesforce.schema import SObject
    from crmbridge.testing.sandbox.salesforce.store import Store
    from crmbridge.testing.sandbox.salesforce.write import Row

FIRST_VERSION, LAST_VERSION = 40, 66
MOST_IN_COLLECTION = 200
MOST_SUBREQUESTS = 25
MOST_QUERIES = 5
"""Of the subrequests; pages of queries and collections count alike."""
MOST_UPDATED_IDS = 600_000
DELETED_DAYS, UPDATED_DAYS = 15, 30
_DONE = 204
_PAGE_LEAST, _PAGE_MOST = 200, 2_000
_TOO_MANY = "The number of records in a request must not be more than 200"


@dataclass(slots=True)
class Context:
    """One call, with the path's parts and the fault that goes with it."""

    call: Call
    parts: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None


Handler = Callable[["Rest", Context], Reply]


class Rest:
    """Everything below /services/data.

    Args:
        store: the records.
        row_faults: refusals planned for contact roles.
        usage: calls used and allowed today, for `/limits`.
    """

    def __init__(self, store: Store, row_faults: RowFaults, usage: Callable[[], tuple[int, int]]) -> None:
        self.store = store
        self.writer = Writer(store, row_faults)
        self.bulk = Bulk(store, self.writer)
        self.cursors = Cursors()
        self.usage = usage

    def find(self, method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
        """The endpoint of a path: its name, its function, the path's parts.

        Raises:
            Refusal: 404, or 405 for a method it does not have.
        """
        known = False
        for endpoint in _ENDPOINTS:
            match = endpoint.pattern.fullmatch(path)
            if match:
                known = True
                if endpoint.method == method:
                    return endpoint.name, endpoint.handler, {name: unquote(part) for name, part in match.groupdict().items()}
        if known:
            raise Refusal("METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed", 405)
        raise not_found()

    def answer(self, handler: Handler, context: Context) -> Reply:
        """Run an endpoint; a refusal is an answer too."""
        try:
            return handler(self, context)
        except Refusal as refusal:
            return refusal.reply()

    def sobject(self, name: str) -> SObject:
        """An object that the user sees.

        Raises:
            Refusal: 404: an address with an unknown object leads nowhere.
        """
        found = self.store.schema.seen(name)
        if found is None:
            raise not_found()
        return found


def _resources(_: Rest, context: Context) -> Reply:
    home = f"/services/data/v{context.parts['version']}"
    names = ("query", "queryAll", "limits", "sobjects", "composite", "jobs")
    return Reply(200, {name: f"{home}/{name}" for name in names})


def _versions(_: Rest, __: Context) -> Reply:
    numbers = [f"{number}.0" for number in range(FIRST_VERSION, LAST_VERSION + 1)]
    return Reply(200, [{"label": number, "url": f"/services/data/v{number}", "version": number} for number in numbers])


def _limits(rest: Rest, _: Context) -> Reply:
    used, most = rest.usage()
    jobs = len(rest.bulk.queries)
    limits = {"DailyApiRequests": (most, used), "DailyBulkV2QueryJobs": (10_000, jobs), "DailyBulkApiBatches": (15_000, 0)}
    return Reply(200, {name: {"Max": top, "Remaining": max(top - gone, 0)} for name, (top, gone) in limits.items()})


def _record_count(rest: Rest, context: Context) -> Reply:
    asked = [rest.store.schema.seen(name) for name in context.call.query.get("sObjects", "").split(",")]
    known = [sobject for sobject in asked if sobject]
    return Reply(200, {"sObjects": [{"count": rest.store.count(sobject), "name": sobject.name} for sobject in known]})


def _describe_all(rest: Rest, context: Context) -> Reply:
    told = [sobject.described(context.parts["version"], with_fields=False) for sobject in rest.store.schema.all_seen()]
    return Reply(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": told})


def _about(rest: Rest, context: Context) -> Reply:
    told = rest.sobject(context.parts["sobject"]).described(context.parts["version"], with_fields=False)
    return Reply(200, {"objectDescribe": told, "recentItems": []})


def _describe(rest: Rest, context: Context) -> Reply:
    sobject = rest.sobject(context.parts["sobject"])
    told = sobject.described(context.parts["version"], with_fields=True)
    if "recordtypeid" in sobject.by_name:
        kinds = rest.store.rows('SELECT "Id", "Name", "DeveloperName" FROM "RecordType" WHERE "SobjectType" = ?', [sobject.name])
        told["recordTypeInfos"] = [
            {"recordTypeId": one, "name": name, "developerName": developer, "active": True, "available": True, "master": False}
            for one, name, developer in kinds
        ]
    return Reply(200, told)


def _query(rest: Rest, context: Context) -> Reply:
    if "q" not in context.call.query:
        raise Refusal("MALFORMED_QUERY", "SOQL statement is required")
    scope = Scope.ALL if context.parts["which"] == "queryAll" else Scope.LIVE
    compiled, table = rest.store.query(context.call.query["q"], scope)
    if not compiled.columns:
        return Reply(200, count_answer(table))
    most = min(_asked_page(context.call), rest.store.switches.page_rows)
    return Reply(200, rest.cursors.first(compiled, table, most, context.parts["version"]))


def _asked_page(call: Call) -> int:
    match = re.search(r"batchSize=(\d+)", call.headers.get("sforce-query-options", ""))
    return min(max(int(match[1]), _PAGE_LEAST), _PAGE_MOST) if match else _PAGE_MOST


def _query_more(rest: Rest, context: Context) -> Reply:
    if context.fault:
        rest.cursors.expire()
        raise expired()
    return Reply(200, rest.cursors.more(context.parts["locator"], context.parts["version"]))


def _collection_insert(rest: Rest, context: Context) -> Reply:
    return _write_collection(rest, context, "insert")


def _collection_update(rest: Rest, context: Context) -> Reply:
    return _write_collection(rest, context, "update")


def _collection_upsert(rest: Rest, context: Context) -> Reply:
    return _write_collection(rest, context, "upsert")


def _write_collection(rest: Rest, context: Context, operation: str) -> Reply:
    asked = context.call.json()
    records = asked.get("records") if isinstance(asked, dict) else None
    if not isinstance(records, list) or not records:
        raise Refusal("JSON_PARSER_ERROR", "The records of the request are missing")
    if len(records) > MOST_IN_COLLECTION:
        raise Refusal("EXCEEDED_MAX_SIZE_REQUEST", _TOO_MANY)
    groups = _by_type(rest, records, context.parts.get("sobject"))
    _refuse_unknown_fields(rest, groups, records)
    all_or_none = bool(asked.get("allOrNone"))
    results: dict[int, Row] = {}
    key = context.parts.get("key", "Id")
    for sobject, places in groups:
        rows = rest.writer.write(operation, sobject, [records[place] for place in places], key=key, all_or_none=all_or_none)
        results |= dict(zip(places, rows, strict=True))
    return Reply(200, [_result(results[place], with_created=operation == "upsert") for place in range(len(records))])


def _by_type(rest: Rest, records: list[dict[str, Any]], only: str | None) -> list[tuple[SObject, list[int]]]:
    places: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        kind = only or str(record.get("attributes", {}).get("type"))
        places.setdefault(kind.lower(), []).append(place)
    for kind in places:
        if rest.store.schema.seen(kind) is None:
            raise no_such_type(kind)
    return [(rest.sobject(kind), found) for kind, found in places.items()]


def _refuse_unknown_fields(rest: Rest, groups: list[tuple[SObject, list[int]]], records: list[dict[str, Any]]) -> None:
    if rest.store.switches.unknown_field is UnknownField.FAILS_ROW:
        return
    for sobject, places in groups:
        asked = {name for place in places for name in records[place]} - {"attributes", "Id"}
        unknown = sorted(name for name in asked if name.lower() not in sobject.by_name)
        if unknown:
            raise Refusal("INVALID_FIELD", f"No such column '{unknown[0]}' on sobject of type {sobject.name}")


def _result(row: Row, *, with_created: bool) -> dict[str, Any]:
    """One result; a failed one has no id, and says `statusCode`."""
    if row.code:
        error = {"statusCode": row.code, "message": row.message, "fields": list(row.fields)}
        return {"success": False, "errors": [error]}
    told: dict[str, Any] = {"id": row.record_id, "success": True, "errors": []}
    return told | ({"created": row.is_created} if with_created else {})


def _collection_delete(rest: Rest, context: Context) -> Reply:
    asked = [one for one in context.call.query.get("ids", "").split(",") if one]
    if not asked or len(asked) > MOST_IN_COLLECTION:
        raise Refusal("EXCEEDED_MAX_SIZE_REQUEST" if asked else "REQUIRED_FIELD_MISSING", _TOO_MANY)
    all_or_none = context.call.query.get("allOrNone", "false").lower() == "true"
    results: dict[int, Row] = {}
    for sobject, places in _by_prefix(rest, asked):
        rows = rest.writer.write("delete", sobject, [{"Id": asked[place]} for place in places], all_or_none=all_or_none)
        results |= dict(zip(places, rows, strict=True))
    return Reply(200, [_result(results[place], with_created=False) for place in range(len(asked))])


def _by_prefix(rest: Rest, asked: list[str]) -> list[tuple[SObject, list[int]]]:
    places: dict[str, list[int]] = {}
    for place, record_id in enumerate(asked):
        sobject = rest.store.schema.by_prefix(record_id)
        if sobject is None or to_long(record_id) is None:
            raise Refusal("MALFORMED_ID", f"malformed id {record_id}")
        places.setdefault(sobject.name, []).append(place)
    return [(rest.sobject(name), found) for name, found in places.items()]


def _single_result(row: Row, status: int) -> Reply:
    if row.code is None:
        return Reply(204) if status == _DONE else Reply(status, _result(row, with_created=False))
    wrong = 404 if row.code in ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY") and status == _DONE else 400
    return Reply(wrong, [{"message": row.message, "errorCode": row.code, "fields": list(row.fields)}])


def _create(rest: Rest, context: Context) -> Reply:
    (row,) = rest.writer.write("insert", rest.sobject(context.parts["sobject"]), [context.call.json()])
    return _single_result(row, 201)


def _change(rest: Rest, context: Context) -> Reply:
    record = context.call.json() | {"Id": context.parts["id"]}
    (row,) = rest.writer.write("update", rest.sobject(context.parts["sobject"]), [record])
    return _single_result(row, 204)


def _remove(rest: Rest, context: Context) -> Reply:
    (row,) = rest.writer.write("delete", rest.sobject(context.parts["sobject"]), [{"Id": context.parts["id"]}])
    return _single_result(row, 204)


def _read(rest: Rest, context: Context) -> Reply:
    sobject = rest.sobject(context.parts["sobject"])
    wanted = context.call.query.get("fields", ",".join(known.name for known in sobject.fields))
    record_id = to_long(context.parts["id"])
    if record_id is None:
        raise not_found()
    compiled, table = rest.store.query(f"SELECT {wanted} FROM {sobject.name} WHERE Id = '{record_id}'", Scope.LIVE)
    if not table.num_rows:
        raise not_found()
    page = rest.cursors.first(compiled, table, 1, context.parts["version"])
    return Reply(200, page["records"][0])


def _deleted(rest: Rest, context: Context) -> Reply:
    sobject, start, end = _window(rest, context, DELETED_DAYS)
    sql = "SELECT id, deleted FROM deletions WHERE object = ? AND deleted >= ? AND deleted < ? ORDER BY deleted, id"
    gone = rest.store.rows(sql, [sobject.name, start, end])
    told = {"deletedRecords": [{"id": record_id, "deletedDate": _moment(moment)} for record_id, moment in gone]}
    earliest = rest.store.now() - timedelta(days=DELETED_DAYS)
    return Reply(200, told | {"earliestDateAvailable": _moment(earliest), "latestDateCovered": _moment(end)})


def _updated(rest: Rest, context: Context) -> Reply:
    sobject, start, end = _window(rest, context, UPDATED_DAYS)
    alive = 'AND NOT "IsDeleted"' if "isdeleted" in sobject.by_name else ""
    sql = f'SELECT "Id" FROM "{sobject.name}" WHERE "SystemModstamp" >= ? AND "SystemModstamp" < ? {alive}'
    found = rest.store.rows(f"{sql} LIMIT {MOST_UPDATED_IDS + 1}", [start, end])
    if len(found) > MOST_UPDATED_IDS:
        raise Refusal("EXCEEDED_ID_LIMIT", f"too many records changed: the limit is {MOST_UPDATED_IDS}")
    return Reply(200, {"ids": [record_id for (record_id,) in found], "latestDateCovered": _moment(end)})


def _window(rest: Rest, context: Context, days: int) -> tuple[SObject, datetime, datetime]:
    sobject = rest.sobject(context.parts["sobject"])
    start, end = (_parsed(context.call.query.get(name, "")) for name in ("start", "end"))
    now = rest.store.now()
    if start < now - timedelta(days=days):
        raise Refusal("INVALID_REPLICATION_DATE", f"startDate before org replication enabled date or {days} days")
    if end <= start:
        raise Refusal("INVALID_REPLICATION_DATE", "endDate must be after startDate")
    return sobject, start, min(end, now.replace(second=0) + timedelta(minutes=1))


def _parsed(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise Refusal("INVALID_REPLICATION_DATE", "start and end must be dates with a time zone") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _composite(rest: Rest, context: Context) -> Reply:
    asked = context.call.json().get("compositeRequest", [])
    if len(asked) > MOST_SUBREQUESTS:
        raise Refusal("EXCEEDED_MAX_SIZE_REQUEST", f"more than {MOST_SUBREQUESTS} subrequests")
    if sum(1 for one in asked if _HEAVY.search(one["url"])) > MOST_QUERIES:
        raise Refusal("EXCEEDED_MAX_SIZE_REQUEST", f"more than {MOST_QUERIES} subrequests are queries or collections")
    return Reply(200, {"compositeResponse": [_subrequest(rest, context.call, one) for one in asked]})


_HEAVY = re.compile(r"/(?:query|queryAll|composite/sobjects)(?:[/?]|$)")


def _subrequest(rest: Rest, outer: Call, one: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(one["url"])
    body = json.dumps(one.get("body", {})).encode()
    call = Call(one["method"], parts.path, dict(parse_qsl(parts.query)), outer.headers, body, outer.version)
    try:
        _, handler, found = rest.find(call.method, call.path)
        reply = rest.answer(handler, Context(call, found))
    except Refusal as refusal:
        reply = refusal.reply()
    told = reply.body if isinstance(reply.body, dict | list) else None
    return {"body": told, "httpHeaders": {}, "httpStatusCode": reply.status, "referenceId": one.get("referenceId")}


def _upload(rest: Rest, context: Context) -> Reply:
    return rest.bulk.upload(context.call, context.parts["id"])


def _job_change(rest: Rest, context: Context) -> Reply:
    if context.parts["kind"] == "query":
        return rest.bulk.change_query(context.call, context.parts["id"])
    return rest.bulk.change(context.call, context.parts["id"], fails_after=context.fault.rows if context.fault else None)


def _job_create(rest: Rest, context: Context) -> Reply:
    return (rest.bulk.create_query if context.parts["kind"] == "query" else rest.bulk.create_ingest)(context.call)


def _job_look(rest: Rest, context: Context) -> Reply:
    return rest.bulk.look(context.parts["kind"], context.parts["id"])


def _job_delete(rest: Rest, context: Context) -> Reply:
    return rest.bulk.delete(context.parts["kind"], context.parts["id"])


def _job_list(rest: Rest, context: Context) -> Reply:
    return rest.bulk.list_jobs(context.parts["kind"])


def _query_results(rest: Rest, context: Context) -> Reply:
    return rest.bulk.query_results(context.call, context.parts["id"])


def _ingest_results(rest: Rest, context: Context) -> Reply:
    return rest.bulk.results(context.parts["id"], context.parts["which"])


@dataclass(frozen=True, slots=True)
class _Endpoint:
    name: str
    method: str
    pattern: re.Pattern[str]
    handler: Handler


def _endpoint(name: str, method: str, path: str, handler: Handler) -> _Endpoint:
    below = r"/services/data/v(?P<version>\d\d\.0)" + re.sub(r"(?<!P)<(\w+)>", r"(?P<\1>[^/]+)", path)
    return _Endpoint(name, method, re.compile(below + "/?"), handler)


_ENDPOINTS = (
    _Endpoint("versions", "GET", re.compile(r"/services/data/?"), _versions),
    _endpoint("resources", "GET", "", _resources),
    _endpoint("limits", "GET", "/limits", _limits),
    _endpoint("record count", "GET", "/limits/recordCount", _record_count),
    _endpoint("describe all", "GET", "/sobjects", _describe_all),
    _endpoint("describe", "GET", "/sobjects/<sobject>/describe", _describe),
    _endpoint("deleted", "GET", "/sobjects/<sobject>/deleted", _deleted),
    _endpoint("updated", "GET", "/sobjects/<sobject>/updated", _updated),
    _endpoint("query", "GET", "/(?P<which>query|queryAll)", _query),
    _endpoint("query more", "GET", "/query(?:All)?/<locator>", _query_more),
    _endpoint("about", "GET", "/sobjects/<sobject>", _about),
    _endpoint("create", "POST", "/sobjects/<sobject>", _create),
    _endpoint("read", "GET", "/sobjects/<sobject>/<id>", _read),
    _endpoint("change", "PATCH", "/sobjects/<sobject>/<id>", _change),
    _endpoint("remove", "DELETE", "/sobjects/<sobject>/<id>", _remove),
    _endpoint("collection insert", "POST", "/composite/sobjects", _collection_insert),
    _endpoint("collection update", "PATCH", "/composite/sobjects", _collection_update),
    _endpoint("collection delete", "DELETE", "/composite/sobjects", _collection_delete),
    _endpoint("collection upsert", "PATCH", "/composite/sobjects/<sobject>/<key>", _collection_upsert),
    _endpoint("composite", "POST", "/composite", _composite),
    _endpoint("job list", "GET", "/jobs/(?P<kind>query|ingest)", _job_list),
    _endpoint("job create", "POST", "/jobs/(?P<kind>query|ingest)", _job_create),
    _endpoint("job look", "GET", "/jobs/(?P<kind>query|ingest)/<id>", _job_look),
    _endpoint("job change", "PATCH", "/jobs/(?P<kind>query|ingest)/<id>", _job_change),
    _endpoint("job delete", "DELETE", "/jobs/(?P<kind>query|ingest)/<id>", _job_delete),
    _endpoint("job upload", "PUT", "/jobs/ingest/<id>/batches", _upload),
    _endpoint("query results", "GET", "/jobs/query/<id>/results", _query_results),
    _endpoint("ingest results", "GET", "/jobs/ingest/<id>/(?P<which>successful|failed)Results", _ingest_results),
    _endpoint("ingest results", "GET", "/jobs/ingest/<id>/(?P<which>unprocessed)[rR]ecords", _ingest_results),
)
