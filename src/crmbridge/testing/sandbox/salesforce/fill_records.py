"""Accounts, people, deals, campaigns, money: every object but the activities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crmbridge.model import Entity
from crmbridge.testing.sandbox.salesforce import ids
from crmbridge.testing.sandbox.salesforce.filling import NO_CREATION, Filler, merged_stamps, stamps
from crmbridge.testing.sandbox.salesforce.switches import PersonAccounts

if TYPE_CHECKING:
    from crmbridge.testing.sandbox.salesforce.store import Store

_DATED = "valid_from IS NOT NULL OR valid_until IS NOT NULL"
RATE_KINDS = f"""
SELECT id AS canonical_id, CASE WHEN {_DATED} THEN 'DatedConversionRate' ELSE 'CurrencyType' END AS object,
  CASE WHEN {_DATED} THEN '04w' ELSE '01L' END AS prefix FROM w.exchange_rate"""
_FULL_NAME = "nullif(trim(concat_ws(' ', w.first_name, w.last_name)), '')"


def people(filler: Filler) -> None:
    """Fill UserRole, User, Account, Contact and Lead."""
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
    filler.fill("User", source, user | stamps(NO_CREATION), {"Id": (Entity.USER, "id")})
    account = {"Name": "w.name", "Website": "w.website", "Type": "w.type", "IsPersonAccount": "false"}
    links = {"Id": (Entity.ACCOUNT, "id"), "ParentId": (Entity.ACCOUNT, "parent_id"), "OwnerId": (Entity.USER, "owner_id")}
    filler.fill("Account", "w.account", account | merged_stamps(), links | {"MasterRecordId": (Entity.ACCOUNT, "merged_into_id")})
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
    filler.fill("Contact", "w.contact", contact | merged_stamps(), links)
    _leads(filler)


def _leads(filler: Filler) -> None:
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
    filler.fill("Lead", "w.lead", lead | merged_stamps(), links)


def deals(filler: Filler) -> None:
    """Fill RecordType, Opportunity and OpportunityContactRole."""
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
    filler.fill("Opportunity", source, opportunity | stamps(), links)
    role = {"Role": "w.role", "IsPrimary": "coalesce(w.is_primary, false)"}
    links = {
        "Id": (Entity.CONTACT_ROLE, "id"),
        "OpportunityId": (Entity.OPPORTUNITY, "opportunity_id"),
        "ContactId": (Entity.CONTACT, "contact_id"),
        "CreatedById": (Entity.USER, "created_by_id"),
    }
    filler.fill("OpportunityContactRole", "w.contact_role", role | stamps(), links)
    filler.connection.execute(
        'UPDATE "OpportunityContactRole" SET "IsDeleted" = true FROM "Opportunity" o '
        'WHERE o."Id" = "OpportunityId" AND o."IsDeleted"'
    )


def marketing(filler: Filler) -> None:
    """Fill Campaign and CampaignMember."""
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
    filler.fill("Campaign", "w.campaign", campaign | stamps(), links)
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
    filler.fill("CampaignMember", "w.campaign_member", member | stamps(), links)


def relations(filler: Filler) -> None:
    """Fill AccountContactRelation."""
    relation = {"Roles": "w.roles", "IsDirect": "coalesce(w.is_direct, false)", "IsActive": "coalesce(w.is_active, true)"}
    links = {
        "Id": (Entity.ACCOUNT_CONTACT_RELATION, "id"),
        "AccountId": (Entity.ACCOUNT, "account_id"),
        "ContactId": (Entity.CONTACT, "contact_id"),
    }
    filler.fill("AccountContactRelation", "w.account_contact_relation", relation | stamps(NO_CREATION), links)


def money(filler: Filler) -> None:
    """Currencies of the rates, relative to the world's base; `ids.exchange_rate` maps dated rows and static ones."""
    (found,) = filler.connection.execute("SELECT mode(base_currency) FROM w.exchange_rate").fetchall()
    base = found[0] or filler.store.switches.corporate_currency
    rate = {
        "IsoCode": "w.currency",
        "ConversionRate": "w.rate::DOUBLE",
        "StartDate": "coalesce(w.valid_from, DATE '0001-01-01')",
        "NextStartDate": "coalesce(w.valid_until, DATE '9999-12-31')",
    }
    links = {"Id": (Entity.EXCHANGE_RATE, "id")}
    source = f"(FROM w.exchange_rate WHERE base_currency = '{base}' AND NOT coalesce(is_deleted, false) AND {{}})"
    filler.fill("DatedConversionRate", source.format(f"({_DATED})"), rate | stamps(NO_CREATION), links)
    static = {"IsActive": "true", "IsCorporate": f"w.currency = '{base}'", "DecimalPlaces": "2"} | rate
    filler.fill("CurrencyType", source.format(f"NOT ({_DATED})"), static | stamps(NO_CREATION), links)
    _complete_currencies(filler, base)


def _complete_currencies(filler: Filler, base: str) -> None:
    """A static rate for every currency in use: the latest dated one, or 1."""
    missing = f"""SELECT DISTINCT currency AS iso, 'currency/' || currency AS id, '01L' AS prefix FROM (
        SELECT currency FROM w.opportunity UNION SELECT currency FROM w.campaign UNION SELECT currency FROM w.exchange_rate
        UNION SELECT '{base}') WHERE currency IS NOT NULL AND currency NOT IN (SELECT "IsoCode" FROM "CurrencyType")"""
    made = ids.made_from_sql("prefix", "id", f"({missing})")
    filler.connection.execute(
        f"""INSERT INTO "CurrencyType" BY NAME SELECT sf_id AS "Id", iso AS "IsoCode", true AS "IsActive", 2 AS "DecimalPlaces",
        iso = '{base}' AS "IsCorporate", coalesce(CASE WHEN iso <> '{base}' THEN (SELECT arg_max("ConversionRate", "StartDate")
        FROM "DatedConversionRate" d WHERE d."IsoCode" = iso) END, 1) AS "ConversionRate" FROM ({made})"""
    )


def extras(filler: Filler) -> None:
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
            }
        ],
    )
    if filler.store.switches.person_accounts is PersonAccounts.ON:
        _make_person_accounts(filler)


def date_own(store: Store) -> None:
    """Date what the org has added itself: its own record, and the currencies that no rate names."""
    now = store.now()
    store.connection.execute('UPDATE "Organization" SET "CreatedDate" = ?, "SystemModstamp" = ?', [now, now])
    store.connection.execute('UPDATE "CurrencyType" SET "SystemModstamp" = ? WHERE "SystemModstamp" IS NULL', [now])


def _make_person_accounts(filler: Filler) -> None:
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
