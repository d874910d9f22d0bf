"""The whole way on a CRM in memory: pull, plan, apply, undo, veto, and all of it again."""

from __future__ import annotations

import pytest
from deals import LATER, PAIRS, change, contact, deals, given, named, opportunity, pairs, planned, remove

from crmbridge.errors import BlastRadiusExceeded, CrmRefused, PlanRefused, SettingsError, WorkspaceBusy, WorkspaceError
from crmbridge.model import Entity
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm
from crmbridge.testing.worlds import empty


def applied(bridge):
    """Plan and apply; gives the run."""
    return bridge.apply(bridge.plan())


def rows(coverage):
    return [(row.state, row.currency, row.opportunities, row.no_role, row.no_primary, row.no_touched) for row in coverage.rows]


def test_what_is_missing_is_added_and_then_there_is_nothing_to_do(bridge, crm):
    plan = bridge.plan()
    assert planned(plan) == PAIRS
    assert pairs(crm) == set(), "a plan writes nothing"
    run = bridge.apply(plan)
    assert run.counts == {"applied": 4}
    assert pairs(crm) == PAIRS
    assert planned(bridge.plan()) == set(), "without a pull"
    bridge.pull()
    assert planned(bridge.plan()) == set(), "with a pull"


def test_one_primary_per_opportunity_and_the_surest(bridge, crm):
    applied(bridge)
    assert [sum(role.is_primary for role in crm.roles(deal)) for deal in ("O1", "O2", "O3")] == [1, 1, 1]


def test_undo_restores_exactly_and_nothing_comes_back_until_it_is_lifted(opened):
    crm = MemoryCrm(deals(given("O1", "C4", role="Theirs")))
    before = [crm.roles(f"O{number}") for number in range(1, 6)]
    bridge = opened(crm)
    bridge.pull()
    run = applied(bridge)
    assert bridge.undo(run.run_id).counts == {"applied": 4}
    assert [crm.roles(f"O{number}") for number in range(1, 6)] == before
    assert planned(bridge.plan()) == set(), "without a pull"
    bridge.pull()
    assert planned(bridge.plan()) == set(), "with a pull"
    assert bridge.vetoes().num_rows == 4
    assert bridge.lift("O2", "C3") == 1
    assert planned(bridge.plan()) == {("O2", "C3")}


def test_what_a_person_removed_is_not_added_again(bridge, crm):
    applied(bridge)
    remove(crm, "O1", "C1")
    bridge.pull()
    assert bridge.vetoes().to_pylist()[0]["source"] == "removed"
    assert planned(bridge.plan()) == set()
    assert bridge.plan().header.decisions["vetoed"] == 1
    assert bridge.lift("O1", "C1") == 1
    assert planned(bridge.plan()) == {("O1", "C1")}


def test_a_role_that_went_with_its_opportunity_or_contact_is_no_veto(bridge, crm):
    applied(bridge)
    for deal, person, entity, gone in (("O1", "C1", Entity.CONTACT, "C1"), ("O2", "C3", Entity.OPPORTUNITY, "O2")):
        remove(crm, deal, person)
        (record,) = [record for record in crm.records(entity) if record.id == gone]
        crm._keep(record.model_copy(update={"is_deleted": True}))
    bridge.pull()
    assert bridge.vetoes().num_rows == 0


def test_a_persons_edit_survives_the_undo(bridge, crm):
    run = applied(bridge)
    change(crm, "O1", "C1", role="Champion")
    undone = bridge.undo(run.run_id)
    assert undone.counts == {"applied": 3, "conflict": 1}
    assert pairs(crm) == {("O1", "C1")}
    assert crm.roles("O1")[-1].role == "Champion"


def test_a_line_that_no_longer_holds_is_refused_alone(bridge, crm):
    plan = bridge.plan()
    crm._keep(given("O1", "C1", role="Theirs"))
    crm._keep(given("O2", "C4").model_copy(update={"is_primary": True}))
    run = bridge.apply(plan)
    assert {(line.opportunity_id, line.contact_id): line.outcome for line in run.refused} == {
        ("O1", "C1"): "conflict",
        ("O2", "C3"): "conflict",
    }
    assert run.counts == {"applied": 2, "conflict": 2}


def test_a_few_at_a_time_leave_one_primary_and_no_conflict(bridge, crm):
    seen = []
    for _ in range(5):
        plan = bridge.plan(max_writes=1)
        seen.append(plan.header.lines)
        if plan.header.lines:
            assert bridge.apply(plan).counts == {"applied": 1}
    assert seen == [1, 1, 1, 1, 0]
    assert pairs(crm) == PAIRS
    assert sum(role.is_primary for role in crm.roles("O1")) == 1


def test_max_writes_of_apply_takes_the_surest_and_the_rest_can_follow(bridge, crm):
    plan = bridge.plan()
    assert bridge.apply(plan, max_writes=0).counts == {}
    assert bridge.apply(plan, max_writes=1).counts == {"applied": 1}
    best = max(plan.lines(), key=lambda line: line.confidence).confidence
    (done,) = pairs(crm)
    assert [line.confidence for line in plan.lines() if (line.opportunity_id, line.contact_id) == done] == [best]
    assert bridge.apply(plan).counts == {"already": 1, "applied": 3}
    with pytest.raises(SettingsError, match="max_writes is -1"):
        bridge.apply(plan, max_writes=-1)
    with pytest.raises(SettingsError, match="max_writes is -1"):
        bridge.plan(max_writes=-1)


# Our own roles are no evidence


@pytest.fixture
def history(opened):
    """A later deal of the same company, where C3 is proposed only if their role on O2 counts."""
    crm = MemoryCrm(deals(opportunity("O9", created_at=LATER, close_date=None)))
    bridge = opened(crm, policy={"threshold": 0.01})
    bridge.pull()
    return bridge, crm


def reasons_of(bridge, plan):
    return " ".join(bridge.candidates(plan)["reasons"].to_pylist())


def test_a_persons_role_is_evidence(opened):
    crm = MemoryCrm(deals(opportunity("O9", created_at=LATER, close_date=None), given("O2", "C3")))
    bridge = opened(crm, policy={"threshold": 0.01})
    bridge.pull()
    assert ("O9", "C3") in planned(bridge.plan())


def test_our_own_roles_are_none_neither_while_they_stand_nor_once_undone(history):
    bridge, _ = history
    run = applied(bridge)
    assert "earlier opportunity" not in reasons_of(bridge, bridge.plan())
    bridge.pull()
    assert "earlier opportunity" not in reasons_of(bridge, bridge.plan())
    bridge.undo(run.run_id)
    assert "earlier opportunity" not in reasons_of(bridge, bridge.plan()), "undone, but still in the snapshot"


def test_what_was_undone_since_the_pull_is_gone_from_the_coverage_too(bridge):
    before = rows(bridge.coverage())
    run = applied(bridge)
    after = rows(bridge.coverage())
    bridge.pull()
    assert rows(bridge.coverage()) == after != before
    bridge.undo(run.run_id)
    assert rows(bridge.coverage()) == before


class KilledAdapter(MemoryAdapter):
    """Writes the first line, and then the process ends."""

    def write_roles(self, writes, *, checkpoint):
        next(super().write_roles(writes, checkpoint=checkpoint))
        raise KeyboardInterrupt


def test_what_a_killed_run_wrote_is_ours_before_the_next_plan(opened):
    crm = MemoryCrm(deals(opportunity("O9", created_at=LATER, close_date=None)))
    with opened(crm, adapter=KilledAdapter) as killed:
        killed.pull()
        with pytest.raises(KeyboardInterrupt):
            applied(killed)
    assert len(pairs(crm)) == 1
    bridge = opened(crm)
    bridge.pull()
    assert "earlier opportunity" not in reasons_of(bridge, bridge.plan())
    assert bridge.runs()[0].counts["applied"] == 1
    assert applied(bridge).counts["applied"] == 3
    assert pairs(crm) == PAIRS


# One person under several ids


def test_a_veto_on_one_record_of_a_person_holds_for_the_other_and_is_lifted_by_either(opened):
    twins = [contact("C8", email="jo@acme.example", last_name="Same"), contact("C7", email="jo@acme.example", last_name="Same")]
    bridge = opened(MemoryCrm(deals(*twins, named("O5", "C8"))))
    bridge.pull()
    ((_, chosen),) = planned(bridge.plan()) - PAIRS
    other = ({"C7", "C8"} - {chosen}).pop()
    bridge.veto("O5", other)
    assert planned(bridge.plan()) == PAIRS
    assert bridge.lift("O5", chosen) == 1
    assert planned(bridge.plan()) == PAIRS | {("O5", chosen)}


def test_a_veto_on_a_record_that_was_merged_away_still_holds(opened):
    merged = [
        contact("old", last_name="Past", merged_into_id="older"),
        contact("older", last_name="Past", merged_into_id="C1"),
        contact("loop1", merged_into_id="loop2"),
        contact("loop2", merged_into_id="loop1"),
    ]
    bridge = opened(MemoryCrm(deals(*merged)))
    bridge.veto("O1", "old")
    bridge.veto("O4", "loop1")
    bridge.veto("O1", "unknown")
    bridge.pull()
    plan = bridge.plan()
    assert planned(plan) == PAIRS - {("O1", "C1")}
    assert plan.header.decisions["vetoed"] == 2, "a cycle of merges ends, and its records stand for themselves"


# What the CRM has and has not


def test_a_primary_whose_contact_is_gone_still_counts_as_one(opened):
    crm = MemoryCrm(deals(given("O1", "nobody").model_copy(update={"is_primary": True})))
    bridge = opened(crm)
    bridge.pull()
    plan = bridge.plan()
    assert {line.opportunity_id for line in plan.lines() if line.is_primary} == {"O2", "O3"}
    assert bridge.apply(plan).counts == {"applied": 4}


def test_planning_needs_no_crm(bridge, opened, crm):
    class Gone(MemoryAdapter):
        capabilities = property(lambda self: pytest.fail("asked the CRM"))

    bridge.close()
    offline = opened(crm, adapter=Gone)
    assert planned(offline.plan()) == PAIRS
    assert offline.coverage().rows


def test_a_crm_without_primaries_gets_none(opened, crm):
    bridge = opened(crm, options={"has_primary": False})
    bridge.pull()
    assert not any(line.is_primary for line in bridge.plan().lines())


def test_a_role_the_crm_does_not_offer_is_told_before_anything_is_planned(opened, crm):
    offers = {"role_names": ("Buyer", "Other")}
    bridge = opened(crm, options=offers, policy={"default_role": "Boss"})
    bridge.pull()
    with pytest.raises(SettingsError, match=r"'Boss'.*allowed: Buyer, Other"):
        bridge.plan()
    assert {line.role for line in opened(crm, policy={"default_role": "Other"}).plan().lines()} == {"Other"}


def test_a_role_of_the_past_that_is_offered_no_more_gives_way(opened):
    """Everybody named as signer got `Old`; whoever is named now would learn it."""
    past = [(opportunity(f"O{n}"), named(f"O{n}", "C4"), given(f"O{n}", "C4", role="Old")) for n in range(20, 26)]
    crm = MemoryCrm(deals(*(record for records in past for record in records)))
    bridge = opened(crm)
    bridge.pull()
    assert {line.role for line in bridge.plan().lines()} == {"Old"}
    bridge = opened(crm, options={"role_names": ("Buyer",)})
    bridge.pull()
    assert {line.role for line in bridge.plan().lines()} == {None}


def test_an_empty_crm(opened):
    bridge = opened(MemoryCrm(empty()))
    bridge.pull()
    done = bridge.backfill(apply=True)
    assert (done.plan.header.lines, done.run, done.before.rows) == (0, None, ())
    assert bridge.candidates(done.plan).num_rows == 0
    assert bridge.prove().hidden == 0


def test_a_read_only_crm_can_be_planned_and_not_written(opened, crm):
    class ReadOnly(MemoryAdapter):
        @property
        def capabilities(self):
            return super().capabilities.model_copy(update={"can_write": False})

    bridge = opened(crm, adapter=ReadOnly)
    bridge.pull()
    with pytest.raises(CrmRefused, match="read-only"):
        applied(bridge)
    assert bridge.runs() == []


def test_nothing_was_pulled_yet(opened, crm):
    with pytest.raises(WorkspaceError, match=r"no snapshot(.|\n)*crmbridge pull"):
        opened(crm).plan()


def test_an_unknown_entity_is_named_with_those_there_are(bridge):
    with pytest.raises(SettingsError, match="no entity 'people'; entities: account, "):
        bridge.table("people")
    assert bridge.table("opportunity").num_rows == 5


# The nightly run


@pytest.mark.parametrize(
    ("argument", "setting", "writes"), [(None, False, False), (None, True, True), (False, True, False), (True, False, True)]
)
def test_backfill_writes_only_where_it_is_told_to(opened, crm, argument, setting, writes):
    done = opened(crm, backfill={"apply": setting}).backfill(apply=argument)
    assert (pairs(crm) == PAIRS) == writes == (done.run is not None)
    assert rows(done.before) != rows(done.after)


def test_backfill_counts_what_was_written_and_not_what_was_refused(opened, crm):
    bridge = opened(crm)
    bridge.veto("O3", "C4")
    bridge.backfill(apply=True)
    remove(crm, "O1", "C1")
    remove(crm, "O1", "C2")
    done = bridge.backfill(apply=True)
    assert (done.removals_seen, done.run) == (2, None)
    assert rows(done.before) == rows(done.after)
    assert [row.no_role for row in done.after.rows] == [1, 1, 0, 1, 1]


def test_two_at_once(bridge, opened, crm):
    second = opened(crm)
    with bridge.workspace.lock("backfill"):
        for busy in (second.pull, second.plan, lambda: second.backfill(apply=True)):
            with pytest.raises(WorkspaceBusy, match="in use by `backfill`"):
                busy()
    assert pairs(crm) == set()
    assert planned(second.plan()) == PAIRS


def test_too_much_at_once_writes_nothing(opened, crm):
    bridge = opened(crm, policy={"max_changes": 3})
    bridge.pull()
    plan = bridge.plan()
    with pytest.raises(BlastRadiusExceeded, match=r"4 roles.*allows 3"):
        bridge.apply(plan)
    assert bridge.runs() == []
    assert bridge.apply(plan, max_writes=3).counts == {"applied": 3}


def test_percent_of_the_opportunities_in_scope(opened):
    more = [record for n in range(10, 22) for record in (opportunity(f"O{n}"), named(f"O{n}", "C4"))]
    crm = MemoryCrm(deals(*more))
    bridge = opened(crm, policy={"max_changed_percent": 50})
    bridge.pull()
    plan = bridge.plan()
    with pytest.raises(BlastRadiusExceeded, match="15 of 17"):
        bridge.apply(plan)
    assert bridge.apply(plan, max_writes=10).counts == {"applied": 10}, "ten are few"


# The plan that is applied


def test_a_plan_of_another_workspace_is_refused_also_as_an_object(bridge, opened, crm):
    other = opened(crm, folder="other")
    with pytest.raises(PlanRefused, match="belongs to workspace"):
        other.apply(bridge.plan())
    assert pairs(crm) == set()


def test_a_plan_edited_after_it_was_read_is_refused(bridge, crm):
    plan = bridge.plan()
    plan.path.write_bytes(plan.path.read_bytes().replace(b'"C3"', b'"C4"'))
    with pytest.raises(PlanRefused, match="was edited"):
        bridge.apply(plan)
    assert pairs(crm) == set()


def test_a_plan_that_is_too_old_is_refused(bridge, clock, crm):
    plan = bridge.plan()
    clock.now = clock.now.replace(day=16)
    with pytest.raises(PlanRefused, match=r"15 days old; .*allows 14"):
        bridge.apply(plan)
    assert pairs(crm) == set()
