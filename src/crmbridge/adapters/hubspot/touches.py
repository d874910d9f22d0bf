"""Marketing campaigns, and whom they touched: HubSpot keeps no history of it, so it is put together from what it does tell.

A campaign's reports name the contacts that responded between two days, without moments: the whole time is asked for first, and
split only where somebody is in it. Lists that are assets of the campaign name those who were addressed, to the second. A touch
says how its date was come by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from math import isqrt, log2
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa

from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.failures import Refusal
from crmbridge.adapters.hubspot.memory import Dated, Memory
from crmbridge.adapters.hubspot.options import TouchSource
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection

REPORTS = ("influencedContacts", "contactFirstTouch", "contactLastTouch")
LISTS = "assets/OBJECT_LIST"
_PROPERTIES = (
    "hs_name",
    "hs_start_date",
    "hs_end_date",
    "hs_campaign_status",
    "hs_owner",
    "hs_currency_code",
    "hs_budget_items_sum_amount",
    "hs_spend_items_sum_amount",
)
_PAGE, _MEMBERS_PAGE = 100, 250
_REFUSED = (400, 403, 404)
_AFTERMATH = timedelta(days=30)
"""How long after its end a campaign mostly goes on to touch somebody."""
_CAMPAIGN = {
    "name": "hs_name",
    "status": "hs_campaign_status",
    "start_date": "hs_start_date",
    "end_date": "hs_end_date",
    "actual_cost": "hs_spend_items_sum_amount",
    "budgeted_cost": "hs_budget_items_sum_amount",
    "owner_id": "hs_owner",
}


Asked: TypeAlias = Callable[[int, int], set[str]]
"""Gives the contacts of some slices of days, from one to another, both included."""


class TouchCalls(NamedTuple):
    """About how many calls campaigns take in a full pull, and in a nightly one."""

    whole: int
    nightly: int


NO_TOUCHES = TouchCalls(0, 0)


class Touches:
    """Reads campaigns and their members over one connection."""

    def __init__(self, connection: Connection, memory: Memory) -> None:
        self._connection = connection
        self._options = connection.options
        self._memory = memory
        self._listed: list[dict[str, Any]] | None = None

    def campaigns(self) -> Iterator[pa.RecordBatch]:
        """Give all campaigns, by their GUIDs."""
        listed = []
        for found in self._pages():
            properties = [one.get("properties") or {} for one in found]
            texts = {ours: [told.get(theirs) or None for told in properties] for ours, theirs in _CAMPAIGN.items()}
            texts["id"] = [str(one["id"]) for one in found]
            texts["currency"] = [told.get("hs_currency_code") or self._options.currency for told in properties]
            texts["created_at"] = [one.get("createdAt") for one in found]
            texts["modified_at"] = [one.get("updatedAt") for one in found]
            yield canonical(Entity.CAMPAIGN, texts, len(found))
            listed += found
        self._listed = listed

    def members(self, today: date) -> Iterator[pa.RecordBatch]:
        """Give whom each campaign touched, by contact; everything up to a day."""
        listed, self._listed = self._listed, None
        known = self._memory.touches(self._options.touch_slice_days)
        dated: dict[str, Dated] = {}
        for campaign in listed if listed is not None else (one for page in self._pages() for one in page):
            guid = str(campaign["id"])
            dated[guid], joined = self._members_of(campaign, known.get(guid), today)
            days = {contact: self._days(dated[guid].begin, number, today)[1] for contact, number in dated[guid].slices.items()}
            if rows := {contact: (days.get(contact), joined.get(contact)) for contact in sorted({*days, *joined})}:
                yield _batch(guid, rows)
        self._memory.keep_touches(dated, self._options.touch_slice_days, today)

    def calls(self, today: date) -> TouchCalls:
        """About how many calls campaigns take; lists them, as a pull does. Raises like `Connection.ask`."""
        pages = list(self._pages())
        campaigns = [one for page in pages for one in page]
        sources = self._options.touch_sources
        each = (len(REPORTS) if TouchSource.REPORTS in sources else 0) + (2 if TouchSource.LISTS in sources else 0)
        asking = max(len(pages), 1) + each * len(campaigns)
        if TouchSource.REPORTS not in sources:
            return TouchCalls(asking, asking)
        still = sum(1 for one in campaigns if (_end(one) or today) + _AFTERMATH >= today)
        dating = self._questions(campaigns, today)
        return TouchCalls(asking + dating, asking + (still if self._memory.is_kept else dating))

    def _questions(self, campaigns: Sequence[Mapping[str, Any]], today: date) -> int:
        """About how many it takes to date touches: one for each slice of a campaign's run, and those that find where it ends."""
        begins = [min(_begin(one), today) for one in campaigns]
        runs = [self._slices(begin, min(end, today)) for begin, one in zip(begins, campaigns, strict=True) if (end := _end(one))]
        # A campaign without an end is taken to run as long as others do.
        runs += [round(median(runs or [1]))] * (len(begins) - len(runs))
        return sum(runs) + round(sum(log2(self._slices(begin, today)) for begin in begins))

    def _slices(self, begin: date, end: date) -> int:
        return max((end - begin).days, 0) // self._options.touch_slice_days + 1

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        query = {"limit": _PAGE, "properties": ",".join(_PROPERTIES)}
        for page in self._connection.pages(self._connection.paths.campaigns, query):
            if page["results"]:
                yield page["results"]

    def _members_of(self, campaign: Mapping[str, Any], known: Dated | None, today: date) -> tuple[Dated, dict[str, str]]:
        """Who responded, and when others joined a list."""
        guid, begin = str(campaign["id"]), min(_begin(campaign), today)
        if known is None or known.begin != begin:
            known = Dated(begin)
        asks_reports = TouchSource.REPORTS in self._options.touch_sources
        slices = self._responses(guid, known, today) if asks_reports else {}
        joined = self._joined(guid) if TouchSource.LISTS in self._options.touch_sources else {}
        return Dated(begin, today, slices), joined

    def _responses(self, guid: str, known: Dated, today: date) -> dict[str, int]:
        """Contact -> the slice of days in which it responded first; what is known of slices that were over is not asked again."""
        last = (today - known.begin).days // self._options.touch_slice_days
        over = 0 if known.until is None else (known.until - known.begin).days // self._options.touch_slice_days
        slices: dict[str, int] = {}
        for report in REPORTS:

            def asked(first: int, last: int, report: str = report) -> set[str]:
                start, _ = self._days(known.begin, first, today)
                _, end = self._days(known.begin, last, today)
                return self._touched(guid, report, start, end)

            found = asked(0, last) - slices.keys()
            slices |= {contact: number for contact, number in known.slices.items() if contact in found and number < over}
            _date(asked, (0, last), found - slices.keys(), slices, over or None)
        return slices

    def _days(self, begin: date, number: int, today: date) -> tuple[date, date]:
        """A slice's first day and its last, up to today: no touch is dated before it happened."""
        start = begin + timedelta(days=number * self._options.touch_slice_days)
        return start, min(start + timedelta(days=self._options.touch_slice_days - 1), today)

    def _touched(self, guid: str, report: str, start: date, end: date) -> set[str]:
        """The contacts of a report between two days, both included; none where it may not be asked."""
        query = {"startDate": start.isoformat(), "endDate": end.isoformat(), "limit": _PAGE}
        path = self._connection.paths.campaign(guid, f"reports/contacts/{report}")
        try:
            return {str(one["id"]) for page in self._connection.pages(path, query) for one in page["results"]}
        except Refusal as refusal:
            if refusal.status in _REFUSED:
                return set()
            raise

    def _joined(self, guid: str) -> dict[str, str]:
        """Contact -> when it first joined a list of the campaign."""
        joined: dict[str, str] = {}
        try:
            lists = [
                str(one["id"])
                for page in self._connection.pages(self._connection.paths.campaign(guid, LISTS), {"limit": _PAGE})
                for one in page["results"]
            ]
            for list_id in lists:
                path = self._connection.paths.list_members(list_id)
                for page in self._connection.pages(path, {"limit": _MEMBERS_PAGE}):
                    for one in page["results"]:
                        contact, moment = str(one["recordId"]), one.get("membershipTimestamp")
                        if moment is not None:
                            joined[contact] = min(joined.get(contact, moment), moment)
        except Refusal as refusal:
            if refusal.status not in _REFUSED:
                raise
        return joined


def _date(asked: Asked, span: tuple[int, int], found: set[str], slices: dict[str, int], split: int | None = None) -> None:
    """Date contacts of which it is known that they are in a span: by parts, the earlier one first, then no question more.

    Args:
        asked: asks HubSpot.
        span: the first slice and the last.
        found: in the span, and not dated yet.
        slices: contact -> slice; is filled.
        split: the slice before which to split first, where that is known to be a good place.
    """
    first, last = span
    if not found or first == last:
        slices.update(dict.fromkeys(found, first))
        return
    middle = split if split is not None and first < split <= last else _split(first, last)
    early = asked(first, middle - 1) & found
    _date(asked, (first, middle - 1), early, slices)
    _date(asked, (middle, last), found - early, slices)


def _split(first: int, last: int) -> int:
    """Where to split a span: nearer to its beginning the nearer that is to the campaign's, for there most touches are."""
    return min(max(isqrt((first + 1) * (last + 2)), first + 1), last)


def _end(campaign: Mapping[str, Any]) -> date | None:
    """The last day of its run."""
    told = (campaign.get("properties") or {}).get("hs_end_date")
    return date.fromisoformat(told[:10]) if told else None


def _begin(campaign: Mapping[str, Any]) -> date:
    """The first day that a campaign can have touched anybody."""
    told = (campaign.get("properties") or {}).get("hs_start_date")
    days = [date.fromisoformat(told[:10])] if told else []
    if stamp := campaign.get("createdAt"):
        days.append(datetime.fromisoformat(stamp).astimezone(UTC).date())
    return min(days, default=date(2006, 1, 1))


def _batch(guid: str, rows: Mapping[str, tuple[date | None, str | None]]) -> pa.RecordBatch:
    days = [day for day, _ in rows.values()]
    texts: dict[str, list[str | None]] = {
        "id": [f"{guid}:{contact}" for contact in rows],
        "campaign_id": [guid] * len(rows),
        "contact_id": list(rows),
        "has_responded": ["false" if day is None else "true" for day in days],
        "responded_at": [None if day is None else f"{day}T12:00:00Z" for day in days],
        "date_quality": ["exact" if day is None else "inferred" for day in days],
        "created_at": [moment for _, moment in rows.values()],
    }
    return canonical(Entity.CAMPAIGN_MEMBER, texts, len(rows))
