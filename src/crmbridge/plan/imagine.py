"""A plan's roles as if they were there already: what attribution imagines."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from crmbridge.attribution.attribute import Planned
from crmbridge.plan.file import Plan
from crmbridge.plan.standing import keyed
from crmbridge.snapshot import Snapshot

_COLUMNS = ["opportunity_id", "contact_id", "role", "confidence"]


def imagined(snapshot: Snapshot, plan: Plan) -> Planned:
    """Lay a plan's lines over the snapshot; temporary tables of its connection.

    Where the candidates beside the plan are gone, nobody knows what a confidence would be without campaign evidence; it is null.
    """
    lines = keyed(snapshot, plan.table().select(_COLUMNS), "imagined_lines")
    candidates = _candidates(snapshot, plan)
    if candidates is not None:
        lines = lines.join(candidates, on=["opportunity_id", "contact_id"], how="left")
    else:
        lines = lines.with_columns(confidence_without_campaign=nw.lit(None, nw.Float64))
    roles = lines.select("opportunity_key", "person_key", "role", "confidence", "confidence_without_campaign")
    return Planned(plan.id, plan.header.policy.threshold, roles)


def _candidates(snapshot: Snapshot, plan: Plan) -> nw.LazyFrame[Any] | None:
    if not plan.candidates_path.is_file():
        return None
    found = nw.from_native(snapshot.connection.read_parquet(str(plan.candidates_path)))
    return found.select("opportunity_id", "contact_id", "confidence_without_campaign")
