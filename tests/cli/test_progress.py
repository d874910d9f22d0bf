"""What a log says of a long run: a line now and then, and a last one that is right."""

import pytest

from crmbridge.cli.progress import Listener, _Lines
from crmbridge.journal import Progress, Step


class Noted:
    """A console that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def note(self, line):
        self.lines.append(line)


def told(*events):
    console, clock = Noted(), iter(range(0, 1_000, 2))
    listener = Listener(_Lines(console, lambda: next(clock)))
    for event in events:
        listener.on_event(event)
    return console.lines


def settled(step, done):
    return Progress(step, "run", 1, done)


@pytest.mark.parametrize("lines", [1, 4, 40])
def test_the_last_line_of_a_run_tells_of_all_roles(lines):
    steps = [settled(Step.RECEIVED, number + 1) for number in range(lines)]
    said = told(settled(Step.OPENED, 0), *steps, settled(Step.FINISHED, lines))
    assert said[-1] == f"roles settled: {lines}"
    assert len(said) <= 1 + lines // 3 + 1


def test_a_run_with_nothing_to_do_says_nothing():
    assert told(settled(Step.OPENED, 0), settled(Step.FINISHED, 0)) == []
