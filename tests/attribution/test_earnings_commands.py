"""The commands: `ledger`, `roi`, `attribute`, `freeze`, `restatement` on a little CRM in SQLite."""

import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from decimal import Decimal

import pytest
import sqlalchemy as sa
from earning import ACCOUNT, campaign, deal, person, role, touch, won
from typer.testing import CliRunner

from crmbridge.adapters.sql import schema
from crmbridge.cli.app import app
from crmbridge.cli.console import money_cell
from crmbridge.model import OpportunityContactLookup
from crmbridge.testing.worlds import world_of

COMMANDS = ("ledger", "roi", "attribute", "freeze", "restatement")
HOSTILE = "[bold]Fair[/bold] <b>\x1b[31m"
FIRM = (
    *(ACCOUNT, campaign("fair", "50", name=HOSTILE), campaign("mail", "20", type="Mail"), person("C"), person("D")),
    *(won("O", "1000.50"), won("P", "70"), deal("Q", "5"), role("O", "C"), touch("C"), touch("D", campaign="mail")),
    OpportunityContactLookup(id="L", opportunity_id="P", contact_id="D", field="signer"),
)


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """A folder with the little CRM, its settings, and a workspace that has pulled it."""
    folder = tmp_path_factory.mktemp("pulled") / "firm"
    folder.mkdir()
    engine = sa.create_engine(f"sqlite:///{folder / 'crm.db'}")
    schema.create_tables(engine)
    schema.load(engine, world_of(FIRM))
    engine.dispose()
    settings = folder / "crmbridge.toml"
    asked = '[attribution]\nmodels = ["linear", "first", "markov"]\nlookback_days = 3650\n'
    settings.write_text(f'[crm]\nadapter = "sql"\n[crm.options]\nurl = "sqlite:///crm.db"\n{asked}', encoding="utf-8")

    assert CliRunner().invoke(app, ["--settings", str(settings), "pull"]).exit_code == 0
    return folder


@pytest.fixture
def run(pulled, tmp_path, monkeypatch):
    """Run a command on a copy of that folder."""
    for name in [name for name in os.environ if name.startswith("CRMBRIDGE_")]:
        monkeypatch.delenv(name)
    shutil.copytree(pulled, tmp_path / "firm")

    def run_command(*words):
        return CliRunner().invoke(app, ["--settings", str(tmp_path / "firm" / "crmbridge.toml"), *words])

    return run_command


@pytest.fixture
def answer(run):
    """The one JSON document of a command."""

    def run_json(*words, code=0):
        result = run(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return run_json


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command):
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: crmbridge {command}" in shown.stdout


def test_ledger_accounts_for_every_amount(answer, run):
    rows = answer("ledger")["ledger"]
    assert {(row["state"], row["residual"], row["amount"]) for row in rows} == {
        ("won", "attributed", "1000.5000"),
        ("won", "no_role", "70.0000"),
        ("open", "no_role", "5.0000"),
    }
    shown = run("ledger").stdout
    assert "1,000.50" in shown
    assert "no role" in shown
    assert "markov: needs 30 won and 30 lost opportunities" in shown


def test_an_amount_without_a_currency_says_so(run, tmp_path):
    with closing(sqlite3.connect(tmp_path / "firm" / "crm.db")) as crm, crm:
        crm.execute("UPDATE opportunity SET currency = NULL WHERE id = 'O'")
    assert run("pull", "--full").exit_code == 0
    for command in ("coverage", "ledger", "attribute", "roi"):
        (line,) = [line for line in run(command).stdout.splitlines() if "1,000.50" in line]
        assert "(no currency)" in line, command


def test_ledger_with_a_plan_and_its_gaps(answer, run):
    assert answer("plan")["lines"] == 1
    gaps = answer("ledger", "--plan", "newest")["gaps"]
    assert [(row["opportunity_id"], row["closes"]) for row in gaps] == [("P", True), ("Q", False)]
    shown = run("ledger", "--plan", "newest", "--gaps").stdout
    assert "as if applied" in shown
    assert "the plan closes it" in shown


def test_roi_by_campaign_type_and_model(answer, run):
    document = answer("roi", "--model", "first")
    assert {row["key"]: row["roi"] for row in document["roi"]} == {"fair": pytest.approx(19.01), "mail": -1}
    assert {row["model"] for row in document["roi"]} == {"first"}
    assert [row["key"] for row in answer("roi", "--by", "type")["roi"]] == ["Mail"]
    assert "+1,901 %" in run("roi").stdout


def test_names_from_the_crm_do_not_steer_the_terminal(run):
    shown = run("roi").stdout
    assert "[bold]Fair[/bold] <b>" in shown
    assert "\x1b" not in shown


def test_attribute_shows_the_models_side_by_side(answer, run):
    document = answer("attribute", "--mode", "implicit")
    given = {(row["model"], row["campaign_id"]): row["credit"] for row in document["credits"] if row["state"] == "won"}
    assert given["linear", "fair"] == "535.2500"
    assert given["first", "mail"] == "0.0000"
    assert "First touch" in run("attribute").stdout


def test_everything_in_one_currency(answer):
    rows = answer("ledger", "--currency", "usd")["ledger"]
    assert {row["residual"] for row in rows} == {"no_exchange_rate"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("roi", "--model", "linaer"), 3, "models: linear, first"),
        (("roi", "--model", "markov"), 3, "was left out: it needs 30 won"),
        (("roi", "--by", "owner"), 2, "campaign, type, month"),
        (("ledger", "--mode", "all"), 2, "explicit"),
        (("ledger", "--currency", "EURO"), 3, "attribution.currency"),
        (("ledger", "--plan", "newest"), 7, "plan"),
        (("freeze", "May"), 3, "a month 2026-03, a quarter 2026-Q1, or a year 2026"),
        (("restatement", "2026-05"), 3, "crmbridge freeze 2026-05"),
    ],
)
def test_errors_teach(run, words, code, message):
    result = run(*words)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_before_the_first_pull_the_next_command_is_told(run, tmp_path):
    for path in (tmp_path / "firm" / ".crmbridge").glob("snapshot*"):
        path.unlink()
    result = run("ledger")
    assert result.exit_code == 9
    assert "crmbridge pull" in result.stderr


def test_freezing_says_what_was_in_it_and_whether_the_period_is_over(run):
    shown = run("freeze", "2026-05").stdout
    assert "2 won opportunities of 2026-05: 1,070.50 EUR" in shown
    assert "not over" not in run("freeze", "1999").stdout
    shown = run("freeze", "2999-q4").stdout
    assert "0 won opportunities of 2999-Q4: nothing was won" in shown
    assert "2999-Q4 is not over" in shown


def test_freeze_then_restatement(run, answer, tmp_path):
    document = answer("freeze", "2026-Q2")
    assert document["opportunities"] == 2
    frozen = document["frozen"]
    assert stat.S_IMODE(os.stat(frozen).st_mode) == 0o600  # noqa: PTH116 - a path as text
    assert "Nothing changed" in run("restatement", "2026-q2").stdout
    with closing(sqlite3.connect(tmp_path / "firm" / "crm.db")) as connection, connection:
        connection.execute("UPDATE opportunity SET amount = '1000.60' WHERE id = 'O'")
    assert run("pull", "--full").exit_code == 0
    rows = answer("restatement", "2026-Q2")["restatement"]
    assert {(row["cause"], row["difference"]) for row in rows} == {("amount", "0.1000")}
    shown = run("restatement", "2026-Q2").stdout
    assert "its amount, currency or exchange rate changed" in shown
    assert run("freeze", "2026-Q2").exit_code == 3


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("10.0050", "KWD", "10.005"),
        ("1234.0000", "JPY", "1,234"),
        ("1234.5000", "EUR", "1,234.50"),
        ("33.3333", "EUR", "33.33"),
        ("-0.0050", "KWD", "-0.005"),
        ("10.0050", None, "10.005"),
        ("1234567", None, "1,234,567.00"),
        ("0.0000", None, "0.00"),
        (None, "EUR", None),
    ],
)
def test_amounts_have_the_digits_of_their_currency(amount, currency, shown):
    assert money_cell(None if amount is None else Decimal(amount), currency) == shown


def test_commands_show_what_the_ledger_holds(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'crm.db'}")
    schema.create_tables(engine)
    records = (
        ACCOUNT,
        person("C"),
        role("O", "C"),
        won("O", "10.005", "KWD"),
        won("P", "7", "JPY"),
        touch("C"),
        campaign("fair"),
    )
    schema.load(engine, world_of(records))
    engine.dispose()
    settings = tmp_path / "crmbridge.toml"
    settings.write_text('[crm]\nadapter = "sql"\n[crm.options]\nurl = "sqlite:///crm.db"\n', encoding="utf-8")
    assert CliRunner().invoke(app, ["--settings", str(settings), "pull"]).exit_code == 0
    for words in (["ledger"], ["ledger", "--gaps"], ["attribute"], ["roi"], ["coverage"], ["freeze", "2026-05"]):
        shown = CliRunner().invoke(app, ["--settings", str(settings), *words]).stdout
        assert ("10.005" in shown, "10.01" in shown, "7.00" in shown) == (True, False, False), words
