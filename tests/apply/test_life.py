"""Runs, people, undo and kills in any order, against a model of what must hold."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from file_crm import FileCrm
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from plans import apply, put

from crmbridge.journal import Journal
from crmbridge.undo import undo

PAIRS = [(opp, contact) for opp in ("o1", "o2") for contact in ("c1", "c2", "c3")]
ours = st.sampled_from(PAIRS)


class Killed(BaseException):
    """Stands for a kill: nothing of the run's own cleaning up may matter."""


class Life(RuleBasedStateMachine):
    """Persons give the role `Person`, we give `Evaluator`; so whose row it is can be seen from outside."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.crm = FileCrm(self.folder / "crm.db", writes_per_call=2)
        self.journal = self.opened()
        self.plans = 0
        self.vetoed: set[tuple[str, str]] = set()
        self.persons: set[tuple[str, str]] = set()

    def opened(self):
        journal = Journal.open(self.folder / "journal.db")
        journal._database._connection.execute("PRAGMA synchronous = OFF")
        return journal

    def present(self):
        return [row[:2] for row in self.crm.content()]

    def kill_after(self, steps, work):
        """Let the work go n steps far, then drop everything as a kill would; None never kills."""

        def tick(*_):
            nonlocal steps
            if steps is not None:
                steps -= 1
                if steps <= 0:
                    self.journal._database._connection.close()
                    raise Killed

        self.crm.tell = tick
        before = self.journal
        try:
            work(tick)
        except Killed:
            before.close()
            self.journal = self.opened()
        finally:
            self.crm.tell = lambda *_: None

    steps = st.none() | st.none() | st.integers(1, 12)

    @rule(pairs=st.lists(ours, unique=True, min_size=1), steps=steps, lost=st.booleans())
    def apply_new_plan(self, pairs, steps, lost):
        self.plans += 1
        self.lines = [put(*pair, plan=f"p{self.plans}") for pair in sorted(pairs) if pair not in self.present()]
        self.crm.lost = {line.write.key for line in self.lines[::2]} if lost else set()
        self.apply_again(steps)

    @rule(steps=steps)
    def apply_again(self, steps):
        if not self.plans:
            return
        before = set(self.present())
        plan = f"p{self.plans}"
        self.kill_after(steps, lambda tick: apply(self.crm, self.journal, self.lines, plan=plan, progress=tick))
        added = set(self.present()) - before
        assert not added & self.vetoed, "a vetoed pair was added"
        assert added <= {(line.write.opportunity_id, line.write.contact_id) for line in self.lines}

    @rule(pair=ours)
    def person_adds(self, pair):
        if pair not in self.present():
            self.crm.add(*pair, "Person")

    @rule(data=st.data())
    def person_edits(self, data):
        pair = data.draw(st.sampled_from(self.present() or PAIRS))
        self.crm.edit(*pair, "Person")

    @rule(data=st.data())
    def person_removes(self, data):
        pair = data.draw(st.sampled_from(self.present() or PAIRS))
        if self.journal.unfinished_runs():
            return  # a removal before the answer was read back looks like a write that never landed
        if pair in self.present():
            self.crm.remove(*pair)
            self.persons.discard(pair)
            role_ids = self.journal._database.rows(
                "SELECT 1 FROM own_role WHERE opportunity_id = ? AND contact_id = ? AND ended_at IS NULL", pair
            )
            if role_ids:
                self.vetoed.add(pair)

    @rule(pair=ours)
    def person_vetoes(self, pair):
        self.journal.vetoes.add([pair], source="person")
        self.vetoed.add(pair)

    @rule(steps=steps, data=st.data())
    def undo_a_run(self, steps, data):
        runs = [run for run in self.journal.runs() if run.kind == "apply"]
        if not runs:
            return
        run = data.draw(st.sampled_from(runs))
        before = set(self.present())
        self.kill_after(steps, lambda tick: undo(self.crm, self.journal, run.run_id, progress=tick))
        gone = before - set(self.present())
        self.vetoed |= gone

    @invariant()
    def nothing_is_there_twice(self):
        assert len(set(self.present())) == len(self.present())

    @invariant()
    def people_keep_what_is_theirs(self):
        persons = {row[:2] for row in self.crm.content() if row[2] == "Person"}
        assert self.persons <= persons, "a person's row was changed or removed"
        self.persons = persons

    def teardown(self):
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
