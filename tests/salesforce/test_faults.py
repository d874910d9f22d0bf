"""Whatever goes wrong at whatever call: run again, and the end is that of an undisturbed run; undo is exact."""

from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product

import pytest
from orgs import QUICK, crm_id, login_options, private_key

from crmbridge.adapters.salesforce import SalesforceAdapter, SalesforceOptions, jobs, transport, writer
from crmbridge.apply import execute
from crmbridge.contract import PairState, RoleWrite
from crmbridge.errors import CrmBridgeError, LimitReached
from crmbridge.journal import Journal, PlannedWrite
from crmbridge.model import ContactRole, Entity
from crmbridge.testing.sandbox import Fault, RowFault, SalesforceSandbox, Switches, Trouble
from crmbridge.testing.sandbox.salesforce import switches as kinds
from crmbridge.testing.sandbox.salesforce.switches import DeletedContact, RowGone, SecondRow, UnknownColumn, UnknownField
from crmbridge.testing.worlds import crowded, world_of
from crmbridge.undo import undo

TROUBLES = [
    Trouble.BUSY,
    Trouble.BROKEN,
    Trouble.DROP_BEFORE,
    Trouble.DROP_AFTER,
    Trouble.TRUNCATED,
    Trouble.SESSION_EXPIRED,
    Trouble.LIMIT_REACHED,
]
MODES = {"collections": 2_000, "bulk": 1}
MORE_CODES = (
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    "INSUFFICIENT_ACCESS_OR_READONLY",
    "ENTITY_IS_DELETED",
    "REQUIRED_FIELD_MISSING",
    "DUPLICATE_VALUE",
    "INVALID_CROSS_REFERENCE_KEY",
)
MOST_RUNS = 4


def o(number):
    return crm_id(Entity.OPPORTUNITY, f"opportunity-{number}")


def c(number):
    return crm_id(Entity.CONTACT, f"contact-{number}")


def put(opportunity, contact, role="Evaluator", *, is_primary=False):
    write = RoleWrite(
        key=f"p:{opportunity}:{contact}",
        action="put",
        opportunity_id=o(opportunity),
        contact_id=c(contact),
        role=role,
        is_primary=is_primary,
        expected=PairState(primary_contact_id=c(1) if opportunity == 1 else None),
    )
    return PlannedWrite(line_id=f"L-{opportunity}-{contact}", write=write, detail={})


# Opportunity 1 has a primary, who stays it; opportunity 2 gets one; one line is refused.
PLAN = [put(1, 2), put(1, 3), put(2, 1, is_primary=True), put(2, 4, role=None), put(3, 5, "Other"), put(3, 99)]
WANTED = {(write.opportunity_id, write.contact_id, write.role, write.is_primary) for write in (line.write for line in PLAN[:-1])}


def start():
    role = ContactRole(
        id=crm_id(Entity.CONTACT_ROLE, "role-1"),
        opportunity_id=o(1),
        contact_id=c(1),
        role="Decision Maker",
        is_primary=True,
        modified_at=datetime(2024, 1, 1, tzinfo=UTC),
    )
    crowd = crowded(opportunities=3, contacts=5)
    return world_of([*(record for group in crowd.values() for record in group), role])


@pytest.fixture(scope="module")
def pem():
    return private_key()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(transport, "_wait", lambda state: 0)
    monkeypatch.setattr(writer, "_LOCK_WAIT_S", 0.0)


class Org:
    """A sandbox, a journal, and a fresh adapter for every run."""

    def __init__(self, folder, sandbox, bulk_write_rows):
        self.sandbox = sandbox
        self.journal = Journal.open(folder / "journal.db")
        self.journal._database._connection.execute("PRAGMA synchronous = OFF")
        login = {"consumer_key": sandbox.credentials.consumer_key, "consumer_secret": sandbox.credentials.consumer_secret}
        self.options = SalesforceOptions(
            **login, domain="acme.my", base_url=sandbox.url, bulk_write_rows=bulk_write_rows, **QUICK
        )

    def rows(self):
        rows = self.sandbox.rows("OpportunityContactRole")
        return sorted((row["OpportunityId"], row["ContactId"], row["Role"] or "", row["IsPrimary"]) for row in rows)

    @contextmanager
    def adapter(self):
        adapter = SalesforceAdapter(self.options)
        try:
            yield adapter
        finally:
            adapter.close()

    def apply(self, plan=PLAN):
        with self.adapter() as adapter:
            return execute(adapter, self.journal, plan, kind="apply", plan_id="p", plan_hash="p")

    def undo(self, run_id):
        with self.adapter() as adapter:
            return undo(adapter, self.journal, run_id)

    def in_the_end(self, act):
        for _ in range(MOST_RUNS):
            try:
                return act()
            except CrmBridgeError:
                self.sandbox._usage.most = 1_000_000  # the next day has calls again
        raise AssertionError("it never ended")


@contextmanager
def org(folder, mode="collections", **switches):
    folder.mkdir(exist_ok=True)
    with SalesforceSandbox(start(), Switches(**switches)) as sandbox:
        made = Org(folder, sandbox, MODES[mode])
        try:
            yield made
        finally:
            made.journal.close()


def everything(made, trouble, nth):
    """Apply and undo, each with the trouble at its nth call."""
    before = made.rows()
    wanted = sorted([*before, *((a, b, role or "", primary) for a, b, role, primary in WANTED)])
    fault = {"trouble": trouble, "path": "/services/data", "nth": nth}
    made.sandbox.faults.add(Fault(**fault))
    summary = made.in_the_end(made.apply)
    assert made.rows() == wanted
    assert not summary.differences
    made.sandbox.faults.clear()
    made.sandbox.faults.add(Fault(**fault))
    made.in_the_end(lambda: made.undo(summary.run_id))
    assert made.rows() == before
    return len(made.sandbox.faults.struck)


@pytest.mark.parametrize(
    ("mode", "trouble"),
    [
        ("collections", Trouble.DROP_AFTER),
        ("collections", Trouble.BUSY),
        ("collections", Trouble.TRUNCATED),
        ("bulk", Trouble.DROP_AFTER),
        pytest.param("bulk", Trouble.BUSY, marks=pytest.mark.slow),
        pytest.param("bulk", Trouble.TRUNCATED, marks=pytest.mark.slow),
    ],
)
def test_trouble_at_a_write(tmp_path, mode, trouble):
    path = "composite/sobjects" if mode == "collections" else "jobs/ingest"
    for nth in range(1, 2 if mode == "collections" else 6):
        with org(tmp_path / str(nth), mode) as made:
            before = made.rows()
            made.sandbox.faults.add(Fault(trouble=trouble, path=path, nth=nth))
            summary = made.in_the_end(made.apply)
            assert made.sandbox.faults.struck
            assert {row[:2] for row in made.rows()} == {row[:2] for row in [*before, *WANTED]}
            assert len(made.rows()) == len(before) + len(WANTED)
            made.sandbox.faults.clear()
            made.sandbox.faults.add(Fault(trouble=trouble, path=path, nth=nth))
            made.in_the_end(lambda made=made, run_id=summary.run_id: made.undo(run_id))
            assert made.rows() == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_at_every_call(tmp_path, mode, trouble):
    for nth in range(1, 60):
        with org(tmp_path / str(nth), mode) as made:
            if not everything(made, trouble, nth):
                assert nth > 6, "describe, read, compare, send, read again, report"
                return


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_job_that_fails_half_way(tmp_path, rows):
    with org(tmp_path, "bulk") as made:
        before = made.rows()
        half_way = Fault(trouble=Trouble.JOB_FAILS, method="PATCH", path="jobs/ingest", rows=rows)
        made.sandbox.faults.add(half_way)
        summary = made.in_the_end(made.apply)
        assert len(made.rows()) == len(before) + len(WANTED)
        made.sandbox.faults.clear()
        made.sandbox.faults.add(half_way)
        made.in_the_end(lambda: made.undo(summary.run_id))
        assert made.rows() == before
        assert len(made.sandbox.faults.struck) == 2


@pytest.mark.parametrize("looks", [1, 3])
def test_a_job_that_somebody_aborts_half_way(tmp_path, monkeypatch, looks):
    with org(tmp_path, "bulk", job_polls=3) as made:
        before = made.rows()
        aborted = aborting(made, monkeypatch, looks)
        summary = made.in_the_end(made.apply)
        assert aborted == [looks > 1]
        assert len(made.rows()) == len(before) + len(WANTED)
        aborted = aborting(made, monkeypatch, looks)
        made.in_the_end(lambda: made.undo(summary.run_id))
        assert aborted == [looks > 1]
        assert made.rows() == before


def aborting(made, monkeypatch, looks):
    """Have the first job aborted before it is looked at so often; tells whether it had written something."""
    waits, aborted = [], []

    def sleep(_):
        waits.append(None)
        running = [job for job in made.sandbox.rest.bulk.ingests.values() if job.state in ("UploadComplete", "InProgress")]
        if len(waits) == looks:
            (job,) = running
            job.state = "Aborted"
            aborted.append(bool(job.done))

    monkeypatch.setattr(jobs.time, "sleep", sleep)
    return aborted


@pytest.mark.parametrize("mode", MODES)
def test_the_daily_limit_stops_it_and_the_next_day_carries_on(tmp_path, mode):
    with org(tmp_path, mode) as made:
        path = "composite/sobjects" if mode == "collections" else "jobs/ingest/.*/successfulResults"
        made.sandbox.faults.add(Fault(trouble=Trouble.LIMIT_REACHED, path=path))
        with pytest.raises(LimitReached, match="daily limit"):
            made.apply()
        made.sandbox._usage.most = 1_000
        assert made.apply().counts == {"applied": len(WANTED), "rejected": 1}


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_call(tmp_path, monkeypatch, mode, moment):
    real = transport.Transport.send
    calls = {"left": 0}

    def send(self, request, **options):
        calls["left"] -= 1
        if calls["left"] == 0 and moment == "before":
            raise Killed
        answer = real(self, request, **options)
        if calls["left"] == 0:
            raise Killed
        return answer

    monkeypatch.setattr(transport.Transport, "send", send)
    for nth in range(2, 60):
        with org(tmp_path / str(nth), mode) as made:
            before, killed = made.rows(), 0
            calls["left"] = nth
            summary = interrupted(made.apply)
            killed += summary is None
            calls["left"] = -1
            summary = summary or made.apply()
            made.sandbox.finish_jobs()  # what was left running comes to its end
            assert len(made.rows()) == len(before) + len(WANTED)
            calls["left"] = nth
            killed += interrupted(lambda made=made, run_id=summary.run_id: made.undo(run_id)) is None
            calls["left"] = -1
            made.undo(summary.run_id)
            made.sandbox.finish_jobs()
            assert made.rows() == before
            if not killed:
                return


def interrupted(act):
    try:
        return act()
    except Killed:
        return None


# --- somebody else is at work too -----------------------------------------------------------------------------------


def racing(made, monkeypatch, meanwhile):
    """Let somebody act at the last moment before the rows are sent."""
    real = writer.collections.insert

    def insert(*given, **options):
        meanwhile()
        return real(*given, **options)

    monkeypatch.setattr(writer.collections, "insert", insert)
    return made.apply([PLAN[0]])


@pytest.mark.slow
@pytest.mark.parametrize("gone", RowGone)
@pytest.mark.parametrize("second", SecondRow)
@pytest.mark.parametrize("is_primary", [False, True])
def test_a_row_beside_somebody_elses_is_taken_back(tmp_path, monkeypatch, gone, second, is_primary):
    with org(tmp_path, row_gone=gone, second_row=second) as made:

        def meanwhile():
            made.sandbox.insert(
                "OpportunityContactRole", OpportunityId=o(1), ContactId=c(2), Role="Influencer", IsPrimary=is_primary
            )

        summary = racing(made, monkeypatch, meanwhile)
        assert summary.counts == {"conflict": 1}
        assert made.rows() == sorted([(o(1), c(1), "Decision Maker", not is_primary), (o(1), c(2), "Influencer", is_primary)])


@pytest.mark.parametrize("accepted", DeletedContact)
def test_no_role_for_a_deleted_contact(tmp_path, accepted):
    with org(tmp_path, deleted_contact=accepted) as made:
        made.sandbox.delete("Contact", c(2))
        before = made.rows()
        summary = made.apply([PLAN[0]])
        assert summary.counts == {"rejected": 1}
        assert [refused.code for refused in summary.refused] == ["CONTACT_NOT_VISIBLE"]
        assert made.rows() == before


def test_no_role_for_an_invisible_contact(tmp_path):
    with org(tmp_path, invisible_contacts=frozenset({c(2)})) as made:
        assert made.apply([PLAN[0]]).counts == {"rejected": 1}


def test_short_ids_name_the_same_records(tmp_path):
    with org(tmp_path) as made, made.adapter() as adapter:
        short = o(1)[:15]
        assert [(role.opportunity_id, role.contact_id) for role in adapter.read_roles([short])] == [(short, c(1))]
        write = PLAN[0].write.model_copy(update={"opportunity_id": short, "contact_id": c(1)[:15], "role": "Decision Maker"})
        stale = write.model_copy(update={"is_primary": True, "expected": PairState()})
        assert [receipt.outcome for receipt in adapter.write_roles([stale], checkpoint=print)] == ["already"]


# --- rows that are refused, locked, or marked with their key --------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_locked_row_is_sent_again(tmp_path, mode):
    with org(tmp_path, mode) as made:
        made.sandbox.row_faults.add(RowFault(code="UNABLE_TO_LOCK_ROW", opportunities=frozenset({o(2)}), attempts=3))
        assert made.apply(PLAN[:-1]).counts == {"applied": len(WANTED)}


@pytest.mark.parametrize("mode", MODES)
def test_a_row_that_stays_locked_is_left_for_the_next_run(tmp_path, mode):
    with org(tmp_path, mode) as made:
        before = made.rows()
        made.sandbox.row_faults.add(RowFault(code="UNABLE_TO_LOCK_ROW"))
        assert made.apply(PLAN[:2]).counts == {"absent": 2}
        assert made.rows() == before
        assert was_by_bulk(made) is (mode == "bulk")
        made.sandbox.row_faults.clear()
        assert made.apply(PLAN[:2]).counts == {"applied": 2}


def was_by_bulk(made):
    return made.sandbox.calls["job upload"] > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "code",
    [
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "NEVER_HEARD_OF",
        *(pytest.param(code, marks=pytest.mark.slow) for code in MORE_CODES),
    ],
)
def test_a_refused_row_takes_no_other_with_it(tmp_path, mode, code):
    with org(tmp_path, mode) as made:
        before = made.rows()
        refusal = RowFault(code=code, contacts=frozenset({c(3)}))
        made.sandbox.row_faults.add(refusal)
        summary = made.apply(PLAN[:-1])
        assert summary.counts == {"applied": len(WANTED) - 1, "rejected": 1}
        assert [(refused.line_id, refused.code) for refused in summary.refused] == [("L-1-3", code)]
        made.sandbox.row_faults.clear()
        assert made.undo(summary.run_id).counts == {"applied": len(WANTED) - 1}
        assert made.rows() == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("code", ["CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "INSUFFICIENT_ACCESS_OR_READONLY"])
def test_a_role_that_may_not_be_deleted_keeps_no_other(tmp_path, mode, code):
    with org(tmp_path, mode) as made:
        before = made.rows()
        summary = made.apply(PLAN[:-1])
        made.sandbox.row_faults.add(RowFault(code=code, contacts=frozenset({c(3)})))
        undone = made.undo(summary.run_id)
        assert undone.counts == {"applied": len(WANTED) - 1, "rejected": 1}
        assert [(refused.line_id, refused.code) for refused in undone.refused] == [("L-1-3", code)]
        made.sandbox.row_faults.clear()
        made.undo(summary.run_id)
        assert made.rows() == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("field", UnknownField)
@pytest.mark.parametrize("column", UnknownColumn)
def test_a_key_field_that_is_not_there_harms_nothing(tmp_path, mode, field, column):
    with org(tmp_path, mode, unknown_field=field, unknown_column=column) as made:
        made.options = made.options.model_copy(update={"write_key_field": "No_Such__c"})
        before = made.rows()
        summary = made.apply(PLAN[:2])
        assert summary.counts.get("applied", 0) == len(made.rows()) - len(before)


@pytest.mark.parametrize("mode", MODES)
def test_roles_carry_the_key_of_their_write(tmp_path, mode):
    key = {"OpportunityContactRole": ("Write_Key__c string(255) cx",)}
    with org(tmp_path, mode, custom_fields=key) as made:
        made.options = made.options.model_copy(update={"write_key_field": "Write_Key__c"})
        assert made.apply(PLAN[:2]).counts == {"applied": 2}
        assert was_by_bulk(made) is (mode == "bulk")
        keys = {row["ContactId"]: row["Write_Key__c"] for row in made.sandbox.rows("OpportunityContactRole")}
        assert keys == {c(1): None, c(2): "p:1:2", c(3): "p:1:3"}


# --- whatever nobody could look up ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_setting_of_what_is_not_known_ends_alike(tmp_path, mode):
    switches = {
        "second_row": SecondRow,
        "row_gone": RowGone,
        "role_write": kinds.RoleWrite,
        "unknown_column": UnknownColumn,
        "unknown_field": UnknownField,
        "deleted_contact": DeletedContact,
    }
    for number, setting in enumerate(product(*switches.values())):
        with org(tmp_path / str(number), mode, **dict(zip(switches, setting, strict=True))) as made:
            before = made.rows()
            summary = made.apply()
            assert summary.counts == {"applied": len(WANTED), "rejected": 1}
            assert len(made.rows()) == len(before) + len(WANTED)
            made.undo(summary.run_id)
            assert made.rows() == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["jwt", "password"])
def test_every_login_that_can_be_renewed_is_at_any_call(tmp_path, pem, mode, way):
    for nth in range(1, 60):
        with org(tmp_path / str(nth), mode) as made:
            login = login_options(made.sandbox, way, pem)
            made.options = SalesforceOptions(base_url=made.sandbox.url, bulk_write_rows=MODES[mode], **login, **QUICK)
            before = made.rows()
            made.sandbox.faults.add(Fault(trouble=Trouble.SESSION_EXPIRED, path="/services/data", nth=nth))
            assert made.apply().counts == {"applied": len(WANTED), "rejected": 1}
            assert len(made.rows()) == len(before) + len(WANTED)
            if not made.sandbox.faults.struck:
                assert nth > 5
                return
