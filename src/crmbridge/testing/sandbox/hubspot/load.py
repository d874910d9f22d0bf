"""Turns a canonical world into what a HubSpot portal would hold of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from crmbridge.model import Entity
from crmbridge.testing.sandbox.hubspot import ids
from crmbridge.testing.sandbox.hubspot.store import HUBSPOT, PRIMARY, Rec, Store, stamp

ACTIVITY_KINDS = {"meeting": "meetings", "call": "calls", "email": "emails", "task": "tasks", "note": "notes", "other": "notes"}
LEFT_PROPERTY = "has_left"
"""A checkbox that this portal has defined for contacts."""
_START = datetime(2024, 1, 1, tzinfo=UTC)
_MONEY_STEP = Decimal("0.0001")

Row = dict[str, Any]
Tables = Mapping[Entity, pa.Table]


def load(store: Store, tables: Tables) -> dict[Entity, dict[str, str]]:
    """Fill an empty store.

    Returns:
        Entity -> canonical id -> HubSpot's.
    """
    return _Loader(store, tables).run()


class _Loader:
    def __init__(self, store: Store, tables: Tables) -> None:
        self._store = store
        self._tables = tables
        self.known: dict[Entity, dict[str, str]] = {entity: {} for entity in Entity}
        self._person: dict[str, str] = {}
        """Lead -> the contact that it is in HubSpot."""

    def run(self) -> dict[Entity, dict[str, str]]:
        for fill in (self._users, self._companies, self._contacts, self._deals, self._leads, self._links, self._roles,
                     self._campaigns, self._members, self._activities):  # fmt: skip
            fill()
        return self.known

    def _rows(self, entity: Entity) -> list[Row]:
        rows: list[Row] = self._tables[entity].to_pylist() if entity in self._tables else []
        return rows

    def _id(self, entity: Entity, text: str | None) -> str | None:
        return None if text is None else self.known[entity].setdefault(text, ids.number(text))

    def _add(self, kind: str, entity: Entity, row: Row, properties: Row, stamp_name: str = "hs_lastmodifieddate") -> Rec:
        record_id = self._id(entity, row["id"]) or ""
        changed = row.get("modified_at") or row.get("created_at") or _START
        made = row.get("created_at") or changed
        told = {"hs_object_id": record_id, "createdate": stamp(made), stamp_name: stamp(changed), **properties}
        record = self._store.add(kind, record_id, told, made, changed)
        if row.get("is_deleted"):
            record.archived = changed
        return record

    def _merged(self, kind: str, entity: Entity) -> None:
        """Survivors name those that were merged into them, and those into these."""
        rows = [row for row in self._rows(entity) if row.get("merged_into_id")]
        into = {row["id"]: row["merged_into_id"] for row in rows}
        gone: dict[str, list[str]] = defaultdict(list)
        for loser in into:
            survivor, seen = into[loser], {loser}
            while survivor in into and survivor not in seen:
                seen.add(survivor)
                survivor = into[survivor]
            gone[survivor].append(self._id(entity, loser) or "")
        for survivor, losers in gone.items():
            record = self._store.records[kind].get(self._id(entity, survivor) or "")
            if record is not None:
                record.properties["hs_merged_object_ids"] = ";".join(losers)

    def _users(self) -> None:
        for row in self._rows(Entity.USER):
            first, _, last = (row["name"] or "").partition(" ")
            self._store.owners.append(
                {
                    "id": self._id(Entity.USER, row["id"]),
                    "userId": int(ids.number(f"user of {row['id']}")),
                    "email": row["email"] or "",
                    "firstName": first,
                    "lastName": last,
                    "teams": [{"id": ids.number(row["team"]), "name": row["team"], "primary": True}] if row["team"] else [],
                    "archived": row["is_active"] is False,
                    "createdAt": stamp(_START),
                    "updatedAt": stamp(row["modified_at"] or _START),
                }
            )

    def _owner(self, row: Row) -> str | None:
        return self._id(Entity.USER, row.get("owner_id"))

    def _companies(self) -> None:
        for row in self._rows(Entity.ACCOUNT):
            if row.get("merged_into_id"):
                continue
            told = {"name": row["name"], "domain": row["website"], "type": row["type"], "hubspot_owner_id": self._owner(row)}
            told["hs_parent_company_id"] = self._id(Entity.ACCOUNT, row["parent_id"])
            self._add("companies", Entity.ACCOUNT, row, told)
        self._merged("companies", Entity.ACCOUNT)

    def _contacts(self) -> None:
        for row in self._rows(Entity.CONTACT):
            if row.get("merged_into_id"):
                continue
            company = self._id(Entity.ACCOUNT, row["account_id"])
            told = {"firstname": row["first_name"], "lastname": row["last_name"], "email": row["email"]}
            told |= {"jobtitle": row["title"], "hubspot_owner_id": self._owner(row), "associatedcompanyid": company}
            told |= {LEFT_PROPERTY: None if row["has_left"] is None else _flag(row["has_left"])}
            record = self._add("contacts", Entity.CONTACT, row, told, "lastmodifieddate")
            if company is not None and record.archived is None:
                pair = ("contacts", "companies")
                self._store.link(pair, record.id, company, [(HUBSPOT, PRIMARY[pair])])
        self._merged("contacts", Entity.CONTACT)

    def _deals(self) -> None:
        rows = self._rows(Entity.OPPORTUNITY)
        stages = self._stages(rows)
        for row in rows:
            company = self._id(Entity.ACCOUNT, row["account_id"])
            amount = None if row["amount"] is None else format(row["amount"].quantize(_MONEY_STEP).normalize(), "f")
            told = {
                "dealname": row["name"],
                "amount": amount,
                "deal_currency_code": row["currency"],
                "dealstage": stages[_stage_key(row)],
                "pipeline": self._pipeline(row),
                "closedate": _noon(row["close_date"]),
                "dealtype": row["type"],
                "hubspot_owner_id": self._owner(row),
                "hs_is_closed": _flag(row["is_closed"]),
                "hs_is_closed_won": _flag(row["is_won"]),
            }
            record = self._add("deals", Entity.OPPORTUNITY, row, told)
            if company is not None and record.archived is None:
                pair = ("deals", "companies")
                self._store.link(pair, record.id, company, [(HUBSPOT, PRIMARY[pair])])

    def _pipeline(self, row: Row) -> str:
        return "default" if row["record_type"] is None else ids.number(f"pipeline {row['record_type']}")

    def _stages(self, rows: list[Row]) -> dict[tuple[Any, ...], str]:
        """A stage for each that the world knows, in the pipeline of its record type."""
        found: dict[tuple[Any, ...], str] = {}
        pipelines: dict[str, Row] = {}
        for row in rows:
            key, pipeline = _stage_key(row), self._pipeline(row)
            if key in found:
                continue
            label = row["record_type"] or "Sales Pipeline"
            home = pipelines.setdefault(pipeline, {"id": pipeline, "label": label, "displayOrder": len(pipelines), "stages": []})
            found[key] = ids.number(f"stage {key}")
            probability = "1.0" if row["is_won"] else "0.0" if row["is_closed"] else "0.4"
            metadata = {"isClosed": _flag(row["is_closed"] or row["is_won"]), "probability": probability}
            home["stages"].append(
                {"id": found[key], "label": row["stage"] or "Open", "displayOrder": len(home["stages"]), "metadata": metadata}
            )
        self._store.pipelines.extend(pipelines.values())
        return found

    def _leads(self) -> None:
        """A lead stands on a contact: the one it was converted into, else one of its own."""
        for row in self._rows(Entity.LEAD):
            if row.get("merged_into_id"):
                continue
            contact = self._id(Entity.CONTACT, row["converted_contact_id"]) or self._own_contact(row)
            self._person[row["id"]] = contact
            told = {"hs_lead_name": row["last_name"], "hs_pipeline_stage": row["status"], "hubspot_owner_id": self._owner(row)}
            told |= {"hs_primary_contact_id": contact}
            record = self._add("leads", Entity.LEAD, row, told)
            if record.archived is not None:
                continue
            pair = ("leads", "contacts")
            self._store.link(pair, record.id, contact, [(HUBSPOT, PRIMARY[pair])])
            deal = self._id(Entity.OPPORTUNITY, row["converted_opportunity_id"])
            if deal is not None and self._store.live("deals", deal):
                self._store.link(("leads", "deals"), record.id, deal)

    def _own_contact(self, row: Row) -> str:
        told = {"firstname": row["first_name"], "lastname": row["last_name"], "email": row["email"], "jobtitle": row["title"]}
        told |= {"company": row["company"], "lifecyclestage": "lead", "hubspot_owner_id": self._owner(row)}
        of_lead = {**row, "id": f"contact of {row['id']}"}
        return self._add("contacts", Entity.CONTACT, of_lead, told, "lastmodifieddate").id

    def _links(self) -> None:
        for row in self._rows(Entity.ACCOUNT_CONTACT_RELATION):
            contact, company = self._id(Entity.CONTACT, row["contact_id"]), self._id(Entity.ACCOUNT, row["account_id"])
            if contact and company and row["is_active"] is not False and not row.get("is_deleted"):
                self._store.link(("contacts", "companies"), contact, company)
        for row in self._rows(Entity.OPPORTUNITY_ACCOUNT):
            deal, company = self._id(Entity.OPPORTUNITY, row["opportunity_id"]), self._id(Entity.ACCOUNT, row["account_id"])
            if deal and company and not row.get("is_deleted"):
                self._store.link(("deals", "companies"), deal, company)

    def _roles(self) -> None:
        for row in self._rows(Entity.CONTACT_ROLE):
            deal, contact = self._id(Entity.OPPORTUNITY, row["opportunity_id"]), self._id(Entity.CONTACT, row["contact_id"])
            if deal and contact and not row.get("is_deleted"):
                types = [self._store.label(row["role"])] if row["role"] else []
                self._store.link(("deals", "contacts"), deal, contact, types)
                self.known[Entity.CONTACT_ROLE][row["id"]] = role_id(deal, contact, types[0] if types else (HUBSPOT, 3))

    def _campaigns(self) -> None:
        for row in self._rows(Entity.CAMPAIGN):
            if row.get("is_deleted"):
                continue
            known = self.known[Entity.CAMPAIGN].setdefault(row["id"], ids.guid(row["id"]))
            changed = row["modified_at"] or row["created_at"] or _START
            told = {
                "hs_name": row["name"],
                "hs_campaign_status": row["status"],
                "hs_start_date": _day(row["start_date"]),
                "hs_end_date": _day(row["end_date"]),
                "hs_owner": self._owner(row),
                "hs_currency_code": row["currency"],
                "hs_object_id": ids.number(f"campaign {row['id']}"),
                "hs_budget_items_sum_amount": _amount(row["budgeted_cost"]),
                "hs_spend_items_sum_amount": _amount(row["actual_cost"]),
            }
            self._store.campaigns[known] = {
                "id": known,
                "properties": {name: value for name, value in told.items() if value is not None},
                "createdAt": stamp(row["created_at"] or changed),
                "updatedAt": stamp(changed),
                "businessUnits": [],
            }

    def _members(self) -> None:
        """Everybody is in a list that is an asset of the campaign; those who responded are in its reports, by the day."""
        for row in self._rows(Entity.CAMPAIGN_MEMBER):
            campaign = self.known[Entity.CAMPAIGN].get(row["campaign_id"])
            contact = self._contact_of(row)
            if campaign is None or contact is None or row.get("is_deleted"):
                continue
            list_id = ids.number(f"list of {campaign}")
            if list_id not in self._store.assets[campaign]:
                self._store.assets[campaign].append(list_id)
            joined = row["created_at"] or row["responded_at"]
            if joined is not None:
                self._store.members[list_id].append((contact, stamp(joined)))
            moment = row["responded_at"] or row["created_at"]
            if row["has_responded"] and moment is not None:
                day = moment.astimezone(UTC).date().isoformat()
                self._store.responses[campaign, "influencedContacts"].append((day, contact))
            self.known[Entity.CAMPAIGN_MEMBER][row["id"]] = f"{campaign}:{contact}"

    def _contact_of(self, row: Row) -> str | None:
        if row["contact_id"]:
            return self._id(Entity.CONTACT, row["contact_id"])
        return self._person.get(row["lead_id"] or "")

    def _activities(self) -> None:
        people: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for row in self._rows(Entity.ACTIVITY_PARTICIPANT):
            contact = self._contact_of(row)
            if contact is not None and not row.get("is_deleted"):
                people[row["activity_id"]].append((contact, row["kind"]))
        for row in self._rows(Entity.ACTIVITY):
            kind = ACTIVITY_KINDS[row["kind"]]
            here = people.get(row["id"], [])
            when = row["occurred_at"] or row["created_at"]
            told = {"hs_timestamp": stamp(when) if when else None, "hubspot_owner_id": self._owner(row)}
            if kind == "meetings":
                told["hs_meeting_start_time"] = told["hs_timestamp"]
            if kind == "emails":
                told["hs_email_direction"] = "INCOMING_EMAIL" if any(part == "from" for _, part in here) else "EMAIL"
            record = self._add(kind, Entity.ACTIVITY, row, told)
            self.known[Entity.ACTIVITY][row["id"]] = f"{_singular(kind)}:{record.id}"
            if record.archived is None:
                self._link_activity(kind, record.id, row, here)

    def _link_activity(self, kind: str, record_id: str, row: Row, people: list[tuple[str, str]]) -> None:
        others = [("deals", self._id(Entity.OPPORTUNITY, row["opportunity_id"]))]
        others += [("companies", self._id(Entity.ACCOUNT, row["account_id"]))]
        others += [("contacts", contact) for contact, _ in people]
        for to_kind, other in others:
            if other is not None:
                self._store.link((kind, to_kind), record_id, other)


def role_id(deal: str, contact: str, kind: tuple[str, int]) -> str:
    """The id of a role: its pair and its type."""
    return f"{deal}:{contact}:{kind[0]}:{kind[1]}"


def _singular(kind: str) -> str:
    return kind.removesuffix("s")


def _stage_key(row: Row) -> tuple[Any, ...]:
    return (row["record_type"], row["stage"], bool(row["is_closed"]), bool(row["is_won"]))


def _flag(value: object) -> str:
    return "true" if value else "false"


def _noon(day: date | None) -> str | None:
    return None if day is None else f"{day}T12:00:00.000Z"


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _amount(money: Decimal | None) -> str | None:
    return None if money is None else format(money.normalize(), "f")
