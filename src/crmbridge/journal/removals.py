"""Seeing that a person removed what we wrote: such a pair is vetoed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from datetime import datetime

    from crmbridge.journal.store import Journal


def observe_removals(
    journal: Journal,
    *,
    present_pairs: pa.Table,
    live_opportunity_ids: pa.Array | pa.ChunkedArray,
    live_contact_ids: pa.Array | pa.ChunkedArray,
    pulled_at: datetime,
) -> int:
    """Veto every pair whose role we wrote, did not take back, and no longer find. Only for a COMPLETE pull.

    Args:
        journal: whose own roles to look for.
        present_pairs: columns opportunity_id and contact_id of every role in the pull, any order; a pair that is
            present under another row id was not removed.
        live_opportunity_ids: opportunities in the pull, none deleted. Absence elsewhere tells nothing.
        live_contact_ids: contacts in the pull, none deleted, none merged into another.
        pulled_at: aware time at which the pull began; roles written later cannot be in it.

    Returns:
        How many pairs were vetoed now; 0 when called again with the same pull.
    """
    own = journal.own_pairs(written_before=pulled_at)
    present = present_pairs.select(["opportunity_id", "contact_id"]).cast(own.schema)
    removed = (
        own.join(present, ["opportunity_id", "contact_id"], join_type="left anti")
        .join(_column("opportunity_id", live_opportunity_ids), "opportunity_id", join_type="left semi")
        .join(_column("contact_id", live_contact_ids), "contact_id", join_type="left semi")
        .sort_by([("opportunity_id", "ascending"), ("contact_id", "ascending")])
    )
    pairs = zip(removed["opportunity_id"].to_pylist(), removed["contact_id"].to_pylist(), strict=True)
    return journal.record_removals(list(pairs))


def _column(name: str, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    return pa.table({name: ids.cast(pa.string())})
