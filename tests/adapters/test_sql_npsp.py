"""The documented mappings on data that nobody here made: read, write and take back."""

import os
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from conftest import put, undo, written
from crmbridge.adapters.registry import open_adapter
from crmbridge.contract import Outcome
from crmbridge.model import Entity, records

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CRMBRIDGE_TEST_NPSP", ROOT.parent / "shared" / "data" / "npsp"))
DUMPS = {
    "1k": {"account": 1223, "contact": 1024, "opportunity": 1517, "contact_role": 3499, "campaign_member": 1699},
    "dev_org": {"account": 167, "contact": 102, "opportunity": 342, "contact_role": 999, "campaign_member": 165},
}


@pytest.fixture(params=list(DUMPS))
def npsp(request, tmp_path):
    """One of the two dumps as a database, with its documented mapping: (name, path, adapter)."""
    dump = DATA / f"{request.param}.sql"
    if not dump.exists():
        pytest.skip(f"no NPSP sample at {dump}: set CRMBRIDGE_TEST_NPSP to its folder")
    path = tmp_path / "npsp.db"
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA synchronous = OFF;" + dump.read_text(encoding="utf-8"))
    connection.close()
    mapping = ROOT / "docs" / "npsp" / f"npsp-{request.param.replace('_', '-')}.toml"
    adapter = open_adapter("sql", {"url": f"sqlite:///{path}", "mapping": str(mapping)})
    yield request.param, path, adapter
    adapter.close()


def dump_of(path):
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def read_all(adapter, entity):
    return [record for batch in adapter.read(entity) for record in records(entity, batch)]


def test_everything_is_found(npsp):
    name, _, adapter = npsp
    assert adapter.check().ok
    for entity in adapter.capabilities.entities:
        found = read_all(adapter, entity)
        assert len(found) == adapter.count(entity) == DUMPS[name].get(entity, len(found))
        assert len({record.id for record in found}) == len(found)


def test_values_are_what_they_should_be(npsp):
    name, _, adapter = npsp
    deals = read_all(adapter, Entity.OPPORTUNITY)
    assert {deal.currency for deal in deals} == {"USD"}
    assert sum(bool(deal.is_won) for deal in deals) == {"1k": 1516, "dev_org": 294}[name]
    assert sum(bool(deal.is_closed) for deal in deals) == {"1k": 1516, "dev_org": 300}[name]
    assert all(isinstance(deal.amount, Decimal) and deal.close_date for deal in deals)
    roles = read_all(adapter, Entity.CONTACT_ROLE)
    assert sum(bool(role.is_primary) for role in roles) == {"1k": 1308, "dev_org": 524}[name]
    lookups = read_all(adapter, Entity.OPPORTUNITY_CONTACT_LOOKUP)
    assert {lookup.field for lookup in lookups} == {"Primary_Contact__c", "Partial_Soft_Credit__c"}
    assert {role.opportunity_id for role in roles} <= {deal.id for deal in deals}


def test_writing_and_undoing_leaves_every_table_as_it_was(npsp):
    _, path, adapter = npsp
    before = dump_of(path)
    held = {(role.opportunity_id, role.contact_id) for role in read_all(adapter, Entity.CONTACT_ROLE)}
    pairs = {(f"{deal}", f"{contact}") for deal in range(1, 101) for contact in range(1, 11)}
    writes = [put(deal, contact, role="Influencer") for deal, contact in sorted(pairs)]
    receipts = written(adapter, writes)
    applied = [write for write in writes if receipts[write.key].outcome is Outcome.APPLIED]
    assert {(write.opportunity_id, write.contact_id) for write in applied} == pairs - held
    spelled = {row[0] for row in sqlite3_rows(path, 'SELECT DISTINCT "IsPrimary" FROM "OpportunityContactRole"')}
    assert len(spelled) == 2, "the primary flag is spelled as it was"
    receipts = written(adapter, [undo(write, receipts[write.key]) for write in applied])
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert dump_of(path) == before


def sqlite3_rows(path, sql):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
