"""The local columnar store: pulls, merges, people and data-quality findings, in one DuckDB file per workspace."""

from crmbridge.snapshot.earlier import WhyFull
from crmbridge.snapshot.findings import Finding
from crmbridge.snapshot.frames import RESOLVED, Frames, frames_from_tables, frames_over
from crmbridge.snapshot.pull import (
    EntityDone,
    EntityRead,
    EntityStarted,
    PullDone,
    PullEvent,
    PullSummary,
    Resolving,
    RowsRead,
    pull,
)
from crmbridge.snapshot.store import Snapshot, SnapshotMeta

__all__ = [
    "RESOLVED",
    "EntityDone",
    "EntityRead",
    "EntityStarted",
    "Finding",
    "Frames",
    "PullDone",
    "PullEvent",
    "PullSummary",
    "Resolving",
    "RowsRead",
    "Snapshot",
    "SnapshotMeta",
    "WhyFull",
    "frames_from_tables",
    "frames_over",
    "pull",
]
