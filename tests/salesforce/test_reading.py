"""What is read from organisations of many kinds, and what a missing object, field or permission does."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from orgs import QUICK, crm_id, login_options, open_adapter, private_key

from crmbridge.adapters.salesforce import SalesforceAdapter, SalesforceOptions, transport
from crmbridge.errors import CrmRefused, CrmUnavailable, DataError, DeletionsUnknown, LimitReached
from crmbridge.model import Entity, ExchangeRate
from crmbridge.testing.sandbox import Fault, SalesforceSandbox, Switches, Trouble
from crmbridge.testing.sandbox.salesforce import rest
from crmbridge.testing.sandbox.salesforce.schema import Schema
from crmbridge.testing.sandbox.salesforce.switches import Currencies, Emails, PersonAccounts, SharedActivities
from crmbridge.testing.sandbox.salesforce.wire import Refusal
from crmbridge.testing.worlds import crowded, empty, small

HOUR = timedelta(hours=1)


def read(adapter, entity, since=None):
    return {row["id"]: row for batch in adapter.read(entity, since=since) for row in batch.to_pylist()}


@pytest.fixture
def org(request):
    world, switches = getattr(request, "param", (small(), {}))
    with SalesforceSandbox(world, Switches(**switches)) as sandbox:
        yield sandbox


def adapter_on(sandbox, **given):
    return open_adapter(sandbox, **given)


def with_org(world=None, **switches):
    return pytest.mark.parametrize("org", [(world or small(), switches)], indirect=True)


@pytest.fixture
def opened(org):
    made = []

    def opener(**given):
        made.append(adapter_on(org, **given))
        return made[-1]

    yield opener
    for adapter in made:
        adapter.close()


# --- logins ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem():
    return private_key()


WAYS = ["jwt", "client credentials", "access token", "password"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in(org, pem, way):
    options = SalesforceOptions(base_url=org.url, **login_options(org, way, pem), **QUICK)
    adapter = SalesforceAdapter(options)
    checks = {check.name: check for check in adapter.check().checks}
    adapter.close()
    assert checks["login"].status == ("warning" if way == "password" else "ok")
    assert way in checks["login"].detail


@pytest.mark.parametrize("way", WAYS)
def test_a_session_that_ends_is_renewed_where_it_can_be(org, pem, way):
    adapter = SalesforceAdapter(SalesforceOptions(base_url=org.url, **login_options(org, way, pem), **QUICK))
    read(adapter, Entity.CONTACT)
    org.expire_sessions()
    if way == "access token":
        with pytest.raises(CrmRefused, match="INVALID_SESSION_ID"):
            read(adapter, Entity.CONTACT)
    else:
        assert len(read(adapter, Entity.CONTACT)) == 5
    adapter.close()


@pytest.mark.parametrize(
    ("way", "wrong"), [("client credentials", "consumer_secret"), ("password", "password"), ("jwt", "private_key")]
)
def test_a_wrong_secret_is_refused_and_not_repeated(org, pem, way, wrong):
    given = login_options(org, way, pem) | {wrong: "mistaken-9Z"}
    adapter = SalesforceAdapter(SalesforceOptions(base_url=org.url, **given, **QUICK))
    (check,) = adapter.check().checks
    adapter.close()
    assert check.status == "failed"
    assert "mistaken-9Z" not in check.model_dump_json()


def test_a_version_that_the_organisation_has_not_is_told(shared_org):
    adapter = adapter_on(shared_org, api_version="99.0")
    checks = {check.name: check for check in adapter.check().checks}
    with pytest.raises(CrmRefused, match=r"API version 99\.0"):
        _ = adapter.capabilities
    adapter.close()
    assert (checks["login"].status, checks["objects"].status) == ("ok", "failed")


def test_the_login_by_password_ends_with_its_last_version(shared_org):
    given = login_options(shared_org, "password", None)
    adapter = SalesforceAdapter(SalesforceOptions(base_url=shared_org.url, api_version="65.0", **given, **QUICK))
    (check,) = adapter.check().checks
    adapter.close()
    assert (check.status, "64.0" in check.hint) == ("failed", True)


# --- organisations of many kinds ------------------------------------------------------------------------------------


@with_org(shared_activities=SharedActivities.OFF, emails=Emails.TASKS)
def test_without_shared_activities_who_is_read_from_the_activity(org, opened):
    people = read(opened(), Entity.ACTIVITY_PARTICIPANT)
    meeting = org.sf_id(Entity.ACTIVITY, "activity-1")
    who = people[f"{meeting}:who"]
    assert who["contact_id"] == org.sf_id(Entity.CONTACT, "contact-2")
    assert who["activity_id"] == meeting
    assert who["kind"] == "who"


@with_org(currencies=Currencies.SINGLE)
def test_one_currency_is_the_one_named(org, opened):
    adapter = opened(currency="EUR")
    assert Entity.EXCHANGE_RATE not in adapter.capabilities.entities
    told = {(row["amount"] is None, row["currency"]) for row in read(adapter, Entity.OPPORTUNITY).values()}
    assert told == {(True, None), (False, "EUR")}


def rate(identifier, currency, value, start=None, end=None):
    return ExchangeRate(
        id=crm_id(Entity.EXCHANGE_RATE, identifier),
        currency=currency,
        base_currency="USD",
        rate=Decimal(value),
        valid_from=start,
        valid_until=end,
    )


RATES = [
    rate("static-1", "EUR", "0.9"),
    rate("static-2", "GBP", "0.8"),
    rate("dated-1", "EUR", "0.91", None, date(2024, 1, 1)),
    rate("dated-2", "EUR", "0.95", date(2024, 1, 1)),
]


@with_org({**small(), Entity.EXCHANGE_RATE: RATES})
def test_dated_rates_replace_todays(org, opened):
    told = {
        (row["currency"], str(row["rate"].normalize()), row["valid_from"], row["valid_until"])
        for row in read(opened(), Entity.EXCHANGE_RATE).values()
    }
    turn = date(2024, 1, 1)
    assert told == {("EUR", "0.91", None, turn), ("EUR", "0.95", turn, None), ("GBP", "0.8", None, None)}


@with_org(person_accounts=PersonAccounts.ON)
def test_person_accounts_are_contacts_with_an_account(org, opened):
    adapter = opened()
    alone = read(adapter, Entity.CONTACT)[crm_id(Entity.CONTACT, "contact-5")]
    assert alone["account_id"] in read(adapter, Entity.ACCOUNT)


@with_org(archived_before=date(2024, 1, 5))
def test_archived_activities_are_read(org, opened):
    assert read(opened(), Entity.ACTIVITY).keys() == {org.sf_id(Entity.ACTIVITY, f"activity-{number}") for number in (1, 2)}


def test_lookups_are_read_where_they_are_named(org, opened):
    name = org.lookup_fields["signer"]
    found = read(opened(contact_lookup_fields=(name,)), Entity.OPPORTUNITY_CONTACT_LOOKUP)
    first = org.sf_id(Entity.OPPORTUNITY, "opportunity-1")
    assert found[f"{first}:{name}"]["contact_id"] == org.sf_id(Entity.CONTACT, "contact-3")
    assert found[f"{first}:{name}"]["field"] == name
    assert len(found) == 2
    assert Entity.OPPORTUNITY_CONTACT_LOOKUP not in opened().capabilities.entities


@with_org(hidden=frozenset({"Campaign", "Contact.Title", "TaskRelation"}))
def test_what_cannot_be_seen_is_left_out_by_name(org, opened):
    adapter = opened()
    assert Entity.CAMPAIGN not in adapter.capabilities.entities
    with pytest.raises(DataError):
        read(adapter, Entity.CAMPAIGN)
    assert all(row["title"] is None for row in read(adapter, Entity.CONTACT).values())
    checks = {check.name: check for check in adapter.check().checks}
    assert (checks["campaign"].status, checks["campaign"].detail) == ("warning", "no object Campaign")
    assert "without Title" in checks["contact"].detail
    assert adapter.check().ok


@with_org(hidden=frozenset({"OpportunityContactRole"}))
def test_what_is_essential_stops_it(org, opened):
    with pytest.raises(CrmRefused, match="cannot read OpportunityContactRole"):
        _ = opened().capabilities
    assert not opened().check().ok


@with_org(hidden=frozenset({"Opportunity.IsWon"}))
def test_an_essential_field_stops_it_by_its_name(org, opened):
    with pytest.raises(CrmRefused, match=r"cannot read Opportunity\.IsWon"):
        _ = opened().capabilities
    assert {check.name: check.detail for check in opened().check().checks}["opportunity"] == "no field Opportunity.IsWon"


@pytest.fixture(scope="module")
def shared_org():
    with SalesforceSandbox(small()) as sandbox:
        yield sandbox


SEEN_IN = {
    "Event": "activity",
    "Task.CompletedDateTime": "activity",
    "Event.StartDateTime": "activity",
    "TaskRelation": "activity_participant",
    "TaskRelation.RelationId": "activity_participant",
    "EventRelation.EventId": "activity_participant",
    "EventRelation.RelationId": "activity_participant",
    "EmailMessageRelation": "activity_participant",
    "EmailMessageRelation.RelationAddress": "activity_participant",
    "DatedConversionRate": "exchange_rate",
    "DatedConversionRate.StartDate": "exchange_rate",
    "AccountContactRelation.IsActive": "account_contact_relation",
}


def reads_everything(adapter):
    """Every entity that it says it has, whole and changed; how many records of each."""
    told = {entity: len(read(adapter, entity)) for entity in sorted(adapter.capabilities.entities)}
    for entity in told:
        list(adapter.read(entity, since=datetime.now(UTC) - HOUR))
    return told


@pytest.mark.parametrize("hidden", SEEN_IN)
def test_whatever_is_missing_is_named_and_the_rest_is_read(shared_org, monkeypatch, hidden):
    shown = Schema(Switches(hidden=frozenset({hidden})), tuple(shared_org.lookup_fields.values()))
    monkeypatch.setattr(shared_org.store, "schema", shown)
    adapter = adapter_on(shared_org)
    check = {check.name: check for check in adapter.check().checks}[SEEN_IN[hidden]]
    told = reads_everything(adapter)
    adapter.close()
    named = check.detail.partition("; without ")[2].split(", ")
    assert hidden in named or (hidden.partition(".")[2] or hidden) in named
    assert told.keys() >= {Entity.ACTIVITY, Entity.ACTIVITY_PARTICIPANT, Entity.EXCHANGE_RATE, Entity.USER}


@pytest.mark.parametrize(
    ("hidden", "given", "entity", "lacking"),
    [
        ("UserRole", {"team_field": "UserRole.Name"}, "user", "UserRole.Name"),
        ("UserRole.Name", {"team_field": "UserRole.Name"}, "user", "UserRole.Name"),
        ("RecordType", {}, "opportunity", "RecordType.Name"),
        ("EmailMessage", {}, "activity_participant", "EmailMessageRelation.EmailMessage.ActivityId"),
    ],
)
def test_what_lies_behind_a_lookup_may_be_missing_too(shared_org, monkeypatch, hidden, given, entity, lacking):
    shown = Schema(Switches(hidden=frozenset({hidden})), tuple(shared_org.lookup_fields.values()))
    monkeypatch.setattr(shared_org.store, "schema", shown)
    adapter = adapter_on(shared_org, **given)
    detail = {check.name: check.detail for check in adapter.check().checks}[entity]
    told = reads_everything(adapter)
    adapter.close()
    assert detail.endswith(f"; without {lacking}")
    assert told[Entity.USER] == 2


def test_without_a_corporate_currency_there_are_no_rates(shared_org, monkeypatch):
    shown = Schema(Switches(hidden=frozenset({"CurrencyType.IsCorporate"})), tuple(shared_org.lookup_fields.values()))
    monkeypatch.setattr(shared_org.store, "schema", shown)
    adapter = adapter_on(shared_org)
    assert Entity.EXCHANGE_RATE not in adapter.capabilities.entities
    adapter.close()


@with_org(read_only=frozenset({"OpportunityContactRole"}))
def test_without_permission_to_write(org, opened):
    adapter = opened()
    assert not adapter.capabilities.can_write
    assert {check.name: check.status for check in adapter.check().checks}["writing roles"] == "warning"


def test_an_option_that_names_no_field_fails_the_check(org, opened):
    failed = [check.name for check in opened(contact_lookup_fields=("No_Such__c",)).check().checks if check.status == "failed"]
    assert failed == ["field No_Such__c"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("Key__c string(255) cux", None),
        ("Key__c string(255) cu", "is not unique"),
        ("Key__c string(80) cux", "too short"),
        ("Key__c textarea(255) cux", "is not of type text"),
        ("Key__c string(255) x", "may not be set"),
    ],
)
def test_a_field_that_cannot_guard_against_doubles_fails_the_check(shared_org, monkeypatch, line, problem):
    switches = Switches(custom_fields={"OpportunityContactRole": (line,)})
    monkeypatch.setattr(shared_org.store, "schema", Schema(switches, tuple(shared_org.lookup_fields.values())))
    adapter = adapter_on(shared_org, write_key_field="Key__c")
    found = [check for check in adapter.check().checks if check.name == "field Key__c"]
    adapter.close()
    assert [check.status for check in found] == ["failed"] * (problem is not None)
    assert not problem or problem in found[0].detail


# --- small and large, whole and changed -----------------------------------------------------------------------------


@with_org(crowded(opportunities=5, contacts=4_500))
@pytest.mark.parametrize(
    ("bulk_read_rows", "calls"), [(10_000, {"query": 1, "query more": 2}), (4_000, {"job create": 1, "query results": 1})]
)
def test_small_objects_by_pages_large_ones_by_bulk(org, opened, bulk_read_rows, calls):
    adapter = opened(bulk_read_rows=bulk_read_rows)
    assert len(read(adapter, Entity.CONTACT)) == 4_500
    assert calls.items() <= org.calls.items()
    assert ("query" in org.calls) == (bulk_read_rows == 10_000)


@with_org(crowded(opportunities=1, contacts=4_500), bulk_page_rows=1_000)
def test_bulk_results_of_many_pages(org, opened):
    assert len(read(opened(bulk_read_rows=1), Entity.CONTACT)) == 4_500
    assert org.calls["query results"] == 5


@with_org(crowded(opportunities=1, contacts=4_500))
def test_many_changes_go_by_bulk_after_the_first_page(org, opened):
    since = datetime(2024, 1, 1, tzinfo=UTC)
    assert len(read(opened(bulk_read_rows=3_000), Entity.CONTACT, since)) == 4_500
    assert (org.calls["query"], org.calls["job create"]) == (1, 1)


@with_org(crowded(opportunities=1, contacts=4_500))
@pytest.mark.parametrize("nth", [1, 2])
def test_an_expired_cursor_costs_a_new_query_and_no_row_twice(org, opened, nth):
    adapter = opened()
    _ = adapter.capabilities
    org.faults.add(Fault(trouble=Trouble.CURSOR_EXPIRED, path="/query/01g", nth=nth))
    rows = [row["id"] for batch in adapter.read(Entity.CONTACT) for row in batch.to_pylist()]
    assert org.faults.struck
    assert len(rows) == len(set(rows)) == 4_500


@with_org(crowded(opportunities=1, contacts=3_000))
@pytest.mark.parametrize("bulk_read_rows", [1, 10_000])
def test_a_truncated_answer_is_asked_for_again(org, opened, bulk_read_rows):
    adapter = opened(bulk_read_rows=bulk_read_rows)
    _ = adapter.capabilities
    org.faults.add(Fault(trouble=Trouble.TRUNCATED, path="results" if bulk_read_rows == 1 else "/query"))
    assert len(read(adapter, Entity.CONTACT)) == 3_000
    assert org.faults.struck


def test_changes_are_read_ten_minutes_back(org, opened):
    moment = datetime(2024, 1, 4, 9, 30, tzinfo=UTC)  # when contact-1 changed
    first = org.sf_id(Entity.CONTACT, "contact-1")
    assert first in read(opened(), Entity.CONTACT, moment + timedelta(minutes=10))
    assert first not in read(opened(), Entity.CONTACT, moment + timedelta(minutes=11))


def test_deletions_and_merges_are_told(org, opened):
    now = datetime.now(UTC)
    gone, loser, master = (org.sf_id(Entity.CONTACT, f"contact-{number}") for number in (5, 4, 3))
    role = org.sf_id(Entity.CONTACT_ROLE, "role-3")
    org.delete("Contact", gone)
    org.delete("OpportunityContactRole", role)
    org.merge_contacts(master, loser)
    adapter = opened()
    told = {deletion.id: deletion.merged_into_id for deletion in adapter.read_deleted(Entity.CONTACT, since=now - HOUR)}
    assert told == {gone: None, loser: master}
    assert [deletion.id for deletion in adapter.read_deleted(Entity.CONTACT_ROLE, since=now - HOUR)] == [role]
    assert read(adapter, Entity.CONTACT)[loser]["merged_into_id"] == master
    assert gone not in read(adapter, Entity.CONTACT)


def test_deletions_of_long_ago_are_not_known(org, opened):
    with pytest.raises(DeletionsUnknown, match="15 days"):
        list(opened().read_deleted(Entity.CONTACT, since=datetime.now(UTC) - timedelta(days=16)))


def test_an_organisation_whose_clock_is_ahead_may_know_less():
    with SalesforceSandbox(small(), clock=lambda: datetime.now(UTC) + 2 * HOUR) as ahead:
        adapter = adapter_on(ahead)
        with pytest.raises(DeletionsUnknown, match="INVALID_REPLICATION_DATE"):
            list(adapter.read_deleted(Entity.CONTACT, since=datetime.now(UTC) - timedelta(days=15) + HOUR))
        adapter.close()


def test_who_may_not_ask_what_was_deleted_is_refused(org, opened, monkeypatch):
    monkeypatch.setattr(rest.Rest, "find", refusing("/deleted", rest.Rest.find))
    with pytest.raises(CrmRefused, match="INSUFFICIENT_ACCESS"):
        list(opened().read_deleted(Entity.CONTACT, since=datetime.now(UTC) - HOUR))


def test_a_cleared_lookup_is_a_deletion(org, opened):
    name = org.lookup_fields["signer"]
    opportunity = org.sf_id(Entity.OPPORTUNITY, "opportunity-1")
    org.change("Opportunity", opportunity, **{name: None})
    told = opened(contact_lookup_fields=(name,)).read_deleted(Entity.OPPORTUNITY_CONTACT_LOOKUP, since=datetime.now(UTC) - HOUR)
    assert [deletion.id for deletion in told] == [f"{opportunity}:{name}"]


def test_the_log_of_an_object_is_asked_for_once_whatever_its_fields(org, opened):
    signer = org.lookup_fields["signer"]
    opportunity = org.sf_id(Entity.OPPORTUNITY, "opportunity-1")
    org.delete("Opportunity", opportunity)
    adapter = opened(contact_lookup_fields=(signer, "ContactId"))
    told = adapter.read_deleted(Entity.OPPORTUNITY_CONTACT_LOOKUP, since=datetime.now(UTC) - HOUR)
    assert sorted(deletion.id for deletion in told) == sorted(f"{opportunity}:{name}" for name in (signer, "ContactId"))
    assert org.calls["deleted"] == 1


def test_a_naive_moment_is_refused(org, opened):
    with pytest.raises(DataError, match="naive"):
        list(opened().read(Entity.CONTACT, since=datetime(2024, 1, 1)))  # noqa: DTZ001


# --- limits ---------------------------------------------------------------------------------------------------------


def test_the_budget_ends_a_read(org, opened):
    adapter = opened(max_api_calls=3)
    entities = sorted(adapter.capabilities.entities)
    with pytest.raises(LimitReached, match="max_api_calls = 3"):
        _ = [read(adapter, entity) for entity in entities]
    assert org.calls_used == 3


@with_org(empty(), daily_calls=1)
def test_the_daily_limit_ends_a_read(org, opened):
    adapter = opened()
    _ = adapter.capabilities
    with pytest.raises(LimitReached, match="daily limit"):
        read(adapter, Entity.CONTACT)


def test_the_check_tells_what_is_left_and_what_a_pull_costs(org, opened):
    adapter = opened()
    checks = {check.name: check.detail for check in adapter.check().checks}
    assert "of 15,000 API calls left" in checks["daily limit"]
    assert checks["role names"].startswith("Business User, Decision Maker")
    promised = int(checks["cost"].split("about ")[1].split()[0])
    fresh = opened()
    before = org.calls_used
    for entity in sorted(fresh.capabilities.entities):
        read(fresh, entity)
    assert org.calls_used - before == promised


@pytest.mark.parametrize(
    "org",
    [
        (small(), {"shared_activities": SharedActivities.OFF}),
        (small(), {"shared_activities": SharedActivities.OFF, "emails": Emails.TASKS}),
        (small(), {"emails": Emails.TASKS}),
    ],
    ids=["e-mails", "plain", "shared"],
    indirect=True,
)
def test_the_check_tells_what_a_quiet_night_costs(org, opened):
    given = {"contact_lookup_fields": tuple(org.lookup_fields.values())}
    cost = {check.name: check.detail for check in opened(**given).check().checks}["cost"]
    fresh, before = opened(**given), org.calls_used
    for entity in sorted(fresh.capabilities.entities):
        if entity in fresh.capabilities.deletions:
            assert list(fresh.read_deleted(entity, since=datetime.now(UTC) + HOUR)) == []
        list(fresh.read(entity, since=datetime.now(UTC) + HOUR))
    assert f"a nightly one {org.calls_used - before}, and one for every 2,000 changes" in cost


def test_a_budget_that_no_pull_can_keep_fails_the_check(org, opened):
    checks = {check.name: check.status for check in opened(max_api_calls=12).check().checks}
    assert (checks["cost"], checks["daily limit"]) == ("failed", "ok")


def test_the_daily_limit_is_asked_for_where_no_answer_tells_it(org, opened, monkeypatch):
    monkeypatch.setattr(transport.Transport, "_note_usage", lambda *_: None)
    checks = {check.name: check for check in opened().check().checks}
    assert "of 15,000 API calls left" in checks["daily limit"].detail
    assert org.calls["limits"] == 1


def test_what_this_user_may_not_see_of_limits_and_sizes_is_told(org, opened, monkeypatch):
    monkeypatch.setattr(transport.Transport, "_note_usage", lambda *_: None)
    monkeypatch.setattr(rest.Rest, "find", refusing("/limits", rest.Rest.find))
    checks = {check.name: check for check in opened().check().checks}
    assert [checks[name].status for name in ("daily limit", "cost")] == ["warning", "warning"]
    assert checks["cost"].detail.startswith("a full pull: unknown")


def refusing(part, find):
    def found(self, method, path):
        if part in path:
            raise Refusal("INSUFFICIENT_ACCESS", "no", 403)
        return find(self, method, path)

    return found


def test_nobody_there(monkeypatch):
    monkeypatch.setattr(transport, "_wait", lambda state: 0)
    adapter = SalesforceAdapter(SalesforceOptions(access_token="t", base_url="http://127.0.0.1:9", timeout_s=1, **QUICK))
    with pytest.raises(CrmUnavailable):
        _ = adapter.capabilities
    assert not adapter.check().ok
    adapter.close()


@with_org(crowded(opportunities=2_000, contacts=1))
def test_roles_of_many_opportunities_take_few_calls(org, opened):
    adapter = opened()
    ids = [org.sf_id(Entity.OPPORTUNITY, f"opportunity-{number}") for number in range(1, 2_001)]
    _ = adapter.capabilities
    before = org.calls.total()
    assert list(adapter.read_roles(ids)) == []
    assert org.calls.total() - before == 1
    assert "too long" not in org.calls
