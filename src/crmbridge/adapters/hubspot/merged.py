"""Ids that were merged away. HubSpot follows them: what is meant for a pair of the old id lands on a pair of the survivor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from crmbridge.adapters.hubspot.kinds import MERGED

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection

MERGED_AWAY = "MERGED_AWAY"
"""The code of a write to an id that lives on in another: the next plan names that one."""

_READ_PER_CALL = 100


def survivors(connection: Connection, kind: str, ids: Iterable[str]) -> dict[str, str]:
    """Give those of these ids that live on in another record, and in which; raises like `Connection.ask`."""
    found: dict[str, str] = {}
    asked = list(dict.fromkeys(ids))
    for start in range(0, len(asked), _READ_PER_CALL):
        part = asked[start : start + _READ_PER_CALL]
        body = {"inputs": [{"id": one} for one in part], "properties": [MERGED]}
        for record in connection.ask("POST", connection.paths.batch_read(kind), body=body)["results"]:
            gone = str((record.get("properties") or {}).get(MERGED) or "").split(";")
            found |= {one: str(record["id"]) for one in gone if one in part}
    return found
