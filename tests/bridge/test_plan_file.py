"""The plan as a file: whole or not at all, private, and refused once it is not what was made here."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import resource
import stat
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
from deals import PAIRS, contact, deals, given, named, opportunity, planned

from crmbridge.contract import PairState
from crmbridge.errors import PlanRefused, WorkspaceError
from crmbridge.plan.file import role_write
from crmbridge.testing.memory import MemoryCrm
from crmbridge.testing.worlds import ODD_IDS, UNICODE_TEXTS

CANDIDATES = ["opportunity_id", "contact_id", "role", "is_primary", "confidence", "decision", "reasons"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_same_snapshot_and_policy_give_the_same_plan_to_the_last_byte(bridge, opened, tmp_path, plan):
    content = plan.path.read_bytes()
    assert bridge.plan().id == plan.id
    assert plan.path.read_bytes() == content
    assert bridge.plan(max_writes=3).id != plan.id
    lowered = opened(MemoryCrm(), policy={"threshold": 0.4})
    assert lowered.plan().id != plan.id


def test_the_order_in_which_the_crm_tells_does_not_matter(opened, clock, plan):
    world = {entity: list(reversed(records)) for entity, records in deals().items()}
    other = opened(MemoryCrm(world), folder="other")
    other.pull()
    assert list(other.plan().lines()) == list(plan.lines())


def test_files_are_private_and_nothing_else_is_left_behind(plan):
    assert names(plan.path.parent) == [f"{plan.id}.{what}" for what in ("candidates.parquet", "plan.jsonl", "reasons.parquet")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in plan.path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(plan.path.parent.stat().st_mode) == 0o700


def test_a_plan_holds_ids_and_no_names(bridge, plan):
    assert b"Zorn" not in plan.path.read_bytes()
    assert "Zorn" not in str(bridge.candidates(plan).to_pylist())


def test_lines_say_what_how_sure_and_why(plan):
    line = next(line for line in plan.lines() if line.opportunity_id == "O2")
    assert (line.contact_id, line.is_primary, line.expected_primary_contact_id) == ("C3", True, None)
    assert 0.5 <= line.confidence < 1
    assert line.reasons[0].rule == "contact_lookup"
    assert (line.reasons[0].source_entity, line.reasons[0].source_id) == ("opportunity_contact_lookup", "L-O2-C3")
    write = role_write(line, plan.id)
    assert (write.key, write.expected) == (f"{plan.id}:{line.line_id}", PairState())


def test_candidates_are_all_of_them_sorted_in_the_documented_columns(bridge, plan):
    table = bridge.candidates(plan)
    assert table.column_names == CANDIDATES
    rows = table.to_pylist()
    order = [(r["opportunity_id"], -r["confidence"]) for r in rows]
    assert order == sorted(order)
    assert {(r["opportunity_id"], r["contact_id"]) for r in rows if r["decision"] == "add"} == PAIRS
    assert len(rows) == sum(plan.header.decisions.values()) > len(PAIRS)
    assert "named in a contact field of the opportunity [opportunity_contact_lookup L-O1-C1: +7.0 bits]" in rows[0]["reasons"]


def test_every_candidate_on_file_tells_what_it_would_be_without_campaigns(bridge, plan):
    rows = pq.read_table(plan.candidates_path).to_pylist()
    without = {(row["opportunity_id"], row["contact_id"]): row["confidence_without_campaign"] for row in rows}
    sure = {(row["opportunity_id"], row["contact_id"]): row["confidence"] for row in rows}
    assert without[("O2", "C3")] < sure[("O2", "C3")], "the fair speaks for them"
    assert without[("O1", "C1")] == sure[("O1", "C1")] == round(sure[("O1", "C1")], 4)


def rewritten(plan, change):
    header, _, body = plan.path.read_text().partition("\n")
    document = json.loads(header)
    body = change(document, body) or body
    plan.path.write_text(json.dumps(document) + "\n" + body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, body: header.update(lines=3), "was edited"),
        (lambda header, body: header["policy"].update(max_changes=10**9), "was edited"),
        (lambda header, body: header.update(surprise=1), "was edited"),
        (lambda header, body: header.pop("policy") and None, "was edited"),
        (lambda header, body: body.replace('"C3"', '"C4"'), "was edited"),
        (lambda header, body: body[: len(body) // 2], "was edited"),
        (lambda header, body: body + body, "was edited"),
        (lambda header, body: header.update(format=2), "has format 2; this version reads format 1"),
        (lambda header, body: header.pop("format") and None, "has format None"),
        (lambda header, body: header.pop("plan_id") and None, "is not a crmbridge plan"),
    ],
)
def test_a_file_that_was_touched_is_refused(bridge, crm, plan, change, message):
    rewritten(plan, change)
    with pytest.raises(PlanRefused, match=message):
        bridge.read_plan(plan.id)


@pytest.mark.parametrize("content", [b"", b"[1, 2]\n", b'"text"\n', b"\xff\xfe\x00", b"name,age\n", b"[" * 100_000, b"null\n"])
def test_what_is_no_plan_is_told_so(bridge, tmp_path, content):
    path = tmp_path / "some.file"
    path.write_bytes(content)
    with pytest.raises(PlanRefused, match="is not a crmbridge plan"):
        bridge.read_plan(path)


def test_a_forged_hash_does_not_help_against_another_workspace(bridge, opened, crm, plan):
    other = opened(crm, folder="other")
    other.pull()
    with pytest.raises(PlanRefused, match="belongs to workspace"):
        other.read_plan(plan.path)


def test_candidates_that_are_gone(bridge, plan):
    plan.candidates_path.unlink()
    with pytest.raises(PlanRefused, match=r"candidates of .* are gone"):
        bridge.candidates(plan)
    assert bridge.read_plan(plan.id).header.lines == 4


def test_an_empty_plan(opened):
    bridge = opened(MemoryCrm(deals(without=[f"L-{deal}-{person}" for deal, person in PAIRS])))
    bridge.pull()
    plan = bridge.read_plan(bridge.plan().id)
    assert (plan.header.lines, list(plan.lines()), plan.table().num_rows) == (0, [], 0)
    assert bridge.apply(plan).counts == {}


def test_odd_ids_and_texts_come_through(opened, tmp_path):
    people = [contact(odd, last_name=UNICODE_TEXTS[n % 8], title=UNICODE_TEXTS[-1 - n % 8]) for n, odd in enumerate(ODD_IDS)]
    fields = [record for odd in ODD_IDS for record in (opportunity(odd, owner_id="it's; --"), named(odd, odd))]
    role = 'a\n"b"\u2028,;c'
    past = [(opportunity(f"O{n}"), named(f"O{n}", "C4"), given(f"O{n}", "C4", role=role)) for n in range(20, 26)]
    crm = MemoryCrm(deals(*people, *fields, *(record for records in past for record in records)))
    bridge = opened(crm, policy={"owners": ["it's; --"], "max_changed_percent": 100})
    bridge.pull()
    plan = bridge.plan()
    assert planned(plan) == {(odd, odd) for odd in ODD_IDS}
    assert {line.role for line in plan.lines()} == {role}
    assert plan.table()["line_id"].to_pylist() == [line.line_id for line in plan.lines()]
    assert len({line.line_id for line in plan.lines()}) == len(ODD_IDS)
    assert bridge.apply(plan).counts == {"applied": len(ODD_IDS)}
    path = bridge.review(plan, tmp_path / "r.csv")
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    assert {row["line_id"] for row in rows} == {line.line_id for line in plan.lines()}
    assert len(bridge.import_review(plan, path)[1].accepted) == len(ODD_IDS)


# A disk that is full


@contextmanager
def files_of_at_most(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_full_disk_leaves_no_half_plan_and_the_old_ones_whole(bridge, plan):
    before = digest(plan.path.parent)
    bridge.veto("O1", "C1")
    bridge.workspace.lock("warm up")
    with files_of_at_most(1_000), pytest.raises(WorkspaceError, match="no plan was made"):
        bridge.plan()
    assert digest(plan.path.parent) == before
    assert bridge.plan().header.lines == 3


def test_what_a_killed_run_left_goes_with_the_next_plan(bridge, plan):
    (plan.path.parent / ".draft").mkdir()
    (plan.path.parent / ".draft" / "lines.jsonl").write_text("half")
    bridge.plan()
    assert len(names(plan.path.parent)) == 3


def test_something_in_the_way(bridge, plan):
    (plan.path.parent / ".draft").write_text("in the way")
    with pytest.raises(WorkspaceError, match=r"File exists\); no plan was made"):
        bridge.plan()


def test_a_large_plan_is_written_in_slices_and_reads_the_same(bridge, plan, monkeypatch):
    monkeypatch.setattr("crmbridge.plan.write._LINES_AT_ONCE", 3)
    content = plan.path.read_bytes()
    plan.path.unlink()
    assert bridge.plan().path.read_bytes() == content
