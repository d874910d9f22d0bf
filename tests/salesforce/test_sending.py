"""How roles leave: 200 to a collection, jobs cut between opportunities, texts as they are, nothing before its checkpoint."""

from collections import Counter
from contextlib import contextmanager

import pytest
from orgs import crm_id, open_adapter

from crmbridge.adapters.salesforce import bulk_ingest
from crmbridge.contract import Outcome, RoleWrite
from crmbridge.model import Entity
from crmbridge.testing.sandbox import SalesforceSandbox
from crmbridge.testing.worlds import crowded

DEALS, PEOPLE = 7, 60
PLACE = ("OpportunityId", "ContactId")


@contextmanager
def opened(**given):
    with SalesforceSandbox(crowded(opportunities=DEALS, contacts=PEOPLE)) as org:
        adapter = open_adapter(org, **given)
        yield org, adapter
        adapter.close()


def put(deal, person, role="Evaluator"):
    return RoleWrite(
        key=f"{deal}-{person}",
        action="put",
        opportunity_id=crm_id(Entity.OPPORTUNITY, f"opportunity-{deal}"),
        contact_id=crm_id(Entity.CONTACT, f"contact-{person}"),
        role=role,
    )


def outcomes(adapter, writes, checkpoint=lambda _: None):
    return Counter(receipt.outcome for receipt in adapter.write_roles(writes, checkpoint=checkpoint))


def scattered(per_deal):
    """Roles on every opportunity, in an order that puts no two of one together."""
    return [put(deal, person) for person in range(1, per_deal + 1) for deal in range(1, DEALS + 1)]


def places(job):
    """Where a job's rows go, in its order."""
    columns = [job.header.index(name) for name in PLACE]
    return [tuple(cells[column] for column in columns) for cells in job.cells]


@pytest.fixture(params=[3, 8], ids=lambda rows: f"{rows} a job")
def sent_by_jobs(request, monkeypatch):
    """The jobs that 7 opportunities with 2 roles each make, and how far the others were when each was made."""
    monkeypatch.setattr(bulk_ingest, "ROWS_PER_JOB", request.param)
    with opened(bulk_write_rows=1) as (org, adapter):
        states = []

        def checkpoint(point):
            jobs = org.rest.bulk.ingests
            states.append((jobs[point.reference].header, {job.state for name, job in jobs.items() if name != point.reference}))

        assert outcomes(adapter, scattered(2), checkpoint) == {Outcome.APPLIED: 2 * DEALS}
        yield request.param, list(org.rest.bulk.ingests.values()), states


def test_jobs_are_cut_between_opportunities(sent_by_jobs):
    most, jobs, _ = sent_by_jobs
    deals = [{deal for deal, _ in places(job)} for job in jobs]
    assert sum(map(len, deals)) == len(set().union(*deals)) == DEALS
    assert all(len(job.cells) <= most for job in jobs)
    assert len(jobs) == -(-DEALS // (most // 2))


def test_rows_go_by_opportunity(sent_by_jobs):
    _, jobs, _ = sent_by_jobs
    in_order = [deal for job in jobs for deal, _ in places(job)]
    assert in_order == sorted(in_order)


def test_a_job_is_told_of_before_it_has_data_and_begins_when_the_last_has_ended(sent_by_jobs):
    _, jobs, states = sent_by_jobs
    assert len(states) == len(jobs)
    assert {(header, *others) for header, others in states} == {(None,), (None, "JobComplete")}


def test_an_opportunity_larger_than_a_job_is_cut_all_the_same(monkeypatch):
    monkeypatch.setattr(bulk_ingest, "ROWS_PER_JOB", 3)
    with opened(bulk_write_rows=1) as (org, adapter):
        assert outcomes(adapter, [put(1, person) for person in range(1, 8)]) == {Outcome.APPLIED: 7}
        assert [len(job.cells) for job in org.rest.bulk.ingests.values()] == [3, 3, 1]


def test_collections_hold_two_hundred():
    with opened() as (org, adapter):
        writes = scattered(PEOPLE)[:400]
        assert outcomes(adapter, writes) == {Outcome.APPLIED: len(writes)}
        assert org.calls["collection insert"] == 2
        rows = org.rows("OpportunityContactRole")
        removals = [
            RoleWrite(
                key=f"r{row['Id']}",
                action="remove",
                opportunity_id=row["OpportunityId"],
                contact_id=row["ContactId"],
                expected={"rows": [{"id": row["Id"], "role": row["Role"], "is_primary": False}]},
            )
            for row in rows
        ]
        assert outcomes(adapter, removals) == {Outcome.APPLIED: len(writes)}
        assert org.calls["collection delete"] == 2


TEXTS = [
    'Décideur, "chef"\nligne 2\r\n3',
    "經濟買家 🤝 Ünï",
    "  padded ",
    "=1+1",
    '"',
    "é" * 40,
    "#N/A",
    "null",
]


@pytest.mark.parametrize("bulk_write_rows", [1, 2_000], ids=["bulk", "collections"])
def test_a_role_is_written_as_it_reads(bulk_write_rows):
    with opened(bulk_write_rows=bulk_write_rows) as (org, adapter):
        for number, text in enumerate(TEXTS, 1):
            writes = [put(1, number, text), put(2, number, "Other")]
            assert outcomes(adapter, writes) == {Outcome.APPLIED: 2}
            assert outcomes(adapter, writes) == {Outcome.ALREADY: 2}
        deal = crm_id(Entity.OPPORTUNITY, "opportunity-1")
        told = {row["ContactId"]: row["Role"] for row in org.rows("OpportunityContactRole") if row["OpportunityId"] == deal}
        assert told == {crm_id(Entity.CONTACT, f"contact-{number}"): text for number, text in enumerate(TEXTS, 1)}
        assert (org.calls["job upload"] > 0) is (bulk_write_rows == 1)


@pytest.mark.parametrize("bulk_write_rows", [1, 2_000], ids=["bulk", "collections"])
def test_a_role_without_text_is_none(bulk_write_rows):
    with opened(bulk_write_rows=bulk_write_rows) as (org, adapter):
        writes = [put(1, 1, ""), put(2, 1, None)]
        assert outcomes(adapter, writes) == {Outcome.APPLIED: 2}
        assert outcomes(adapter, writes) == {Outcome.ALREADY: 2}
        assert [row["Role"] for row in org.rows("OpportunityContactRole")] == [None, None]
