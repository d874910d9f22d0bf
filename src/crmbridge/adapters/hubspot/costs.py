"""About how many API calls the next pulls take: in full, and by what changed in the last day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from crmbridge.adapters.hubspot.kinds import ACTIVITIES, COMPANIES, CONTACTS, DEALS, KINDS, LEADS
from crmbridge.adapters.hubspot.reader import LINKS_PER_CALL, OVERLAP, PAGE, SEARCH_PAGE
from crmbridge.errors import CrmBridgeError

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.adapters.hubspot.kinds import Kind
    from crmbridge.adapters.hubspot.portal import Portal
    from crmbridge.adapters.hubspot.touches import TouchCalls

_ALWAYS = 16
"""What the token may read (11), owners (2), labels, pipelines, the portal's time zone."""


@dataclass(frozen=True)
class Costs:
    """Calls of a pull in full, and of a nightly one."""

    whole: int
    nightly: int


def costs(connection: Connection, portal: Portal, touches: TouchCalls) -> Costs | None:
    """Ask HubSpot how much there is; None where it does not say.

    Args:
        connection: to ask over.
        portal: what may be read.
        touches: calls for campaigns.
    """
    kinds = [kind for kind in (DEALS, CONTACTS, COMPANIES, LEADS, *ACTIVITIES) if portal.has(kind.name)]
    sizes = {kind.name: count(connection, kind.name) for kind in kinds}
    changed = {kind.name: count(connection, kind.name, _lately(connection, kind)) for kind in kinds}
    if None in {*sizes.values(), *changed.values()}:
        return None
    roles = _ALWAYS + _pages(sizes.get(DEALS.name) or 0, LINKS_PER_CALL)
    listed = sum(_pages(size or 0, PAGE) for size in sizes.values())
    looked_up = changed if connection.options.links_stay else sizes
    searched = sum(_of_changes(KINDS[name], number or 0, looked_up[name] or 0) for name, number in changed.items())
    return Costs(roles + listed + touches.whole, roles + searched + touches.nightly)


def count(connection: Connection, kind: str, *filters: Mapping[str, str]) -> int | None:
    """How many records there are that fit; None where HubSpot does not say."""
    groups = [{"filters": list(filters)}] if filters else []
    body = {"filterGroups": groups, "properties": [], "limit": 1}
    try:
        return int(connection.ask("POST", connection.paths.search(kind), body=body)["total"])
    except (CrmBridgeError, KeyError, TypeError, ValueError):
        return None


def _lately(connection: Connection, kind: Kind) -> dict[str, str]:
    start = datetime.now(UTC) - timedelta(days=1, seconds=connection.options.index_lag_s) - 2 * OVERLAP
    return {"propertyName": kind.stamp, "operator": "GTE", "value": str(int(start.timestamp() * 1000))}


def _of_changes(kind: Kind, changed: int, looked_up: int) -> int:
    """Pages of a search, links of what it finds or of everything, and the archive."""
    return _pages(changed, SEARCH_PAGE) + len(kind.links) * -(-looked_up // LINKS_PER_CALL) + 1


def _pages(rows: int, size: int) -> int:
    return max(-(-rows // size), 1)
