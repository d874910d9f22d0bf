"""The demo: it must work for a newcomer, beat what people do today, and never touch a folder that is not its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crmbridge.cli.app import app


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("demo") / "stage"
    result = CliRunner().invoke(app, ["--json", "demo", "--folder", str(folder), "--opportunities", "1000"])
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


@pytest.mark.slow  # one demo of some size
def test_crmbridge_ranks_better_than_what_people_do_today(shown):
    compared = shown[1]["compared"]
    ours = compared.pop("crmbridge")
    assert len(compared) == 4
    for method, found in compared.items():
        assert ours["average_precision"] > found["average_precision"] + 0.1, method
        assert ours["best_f1"] > found["best_f1"], method


@pytest.mark.slow  # one demo of some size
def test_most_of_what_is_added_is_right(shown):
    added = shown[1]["added"]
    assert added["roles"] > 700
    assert added["precision"] > 0.6
    assert added["recall"] > 0.3


@pytest.mark.slow  # one demo of some size
def test_coverage_rises_and_a_second_run_has_nothing_to_do(shown):
    document = shown[1]
    before = sum(row["no_role"] for row in document["coverage_before"])
    after = sum(row["no_role"] for row in document["coverage_after"])
    assert after < before / 2
    assert document["second_run_lines"] == 0


@pytest.mark.slow  # one demo of some size
def test_it_can_be_taken_back(shown):
    folder, document = shown
    result = CliRunner().invoke(
        app, ["--json", "--settings", str(folder / "crmbridge.toml"), "undo", document["run_id"], "--yes"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["run"]["counts"] == {"applied": document["added"]["roles"]}


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    result = CliRunner().invoke(app, ["demo", "--folder", str(tmp_path), "--opportunities", "20"])
    assert result.exit_code == 3
    assert "not a demo" in result.output
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_the_smallest_world_works(tmp_path):
    result = CliRunner().invoke(app, ["demo", "--folder", str(tmp_path / "one"), "--opportunities", "1"])
    assert result.exit_code == 0, result.output
