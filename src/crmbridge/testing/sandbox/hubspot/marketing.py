"""Campaigns over HTTP: what they cost, whom their reports name between two days, who is in their lists."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any
from urllib.parse import quote

from crmbridge.testing.sandbox.hubspot.store import Store
from crmbridge.testing.sandbox.hubspot.wire import Call, Reply, bad_request, not_found

MOST_CAMPAIGNS, MOST_CONTACTS, MOST_MEMBERS = 100, 100, 250
_PROPERTIES = frozenset(
    [
        "hs_name",
        "hs_start_date",
        "hs_end_date",
        "hs_campaign_status",
        "hs_notes",
        "hs_audience",
        "hs_goal",
        "hs_owner",
        "hs_currency_code",
        "hs_utm",
        "hs_color_hex",
        "hs_object_id",
        "hs_created_by_user_id",
        "hs_business_unit_ids",
        "hs_budget_items_sum_amount",
        "hs_spend_items_sum_amount",
    ]
)


class Marketing:
    """Answers about campaigns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def campaigns(self, call: Call) -> Reply:
        """A page of campaigns, in the order of their GUIDs; blank properties are left out."""
        names = [name for name in call.query.get("properties", "").split(",") if name]
        if unknown := sorted(set(names) - _PROPERTIES):
            raise bad_request(f"unknown properties: {', '.join(unknown)}")
        told = [
            {
                **one,
                "properties": {name: text for name, text in one["properties"].items() if name in names},
                "businessUnits": [{"id": 0}],
            }
            for _, one in sorted(self._store.campaigns.items())
        ]
        return _page(told, call, MOST_CAMPAIGNS, total=len(told))

    def part(self, call: Call, guid: str, part: str) -> Reply:
        """A part of one campaign."""
        if guid not in self._store.campaigns:
            raise not_found()
        if part == "budget/totals":
            return self._budget(guid)
        if part == "assets/OBJECT_LIST":
            return _page([{"id": one, "name": f"List {one}"} for one in self._store.assets[guid]], call, MOST_CAMPAIGNS)
        if part.startswith("reports/contacts/"):
            return self._report(call, guid, part.rpartition("/")[2])
        raise not_found()

    def members(self, call: Call, list_id: str) -> Reply:
        """A page of a list's members."""
        if list_id not in self._store.members and all(list_id not in lists for lists in self._store.assets.values()):
            raise not_found()
        told = [{"recordId": contact, "membershipTimestamp": joined} for contact, joined in self._store.members[list_id]]
        return _page(told, call, MOST_MEMBERS)

    def _budget(self, guid: str) -> Reply:
        told = self._store.campaigns[guid]["properties"]
        budget, spent = (float(told.get(name) or 0) for name in ("hs_budget_items_sum_amount", "hs_spend_items_sum_amount"))
        body = {
            "budgetTotal": budget,
            "spendTotal": spent,
            "remainingBudget": budget - spent,
            "budgetItems": [],
            "spendItems": [],
        }
        return Reply(200, body | {"currencyCode": told.get("hs_currency_code")})

    def _report(self, call: Call, guid: str, report: str) -> Reply:
        if report not in ("influencedContacts", "contactFirstTouch", "contactLastTouch"):
            raise not_found()
        start, end = call.query.get("startDate", "0000-00-00"), call.query.get("endDate", "9999-99-99")
        found = sorted({contact for day, contact in self._store.responses[guid, report] if start <= day <= end}, key=int)
        return _page([{"id": contact} for contact in found], call, MOST_CONTACTS)


def _page(told: list[dict[str, Any]], call: Call, most: int, **more: object) -> Reply:
    limit, after = int(call.query.get("limit", str(most))), _place(call.query.get("after"))
    if not 0 < limit <= most:
        raise bad_request(f"limit must be between 1 and {most}")
    body: dict[str, Any] = {**more, "results": told[after : after + limit]}
    if after + limit < len(told):
        cursor = _cursor(after + limit)
        body["paging"] = {"next": {"after": cursor, "link": f"https://api.hubapi.com{call.path}?after={cursor}"}}
    return Reply(200, body)


def _cursor(place: int) -> str:
    """Where the next page begins, as it stands in the link to it: encoded for an address."""
    return quote(b64encode(str(place).encode()).decode(), safe="")


def _place(cursor: str | None) -> int:
    """Read a cursor, which the address has decoded by now.

    Raises:
        ValueError: it is none; encoded twice it is none, either.
    """
    return 0 if cursor is None else int(b64decode(cursor, validate=True))
