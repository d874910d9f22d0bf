"""Opening a bridge, finding plans, and the proof on a CRM in memory."""

from __future__ import annotations

from datetime import timedelta

import pytest
from deals import CREATED, PAIRS, deals, given, named, opportunity, planned

import crmbridge
from crmbridge.config import in_memory
from crmbridge.errors import PlanRefused, SettingsError
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm, MemoryOptions


class Closing(MemoryAdapter):
    closed = 0

    def close(self):
        self.closed += 1


def test_an_open_adapter_is_used_and_stays_open(tmp_path, crm):
    adapter = Closing(MemoryOptions(crm=crm))
    with crmbridge.connect(adapter=adapter, workspace=tmp_path / "w", policy={"threshold": 0.6}) as bridge:
        assert bridge.pull().rows["opportunity"] == 5
        assert planned(bridge.plan()) == PAIRS
        assert bridge.policy.threshold == 0.6
    assert adapter.closed == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": in_memory({}), "adapter": "sql"}, "adapter is given, and the settings say it already"),
        ({"settings": in_memory({}), "policy": {}}, "policy is given, and the settings say it already"),
        ({"workspace": "w"}, "workspace is given, and the settings say it already"),
        ({"adapter": MemoryAdapter(MemoryOptions(crm=MemoryCrm())), "options": {}}, "open already"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        crmbridge.connect(**arguments)


def test_plans_are_found_by_id_beginning_and_path_and_the_newest_by_default(bridge, tmp_path):
    with pytest.raises(PlanRefused, match="no plan yet"):
        bridge.read_plan()
    first = bridge.plan()
    bridge.veto("O1", "C1")
    second = bridge.plan()
    assert first.id != second.id
    assert bridge.read_plan().id == second.id == bridge.plans()[0].id
    for name in (first.id, first.id[:12], first.path, str(first.path)):
        assert bridge.read_plan(name).id == first.id
    for name in ("plan-", "", "nonsense", "x" * 500, "a\0b", tmp_path):
        with pytest.raises(PlanRefused, match=r"several plans begin|there is no plan"):
            bridge.read_plan(name)


def test_the_list_of_plans_leaves_out_what_could_not_be_applied(bridge):
    plan = bridge.plan()
    (plan.path.parent / "plan-x.plan.jsonl").write_text("{}\n")
    assert [found.id for found in bridge.plans()] == [plan.id]


@pytest.fixture
def proven(opened):
    """Twelve deals, each a day after the other; contact fields name C1 and C4, and C4 alone was given the role."""
    past = []
    for n in range(20, 32):
        past += [opportunity(f"O{n}", created_at=CREATED + timedelta(days=n)), given(f"O{n}", "C4")]
        past += [named(f"O{n}", "C1"), named(f"O{n}", "C4")]
    crm = MemoryCrm(deals(*past))
    bridge = opened(crm, policy={"max_changed_percent": 100})
    bridge.pull()
    return bridge


def test_the_proof_is_the_same_every_time_and_another_with_another_seed(proven):
    proof = proven.prove()
    assert proof == proven.prove()
    assert 0 < proof.hidden < 12
    assert proof.overall.found == proof.hidden
    assert proof.at_threshold[1] == 1.0
    assert len({proof.hidden, *(proven.prove(seed=seed).hidden for seed in (1, 2))}) > 1


def test_hidden_roles_are_no_evidence(proven):
    """An earlier role speaks while half of the roles are visible, and not once all are hidden."""
    some, none = ({rule.rule: rule.pairs for rule in proven.prove(hide_percent=percent).rules} for percent in (50, 99))
    assert some["earlier_role"] > 0
    assert "earlier_role" not in none


def test_what_we_wrote_changes_nothing_about_the_proof(proven):
    """Else applying would leave out of the judgement just the pairs that nobody has confirmed, and precision would shine."""
    before = proven.prove()
    assert before.at_threshold[0] < 1.0, "who is missing looks wrong as long as nobody said so"
    proven.apply(proven.plan())
    proven.pull()
    after = proven.prove()
    assert (after.hidden, after.at_threshold) == (before.hidden, before.at_threshold)


@pytest.mark.parametrize("percent", [0, 100])
def test_hiding_all_or_none_proves_nothing(proven, percent):
    with pytest.raises(SettingsError, match="allowed: 1 to 99"):
        proven.prove(hide_percent=percent)
