"""Whatever goes wrong at whatever step, over real HTTP: run again, and the end is that of an undisturbed run; undo is exact."""

from __future__ import annotations

from contextlib import suppress

import pytest
from troubled import COUNTS, FAMILIES, MODES, NEW, PLAN, THREE, as_new, line, new_portal, portal_for, wanted

from crmbridge.adapters.hubspot import adapter, batches, connection, transport
from crmbridge.adapters.hubspot.portal import Portal as Probes
from crmbridge.contract import pair_state
from crmbridge.errors import CrmRefused, LimitReached
from crmbridge.testing.sandbox import HubSpotFault, HubSpotTrouble, PairFault
from crmbridge.testing.sandbox.hubspot.switches import MergedIds, OverCap

TROUBLES = [trouble for trouble in HubSpotTrouble if trouble is not HubSpotTrouble.SLOW]
# The calls of a run, in order; labels are taken off further down.
STEPS = {
    "labels": {"method": "GET", "path": r"/labels\?"},
    "pairs": {"path": "batch/read", "nth": 1},
    "look": {"path": "batch/read", "nth": 2},
    "caps": {"path": "configurations"},
    "define": {"method": "POST", "path": r"/labels\?"},
    "create": {"path": "batch/create"},
    "verify": {"path": "batch/read", "nth": 3},
    "report": {"path": "batch/read", "nth": 4},
    "archive": {"path": "batch/archive"},
}
WRITES = ("create", "archive")
AT_ONCE = {"replaces": set(STEPS), "appends": {"create"}}
WITHOUT_OAUTH_OVER = (HubSpotTrouble.DAY_OVER, HubSpotTrouble.LOGIN_EXPIRED)


CASES = [
    pytest.param(mode, step, trouble, id=f"{mode}-{step}-{trouble.name}", marks=[] if step in at_once else [pytest.mark.slow])
    for mode, at_once in AT_ONCE.items()
    for step in STEPS
    for trouble in TROUBLES
    if trouble is not HubSpotTrouble.PARTIAL or step in WRITES
]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(connection, "_wait", lambda state: 0)
    monkeypatch.setattr(Probes, "refusal", lambda self, name: None)  # what may be read is not at stake here


@pytest.fixture(scope="module")
def sandboxes():
    """One portal that replaces labels, one that appends."""
    opened = {mode: new_portal(mode) for mode in MODES}
    for sandbox in opened.values():
        sandbox.start()
    yield opened
    for sandbox in opened.values():
        sandbox.stop()


@pytest.fixture
def fresh(sandboxes, tmp_path):
    """A portal set back to its beginning."""

    def opened(mode, **options):
        return as_new(tmp_path, sandboxes[mode], **{"api": FAMILIES[mode], **options})

    return opened


@pytest.fixture(params=MODES)
def made(request, fresh):
    with fresh(request.param) as one:
        yield one


def plan_trouble(made, trouble, **where):
    made.sandbox.faults.clear()
    made.sandbox.faults.add(HubSpotFault(trouble=trouble, **where))


@pytest.mark.parametrize(("mode", "step", "trouble"), CASES)
def test_trouble_at_every_step(fresh, mode, step, trouble):
    with fresh(mode) as made:
        before = made.types()
        plan_trouble(made, trouble, **STEPS[step])
        summary = made.in_the_end(made.apply)
        struck = list(made.sandbox.faults.struck)
        assert made.pairs() == wanted()
        assert (summary.counts, summary.differences) == (COUNTS, ())
        plan_trouble(made, trouble, **STEPS[step])
        assert made.in_the_end(lambda: made.undo(summary.run_id)).counts == {"applied": COUNTS["applied"]}
        assert made.types() == before
        assert [*struck, *made.sandbox.faults.struck]


@pytest.mark.parametrize("trouble", [HubSpotTrouble.BUSY, HubSpotTrouble.GATEWAY])
def test_trouble_that_lasts_leaves_the_rest_to_the_next_run(made, trouble):
    plan_trouble(made, trouble, path="batch/create", times=99)
    done = COUNTS["applied"] if trouble is HubSpotTrouble.GATEWAY else 0  # reading back tells
    counts = {"applied": done, "absent": len(PLAN) - 1 - done, "conflict": 1}
    assert made.apply().counts == {outcome: number for outcome, number in counts.items() if number}
    made.hold_people()
    made.sandbox.faults.clear()
    assert made.apply().counts == COUNTS
    assert made.pairs() == wanted()


@pytest.mark.slow  # it waits
def test_an_answer_that_comes_too_late_is_waited_out(made):
    """The work goes on after the caller has given up: nothing is sent twice, and nothing is left by undo."""
    made.options |= {"timeout_s": 0.3, "settle_wait_s": 0.6}
    before = made.types()
    plan_trouble(made, HubSpotTrouble.SLOW, path="batch/create|batch/archive", times=2, delay_s=0.7)
    summary = made.apply(PLAN[:5])
    assert summary.counts == {"applied": COUNTS["applied"], "conflict": 1}
    assert made.pairs() == wanted()
    assert made.sandbox.calls["deals to contacts batch/create"] == 1
    made.undo(summary.run_id)
    assert made.types() == before
    assert len(made.sandbox.faults.struck) == 2


@pytest.mark.parametrize("step", ["look", "create", "verify"])
@pytest.mark.parametrize(
    "trouble", [HubSpotTrouble.BUSY, HubSpotTrouble.GATEWAY, HubSpotTrouble.DROP_AFTER, HubSpotTrouble.PARTIAL]
)
def test_a_label_joins_the_three_that_people_set(made, trouble, step):
    with made.adapter() as adapter:
        state = pair_state(adapter.read_roles(["103"]), "210")
        assert [row.role for row in state.rows] == sorted(THREE, key=THREE.index)
        write = line(103, 210, NEW).write.model_copy(update={"expected": state})
        plan_trouble(made, trouble, **STEPS[step] | {"nth": {"look": 1, "create": 1, "verify": 2}[step]})
        (receipt,) = adapter.write_roles([write], checkpoint=print)
        while receipt.outcome in ("unknown", "absent"):
            (receipt,) = adapter.settle([write], [])
            made.hold_people()
            if receipt.outcome == "absent":
                (receipt,) = adapter.write_roles([write], checkpoint=print)
    assert made.sandbox.faults.struck
    assert receipt.outcome == "applied"
    assert made.sandbox.labels_of("103", "210") == {*THREE, NEW}


# --- the whole process dies ------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.fixture
def kill(monkeypatch):
    """Kill the process around its nth call of a path, before or after it is done."""
    real, planned = transport.Transport.exchange, {"left": -1}

    def exchange(self, method, path, **given):
        planned["left"] -= planned.get("where", "") in path
        is_last = planned["left"] == 0 and planned["where"] in path
        if is_last and planned["moment"] == "before":
            raise Killed
        answer = real(self, method, path, **given)
        if is_last:
            raise Killed
        return answer

    monkeypatch.setattr(transport.Transport, "exchange", exchange)
    return lambda nth=-1, where="", moment="after": planned.update(left=nth, where=where, moment=moment)


def lived(act):
    """What a run gave; None where it died."""
    with suppress(Killed):
        return act()
    return None


def apply_and_undo_with_a_kill(made, kill, **where):
    before = made.types()
    kill(**where)
    summary = lived(made.apply)
    has_died = summary is None
    kill()
    made.hold_people()
    summary = summary or made.apply()
    assert (summary.counts, summary.differences) == (COUNTS, ())
    assert made.pairs() == wanted()
    kill(**where)
    has_died |= lived(lambda: made.undo(summary.run_id)) is None
    kill()
    made.undo(summary.run_id)
    assert made.types() == before
    return has_died


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("where", ["batch/create", "batch/archive", "/labels"])
def test_killed_around_a_write(made, kill, where, moment):
    assert apply_and_undo_with_a_kill(made, kill, nth=2 if where == "/labels" else 1, where=where, moment=moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_every_call(fresh, kill, mode, moment):
    for nth in range(1, 60):
        with fresh(mode) as made:
            has_died = apply_and_undo_with_a_kill(made.anew(nth), kill, nth=nth, moment=moment)
        if not has_died:
            assert nth > 8, "labels, look, compare, caps, define, send, read again, report"
            return
    raise AssertionError("it always died")


# --- somebody else is at work too ------------------------------------------------------------------------------------


def meanwhile(monkeypatch, act, *, name="create", before=False):
    """Let somebody act at the last moment before a batch goes out, or right after it came back; once."""
    real, left = getattr(batches, name), [act]

    def sent(*given):
        if before and left:
            left.pop()()
        answers = real(*given)
        if left:
            left.pop()()
        return answers

    monkeypatch.setattr(batches, name, sent)


def someone_labels(made, *labels, pair=("101", "211")):
    return lambda: made.sandbox.link(*pair, labels)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_label_is_taken_back_from_beside_three_of_somebody_else(made, monkeypatch, trouble):
    meanwhile(monkeypatch, someone_labels(made, *THREE))
    plan_trouble(made, trouble, path="labels/archive")
    summary = made.in_the_end(lambda: made.apply([line(101, 211, NEW, primary="210")]))
    assert made.sandbox.faults.struck
    assert summary.counts == {"conflict": 1}
    # Where the token or the day is over, nothing can be taken back any more: theirs stay all the same.
    left = {NEW} if trouble in WITHOUT_OAUTH_OVER else set()
    assert made.sandbox.labels_of("101", "211") == {*THREE, *left}
    made.hold_people()


def test_where_labels_are_appended_those_set_at_the_last_moment_stay(fresh, monkeypatch):
    with fresh("appends") as made:
        meanwhile(monkeypatch, someone_labels(made, *THREE), before=True)
        assert made.apply([line(101, 211, NEW, primary="210")]).counts == {"conflict": 1}
        assert made.sandbox.labels_of("101", "211") == set(THREE)


@pytest.mark.parametrize("trouble", [HubSpotTrouble.LOCKED, HubSpotTrouble.TOO_FAST])
def test_labels_set_while_hubspot_makes_us_wait_stay(made, monkeypatch, trouble):
    """A locked record is one that somebody is at work on."""
    label = someone_labels(made, *THREE)
    monkeypatch.setattr(connection, "_wait", lambda state: label() or 0)
    plan_trouble(made, trouble, path="batch/create")
    summary = made.apply([line(101, 211, NEW, primary="210"), PLAN[1]])
    assert summary.counts == {"applied": 1, "conflict": 1}
    assert made.sandbox.labels_of("101", "211") == set(THREE)
    made.hold_people()


def test_labels_set_while_nothing_is_left_of_ten_seconds_stay(made, monkeypatch):
    label, real = someone_labels(made, *THREE), batches.create

    def create(connection, *given):
        connection._transport._wait_until_s = transport.time.monotonic() + 1
        return real(connection, *given)

    monkeypatch.setattr(batches, "create", create)
    monkeypatch.setattr(transport, "time", Clock(transport.time, label))
    assert made.apply([line(101, 211, NEW, primary="210")]).counts == {"conflict": 1}
    assert made.sandbox.labels_of("101", "211") == set(THREE)


class Clock:
    """Somebody acts once instead of time passing."""

    def __init__(self, real, act):
        self.monotonic, self._acts = real.monotonic, [act]

    def sleep(self, left_s):
        if self._acts:
            self._acts.pop()()


@pytest.mark.parametrize("trouble", [HubSpotTrouble.LOCKED, HubSpotTrouble.TOO_FAST])
def test_a_pair_labelled_while_its_undo_waits_stays(made, monkeypatch, trouble):
    summary = made.apply(PLAN[:2])
    label = someone_labels(made, "Blocker")
    monkeypatch.setattr(connection, "_wait", lambda state: label() or 0)
    plan_trouble(made, trouble, path="batch/archive")
    assert made.undo(summary.run_id).counts == {"applied": 1, "conflict": 1}
    assert made.sandbox.labels_of("101", "211") == {"Champion", "Blocker"}
    assert made.sandbox.labels_of("101", "212") is None


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda sandbox: sandbox.link("101", "211", THREE), set(THREE)),
        (lambda sandbox: sandbox.link("101", "211", ["Blocker"]), {"Champion", "Blocker"}),
        (lambda sandbox: (sandbox.unlink("101", "211"), sandbox.link("101", "211", ["Blocker"])), {"Blocker"}),
        (lambda sandbox: (sandbox.unlink("101", "211"), sandbox.link("101", "211")), set()),
    ],
    ids=["three more", "one more", "another instead", "no label"],
)
def test_what_a_person_changed_since_survives_its_undo(made, change, left):
    summary = made.apply()
    change(made.sandbox)
    assert made.undo(summary.run_id).counts == {"applied": COUNTS["applied"] - 1, "conflict": 1}
    assert made.sandbox.labels_of("101", "211") == left
    made.hold_people()


def test_what_a_person_took_away_stays_away(made):
    summary = made.apply()
    made.sandbox.unlink("101", "211")
    assert made.undo(summary.run_id).counts == {"already": 1, "applied": COUNTS["applied"] - 1}
    assert made.sandbox.labels_of("101", "211") is None


# --- ids that were merged away ---------------------------------------------------------------------------------------


@pytest.fixture(params=MergedIds)
def merging(request):
    return {"merged_ids": request.param}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trouble", [None, HubSpotTrouble.GATEWAY])
def test_a_contact_merged_into_one_with_three_labels(tmp_path, mode, merging, trouble):
    """HubSpot may follow the old id: the label of the plan must not take the place of those of the survivor."""
    with portal_for(tmp_path, mode, **merging) as made:
        made.sandbox.merge_contacts("220", "211")
        before = made.types()
        if trouble:
            plan_trouble(made, trouble, path="batch/create")
        summary = made.apply([line(101, 211, NEW, primary="210"), line(101, 213, "Champion", primary="210")])
        assert summary.counts == {"applied": 1, "rejected": 1}
        assert made.sandbox.labels_of("101", "220") == set(THREE)
        made.undo(summary.run_id)
        assert made.types() == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("role", [NEW, None])
def test_a_contact_merged_into_one_that_is_not_linked(tmp_path, mode, merging, role):
    with portal_for(tmp_path, mode, **merging) as made:
        made.sandbox.merge_contacts("215", "211")
        before = made.types()
        summary = made.apply([line(101, 211, role, primary="210")])
        assert summary.counts == {"rejected": 1}
        assert made.types() == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("role", ["Champion", NEW])
def test_a_contact_merged_into_another_of_the_plan(tmp_path, mode, merging, role):
    with portal_for(tmp_path, mode, **merging) as made:
        made.sandbox.merge_contacts("215", "211")
        before = made.types()
        summary = made.apply([line(101, 215, "Champion", primary="210"), line(101, 211, role, primary="210")])
        assert summary.counts == {"applied": 1, "rejected": 1}
        assert made.sandbox.labels_of("101", "215") == {"Champion"}
        made.undo(summary.run_id)
        assert made.types() == before


@pytest.mark.parametrize("mode", MODES)
def test_a_deal_merged_into_one_with_three_labels(tmp_path, mode, merging):
    with portal_for(tmp_path, mode, **merging) as made:
        made.sandbox.merge_deals("103", "104")
        before = made.types()
        assert made.apply([line(104, 210, "Champion")]).counts == {"rejected": 1}
        assert made.types() == before


# --- answers in part, refusals, caps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("has_context", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("sub_category", ["crm.associations.INVALID_IDENTIFIER", "crm.associations.SOMETHING_NEW"])
def test_a_refused_pair_takes_no_other_with_it(made, has_context, sub_category):
    before = made.types()
    made.sandbox.pair_faults.add(PairFault(contacts=frozenset({"212"}), has_context=has_context, sub_category=sub_category))
    summary = made.apply(PLAN[:5])
    assert summary.counts == {"applied": 2, "conflict": 1, "rejected": 2}
    codes = {refused.code for refused in summary.refused if refused.outcome == "rejected"}
    assert codes == {sub_category.rpartition(".")[2]}
    made.undo(summary.run_id)
    assert made.types() == before


@pytest.mark.parametrize("has_context", [True, False], ids=["named", "unnamed"])
def test_what_passes_is_tried_again(made, has_context):
    fault = PairFault(
        contacts=frozenset({"212"}), category="INTERNAL_ERROR", sub_category="", has_context=has_context, attempts=2
    )
    made.sandbox.pair_faults.add(fault)
    assert made.apply().counts == COUNTS
    assert made.pairs() == wanted()


def test_a_cap_is_read_first_and_what_exceeds_it_is_not_sent(tmp_path):
    with portal_for(tmp_path, caps={"Champion": 3}) as made:
        plan = [line(101, contact, "Champion", primary="210") for contact in (211, 212, 213)]
        summary = made.apply(plan)
        assert summary.counts == {"applied": 1, "rejected": 2}
        assert {refused.code for refused in summary.refused} == {"LABEL_CAP_REACHED"}
        made.hold_people()


@pytest.mark.parametrize("over", OverCap)
@pytest.mark.parametrize("switches", [{"caps": {"Champion": 3}}, {"contacts_per_deal": 3}], ids=["label", "deal"])
@pytest.mark.parametrize("mode", MODES)
def test_a_cap_that_nobody_tells_is_refused_pair_by_pair(tmp_path, mode, switches, over):
    with portal_for(tmp_path, mode, over_cap=over, tells_caps=False, **switches) as made:
        before = made.types()
        plan = [line(101, 211, "Champion", primary="210"), line(101, 212, "Champion", primary="210"), line(102, 212, "Blocker")]
        summary = made.apply(plan)
        assert summary.counts == {"applied": 2, "rejected": 1}
        assert {refused.code for refused in summary.refused} == {"ASSOCIATION_LIMIT_EXCEEDED"}
        made.hold_people()
        made.undo(summary.run_id)
        assert made.types() == before


def test_taking_off_labels_in_smaller_parts_where_hubspot_wants_it(tmp_path, monkeypatch):
    with portal_for(tmp_path, "appends", labels_archive_most=1) as made:
        pairs = [("101", "211"), ("102", "211"), ("103", "212")]
        meanwhile(monkeypatch, lambda: [made.sandbox.link(*pair, THREE) for pair in pairs])
        summary = made.apply([line(101, 211, NEW, primary="210"), line(102, 211, NEW), line(103, 212, NEW)])
        assert summary.counts == {"conflict": 3}
        assert [made.sandbox.labels_of(*pair) for pair in pairs] == [set(THREE)] * 3


# --- the day, the token ----------------------------------------------------------------------------------------------


def test_the_daily_limit_in_the_middle_is_journalled_and_the_same_command_carries_on(made, monkeypatch):
    monkeypatch.setattr(adapter, "WRITES_PER_CALL", 2)
    plan_trouble(made, HubSpotTrouble.DAY_OVER, path="batch/create", nth=2)
    with pytest.raises(LimitReached, match="daily limit"):
        made.apply()
    (run,) = made.journal.unfinished_runs()
    assert made.journal.counts(run.run_id)["applied"] == 2
    assert run.unsettled == 0
    made.hold_people()
    with pytest.raises(LimitReached):  # today there is no more
        made.apply()
    made.sandbox.new_day()
    summary = made.apply()
    assert (summary.run_id, summary.was_continued, summary.counts) == (run.run_id, True, COUNTS)
    assert made.pairs() == wanted()


@pytest.mark.parametrize("step", STEPS)
def test_a_token_that_ends_in_the_middle_is_renewed(made, step):
    tokens = made.sandbox.tokens
    oauth = {"client_id": tokens.client_id, "client_secret": tokens.client_secret, "refresh_token": tokens.refresh_token}
    made.options |= {"access_token": None, **oauth}
    before = made.types()
    plan_trouble(made, HubSpotTrouble.LOGIN_EXPIRED, **STEPS[step])
    summary = made.apply()
    assert summary.counts == COUNTS
    made.undo(summary.run_id)
    assert made.sandbox.faults.struck
    assert made.types() == before


@pytest.mark.parametrize(
    "trouble", [HubSpotTrouble.BUSY, HubSpotTrouble.DROP_AFTER, HubSpotTrouble.TRUNCATED, HubSpotTrouble.TOO_FAST]
)
def test_trouble_while_the_token_is_renewed(made, trouble):
    tokens = made.sandbox.tokens
    oauth = {"client_id": tokens.client_id, "client_secret": tokens.client_secret, "refresh_token": tokens.refresh_token}
    made.options |= {"access_token": None, **oauth}
    plan_trouble(made, HubSpotTrouble.LOGIN_EXPIRED, path="batch/create")
    made.sandbox.faults.add(HubSpotFault(trouble=trouble, path="oauth/v1/token", nth=2))
    assert made.apply().counts == COUNTS
    assert len(made.sandbox.faults.struck) == 2


def test_a_token_that_stays_over_ends_the_run(made):
    made.options |= {"access_token": made.sandbox.access_token}
    plan_trouble(made, HubSpotTrouble.LOGIN_EXPIRED, path="batch/create")
    with pytest.raises(CrmRefused, match="EXPIRED_AUTHENTICATION"):
        made.apply()
    made.hold_people()
    made.options |= {"access_token": made.sandbox.access_token}
    assert made.apply().counts == COUNTS


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [HubSpotTrouble.GATEWAY, HubSpotTrouble.PARTIAL, HubSpotTrouble.DROP_BEFORE])
def test_two_thousand_pairs_a_call(tmp_path, trouble):
    with portal_for(tmp_path) as made:
        for number in range(3_000, 5_300):
            made.sandbox.store.add("contacts", str(number), {}, *[made.sandbox.store.clock()] * 2)
        before = made.types()
        plan = [
            line(101 + number % 4, number, "Champion", primary="210" if number % 4 == 0 else None)
            for number in range(3_000, 5_300)
        ]
        made.sandbox.faults.add(HubSpotFault(trouble=trouble, path="batch/create", nth=2))
        summary = made.apply(plan)
        assert summary.counts == {"applied": len(plan)}
        assert len(made.types()) == len(before) + len(plan)
        made.sandbox.faults.add(HubSpotFault(trouble=trouble, path="batch/archive", nth=3))
        made.undo(summary.run_id)
        assert made.types() == before
