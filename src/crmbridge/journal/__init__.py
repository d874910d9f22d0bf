"""The journal of a workspace: durable intents and receipts, what is ours, and vetoes. See `Journal`."""

from crmbridge.journal.records import (
    FINAL_OUTCOMES,
    VETOED,
    Difference,
    PlannedWrite,
    Progress,
    Refused,
    Run,
    RunKind,
    RunState,
    RunSummary,
    Settled,
    Step,
    VetoSource,
)
from crmbridge.journal.removals import observe_removals
from crmbridge.journal.store import Journal
from crmbridge.journal.vetoes import Vetoes

__all__ = [
    "FINAL_OUTCOMES",
    "VETOED",
    "Difference",
    "Journal",
    "PlannedWrite",
    "Progress",
    "Refused",
    "Run",
    "RunKind",
    "RunState",
    "RunSummary",
    "Settled",
    "Step",
    "VetoSource",
    "Vetoes",
    "observe_removals",
]
