"""Undo is a plan of inverse writes that expect what we wrote: where a person changed it since, theirs stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crmbridge.apply import ProgressCallback, execute, resume
from crmbridge.contract import Adapter, PairState, Receipt, RoleWrite
from crmbridge.errors import WorkspaceError
from crmbridge.journal import Journal, PlannedWrite, RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator


def undo(adapter: Adapter, journal: Journal, run_id: str, *, progress: ProgressCallback = lambda _: None) -> RunSummary:
    """Take back what a run wrote, and veto it; undoing an undo puts it back, and lifts those vetoes.

    What had been there already is not touched; what a person changed since ends in `conflict` and stays. Undoing the
    same run again carries on where it was killed, and finds nothing to do once it is finished.

    Args:
        adapter: an open CRM.
        journal: its workspace's journal.
        run_id: the run, or the beginning of its id.
        progress: called after each durable step.

    Raises:
        WorkspaceError: no such run, or an answer is still lost; WorkspaceBusy where another run writes.
        CrmBridgeError: whatever the adapter raises; run the same undo again.
    """
    undone = journal.run(run_id).run_id
    resume(adapter, journal, progress=progress)
    return execute(
        adapter,
        journal,
        inverse(journal, undone),
        kind="undo",
        plan_id=f"undo-{undone}",
        plan_hash=f"undo-{undone}",
        undoes_run_id=undone,
        progress=progress,
    )


def inverse(journal: Journal, run_id: str) -> Iterator[PlannedWrite]:
    """The writes that take back what a run wrote, one per applied line, in the run's order; read as a stream.

    Raises:
        WorkspaceError: no such run, or it has lines that may have been sent and whose outcome is not known.
    """
    run = journal.run(run_id)
    if run.unsettled:
        raise WorkspaceError(
            f"Run {run.run_id} has {run.unsettled} lines whose outcome is not known yet.",
            hint="run the same command again once the CRM answers",
        )
    return (_inverse_line(run.run_id, line, receipt) for line, receipt in journal.applied(run.run_id))


def _inverse_line(run_id: str, line: PlannedWrite, receipt: Receipt) -> PlannedWrite:
    write = line.write
    key = f"undo:{run_id}:{write.key}"
    pair = {"opportunity_id": write.opportunity_id, "contact_id": write.contact_id}
    if write.action == "put":
        back = RoleWrite(key=key, action="remove", expected=receipt.after, **pair)
    else:
        (row, *_) = receipt.before.rows
        back = RoleWrite(
            key=key,
            action="put",
            role=row.role,
            is_primary=row.is_primary,
            expected=PairState(primary_contact_id=receipt.after.primary_contact_id),
            **pair,
        )
    return PlannedWrite(line_id=line.line_id, write=back)
