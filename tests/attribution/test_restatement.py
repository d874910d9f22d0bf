"""Frozen periods: one thing changes, and the restatement says what, why, and how much, to the last minor unit."""

import shutil
import stat
from collections import Counter
from datetime import date
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from earning import ACCOUNT, AS_OF, campaign, deal, moment, person, role, rows_of, touch, won

from crmbridge.attribution.restate import CAUSES, Period
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.errors import SettingsError, WorkspaceError
from crmbridge.model import Entity, OpportunityContactLookup
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm, MemoryOptions
from crmbridge.testing.worlds import world_of

FIRM = (
    *(ACCOUNT, campaign("fair"), campaign("mail"), campaign("call")),
    *(person(f"C{number}", created_at=moment("2026-01-05")) for number in range(4)),
    *(
        won("O", "100"),
        won("P", "50.01"),
        deal("open", close_date=date(2026, 5, 20)),
        won("april", "8", close_date=date(2026, 4, 30)),
    ),
    *(role("O", "C0", "User"), role("O", "C1", "Buyer"), role("P", "C2"), role("open", "C2"), role("april", "C2")),
    *(
        touch("C0", "2026-02-01"),
        touch("C1", "2026-03-01", "mail"),
        touch("C2", "2026-04-01", "call"),
        touch("C3", "2026-02-15", "mail"),
    ),
    OpportunityContactLookup(id="L", opportunity_id="P", contact_id="C3", field="signer"),
)
CUSTOM = {"by_role": {"rest": 1, "role_weights": {"Buyer": 300}}}
ASKED = {"models": ["linear", "first", "u_hubspot", "time_decay", "by_role"], "custom": CUSTOM}
MAY = "2026-05"


@pytest.fixture
def crm():
    return MemoryCrm(world_of(FIRM))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace that has pulled the firm and frozen May, and what May was credited with."""
    folder = tmp_path_factory.mktemp("prepared") / "workspace"
    settings = in_memory({"workspace": {"folder": str(folder)}, "attribution": ASKED})
    adapter = MemoryAdapter(MemoryOptions(crm=MemoryCrm(world_of(FIRM))))
    with Bridge(settings, adapter=adapter, clock=lambda: AS_OF) as bridge:
        bridge.pull()
        bridge.freeze(MAY)
        return folder, of_may(bridge)


@pytest.fixture
def before(prepared):
    return prepared[1]


@pytest.fixture
def bridge(opened, crm, prepared, tmp_path):
    shutil.copytree(prepared[0], tmp_path / "workspace")
    return opened(crm, pull=False, **ASKED)


def edit(crm, entity, identifier, **fields):
    (record,) = [one for one in crm.records(Entity(entity)) if one.id == identifier]
    crm._keep(record.model_copy(update=fields))


def of_may(bridge):
    """(model, campaign, currency) -> won credit of May."""
    summed = Counter()
    for row in rows_of(bridge.attribute().credits, state="won", month=MAY):
        summed[row["model"], row["campaign_id"], row["currency"]] += row["credit"]
    return summed


def restated(bridge, before):
    """The causes of the restatement, after holding its amounts against two full runs."""
    after, differences = of_may(bridge), Counter()
    table = bridge.restatement(MAY)
    for row in table.to_pylist():
        assert row["now"] - row["frozen"] == row["difference"] != 0
        differences[row["model"], row["campaign_id"], row["currency"]] += row["difference"]
    expected = {key: after[key] - before[key] for key in {*after, *before} if after[key] != before[key]}
    assert expected
    assert {key: difference for key, difference in differences.items() if difference} == expected
    return {row["cause"] for row in table.to_pylist()}


CHANGES = {
    "newly_won": lambda crm: edit(crm, "opportunity", "open", is_closed=True, is_won=True, close_date=date(2026, 5, 2)),
    "no_longer_won": lambda crm: edit(crm, "opportunity", "P", close_date=date(2026, 6, 1)),
    "amount": lambda crm: edit(crm, "opportunity", "P", amount=Decimal("50.02")),
    "role_by_people": lambda crm: crm._keep(role("O", "C2")),
    "role_name": lambda crm: edit(crm, "contact_role", "R-O-C0", role="Buyer"),
    "creation_date": lambda crm: [edit(crm, "contact", name, created_at=moment("2026-03-20")) for name in ("C0", "C1")],
    "touch": lambda crm: edit(crm, "campaign_member", "M-fair-C0-2026-02-01", responded_at=moment("2026-04-01")),
}


EVERY_TIME = {"newly_won", "role_by_people", "touch"}


@pytest.mark.parametrize("cause", [pytest.param(name, marks=() if name in EVERY_TIME else pytest.mark.slow) for name in CHANGES])
def test_one_change_is_explained_by_its_cause_to_the_last_unit(bridge, crm, before, cause):
    CHANGES[cause](crm)
    bridge.pull(full=True)
    assert restated(bridge, before) == {cause}


def test_roles_by_crmbridge_are_told_from_those_by_people(bridge, before):
    run = bridge.apply(bridge.plan())
    assert run.counts == {"applied": 1}
    assert restated(bridge, before) == {"role_by_crmbridge"}
    bridge.pull(full=True)
    assert restated(bridge, before) == {"role_by_crmbridge"}


def test_every_cause_is_shown_by_some_test():
    assert {*CHANGES, "role_by_crmbridge", "close_date", "calculation"} == set(CAUSES)


def late(opened, folder, **fields):
    """A firm with touches early and late in May, and one after it."""
    days = {"fair": "2026-03-01", "mail": "2026-05-20", "call": "2026-06-01 02:00:00"}
    records = (ACCOUNT, person("C"), role("O", "C"), won("O"), *(touch("C", day, name) for name, day in days.items()))
    crm = MemoryCrm(world_of((*records, *map(campaign, days))))
    return crm, opened(crm, models=["linear"], folder=folder, **fields)


def causes(bridge):
    return {row["cause"] for row in bridge.restatement(MAY).to_pylist()}


def test_a_close_date_moved_within_the_period_is_no_change_of_touches(opened):
    crm, bridge = late(opened, "late")
    bridge.freeze(MAY)
    edit(crm, "opportunity", "O", close_date=date(2026, 5, 10))
    bridge.pull(full=True)
    assert causes(bridge) == {"close_date"}


def test_another_time_zone_is_another_calculation(opened):
    _, bridge = late(opened, "late")
    bridge.freeze(MAY)
    bridge.close()
    _, there = late(opened, "late", zone="America/Los_Angeles")
    assert causes(there) == {"calculation"}


def test_books_that_know_no_close_date_and_no_time_zone_can_still_be_read(opened):
    crm, bridge = late(opened, "late")
    bridge.freeze(MAY)
    path = bridge.workspace.frozen / f"{MAY}.basis.parquet"
    table = pq.read_table(path)
    known = {key: value for key, value in table.schema.metadata.items() if key != b"crmbridge.time_zone"}
    pq.write_table(table.drop_columns("close_date").replace_schema_metadata(known), path)
    assert causes(bridge) == set()
    edit(crm, "opportunity", "O", close_date=date(2026, 5, 10))
    bridge.pull(full=True)
    assert causes(bridge) == {"touch"}


def test_other_settings_are_a_cause_of_their_own(bridge, crm, before, opened):
    bridge.close()
    shorter = opened(crm, pull=False, **ASKED, lookback_days=70)
    # Touches fall out of the lookback: nobody changed them.
    assert restated(shorter, before) == {"calculation"}
    shorter.close()
    slower = opened(crm, pull=False, **ASKED, half_life_days=30)
    assert restated(slower, before) == {"calculation"}
    assert {row["model"] for row in slower.restatement(MAY).to_pylist()} == {"time_decay"}


def test_a_deleted_opportunity_is_no_longer_won(bridge, crm, before):
    edit(crm, "opportunity", "P", is_deleted=True)
    bridge.pull(full=True)
    assert restated(bridge, before) == {"no_longer_won"}


def test_nothing_changed_gives_no_rows_also_when_other_months_change(bridge, crm):
    assert bridge.restatement(MAY).num_rows == 0
    edit(crm, "opportunity", "april", amount=Decimal(9))
    bridge.pull(full=True)
    assert bridge.restatement(MAY).num_rows == 0


def test_what_had_no_credit_when_it_was_frozen_is_restated_too(opened):
    crm = MemoryCrm(world_of((ACCOUNT, campaign("fair"), person("C"), won("O"), touch("C"))))
    bridge = opened(crm, models=["linear"])
    bridge.freeze(MAY)
    crm._keep(role("O", "C"))
    bridge.pull(full=True)
    (row,) = bridge.restatement(MAY).to_pylist()
    assert (row["model"], row["name"], row["cause"], row["frozen"], row["now"]) == ("linear", "Fair", "role_by_people", 0, 100)


def test_models_that_were_not_there_then_are_not_compared(bridge, crm, opened):
    bridge.close()
    other = opened(crm, pull=False, models=["linear", "last"])
    assert other.restatement(MAY).num_rows == 0


def test_frozen_files_are_for_their_owner_only(bridge):
    folder = bridge.workspace.frozen
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["2026-05.basis.parquet", "2026-05.credits.parquet"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert bridge.frozen() == [MAY]


def test_what_was_reported_is_not_overwritten(bridge):
    with pytest.raises(SettingsError, match="frozen already") as caught:
        bridge.freeze(MAY)
    assert "2026-05.credits.parquet" in caught.value.hint


def test_a_period_that_was_never_frozen_names_those_that_were(bridge):
    with pytest.raises(SettingsError, match="2026-Q1 was never frozen; frozen periods: 2026-05"):
        bridge.restatement("2026-q1")


def test_damaged_books_are_said_to_be_so(bridge):
    (bridge.workspace.frozen / "2026-05.basis.parquet").write_bytes(b"no parquet")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        bridge.restatement(MAY)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("2026-03", "2026-03", "2026-03"), (" 2026-q4 ", "2026-10", "2026-12"), ("2026", "2026-01", "2026-12")],
)
def test_periods(text, first, last):
    period = Period.parse(text)
    assert (period.first, period.last) == (first, last)


@pytest.mark.parametrize("text", ["", "2026-13", "2026-00", "2026-Q5", "26-01", "May", "2026-1", "../2026"])
def test_other_text_is_no_period(text):
    with pytest.raises(SettingsError, match="is not a period") as caught:
        Period.parse(text)
    assert "2026-Q1" in caught.value.hint
