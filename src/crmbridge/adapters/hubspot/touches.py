"""Marketing campaigns, and whom they touched: HubSpot keeps no history of it, so it is put together from what it does tell.

A campaign's reports name the contacts that responded between two days, without moments: the whole time is asked for first, and
parted only where somebody is in it whom the snapshot before does not date already (`dating`). Lists that are assets of the
campaign name those who were addressed, to the second. A touch says how its date was come by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.dating import Dating, Run
from crmbridge.adapters.hubspot.failures import Refusal
from crmbridge.adapters.hubspot.options import TouchSource
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.contract import EarlierRecords

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
_SEARCHING = 2
"""About how many questions it takes to find where the responses of a campaign end."""
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


class TouchCalls(NamedTuple):
    """About how many calls campaigns take in a full pull, and in a nightly one."""

    whole: int
    nightly: int


NO_TOUCHES = TouchCalls(0, 0)


@dataclass(frozen=True)
class Dated:
    """Whom one campaign touched, as far as the snapshot before knows.

    Attributes:
        begin: where the slices of days begin.
        until: the day up to which they were asked for; None where they never were.
        slices: contact -> which of the slices, counted from 0.
    """

    begin: date
    until: date | None = None
    slices: dict[str, int] = field(default_factory=dict)


class Touches:
    """Reads campaigns and their members over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.options
        self._earlier: EarlierRecords | None = None
        self._listed: list[dict[str, Any]] | None = None

    def build_on(self, earlier: EarlierRecords | None) -> None:
        """Take the snapshot before."""
        self._earlier, self._listed = earlier, None

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
        known = DatedBefore(self._earlier, self._options.touch_slice_days)
        dating = Dating()
        for campaign in listed if listed is not None else (one for page in self._pages() for one in page):
            guid, begin = str(campaign["id"]), min(_begin(campaign), today)
            slices = self._responses(campaign, known.of(guid) or Dated(begin), today, dating)
            joined = self._joined(guid) if TouchSource.LISTS in self._options.touch_sources else {}
            days = {contact: self._days(begin, number, today)[1] for contact, number in slices.items()}
            if rows := {contact: (days.get(contact), joined.get(contact)) for contact in sorted({*days, *joined})}:
                yield _batch(guid, rows)

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
        return TouchCalls(asking + dating, asking + still)

    def _questions(self, campaigns: Sequence[Mapping[str, Any]], today: date) -> int:
        """About how many it takes to date touches: one for each slice of a campaign's run, and those that find where it ends."""
        begins = [min(_begin(one), today) for one in campaigns]
        planned = zip(begins, (_end(one) for one in campaigns), strict=True)
        runs = [self._number(begin, min(end, today)) + 1 for begin, end in planned if end]
        # A campaign without an end is taken to run as long as others do.
        runs += [round(median(runs or [1]))] * (len(begins) - len(runs))
        return sum(runs) + _SEARCHING * len(runs)

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        query = {"limit": _PAGE, "properties": ",".join(_PROPERTIES)}
        for page in self._connection.pages(self._connection.paths.campaigns, query):
            if page["results"]:
                yield page["results"]

    def _responses(self, campaign: Mapping[str, Any], known: Dated, today: date, dating: Dating) -> dict[str, int]:
        """Contact -> the slice of days in which it responded first; what is known of slices that were over is not asked again."""
        if TouchSource.REPORTS not in self._options.touch_sources:
            return {}
        guid, begin, end = str(campaign["id"]), min(_begin(campaign), today), _end(campaign)
        if known.begin != begin:
            known = Dated(begin)
        run = Run(self._number(begin, today), None if end is None else self._number(begin, end))
        over = 0 if known.until is None else self._number(begin, known.until)
        slices: dict[str, int] = {}
        for report in REPORTS:

            def asked(first: int, last: int, report: str = report) -> set[str]:
                return self._touched(guid, report, self._days(begin, first, today)[0], self._days(begin, last, today)[1])

            found = asked(0, run.last)
            slices |= {contact: number for contact, number in known.slices.items() if contact in found and number < over}
            # Who is in several reports responded first by whichever was first.
            unknown = {contact for contact in found if known.slices.get(contact, over) >= over}
            dated = dating.date(asked, run, unknown, over or None)
            slices |= {contact: min(number, slices.get(contact, number)) for contact, number in dated.items()}
        dating.learn(run, slices)
        return slices

    def _number(self, begin: date, day: date) -> int:
        """Which slice a day is in; the first for days before it."""
        return max((day - begin).days, 0) // self._options.touch_slice_days

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


def _end(campaign: Mapping[str, Any]) -> date | None:
    """The last day of its run."""
    told = (campaign.get("properties") or {}).get("hs_end_date")
    return date.fromisoformat(told[:10]) if told else None


def _begin(campaign: Mapping[str, Any]) -> date:
    """The first day that a campaign can have touched anybody."""
    told, stamp = (campaign.get("properties") or {}).get("hs_start_date"), campaign.get("createdAt")
    return _first_day(date.fromisoformat(told[:10]) if told else None, datetime.fromisoformat(stamp) if stamp else None)


def _first_day(start: date | None, created: datetime | None) -> date:
    days = [start, None if created is None else created.astimezone(UTC).date()]
    return min((day for day in days if day is not None), default=date(2006, 1, 1))


class DatedBefore:
    """Whom campaigns had touched by the last pull."""

    def __init__(self, earlier: EarlierRecords | None, slice_days: int) -> None:
        self._slice_days = slice_days
        self._begins: dict[str, date] = {}
        read_at = None if earlier is None else earlier.read_at(Entity.CAMPAIGN_MEMBER)
        if earlier is None or read_at is None:
            return
        self._until = read_at.astimezone(UTC).date()
        for one in earlier.columns(Entity.CAMPAIGN, "id", "start_date", "created_at").to_pylist():
            self._begins[one["id"]] = min(_first_day(one["start_date"], one["created_at"]), self._until)
        members = earlier.columns(Entity.CAMPAIGN_MEMBER, "campaign_id", "contact_id", "responded_at")
        members = members.filter(pc.is_valid(members["responded_at"])).sort_by("campaign_id").combine_chunks()
        days = pc.cast(pc.cast(members["responded_at"], pa.timestamp("us", "UTC")), pa.date32())
        self._members = members.select(["contact_id"]).append_column("day", days)
        counted = members.group_by("campaign_id", use_threads=False).aggregate([([], "count_all")]).to_pylist()
        ends = accumulate((one["count_all"] for one in counted), initial=0)
        self._places = {one["campaign_id"]: (begin, one["count_all"]) for one, begin in zip(counted, ends, strict=False)}

    def of(self, guid: str) -> Dated | None:
        """One campaign's, by GUID; None where it was not there."""
        begin = self._begins.get(guid)
        if begin is None:
            return None
        some = self._members.slice(*self._places.get(guid, (0, 0)))
        days = zip(some["contact_id"].to_pylist(), some["day"].to_pylist(), strict=True)
        return Dated(begin, self._until, {contact: (day - begin).days // self._slice_days for contact, day in days})


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
