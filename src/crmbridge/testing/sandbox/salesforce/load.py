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
from crmbridge.testing.sandbox.salesforce import ids
from crmbridge.testing.sandbox.salesforce.switches import Emails, PersonAccounts, SharedActivities

if TYPE_CHECKING:
    import duckdb

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
    _map_ids(store)
    filler = _Filler(store)
    for fill in (_people, _deals, _marketing, _activities, _relations, _money, _extras):
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


def _map_ids(store: Store) -> None:
    """One table `ids.<entity>` (canonical_id, object, sf_id) for each entity, with ids that lead nowhere as well."""
    for entity, (name, prefix) in _PLAIN.items():
        used = [f"SELECT {column} AS canonical_id FROM w.{table}" for table, column in _users_of(entity)]
        source = " UNION ".join([f"SELECT id AS canonical_id FROM w.{entity}", *used])
        _map(store, entity, f"SELECT canonical_id, '{name}' AS object, '{prefix}' AS prefix FROM ({source})")
    _map(store, Entity.ACTIVITY, _ACTIVITY_KINDS)
    _map(store, Entity.ACTIVITY_PARTICIPANT, _participant_kinds(store))


def _users_of(entity: Entity) -> list[tuple[Entity, str]]:
    return [
        (table, column)
        for table in Entity
        for column in arrow_schema(table).names
        if _REFERENCES.get(column) is entity or (table is entity and column in ("parent_id", "merged_into_id"))
    ]


def _map(store: Store, entity: Entity, source: str) -> None:
    made = ids.made_from_sql("prefix", "canonical_id", f"(SELECT * FROM ({source}) WHERE canonical_id IS NOT NULL)")
    store.connection.execute(f"CREATE TABLE ids.{entity} AS SELECT canonical_id, object, sf_id FROM ({made})")


_ACTIVITY_KINDS = """
SELECT activity_id AS canonical_id, 'Task' AS object, '00T' AS prefix FROM w.activity_participant
WHERE activity_id NOT IN (SELECT id FROM w.activity)
UNION
SELECT id, CASE kind WHEN 'meeting' THEN 'Event' ELSE 'Task' END, CASE kind WHEN 'meeting' THEN '00U' ELSE '00T' END
FROM w.activity"""


def _participant_kinds(store: Store) -> str:
    email = "'EmailMessageRelation'" if store.switches.emails is Emails.ENHANCED else "'TaskRelation'"
    return f"""
SELECT id AS canonical_id, object, CASE object WHEN 'EventRelation' THEN '0RE' WHEN 'TaskRelation' THEN '0RT' ELSE '0CZ' END AS prefix
FROM (
  SELECT p.id, CASE WHEN a.kind = 'meeting' THEN 'EventRelation' WHEN a.kind = 'email' THEN {email} ELSE 'TaskRelation' END AS object
  FROM w.activity_participant p LEFT JOIN w.activity a ON a.id = p.activity_id
)"""


class _Filler:
    """Fills one object after the other.

    Args:
        store: what is filled.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.connection: duckdb.DuckDBPyConnection = store.connection

    def fill(self, name: str, source: str, fields: Mapping[str, str], links: Mapping[str, tuple[Entity, str]]) -> None:
        """Fill an object.

        Args:
            name: of the object.
            source: a table or subquery, spoken of as `w`.
            fields: field -> SQL over `w`; fields that the org does not have are left out.
            links: field -> (entity, the column of `w` with its canonical id); `Id` among them.
        """
        known = self.store.schema.stored[name].by_name
        shown = [f'{sql} AS "{field}"' for field, sql in fields.items() if field.lower() in known]
        joins = []
        for place, (field, (entity, column)) in enumerate(links.items()):
            shown.append(f'j{place}.sf_id AS "{field}"')
            joins.append(f"LEFT JOIN ids.{entity} j{place} ON j{place}.canonical_id = w.{column}")
        self.connection.execute(
            f'INSERT INTO "{name}" BY NAME SELECT {", ".join(shown)} FROM {source} w {" ".join(joins)} {self._guard(name)}'
        )

    def _guard(self, name: str) -> str:
        return "WHERE NOT coalesce(w.is_deleted, false)" if name == "OpportunityContactRole" else ""


def _second(column: str) -> str:
    return f"date_trunc('second', {column}::TIMESTAMP)"


def _stamps(created: str = "w.created_at") -> dict[str, str]:
    changed = _second(f"coalesce(w.modified_at, {created}, TIMESTAMPTZ '2020-01-01 00:00:00+00')")
    return {
        "CreatedDate": _second(created),
        "LastModifiedDate": changed,
        "SystemModstamp": changed,
        "IsDeleted": "coalesce(w.is_deleted, false)",
    }


def _merged_stamps() -> dict[str, str]:
    return _stamps() | {"IsDeleted": "coalesce(w.is_deleted, false) OR w.merged_into_id IS NOT NULL"}


_NO_CREATION = "NULL::TIMESTAMPTZ"
_FULL_NAME = "nullif(trim(concat_ws(' ', w.first_name, w.last_name)), '')"


def _people(filler: _Filler) -> None:
    user = {
        "Name": "w.name",
        "LastName": "list_extract(string_split(w.name, ' '), -1)",
        "Username": "w.email",
        "Email": "w.email",
        "Department": "w.team",
        "UserRoleId": "w.team_id",
        "IsActive": "coalesce(w.is_active, true)",
        "UserType": "'Standard'",
    }
    teams = "SELECT DISTINCT team, 'team/' || team AS id, '00E' AS prefix FROM w.user WHERE team IS NOT NULL"
    filler.connection.execute(f"CREATE TABLE ids.team AS {ids.made_from_sql('prefix', 'id', f'({teams})')}")
    filler.connection.execute('INSERT INTO "UserRole" BY NAME SELECT sf_id AS "Id", team AS "Name" FROM ids.team')
    source = "(SELECT u.*, t.sf_id AS team_id FROM w.user u LEFT JOIN ids.team t ON t.team = u.team)"
    filler.fill("User", source, user | _stamps(_NO_CREATION), {"Id": (Entity.USER, "id")})
    account = {"Name": "w.name", "Website": "w.website", "Type": "w.type", "IsPersonAccount": "false"}
    links = {"Id": (Entity.ACCOUNT, "id"), "ParentId": (Entity.ACCOUNT, "parent_id"), "OwnerId": (Entity.USER, "owner_id")}
    filler.fill(
        "Account", "w.account", account | _merged_stamps(), links | {"MasterRecordId": (Entity.ACCOUNT, "merged_into_id")}
    )
    contact = {
        "FirstName": "w.first_name",
        "LastName": "w.last_name",
        "Name": _FULL_NAME,
        "Email": "w.email",
        "Title": "w.title",
        "Department": "w.department",
        "Has_Left__c": "coalesce(w.has_left, false)",
        "IsPersonAccount": "false",
    }
    links = {
        "Id": (Entity.CONTACT, "id"),
        "AccountId": (Entity.ACCOUNT, "account_id"),
        "OwnerId": (Entity.USER, "owner_id"),
        "MasterRecordId": (Entity.CONTACT, "merged_into_id"),
    }
    filler.fill("Contact", "w.contact", contact | _merged_stamps(), links)
    _leads(filler)


def _leads(filler: _Filler) -> None:
    lead = {
        "FirstName": "w.first_name",
        "LastName": "w.last_name",
        "Name": _FULL_NAME,
        "Email": "w.email",
        "Title": "w.title",
        "Company": "w.company",
        "Status": "w.status",
        "IsConverted": "coalesce(w.is_converted, false)",
        "ConvertedDate": "w.converted_at::TIMESTAMP::DATE",
    }
    links = {
        "Id": (Entity.LEAD, "id"),
        "OwnerId": (Entity.USER, "owner_id"),
        "MasterRecordId": (Entity.LEAD, "merged_into_id"),
        "ConvertedAccountId": (Entity.ACCOUNT, "converted_account_id"),
        "ConvertedContactId": (Entity.CONTACT, "converted_contact_id"),
        "ConvertedOpportunityId": (Entity.OPPORTUNITY, "converted_opportunity_id"),
    }
    filler.fill("Lead", "w.lead", lead | _merged_stamps(), links)


def _deals(filler: _Filler) -> None:
    types = "SELECT DISTINCT record_type AS name, 'Opportunity/' || record_type AS id, '012' AS prefix FROM w.opportunity"
    made = ids.made_from_sql("prefix", "id", f"({types} WHERE record_type IS NOT NULL)")
    filler.connection.execute(f"CREATE TABLE ids.record_type AS {made}")
    filler.connection.execute(
        'INSERT INTO "RecordType" BY NAME SELECT sf_id AS "Id", name AS "Name", replace(name, \' \', \'_\') AS "DeveloperName", '
        '\'Opportunity\' AS "SobjectType", true AS "IsActive" FROM ids.record_type'
    )
    opportunity = {
        "Name": "w.name",
        "Amount": "w.amount::DOUBLE",
        "CurrencyIsoCode": "w.currency",
        "StageName": "w.stage",
        "IsClosed": "coalesce(w.is_closed, false)",
        "IsWon": "coalesce(w.is_won, false)",
        "CloseDate": "w.close_date",
        "Type": "w.type",
        "RecordTypeId": "w.record_type_id",
    }
    links = {
        "Id": (Entity.OPPORTUNITY, "id"),
        "AccountId": (Entity.ACCOUNT, "account_id"),
        "CampaignId": (Entity.CAMPAIGN, "campaign_id"),
        "OwnerId": (Entity.USER, "owner_id"),
    }
    source = (
        """(SELECT o.*, r.sf_id AS record_type_id FROM w.opportunity o LEFT JOIN ids.record_type r ON r.name = o.record_type)"""
    )
    filler.fill("Opportunity", source, opportunity | _stamps(), links)
    role = {"Role": "w.role", "IsPrimary": "coalesce(w.is_primary, false)"}
    links = {
        "Id": (Entity.CONTACT_ROLE, "id"),
        "OpportunityId": (Entity.OPPORTUNITY, "opportunity_id"),
        "ContactId": (Entity.CONTACT, "contact_id"),
        "CreatedById": (Entity.USER, "created_by_id"),
    }
    filler.fill("OpportunityContactRole", "w.contact_role", role | _stamps(), links)
    filler.connection.execute(
        'UPDATE "OpportunityContactRole" SET "IsDeleted" = true FROM "Opportunity" o '
        'WHERE o."Id" = "OpportunityId" AND o."IsDeleted"'
    )


def _marketing(filler: _Filler) -> None:
    campaign = {
        "Name": "w.name",
        "Type": "w.type",
        "Status": "w.status",
        "StartDate": "w.start_date",
        "EndDate": "w.end_date",
        "BudgetedCost": "w.budgeted_cost::DOUBLE",
        "ActualCost": "w.actual_cost::DOUBLE",
        "CurrencyIsoCode": "w.currency",
        "IsActive": "coalesce(w.is_active, false)",
    }
    links = {"Id": (Entity.CAMPAIGN, "id"), "ParentId": (Entity.CAMPAIGN, "parent_id"), "OwnerId": (Entity.USER, "owner_id")}
    filler.fill("Campaign", "w.campaign", campaign | _stamps(), links)
    member = {
        "Status": "w.status",
        "HasResponded": "coalesce(w.has_responded, false)",
        "FirstRespondedDate": "w.responded_at::TIMESTAMP::DATE",
    }
    links = {
        "Id": (Entity.CAMPAIGN_MEMBER, "id"),
        "CampaignId": (Entity.CAMPAIGN, "campaign_id"),
        "ContactId": (Entity.CONTACT, "contact_id"),
        "LeadId": (Entity.LEAD, "lead_id"),
        "AccountId": (Entity.ACCOUNT, "account_id"),
    }
    filler.fill("CampaignMember", "w.campaign_member", member | _stamps(), links)


_FIRST_WHO = """
LEFT JOIN (
  SELECT p.activity_id, arg_min(coalesce(c.sf_id, l.sf_id), p.id) AS who_id
  FROM w.activity_participant p
  LEFT JOIN ids.contact c ON c.canonical_id = p.contact_id LEFT JOIN ids.lead l ON l.canonical_id = p.lead_id
  WHERE coalesce(c.sf_id, l.sf_id) IS NOT NULL AND NOT coalesce(p.is_deleted, false) GROUP BY ALL
) AS first_who ON first_who.activity_id = a.id"""


def _activities(filler: _Filler) -> None:
    filler.connection.execute(
        f"""CREATE TABLE w.whole_activity AS
        SELECT a.*, i.object, i.sf_id, first_who.who_id, coalesce(o.sf_id, c.sf_id) AS what_id, {_second("a.occurred_at")} AS moment
        FROM w.activity a JOIN ids.activity i ON i.canonical_id = a.id
        LEFT JOIN ids.opportunity o ON o.canonical_id = a.opportunity_id
        LEFT JOIN ids.account c ON c.canonical_id = a.account_id {_FIRST_WHO}"""
    )
    before = filler.store.switches.archived_before
    common = {
        "WhoId": "w.who_id",
        "WhatId": "w.what_id",
        "ActivityDate": "w.moment::DATE",
        "IsArchived": f"coalesce(w.moment < DATE '{before.isoformat()}', false)" if before else "false",
    }
    task = common | {
        "Status": "'Completed'",
        "IsClosed": "true",
        "Type": "CASE w.kind WHEN 'note' THEN 'Note' WHEN 'other' THEN 'Other' WHEN 'call' THEN 'Call' WHEN 'email' THEN 'Email' END",
        "TaskSubtype": "CASE w.kind WHEN 'call' THEN 'Call' WHEN 'email' THEN 'Email' ELSE 'Task' END",
        "CompletedDateTime": "w.moment",
    }
    event = common | {
        "StartDateTime": "w.moment",
        "ActivityDateTime": "w.moment",
        "EndDateTime": "w.moment + INTERVAL 1 HOUR",
        "DurationInMinutes": "60",
        "IsAllDayEvent": "false",
        "IsChild": "false",
    }
    links = {"Id": (Entity.ACTIVITY, "id"), "OwnerId": (Entity.USER, "owner_id"), "AccountId": (Entity.ACCOUNT, "account_id")}
    for name, fields in (("Task", task), ("Event", event)):
        filler.fill(name, f"(FROM w.whole_activity WHERE object = '{name}')", fields | _stamps(), links)
    _participants(filler)


def _participants(filler: _Filler) -> None:
    filler.connection.execute(
        """CREATE TABLE w.whole_participant AS
        SELECT p.*, i.object, coalesce(c.sf_id, l.sf_id, u.sf_id) AS relation_id, coalesce(p.email, o.email) AS address
        FROM w.activity_participant p JOIN ids.activity_participant i ON i.canonical_id = p.id
        LEFT JOIN ids.contact c ON c.canonical_id = p.contact_id LEFT JOIN w.contact o ON o.id = p.contact_id
        LEFT JOIN ids.lead l ON l.canonical_id = p.lead_id LEFT JOIN ids.user u ON u.canonical_id = p.user_id"""
    )
    links = {"Id": (Entity.ACTIVITY_PARTICIPANT, "id")}
    shared = filler.store.switches.shared_activities is SharedActivities.ON
    event_rows = "relation_id IS NOT NULL" if shared else "kind = 'attendee' AND relation_id IS NOT NULL"
    event = {
        "RelationId": "w.relation_id",
        "IsWhat": "false",
        "IsParent": "w.kind <> 'attendee'",
        "IsInvitee": "w.kind = 'attendee'",
        "Status": "CASE w.kind WHEN 'attendee' THEN 'Accepted' END",
    }
    source = f"(FROM w.whole_participant WHERE object = 'EventRelation' AND {event_rows})"
    filler.fill("EventRelation", source, event | _stamps(_NO_CREATION), links | {"EventId": (Entity.ACTIVITY, "activity_id")})
    task = {"RelationId": "w.relation_id", "IsWhat": "false"}
    source = "(FROM w.whole_participant WHERE object = 'TaskRelation' AND relation_id IS NOT NULL AND user_id IS NULL)"
    filler.fill("TaskRelation", source, task | _stamps(_NO_CREATION), links | {"TaskId": (Entity.ACTIVITY, "activity_id")})
    _whats(filler, "Task", "0RT")
    if shared:
        _whats(filler, "Event", "0RE")
    _emails(filler)


def _whats(filler: _Filler, name: str, prefix: str) -> None:
    """The row of each activity that leads to its opportunity or account."""
    source = f"SELECT *, id || '/what' AS what_row, '{prefix}' AS prefix FROM w.whole_activity WHERE object = '{name}' AND what_id IS NOT NULL"
    made = ids.made_from_sql("prefix", "what_row", f"({source})").replace("AS sf_id FROM", "AS row_id FROM")
    fields = {"Id": "w.row_id", "RelationId": "w.what_id", "IsWhat": "true", f"{name}Id": "w.sf_id"}
    fields |= {"IsParent": "false", "IsInvitee": "false"}
    filler.fill(f"{name}Relation", f"({made})", fields | _stamps(), {})


def _emails(filler: _Filler) -> None:
    if filler.store.switches.emails is Emails.TASKS:
        return
    source = "SELECT *, '02s' AS prefix, id || '/message' AS message FROM w.whole_activity WHERE kind = 'email'"
    made = ids.made_from_sql("prefix", "message", f"(SELECT * EXCLUDE (sf_id), sf_id AS task_id FROM ({source}))")
    filler.connection.execute(f"CREATE TABLE w.message AS {made}")
    message = {
        "Id": "w.sf_id",
        "ActivityId": "w.task_id",
        "RelatedToId": "w.what_id",
        "MessageDate": "w.moment",
        "Incoming": "false",
        "Status": "'Sent'",
    }
    filler.fill("EmailMessage", "w.message", message | _stamps(), {})
    kinds = (
        "CASE w.kind WHEN 'from' THEN 'FromAddress' WHEN 'to' THEN 'ToAddress' WHEN 'cc' THEN 'CcAddress' ELSE 'OtherAddress' END"
    )
    relation = {
        "EmailMessageId": "w.message_id",
        "RelationId": "w.relation_id",
        "RelationAddress": "w.address",
        "RelationType": kinds,
    }
    source = """(SELECT p.*, m.sf_id AS message_id FROM w.whole_participant p JOIN w.message m ON m.id = p.activity_id)"""
    filler.fill("EmailMessageRelation", source, relation | _stamps(_NO_CREATION), {"Id": (Entity.ACTIVITY_PARTICIPANT, "id")})


def _relations(filler: _Filler) -> None:
    relation = {"Roles": "w.roles", "IsDirect": "coalesce(w.is_direct, false)", "IsActive": "coalesce(w.is_active, true)"}
    links = {
        "Id": (Entity.ACCOUNT_CONTACT_RELATION, "id"),
        "AccountId": (Entity.ACCOUNT, "account_id"),
        "ContactId": (Entity.CONTACT, "contact_id"),
    }
    filler.fill("AccountContactRelation", "w.account_contact_relation", relation | _stamps(_NO_CREATION), links)


def _money(filler: _Filler) -> None:
    """Currencies of the rates, relative to the world's base; `ids.exchange_rate` maps dated rows and static ones."""
    (found,) = filler.connection.execute("SELECT mode(base_currency) FROM w.exchange_rate").fetchall()
    base = found[0] or filler.store.switches.corporate_currency
    dated = "valid_from IS NOT NULL OR valid_until IS NOT NULL"
    kinds = f"""SELECT id AS canonical_id, CASE WHEN {dated} THEN 'DatedConversionRate' ELSE 'CurrencyType' END AS object,
        CASE WHEN {dated} THEN '04w' ELSE '01L' END AS prefix FROM w.exchange_rate"""
    _map(filler.store, Entity.EXCHANGE_RATE, kinds)
    rate = {
        "IsoCode": "w.currency",
        "ConversionRate": "w.rate::DOUBLE",
        "StartDate": "coalesce(w.valid_from, DATE '0001-01-01')",
        "NextStartDate": "coalesce(w.valid_until, DATE '9999-12-31')",
    }
    links = {"Id": (Entity.EXCHANGE_RATE, "id")}
    source = f"(FROM w.exchange_rate WHERE base_currency = '{base}' AND NOT coalesce(is_deleted, false) AND {{}})"
    filler.fill("DatedConversionRate", source.format(f"({dated})"), rate | _stamps(_NO_CREATION), links)
    static = {"IsActive": "true", "IsCorporate": f"w.currency = '{base}'", "DecimalPlaces": "2"} | rate
    filler.fill("CurrencyType", source.format(f"NOT ({dated})"), static | _stamps(_NO_CREATION), links)
    _complete_currencies(filler, base)


def _complete_currencies(filler: _Filler, base: str) -> None:
    """A static rate for every currency in use: the latest dated one, or 1."""
    missing = f"""SELECT DISTINCT currency AS iso, 'currency/' || currency AS id, '01L' AS prefix FROM (
        SELECT currency FROM w.opportunity UNION SELECT currency FROM w.campaign UNION SELECT currency FROM w.exchange_rate
        UNION SELECT '{base}') WHERE currency IS NOT NULL AND currency NOT IN (SELECT "IsoCode" FROM "CurrencyType")"""
    made = ids.made_from_sql("prefix", "id", f"({missing})")
    filler.connection.execute(
        f"""INSERT INTO "CurrencyType" BY NAME SELECT sf_id AS "Id", iso AS "IsoCode", true AS "IsActive", 2 AS "DecimalPlaces",
        iso = '{base}' AS "IsCorporate", coalesce(CASE WHEN iso <> '{base}' THEN (SELECT arg_max("ConversionRate", "StartDate")
        FROM "DatedConversionRate" d WHERE d."IsoCode" = iso) END, 1) AS "ConversionRate", ? AS "SystemModstamp" FROM ({made})""",
        [filler.store.now()],
    )


def _extras(filler: _Filler) -> None:
    """The organisation itself, whose time zone decides what a close date means; person accounts where the org has them."""
    filler.store.put(
        "Organization",
        [
            {
                "Id": ids.counted("00D", 1),
                "Name": "Sandbox",
                "Country": "US",
                "PrimaryContact": "Sandbox",
                "DefaultLocaleSidKey": "en_US",
                "LanguageLocaleKey": "en_US",
                "TimeZoneSidKey": filler.store.switches.time_zone,
                "OrganizationType": "Developer Edition",
                "InstanceName": "SBX1",
                "IsSandbox": True,
                "FiscalYearStartMonth": 1,
                "CreatedDate": filler.store.now(),
                "SystemModstamp": filler.store.now(),
            }
        ],
    )
    if filler.store.switches.person_accounts is PersonAccounts.ON:
        _make_person_accounts(filler)


def _make_person_accounts(filler: _Filler) -> None:
    alone = """SELECT "Id" AS contact, 'person/' || "Id" AS id, '001' AS prefix FROM "Contact"
        WHERE "AccountId" IS NULL AND NOT "IsDeleted" """
    filler.connection.execute(f"CREATE TABLE w.person AS {ids.made_from_sql('prefix', 'id', f'({alone})')}")
    filler.connection.execute(
        """INSERT INTO "Account" BY NAME SELECT p.sf_id AS "Id", c."Name", true AS "IsPersonAccount", c."Id" AS "PersonContactId",
        c."OwnerId", c."CreatedDate", c."LastModifiedDate", c."SystemModstamp", false AS "IsDeleted"
        FROM w.person p JOIN "Contact" c ON c."Id" = p.contact"""
    )
    filler.connection.execute(
        'UPDATE "Contact" SET "IsPersonAccount" = true, "AccountId" = p.sf_id FROM w.person p WHERE p.contact = "Contact"."Id"'
    )


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
                f"""INSERT INTO deletions SELECT '{sobject.name}', "Id", "SystemModstamp" FROM "{sobject.name}" WHERE "IsDeleted" """
            )
    store.connection.execute(
        f"""INSERT INTO deletions SELECT 'OpportunityContactRole', i.sf_id, {_second("coalesce(w.modified_at, w.created_at)")}
        FROM w.contact_role w JOIN ids.contact_role i ON i.canonical_id = w.id WHERE w.is_deleted"""
    )
    store.connection.execute(
        """UPDATE "Opportunity" SET "ContactId" = p.contact FROM (SELECT "OpportunityId" AS id, min("ContactId") AS contact
        FROM "OpportunityContactRole" WHERE "IsPrimary" GROUP BY ALL) p WHERE p.id = "Opportunity"."Id" """
    )
