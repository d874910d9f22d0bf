"""Pages of query answers, and the cursors that lead from one to the next."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crmbridge.testing.sandbox.salesforce.wire import Refusal

if TYPE_CHECKING:
    import pyarrow as pa

    from crmbridge.testing.sandbox.salesforce.compile import Compiled
    from crmbridge.testing.sandbox.salesforce.schema import SObject

MOST_CURSORS = 1_000


@dataclass(frozen=True, slots=True)
class _Open:
    compiled: Compiled
    table: pa.Table
    page_rows: int


class Cursors:
    """The answers that somebody is still reading."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._made = 0

    def first(self, compiled: Compiled, table: pa.Table, page_rows: int, version: str) -> dict[str, Any]:
        """The first page of an answer."""
        opened = _Open(compiled, table, page_rows)
        if table.num_rows <= page_rows:
            return _page(opened, "", 0, version)
        with self._lock:
            self._made += 1
            name = f"01g{self._made:012d}AAA"
            self._open[name] = opened
            if len(self._open) > MOST_CURSORS:
                self._open.pop(next(iter(self._open)))
        return _page(opened, name, 0, version)

    def more(self, locator: str, version: str) -> dict[str, Any]:
        """A further page.

        Raises:
            Refusal: INVALID_QUERY_LOCATOR: unknown or expired.
        """
        name, _, start = locator.rpartition("-")
        opened = self._open.get(name)
        if opened is None or not start.isdigit():
            raise expired()
        return _page(opened, name, int(start), version)

    def expire(self) -> None:
        """End every cursor, as two days do."""
        with self._lock:
            self._open.clear()


def expired() -> Refusal:
    """The cursor is unknown or too old."""
    return Refusal("INVALID_QUERY_LOCATOR", "invalid query locator")


def count_answer(table: pa.Table) -> dict[str, Any]:
    """The answer to SELECT COUNT()."""
    return {"totalSize": table["total"][0].as_py(), "done": True, "records": []}


def _page(opened: _Open, name: str, start: int, version: str) -> dict[str, Any]:
    part = opened.table.slice(start, opened.page_rows)
    end = start + part.num_rows
    page: dict[str, Any] = {"totalSize": opened.table.num_rows, "done": end >= opened.table.num_rows}
    if not page["done"]:
        page["nextRecordsUrl"] = f"/services/data/v{version}/query/{name}-{end}"
    return page | {"records": _records(opened.compiled, part, version)}


def _records(compiled: Compiled, part: pa.Table, version: str) -> list[dict[str, Any]]:
    return [_record(compiled, row, version) for row in part.to_pylist()]


def _record(compiled: Compiled, row: dict[str, Any], version: str) -> dict[str, Any]:
    own_id = row.get("own_id")
    record: dict[str, Any] = {"attributes": _attributes(compiled.sobject, own_id, version)}
    if own_id is None:
        record = {"attributes": {"type": "AggregateResult"}}
    parents = {path: (sobject, row[f"parent{place}"]) for place, (path, sobject) in enumerate(compiled.parents)}
    for place, column in enumerate(compiled.columns):
        home: dict[str, Any] | None = record
        for depth in range(1, len(column.path)):
            home = _parent(home, column.path[:depth], parents, version)
        if home is not None:
            home[column.path[-1]] = row[f"c{place}"]
    return record


def _parent(
    home: dict[str, Any] | None,
    path: tuple[str, ...],
    parents: dict[tuple[str, ...], tuple[SObject, str | None]],
    version: str,
) -> dict[str, Any] | None:
    """The parent inside a record, hung there at first use; None where there is none."""
    if home is None:
        return None
    if path[-1] not in home:
        sobject, parent_id = parents[path]
        home[path[-1]] = {"attributes": _attributes(sobject, parent_id, version)} if parent_id else None
    found: dict[str, Any] | None = home[path[-1]]
    return found


def _attributes(sobject: SObject, record_id: str | None, version: str) -> dict[str, str]:
    return {"type": sobject.name, "url": f"/services/data/v{version}/sobjects/{sobject.name}/{record_id}"}
