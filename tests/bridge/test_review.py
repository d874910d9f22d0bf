"""The review: out to a spreadsheet, judged, and back."""

from __future__ import annotations

import csv
import io
import stat
from decimal import Decimal

import pytest
from deals import PAIRS, contact, deals, named, opportunity, pairs, planned

from conftest import IDLE, Clock
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.errors import PlanRefused
from crmbridge.model import Account
from crmbridge.plan.review import COLUMNS
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm, MemoryOptions


@pytest.fixture
def sheet(bridge, plan, tmp_path):
    """The rows of the review, and a way to hand judged rows back."""
    path = bridge.review(plan, tmp_path / "review.csv", link="https://crm.example/{opportunity_id}/view")
    return read(path)


def read(path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def written(path, rows, *, separator=",", end="\r\n", encoding="utf-8", columns=None):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(rows[0]), delimiter=separator, lineterminator=end, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def rejecting(rows, *ids):
    return [row | {"decision": "reject" if row["contact_id"] in ids else row["decision"]} for row in rows]


def test_it_holds_what_a_person_needs_largest_first(sheet, plan, tmp_path):
    assert tuple(sheet[0]) == COLUMNS
    assert {(row["opportunity_id"], row["contact_id"]) for row in sheet} == PAIRS
    assert [row["amount"] for row in sheet] == ["100.10", "100.10", "0.20", ""]
    first = sheet[0]
    assert [first[name] for name in ("decision", "opportunity", "account", "contact")] == ["accept", "Deal O1", "Acme", "ZornC1"]
    assert (first["currency"], first["close_date"], first["primary"]) == ("EUR", "2025-03-01", "yes")
    assert first["link"] == "https://crm.example/O1/view"
    assert "named in a contact field" in first["reasons"]
    assert first["line_id"] in {line.line_id for line in plan.lines()}
    assert stat.S_IMODE((tmp_path / "review.csv").stat().st_mode) == 0o600


AMOUNTS = {"1200": "1200.00", "-1.5": "-1.50", "0.0001": "0.0001", "98765432109.87": "98765432109.87"}
BAD = ("=1+1", " =1", "\t=1", "+1", "-1", "@cmd", "\r=1", "\uff1d1", "x;=1", "x\n=1", "x,\t@y")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """The row of each odd amount and each bad text, in one review with a bad link: opportunity_id -> row."""
    records = []
    for amount in AMOUNTS:
        records += [opportunity(f"O{amount}", amount=Decimal(amount)), named(f"O{amount}", "C4")]
    for number, bad in enumerate(BAD):
        deal, person, company = f"bad{number}", f"P{number}", f"B{number}"
        records += [Account(id=company, name=bad), contact(person, last_name=bad, account_id=company, title=bad)]
        records += [opportunity(deal, account_id=company), named(deal, person)]
    folder = tmp_path_factory.mktemp("odd")
    adapter = MemoryAdapter(MemoryOptions(crm=MemoryCrm(deals(*records))))
    settings = in_memory({"workspace": {"folder": str(folder / "workspace")}, "rules": {"disabled": IDLE}})
    with Bridge(settings, adapter=adapter, clock=Clock()) as bridge:
        bridge.pull()
        plan = bridge.plan()
        plain, linked = (read(bridge.review(plan, folder / f"{link}.csv", link=link)) for link in (None, "=x"))
    assert {row["link"] for row in plain} == {""}
    return {row["opportunity_id"]: row for row in linked}


@pytest.mark.parametrize(("amount", "text"), AMOUNTS.items())
def test_amounts_read_plainly(odd, amount, text):
    assert odd[f"O{amount}"]["amount"] == text


@pytest.mark.parametrize("number", range(len(BAD)), ids=map(repr, BAD))
def test_nothing_a_spreadsheet_would_run(odd, number):
    row = odd[f"bad{number}"]
    assert row["contact_id"] == f"P{number}"
    for column in ("account", "contact", "title", "link"):
        cells = row[column].replace(";", "\n").replace(",", "\n").replace("\r", "\n").split("\n")
        assert not any(cell.strip().startswith(tuple("=+-@\uff1d")) for cell in cells), row[column]
        assert "'" in row[column]


def test_rejected_lines_become_vetoes_and_the_rest_a_new_plan(bridge, crm, plan, sheet, tmp_path):
    kept, verdicts = bridge.import_review(plan, written(tmp_path / "back.csv", rejecting(sheet, "C2", "C4")))
    assert (len(verdicts.accepted), len(verdicts.rejected), verdicts.missing) == (2, 2, 0)
    assert planned(kept) == {("O1", "C1"), ("O2", "C3")}
    assert (kept.header.reviewed_from, kept.header.lines, kept.header.opportunities_changed) == (plan.id, 2, 2)
    assert kept.header.decisions["add"] == kept.header.decisions["vetoed"] == 2
    assert {(v["opportunity_id"], v["contact_id"], v["source"]) for v in bridge.vetoes().to_pylist()} == {
        ("O1", "C2", "rejected"),
        ("O3", "C4", "rejected"),
    }
    assert bridge.read_plan().id == kept.id, "the newest"
    assert bridge.candidates(kept).num_rows == bridge.candidates(plan).num_rows
    assert planned(bridge.plan()) == planned(kept)
    assert bridge.apply(plan).counts == {"applied": 2, "vetoed": 2}, "also the plan as it was"
    assert pairs(crm) == planned(kept)
    again, _ = bridge.import_review(plan, tmp_path / "back.csv")
    assert again.id == kept.id
    assert bridge.vetoes().num_rows == 2


@pytest.mark.parametrize(
    "saved",
    [
        {"separator": ";"},
        {"separator": "\t"},
        {"encoding": "utf-8-sig"},
        {"end": "\n"},
        {"end": "\r"},
        {"columns": list(reversed(COLUMNS))},
        {"columns": ["decision", "line_id"]},
        {"separator": ";", "encoding": "utf-8-sig", "columns": ["contact", "line_id", "amount", "decision"]},
    ],
)
def test_whatever_a_spreadsheet_makes_of_the_file(bridge, plan, sheet, tmp_path, saved):
    mangled = [
        row
        | {"opportunity_id": "1,23E+17", "close_date": "01.03.25", "amount": "100,10"}
        | {"decision": f" {row['decision'].upper()} "}
        for row in rejecting(sheet, "C3")
    ]
    mangled.append(dict.fromkeys(COLUMNS, ""))
    kept, verdicts = bridge.import_review(plan, written(tmp_path / "back.csv", mangled, **saved))
    assert planned(kept) == PAIRS - {("O2", "C3")}
    assert verdicts.missing == 0


def test_lines_left_out_are_left_out_without_a_veto(bridge, plan, sheet, tmp_path):
    kept, verdicts = bridge.import_review(plan, written(tmp_path / "back.csv", sheet[:1]))
    assert (kept.header.lines, verdicts.missing) == (1, 3)
    assert bridge.vetoes().num_rows == 0
    assert planned(bridge.plan()) == PAIRS


def test_a_review_of_a_review(bridge, plan, sheet, tmp_path):
    kept, _ = bridge.import_review(plan, written(tmp_path / "back.csv", rejecting(sheet, "C2")))
    rows = read(bridge.review(kept, tmp_path / "second.csv"))
    less, _ = bridge.import_review(kept, written(tmp_path / "again.csv", rejecting(rows, "C1")))
    assert planned(less) == {("O2", "C3"), ("O3", "C4")}
    assert less.header.reviewed_from == plan.id
    assert bridge.candidates(less).num_rows


def test_a_plan_given_by_its_path_is_reviewed_into_the_workspace(bridge, plan, sheet, tmp_path):
    copy = tmp_path / "sent.plan.jsonl"
    copy.write_bytes(plan.path.read_bytes())
    elsewhere = bridge.read_plan(copy)
    assert read(bridge.review(elsewhere, tmp_path / "r.csv"))[0]["reasons"]
    kept, _ = bridge.import_review(elsewhere, tmp_path / "r.csv")
    assert kept.path.parent == plan.path.parent


def broken(rows, **change):
    return [rows[0] | change, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"line_id": "L0123456789abcdef"}, "holds line L0123456789abcdef, which is not in plan-"),
        ({"line_id": "Ann Secret"}, "holds something that is no line_id, which is not in plan-"),
        ({"line_id": ""}, r"row 2 \(no line_id\)|holds no line_id"),
        ({"decision": "Ann Secret"}, r"row 2 \(line L[0-9a-f]{16}\): the decision is another word; allowed: accept, reject"),
        ({"decision": ""}, r"row 2 \(line L[0-9a-f]{16}\): the decision is blank; allowed: accept, reject"),
    ],
)
def test_what_cannot_be_understood_is_refused_as_a_whole(bridge, plan, sheet, tmp_path, change, message):
    path = written(tmp_path / "back.csv", broken(rejecting(sheet, "C4"), **change))
    with pytest.raises(PlanRefused, match=message) as refused:
        bridge.import_review(plan, path)
    assert "Secret" not in str(refused.value)
    assert bridge.vetoes().num_rows == 0


def test_contradictions_are_refused_and_repetitions_are_not(bridge, plan, sheet, tmp_path):
    twice = [*sheet, sheet[0]]
    assert bridge.import_review(plan, written(tmp_path / "twice.csv", twice))[1].missing == 0
    with pytest.raises(PlanRefused, match=r"row 6 \(line L[0-9a-f]{16}\): the line is both accepted and rejected"):
        bridge.import_review(plan, written(tmp_path / "back.csv", [*sheet, sheet[0] | {"decision": "reject"}]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column 'line_id'"),
        (b"line_id;role\n", "has no column 'decision'"),
        (b"line_id,decision,decision\n", "has several columns 'decision'"),
        ("line_id,decision\nL1,accept,ü".encode("latin-1"), "is not UTF-8"),
        ("line_id\tdecision\n".encode("utf-16"), "is not UTF-8"),
        (b'line_id,decision\n"' + b"x" * 200_000, "is not CSV"),
        (b"line_id,decision\nL\x00,accept\n", "is not CSV|no line_id"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_review(bridge, plan, tmp_path, content, message):
    path = tmp_path / "back.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanRefused, match=message):
        bridge.import_review(plan, path)
