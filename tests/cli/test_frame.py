"""What every command has in common: exit codes, one JSON document, errors in words, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from crmbridge import errors
from crmbridge.bridge import Bridge
from crmbridge.cli.app import app
from crmbridge.cli.console import clean
from crmbridge.cli.frame import EXIT_CODES, common_first

SECRET = "hunter2-do-not-print"
COMMANDS = sorted(typer.main.get_command(app).commands)
SLEEPY = """
import time
from pathlib import Path
from crmbridge.bridge import Bridge
from crmbridge.cli import main
def pull(self, **_):
    with self.workspace.lock("pull"):
        print("begun", flush=True)
        time.sleep(60)
Bridge.pull = pull
main()
"""


def raising(error):
    def pull(self, **_):
        raise error

    return pull


def test_every_error_has_a_documented_exit_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CrmBridgeError)]
    assert {kind.exit_code for kind in kinds} <= set(EXIT_CODES)
    text = CliRunner().invoke(app, ["--help"]).stdout
    assert [code for code in EXIT_CODES if f" {code}  " not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example: " in result.stdout


@pytest.mark.parametrize(
    "error",
    [
        errors.CrmUnavailable("down", hint="wait"),
        errors.CrmRefused("no", hint="ask"),
        errors.DataError("null id", hint="mend"),
        errors.PlanRefused("stale", hint="crmbridge plan"),
        errors.WorkspaceBusy("busy", hint="wait"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_told_with_its_hint_and_its_code(run, monkeypatch, error):
    monkeypatch.setattr(Bridge, "pull", raising(error))
    result = run("pull")
    assert result.exit_code == error.exit_code
    assert result.stdout == ""
    assert result.stderr == f"Error: {error.message}\nHint: {error.hint}\n"


def test_an_error_is_a_json_document_too(run, monkeypatch):
    monkeypatch.setattr(Bridge, "pull", raising(errors.CrmRefused("no", hint="ask")))
    result = run("pull", "--json")
    told = {"kind": "CrmRefused", "message": "no", "hint": "ask", "exit_code": 5}
    assert json.loads(result.stdout) == {"error": told}
    assert "Error: no" in result.stderr


@pytest.mark.parametrize("error", [ValueError(SECRET), OSError(5, "Input/output error", SECRET), KeyError(SECRET)])
def test_a_bug_is_told_by_its_place_and_never_by_its_values(run, monkeypatch, error):
    monkeypatch.setattr(Bridge, "pull", raising(error))
    result = run("pull")
    assert result.exit_code == 1
    assert type(error).__name__ in result.stderr
    assert "crmbridge/cli/reports.py:" in result.stderr
    assert SECRET not in result.output
    assert "Traceback" not in result.output


def test_the_cause_of_a_bug_is_told_by_its_place_too(run, monkeypatch):
    def pull(self, **_):
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError(SECRET) from error

    monkeypatch.setattr(Bridge, "pull", pull)
    result = run("pull")
    assert "caused by ValueError" in result.stderr
    assert SECRET not in result.output


@pytest.mark.parametrize("words", [["frobnicate"], ["apply", "--max-writes", "-1"], ["undo"], ["-q", "-v", "runs"]])
def test_wrong_usage_is_exit_code_2(run, words):
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_missing_settings_are_told(tmp_path):
    result = CliRunner().invoke(app, ["--settings", str(tmp_path / "no.toml"), "pull"])
    assert result.exit_code == 3
    assert "Hint: run `crmbridge init`" in result.stderr


def test_quiet_says_only_results(run):
    assert run("-q", "pull").stderr == ""
    assert "read contact: 6" in run("pull").stderr
    assert "resolve" in run("-v", "pull").stderr


@pytest.mark.parametrize(
    ("words", "moved"),
    [
        (["plan", "show", "--json", "-q"], ["--json", "-q", "plan", "show"]),
        (["plan", "--settings", "a.toml"], ["--settings", "a.toml", "plan"]),
        (["plan", "--settings=a.toml"], ["--settings=a.toml", "plan"]),
        (["plan", "--settings"], ["--settings", "plan"]),
        (["veto", "add", "--", "--json", "-q"], ["veto", "add", "--", "--json", "-q"]),
    ],
)
def test_common_options_may_stand_anywhere(words, moved):
    assert common_first(words) == moved


@pytest.mark.parametrize("colour", [["--no-color"], []])
def test_no_escape_codes_reach_a_file(real, colour):
    done = real("adapters", *colour, env={**os.environ, "NO_COLOR": "" if colour else "1"})
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


def test_records_cannot_steer_the_terminal():
    assert clean("a\x1b[31mb\x9bc\u202ed") == "a\ufffd[31mb\ufffdc\ufffdd"
    assert clean("Zoë 買\n\t👩‍💻") == "Zoë 買\n\t👩‍💻"


def test_a_planted_secret_never_shows(real, settings):
    settings.write_text(settings.read_text() + f'password = "{SECRET}"\n')
    refused = real("check")
    settings.write_text(settings.read_text().replace(f'password = "{SECRET}"\n', 'timeout_s = "soon"\n'))
    environment = {**os.environ, "CRMBRIDGE_CRM__OPTIONS__PASSWORD": SECRET}
    malformed = real("-v", "check", env=environment)
    settings.write_text(settings.read_text().replace('timeout_s = "soon"\n', ""))
    outputs = [real("-v", command, env=environment) for command in ("check", "pull")]
    assert refused.returncode == malformed.returncode == 3
    assert "CRMBRIDGE_CRM__OPTIONS__PASSWORD" in refused.stderr
    assert SECRET not in "".join(done.stdout + done.stderr for done in [refused, malformed, *outputs])


def test_ctrl_c_says_that_nothing_is_lost(settings):
    process = _sleepy(settings)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Nothing is lost" in said
    assert "Traceback" not in said


def test_ctrl_c_that_a_library_met_is_no_bug(run, monkeypatch):
    def pull(*_, **__):
        raise RuntimeError("Query interrupted") from KeyboardInterrupt()

    monkeypatch.setattr("crmbridge.bridge.pull_snapshot", pull)
    shown = run("pull")
    assert shown.exit_code == 130
    assert "Nothing is lost" in shown.stderr


def test_a_second_run_leaves_with_75_and_a_killed_one_lets_go(settings, real):
    process = _sleepy(settings)
    second = real("pull", "--json")
    assert second.returncode == 75
    assert json.loads(second.stdout)["error"]["kind"] == "WorkspaceBusy"
    process.kill()
    process.communicate()
    assert real("pull").returncode == 0


def _sleepy(settings):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPY, "pull"],
        cwd=settings.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has Ctrl-C ignored, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.1)
    return process


def test_a_reader_that_goes_away_is_no_error(settings):
    command = f"{sys.executable} -c 'from crmbridge.cli import main; main()' adapters | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, cwd=settings.parent)
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_output_that_cannot_be_written_is_told(real):
    with Path("/dev/full").open("w") as full:
        done = real("adapters", "--json", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 9
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_ascii_whatever_the_terminal(real):
    done = real("adapters", "--json", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert json.loads(done.stdout)["adapters"]


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_last_snapshot_stays(real, settings):
    assert real("pull").returncode == 0
    snapshot = settings.parent / ".crmbridge" / "snapshot.duckdb"
    before = snapshot.read_bytes()
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    done = real("pull", code=limited + "from crmbridge.cli import main; main()")
    assert done.returncode == 9, done.stderr
    assert "Hint: " in done.stderr
    assert snapshot.read_bytes() == before
    assert real("coverage").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("code", "most_s"), [("import crmbridge", 0.3), ("from crmbridge.cli import main; main()", 0.5)])
def test_starting_is_quick(real, code, most_s):
    def once():
        began_s = time.perf_counter()
        assert real("--help", code=code).returncode == 0
        return time.perf_counter() - began_s

    assert min(once() for _ in range(3)) <= 2 * most_s


def test_help_imports_nothing_heavy(real):
    code = """
import sys
from crmbridge.cli.app import app
app(["--help"], standalone_mode=False)
print(sorted(sys.modules), file=sys.stderr)
"""
    loaded = real(code=code).stderr
    heavy = ("duckdb", "pyarrow", "narwhals", "sqlalchemy", "pydantic_settings")
    assert "'crmbridge.cli.app'" in loaded
    assert [name for name in heavy if f"'{name}'" in loaded] == []
