"""The canonical world as Salesforce objects: set-based, so that millions of records take seconds.

What a world leaves open stays null, even where a real org would insist. Opportunity accounts have no standard object and
are left out. A reference to a record that is not there becomes a legal id that leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from crmbridge.model import Entity, Record, arrow_schema, record_batches
from crmbridge.testing.sandbox.salesforce.fill_activities import activities
from crmbridge.testing.sandbox.salesforce.fill_records import RATE_KINDS, deals, extras, marketing, money, people, relations
from crmbridge.testing.sandbox.salesforce.filling import Filler, map_ids, second
from crmbridge.testing.sandbox.salesforce.switches import Emails

if TYPE_CHECKING:
    from crmbridge.testing.sandbox.salesforce.store import Store

AnyWorld: TypeAlias = Mapping[Entity, Sequence[Record] | pa.Table]

_REFERENCES = {
    "account_id": Entity.ACCOUNT,
    "contact_id": Entity.CONTACT,
    "lead_id": Entity.LEAD,
    "opportunity_id": Entity.OPPORTUNITY,
    "campaign_id": Entity.CAMPAIGN,
    "activity_id": Entity.ACTIVITY,
    "user_id": Entity.USER,
    "owner_id": Entity.USER,
    "created_by_id": Entity.USER,
    "converted_account_id": Entity.ACCOUNT,
    "converted_contact_id": Entity.CONTACT,
    "converted_opportunity_id": Entity.OPPORTUNITY,
}
_PLAIN = {
    Entity.ACCOUNT: ("Account", "001"),
    Entity.CONTACT: ("Contact", "003"),
    Entity.LEAD: ("Lead", "00Q"),
    Entity.OPPORTUNITY: ("Opportunity", "006"),
    Entity.CONTACT_ROLE: ("OpportunityContactRole", "00K"),
    Entity.CAMPAIGN: ("Campaign", "701"),
    Entity.CAMPAIGN_MEMBER: ("CampaignMember", "00v"),
    Entity.ACCOUNT_CONTACT_RELATION: ("AccountContactRelation", "07k"),
    Entity.USER: ("User", "005"),
}


def tables_of(world: AnyWorld | Path) -> dict[Entity, pa.Table]:
    """Every entity of a world as a canonical Arrow table.

    Args:
        world: model objects or tables by entity; or a folder of `<entity>.parquet` files. An entity may be missing.
    """
    if isinstance(world, Path):
        found = {entity: world / f"{entity}.parquet" for entity in Entity}
        world = {entity: pq.read_table(path) for entity, path in found.items() if path.exists()}
    return {entity: _table(entity, world.get(entity, ())) for entity in Entity}


def lookup_names(tables: Mapping[Entity, pa.Table]) -> dict[str, str]:
    """The API name that each contact lookup field of the opportunity gets."""
    fields = tables[Entity.OPPORTUNITY_CONTACT_LOOKUP]["field"].unique().to_pylist()
    return {field: field if field.endswith("__c") else _api_name(field) for field in sorted(fields)}


def load(store: Store, tables: Mapping[Entity, pa.Table], lookups: Mapping[str, str]) -> None:
    """Fill an empty store.

    Args:
        store: made with a schema that has the lookups.
        tables: one per entity, in the canonical schema.
        lookups: field of the world -> API name.
    """
    connection = store.connection
    connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA w; CREATE SCHEMA ids")
    for entity, table in tables.items():
        connection.register("given", table)
        connection.execute(f"CREATE TABLE w.{entity} AS SELECT * FROM given")
        connection.unregister("given")
    _map_all_ids(store)
    filler = Filler(store)
    for fill in (people, deals, marketing, activities, relations, money, extras):
        fill(filler)
    _fill_lookups(store, lookups)
    _log_graves(store)
    connection.execute("DROP SCHEMA w CASCADE")


def _table(entity: Entity, given: Sequence[Record] | pa.Table) -> pa.Table:
    schema = arrow_schema(entity)
    if isinstance(given, pa.Table):
        return given.select(schema.names).cast(schema)
    return pa.Table.from_batches(record_batches(entity, given), schema=schema)


def _api_name(field: str) -> str:
    letters = re.sub(r"\W+", "_", field).strip("_")
    return f"{letters[:1].upper()}{letters[1:]}__c"


def _map_all_ids(store: Store) -> None:
    """One table `ids.<entity>` (canonical_id, object, sf_id) for each entity, with ids that lead nowhere as well."""
    sources = {entity: _plain_ids(entity) for entity in _PLAIN}
    sources |= {Entity.ACTIVITY: _ACTIVITY_KINDS, Entity.ACTIVITY_PARTICIPANT: _participant_kinds(store)}
    map_ids(store, sources | {Entity.EXCHANGE_RATE: RATE_KINDS})


def _plain_ids(entity: Entity) -> str:
    name, prefix = _PLAIN[entity]
    used = [f"SELECT {column} AS canonical_id FROM w.{table}" for table, column in _users_of(entity)]
    source = " UNION ".join([f"SELECT id AS canonical_id FROM w.{entity}", *used])
    return f"SELECT canonical_id, '{name}' AS object, '{prefix}' AS prefix FROM ({source})"


def _users_of(entity: Entity) -> list[tuple[Entity, str]]:
    return [
        (table, column)
        for table in Entity
        for column in arrow_schema(table).names
        if _REFERENCES.get(column) is entity or (table is entity and column in ("parent_id", "merged_into_id"))
    ]


_ACTIVITY_KINDS = """
SELECT activity_id AS canonical_id, 'Task' AS object, '00T' AS prefix FROM w.activity_participant
WHERE activity_id NOT IN (SELECT id FROM w.activity)
UNION
SELECT id, CASE kind WHEN 'meeting' THEN 'Event' ELSE 'Task' END, CASE kind WHEN 'meeting' THEN '00U' ELSE '00T' END
FROM w.activity"""


def _participant_kinds(store: Store) -> str:
    email = "'EmailMessageRelation'" if store.switches.emails is Emails.ENHANCED else "'TaskRelation'"
    return f"""
SELECT id AS canonical_id, object,
  CASE object WHEN 'EventRelation' THEN '0RE' WHEN 'TaskRelation' THEN '0RT' ELSE '0CZ' END AS prefix
FROM (
  SELECT p.id,
    CASE WHEN a.kind = 'meeting' THEN 'EventRelation' WHEN a.kind = 'email' THEN {email} ELSE 'TaskRelation' END AS object
  FROM w.activity_participant p LEFT JOIN w.activity a ON a.id = p.activity_id
)"""


def _fill_lookups(store: Store, lookups: Mapping[str, str]) -> None:
    for field, name in lookups.items():
        store.connection.execute(
            f"""UPDATE "Opportunity" SET "{name}" = l.target FROM (
              SELECT o.sf_id AS id, min(c.sf_id) AS target FROM w.opportunity_contact_lookup w
              JOIN ids.opportunity o ON o.canonical_id = w.opportunity_id JOIN ids.contact c ON c.canonical_id = w.contact_id
              WHERE w.field = ? AND NOT coalesce(w.is_deleted, false) GROUP BY o.sf_id
            ) l WHERE l.id = "Opportunity"."Id" """,
            [field],
        )


def _log_graves(store: Store) -> None:
    """Log what was deleted before the world was loaded; then derive each opportunity's contact from its primary role."""
    for sobject in store.schema.stored.values():
        if "isdeleted" in sobject.by_name:
            store.connection.execute(
                f"""INSERT INTO deletions
                SELECT '{sobject.name}', "Id", "SystemModstamp" FROM "{sobject.name}" WHERE "IsDeleted" """
            )
    store.connection.execute(
        f"""INSERT INTO deletions SELECT 'OpportunityContactRole', i.sf_id, {second("coalesce(w.modified_at, w.created_at)")}
        FROM w.contact_role w JOIN ids.contact_role i ON i.canonical_id = w.id WHERE w.is_deleted"""
    )
    store.connection.execute(
        """UPDATE "Opportunity" SET "ContactId" = p.contact FROM (SELECT "OpportunityId" AS id, min("ContactId") AS contact
        FROM "OpportunityContactRole" WHERE "IsPrimary" GROUP BY ALL) p WHERE p.id = "Opportunity"."Id" """
    )
