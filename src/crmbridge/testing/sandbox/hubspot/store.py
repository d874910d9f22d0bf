"""Records, links and lists of a portal, in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LabelType = tuple[str, int]
HUBSPOT, USER = "HUBSPOT_DEFINED", "USER_DEFINED"
PLAIN: dict[tuple[str, str], int] = {
    ("deals", "contacts"): 3,
    ("deals", "companies"): 341,
    ("contacts", "companies"): 279,
    ("meetings", "deals"): 212,
    ("meetings", "contacts"): 200,
    ("meetings", "companies"): 188,
    ("calls", "deals"): 206,
    ("calls", "contacts"): 194,
    ("calls", "companies"): 182,
    ("emails", "deals"): 210,
    ("emails", "contacts"): 198,
    ("emails", "companies"): 186,
    ("notes", "deals"): 214,
    ("notes", "contacts"): 202,
    ("notes", "companies"): 190,
    ("tasks", "deals"): 216,
    ("tasks", "contacts"): 204,
    ("tasks", "companies"): 192,
    ("leads", "contacts"): 608,
    ("leads", "companies"): 610,
    ("leads", "deals"): 1037,
}
PRIMARY = {("deals", "companies"): 5, ("contacts", "companies"): 1, ("leads", "contacts"): 578}
KINDS = ("companies", "contacts", "deals", "leads", "meetings", "calls", "emails", "notes", "tasks")
FIRST_LABEL = 101


@dataclass(slots=True)
class Rec:
    """One record."""

    id: str
    properties: dict[str, str | None]
    created: datetime
    updated: datetime
    archived: datetime | None = None


@dataclass
class Store:
    """A portal's content.

    Attributes:
        records: kind -> id -> record, in the order of ids.
        links: (from, to) -> id -> other id -> types.
        labels: type -> text, deals to contacts.
        owners, pipelines, campaigns: as HubSpot tells them.
        assets: campaign GUID -> list ids.
        members: list id -> [(contact, moment)].
        responses: (campaign GUID, report) -> [(day, contact)].
    """

    clock: Callable[[], datetime]
    records: dict[str, dict[str, Rec]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    links: dict[tuple[str, str], dict[str, dict[str, set[LabelType]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    labels: dict[LabelType, str] = field(default_factory=dict)
    owners: list[dict[str, Any]] = field(default_factory=list)
    pipelines: list[dict[str, Any]] = field(default_factory=list)
    campaigns: dict[str, dict[str, Any]] = field(default_factory=dict)
    assets: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    members: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    responses: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    _order: dict[tuple[str, bool], list[int]] = field(default_factory=dict)
    _survivors: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, kind: str, record_id: str, properties: dict[str, Any], created: datetime, updated: datetime) -> Rec:
        """Put a record in; blank properties are none."""
        told = {name: value for name, value in properties.items() if value is not None}
        record = Rec(record_id, told, created, updated)
        self.records[kind][record_id] = record
        self.forget_order()
        return record

    def archive(self, kind: str, record_id: str, when: datetime | None = None) -> None:
        """Take a record away; its links go with it."""
        self.records[kind][record_id].archived = when or self.clock()
        for (from_kind, to_kind), by_id in self.links.items():
            if from_kind == kind:
                by_id.pop(record_id, None)
            if to_kind == kind:
                for others in by_id.values():
                    others.pop(record_id, None)
        self.forget_order()

    def after(self, kind: str, after: int, limit: int, *, archived: bool) -> tuple[list[Rec], bool]:
        """The next records by id, and whether there are more."""
        key = (kind, archived)
        if key not in self._order:
            found = (int(one.id) for one in self.records[kind].values() if (one.archived is not None) is archived)
            self._order[key] = sorted(found)
        order = self._order[key]
        start = bisect_right(order, after)
        ids = order[start : start + limit]
        return [self.records[kind][str(one)] for one in ids], start + limit < len(order)

    def forget_order(self) -> None:
        """The records have changed by other ways than `add` and `archive`."""
        self._order.clear()
        self._survivors.clear()

    def live(self, kind: str, record_id: str) -> Rec | None:
        """A record that is there, also by an id that was merged into it."""
        record = self.records[kind].get(self.survivor(kind, record_id))
        return record if record is not None and record.archived is None else None

    def survivor(self, kind: str, record_id: str) -> str:
        """The id in which an id lives on: its own, unless it was merged away."""
        if record_id in self.records[kind]:
            return record_id
        if kind not in self._survivors:
            self._survivors[kind] = {
                gone: one.id
                for one in self.records[kind].values()
                for gone in (one.properties.get("hs_merged_object_ids") or "").split(";")
            }
        return self._survivors[kind].get(record_id, record_id)

    def link(self, pair: tuple[str, str], from_id: str, to_id: str, types: Iterable[LabelType] = ()) -> set[LabelType]:
        """Link two records: plainly, and with these types beside those they have."""
        held = self.links[pair][from_id].setdefault(to_id, set())
        held |= {(HUBSPOT, PLAIN[pair]), *types}
        return held

    def linked(self, pair: tuple[str, str], from_id: str) -> dict[str, set[LabelType]]:
        """What a record is linked to."""
        by_id = self.links.get(pair, {})
        return by_id.get(from_id, {})

    def label(self, text: str) -> LabelType:
        """The type of a label; it is defined where it is missing."""
        for kind, known in self.labels.items():
            if known == text:
                return kind
        kind = (USER, FIRST_LABEL + 2 * len(self.labels))
        self.labels[kind] = text
        return kind


def stamp(moment: datetime) -> str:
    """A moment as HubSpot writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
