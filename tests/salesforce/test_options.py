import pytest
from pydantic import ValidationError

from crmbridge.adapters.salesforce import SalesforceOptions
from crmbridge.adapters.salesforce.ids import is_id, long_id, long_ids, short_id
from crmbridge.adapters.salesforce.options import Login

KEY = {"consumer_key": "key"}


@pytest.mark.parametrize(
    ("given", "login"),
    [
        (KEY | {"private_key": "pem", "username": "u"}, Login.JWT),
        (KEY | {"consumer_secret": "s", "domain": "acme.my"}, Login.CLIENT_CREDENTIALS),
        ({"access_token": "t", "instance_url": "https://acme.my.salesforce.com"}, Login.ACCESS_TOKEN),
        ({"username": "u", "password": "p", "security_token": "t"}, Login.PASSWORD),
    ],
)
def test_the_login_follows_from_what_is_given(given, login):
    assert SalesforceOptions(**given).login is login


@pytest.mark.parametrize(
    "given",
    [
        {},
        KEY,
        {"access_token": "secret"},
        KEY | {"consumer_secret": "secret"},
        {"access_token": "secret", "base_url": "ftp://x"},
        {"access_token": "secret", "base_url": "https://me:secret@x"},
        {"access_token": "secret", "base_url": "https://x", "api_version": "v64"},
        {"access_token": "secret", "base_url": "https://x", "contact_lookup_fields": ["A, (SELECT Id FROM Contacts)"]},
        {"access_token": "secret", "base_url": "https://x", "left_field": "A != null OR B"},
        {"access_token": "secret", "base_url": "https://x", "tineout_s": 1},
    ],
)
def test_what_cannot_work_is_refused_without_its_secrets(given):
    with pytest.raises(ValidationError) as caught:
        SalesforceOptions(**given)
    assert "secret'" not in str(caught.value)


def test_secrets_are_not_shown():
    shown = repr(SalesforceOptions(access_token="hush-hush", base_url="https://x"))
    assert "hush-hush" not in shown


def test_ids_get_the_check_that_salesforce_gives_them():
    # From a recorded answer.
    assert long_id("0057e00000RmwSW") == "0057e00000RmwSWAAZ"
    assert short_id("0057e00000RmwSWAAZ") == "0057e00000RmwSW"
    assert long_id("0057e00000RmwSWAAZ") == "0057e00000RmwSWAAZ"


@pytest.mark.parametrize("text", ["", "short", "0057e00000RmwSWAA9'", "x' OR Id != '", "\u00e9" * 15])
def test_what_is_no_id_is_told(text):
    assert not is_id(text)
    assert long_id(text) == text


def test_columns_of_ids_are_made_long():
    import pyarrow as pa

    assert long_ids(pa.array(["0057e00000RmwSW", None])).to_pylist() == ["0057e00000RmwSWAAZ", None]
    assert long_ids(pa.array([None, None], pa.string())).to_pylist() == [None, None]


def test_without_simple_salesforce_the_way_to_get_it_is_told(monkeypatch):
    import importlib
    import importlib.util

    import crmbridge.adapters.salesforce as package
    from crmbridge.errors import PluginError

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'crmbridge\[salesforce\]'"):
        importlib.reload(package)
    monkeypatch.undo()
    importlib.reload(package)
