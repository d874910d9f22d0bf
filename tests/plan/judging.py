"""`decide` on hand-made frames: what each test says differs from one opportunity, one account and what is listed."""

from __future__ import annotations

import math

import duckdb
import narwhals as nw
import pyarrow as pa

from crmbridge.evidence.score import Scored
from crmbridge.plan.decide import chosen_contacts, decide
from crmbridge.plan.policy import Policy
from crmbridge.snapshot import RESOLVED, frames_from_tables
from crmbridge.snapshot.keep import Keeper

PAIR = pa.schema([("opportunity_key", pa.int64()), ("person_key", pa.int64())])
PRIMARY = pa.schema([("opportunity_key", pa.int64()), ("primary_contact_id", pa.string())])
SCORED = pa.schema(
    [
        *PAIR,
        *((name, pa.float64()) for name in ("bits", "bits_without_campaign", "confidence", "confidence_without_campaign")),
        ("has_other_proposal", pa.bool_()),
    ]
)


def opportunity(key=1, **fields):
    return {"opportunity_key": key, "opportunity_id": f"O{key}", "is_closed": False, "is_won": False, **fields}


def contact(person, contact_id=None, **fields):
    """A contact of account A."""
    blank = {"account_id": "A", "has_left": False, "is_employee": False}
    return {"contact_id": contact_id or f"C{person}", "person_key": person, **blank, **fields}


def role(person, key=1, **fields):
    return {
        "role_id": f"R{key}-{person}", "opportunity_key": key, "person_key": person, "contact_id": f"C{person}",
        "is_primary": False, **fields,
    }  # fmt: skip


def scored(person, confidence=0.9, key=1, *, other=True):
    bits = math.log2(confidence / (1 - confidence))
    return {
        "opportunity_key": key, "person_key": person, "bits": bits, "bits_without_campaign": bits, "confidence": confidence,
        "confidence_without_campaign": confidence, "has_other_proposal": other,
    }  # fmt: skip


def judge(pairs, contacts, *, deals=None, roles=(), vetoes=(), primaries=(), role_of="Buyer", has_primary=True, **policy):
    """Rows of the decided candidates by (opportunity_key, person_key)."""
    connection = duckdb.connect(":memory:")
    deals = [opportunity()] if deals is None else deals
    people = {row["person_key"] for row in contacts} | {row["person_key"] for row in pairs}
    tables = {
        "opportunities": deals,
        "opportunity_accounts": [{"opportunity_key": row["opportunity_key"], "account_id": "A"} for row in deals],
        "contacts": contacts,
        "people": [
            {"person_key": key, "contacts": sum(row["person_key"] == key for row in contacts), "leads": 0}
            for key in sorted(people)
        ],
        "roles": list(roles),
    }
    frames = frames_from_tables(
        {name: pa.Table.from_pylist(rows, schema=RESOLVED[name]) for name, rows in tables.items()}, connection=connection
    )
    keep = Keeper(connection)

    def frame(rows, schema, name):
        connection.register(name, pa.Table.from_pylist(list(rows), schema=schema))
        return nw.from_native(connection.table(name))

    pairs_frame = frame(pairs, SCORED, "pairs")
    chosen = keep(chosen_contacts(frames, pairs_frame), "chosen")
    chosen = chosen.with_columns(role=nw.lit(role_of, dtype=nw.String))
    decided = decide(
        frames,
        Scored(reasons=pairs_frame, pairs=pairs_frame, rules=(), sight=None),
        Policy(**policy),
        chosen=chosen,
        vetoes=frame([{"opportunity_key": o, "person_key": p} for o, p in vetoes], PAIR, "vetoed_pairs"),
        primaries=frame([{"opportunity_key": o, "primary_contact_id": c} for o, c in primaries], PRIMARY, "primary_contacts"),
        has_primary=has_primary,
        keep=keep,
    )
    rows = decided.candidates.collect("pyarrow").to_native().to_pylist()
    connection.close()
    found = {(row["opportunity_key"], row["person_key"]): row for row in rows}
    assert len(found) == len(rows) == len(pairs), "one row per pair, none lost"
    return found


def decisions(*args, **kwargs):
    """The decision of each pair."""
    return {pair: row["decision"] for pair, row in judge(*args, **kwargs).items()}


def decision(pair, contacts, **kwargs):
    """The decision on a single pair."""
    (found,) = decisions([pair], contacts, **kwargs).values()
    return found
