"""No token, name, address or body in any log line, error, traceback or output, whatever goes wrong in whatever call."""

from __future__ import annotations

import io
import json
import logging
import traceback
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime

import pytest
from portals import crm_id, open_adapter, options
from typer.testing import CliRunner

from crmbridge.adapters.hubspot import HubSpotAdapter, connection
from crmbridge.cli.app import app
from crmbridge.contract import RoleWrite
from crmbridge.demo.world import make_world
from crmbridge.errors import CrmBridgeError
from crmbridge.model import Entity
from crmbridge.testing.sandbox import HubSpotFault, HubSpotSandbox, HubSpotSwitches, HubSpotTrouble, PairFault
from crmbridge.testing.worlds import PERSONAL_MARK, personal
from plain_server import plain_server

TROUBLES = [trouble for trouble in HubSpotTrouble if trouble is not HubSpotTrouble.SLOW]
PLANTED = "planted"
LABEL = "Champion"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(connection, "_wait", lambda state: 0)
    monkeypatch.setattr(connection, "ATTEMPTS", 2)


@pytest.fixture
def portal():
    with HubSpotSandbox(personal(), HubSpotSwitches(labels=(LABEL,))) as made:
        yield made


def put(contact, role=LABEL):
    return RoleWrite(
        key=f"k{contact}",
        action="put",
        opportunity_id=crm_id(Entity.OPPORTUNITY, "opportunity-3"),
        contact_id=crm_id(Entity.CONTACT, f"contact-{contact}"),
        role=role,
    )


def reading(adapter):
    adapter.check()
    for entity in sorted(adapter.capabilities.entities):
        list(adapter.read(entity))


def writing(adapter):
    receipts = list(adapter.write_roles([put(1), put(2, None), put(99), put(3, f"{PERSONAL_MARK} of nobody")], checkpoint=print))
    for receipt in receipts:
        logging.getLogger("crmbridge").info("outcome %s, code %s", receipt.outcome, receipt.code)
    list(adapter.settle([put(1), put(3)], []))


def told_by_its_error(act):
    try:
        act()
    except CrmBridgeError as error:
        raised = error
    else:
        return ""
    assert raised.__cause__ is None
    assert raised.__context__ is None or raised.__suppress_context__
    return "".join(traceback.format_exception(raised)) + repr(raised) + str(raised.hint)


@contextmanager
def all_levels():
    """Every logger says everything, also where the client has silenced it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(logging.Logger, "isEnabledFor", lambda self, level: True)
        yield


def overheard(act):
    """All that is logged, printed, warned, raised: as a careless program would print it."""
    said, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(said)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned, redirect_stdout(said), redirect_stderr(said), all_levels():
            warnings.simplefilter("always")
            said.write(told_by_its_error(act))
    finally:
        root.removeHandler(handler)
    return said.getvalue() + "".join(str(one.message) for one in warned)


def hold_discreet(said, portal):
    tokens = portal.tokens
    for secret in ("pat-sandbox", tokens.client_id, tokens.client_secret, tokens.refresh_token, "Bearer", PERSONAL_MARK, PLANTED):
        assert secret not in said


def test_what_is_logged_is_really_overheard(portal):
    """The other tests here would hold nothing if nobody listened."""
    adapter = open_adapter(portal)
    said = overheard(lambda: (logging.getLogger("urllib3").debug("heard"), print("printed"), reading(adapter)))
    adapter.close()
    assert "urllib3 DEBUG heard" in said
    assert "printed" in said
    assert '"GET /crm/v3/objects/contacts' in said, "urllib3 tells each request"


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("act", [reading, writing])
def test_trouble_is_told_without_anything_personal(portal, trouble, act):
    struck = 0
    for first in (1, 4, 9, 14, 30):
        portal.faults.clear()
        portal.faults.add(HubSpotFault(trouble=trouble, nth=first, times=500))
        adapter = open_adapter(portal)
        said = overheard(lambda adapter=adapter: act(adapter))
        adapter.close()
        portal.new_day()
        hold_discreet(said, portal)
        struck += bool(portal.faults.struck)
    assert struck


@pytest.mark.parametrize(
    "trouble", [HubSpotTrouble.BUSY, HubSpotTrouble.DROP_AFTER, HubSpotTrouble.LOCKED, HubSpotTrouble.GATEWAY]
)
def test_a_login_that_fails_tells_no_secret(portal, trouble):
    tokens = portal.tokens
    secrets = {"client_id": tokens.client_id, "client_secret": tokens.client_secret, "refresh_token": tokens.refresh_token}
    portal.faults.add(HubSpotFault(trouble=trouble, path="oauth", times=500))
    adapter = open_adapter(portal, access_token=None, **secrets)
    said = overheard(lambda: reading(adapter))
    assert "POST /oauth/v1/token" in said
    hold_discreet(said, portal)
    adapter.close()


def test_a_refused_login_tells_no_secret(portal):
    secrets = {"client_id": "zq7x-client", "client_secret": "zq7x-secret", "refresh_token": "zq7x-refresh"}
    adapter = open_adapter(portal, access_token=None, **secrets)
    said = overheard(lambda: reading(adapter))
    assert "HubSpot refused POST /oauth/v1/token: 400" in said
    assert "client_secret and refresh_token" in said
    hold_discreet(said, portal)
    adapter.close()


@pytest.mark.parametrize("has_context", [True, False])
@pytest.mark.parametrize("sub_category", ["", f"crm.{PERSONAL_MARK} Smith", f"{PERSONAL_MARK}@planted.example"])
def test_refused_pairs_are_told_by_code_alone(portal, sub_category, has_context):
    message = f"{PLANTED} {PERSONAL_MARK} Smith"
    portal.pair_faults.add(
        PairFault(message=message, sub_category=sub_category, category=f"{PERSONAL_MARK} Smith", has_context=has_context)
    )
    adapter = open_adapter(portal)
    (receipt,) = adapter.write_roles([put(1)], checkpoint=print)
    adapter.close()
    assert (receipt.outcome, receipt.code) == ("rejected", "UNKNOWN")


# --- answers that no HubSpot should give -----------------------------------------------------------------------------

_TEXT = f"{PERSONAL_MARK} Smith, {PERSONAL_MARK}@{PLANTED}.example, Bearer pat-sandbox-9"
HOSTILE = [
    _TEXT.encode(),
    f"<html>{_TEXT}</html>".encode(),
    json.dumps(_TEXT).encode(),
    json.dumps([_TEXT]).encode(),
    json.dumps(
        {"status": _TEXT, "message": _TEXT, "category": _TEXT, "subCategory": f"a.{_TEXT}", "correlationId": _TEXT}
    ).encode(),
    json.dumps({"message": _TEXT, "policyName": f"DAILY {_TEXT}", "errors": [{"message": _TEXT}]}).encode(),
]


OTHERS = (201, 302, 400, 404, 409, 414, 423, 477, 500, 503, 504)
SLOW = pytest.mark.slow


def answering(status, body):
    """A server that says the same to everybody."""
    headers = {"Content-Type": "application/json", "X-HubSpot-RateLimit-Remaining": _TEXT}
    return plain_server(lambda *_: (status, headers, body))


@pytest.mark.parametrize("status", [200, 207, 401, 403, 429, 502, *(pytest.param(one, marks=SLOW) for one in OTHERS)])
def test_whatever_is_answered_it_is_told_without_its_body(portal, status):
    for body in HOSTILE:
        with answering(status, body) as url:
            for act in (reading, writing):
                adapter = HubSpotAdapter(options(portal, base_url=url))
                said = overheard(lambda adapter=adapter, act=act: act(adapter))
                adapter.close()
                hold_discreet(said, portal)
                assert "HubSpot" in said


# --- the command line ------------------------------------------------------------------------------------------------


def command_on(portal, folder, monkeypatch):
    """Run commands on a portal; give the exit code, and all that they say, log and raise."""
    settings = folder / "crmbridge.toml"
    settings.write_text(
        f'[crm]\nadapter = "hubspot"\n[crm.options]\nbase_url = "{portal.url}"\nsettle_wait_s = 0\n'
        "[policy]\nmax_changed_percent = 100\n"
    )

    def run(*words):
        monkeypatch.setenv("CRMBRIDGE_CRM__OPTIONS__ACCESS_TOKEN", portal.access_token)
        results = []
        said = overheard(lambda: results.append(CliRunner().invoke(app, ["-v", "--settings", str(settings), *words])))
        (result,) = results
        return result.exit_code, said + result.output + repr(result.exception)

    return run


@pytest.mark.parametrize("trouble", TROUBLES)
def test_commands_tell_of_trouble_without_anything_personal(portal, tmp_path, monkeypatch, trouble):
    command = command_on(portal, tmp_path, monkeypatch)
    for words in (["check"], ["pull"]):
        portal.faults.clear()
        portal.faults.add(HubSpotFault(trouble=trouble, nth=3, times=500))
        code, said = command(*words)
        assert code in (0, 4, 5, 10)
        hold_discreet(said, portal)
        portal.new_day()
    assert portal.faults.struck


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES)
def test_writing_tells_of_trouble_without_anything_personal(tmp_path, monkeypatch, trouble):
    world = make_world(opportunities=30, as_of=datetime.now(UTC)).records
    marked = {"first_name": PERSONAL_MARK, "last_name": f"{PERSONAL_MARK} Smith"}
    world[Entity.CONTACT] = [one.model_copy(update=marked) for one in world[Entity.CONTACT]]
    with HubSpotSandbox(world) as portal:
        portal.faults.add(HubSpotFault(trouble=trouble, path="batch/create", times=500))
        code, said = command_on(portal, tmp_path, monkeypatch)("backfill", "--apply")
        assert portal.faults.struck
        assert code in (0, 4, 5, 10)
        hold_discreet(said, portal)
