"""Objects over HTTP: listings, reads by id, searches with their ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from crmbridge.testing.sandbox.hubspot.store import HUBSPOT, PRIMARY, USER, Rec, Store, stamp
from crmbridge.testing.sandbox.hubspot.switches import HubSpotSwitches
from crmbridge.testing.sandbox.hubspot.wire import OBJECT_TYPES, SINGULAR, Call, Reply, bad_request

MOST_A_PAGE, MOST_INPUTS, MOST_FOUND, SEARCH_CEILING = 100, 100, 200, 10_000
MOST_GROUPS, MOST_FILTERS, MOST_FILTERS_IN_ALL = 5, 6, 18
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "EQ": lambda held, wanted: held == wanted,
    "NEQ": lambda held, wanted: held != wanted,
    "GT": lambda held, wanted: held > wanted,
    "GTE": lambda held, wanted: held >= wanted,
    "LT": lambda held, wanted: held < wanted,
    "LTE": lambda held, wanted: held <= wanted,
}
_STAMPS = ("hs_lastmodifieddate", "lastmodifieddate")


class Objects:
    """Answers about records."""

    def __init__(self, store: Store, switches: HubSpotSwitches) -> None:
        self._store = store
        self._switches = switches
        self._found: dict[str, list[str]] = {}

    def listed(self, call: Call, kind: str) -> Reply:
        """A page of all records."""
        limit = _limit(call.query.get("limit", "10"), MOST_A_PAGE)
        archived = call.query.get("archived", "false").lower() == "true"
        page, has_more = self._store.after(kind, int(call.query.get("after", "0")), limit, archived=archived)
        wanted, linked = _names(call.query.get("properties")), _names(call.query.get("associations"))
        body: dict[str, Any] = {"results": [self._told(kind, one, wanted, linked) for one in page]}
        if has_more:
            body["paging"] = {"next": {"after": page[-1].id, "link": "https://api.hubapi.com/next"}}
        return Reply(200, body)

    def read(self, call: Call, kind: str) -> Reply:
        """Records by their ids."""
        inputs = call.body["inputs"]
        if len(inputs) > MOST_INPUTS:
            raise bad_request(f"no more than {MOST_INPUTS} inputs")
        found = [self._store.live(kind, str(one["id"])) for one in inputs]
        results = [self._told(kind, one, call.body.get("properties") or [], []) for one in found if one]
        lacking = len(inputs) - len(results)
        body: dict[str, Any] = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": stamp(self._store.clock()),
            "completedAt": stamp(self._store.clock()),
        }
        if lacking:
            body |= {
                "numErrors": 1,
                "errors": [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects"}],
            }
        return Reply(207 if lacking else 200, body)

    def search(self, call: Call, kind: str) -> Reply:
        """Records by filters, in the order of one property, not beyond the ceiling, and not the newest."""
        limit = min(_limit(call.body.get("limit", 10), MOST_FOUND), self._switches.search_page)
        after = int(call.body.get("after") or 0)
        _hold_small(call.body)
        if after + limit > SEARCH_CEILING:
            raise bad_request(f"paging beyond {SEARCH_CEILING:,} results is not allowed")
        key = repr((kind, call.body.get("filterGroups"), call.body.get("sorts")))
        if after == 0 or key not in self._found:
            self._found[key] = [one.id for one in self._matching(kind, call.body)]
        ids = self._found[key]
        page = [self._store.records[kind][one] for one in ids[after : after + limit]]
        body: dict[str, Any] = {
            "total": len(ids),
            "results": [self._told(kind, one, call.body.get("properties") or [], []) for one in page],
        }
        if after + limit < len(ids):
            body["paging"] = {"next": {"after": str(after + limit)}}
        return Reply(200, body)

    def _matching(self, kind: str, body: Mapping[str, Any]) -> list[Rec]:
        groups = body.get("filterGroups") or [{"filters": []}]
        newest = self._store.clock() - timedelta(seconds=self._switches.index_lag_s)
        found = [
            one
            for one in self._store.records[kind].values()
            if one.archived is None and one.updated <= newest and any(_fits(one, group["filters"]) for group in groups)
        ]
        for sort in (body.get("sorts") or [])[:1]:
            name = sort["propertyName"]
            found.sort(key=lambda one: _sortable(_value(one, name)), reverse=sort.get("direction") == "DESCENDING")
        return found

    def _told(self, kind: str, record: Rec, properties: Sequence[str], linked: Sequence[str]) -> dict[str, Any]:
        wanted = {"hs_object_id", "createdate", *_STAMPS, *properties}
        told: dict[str, Any] = {
            "id": record.id,
            "properties": {name: record.properties.get(name) for name in sorted(wanted & {*record.properties, *properties})},
            "createdAt": stamp(record.created),
            "updatedAt": stamp(record.updated),
            "archived": record.archived is not None,
            "url": f"https://app.hubspot.com/contacts/1/record/{OBJECT_TYPES[kind]}/{record.id}",
        }
        if record.archived is not None:
            told["archivedAt"] = stamp(record.archived)
        links = {to_kind: self._inline(kind, to_kind, record.id) for to_kind in linked}
        if any(links.values()):
            told["associations"] = {to_kind: some for to_kind, some in links.items() if some}
        return told

    def _inline(self, kind: str, to_kind: str, record_id: str) -> dict[str, Any]:
        """Links as a listing shows them: an id once for each of its types."""
        linked = self._store.linked((kind, to_kind), record_id)
        if not linked:
            return {}
        first = sorted(linked, key=int)[: self._switches.inline_links]
        plain = f"{SINGULAR[kind]}_to_{SINGULAR[to_kind]}"
        results = [{"id": other, "type": text} for other in first for text in self._types(kind, to_kind, plain, linked[other])]
        more = (
            {"paging": {"next": {"after": first[-1], "link": "https://api.hubapi.com/next"}}} if len(first) < len(linked) else {}
        )
        return {"results": results, **more}

    def _types(self, kind: str, to_kind: str, plain: str, types: set[tuple[str, int]]) -> list[str]:
        primary = PRIMARY.get((kind, to_kind))
        told = []
        for category, number in sorted(types):
            if category == USER:
                told.append(self._store.labels[category, number].lower().replace(" ", "_"))
            elif (category, number) == (HUBSPOT, primary) or primary is None:
                told.append(plain)
            else:
                told.append(f"{plain}_unlabeled")
        return told


def _limit(given: object, most: int) -> int:
    limit = int(str(given))
    if not 0 < limit <= most:
        raise bad_request(f"limit must be between 1 and {most}")
    return limit


def _hold_small(body: Mapping[str, Any]) -> None:
    """Raises Refusal: more than a search may hold."""
    filters = [len(group["filters"]) for group in body.get("filterGroups") or []]
    if len(filters) > MOST_GROUPS or max(filters, default=0) > MOST_FILTERS or sum(filters) > MOST_FILTERS_IN_ALL:
        raise bad_request("too many filters")
    if len(body.get("sorts") or []) > 1:
        raise bad_request("only one sort is allowed")


def _names(text: str | None) -> list[str]:
    return [name for name in (text or "").split(",") if name]


def _fits(record: Rec, filters: Sequence[Mapping[str, Any]]) -> bool:
    return all(_holds(record, one) for one in filters)


def _holds(record: Rec, given: Mapping[str, Any]) -> bool:
    held = _value(record, given["propertyName"])
    operator = given["operator"]
    if operator == "HAS_PROPERTY":
        return held is not None
    if operator == "IN":
        return held is not None and str(held) in {str(one) for one in given["values"]}
    if operator not in _COMPARE:
        raise bad_request(f"unknown operator {operator}")
    if held is None:
        return bool(operator == "NEQ")
    wanted = _number(given["value"]) if isinstance(held, int) else str(given["value"])
    return bool(_COMPARE[operator](held, wanted))


def _number(wanted: object) -> int:
    """A number, or a moment in either of the forms that HubSpot takes."""
    text = str(wanted)
    return int(text) if text.isdigit() else int(datetime.fromisoformat(text).timestamp() * 1000)


def _value(record: Rec, name: str) -> int | str | None:
    """Stamps as milliseconds, ids as numbers, all else as text."""
    if name in _STAMPS:
        return int(record.updated.timestamp() * 1000)
    if name == "hs_object_id":
        return int(record.id)
    return record.properties.get(name)


def _sortable(value: int | str | None) -> tuple[bool, int, str]:
    return (value is None, value if isinstance(value, int) else 0, value if isinstance(value, str) else "")
