"""Responses are dated to their first slice of days, whatever else was, by fewer questions the more campaigns were seen."""

import random

from hypothesis import given
from hypothesis import strategies as st

from crmbridge.adapters.hubspot.dating import Dating, Run

RESPONSES = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 30)), max_size=20)


def asking(responses, questions):
    """What HubSpot answers: who responded between two slices."""

    def asked(first, last):
        questions.append((first, last))
        return {contact for contact, number in responses if first <= number <= last}

    return asked


def first_of(responses):
    return {contact: min(number for one, number in responses if one == contact) for contact, _ in responses}


@given(campaigns=st.lists(st.tuples(RESPONSES, st.none() | st.integers(0, 60), st.none() | st.integers(0, 40)), max_size=4))
def test_everybody_is_dated_to_their_first_response(campaigns):
    dating = Dating()
    for responses, end, split in campaigns:
        run, wanted = Run(30, end), first_of(responses)
        assert dating.date(asking(responses, []), run, wanted.keys(), split) == wanted
        dating.learn(run, wanted)


@given(RESPONSES)
def test_nothing_is_asked_of_nobody_nor_twice(responses):
    questions = []
    dating = Dating()
    dating.date(asking(responses, questions), Run(30, None), first_of(responses).keys())
    assert len(questions) == len(set(questions)) <= 30
    dating.date(asking(responses, questions := []), Run(30, None), [])
    assert questions == []


def questions_of(dating, campaigns, *, learns):
    questions = []
    for run, responses in campaigns:
        wanted = first_of(responses)
        assert dating.date(asking(responses, questions), run, wanted.keys()) == wanted
        if learns:
            dating.learn(run, wanted)
    return len(questions)


def test_what_campaigns_before_had_saves_questions():
    """Thirty campaigns of various lengths, each responded to in its last three weeks."""
    draw = random.Random(7)
    lengths = [draw.randrange(5, 60) for _ in range(30)]
    campaigns = [(Run(70, end), [(f"c{n}", end - n % 3) for n in range(6)]) for end in lengths]
    learned, plain = (questions_of(Dating(), campaigns, learns=learns) for learns in (True, False))
    assert learned < 0.7 * plain
    undated = [(Run(70, None), [(f"c{n}", 40 + n % 3) for n in range(6)]) for _ in range(30)]
    learned, plain = (questions_of(Dating(), undated, learns=learns) for learns in (True, False))
    assert learned < 0.7 * plain
