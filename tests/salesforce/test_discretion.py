"""No secret, name, address or body in any log line, error or traceback, whatever goes wrong."""

import io
import logging
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout

import pytest
from orgs import QUICK, crm_id

from crmbridge.adapters.salesforce import SalesforceAdapter, SalesforceOptions, transport
from crmbridge.contract import RoleWrite
from crmbridge.errors import CrmBridgeError
from crmbridge.model import Entity
from crmbridge.testing.sandbox import Credentials, Fault, RowFault, SalesforceSandbox, Trouble
from crmbridge.testing.worlds import PERSONAL_MARK, personal

TROUBLES = [trouble for trouble in Trouble if trouble not in (Trouble.SLOW, Trouble.JOB_FAILS)]
PLANTED = "planted"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(transport, "_wait", lambda state: 0)


def secrets(known: Credentials):
    return [known.consumer_secret, known.password, known.security_token, known.session_id, known.username, known.consumer_key]


def put(contact):
    return RoleWrite(
        key=f"k{contact}",
        action="put",
        opportunity_id=crm_id(Entity.OPPORTUNITY, "opportunity-3"),
        contact_id=crm_id(Entity.CONTACT, f"contact-{contact}"),
        role=f"{PERSONAL_MARK}",
    )


def everything(adapter):
    adapter.check()
    for entity in sorted(adapter.capabilities.entities):
        list(adapter.read(entity))
    list(adapter.write_roles([put(1), put(2)], checkpoint=lambda _: None))
    list(adapter.settle([put(3)], []))


def told_by_its_error(act):
    try:
        act()
    except CrmBridgeError as error:
        raised = error
    else:
        return ""
    assert raised.__cause__ is None
    assert raised.__context__ is None or raised.__suppress_context__
    return "".join(traceback.format_exception(raised)) + repr(raised)


def overheard(act):
    """All that is logged, printed, warned, raised: as a careless program would print it."""
    said, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(said)
    handler.setLevel(logging.NOTSET)
    level, root.level = root.level, logging.NOTSET
    root.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned, redirect_stdout(said), redirect_stderr(said):
            warnings.simplefilter("always")
            said.write(told_by_its_error(act))
    finally:
        root.removeHandler(handler)
        root.level = level
    # asyncio and uvicorn run in the same process here; theirs is the sandbox's affair
    return said.getvalue() + "".join(str(one.message) for one in warned)


@pytest.mark.parametrize("bulk", [pytest.param(1, id="bulk", marks=pytest.mark.slow), pytest.param(10_000, id="rest")])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_is_told_without_anything_personal(trouble, bulk):
    with SalesforceSandbox(personal()) as org:
        known = org.credentials
        options = SalesforceOptions(
            consumer_key=known.consumer_key,
            consumer_secret=known.consumer_secret,
            domain="acme.my",
            base_url=org.url,
            bulk_read_rows=bulk,
            bulk_write_rows=bulk,
            **QUICK,
        )
        for first in (1, 4, 9, 30):
            org.faults.clear()
            org.faults.add(Fault(trouble=trouble, path="/services/data", nth=first, times=500))
            adapter = SalesforceAdapter(options)
            said = overheard(lambda adapter=adapter: everything(adapter))
            adapter.close()
            org._usage.most = 1_000_000
            hold_discreet(said, known)
        assert org.faults.struck


def test_refused_rows_are_told_by_code_alone():
    with SalesforceSandbox(personal()) as org:
        org.row_faults.add(RowFault(code="FIELD_CUSTOM_VALIDATION_EXCEPTION", message=f"{PLANTED} {PERSONAL_MARK} Smith"))
        adapter = SalesforceAdapter(SalesforceOptions(access_token=org.session_id, base_url=org.url, **QUICK))
        (receipt,) = adapter.write_roles([put(1)], checkpoint=lambda _: None)
        adapter.close()
        assert receipt.code == "FIELD_CUSTOM_VALIDATION_EXCEPTION"


def hold_discreet(said, known):
    for secret in secrets(known):
        assert secret not in said
    assert PERSONAL_MARK not in said
    assert PLANTED not in said
