"""Killed at every single step and run again: the end is the same as that of an undisturbed run."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from functools import partial

import pytest
from file_crm import FileCrm
from plans import apply, put

from crmbridge.journal import Journal
from crmbridge.undo import undo

MODES = pytest.mark.parametrize("in_bulk", [False, True], ids=["one by one", "in bulk"])
PLAN = [
    put("o1", "c1", is_primary=True),
    put("o1", "c2", "User"),
    put("o2", "c1"),  # there already
    put("o2", "c2"),
    put("o3", "c1"),  # a person gave another role
    put("o3", "c2"),  # vetoed
    put("o3", "c3"),  # the answer is lost
    put("locked", "c1"),
    put("o4", "c1"),
]


@contextmanager
def unsynced(folder):
    # a killed process, unlike a power cut, loses nothing that was not synced; syncing is tested with the journal
    with Journal.open(folder / "journal.db") as journal:
        journal._database._connection.execute("PRAGMA synchronous = OFF")
        yield journal


def world(folder, *, in_bulk):
    folder.mkdir()
    crm = FileCrm(folder / "crm.db", writes_per_call=3, in_bulk=in_bulk)
    crm.add("o2", "c1", "Evaluator")
    crm.add("o3", "c1", "Decision Maker")
    with unsynced(folder) as journal:
        journal.vetoes.add([("o3", "c2")], source="person")
    return crm


def apply_plan(folder, *, in_bulk, tick=lambda *_: None, at_statements=False):
    crm = FileCrm(folder / "crm.db", writes_per_call=3, in_bulk=in_bulk)
    crm.lost = {"p:o3:c3"}
    crm.tell = tick
    with unsynced(folder) as journal:
        if at_statements:
            journal._database._connection.set_trace_callback(tick)
        return apply(crm, journal, PLAN, progress=tick)


def undo_all(folder, *, in_bulk, tick=lambda *_: None):
    crm = FileCrm(folder / "crm.db", writes_per_call=3, in_bulk=in_bulk)
    crm.tell = tick
    with unsynced(folder) as journal:
        first = journal.runs()[-1].run_id
        return undo(crm, journal, first, progress=tick)


def redo(folder, *, in_bulk, tick=lambda *_: None):
    crm = FileCrm(folder / "crm.db", writes_per_call=3, in_bulk=in_bulk)
    crm.tell = tick
    with unsynced(folder) as journal:
        undone = next(run.run_id for run in reversed(journal.runs()) if run.kind == "undo")
        return undo(crm, journal, undone, progress=tick)


def killed(work, folder, *, in_bulk, step):
    """Run in another process that dies at its n-th step; tells whether it lived that long."""

    def tick(*_):
        nonlocal step
        step -= 1
        if step == 0:
            os._exit(9)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside Arrow's threads, which the child never uses
        child = os.fork()
    if child == 0:
        try:
            work(folder, in_bulk=in_bulk, tick=tick)
        finally:
            os._exit(0 if step > 0 else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def look(folder):
    """All that must be the same in the end: the CRM, the journal's outcomes, what is ours, what is vetoed."""
    with unsynced(folder) as journal:
        runs = [(run.kind, run.state, run.counts, run.unsettled) for run in journal.runs()]
        vetoes = journal.vetoes.active().select(["opportunity_id", "contact_id", "source"]).to_pylist()
        own_count = journal.own_role_ids().num_rows
    return FileCrm(folder / "crm.db").content(), runs, vetoes, own_count


def after_a_kill_at_every_step(tmp_path, works, *, in_bulk):
    """Do all works but the last undisturbed; kill the last at step n and do it again, for every n."""
    *before, last = works
    step, was_killed = 0, True
    while was_killed:
        step += 1
        folder = tmp_path / str(step)
        world(folder, in_bulk=in_bulk)
        for work in before:
            work(folder, in_bulk=in_bulk)
        was_killed = killed(last, folder, in_bulk=in_bulk, step=step)
        last(folder, in_bulk=in_bulk)
        yield step, look(folder)


@pytest.mark.parametrize(
    ("works", "in_bulk"),
    [
        pytest.param((apply_plan,), True, id="apply in bulk"),
        pytest.param((apply_plan,), False, id="apply one by one", marks=pytest.mark.slow),
        pytest.param((apply_plan, undo_all), True, id="undo in bulk", marks=pytest.mark.slow),
        pytest.param((apply_plan, undo_all), False, id="undo one by one"),
        pytest.param((apply_plan, undo_all, redo), True, id="redo in bulk", marks=pytest.mark.slow),
        pytest.param((apply_plan, undo_all, redo), False, id="redo one by one"),
    ],
)
def test_killed_anywhere_ends_like_undisturbed(tmp_path, works, in_bulk):
    world(tmp_path / "undisturbed", in_bulk=in_bulk)
    for work in works:
        work(tmp_path / "undisturbed", in_bulk=in_bulk)
    content, runs, vetoes, own_count = look(tmp_path / "undisturbed")
    steps = 0
    for step, found in after_a_kill_at_every_step(tmp_path, works, in_bulk=in_bulk):
        steps = step
        assert found[0] == content, f"killed at step {step}"
        assert found[2:] == (vetoes, own_count), f"killed at step {step}"
        # killed after `finished`, the last work began a run of its own that had nothing to do
        assert found[1][-len(runs) :] == runs, f"killed at step {step}"
        assert all(state == "finished" and not unsettled for _, state, _, unsettled in found[1])
    assert steps > 12


@pytest.mark.slow
def test_killed_at_every_statement_of_the_journal_ends_like_undisturbed(tmp_path):
    world(tmp_path / "undisturbed", in_bulk=True)
    apply_plan(tmp_path / "undisturbed", in_bulk=True)
    content, runs, *rest = look(tmp_path / "undisturbed")
    work = partial(apply_plan, at_statements=True)
    steps = 0
    for step, found in after_a_kill_at_every_step(tmp_path, (work,), in_bulk=True):
        steps = step
        assert (found[0], list(found[2:])) == (content, rest), f"killed at step {step}"
        assert found[1][-1:] == runs, f"killed at step {step}"
    assert steps > 100


@MODES
def test_killed_twice_ends_like_undisturbed(tmp_path, in_bulk):
    world(tmp_path / "undisturbed", in_bulk=in_bulk)
    apply_plan(tmp_path / "undisturbed", in_bulk=in_bulk)
    for first, second in [(3, 2), (5, 4), (9, 3), (12, 1), (13, 2)]:
        folder = tmp_path / f"{first}-{second}"
        world(folder, in_bulk=in_bulk)
        assert killed(apply_plan, folder, in_bulk=in_bulk, step=first)
        assert killed(apply_plan, folder, in_bulk=in_bulk, step=second)
        apply_plan(folder, in_bulk=in_bulk)
        assert look(folder) == look(tmp_path / "undisturbed")


@MODES
def test_what_was_there_before_a_killed_send_is_not_taken_back(tmp_path, in_bulk):
    """Killed after the intents, before the send: what a person had added since the plan must not pass for ours."""
    crm = world(tmp_path / "w", in_bulk=in_bulk)
    crm.add("o1", "c2", "User")
    assert killed(apply_plan, tmp_path / "w", in_bulk=in_bulk, step=2)  # opened, intended
    apply_plan(tmp_path / "w", in_bulk=in_bulk)
    undo_all(tmp_path / "w", in_bulk=in_bulk)
    assert ("o1", "c2", "User", False) in crm.content()


@pytest.mark.parametrize("kept_bytes", [0, 40, 5_000, 30_000])
def test_a_torn_journal_tail_opens_and_nothing_is_written_twice(tmp_path, kept_bytes):
    world(tmp_path / "undisturbed", in_bulk=False)
    apply_plan(tmp_path / "undisturbed", in_bulk=False)
    folder = tmp_path / "torn"
    world(folder, in_bulk=False)
    assert killed(apply_plan, folder, in_bulk=False, step=12)
    wal = folder / "journal.db-wal"
    assert wal.stat().st_size > kept_bytes
    os.truncate(wal, kept_bytes)
    apply_plan(folder, in_bulk=False)
    assert FileCrm(folder / "crm.db").content() == FileCrm(tmp_path / "undisturbed" / "crm.db").content()
