"""The plan for a page: which rules speak for how many roles, how sure they are, what is left alone; people by their ids only."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.plan.file import Plan
from crmbridge.plan.policy import MEANING, Decision

_BANDS = 10
_MOST_EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """One role of the plan: the ids of its opportunity and contact, and each reason as a sentence with its record."""

    what: str
    opportunity_id: str
    contact_id: str
    role: str | None
    confidence: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Reasons:
    """What a plan would add, and why.

    Attributes:
        plan_id: of the plan.
        threshold: the least confidence at which a role is added.
        lines: roles to add.
        opportunities: how many of those in scope would get one.
        rules: rule's sentence -> roles it speaks for; the most first.
        bands: confidence in tenths (0.5: 50 to 60 %) -> roles.
        left_alone: meaning of a decision -> candidates; the most first.
        examples: the surest, a typical one, and the least sure.
        is_of_snapshot: whether it was made from the snapshot that the report shows.
    """

    plan_id: str
    threshold: float
    lines: int
    opportunities: int
    opportunities_in_scope: int
    rules: tuple[tuple[str, int], ...]
    bands: tuple[tuple[float, int], ...]
    left_alone: tuple[tuple[str, int], ...]
    examples: tuple[Example, ...]
    is_of_snapshot: bool


def reasons_of(plan: Plan, *, snapshot_fingerprint: str) -> Reasons:
    """Read a plan for the page.

    Args:
        plan: as it is on disk.
        snapshot_fingerprint: of the snapshot that the report shows.
    """
    header, lines = plan.header, plan.table()
    return Reasons(
        plan_id=plan.id,
        threshold=header.policy.threshold,
        lines=header.lines,
        opportunities=header.opportunities_changed,
        opportunities_in_scope=header.opportunities_in_scope,
        rules=_rules(lines, header.rules),
        bands=_bands(lines),
        left_alone=_left_alone(header.decisions),
        examples=_examples(lines, header.rules),
        is_of_snapshot=header.snapshot_fingerprint == snapshot_fingerprint,
    )


def _rules(lines: pa.Table, sentences: dict[str, str]) -> tuple[tuple[str, int], ...]:
    reasons = pc.list_flatten(lines["reasons"])
    speaking = pc.struct_field(reasons, "rule").filter(pc.greater(pc.struct_field(reasons, "bits"), 0))
    counted = {one["values"]: one["counts"] for one in pc.value_counts(speaking).to_pylist()}
    return tuple((sentences.get(rule, rule), count) for rule, count in _most_first(counted))


def _bands(lines: pa.Table) -> tuple[tuple[float, int], ...]:
    tenths = pc.min_element_wise(pc.floor(pc.multiply(lines["confidence"], float(_BANDS))), _BANDS - 1.0)
    counted = {one["values"]: one["counts"] for one in pc.value_counts(tenths).to_pylist()}
    return tuple((tenth / _BANDS, counted[tenth]) for tenth in sorted(counted))


def _left_alone(decisions: dict[str, int]) -> tuple[tuple[str, int], ...]:
    left = {MEANING[Decision(name)]: count for name, count in decisions.items() if count and name != Decision.ADD}
    return tuple(_most_first(left))


def _most_first(counted: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _examples(lines: pa.Table, sentences: dict[str, str]) -> tuple[Example, ...]:
    order = pc.sort_indices(lines, [("confidence", "descending"), ("line_id", "ascending")])
    places = {"The surest": 0, "A typical one": len(lines) // 2, "The least sure": len(lines) - 1}
    if len(lines) < _MOST_EXAMPLES:
        places = dict(list(places.items())[: len(lines)])
    return tuple(_example(what, lines.slice(order[place].as_py(), 1).to_pylist()[0], sentences) for what, place in places.items())


def _example(what: str, line: dict[str, object], sentences: dict[str, str]) -> Example:
    reasons = line["reasons"]
    told = [_told(reason, sentences) for reason in reasons] if isinstance(reasons, list) else []
    return Example(
        what=what,
        opportunity_id=str(line["opportunity_id"]),
        contact_id=str(line["contact_id"]),
        role=None if line["role"] is None else str(line["role"]),
        confidence=float(str(line["confidence"])),
        reasons=tuple(told),
    )


def _told(reason: dict[str, object], sentences: dict[str, str]) -> str:
    rule, bits = str(reason["rule"]), float(str(reason["bits"]))
    items = f"{reason['items']} times, " if int(str(reason["items"])) > 1 else ""
    day = f", {reason['occurred_at']}" if reason["occurred_at"] else ""
    sign = "\u2212" if bits < 0 else "+"
    record = f"{reason['source_entity']} {reason['source_id']}"
    return f"{sentences.get(rule, rule)} ({items}{record}{day}): {sign}{abs(bits):.1f} bits"
