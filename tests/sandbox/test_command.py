"""`crmbridge sandbox`: what it tells, and that what it tells is true."""

import json
import re
import threading
import tomllib

import pytest
import requests
import typer
from typer.testing import CliRunner

from crmbridge.cli import sandbox as command
from crmbridge.cli.console import Console
from crmbridge.errors import SettingsError, WorkspaceError


@pytest.fixture
def run(monkeypatch):
    """Run the command; `look` is called while the sandbox listens."""

    def runs(*arguments, crm="salesforce", look=lambda: None):
        monkeypatch.setattr(command, "_wait", look)
        monkeypatch.setattr(command, "session_of", lambda _: type("S", (), {"console": Console(as_json=True)}))
        app = typer.Typer()
        command.register(app)
        return CliRunner().invoke(app, ["sandbox", crm, *arguments], catch_exceptions=True)

    return runs


def test_it_tells_how_to_log_in(run):
    began = []
    result = run("--port", "0", look=lambda: began.append(threading.active_count()))
    told = json.loads(result.stdout)
    assert began
    assert told["url"].startswith("http://127.0.0.1:")
    assert f'base_url = "{told["url"]}"' in told["settings"]
    assert 'contact_lookup_fields = ["Signer__c"]' in told["settings"]


@pytest.mark.parametrize("crm", ["salesforce", "hubspot"])
def test_its_settings_let_a_first_run_through(run, crm):
    told = tomllib.loads(json.loads(run("--port", "0", crm=crm).stdout)["settings"])
    assert told["crm"]["adapter"] == crm
    assert told["policy"] == {"max_changed_percent": 100}


def test_the_login_works_while_it_listens(run, capfd):
    answers = []

    def look():
        served = answers.pop()
        form = {"grant_type": "client_credentials"}
        auth = (served.credentials.consumer_key, served.credentials.consumer_secret)
        answers.append(requests.post(f"{served.url}/services/oauth2/token", data=form, auth=auth, timeout=10).status_code)

    original = command._announce
    command._announce = lambda _, served: answers.append(served)
    try:
        run("--port", "0", look=look)
    finally:
        command._announce = original
    assert answers == [200]


@pytest.mark.parametrize(("crm", "line"), [("salesforce", r"006\w{15},003\w{15}"), ("hubspot", r"\d+,\d+")])
def test_the_demo_comes_with_its_truth(run, tmp_path, crm, line):
    result = run("--port", "0", "--demo", "--opportunities", "20", "--truth", str(tmp_path / "missing.csv"), crm=crm)
    assert result.exit_code == 0
    head, *lines = (tmp_path / "missing.csv").read_text().splitlines()
    assert head == "opportunity_id,contact_id"
    assert lines
    assert all(re.fullmatch(line, one) for one in lines)


@pytest.mark.parametrize("crm", ["salesforce", "hubspot"])
def test_truth_without_demo_is_refused(run, tmp_path, crm):
    assert isinstance(run("--truth", str(tmp_path / "x"), crm=crm).exception, SettingsError)


def test_a_port_that_is_taken(run, serve):
    taken = serve().sandbox.url.rpartition(":")[2]
    assert isinstance(run("--port", taken).exception, WorkspaceError)
