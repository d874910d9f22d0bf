"""`init` and `adapters`, and the package's own front."""

from __future__ import annotations

import tomllib

import pytest
from typer.testing import CliRunner

import crmbridge
from crmbridge.cli.app import app


def init(path, *words):
    return CliRunner().invoke(app, ["init", "--settings", str(path), *words])


def test_init_writes_settings_that_load_once_filled_in(tmp_path, crm, monkeypatch):
    path = tmp_path / "crmbridge.toml"
    result = init(path)
    assert result.exit_code == 0
    assert "crmbridge check" in result.stdout
    written = path.read_text()
    path.write_text(written.replace('url = ""', 'url = "sqlite:///crm.db"'))
    assert CliRunner().invoke(app, ["--settings", str(path), "check"]).exit_code == 0


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("[policy]\ntreshold = 0.7", "treshold"),
        ("[policy]\nthreshold = 70", "threshold"),
        ("[weights]\nlead_convrsion = 4", "lead_convrsion"),
        ('[rules]\ndisabled = ["nope"]', "nope"),
        ('[rules]\nplugins = ["same_owner"]', "same_owner"),
        ('[attribution]\nmodels = ["nope"]', "nope"),
    ],
)
@pytest.mark.parametrize("command", ["check", "backfill"])
def test_settings_that_cannot_be_used_are_told_at_once(settings, section, said, command):
    settings.write_text(f'[crm]\nadapter = "sql"\n[crm.options]\nurl = "sqlite:///crm.db"\n{section}\n')
    shown = CliRunner().invoke(app, ["--settings", str(settings), command])
    assert shown.exit_code == (10 if command == "check" else 3), shown.output
    assert said in shown.output
    assert not (settings.parent / ".crmbridge" / "snapshot.duckdb").exists()


def test_every_suggested_line_is_toml(tmp_path):
    path = tmp_path / "crmbridge.toml"
    init(path)
    lines = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ") and " = " in line]
    suggested = [line for line in lines if line.split(" = ")[0].isidentifier()]
    assert len(suggested) > 20
    for line in suggested:
        tomllib.loads(line)


def test_init_does_not_overwrite_unless_forced(tmp_path):
    path = tmp_path / "crmbridge.toml"
    path.write_text("# mine\n")
    assert init(path).exit_code == 3
    assert path.read_text() == "# mine\n"
    assert init(path, "--force").exit_code == 0
    assert 'adapter = "sql"' in path.read_text()


def test_init_offers_no_place_for_a_secret(tmp_path):
    init(tmp_path / "crmbridge.toml")
    text = (tmp_path / "crmbridge.toml").read_text()
    assert "\npassword" not in text
    assert "\n# password =" not in text
    assert "CRMBRIDGE_CRM__OPTIONS__PASSWORD" in text


def test_init_for_an_unknown_adapter_names_those_there_are(tmp_path):
    result = init(tmp_path / "crmbridge.toml", "--adapter", "sqll")
    assert result.exit_code == 3
    assert 'adapter = "sql"' in result.stderr
    assert not (tmp_path / "crmbridge.toml").exists()


def test_init_in_no_folder_is_told(tmp_path):
    assert init(tmp_path / "no" / "crmbridge.toml").exit_code == 9


def test_adapters_are_listed_without_importing_them(answer, monkeypatch):
    monkeypatch.setattr("importlib.metadata.EntryPoint.load", lambda self: pytest.fail("imported"))
    listed = {entry["name"]: entry["target"] for entry in answer("adapters")["adapters"]}
    assert listed["sql"] == "crmbridge.adapters.sql:SqlAdapter"


def test_the_version_is_the_packages(answer):
    assert CliRunner().invoke(app, ["--version"]).stdout == f"crmbridge {crmbridge.__version__}\n"


def test_every_public_name_is_there():
    for name in crmbridge.__all__:
        assert getattr(crmbridge, name) is not None
    rooms = {name for names in crmbridge._ROOMS.values() for name in names}
    assert rooms | {"__version__"} == set(crmbridge.__all__) <= set(dir(crmbridge))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = crmbridge.nonsense
