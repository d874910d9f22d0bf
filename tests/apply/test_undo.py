"""Undo takes back what we wrote and nothing else."""

from __future__ import annotations

import pytest
from plans import apply, put

from crmbridge.errors import CrmUnavailable, WorkspaceError
from crmbridge.undo import inverse, undo

THREE = [put("o1", "c1", is_primary=True), put("o1", "c2"), put("o2", "c1")]


def vetoed(journal):
    return [(row["opportunity_id"], row["contact_id"], row["source"]) for row in journal.vetoes.active().to_pylist()]


def test_undo_restores_the_crm_and_vetoes(crm, journal):
    crm.add("o1", "c2", "Evaluator")  # already there: not ours, not touched
    before = crm.content()
    run_id = apply(crm, journal, THREE).run_id
    summary = undo(crm, journal, run_id[:-1])
    assert crm.content() == before
    assert (summary.counts, summary.differences, summary.kind) == ({"applied": 2}, (), "undo")
    assert vetoed(journal) == [("o1", "c1", "undone"), ("o2", "c1", "undone")]
    assert journal.own_role_ids().num_rows == 0
    assert apply(crm, journal, THREE).counts == {"already": 1, "vetoed": 2}


def test_a_persons_edit_survives(crm, journal):
    run_id = apply(crm, journal, THREE).run_id
    crm.edit("o1", "c2", "Decision Maker")
    crm.remove("o2", "c1")
    summary = undo(crm, journal, run_id)
    assert summary.counts == {"already": 1, "applied": 1, "conflict": 1}
    assert [refused.line_id for refused in summary.refused] == ["L-o1-c2"]
    assert crm.content() == [("o1", "c2", "Decision Maker", False)]


def test_a_row_a_person_added_beside_ours_survives(crm, journal):
    run_id = apply(crm, journal, THREE[2:]).run_id
    crm.add("o2", "c1", "Influencer")
    assert undo(crm, journal, run_id).counts == {"conflict": 1}
    assert len(crm.content()) == 2


def test_undoing_twice_finds_nothing_to_do(crm, journal):
    run_id = apply(crm, journal, THREE).run_id
    undo(crm, journal, run_id)
    assert undo(crm, journal, run_id).counts == {"already": 3}


def test_undoing_an_undo_puts_back_and_lifts_its_vetoes(crm, journal):
    run_id = apply(crm, journal, THREE).run_id
    applied = crm.content()
    undone = undo(crm, journal, run_id).run_id
    assert undo(crm, journal, undone).counts == {"applied": 3}
    assert crm.content() == applied
    assert vetoed(journal) == []
    assert journal.own_role_ids().num_rows == 3
    again = undo(crm, journal, journal.runs()[0].run_id)
    assert (again.counts, crm.content()) == ({"applied": 3}, [])


def test_undoing_an_undo_does_not_beat_a_persons_veto(crm, journal):
    run_id = apply(crm, journal, THREE).run_id
    undone = undo(crm, journal, run_id).run_id
    journal.vetoes.add([("o1", "c2")], source="person")
    assert undo(crm, journal, undone).counts == {"applied": 2, "vetoed": 1}


def test_undoing_an_unfinished_run_abandons_it(crm, journal, monkeypatch):
    real = crm.write_roles

    def breaks(writes, *, checkpoint):
        answers = real(writes, checkpoint=checkpoint)
        yield next(answers)
        next(answers)
        raise CrmUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(crm, "write_roles", breaks)
        with pytest.raises(CrmUnavailable):
            apply(crm, journal, THREE)
    (run,) = journal.runs()
    with pytest.raises(WorkspaceError, match="2 lines"):
        inverse(journal, run.run_id)
    assert undo(crm, journal, run.run_id).counts == {"applied": 2}
    assert crm.content() == []
    assert [run.state for run in journal.runs()] == ["finished", "abandoned"]
    assert apply(crm, journal, THREE).counts == {"applied": 1, "vetoed": 2}


def test_lifted_lines_may_be_added_again(crm, journal):
    run_id = apply(crm, journal, THREE).run_id
    undo(crm, journal, run_id)
    assert journal.vetoes.lift([("o1", "c2"), ("o9", "c9")]) == 1
    assert apply(crm, journal, THREE).counts == {"applied": 1, "vetoed": 2}


def test_a_run_that_does_not_exist_is_named(crm, journal):
    run_id = apply(crm, journal, THREE).run_id
    with pytest.raises(WorkspaceError, match=f"'1999'(.|\n)*{run_id}"):
        undo(crm, journal, "1999")
