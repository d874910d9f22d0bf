"""A pull by changes ends like a full one, in organisations of several kinds, whatever people did in between."""

from datetime import UTC, date, datetime
from random import Random

import pytest
from orgs import QUICK

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.world import make_world
from crmbridge.model import Entity
from crmbridge.testing.sandbox import SalesforceSandbox, Switches
from crmbridge.testing.sandbox.salesforce.switches import Currencies, Emails, PersonAccounts, SharedActivities

pytestmark = pytest.mark.slow  # two pulls of a messy world for each kind

KINDS = {
    "usual": {},
    "plain activities": {"shared_activities": SharedActivities.OFF, "emails": Emails.TASKS},
    "persons, one currency": {"currencies": Currencies.SINGLE, "person_accounts": PersonAccounts.ON},
    "archive": {"archived_before": date(2099, 1, 1)},
}
GO = {
    "Contact": 5,
    "Lead": 3,
    "Account": 2,
    "Opportunity": 3,
    "OpportunityContactRole": 5,
    "CampaignMember": 5,
    "Campaign": 1,
    "Task": 5,
    "Event": 4,
    "AccountContactRelation": 3,
    "EventRelation": 3,
}


@pytest.fixture(scope="module")
def world():
    return make_world(opportunities=80, as_of=datetime.now(UTC)).records


def bridge(org, folder, bulk_read_rows):
    options = {"base_url": org.url, "access_token": org.session_id, "bulk_read_rows": bulk_read_rows, **QUICK}
    options |= {"contact_lookup_fields": list(org.lookup_fields.values())}
    return Bridge(in_memory({"crm": {"adapter": "salesforce", "options": options}, "workspace": {"folder": str(folder)}}))


def live(org, name):
    return [row for row in org.rows(name) if not row["IsDeleted"]]


def a_day_goes_by(org, dice):
    for name, number in GO.items():
        rows = live(org, name)
        for row in dice.sample(rows, min(number, len(rows))):
            org.delete(name, row["Id"])
    people = [row["Id"] for row in live(org, "Contact")]
    dice.shuffle(people)
    for _ in range(3):
        org.merge_contacts(people.pop(), people.pop())
    for deal in dice.sample(live(org, "Opportunity"), 6):
        org.change("Opportunity", deal["Id"], Amount=1234.5, **dict.fromkeys(org.lookup_fields.values()))
        org.insert("OpportunityContactRole", OpportunityId=deal["Id"], ContactId=people[0], Role="Other", IsPrimary=True)
    for task in dice.sample(live(org, "Task"), 4):
        org.change("Task", task["Id"], WhoId=dice.choice([None, people[1]]))


@pytest.mark.parametrize("bulk_read_rows", [1, 100_000], ids=["bulk", "rest"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_like_a_full_pull(tmp_path, world, kind, bulk_read_rows):
    with SalesforceSandbox(world, Switches(**KINDS[kind])) as org:
        with bridge(org, tmp_path / "nightly", bulk_read_rows) as nightly:
            nightly.pull()
            a_day_goes_by(org, Random(5))
            by_changes = nightly.pull()
        with bridge(org, tmp_path / "fresh", bulk_read_rows) as fresh:
            in_full = fresh.pull()
    # Nothing tells who took part in e-mails that went: where there are any, all participants are read anew.
    emails = {Entity.ACTIVITY_PARTICIPANT} if "emails" not in KINDS[kind] else set()
    assert {entity for entity, one in by_changes.reads.items() if one.why_full} <= {Entity.EXCHANGE_RATE} | emails
    assert by_changes.fingerprint == in_full.fingerprint
    assert by_changes.rows == in_full.rows
    assert sum(one.deleted for one in by_changes.reads.values()) > 20
