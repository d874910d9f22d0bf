"""A little CRM in SQLite, settings for it, and two ways to run a command: in this process, and for real."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crmbridge.cli.app import app

_TABLES = """
CREATE TABLE account(id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE contact(id TEXT PRIMARY KEY, account_id TEXT, first_name TEXT, last_name TEXT, email TEXT, title TEXT);
CREATE TABLE opportunity(id TEXT PRIMARY KEY, account_id TEXT, name TEXT, amount TEXT, currency TEXT, is_closed INTEGER,
  is_won INTEGER, close_date TEXT, created_at TEXT);
CREATE TABLE contact_role(id INTEGER PRIMARY KEY, opportunity_id TEXT, contact_id TEXT, role TEXT, is_primary INTEGER);
CREATE TABLE activity(id TEXT PRIMARY KEY, kind TEXT, opportunity_id TEXT, account_id TEXT, occurred_at TEXT);
CREATE TABLE activity_participant(id TEXT PRIMARY KEY, activity_id TEXT, contact_id TEXT, kind TEXT);
INSERT INTO account VALUES ('A1', 'Acme');
"""

IDLE = ["lead_conversion", "contact_lookup", "campaign_response", "earlier_role", "account_relation", "email_domain"]
"""Rules that find nothing in the little CRM; without them a plan takes half the time."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("CRMBRIDGE_"):
            monkeypatch.delenv(name)


def _fill(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_TABLES)
        for number in range(6):
            person = (f"C{number}", "A1", f"Ann{number}", f"Zorn{number}", f"ann{number}@acme.example", "Buyer")
            connection.execute("INSERT INTO contact VALUES (?, ?, ?, ?, ?, ?)", person)
        for deal in range(3):
            _add_deal(connection, deal)


def _add_deal(connection, deal):
    row = (f"O{deal}", "A1", f"Deal {deal}", "1000.50", "EUR", 1, 1, "2024-06-30", "2024-03-01 00:00:00")
    connection.execute("INSERT INTO opportunity VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    for day in range(1, 5):
        meeting = (f"T{deal}-{day}", "meeting", f"O{deal}", "A1", f"2024-05-0{day} 10:00:00")
        connection.execute("INSERT INTO activity VALUES (?, ?, ?, ?, ?)", meeting)
        guest = (f"P{deal}-{day}", f"T{deal}-{day}", f"C{2 * deal + day % 2}", "attendee")
        connection.execute("INSERT INTO activity_participant VALUES (?, ?, ?, ?)", guest)


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    """A folder with the little CRM and its settings; beside it, a workspace that has pulled and planned, and what `plan` said."""
    folder = tmp_path_factory.mktemp("stage")
    _fill(folder / "crm.db")
    path = folder / "crmbridge.toml"
    path.write_text(f'[rules]\ndisabled = {json.dumps(IDLE)}\n[crm]\nadapter = "sql"\n[crm.options]\nurl = "sqlite:///crm.db"\n')
    for command in ("pull", "plan"):
        result = CliRunner().invoke(app, ["--settings", str(path), command, "--json"])
        assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


@pytest.fixture
def crm(tmp_path, stage):
    """Three won deals of one account; two people met on each, and nobody has a role."""
    return Path(shutil.copy(stage[0] / "crm.db", tmp_path))


@pytest.fixture
def settings(tmp_path, crm, stage):
    return Path(shutil.copy(stage[0] / "crmbridge.toml", tmp_path))


@pytest.fixture
def planned(settings, stage):
    """The little CRM has been pulled and planned; what `plan` said."""
    shutil.copytree(stage[0] / ".crmbridge", settings.parent / ".crmbridge")
    return stage[1]


@pytest.fixture
def run(settings):
    """Run a command in this process on the little CRM."""

    def run_command(*words: str, **more):
        return CliRunner().invoke(app, ["--settings", str(settings), *words], **more)

    return run_command


@pytest.fixture
def answer(run):
    """Run a command with --json and give the one document on stdout."""

    def run_json(*words: str, code: int = 0):
        result = run(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return run_json


@pytest.fixture
def real(settings):
    """Run a command as a process of its own, in the settings' folder."""

    def run_process(*words: str, code: str = "from crmbridge.cli import main; main()", **more):
        options = {"cwd": settings.parent, "capture_output": True, "text": True, "timeout": 60, **more}
        return subprocess.run([sys.executable, "-c", code, *words], check=False, **options)

    return run_process


@pytest.fixture
def roles(crm):
    """The pairs in the little CRM as they are now."""

    def read_roles():
        with closing(sqlite3.connect(crm)) as connection:
            return connection.execute("SELECT opportunity_id, contact_id FROM contact_role ORDER BY 1, 2").fetchall()

    return read_roles
