"""Owners: colleagues, also those who have left. Their `id` is what records hold, not their `userId`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.paths import OWNERS
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection

_PAGE = 100


def owners(connection: Connection) -> Iterator[pa.RecordBatch]:
    """Give all owners; raises like `Connection.ask`."""
    for is_archived in (False, True):
        for page in connection.pages(OWNERS, {"limit": _PAGE, "archived": is_archived}):
            if found := page["results"]:
                yield _batch(found, is_active="false" if is_archived else "true")


def _batch(found: list[dict[str, Any]], *, is_active: str) -> pa.RecordBatch:
    texts: dict[str, list[str | None]] = {
        "id": [str(one["id"]) for one in found],
        "name": [" ".join(part for part in (one.get("firstName"), one.get("lastName")) if part) or None for one in found],
        "email": [one.get("email") or None for one in found],
        "team": [_team(one.get("teams") or []) for one in found],
        "is_active": [is_active] * len(found),
        "modified_at": [one.get("updatedAt") for one in found],
    }
    return canonical(Entity.USER, texts, len(found))


def _team(teams: list[dict[str, Any]]) -> str | None:
    """The primary team, else the first."""
    ordered = sorted(teams, key=lambda team: not team.get("primary"))
    return str(ordered[0]["name"]) if ordered else None
