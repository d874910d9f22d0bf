"""What is read stays whole and right: rights that come and go between nights, results that end early, options that do not fit."""

from datetime import UTC, datetime

import pytest
from orgs import QUICK, open_adapter
from pydantic import ValidationError

from crmbridge.adapters.salesforce import SalesforceOptions, transport
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.world import make_world
from crmbridge.errors import CrmUnavailable, SettingsError
from crmbridge.model import Entity
from crmbridge.snapshot import WhyFull
from crmbridge.testing.sandbox import SalesforceSandbox, Switches
from crmbridge.testing.sandbox.salesforce import rest
from crmbridge.testing.sandbox.salesforce.schema import Schema
from crmbridge.testing.sandbox.salesforce.switches import Currencies
from crmbridge.testing.sandbox.salesforce.wire import Refusal
from crmbridge.testing.worlds import crowded, small


@pytest.fixture(scope="module")
def world():
    return make_world(opportunities=15, as_of=datetime.now(UTC)).records


@pytest.fixture(scope="module")
def shared_org():
    with SalesforceSandbox(small()) as sandbox:
        yield sandbox


@pytest.fixture
def opened():
    made = []

    def opener(org, **given):
        made.append(open_adapter(org, **given))
        return made[-1]

    yield opener
    for adapter in made:
        adapter.close()


def read(adapter, entity):
    return {row["id"]: row for batch in adapter.read(entity) for row in batch.to_pylist()}


def failed(adapter):
    return {check.name: check.detail for check in adapter.check().checks if check.status == "failed"}


def show(org, *hidden, **further):
    """Let the user see all but these, as the store has it."""
    org.store.schema._seen = Schema(Switches(hidden=frozenset(hidden), **further), tuple(org.lookup_fields.values()))._seen


# --- from one night to the next -------------------------------------------------------------------------------------


def bridge(org, folder, **given):
    options = {"base_url": org.url, "access_token": org.session_id, **QUICK, **given}
    options |= {"contact_lookup_fields": list(org.lookup_fields.values())}
    return Bridge(in_memory({"crm": {"adapter": "salesforce", "options": options}, "workspace": {"folder": str(folder)}}))


def two_nights(org, folder, between, **given):
    """A pull, what happens then, a pull by what changed, and a full one to hold it against."""
    with bridge(org, folder / "nightly", **given) as nightly:
        nightly.pull()
        between()
    with bridge(org, folder / "nightly", **given) as nightly:
        by_changes = nightly.pull()
    with bridge(org, folder / "fresh", **given) as fresh:
        in_full = fresh.pull()
    return by_changes, in_full


def why_full(summary):
    return {one.why_full for one in summary.reads.values()}


RIGHTS = ["Contact.Title", "Task", "TaskRelation", "EmailMessageRelation", "a lookup"]
GAINED = ["gained", "lost"]


@pytest.mark.slow
@pytest.mark.parametrize("way", GAINED)
@pytest.mark.parametrize("right", RIGHTS)
def test_a_right_that_comes_or_goes_makes_everything_be_read_anew(tmp_path, world, right, way):
    with SalesforceSandbox(world) as org:
        name = f"Opportunity.{next(iter(org.lookup_fields.values()))}" if right == "a lookup" else right
        before, after = ([name], []) if way == "gained" else ([], [name])
        show(org, *before)
        by_changes, in_full = two_nights(org, tmp_path, lambda: show(org, *after))
    assert why_full(by_changes) == {WhyFull.OTHER_SOURCE}
    assert by_changes.fingerprint == in_full.fingerprint


def test_where_no_right_changes_only_changes_are_read(tmp_path):
    with SalesforceSandbox(small()) as org:
        by_changes, in_full = two_nights(org, tmp_path, lambda: None)
    assert {entity for entity, one in by_changes.reads.items() if one.why_full} == ALWAYS_WHOLE
    assert by_changes.fingerprint == in_full.fingerprint


ALWAYS_WHOLE = {Entity.EXCHANGE_RATE, Entity.ACTIVITY_PARTICIPANT}


def test_to_tell_an_organisation_from_others_costs_no_call(shared_org, opened):
    adapter = opened(shared_org)
    _ = adapter.capabilities
    before = shared_org.calls_used
    told = adapter.identity()
    assert shared_org.calls_used == before
    assert told == opened(shared_org).identity()
    assert told != opened(shared_org, left_field=None).identity()


@pytest.mark.parametrize("times", [1, 99])
def test_an_object_whose_description_breaks_down_is_not_gone(shared_org, monkeypatch, opened, times):
    find, struck = rest.Rest.find, []

    def breaking(self, method, path):
        if path.endswith("/Campaign/describe") and len(struck) < times:
            struck.append(path)
            raise Refusal("SERVER_UNAVAILABLE", "busy", 503)
        return find(self, method, path)

    usual = opened(shared_org).identity()
    monkeypatch.setattr(transport, "_wait", lambda state: 0)
    monkeypatch.setattr(rest.Rest, "find", breaking)
    if times == 1:
        assert opened(shared_org).identity() == usual
    else:
        with pytest.raises(CrmUnavailable):
            opened(shared_org).identity()


def test_a_record_type_under_a_new_name_makes_everything_be_read_anew(tmp_path, world):
    with SalesforceSandbox(world) as org:
        rename = 'UPDATE "RecordType" SET "Name" = \'Renamed\''
        by_changes, in_full = two_nights(org, tmp_path, lambda: org.store.connection.execute(rename))
    assert why_full(by_changes) == {WhyFull.OTHER_SOURCE}
    assert by_changes.fingerprint == in_full.fingerprint


def test_a_team_under_a_new_name_is_seen_the_next_night(tmp_path, world):
    with SalesforceSandbox(world) as org:
        rename = 'UPDATE "UserRole" SET "Name" = \'Renamed\''
        by_changes, in_full = two_nights(org, tmp_path, lambda: org.store.connection.execute(rename), team_field="UserRole.Name")
    assert by_changes.reads[Entity.USER].why_full is WhyFull.NO_CHANGES
    assert by_changes.reads[Entity.CONTACT].why_full is None
    assert by_changes.fingerprint == in_full.fingerprint


def first_email(org):
    return next(row["Id"] for row in org.rows("EmailMessage") if row["ActivityId"] and not row["IsDeleted"])


def delete_an_email(org):
    org.delete("EmailMessage", first_email(org))


def take_an_email_from_its_task(org):
    org.store.change("EmailMessage", [{"Id": first_email(org), "ActivityId": None, "SystemModstamp": org.store.now()}])


@pytest.mark.parametrize("happens", [delete_an_email, take_an_email_from_its_task])
def test_who_took_part_in_an_email_goes_with_it(tmp_path, world, happens):
    with SalesforceSandbox(world) as org:
        by_changes, in_full = two_nights(org, tmp_path, lambda: happens(org))
    assert by_changes.fingerprint == in_full.fingerprint
    assert by_changes.reads[Entity.ACTIVITY].why_full is None


def test_without_emails_who_took_part_is_read_by_changes(shared_org, monkeypatch, opened):
    monkeypatch.setattr(shared_org.store, "schema", Schema(Switches(hidden=frozenset({"EmailMessageRelation"}))))
    told = opened(shared_org).capabilities
    assert Entity.ACTIVITY_PARTICIPANT in told.incremental & told.deletions


def test_the_check_counts_what_is_read_in_full_every_night(opened):
    with SalesforceSandbox(crowded(opportunities=1, contacts=1)) as org:
        people = [{"Id": f"0CZ{number:015}", "IsDeleted": False} for number in range(4_001)]
        before = cost(opened(org))
        org.store.put("EmailMessageRelation", people)
        assert cost(opened(org)) - before == 2


def cost(adapter):
    told = {check.name: check.detail for check in adapter.check().checks}["cost"]
    return int(told.partition("a nightly one ")[2].partition(",")[0])


# --- results of Bulk jobs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [crowded(opportunities=1, contacts=5)], ids=["five contacts"])
def test_results_that_end_early_are_no_whole_read(world, monkeypatch, opened):
    send = transport.Transport.send

    def without_locator(self, request, **given):
        answer = send(self, request, **given)
        answer.headers.pop("Sforce-Locator", None)
        return answer

    with SalesforceSandbox(world, Switches(bulk_page_rows=2)) as org:
        adapter = opened(org, bulk_read_rows=1)
        assert len(read(adapter, Entity.CONTACT)) == 5
        monkeypatch.setattr(transport.Transport, "send", without_locator)
        with pytest.raises(CrmUnavailable, match="ended after 2 of 5 records"):
            read(adapter, Entity.CONTACT)


# --- options that do not fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), ("CurrencyType",)])
def test_one_currency_for_all_is_refused_where_amounts_have_their_own(shared_org, monkeypatch, opened, hidden):
    monkeypatch.setattr(shared_org.store, "schema", Schema(Switches(hidden=frozenset(hidden))))
    adapter = opened(shared_org, currency="EUR")
    assert "several currencies" in failed(adapter)["option currency"]
    with pytest.raises(SettingsError, match=r"crm\.options\.currency"):
        read(adapter, Entity.OPPORTUNITY)


def test_one_currency_is_taken_where_there_is_one(shared_org, monkeypatch, opened):
    monkeypatch.setattr(shared_org.store, "schema", Schema(Switches(currencies=Currencies.SINGLE)))
    assert failed(opened(shared_org, currency="EUR")) == {}


@pytest.mark.parametrize("name", ["AccountId", "OwnerId", "Name", "Amount", "IsWon"])
def test_a_field_that_leads_to_no_contact_is_no_contact_lookup(shared_org, opened, name):
    adapter = opened(shared_org, contact_lookup_fields=(name,))
    assert failed(adapter) == {"option contact_lookup_fields": f"Opportunity.{name} is no lookup to Contact"}
    with pytest.raises(SettingsError, match=rf"crm\.options\.contact_lookup_fields`: Opportunity\.{name} "):
        _ = adapter.capabilities


def test_a_lookup_named_twice_counts_once(shared_org, opened):
    adapter = opened(shared_org, contact_lookup_fields=("ContactId", "ContactId"))
    rows = [row["id"] for batch in adapter.read(Entity.OPPORTUNITY_CONTACT_LOOKUP) for row in batch.to_pylist()]
    assert rows
    assert len(rows) == len(set(rows))


BEHIND = ("ManagerId reference(User:Manager) cu", "Team__c reference(Organization:Team__r) cu")


@pytest.mark.parametrize(
    ("team_field", "is_there"),
    [
        ("Manager.Name", True),
        ("Manager.Nmae", False),
        ("Team__r.Name", True),
        ("Team__r.Nmae", False),
        ("Mangaer.Name", False),
        ("Manager.UserRole.Name", False),
        ("Nmae", False),
    ],
)
def test_a_slip_in_the_team_field_fails_the_check(opened, team_field, is_there):
    with SalesforceSandbox(small(), Switches(custom_fields={"User": BEHIND})) as org:
        adapter = opened(org, team_field=team_field)
        assert failed(adapter).keys() == (set() if is_there else {f"field {team_field}"})
        assert len(read(adapter, Entity.USER)) == 2


GIVEN = {"access_token": "t", "base_url": "https://x"}


@pytest.mark.parametrize(
    "given",
    [
        {"provenance_fields": {"run": "Why__c", "reason": "Why__c"}},
        {"provenance_fields": {"run": "Why__c", "reason": "why__C"}},
        {"provenance_fields": {"run": "Key__c"}, "write_key_field": "Key__c"},
    ],
)
def test_one_field_cannot_hold_two_things(given):
    with pytest.raises(ValidationError, match="each its own"):
        SalesforceOptions(**GIVEN, **given)
    settings = in_memory({"crm": {"adapter": "salesforce", "options": GIVEN | given}})
    with pytest.raises(SettingsError, match="provenance_fields"):
        settings.adapter_options(SalesforceOptions)


# --- meetings of a whole day ----------------------------------------------------------------------------------------

DAY = {"IsAllDayEvent": True, "ActivityDate": "2024-03-05", "DurationInMinutes": 1_440}
MIDNIGHT = {"StartDateTime": "2024-03-05T00:00:00Z", "ActivityDateTime": "2024-03-05T00:00:00Z"}


@pytest.mark.parametrize(
    ("hidden", "at"), [((), 12), (("Event.ActivityDate",), 12), (("Event.IsAllDayEvent",), 0)], ids=["all", "no day", "untold"]
)
@pytest.mark.parametrize("bulk_read_rows", [1, 10_000], ids=["bulk", "rest"])
def test_a_meeting_of_a_whole_day_is_on_that_day(opened, hidden, at, bulk_read_rows):
    with SalesforceSandbox(small()) as org:
        meeting = org.insert("Event", Subject="x", **DAY, **MIDNIGHT)
        show(org, *hidden)
        found = read(opened(org, bulk_read_rows=bulk_read_rows), Entity.ACTIVITY)
    assert found[meeting]["occurred_at"] == datetime(2024, 3, 5, at, tzinfo=UTC)
