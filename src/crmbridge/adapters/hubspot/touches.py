"""Marketing campaigns, and whom they touched: HubSpot keeps no history of it, so it is put together from what it does tell.

A campaign's reports name the contacts that responded between two days, without moments: the whole time is asked for first, and
halved only where somebody is in it. Lists that are assets of the campaign name those who were addressed, to the second. A touch
says how its date was come by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.failures import Refusal
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
_CAMPAIGN = {
    "name": "hs_name",
    "status": "hs_campaign_status",
    "start_date": "hs_start_date",
    "end_date": "hs_end_date",
    "actual_cost": "hs_spend_items_sum_amount",
    "budgeted_cost": "hs_budget_items_sum_amount",
    "owner_id": "hs_owner",
}


class Touches:
    """Reads campaigns and their members over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.options

    def campaigns(self) -> Iterator[pa.RecordBatch]:
        """Give all campaigns, by their GUIDs."""
        for found in self._pages():
            properties = [one.get("properties") or {} for one in found]
            texts = {ours: [told.get(theirs) or None for told in properties] for ours, theirs in _CAMPAIGN.items()}
            texts["id"] = [str(one["id"]) for one in found]
            texts["currency"] = [told.get("hs_currency_code") or self._options.currency for told in properties]
            texts["created_at"] = [one.get("createdAt") for one in found]
            texts["modified_at"] = [one.get("updatedAt") for one in found]
            yield canonical(Entity.CAMPAIGN, texts, len(found))

    def members(self, today: date) -> Iterator[pa.RecordBatch]:
        """Give whom each campaign touched, by contact; everything up to a day."""
        for found in self._pages():
            for campaign in found:
                rows = self._members_of(campaign, today)
                if rows:
                    yield _batch(str(campaign["id"]), rows)

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        query = {"limit": _PAGE, "properties": ",".join(_PROPERTIES)}
        for page in self._connection.pages(self._connection.paths.campaigns, query):
            if page["results"]:
                yield page["results"]

    def _members_of(self, campaign: Mapping[str, Any], today: date) -> dict[str, tuple[date | None, str | None]]:
        """Contact -> day of the response, moment of joining a list."""
        guid = str(campaign["id"])
        responded = self._responses(guid, _begin(campaign), today) if TouchSource.REPORTS in self._options.touch_sources else {}
        joined = self._joined(guid) if TouchSource.LISTS in self._options.touch_sources else {}
        return {contact: (responded.get(contact), joined.get(contact)) for contact in sorted({*responded, *joined})}

    def _responses(self, guid: str, start: date, end: date) -> dict[str, date]:
        days: dict[str, date] = {}
        for report in REPORTS:
            found = self._touched(guid, report, start, end)
            if found - days.keys():
                self._slice(guid, report, (start, end), found, days)
        return days

    def _slice(self, guid: str, report: str, span: tuple[date, date], found: set[str], days: dict[str, date]) -> None:
        """Date contacts of which it is known that they are in a span: by halves, the earlier one first, then no question more."""
        start, end = span
        if (end - start).days < self._options.touch_slice_days:
            # The last day of the slice: no touch is dated before it happened.
            days.update({contact: end for contact in found if contact not in days})
            return
        middle = start + (end - start) // 2
        early = self._touched(guid, report, start, middle)
        if early:
            self._slice(guid, report, (start, middle), early & found, days)
        if late := found - early:
            self._slice(guid, report, (middle + timedelta(days=1), end), late, days)

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
