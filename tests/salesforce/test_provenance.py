"""Roles that say, in Salesforce itself, which run added them, how sure it was, and why."""

from datetime import UTC, datetime

import pytest
from orgs import QUICK, open_adapter, options
from pydantic import ValidationError

from crmbridge.adapters.salesforce import SalesforceAdapter
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.contract import Outcome, RoleWrite
from crmbridge.demo.world import make_world
from crmbridge.model import Entity
from crmbridge.testing.sandbox import SalesforceSandbox, Switches
from crmbridge.testing.worlds import small

ROLE = "OpportunityContactRole"
FIELDS = (
    "Run__c string(40) cu",
    "Sure__c percent(5,2) cu",
    "Why__c string(60) cu",
    "Score__c double(5,4) cu",
    "Locked__c string(40)",
)
NAMES = {"run": "Run__c", "confidence": "Sure__c", "reason": "Why__c"}
TOLD = {
    "run": "run-7",
    "confidence": "0.9371",
    "reason": "meeting +3.1 2026-02-03; email +1.2 2026-01-07; title +0.4 and much more",
}


@pytest.fixture
def org():
    with SalesforceSandbox(small(), Switches(custom_fields={ROLE: FIELDS})) as made:
        yield made


def absent_pairs(org):
    taken = {(row["OpportunityId"], row["ContactId"]) for row in org.rows(ROLE)}
    deals, people = (org.id_map(entity).values() for entity in (Entity.OPPORTUNITY, Entity.CONTACT))
    return [(deal, person) for deal in sorted(deals) for person in sorted(people) if (deal, person) not in taken]


def put(pair, **provenance):
    deal, person = pair
    return RoleWrite(
        key=f"w-{deal}-{person}",
        action="put",
        opportunity_id=deal,
        contact_id=person,
        provenance=provenance,
    )


def written(adapter, write):
    (receipt,) = adapter.write_roles([write], checkpoint=lambda _: None)
    adapter.close()
    return receipt


def row_of(org, write):
    (row,) = [
        row for row in org.rows(ROLE) if (row["OpportunityId"], row["ContactId"]) == (write.opportunity_id, write.contact_id)
    ]
    return row


@pytest.mark.parametrize("bulk_write_rows", [2_000, 1])
def test_the_fields_are_filled_and_cut_to_their_length(org, bulk_write_rows):
    writes = [put(pair, **TOLD) for pair in absent_pairs(org)[:2]]
    adapter = open_adapter(org, provenance_fields=NAMES, bulk_write_rows=bulk_write_rows)
    receipts = list(adapter.write_roles(writes, checkpoint=lambda _: None))
    adapter.close()
    assert [receipt.outcome for receipt in receipts] == [Outcome.APPLIED] * 2
    for write in writes:
        row = row_of(org, write)
        assert (row["Run__c"], row["Sure__c"], row["Why__c"]) == ("run-7", 93.71, TOLD["reason"][:60])
    assert any("ingest" in endpoint for endpoint in org.calls) is (bulk_write_rows == 1)


def test_a_number_takes_the_confidence_as_it_is(org):
    write = put(absent_pairs(org)[0], **TOLD)
    written(open_adapter(org, provenance_fields={"confidence": "Score__c"}), write)
    assert row_of(org, write)["Score__c"] == 0.9371


def test_what_is_not_known_is_left_blank(org):
    write = put(absent_pairs(org)[0])
    assert written(open_adapter(org, provenance_fields=NAMES), write).outcome is Outcome.APPLIED
    assert [row_of(org, write)[name] for name in NAMES.values()] == [None] * 3


def test_without_the_option_nothing_is_told(org):
    write = put(absent_pairs(org)[0], **TOLD)
    written(open_adapter(org), write)
    assert row_of(org, write)["Run__c"] is None


def test_fields_that_cannot_be_written_are_named_and_left_out(org):
    wanted = {"run": "No_Such__c", "confidence": "Locked__c", "reason": "Score__c"}
    adapter = open_adapter(org, provenance_fields=wanted)
    found = {check.name: check for check in adapter.check().checks if check.name.startswith("field ")}
    assert {check.status for check in found.values()} == {"warning"}
    assert "has no field No_Such__c" in found["field No_Such__c"].detail
    assert "may not be set" in found["field Locked__c"].detail
    assert "is of type double; allowed: text: it is left out" in found["field Score__c"].detail
    write = put(absent_pairs(org)[0], **TOLD)
    assert written(adapter, write).outcome is Outcome.APPLIED
    assert row_of(org, write)["Score__c"] is None


@pytest.mark.parametrize("wrong", [{"who": "Run__c"}, {"run": "Run c"}, {"run": "Run__c, (SELECT Id FROM Contact)"}])
def test_other_keys_and_other_names_are_refused(org, wrong):
    with pytest.raises(ValidationError, match="provenance_fields"):
        options(org, provenance_fields=wrong)


def test_a_whole_run_tells_why_and_undo_takes_it_back(tmp_path):
    world = make_world(opportunities=60, as_of=datetime.now(UTC))
    with SalesforceSandbox(world.records, Switches(custom_fields={ROLE: FIELDS})) as org:
        before = {row["Id"] for row in org.rows(ROLE)}
        chosen = {"base_url": org.url, "access_token": org.session_id, "provenance_fields": NAMES, **QUICK}
        settings = {
            "crm": {"adapter": "salesforce", "options": chosen},
            "policy": {"max_changed_percent": 100},
            "workspace": {"folder": str(tmp_path / "workspace")},
        }
        with Bridge(in_memory(settings)) as bridge:
            done = bridge.backfill(apply=True)
            new = {row["Id"]: row for row in org.rows(ROLE) if row["Id"] not in before}
            lines = {(line.opportunity_id, line.contact_id): line for line in done.plan.lines()}
            assert len(new) == len(lines) > 20
            for row in new.values():
                line = lines[row["OpportunityId"], row["ContactId"]]
                assert row["Run__c"] == done.run.run_id
                assert row["Sure__c"] == pytest.approx(100 * line.confidence, abs=0.01)
                assert row["Why__c"].startswith(max(line.reasons, key=lambda reason: reason.bits).rule)
            assert bridge.undo(done.run.run_id).counts == {"applied": len(lines)}
        assert {row["Id"] for row in org.rows(ROLE)} == before


def test_the_contact_of_another_form_of_id_is_told_all_the_same(org):
    deal, person = absent_pairs(org)[0]
    write = put((deal[:15], person[:15]), **TOLD)
    adapter = SalesforceAdapter(options(org, provenance_fields=NAMES))
    assert written(adapter, write).outcome is Outcome.APPLIED
    assert "run-7" in {row["Run__c"] for row in org.rows(ROLE)}
