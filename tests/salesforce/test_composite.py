"""Reading many small things in few calls: five queries travel together, and whatever is wrong with that costs calls only."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from orgs import crm_id, open_adapter

from crmbridge.adapters.salesforce import composite, transport
from crmbridge.contract import RoleWrite
from crmbridge.errors import CrmRefused, CrmUnavailable
from crmbridge.model import ContactRole, Entity
from crmbridge.testing.sandbox import SalesforceSandbox
from crmbridge.testing.sandbox.salesforce import rest
from crmbridge.testing.sandbox.salesforce.wire import Refusal
from crmbridge.testing.worlds import crowded, world_of

DEALS, PEOPLE = 900, 5


def o(number):
    return crm_id(Entity.OPPORTUNITY, f"opportunity-{number}")


def c(number):
    return crm_id(Entity.CONTACT, f"contact-{number}")


@pytest.fixture(scope="module")
def org():
    created = datetime(2024, 1, 1, tzinfo=UTC)
    roles = [
        ContactRole(
            id=crm_id(Entity.CONTACT_ROLE, f"role-{deal}-{person}"),
            opportunity_id=o(deal),
            contact_id=c(person),
            is_primary=False,
            created_at=created,
        )
        for deal in range(1, DEALS + 1)
        for person in range(1, PEOPLE + 1)
    ]
    crowd = crowded(opportunities=DEALS, contacts=PEOPLE)
    with SalesforceSandbox(world_of([*(record for group in crowd.values() for record in group), *roles])) as sandbox:
        yield sandbox


@pytest.fixture
def adapter(org, monkeypatch):
    monkeypatch.setattr(transport, "_wait", lambda state: 0)
    opened = open_adapter(org)
    _ = opened.capabilities
    yield opened
    opened.close()


def spent(org, act):
    before = org.calls.copy()
    act()
    return org.calls - before


def all_roles(adapter):
    return {role.id for role in adapter.read_roles([o(number) for number in range(1, DEALS + 1)])}


def test_pages_of_several_queries_come_whole_and_together(org, adapter):
    calls = spent(org, lambda: all_roles(adapter))
    assert len(all_roles(adapter)) == DEALS * PEOPLE
    assert calls == {"composite": 1}, "900 opportunities hold 4,500 roles: spread over four queries, none has a second page"


def test_further_pages_travel_together_too(org, adapter, monkeypatch):
    monkeypatch.setattr(rest, "_PAGE_MOST", 500)
    assert len(all_roles(adapter)) == DEALS * PEOPLE
    assert spent(org, lambda: all_roles(adapter)) == {"composite": 3}, "four queries of three pages each"


def swap_composite(monkeypatch, handler):
    swapped = tuple(replace(one, handler=handler) if one.name == "composite" else one for one in rest._ENDPOINTS)
    monkeypatch.setattr(rest, "_ENDPOINTS", swapped)


def refusing(code, status):
    def handler(*_):
        raise Refusal(code, "", status)

    return handler


def test_an_organisation_without_composite_is_read_query_by_query(adapter, monkeypatch):
    whole = all_roles(adapter)
    swap_composite(monkeypatch, refusing("NOT_FOUND", 404))
    assert all_roles(adapter) == whole


def answers_of(change):
    real = rest._composite

    def handler(served, context):
        reply = real(served, context)
        change(reply.body["compositeResponse"])
        return reply

    return handler


@pytest.mark.parametrize(
    "change",
    [
        lambda answers: answers[1].update(httpStatusCode=414, body=None),
        lambda answers: answers.pop(),
        lambda answers: answers[0].update(body=[{"errorCode": "QUERY_TIMEOUT", "message": "secret"}]),
        pytest.param(lambda answers: answers.clear(), marks=pytest.mark.slow),
        pytest.param(lambda answers: answers[0].pop("referenceId"), marks=pytest.mark.slow),
    ],
)
def test_a_query_that_does_not_come_with_the_others_is_asked_alone(adapter, monkeypatch, change):
    whole = all_roles(adapter)
    swap_composite(monkeypatch, answers_of(change))
    assert all_roles(adapter) == whole


def test_a_page_that_holds_too_little_is_noticed(adapter, monkeypatch):
    swap_composite(monkeypatch, answers_of(lambda answers: answers[0]["body"]["records"].pop()))
    with pytest.raises(CrmUnavailable, match="a query ended after"):
        all_roles(adapter)


def test_a_refused_query_is_told_by_its_code(adapter):
    with pytest.raises(CrmRefused, match="INVALID_TYPE"):
        list(composite.pages(adapter.connection, ["SELECT Id FROM Nobody", "SELECT Id FROM Contact"]))


def test_who_may_not_come_in_does_not_ask_one_by_one(org, adapter, monkeypatch):
    swap_composite(monkeypatch, refusing("API_DISABLED_FOR_ORG", 403))

    def read():
        with pytest.raises(CrmRefused, match="API_DISABLED_FOR_ORG"):
            all_roles(adapter)

    assert spent(org, read) == {"composite": 1}


def test_roles_and_contacts_are_looked_up_in_one_call(org, adapter):
    write = RoleWrite(key="k", action="put", opportunity_id=o(1), contact_id=c(1), role="Evaluator")
    calls = spent(org, lambda: list(adapter.write_roles([write], checkpoint=print)))
    assert calls == {"composite": 1}, "the pair is there already: nothing is sent"
