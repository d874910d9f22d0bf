"""One world seen through several CRMs: what each can tell of it, and what crmbridge makes of that.

The yardstick is the SQL adapter, whose schema holds everything that the canonical model knows. A CRM that can express less, or
more, says so in a closed list of changes, each tied to a fact. The world with those changes, through SQL, must give exactly what
the unchanged world gives through that CRM.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.stage import DATABASE, set_stage
from crmbridge.demo.world import DemoWorld
from crmbridge.model import Entity, Record

AS_OF = datetime(2026, 6, 1, 12, tzinfo=UTC)
PLACES = 4
"""Of a confidence on file."""
FAR = 0.05

World = dict[Entity, list[Record]]
Pair = tuple[str, str | None]
"""Opportunity and contact; no contact for a lead without one."""


@dataclass(frozen=True)
class Cause:
    """Why a CRM tells something else than the world holds.

    Attributes:
        name: short.
        fact: of the CRM, as its documentation has it.
        most: bound on the share of candidates that it changes, be it by a hundredth of a bit.
        change: the world as that fact leaves it.
    """

    name: str
    fact: str
    most: float
    change: Callable[[World], World]


@dataclass(frozen=True)
class Crm:
    """A CRM to be compared.

    Attributes:
        name: of its adapter.
        causes: everything in which it differs; a closed list.
        most: bound on the difference that all causes make together.
        hold: the world in that CRM, for a while: (`[crm]` of the settings, the CRM's id of each canonical id by entity).
    """

    name: str
    causes: tuple[Cause, ...]
    most: Difference
    hold: Callable[[World], AbstractContextManager[tuple[Mapping[str, object], Mapping[Entity, Mapping[str, str]]]]]


@dataclass(frozen=True)
class Candidate:
    """What was found out about one pair: how sure, what becomes of it, and the bits of each rule."""

    confidence: float
    decision: str
    bits: tuple[tuple[str, float], ...]


Found = dict[tuple[Pair, int], Candidate]
"""By pair, and by number where there are several: people who are only leads."""


def candidates_on(crm: Mapping[str, object], folder: Path) -> Found:
    """Pull, plan, and give every candidate."""
    settings = {
        "crm": crm,
        "workspace": {"folder": str(folder)},
        "policy": {"max_changed_percent": 100, "max_changes": 1_000_000},
    }
    with Bridge(in_memory(settings), clock=lambda: AS_OF) as bridge:
        bridge.pull()
        plan = bridge.plan()
    bits = defaultdict(list)
    for row in pq.read_table(plan.reasons_path).to_pylist():
        bits[row["opportunity_key"], row["person_key"]].append((row["rule"], round(row["bits"], 2)))
    several: dict[Pair, list[Candidate]] = defaultdict(list)
    for row in pq.read_table(plan.candidates_path).to_pylist():
        reasons = tuple(sorted(bits[row["opportunity_key"], row["person_key"]]))
        found = Candidate(round(row["confidence"], PLACES), row["decision"], reasons)
        several[row["opportunity_id"], row["contact_id"]].append(found)
    return {
        (pair, number): one
        for pair, group in several.items()
        for number, one in enumerate(sorted(group, key=lambda one: (one.confidence, one.bits, one.decision)))
    }


def through_sql(world: World, folder: Path) -> Found:
    """Every candidate of the world as SQL tells it."""
    set_stage(folder / "crm", DemoWorld(world, frozenset(), {}, frozenset()))
    crm = {"adapter": "sql", "options": {"url": f"sqlite:///{folder / 'crm' / DATABASE}"}}
    return candidates_on(crm, folder / "workspace")


def changed(world: World, causes: Sequence[Cause]) -> World:
    """The world as these facts leave it."""
    for cause in causes:
        world = cause.change(world)
    return world


def differing(one: Found, other: Found) -> list[tuple[Pair, int]]:
    """The candidates that are in one only, or of which the two differ in confidence, decision or evidence."""
    return [key for key in sorted(one.keys() | other.keys(), key=str) if one.get(key) != other.get(key)]


@dataclass(frozen=True)
class Difference:
    """How far two lists of candidates are apart; shares are of the candidates, or added roles, in either.

    Attributes:
        any: share that differs at all.
        far: share whose confidence differs by more than 0.05; one that is missing has none.
        added: share of the added roles that only one of them adds.
    """

    any: float
    far: float
    added: float


def difference(one: Found, other: Found) -> Difference:
    """Measure how far two lists of candidates are apart."""
    apart = differing(one, other)
    everybody = len(one.keys() | other.keys())
    far = [key for key in apart if abs(_confidence(one, key) - _confidence(other, key)) > FAR]
    ours, theirs = _added(one), _added(other)
    return Difference(len(apart) / everybody, len(far) / everybody, len(ours ^ theirs) / len(ours | theirs))


def _confidence(found: Found, key: tuple[Pair, int]) -> float:
    return found[key].confidence if key in found else 0.0


def _added(found: Found) -> set[tuple[Pair, int]]:
    return {key for key, candidate in found.items() if candidate.decision == "add"}


# --- changing worlds ------------------------------------------------------------------------------------------------


def each(entity: Entity, change: Callable[[Record], Record | None]) -> Callable[[World], World]:
    """Change every record of an entity; None leaves it out."""

    def over(world: World) -> World:
        new = [told for record in world.get(entity, []) if (told := change(record)) is not None]
        return {**world, entity: new}

    return over


def in_turn(*changes: Callable[[World], World]) -> Callable[[World], World]:
    """Several changes as one."""

    def over(world: World) -> World:
        for change in changes:
            world = change(world)
        return world

    return over


# --- other names for the same records -------------------------------------------------------------------------------

_NAMES = {
    "account": Entity.ACCOUNT,
    "contact": Entity.CONTACT,
    "lead": Entity.LEAD,
    "opportunity": Entity.OPPORTUNITY,
    "campaign": Entity.CAMPAIGN,
    "activity": Entity.ACTIVITY,
    "user": Entity.USER,
    "owner": Entity.USER,
    "created_by": Entity.USER,
}


def renamed(world: World, ids: Mapping[Entity, Mapping[str, str]]) -> World:
    """The world under a CRM's own ids, so that whatever is decided by the order of ids is decided alike."""
    return {entity: [_renamed(entity, record, ids) for record in records] for entity, records in world.items()}


def _renamed(entity: Entity, record: Record, ids: Mapping[Entity, Mapping[str, str]]) -> Record:
    new = {
        field: ids.get(target, {}).get(value, value)
        for field, value in record
        if isinstance(value, str) and (target := _target(entity, field)) is not None
    }
    return record.model_copy(update=new)


def _target(entity: Entity, field: str) -> Entity | None:
    if field in ("id", "merged_into_id", "parent_id"):
        return entity
    if not field.endswith("_id"):
        return None
    return _NAMES.get(field.removesuffix("_id").removeprefix("converted_"))
