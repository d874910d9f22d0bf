"""What `[crm.options]` may say for HubSpot, where its secrets come from, and that none is shown."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
from pydantic import ValidationError

from crmbridge.adapters.hubspot import HubSpotAdapter, HubSpotOptions
from crmbridge.adapters.sql import SqlOptions
from crmbridge.config import load
from crmbridge.errors import PluginError, SettingsError

SECRET = "hush-hush"
TOKEN = {"access_token": SECRET}
OAUTH = {"client_id": "hush-client", "client_secret": SECRET, "refresh_token": "hush-refresh"}


@pytest.mark.parametrize("given", [TOKEN, OAUTH, TOKEN | OAUTH])
def test_a_token_or_all_of_oauth(given):
    assert HubSpotOptions(**given).base_url == "https://api.hubapi.com"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"client_id": "c", "client_secret": SECRET},
        {"client_id": "c", "refresh_token": SECRET},
        {"client_secret": SECRET, "refresh_token": SECRET},
        {"access_token": ""},
        {"access_token": "\n"},
        {"access_token": f"{SECRET}\nX-Other: 1"},
        {"access_token": f"{SECRET} twice"},
        {"access_token": f"{SECRET}\u20ac"},
        OAUTH | {"client_secret": f"{SECRET}\r\n{SECRET}"},
        TOKEN | {"base_url": "ftp://x"},
        TOKEN | {"base_url": "api.hubapi.com"},
        TOKEN | {"base_url": f"https://me:{SECRET}@x"},
        TOKEN | {"base_url": f"https://x/?hapikey={SECRET}"},
        TOKEN | {"api": "v3"},
        TOKEN | {"api": "2026-09"},
        TOKEN | {"timeout_s": 0},
        TOKEN | {"max_api_calls": 0},
        TOKEN | {"settle_wait_s": -1},
        TOKEN | {"touch_slice_days": 0},
        TOKEN | {"touch_sources": ["webhooks"]},
        TOKEN | {"currency": "Euro"},
        TOKEN | {"time_zone": "Mars/Olympus"},
        TOKEN | {"time_zone": "../etc/passwd"},
        TOKEN | {"primary_label": ""},
        TOKEN | {"left_property": "left, or dead"},
        TOKEN | {"acess_token": "typo"},
    ],
)
def test_what_cannot_work_is_refused_without_its_secrets(given):
    with pytest.raises(ValidationError) as caught:
        HubSpotOptions(**given)
    assert SECRET not in str(caught.value)


def test_blanks_around_a_secret_are_nobodys_wish():
    options = HubSpotOptions(access_token=f" {SECRET}\n")
    assert options.access_token.get_secret_value() == SECRET


@pytest.mark.parametrize("url", ["https://api.hubapi.com/", "https://proxy.example/hubspot/"])
def test_addresses_end_without_a_slash(url):
    assert HubSpotOptions(**TOKEN, base_url=url).base_url == url.rstrip("/")


def test_secrets_are_not_shown():
    options = HubSpotOptions(**TOKEN | OAUTH)
    for shown in (repr(options), str(options), repr(HubSpotAdapter(options))):
        assert "hush" not in shown
    assert SECRET not in options.model_dump_json()


# --- from the settings -----------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write settings, and read the options out of them."""
    monkeypatch.delenv("CRMBRIDGE_CRM__OPTIONS__ACCESS_TOKEN", raising=False)

    def read(lines):
        path = tmp_path / "crmbridge.toml"
        path.write_text(f'[crm]\nadapter = "hubspot"\n[crm.options]\n{lines}\n')
        return load(path).adapter_options(HubSpotOptions)

    return read


def test_secrets_come_from_files_of_their_own(written, tmp_path):
    for name in ("access_token", "client_secret", "refresh_token"):
        (tmp_path / name).write_text(f"{SECRET}-{name}\n")
    options = written("\n".join(f'{name}_file = "{name}"' for name in ("access_token", "client_secret", "refresh_token")))
    assert options.access_token.get_secret_value() == f"{SECRET}-access_token"
    assert options.client_secret.get_secret_value() == f"{SECRET}-client_secret"
    assert options.refresh_token.get_secret_value() == f"{SECRET}-refresh_token"


def test_secrets_come_from_the_environment(written, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS__ACCESS_TOKEN", SECRET)
    assert written('primary_label = "Key"').access_token.get_secret_value() == SECRET


@pytest.mark.parametrize("name", ["access_token", "client_secret", "refresh_token"])
def test_secrets_are_refused_in_the_settings_themselves(written, name):
    with pytest.raises(SettingsError) as caught:
        written(f'{name} = "{SECRET}"')
    assert SECRET not in str(caught.value)
    assert f"{name}_file" in str(caught.value)


def test_options_that_contradict_each_other_are_told_without_secrets(written, monkeypatch):
    monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS__CLIENT_SECRET", SECRET)
    with pytest.raises(SettingsError, match="no complete login") as caught:
        written('client_id = "c"')
    assert SECRET not in str(caught.value)


# --- the adapter and its package -------------------------------------------------------------------------------------


def test_options_of_another_adapter_are_refused():
    with pytest.raises(SettingsError, match="takes HubSpotOptions, not SqlOptions"):
        HubSpotAdapter(SqlOptions(url="sqlite:///x.db"))


def test_without_the_client_the_way_to_get_it_is_told(monkeypatch):
    import crmbridge.adapters.hubspot as package

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'crmbridge\[hubspot\]'"):
        importlib.reload(package)
    monkeypatch.undo()
    importlib.reload(package)
