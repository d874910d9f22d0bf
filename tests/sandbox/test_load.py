"""The canonical world as Salesforce objects, and the ids it gets."""

from collections import OrderedDict
from datetime import UTC, date, datetime

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmbridge.demo import make_world
from crmbridge.model import Entity
from crmbridge.testing import worlds
from crmbridge.testing.sandbox import SalesforceSandbox, Switches
from crmbridge.testing.sandbox.crowd import crowd_tables
from crmbridge.testing.sandbox.salesforce import ids, ready
from crmbridge.testing.sandbox.salesforce.load import tables_of
from crmbridge.testing.sandbox.salesforce.switches import Currencies, Emails, PersonAccounts, SecondRow, SharedActivities

pytestmark = pytest.mark.slow  # the instrument itself; what adapters need of it shows in their tests


@pytest.mark.parametrize("known", ["0017e00001W4GYRAA3", "0037e00001WZ30qAAD", "0067e00000K8i71AAB", "0012300000bVTq1AAG"])
def test_the_checksum_is_salesforces_own(known):
    assert ids.to_long(known[:15]) == known


@given(st.text(min_size=1, max_size=30))
def test_any_id_becomes_a_legal_one(text):
    made = ids.made_from("003", text)
    assert ids.is_legal(made, "003")
    assert ids.made_from("003", made) == made


def test_a_legal_id_is_kept_and_an_odd_one_is_mapped():
    legal = "0037e00001WZ30qAAD"
    world = worlds.small() | {Entity.CONTACT: [worlds.small()[Entity.CONTACT][0].model_copy(update={"id": legal})]}
    sandbox = SalesforceSandbox(world)
    assert sandbox.sf_id(Entity.CONTACT, legal) == legal
    assert legal in {row["Id"] for row in sandbox.rows("Contact")}
    sandbox.stop()
    odd = SalesforceSandbox(worlds.odd_ids())
    assert set(odd.id_map(Entity.OPPORTUNITY)) == set(worlds.ODD_IDS)
    assert len(set(odd.id_map(Entity.OPPORTUNITY).values())) == len(worlds.ODD_IDS)
    odd.stop()


def test_sql_and_python_agree_on_ids():
    sandbox = SalesforceSandbox(worlds.odd_ids())
    for canonical_id, sf_id in sandbox.id_map(Entity.CONTACT).items():
        assert sf_id == ids.made_from("003", canonical_id)
    sandbox.stop()


def kinds(switches):
    sandbox = SalesforceSandbox(worlds.small(), switches)
    counted = {
        name: len(sandbox.rows(name))
        for name in ("Task", "Event", "TaskRelation", "EventRelation", "EmailMessage", "EmailMessageRelation")
    }
    sandbox.stop()
    return counted


def test_people_of_activities_by_switch():
    on = kinds(Switches())
    assert on == {"Task": 1, "Event": 1, "TaskRelation": 1, "EventRelation": 2, "EmailMessage": 1, "EmailMessageRelation": 1}
    off = kinds(Switches(shared_activities=SharedActivities.OFF, emails=Emails.TASKS))
    assert off["EventRelation"] == 1
    assert (off["EmailMessage"], off["EmailMessageRelation"]) == (0, 0)


def test_what_an_org_does_not_have_is_not_described(serve):
    off = Switches(shared_activities=SharedActivities.OFF, emails=Emails.TASKS, currencies=Currencies.SINGLE)
    api = serve(switches=off)
    seen = {told["name"] for told in api.get("/sobjects").json()["sobjects"]}
    assert not seen & {"TaskRelation", "EmailMessage", "EmailMessageRelation", "CurrencyType", "DatedConversionRate"}
    assert api.query("SELECT CurrencyIsoCode FROM Opportunity").json()[0]["errorCode"] == "INVALID_FIELD"


def test_currencies_of_the_world(api):
    rates = api.records("SELECT IsoCode, ConversionRate, IsCorporate FROM CurrencyType ORDER BY IsoCode")
    assert rates == [
        {"IsoCode": "EUR", "ConversionRate": 0.925, "IsCorporate": False},
        {"IsoCode": "USD", "ConversionRate": 1.0, "IsCorporate": True},
    ]
    dated = api.records("SELECT ConversionRate, StartDate, NextStartDate FROM DatedConversionRate ORDER BY StartDate")
    assert dated[1] == {"ConversionRate": 0.925, "StartDate": "2024-02-01", "NextStartDate": "9999-12-31"}


def test_contact_lookups_are_fields_of_the_opportunity(api, ids):
    assert api.sandbox.lookup_fields == {"signer": "Signer__c"}
    rows = api.records("SELECT Name, Signer__r.Name FROM Opportunity WHERE Signer__c != null ORDER BY Name")
    assert [(row["Name"], row["Signer__r"]["Name"]) for row in rows] == [("Deal 1", "Cleo Nash"), ("Deal 2", "Cleo Nash")]


def test_dates_that_salesforce_keeps_as_days(api):
    (member,) = api.records("SELECT FirstRespondedDate FROM CampaignMember WHERE HasResponded = true")
    (lead,) = api.records("SELECT ConvertedDate, ConvertedContactId FROM Lead WHERE IsConverted = true")
    assert (member["FirstRespondedDate"], lead["ConvertedDate"]) == ("2024-01-02", "2024-01-07")


def test_person_accounts(serve):
    api = serve(switches=Switches(person_accounts=PersonAccounts.ON))
    (person,) = api.records("SELECT Id, Name, PersonContactId FROM Account WHERE IsPersonAccount = true")
    (contact,) = api.records("SELECT Id, AccountId FROM Contact WHERE IsPersonAccount = true")
    assert (person["PersonContactId"], contact["AccountId"]) == (contact["Id"], person["Id"])


def test_parquet_and_arrow_give_the_same_org(tmp_path):
    tables = tables_of(worlds.small())
    for entity, table in tables.items():
        pq.write_table(table, tmp_path / f"{entity}.parquet")
    from_records, from_files, from_arrow = (SalesforceSandbox(world) for world in (worlds.small(), tmp_path, tables))
    for name in ("Contact", "Opportunity", "OpportunityContactRole", "EventRelation"):
        assert from_records.rows(name) == from_files.rows(name) == from_arrow.rows(name) != []
    for sandbox in (from_records, from_files, from_arrow):
        sandbox.stop()


def test_a_messy_world_loads_whole():
    world = make_world(opportunities=60, as_of=datetime(2026, 1, 1, tzinfo=UTC)).records
    sandbox = SalesforceSandbox(world)
    for entity, name in (
        (Entity.CONTACT, "Contact"),
        (Entity.OPPORTUNITY, "Opportunity"),
        (Entity.CAMPAIGN_MEMBER, "CampaignMember"),
    ):
        assert len(sandbox.rows(name)) == len(world[entity])
    alive = [role for role in world[Entity.CONTACT_ROLE] if not role.is_deleted]
    assert len(sandbox.rows("OpportunityContactRole")) == len(alive)
    assert len(sandbox.rows("Task")) + len(sandbox.rows("Event")) == len(world[Entity.ACTIVITY])
    sandbox.stop()


def test_a_crowd_has_the_size_asked_for():
    tables = crowd_tables(opportunities=10, contacts=20, activities=30)
    assert [tables[entity].num_rows for entity in (Entity.OPPORTUNITY, Entity.CONTACT, Entity.ACTIVITY)] == [10, 20, 30]
    sandbox = SalesforceSandbox(tables)
    assert len(sandbox.rows("OpportunityContactRole")) == 5
    sandbox.stop()


def test_nothing_is_served_before_start():
    sandbox = SalesforceSandbox(worlds.empty())
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.url
    sandbox.stop()


def test_orgs_that_begin_alike_go_their_own_ways(serve):
    one, other = serve(), serve()
    gone = one.sandbox.sf_id(Entity.CONTACT, "contact-1")
    one.sandbox.delete("Contact", gone)
    made = other.sandbox.insert("Contact", LastName="Wren")
    assert gone not in {row["Id"] for row in one.records("SELECT Id FROM Contact")}
    assert {gone, made} <= {row["Id"] for row in other.records("SELECT Id FROM Contact")}
    one.sandbox.stop()
    third = serve()
    assert {row["Id"] for row in third.records("SELECT Id FROM Contact")} == {
        row["Id"] for row in other.records("SELECT Id FROM Contact")
    } - {made}


@pytest.mark.parametrize(
    "switches",
    [
        {"person_accounts": PersonAccounts.ON},
        {"shared_activities": SharedActivities.OFF},
        {"emails": Emails.TASKS},
        {"currencies": Currencies.SINGLE},
        {"archived_before": date(2030, 1, 1)},
        {"custom_fields": {"Contact": ("Extra__c string(9) cu",)}},
        {"corporate_currency": "EUR"},
        {"time_zone": "Asia/Tokyo"},
    ],
    ids=str,
)
def test_an_org_of_another_kind_is_loaded_by_itself(switches):
    names = [ready._name(Switches(**given), tables_of(worlds.small())) for given in ({}, switches)]
    assert names[0] != names[1]


def test_what_loading_does_not_ask_makes_no_other_org():
    later = {"hidden": frozenset({"Lead"}), "daily_calls": 7, "job_polls": 0, "second_row": SecondRow.PRIMARY}
    names = [ready._name(Switches(**given), tables_of(worlds.small())) for given in ({}, later)]
    assert names[0] == names[1]


def test_another_world_is_another_org():
    names = {ready._name(Switches(), tables_of(world)) for world in (worlds.small(), worlds.empty(), worlds.graves())}
    assert len(names) == 3


def test_the_orgs_own_records_are_as_old_as_the_org():
    for year in (2033, 2031):
        with SalesforceSandbox(worlds.small(), clock=lambda year=year: datetime(year, 1, 1, tzinfo=UTC)) as org:
            assert {row["SystemModstamp"].year for row in org.rows("Organization")} == {year}
            assert year in {row["SystemModstamp"].year for row in org.rows("CurrencyType")}


def test_only_so_many_worlds_are_kept(monkeypatch):
    monkeypatch.setattr(ready, "_kept", OrderedDict())
    monkeypatch.setattr(ready, "_MOST_KEPT", 1)
    with SalesforceSandbox(worlds.small()) as first, SalesforceSandbox(worlds.graves()) as second:
        assert len(ready._kept) == 1
        assert len(first.rows("Contact")) == 5
        assert len(second.rows("Contact")) == 7
