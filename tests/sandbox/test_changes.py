"""What changed and what is gone: getUpdated and getDeleted."""

from datetime import UTC, datetime, timedelta

from crmbridge.model import Entity
from crmbridge.testing import worlds

NOW = datetime(2024, 4, 12, 12, 30, 20, tzinfo=UTC)
GRAVES = datetime(2024, 4, 10, 9, 30, tzinfo=UTC)


def window(api, what, name, start, end=NOW):
    return api.get(f"/sobjects/{name}/{what}/", params={"start": start.isoformat(), "end": end.isoformat()})


def graves(serve, now=NOW):
    return serve(worlds.graves(), clock=lambda: now)


def test_deleted_names_every_kind_of_death(serve):
    api = graves(serve)
    told = window(api, "deleted", "Contact", GRAVES).json()
    assert {row["id"] for row in told["deletedRecords"]} == {
        api.sandbox.sf_id(Entity.CONTACT, one) for one in ("contact-dead", "contact-merged")
    }
    assert {row["deletedDate"] for row in told["deletedRecords"]} == {"2024-04-10T09:30:00.000+0000"}
    assert told["latestDateCovered"] == "2024-04-12T12:30:20.000+0000"
    assert told["earliestDateAvailable"] == "2024-03-28T12:30:20.000+0000"
    roles = window(api, "deleted", "OpportunityContactRole", GRAVES).json()["deletedRecords"]
    assert [row["id"] for row in roles] == [api.sandbox.sf_id(Entity.CONTACT_ROLE, "role-dead")]


def test_the_end_of_a_window_is_not_in_it(serve):
    api = graves(serve)
    assert window(api, "deleted", "Contact", GRAVES - timedelta(days=1), GRAVES).json()["deletedRecords"] == []


def test_windows_reach_back_so_far(serve):
    api = graves(serve)
    for what, days in (("deleted", 15), ("updated", 30)):
        assert window(api, what, "Contact", NOW - timedelta(days=days)).status_code == 200
        late = window(api, what, "Contact", NOW - timedelta(days=days, minutes=1))
        assert (late.status_code, late.json()[0]["errorCode"]) == (400, "INVALID_REPLICATION_DATE")


def test_updated_names_what_lives(serve):
    api = serve(clock=lambda: datetime(2024, 1, 20, tzinfo=UTC))
    start = datetime(2024, 1, 10, 9, 30, tzinfo=UTC)
    told = window(api, "updated", "Contact", start, datetime(2024, 1, 16, 9, 30, tzinfo=UTC)).json()
    assert told["ids"] == [api.sandbox.sf_id(Entity.CONTACT, one) for one in ("contact-3", "contact-4")]


def test_a_real_client_asks_for_deletions(serve, real_client):
    api = graves(serve)
    client = real_client(api.sandbox, session_id=api.sandbox.session_id, instance="acme.my.salesforce.com")
    assert len(client.Contact.deleted(GRAVES, NOW)["deletedRecords"]) == 2
