"""The way through the commands on a little CRM: look, plan, apply, take back."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

import pytest

PAIRS = [("O0", "C0"), ("O0", "C1"), ("O1", "C2"), ("O1", "C3"), ("O2", "C4"), ("O2", "C5")]


def test_check_finds_everything_in_place(answer):
    assert answer("check")["ok"] is True


def test_a_failed_check_has_an_exit_code_of_its_own(answer, crm):
    crm.unlink()
    document = answer("check", code=10)
    assert document["ok"] is False


def test_pull_counts_what_it_read(answer):
    assert answer("pull")["rows"]["opportunity"] == 3


def test_coverage_now_and_with_the_plan(answer, planned):
    document = answer("coverage", "--plan", planned["plan_id"])
    assert [row["no_role"] for row in document["now"]] == [3]
    assert [row["no_role"] for row in document["with_plan"]] == [0]
    assert document["now"][0]["amount"] == "3001.5000"


def test_nothing_is_written_before_apply(roles, planned):
    assert planned["lines"] == 6
    assert roles() == []


def test_apply_writes_the_plan_and_undo_takes_it_back(answer, roles, planned):
    done = answer("apply", "--yes")
    assert done["run"]["counts"] == {"applied": 6}
    assert roles() == PAIRS
    assert [run["run_id"] for run in answer("runs")["runs"]] == [done["run"]["run_id"]]
    answer("undo", done["run"]["run_id"], "--yes")
    assert roles() == []
    assert len(answer("veto", "list")["vetoes"]) == 6


def test_max_writes_takes_only_so_many(answer, roles, planned):
    answer("apply", "--yes", "--max-writes", "2")
    assert len(roles()) == 2


def test_a_line_that_no_longer_holds_ends_in_exit_code_10(answer, crm, planned, run):
    with closing(sqlite3.connect(crm)) as connection, connection:
        connection.execute("INSERT INTO contact_role VALUES (99, 'O0', 'C0', 'Their own', 0)")
    result = run("apply", "--yes")
    assert result.exit_code == 10
    assert "conflict" in result.stdout
    assert "O0" in result.stdout


def test_without_a_terminal_apply_wants_to_be_sure(run, roles, planned):
    result = run("apply")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert roles() == []


@pytest.mark.parametrize(("word", "written", "code"), [("y\n", 6, 0), ("n\n", 0, 130), ("", 0, 130)])
def test_on_a_terminal_apply_asks(run, roles, planned, monkeypatch, word, written, code):
    monkeypatch.setattr("crmbridge.cli.session._is_terminal", lambda: True)
    result = run("apply", input=word)
    assert result.exit_code == code
    assert "Add 6 roles" in result.stderr
    assert len(roles()) == written


@pytest.mark.parametrize("words", [(), ("--max-writes", "5")])
def test_what_would_be_refused_is_not_asked_about(run, roles, planned, monkeypatch, settings, words):
    monkeypatch.setattr("crmbridge.cli.session._is_terminal", lambda: True)
    monkeypatch.setenv("CRMBRIDGE_POLICY__MAX_CHANGES", "4")
    assert run("plan").exit_code == 0
    result = run("apply", *words, input="y\n")
    assert result.exit_code == 8
    assert "max_changes allows 4" in result.stderr
    assert "Add " not in result.stderr
    assert run("apply", "--max-writes", "3", input="y\n").exit_code == 0
    assert len(roles()) == 3


def test_an_old_plan_is_refused_before_anybody_is_asked(run, roles, planned, monkeypatch):
    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(days=30)

    monkeypatch.setattr("crmbridge.cli.session._is_terminal", lambda: True)
    monkeypatch.setattr("crmbridge.cli.runs.datetime", Later)
    result = run("apply", input="y\n")
    assert result.exit_code != 0
    assert "30 days old" in result.stderr
    assert "Add " not in result.stderr
    assert roles() == []


def test_an_empty_plan_says_that_and_why(run, answer, planned):
    answer("apply", "--yes")
    for words in (["plan"], ["plan", "show"]):
        said = run(*words).stdout
        assert "There is nothing to add: each of the 6 candidates is left alone" in said
        assert "the person already has a role on the opportunity" in said
        assert "reasons\n" not in said, "no table without rows"


def test_a_plan_without_candidates_says_so(run, answer, crm):
    with closing(sqlite3.connect(crm)) as connection, connection:
        connection.execute("DELETE FROM activity")
        connection.execute("DELETE FROM activity_participant")
    answer("pull")
    assert "nothing in the snapshot speaks for anybody" in run("plan").stdout


def test_a_plan_without_lines_is_nothing_to_do(answer, planned):
    answer("apply", "--yes")
    again = answer("plan")
    assert again["lines"] == 0
    assert answer("apply")["run"] is None


def test_backfill_looks_first_and_writes_only_when_told(answer, roles):
    assert answer("backfill")["run"] is None
    assert roles() == []
    done = answer("backfill", "--apply")
    assert done["run"]["counts"] == {"applied": 6}
    assert [row["no_role"] for row in done["coverage_after"]] == [0]
    assert answer("backfill", "--apply")["run"] is None
    assert roles() == PAIRS


def test_backfill_obeys_the_settings(answer, roles, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_BACKFILL__APPLY", "true")
    answer("backfill")
    assert roles() == PAIRS


def test_over_the_blast_radius_nothing_is_written(run, roles, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_POLICY__MAX_CHANGES", "1")
    assert run("backfill", "--apply").exit_code == 8
    assert roles() == []


def test_vetoes_are_added_lifted_and_written_out(run, answer, tmp_path):
    assert answer("veto", "add", "O0", "C0", "--reason", "no")["added"] == 1
    assert answer("veto", "add", "O0", "C0")["added"] == 0
    out = tmp_path / "vetoes.csv"
    answer("veto", "export", "--out", str(out))
    assert "O0" in out.read_text()
    assert re.search(r"no +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", run("veto", "list").stdout)
    assert out.stat().st_mode & 0o777 == 0o600
    assert answer("veto", "lift", "O0", "C0")["lifted"] == 1
    assert answer("veto", "list")["vetoes"] == []


def test_a_vetoed_pair_is_not_planned(answer):
    answer("veto", "add", "O0", "C0")
    answer("pull")
    planned = answer("plan")
    assert planned["lines"] == 5
    assert planned["decisions"]["vetoed"] == 1


def test_show_gives_every_line_as_csv(run, planned):
    rows = list(csv.DictReader(io.StringIO(run("plan", "show", "--format", "csv").stdout)))
    assert [(row["opportunity_id"], row["contact_id"]) for row in rows] == PAIRS
    assert all(row["reasons"] for row in rows)


def test_show_gives_json_and_a_table(run, answer, planned):
    document = json.loads(run("plan", "show", "--format", "json").stdout)
    assert len(document["candidates"]) == 6
    assert document == answer("plan", "show", planned["plan_id"])
    assert "O0" in run("plan", "show").stdout


def test_show_all_holds_those_left_alone(answer):
    answer("veto", "add", "O0", "C0")
    answer("pull")
    answer("plan")
    decisions = {row["decision"] for row in answer("plan", "show", "--all")["candidates"]}
    assert decisions == {"add", "vetoed"}
    assert {row["decision"] for row in answer("plan", "show")["candidates"]} == {"add"}


def test_a_review_comes_back(answer, planned, tmp_path):
    out = tmp_path / "review.csv"
    answer("plan", "review", "--out", str(out))
    assert out.stat().st_mode & 0o777 == 0o600
    text = out.read_text(encoding="utf-8-sig")
    out.write_text(text.replace("accept", "reject", 1), encoding="utf-8")
    judged = answer("plan", "import", str(out))
    assert (judged["accepted"], judged["rejected"]) == (5, 1)
    assert len(answer("veto", "list")["vetoes"]) == 1


def test_prove_hides_and_counts(run, answer, planned):
    answer("apply", "--yes")
    answer("pull")
    assert answer("prove")["hidden"] == 0, "our own roles prove nothing"
    said = run("prove").stdout
    assert "no role to hide that people added" in said
    assert "0 %" not in said


@pytest.mark.slow
def test_every_command_has_a_table_too(run, planned):
    for words in (["check"], ["pull"], ["coverage"], ["plan"], ["runs"], ["veto", "list"], ["backfill"], ["prove"]):
        result = run(*words)
        assert result.exit_code == 0, (words, result.output)
        assert result.stdout.strip(), words


def test_names_of_people_never_reach_a_terminal(run, planned):
    seen = [run(*words).output for words in (["-v", "pull"], ["plan", "show", "--all"], ["-v", "backfill", "--apply"], ["runs"])]
    assert "Zorn" not in "".join(seen)
    assert "acme.example" not in "".join(seen)


def test_the_workspace_holds_private_files_only(real, settings):
    assert real("backfill", "--apply").returncode == 0
    workspace = settings.parent / ".crmbridge"
    found = [workspace, *workspace.rglob("*")]
    assert len(found) > 4
    assert [path for path in found if path.stat().st_mode & 0o077] == []


def test_pull_says_how_each_entity_was_read(run, answer):
    run("pull")
    assert "the CRM does not tell what changed" in run("pull").stdout.replace("\n", " ")
    assert answer("pull", "--full")["reads"]["contact"] == {"why_full": "asked for", "changed": 6, "deleted": 0}
