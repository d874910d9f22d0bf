"""Settings: file, environment, secrets, and faults in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from crmbridge.config import in_memory, is_secret, load
from crmbridge.errors import SettingsError

SECRET = "hunter2-do-not-print"


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: str = "none"
    password: SecretStr | None = None
    mapping: Path | None = None
    schema_name: str | None = Field(default=None, alias="schema")
    timeout_s: int = 30


class OwnFile(Options):
    password_file: Path | None = None


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("CRMBRIDGE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path):
    def write_settings(text: str) -> Path:
        path = tmp_path / "crmbridge.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_settings


def refused(path: Path) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(path)
    return caught.value


def test_an_empty_file_means_the_defaults(write, tmp_path):
    settings = load(write(""))
    assert settings.crm.adapter == "sql"
    assert settings.workspace_folder == tmp_path / ".crmbridge"
    assert settings.workspace.time_zone == "UTC"
    assert settings.backfill.apply is False


def test_the_environment_wins_over_the_file(write, monkeypatch):
    path = write('[crm]\nadapter = "sql"\n[crm.options]\nurl = "a"\nschema = "s"\n[policy]\nthreshold = 0.9\n')
    monkeypatch.setenv("CRMBRIDGE_CRM__ADAPTER", "hubspot")
    monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS__URL", "b")
    monkeypatch.setenv("CRMBRIDGE_BACKFILL__APPLY", "true")
    monkeypatch.setenv("CRMBRIDGE_WEIGHTS__LEAD_CONVERSION", "4.5")
    settings = load(path)
    assert settings.crm.adapter == "hubspot"
    assert settings.crm.options == {"url": "b", "schema": "s"}
    assert settings.policy == {"threshold": 0.9}
    assert settings.backfill.apply is True
    assert settings.weights == {"lead_conversion": 4.5}


@pytest.mark.parametrize("text", ["007", "1e5", "true", "null", '["a"]', '{"a": 1}'])
def test_a_password_from_the_environment_stays_the_text_it_is(write, monkeypatch, text):
    monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS__PASSWORD", text)
    options = load(write("")).adapter_options(Options)
    assert options.password.get_secret_value() == text


def test_lists_come_from_the_environment_as_json(write, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_POLICY__OWNERS", '["u1", "u2"]')
    assert load(write("")).policy == {"owners": ["u1", "u2"]}


def test_an_unknown_section_in_the_environment_is_refused(write, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_POLCY__THRESHOLD", "0.9")
    error = refused(write(""))
    assert "CRMBRIDGE_POLCY__THRESHOLD" in error.message
    assert "CRMBRIDGE_POLICY__" in error.hint


def test_contradicting_variables_are_refused(write, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS", "x")
    monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS__URL", "y")
    assert "contradicts" in refused(write("")).message


def test_variables_that_are_not_settings_are_let_be(write, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_TEST_POSTGRES", "x")
    assert load(write("")).crm.adapter == "sql"


def test_the_file_may_be_named_by_the_environment(write, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_SETTINGS", str(write('[crm]\nadapter = "other"\n')))
    assert load().crm.adapter == "other"


def test_a_missing_file_names_init(tmp_path):
    error = refused(tmp_path / "crmbridge.toml")
    assert str(tmp_path / "crmbridge.toml") in error.message
    assert "crmbridge init" in error.hint
    assert error.exit_code == 3


def test_a_folder_instead_of_a_file_is_a_settings_error(tmp_path):
    assert "cannot read" in refused(tmp_path).message


def test_broken_toml_names_line_and_column(write):
    assert "line 2, column" in refused(write("[crm]\nadapter = sql\n")).message


def test_other_encodings_are_refused_and_a_byte_order_mark_is_not(tmp_path):
    path = tmp_path / "crmbridge.toml"
    path.write_bytes('[crm]\nadapter = "bücher"\n'.encode("latin-1"))
    assert "UTF-8" in refused(path).message
    path.write_bytes(b'\xef\xbb\xbf[crm]\nadapter = "x"\n')
    assert load(path).crm.adapter == "x"


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("[workspce]\n", "workspce", "workspace"),
        ('[crm]\nadaptor = "sql"\n', "crm.adaptor", "adapter"),
        ("[backfill]\naply = true\n", "backfill.aply", "apply"),
    ],
)
def test_an_unknown_key_names_the_nearest_and_all_allowed(write, text, key, near):
    error = refused(write(text))
    assert f"unknown key `{key}`" in error.message
    assert f"did you mean `{near}`" in error.hint
    assert "allowed:" in error.hint


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("[crm]\nadapter = 5\n", "crm.adapter", "received 5"),
        ("[crm]\noptions = 3\n", "crm.options", "received an integer"),
        ("policy = []\n", "policy", "received a list"),
        ('[backfill]\napply = "perhaps"\n', "backfill.apply", "'perhaps'"),
        ("[weights]\nlead_conversion = nan\n", "weights.lead_conversion", "finite"),
        ('[workspace]\ntime_zone = "Mars/Olympus"\n', "workspace.time_zone", "'Mars/Olympus'"),
        ('[workspace]\ntime_zone = "../etc"\n', "workspace.time_zone", "Europe/Berlin"),
        ('[workspace]\ntime_zone = "Europe"\n', "workspace.time_zone", "Europe/Berlin"),
    ],
)
def test_a_wrong_value_names_its_key_and_what_came(write, text, key, said):
    error = refused(write(text))
    assert f"`{key}`" in error.message
    assert said in error.message


def test_a_wrong_value_from_the_environment_names_the_variable(write, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_BACKFILL__APPLY", "perhaps")
    assert "CRMBRIDGE_BACKFILL__APPLY" in refused(write("")).message


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{SECRET}"',
        f'access_token = "{SECRET}"',
        f'clientSecret = "{SECRET}"',
        f'"private-key" = "{SECRET}"',
        f'login = {{ consumer_secret = "{SECRET}" }}',
        f'token = ["{SECRET}"]',
        f'url = "postgresql://me:{SECRET}@host/db"',
    ],
)
def test_a_secret_in_the_file_is_refused_and_never_repeated(write, line):
    error = refused(write(f"[crm.options]\n{line}\n"))
    assert "CRMBRIDGE_CRM__OPTIONS__" in error.hint
    assert SECRET not in str(error)
    assert error.__cause__ is None


@pytest.mark.parametrize("key", ["token_url", "password_file", "secretary", "tokens_per_call", "key"])
def test_places_and_look_alikes_are_no_secrets(key):
    assert not is_secret(key)


def test_an_address_without_a_password_is_fine(write):
    assert load(write('[crm.options]\nurl = "postgresql://me@host:5432/db"\n')).crm.options["url"]


def test_a_secret_is_read_from_its_file_beside_the_settings(write, tmp_path):
    (tmp_path / "pw").write_text(f"{SECRET}\n")
    settings = load(write('[crm.options]\npassword_file = "pw"\n'))
    assert settings.adapter_options(Options).password.get_secret_value() == SECRET
    assert SECRET not in repr(settings)


def test_an_adapter_may_ask_for_the_file_itself(write, tmp_path):
    settings = load(write('[crm.options]\npassword_file = "pw"\n'))
    assert settings.adapter_options(OwnFile).password_file == tmp_path / "pw"


@pytest.mark.parametrize("model", [Options, OwnFile])
def test_the_environment_replaces_a_secret_file(write, monkeypatch, model):
    monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS__PASSWORD", SECRET)
    options = load(write('[crm.options]\npassword_file = "gone"\n')).adapter_options(model)
    assert options.password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "empty"), (b"\xff\xfe\xff", "UTF-8"), (b"x" * 70_000, "too large")],
)
def test_an_unusable_secret_file_is_refused(write, tmp_path, content, said):
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    settings = load(write('[crm.options]\npassword_file = "pw"\n'))
    with pytest.raises(SettingsError, match=said):
        settings.adapter_options(Options)


def test_relative_paths_are_relative_to_the_settings_file(write, tmp_path, monkeypatch):
    path = write('[crm.options]\nurl = "sqlite:///crm.db"\nmapping = "map.toml"\n')
    monkeypatch.chdir("/")
    options = load(path).adapter_options(Options)
    assert options.url == f"sqlite:///{tmp_path}/crm.db"
    assert options.mapping == tmp_path / "map.toml"


@pytest.mark.parametrize("url", ["sqlite:////var/crm.db", "sqlite://", "postgresql:///db", "sqlite:///C:/crm.db"])
def test_other_addresses_stay_as_they_are(write, url):
    assert load(write(f'[crm.options]\nurl = "{url}"\n')).adapter_options(Options).url == url


def test_options_are_told_by_key_and_kind_but_never_by_value(write):
    settings = load(write(f'[crm.options]\ntimeout_s = "{SECRET}"\n'))
    with pytest.raises(SettingsError, match=r"crm\.options\.timeout_s.*received text") as caught:
        settings.adapter_options(Options)
    assert SECRET not in str(caught.value)


def test_an_unknown_option_names_the_nearest(write):
    settings = load(write("[crm.options]\ntimeout = 3\n"))
    with pytest.raises(SettingsError) as caught:
        settings.adapter_options(Options)
    assert "`timeout_s`" in caught.value.hint
    assert "schema" in caught.value.hint


def test_a_missing_option_names_its_variable(write):
    class Needy(BaseModel):
        host: str

    with pytest.raises(SettingsError) as caught:
        load(write("")).adapter_options(Needy)
    assert "CRMBRIDGE_CRM__OPTIONS__HOST" in caught.value.hint


def test_a_section_is_validated_by_the_model_of_its_room(write):
    class Policy(BaseModel):
        model_config = ConfigDict(extra="forbid")
        threshold: float = Field(gt=0, lt=1)

    assert load(write("[policy]\nthreshold = 0.5\n")).section("policy", Policy).threshold == 0.5
    with pytest.raises(SettingsError, match=r"policy\.threshold.*less than 1.*received 7"):
        load(write("[policy]\nthreshold = 7\n")).section("policy", Policy)


def test_scripts_need_no_file_and_may_pass_secrets(tmp_path):
    settings = in_memory({"crm": {"options": {"password": SECRET}}}, folder=tmp_path)
    assert settings.file is None
    assert settings.workspace_folder == tmp_path / ".crmbridge"
    assert settings.adapter_options(Options).password.get_secret_value() == SECRET
    assert SECRET not in repr(settings)


def test_the_digest_of_options_sees_other_options_and_files_and_no_secret(tmp_path):
    mapping = tmp_path / "crm.toml"
    secret = tmp_path / "secret"

    def digest(*, text="a", password="p", **options):
        mapping.write_text(text)
        secret.write_text(password)
        told = {"mapping": str(mapping), "password_file": str(secret), **options}
        return in_memory({"crm": {"options": told}}).options_digest(OwnFile)

    assert digest() == digest(password="q")
    assert len({digest(), digest(text="b"), digest(url="other")}) == 3
    kept = in_memory({"crm": {"options": {"password": "p"}}}).options_digest(Options)
    assert kept == in_memory({"crm": {"options": {"password": "q"}}}).options_digest(Options)
