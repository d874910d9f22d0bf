"""The registry against real distributions laid out on disk: what is listed, what is imported, what is refused."""

import sys

import pytest
from pydantic import SecretStr

from crmbridge.adapters import registry
from crmbridge.errors import PluginError, SettingsError

GOOD = """
from pydantic import BaseModel, SecretStr
from crmbridge.adapters.sql import SqlAdapter

class Options(BaseModel, extra="forbid"):
    token: SecretStr
    region: str = "eu"

class Good(SqlAdapter):
    name = "good"
    options = Options
    def __init__(self, options):
        self.options_given = options
        if options.region == "nowhere":
            raise RuntimeError(options.token.get_secret_value())
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay out an installed distribution with one adapter; its modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def lay_out(distribution, name, module, code, attribute="Good"):
        (tmp_path / f"{module}.py").write_text(code)
        folder = tmp_path / f"{distribution}-1.2.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text(f"[crmbridge.adapters]\n{name} = {module}:{attribute}\n")

    yield lay_out
    for module in set(sys.modules) - before:
        if module.startswith("plug_"):
            del sys.modules[module]


def test_lists_without_importing(install):
    install("acme", "acme", "plug_listed", "raise SystemExit('imported')")
    entry = next(entry for entry in registry.listed() if entry.name == "acme")
    assert (entry.distribution, entry.version, entry.target) == ("acme", "1.2", "plug_listed:Good")
    assert "plug_listed" not in sys.modules


def test_its_own_adapter_comes_in_by_the_same_door():
    assert "sql" in {entry.name for entry in registry.listed()}
    assert registry.load("sql").name == "sql"


def test_unknown_name_tells_what_is_installed_and_what_is_close():
    with pytest.raises(PluginError, match=r"unknown adapter 'sqll'; installed: .*sql") as caught:
        registry.load("sqll")
    assert '"sql"' in caught.value.hint


@pytest.mark.parametrize(
    ("code", "attribute", "said"),
    [
        ("raise ValueError('s3cret')", "Good", "ValueError"),
        ("raise SystemExit(3)", "Good", "SystemExit"),
        ("import plug_absent_dependency", "Good", "ModuleNotFoundError: plug_absent_dependency"),
        (GOOD, "Absent", "AttributeError"),
        (GOOD + "    contract_version = 99\n", "Good", "speaks contract version 99; this crmbridge speaks 1"),
        ("class Good: name = 'x'", "Good", "lacks contract_version, options"),
        ("Good = 3", "Good", "lacks to be a class"),
        (GOOD + "    settle = None\n", "Good", "lacks settle()"),
        (GOOD + "    options = dict\n", "Good", "lacks options (a pydantic model)"),
    ],
)
def test_a_broken_plug_in_is_named_and_breaks_no_other(install, code, attribute, said):
    install("acme", "acme", "plug_broken", code, attribute)
    with pytest.raises(PluginError) as caught:
        registry.load("acme")
    assert said in caught.value.message
    assert "acme 1.2" in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert registry.load("sql").name == "sql"
    sys.modules.pop("plug_broken", None)


def test_a_name_taken_twice_names_both_and_breaks_no_other(install):
    install("acme", "twin", "plug_one", GOOD)
    install("other", "twin", "plug_two", GOOD)
    with pytest.raises(PluginError, match=r"'twin' is announced by acme 1.2 and other 1.2"):
        registry.load("twin")
    assert registry.load("sql").name == "sql"


def test_opens_with_checked_options(install):
    install("acme", "good", "plug_good", GOOD)
    adapter = registry.open_adapter("good", {"token": "s3cret"})
    assert adapter.options_given.token == SecretStr("s3cret")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "token: Field required"),
        ({"token": "s3cret", "regoin": "s3cret"}, "unknown option 'regoin' (did you mean 'region'?)"),
        ({"token": ["s3cret"]}, "token: "),
        ({"token": "s3cret", "region": {"a": "s3cret"}}, "region: "),
    ],
)
def test_wrong_options_are_named_and_never_repeated(install, options, said):
    install("acme", "good", "plug_good", GOOD)
    with pytest.raises(SettingsError) as caught:
        registry.open_adapter("good", options)
    assert said in caught.value.message
    assert "token, region" in caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_a_constructor_that_fails_keeps_its_message(install):
    install("acme", "good", "plug_good", GOOD)
    with pytest.raises(PluginError, match="failed to open: RuntimeError") as caught:
        registry.open_adapter("good", {"token": "s3cret", "region": "nowhere"})
    assert "s3cret" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(SettingsError, match="holds a password") as caught:
        registry.open_adapter("sql", {"url": "postgresql://me:s3cret@localhost/crm"})
    assert "s3cret" not in str(caught.value)
    assert "password_file" in str(caught.value)
