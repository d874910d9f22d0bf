"""What is wrong with the data: counted and shown, never silently dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from crmbridge.model import Entity, arrow_schema
from crmbridge.snapshot.resolve import MERGEABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from zoneinfo import ZoneInfo

    import duckdb

SAMPLES = 5

_EVENTS = frozenset({"created_at", "modified_at", "occurred_at", "responded_at", "converted_at"})
"""Moments that a CRM records after the fact; campaign and rate dates, and the close of an open deal, may lie ahead."""

SCHEMA = pa.schema(
    [
        ("code", pa.string()),
        ("entity", pa.string()),
        ("field", pa.string()),
        ("count", pa.int64()),
        ("sample_ids", pa.list_(pa.string())),
        ("severity", pa.string()),
        ("meaning", pa.string()),
    ]
)


@dataclass(frozen=True)
class Finding:
    """One kind of trouble in one entity.

    Attributes:
        code: stable, for scripts.
        field: the column in question; None where it is the whole record.
        count: records concerned.
        sample_ids: up to five of their ids, the smallest first.
        severity: `info` is normal in a living CRM, `warning` loses or blurs evidence, `error` is broken data.
        meaning: one sentence for people: what it is and what was done about it.
    """

    code: str
    entity: Entity
    field: str | None
    count: int
    sample_ids: tuple[str, ...]
    severity: str
    meaning: str


MEANINGS: dict[str, tuple[str, str]] = {
    "close_before_creation": (
        "warning",
        "The opportunity closed before the day it was created; both dates are kept as they are.",
    ),
    "closed_without_date": (
        "warning",
        "A closed opportunity has no usable close date; windows before the close cannot be applied.",
    ),
    "conflicting_names": ("warning", "Records share one e-mail address but not the name; they stay different people."),
    "date_in_future": ("warning", "The date lies after the pull; it is kept, and evidence after the close is never used."),
    "date_out_of_range": ("warning", "The date lies outside 1900 to 2200; it is treated as unknown."),
    "duplicate_id": ("error", "The same id came more than once; the last modified record is kept."),
    "duplicate_role": ("warning", "The contact has more than one role row on the opportunity; all are kept, none is added."),
    "generic_mailbox": (
        "info",
        "Records share a mailbox that belongs to nobody, such as info@; it makes nobody the same person.",
    ),
    "member_without_person": ("info", "The campaign member names neither a contact nor a lead; it is left out."),
    "merge_cycle": ("error", "The records are merged into each other in a circle; each stands for itself."),
    "merged_record": ("info", "The record was merged into another; what points at it is followed to the master."),
    "missing_currency": ("warning", "The amount has no currency although the CRM uses several; it cannot be added to others."),
    "orphan": ("warning", "The field points at a record that is missing or deleted; the link is left out."),
    "same_person": ("info", "The person has several contacts; they are treated as one."),
    "several_primaries": ("warning", "More than one contact is marked as the primary of the opportunity."),
    "unresolved_address": (
        "info",
        "The participant is known by an address only, and it belongs to nobody or to several people; left out.",
    ),
    "won_not_closed": ("warning", "The opportunity is won but not closed; it is treated as closed."),
    "won_without_amount": ("warning", "A won opportunity has no amount; it counts, but earns nothing in sums."),
}
"""Code -> severity and meaning: everything that `find` looks for."""

_REFERENCES: tuple[tuple[Entity, str, Entity, str], ...] = (
    (Entity.CONTACT, "account_id", Entity.ACCOUNT, "account_ids"),
    (Entity.LEAD, "converted_contact_id", Entity.CONTACT, "contact_ids"),
    (Entity.LEAD, "converted_opportunity_id", Entity.OPPORTUNITY, "opportunity_ids"),
    (Entity.OPPORTUNITY, "account_id", Entity.ACCOUNT, "account_ids"),
    (Entity.OPPORTUNITY, "campaign_id", Entity.CAMPAIGN, "live_campaign"),
    (Entity.CONTACT_ROLE, "opportunity_id", Entity.OPPORTUNITY, "opportunity_ids"),
    (Entity.CONTACT_ROLE, "contact_id", Entity.CONTACT, "contact_ids"),
    (Entity.CAMPAIGN_MEMBER, "campaign_id", Entity.CAMPAIGN, "live_campaign"),
    (Entity.CAMPAIGN_MEMBER, "contact_id", Entity.CONTACT, "contact_ids"),
    (Entity.CAMPAIGN_MEMBER, "lead_id", Entity.LEAD, "lead_ids"),
    (Entity.ACTIVITY, "opportunity_id", Entity.OPPORTUNITY, "opportunity_ids"),
    (Entity.ACTIVITY, "account_id", Entity.ACCOUNT, "account_ids"),
    (Entity.ACTIVITY_PARTICIPANT, "activity_id", Entity.ACTIVITY, "live_activity"),
    (Entity.ACCOUNT_CONTACT_RELATION, "account_id", Entity.ACCOUNT, "account_ids"),
    (Entity.ACCOUNT_CONTACT_RELATION, "contact_id", Entity.CONTACT, "contact_ids"),
    (Entity.OPPORTUNITY_CONTACT_LOOKUP, "opportunity_id", Entity.OPPORTUNITY, "opportunity_ids"),
    (Entity.OPPORTUNITY_CONTACT_LOOKUP, "contact_id", Entity.CONTACT, "contact_ids"),
    (Entity.OPPORTUNITY_ACCOUNT, "opportunity_id", Entity.OPPORTUNITY, "opportunity_ids"),
    (Entity.OPPORTUNITY_ACCOUNT, "account_id", Entity.ACCOUNT, "account_ids"),
)
"""(entity, field, target, table of the target's known ids); participants' contacts and leads were joined before."""

_OPPORTUNITY = "SELECT opportunity_id AS id FROM resolved.opportunities WHERE "

_QUERIES: tuple[tuple[str, Entity, str | None, str], ...] = (
    ("close_before_creation", Entity.OPPORTUNITY, "close_date", _OPPORTUNITY + "close_s < created_s"),
    ("closed_without_date", Entity.OPPORTUNITY, "close_date", _OPPORTUNITY + "is_closed AND close_date IS NULL"),
    ("date_in_future", Entity.OPPORTUNITY, "close_date", _OPPORTUNITY + "is_closed AND close_date > $today"),
    ("won_without_amount", Entity.OPPORTUNITY, "amount", _OPPORTUNITY + "is_won AND amount IS NULL"),
    (
        "missing_currency",
        Entity.OPPORTUNITY,
        "currency",
        _OPPORTUNITY + "amount IS NOT NULL AND currency IS NULL "
        "AND (SELECT count(DISTINCT currency) FROM resolved.opportunities) > 1",
    ),
    (
        "won_not_closed",
        Entity.OPPORTUNITY,
        "is_closed",
        "SELECT id FROM crm.opportunity WHERE is_won AND NOT is_closed AND is_deleted IS NOT TRUE",
    ),
    (
        "several_primaries",
        Entity.OPPORTUNITY,
        None,
        "SELECT opportunity_id AS id FROM resolved.opportunities WHERE opportunity_key IN (SELECT opportunity_key "
        "FROM resolved.roles WHERE is_primary GROUP BY opportunity_key HAVING count(DISTINCT contact_id) > 1)",
    ),
    (
        "duplicate_role",
        Entity.CONTACT_ROLE,
        None,
        "SELECT role_id AS id FROM resolved.roles "
        "QUALIFY row_number() OVER (PARTITION BY opportunity_key, contact_id ORDER BY role_id) > 1",
    ),
    (
        "conflicting_names",
        Entity.CONTACT,
        "email",
        "SELECT id FROM cluster_member WHERE kind = 'c' AND email IN "
        "(SELECT email FROM cluster_member GROUP BY email HAVING count(DISTINCT hub) > 1)",
    ),
    (
        "conflicting_names",
        Entity.LEAD,
        "email",
        "SELECT id FROM cluster_member WHERE kind = 'l' AND email IN "
        "(SELECT email FROM cluster_member GROUP BY email HAVING count(DISTINCT hub) > 1)",
    ),
    (
        "generic_mailbox",
        Entity.CONTACT,
        "email",
        "SELECT id FROM party WHERE kind = 'c' AND email IN (SELECT email FROM shared_email WHERE is_generic)",
    ),
    (
        "generic_mailbox",
        Entity.LEAD,
        "email",
        "SELECT id FROM party WHERE kind = 'l' AND contact_id IS NULL "
        "AND email IN (SELECT email FROM shared_email WHERE is_generic)",
    ),
    (
        "same_person",
        Entity.CONTACT,
        None,
        "SELECT min(contact_id) AS id FROM resolved.contacts SEMI JOIN "
        "(SELECT person_key FROM resolved.people WHERE contacts > 1) several USING (person_key) GROUP BY person_key",
    ),
    (
        "member_without_person",
        Entity.CAMPAIGN_MEMBER,
        None,
        "SELECT id FROM crm.campaign_member WHERE contact_id IS NULL AND lead_id IS NULL AND is_deleted IS NOT TRUE",
    ),
    ("orphan", Entity.ACTIVITY_PARTICIPANT, "contact_id", "SELECT id FROM participant WHERE lost_contact"),
    ("orphan", Entity.ACTIVITY_PARTICIPANT, "lead_id", "SELECT id FROM participant WHERE lost_lead"),
    (
        "unresolved_address",
        Entity.ACTIVITY_PARTICIPANT,
        "email",
        "SELECT p.id FROM participant p ANTI JOIN email_person e ON e.email = p.address WHERE p.address IS NOT NULL",
    ),
)


def finding(code: str, entity: Entity, field: str | None, count: int, sample_ids: Iterable[str]) -> Finding:
    """Build a finding with the severity and meaning of its code."""
    severity, meaning = MEANINGS[code]
    return Finding(code, entity, field, count, tuple(sample_ids), severity, meaning)


def drop_duplicates(connection: duckdb.DuckDBPyConnection, entity: Entity) -> Finding | None:
    """Keep one record per id: the last modified, then the smallest in column order, so that the order read never matters.

    Hashes find the suspects first: eight bytes a row instead of an id.
    """
    (suspects,) = connection.execute(f"SELECT count(*) - count(DISTINCT hash(id)) FROM crm.{entity}").fetchone() or (0,)
    if not suspects:
        return None
    columns = ", ".join(f'"{name}"' for name in arrow_schema(entity).names)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE surplus AS SELECT rowid AS row, id FROM crm.{entity} WHERE id IN "
        f"(SELECT id FROM crm.{entity} GROUP BY id HAVING count(*) > 1) QUALIFY row_number() OVER "
        f"(PARTITION BY id ORDER BY is_deleted IS TRUE, modified_at DESC NULLS LAST, {columns}) > 1"
    )
    count, samples = connection.execute(
        f"SELECT count(*), min(id, {SAMPLES}) FROM (SELECT id, count(*) FROM surplus GROUP BY id)"
    ).fetchone() or (0, None)
    (rows,) = connection.execute("SELECT count(*) FROM surplus").fetchone() or (0,)
    if not count:
        return None
    connection.execute(f"DELETE FROM crm.{entity} WHERE rowid IN (SELECT row FROM surplus)")
    return finding("duplicate_id", entity, "id", rows, samples)


def find(
    connection: duckdb.DuckDBPyConnection,
    *,
    entities: frozenset[Entity],
    as_of: datetime,
    zone: ZoneInfo,
    found: Iterable[Finding],
) -> tuple[Finding, ...]:
    """Look for everything in `MEANINGS`.

    Args:
        connection: one on which `resolve` has just run: its temporary tables are read.
        entities: what the CRM has; what points at an entity it does not have is no orphan.
        as_of: aware; later dates lie in the future.
        zone: the organisation's, for what day it is.
        found: what the pull met already.

    Returns:
        Findings with a count above zero, sorted by code, entity and field.
    """
    today: dict[str, object] = {"today": as_of.astimezone(zone).date()}
    for entity in (Entity.CAMPAIGN, Entity.ACTIVITY):
        connection.execute(f"CREATE TEMP VIEW live_{entity} AS SELECT id FROM crm.{entity} WHERE is_deleted IS NOT TRUE")
    filled = {entity for entity in entities if connection.execute(f"SELECT 1 FROM crm.{entity} LIMIT 1").fetchone()}
    every = [
        *found,
        *(_count(connection, *query, today if "$today" in query[-1] else {}) for query in _QUERIES if query[1] in filled),
        *(_count(connection, "orphan", *orphans) for orphans in _orphans(filled, entities)),
        *(_count(connection, *merges) for entity in MERGEABLE if entity in filled for merges in _merges(entity)),
        *(item for entity in filled for item in _dates(connection, entity, as_of)),
    ]
    return tuple(sorted((f for f in every if f.count), key=lambda f: (f.code, f.entity, f.field or "")))


def _count(
    connection: duckdb.DuckDBPyConnection,
    code: str,
    entity: Entity,
    field: str | None,
    query: str,
    parameters: dict[str, object] | None = None,
) -> Finding:
    """Count the ids that `query` gives."""
    count, samples = connection.execute(f"SELECT count(*), min(id, {SAMPLES}) FROM ({query})", parameters or {}).fetchone() or (
        0,
        None,
    )
    return finding(code, entity, field, count, samples or ())


def _orphans(filled: set[Entity], entities: frozenset[Entity]) -> Iterator[tuple[Entity, str, str]]:
    for entity, field, target, ids in _REFERENCES:
        if entity in filled and target in entities:
            source = f"live_{entity}" if entity in MERGEABLE else f"crm.{entity}"
            yield (
                entity,
                field,
                f"SELECT r.id FROM {source} r ANTI JOIN {ids} t ON t.id = r.{field} "
                f"WHERE r.{field} IS NOT NULL AND r.is_deleted IS NOT TRUE",
            )


def _merges(entity: Entity) -> tuple[tuple[str, Entity, str, str], ...]:
    field = "merged_into_id"
    return (
        ("merged_record", entity, field, f"SELECT id FROM merged_{entity}"),
        ("merge_cycle", entity, field, f"SELECT id FROM merge_cycle_{entity}"),
        ("orphan", entity, field, f"SELECT id FROM merged_{entity} ANTI JOIN {entity}_ids USING (id)"),
    )


def _dates(connection: duckdb.DuckDBPyConnection, entity: Entity, as_of: datetime) -> Iterator[Finding]:
    """Check every date of an entity: outside the range, and events that have not happened yet.

    The first and the last of each, in one scan, tell where there is something to count.
    """
    suspects = _DATE_CHECKS[entity]
    if not suspects:
        return
    columns = ", ".join(suspicion for _, _, suspicion, _ in suspects)
    parameters = {"as_of": as_of} if "$as_of" in columns else {}
    row = connection.execute(f"SELECT {columns} FROM crm.{entity} WHERE is_deleted IS NOT TRUE", parameters).fetchone() or ()
    for (code, field, _, test), is_suspect in zip(suspects, row, strict=True):
        if is_suspect:
            query = f"SELECT id FROM crm.{entity} WHERE is_deleted IS NOT TRUE AND {test}"
            yield _count(connection, code, entity, field, query, {"as_of": as_of} if "$as_of" in test else {})


def _date_checks(entity: Entity) -> list[tuple[str, str, str, str]]:
    """Code, field, what of its first and last is suspicious, and what of a single one is found."""
    dates = [field for field in arrow_schema(entity) if pa.types.is_temporal(field.type)]
    checks = []
    for field in dates:
        name, check = field.name, "in_range_day" if pa.types.is_date(field.type) else "in_range"
        suspicion = f"NOT ({check}(min({name})) AND {check}(max({name})))"
        checks.append(("date_out_of_range", name, suspicion, f"NOT {check}({name})"))
    events = [field.name for field in dates if field.name in _EVENTS]
    return checks + [
        ("date_in_future", name, f"max({name}) > $as_of", f"{name} > $as_of AND in_range({name})") for name in events
    ]


_DATE_CHECKS = {entity: _date_checks(entity) for entity in Entity}


def store_findings(connection: duckdb.DuckDBPyConnection, findings: tuple[Finding, ...]) -> None:
    """Write `meta.findings`."""
    rows = [{name: getattr(item, name) for name in SCHEMA.names} for item in findings]
    connection.register("found", pa.Table.from_pylist(rows, schema=SCHEMA))
    connection.execute("CREATE TABLE meta.findings AS FROM found")
    connection.unregister("found")
