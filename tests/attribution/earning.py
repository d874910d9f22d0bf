"""A small firm by hand, and what attribution makes of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time
from decimal import Decimal

import narwhals as nw

from crmbridge.attribution.attribute import Planned, attribute
from crmbridge.attribution.models import chosen_models
from crmbridge.attribution.settings import AttributionSettings
from crmbridge.model import Account, Campaign, CampaignMember, Contact, ContactRole, ExchangeRate, Lead, Opportunity
from crmbridge.snapshot.frames import RESOLVED, frames_from_tables

AS_OF = datetime(2026, 6, 15, 12, tzinfo=UTC)
CLOSED = date(2026, 5, 31)
FAIR = Campaign(id="fair", name="Fair")
ACCOUNT = Account(id="A", name="Acme")


def moment(text):
    """`2026-05-31` is noon of that day in UTC; `2026-05-31 23:59:59` that second."""
    given = datetime.fromisoformat(text)
    return (datetime.combine(given, time(12)) if len(text) == 10 else given).replace(tzinfo=UTC)


def seconds(text):
    return int(moment(text).timestamp())


def won(identifier, amount="100", currency="EUR", **fields):
    return deal(identifier, amount, currency, **{"is_closed": True, "is_won": True, "close_date": CLOSED, **fields})


def lost(identifier, amount="100", currency="EUR", **fields):
    return deal(identifier, amount, currency, **{"is_closed": True, "is_won": False, "close_date": CLOSED, **fields})


def deal(identifier, amount="100", currency="EUR", **fields):
    money = None if amount is None else Decimal(amount)
    common = {"account_id": "A", "is_closed": False, "is_won": False, "created_at": moment("2026-01-10")}
    return Opportunity(id=identifier, name=f"Deal {identifier}", amount=money, currency=currency, **{**common, **fields})


def person(identifier, **fields):
    return Contact(id=identifier, **{"account_id": "A", "last_name": f"Zorn{identifier}", **fields})


def lead(identifier, **fields):
    return Lead(id=identifier, last_name=f"Zorn{identifier}", **fields)


def role(opportunity, contact, name=None, **fields):
    return ContactRole(id=f"R-{opportunity}-{contact}", opportunity_id=opportunity, contact_id=contact, role=name, **fields)


def touch(contact, day="2026-03-01", campaign="fair", **fields):
    """A member that responded on a day; None for no date at all. Keywords: `lead=True` where it is a lead."""
    who = {"lead_id" if fields.pop("lead", False) else "contact_id": contact}
    responded = {"has_responded": True, "responded_at": None if day is None else moment(day)}
    return CampaignMember(id=f"M-{campaign}-{contact}-{day}", campaign_id=campaign, **{**who, **responded, **fields})


def campaign(identifier, cost=None, currency="EUR", **fields):
    spent = None if cost is None else Decimal(cost)
    return Campaign(id=identifier, name=fields.pop("name", identifier.title()), actual_cost=spent, currency=currency, **fields)


def rate(currency, units, since=None, until=None, base="EUR"):
    return ExchangeRate(
        id=f"{currency}-{base}-{since}",
        currency=currency,
        base_currency=base,
        rate=Decimal(units),
        valid_from=since and date.fromisoformat(since),
        valid_until=until and date.fromisoformat(until),
    )


def residuals(found, scenario="as_is"):
    """residual -> opportunities."""
    counted = Counter()
    for row in found.ledger.to_pylist():
        if row["scenario"] == scenario:
            counted[row["residual"]] += row["opportunities"]
    return dict(counted)


def credits_of(found, model="linear", scenario="as_is", state="won"):
    """campaign -> credit, of those that have any."""
    summed = Counter()
    for row in found.credits.to_pylist():
        if (row["model"], row["scenario"], row["state"]) == (model, scenario, state):
            summed[row["campaign_id"]] += row["credit"]
    return {name: credit for name, credit in summed.items() if credit}


def rows_of(table, **wanted):
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def row_of(table, **wanted):
    (row,) = rows_of(table, **wanted)
    return row


def resolved(tables, *, planned=None, threshold=0.5, more_models=(), as_of=AS_OF, **changes):
    """Attribution of resolved rows given as dicts; `planned`: (opportunity_key, person_key, confidence, without campaigns)."""
    import duckdb
    import pyarrow as pa

    arrow = {name: pa.Table.from_pylist(rows, schema=RESOLVED[name]) for name, rows in tables.items()}
    settings = AttributionSettings(**changes)
    with duckdb.connect() as connection:
        frames = frames_from_tables(arrow, connection=connection)
        return attribute(
            connection,
            roles=frames.roles,
            planned=None if planned is None else Planned("plan", threshold, _planned_roles(connection, planned)),
            models=chosen_models(settings, extra=more_models),
            settings=settings,
            as_of=as_of,
            time_zone="UTC",
        )


def _planned_roles(connection, planned):
    columns = {
        "opportunity_key": "BIGINT",
        "person_key": "BIGINT",
        "confidence": "DOUBLE",
        "confidence_without_campaign": "DOUBLE",
    }
    connection.execute(
        f"CREATE TABLE planned_rows ({', '.join(f'{name} {kind}' for name, kind in columns.items())}, role VARCHAR)"
    )
    connection.executemany("INSERT INTO planned_rows VALUES (?, ?, ?, ?, NULL)", planned or [(None,) * 4])
    return nw.from_native(connection.sql("FROM planned_rows WHERE opportunity_key IS NOT NULL"))
