"""One call of `execute`: what is written, what is refused, and what is said about it."""

from __future__ import annotations

import pytest
from plans import apply, put

from crmbridge.apply import resume
from crmbridge.contract import Outcome, PairState, Receipt
from crmbridge.errors import CrmRefused, CrmUnavailable, DataError, WorkspaceBusy
from crmbridge.journal import Journal, Step

THREE = [put("o1", "c1"), put("o1", "c2"), put("o2", "c1")]


def test_writes_every_line_once(crm, journal):
    summary = apply(crm, journal, iter(THREE))
    assert crm.content() == [(opp, c, "Evaluator", False) for opp, c in (("o1", "c1"), ("o1", "c2"), ("o2", "c1"))]
    assert (summary.counts, summary.state, summary.refused, summary.differences) == ({"applied": 3}, "finished", (), ())


def test_empty_plan_finishes(crm, journal):
    assert apply(crm, journal, []).state == "finished"


def test_a_second_run_has_nothing_to_do(crm, journal):
    apply(crm, journal, THREE)
    again = apply(crm, journal, THREE)
    assert again.counts == {"already": 3}
    assert len(crm.content()) == 3
    assert not again.was_continued


def test_stale_lines_are_refused_one_by_one(crm, journal):
    crm.add("o1", "c1", "Decision Maker")
    summary = apply(crm, journal, [*THREE, put("locked", "c1")])
    assert summary.counts == {"applied": 2, "conflict": 1, "rejected": 1}
    assert [(r.line_id, r.outcome, r.code) for r in summary.refused] == [
        ("L-o1-c1", "conflict", None),
        ("L-locked-c1", "rejected", "LOCKED"),
    ]
    assert ("o1", "c1", "Decision Maker", False) in crm.content()


def test_a_primary_that_moved_is_a_conflict(crm, journal):
    crm.add("o1", "c9", is_primary=True)
    summary = apply(crm, journal, [put("o1", "c1", is_primary=True)])
    assert summary.counts == {"conflict": 1}


def test_vetoed_lines_are_skipped_and_named(crm, journal):
    journal.vetoes.add([("o1", "c2")], source="rejected")
    summary = apply(crm, journal, THREE)
    assert summary.counts == {"applied": 2, "vetoed": 1}
    assert [(r.contact_id, r.outcome, r.code) for r in summary.refused] == [("c2", "vetoed", "rejected")]
    assert "o1:c2" not in "".join(crm.sent)


def test_a_veto_added_while_running_counts(crm, journal, tmp_path):
    crm.writes_per_call = 2

    def veto_after_the_first_chunk(event):
        if event.step is Step.RECEIVED:
            with Journal.open(tmp_path / "journal.db") as other:
                other.vetoes.add([("o2", "c1")], source="person")

    assert apply(crm, journal, THREE, progress=veto_after_the_first_chunk).counts == {"applied": 2, "vetoed": 1}


def test_what_a_person_removed_is_not_added_by_the_same_plan_again(crm, journal):
    apply(crm, journal, THREE)
    crm.remove("o1", "c2")
    summary = apply(crm, journal, THREE)
    assert summary.counts == {"already": 2, "vetoed": 1}
    assert summary.refused[0].code == "removed"
    assert len(crm.content()) == 2


def test_a_lost_answer_is_read_back_and_not_sent_again(crm, journal):
    crm.lost = {"p:o1:c2"}
    assert apply(crm, journal, THREE).counts == {"applied": 3}
    assert len(crm.sent) == 3
    assert journal.own_role_ids().num_rows == 3


def test_a_dropped_write_is_sent_again(crm, journal):
    crm.dropped = {"p:o1:c2"}
    assert apply(crm, journal, THREE).counts == {"applied": 3}
    assert crm.sent.count("p:o1:c2") == 2
    assert len(crm.content()) == 3


def test_a_write_that_never_lands_leaves_the_run_interrupted(crm, journal):
    class Forever(set):
        def remove(self, key):
            pass

    crm.dropped = Forever({"p:o1:c2"})
    summary = apply(crm, journal, THREE)
    assert (summary.state, summary.counts) == ("interrupted", {"absent": 1, "applied": 2})
    assert crm.sent.count("p:o1:c2") == 3
    crm.dropped = set()
    again = apply(crm, journal, THREE)
    assert (again.run_id, again.was_continued, again.counts) == (summary.run_id, True, {"applied": 3})


def test_an_adapter_that_raises_before_sending_is_safe_to_run_again(crm, journal, monkeypatch):
    def unavailable(writes, *, checkpoint):
        raise CrmUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(crm, "write_roles", unavailable)
        with pytest.raises(CrmUnavailable):
            apply(crm, journal, THREE)
    (run,) = journal.runs()
    assert (run.state, run.counts, run.unsettled) == ("interrupted", {"absent": 3}, 0)
    crm.tell = lambda what: pytest.fail("read back though nothing was sent") if what == "settling" else None
    assert apply(crm, journal, THREE).counts == {"applied": 3}


@pytest.mark.parametrize("error", [CrmUnavailable("down"), RuntimeError("bug"), KeyboardInterrupt()])
def test_an_adapter_that_raises_in_the_middle_keeps_its_receipts(crm, journal, monkeypatch, error):
    real = crm.write_roles

    def breaks(writes, *, checkpoint):
        answers = real(writes, checkpoint=checkpoint)
        yield next(answers)
        next(answers)  # written, and the answer is lost
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(crm, "write_roles", breaks)
        with pytest.raises(type(error)):
            apply(crm, journal, THREE)
    (run,) = journal.runs()
    assert (run.state, run.counts, run.unsettled) == ("interrupted", {"applied": 1}, 2)
    (found,) = resume(crm, journal)
    assert found.counts == {"absent": 1, "applied": 1}
    assert resume(crm, journal) == []
    assert apply(crm, journal, THREE).counts == {"applied": 3}
    assert len(crm.content()) == 3


def test_an_adapter_that_ends_early_is_read_back(crm, journal, monkeypatch):
    real = crm.write_roles

    def short(writes, *, checkpoint):
        answers = list(real(writes, checkpoint=checkpoint))
        yield from answers[1:]

    monkeypatch.setattr(crm, "write_roles", short)
    assert apply(crm, journal, THREE).counts == {"applied": 3}
    assert len(crm.sent) == 3


@pytest.mark.parametrize("key", ["stranger", "p:o1:c1"])
def test_a_receipt_nobody_awaits_is_named(crm, journal, monkeypatch, key):
    real = crm.write_roles

    def chatty(writes, *, checkpoint):
        yield from real(writes, checkpoint=checkpoint)
        yield Receipt(key=key, outcome=Outcome.APPLIED)

    monkeypatch.setattr(crm, "write_roles", chatty)
    with pytest.raises(DataError, match=key):
        apply(crm, journal, THREE)


def test_an_applied_receipt_without_rows_is_read_back(crm, journal, monkeypatch):
    real = crm.write_roles

    def vague(writes, *, checkpoint):
        for receipt in real(writes, checkpoint=checkpoint):
            yield receipt.model_copy(update={"after": PairState()})

    monkeypatch.setattr(crm, "write_roles", vague)
    apply(crm, journal, THREE)
    assert journal.own_role_ids().num_rows == 3


def test_two_writes_with_one_key_are_refused(crm, journal):
    with pytest.raises(DataError, match="one key"):
        apply(crm, journal, [put("o1", "c1"), put("o1", "c1")])


def test_a_read_only_connection_is_refused(crm, journal):
    crm.can_write = False
    with pytest.raises(CrmRefused):
        apply(crm, journal, THREE)
    assert journal.runs() == []


def test_opportunities_are_not_split_over_calls(crm, journal, monkeypatch):
    calls = []
    real = crm.write_roles

    def watched(writes, *, checkpoint):
        calls.append([write.opportunity_id for write in writes])
        return real(writes, checkpoint=checkpoint)

    monkeypatch.setattr(crm, "write_roles", watched)
    sizes = {"a": 3, "b": 2, "c": 9, "d": 1}
    apply(crm, journal, [put(opp, f"c{n}") for opp, size in sizes.items() for n in range(size)])
    assert calls == [["a"] * 3, ["b"] * 2, ["c"] * 4, ["c"] * 4, ["c", "d"]]


def test_progress_tells_each_durable_step(crm, journal):
    crm.in_bulk = True
    crm.lost = {"p:o1:c1"}
    events = []
    apply(crm, journal, THREE, progress=events.append)
    assert [(event.step.value, event.lines, event.done) for event in events] == [
        ("opened", 0, 0),
        ("intended", 3, 0),
        ("checkpointed", 3, 0),
        ("received", 3, 2),
        ("settled", 1, 3),
        ("finished", 0, 3),
    ]


def test_read_back_tells_what_a_trigger_changed(crm, journal):
    crm.by_hand("CREATE TRIGGER t AFTER INSERT ON role BEGIN UPDATE role SET is_primary = 0 WHERE id < new.id; END")
    lines = [put("o1", "c1", is_primary=True), put("o1", "c2"), put("o2", "c1")]
    summary = apply(crm, journal, lines)
    assert [(d.line_id, d.what) for d in summary.differences] == [("L-o1-c1", "changed"), ("L-o1-c2", "primary")]


def test_read_back_tells_what_vanished(crm, journal):
    def vanish(event):
        if event.step is Step.RECEIVED:
            crm.remove("o1", "c2")

    assert [(d.line_id, d.what) for d in apply(crm, journal, THREE, progress=vanish).differences] == [("L-o1-c2", "missing")]


def test_another_plan_settles_an_interrupted_run_first(crm, journal, monkeypatch):
    def dies(writes, *, checkpoint):
        crm._write(writes[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(crm, "write_roles", dies)
        with pytest.raises(KeyboardInterrupt):
            apply(crm, journal, THREE)
    apply(crm, journal, [put("o1", "c1", plan="q")], plan="q")
    new, old = journal.runs()
    assert new.counts == {"already": 1}
    assert (old.state, old.counts, old.unsettled) == ("interrupted", {"absent": 2, "applied": 1}, 0)


def test_two_runs_at_once_are_kept_apart(crm, journal, tmp_path):
    def second(event):
        with Journal.open(tmp_path / "journal.db") as other, pytest.raises(WorkspaceBusy):
            apply(crm, other, THREE)

    apply(crm, journal, THREE, progress=second)
    assert len(journal.runs()) == 1
