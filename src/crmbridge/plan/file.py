"""The plan as a file: one JSON document per line, the header first; reviewable, diffable, hashed, applied exactly as it reads.

The header says what the plan came from (workspace, snapshot, policy) and carries the hash of the body; the plan's id is the hash
of the header. An edited, foreign or newer file is refused. Beside it lie `<plan id>.candidates.parquet` and `.reasons.parquet`:
every candidate, also those left alone, with confidence and reasons.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BufferedReader
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from crmbridge.contract import PairState, RoleWrite
from crmbridge.errors import BlastRadiusExceeded, PlanRefused
from crmbridge.model import UtcDatetime
from crmbridge.plan.policy import Policy

FORMAT = 1
SUFFIX = ".plan.jsonl"
_LONGEST_REASON = 255
_FEW_OPPORTUNITIES = 10
"""The percentage cap says nothing about a handful of opportunities: one of three is 33 %."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Value):
    """One part of a confidence: the rule, its bits, how many items, and the strongest item's date and record."""

    rule: str
    bits: float
    items: int
    occurred_at: str | None
    source_entity: str
    source_id: str


class PlanLine(_Value):
    """One role to add. `line_id` is the same for the same (opportunity, contact) in every plan."""

    line_id: str
    opportunity_id: str
    contact_id: str
    role: str | None
    is_primary: bool
    expected_primary_contact_id: str | None
    confidence: float
    reasons: tuple[Reason, ...]


class PlanHeader(_Value):
    """What the plan came from, and what it holds.

    Attributes:
        rules: the sentence of every rule that took part.
        decisions: number of candidates by decision, also of those left alone.
        opportunities_in_scope: how many the policy let in.
        opportunities_changed: how many would get a role.
        reviewed_from: the plan this one was made from by a review; None for an original.
    """

    format: int
    crmbridge_version: str
    workspace_id: str
    snapshot_fingerprint: str
    as_of: UtcDatetime
    adapter: str
    policy: Policy
    basis_sha256: str
    rules: dict[str, str]
    decisions: dict[str, int]
    opportunities_in_scope: int
    opportunities_changed: int
    lines: int
    body_sha256: str
    reviewed_from: str | None = None

    @property
    def plan_id(self) -> str:
        """Derived from everything the header says, and so from everything the plan holds."""
        return "plan-" + hashlib.sha256(self._canonical()).hexdigest()[:12]

    def first_line(self) -> bytes:
        """The header as it stands in the file."""
        document = {"plan_id": self.plan_id, **self.model_dump(mode="json")}
        return json.dumps(document, ensure_ascii=False, sort_keys=True).encode() + b"\n"

    def _canonical(self) -> bytes:
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True).encode()


@dataclass(frozen=True)
class Plan:
    """A plan on disk; its lines are read when asked for."""

    header: PlanHeader
    path: Path

    @property
    def id(self) -> str:
        """The plan's id, such as plan-3f9c1a2b4d5e."""
        return self.header.plan_id

    @property
    def candidates_path(self) -> Path:
        """Where all candidates of the original plan lie: one row each."""
        return self._beside("candidates")

    @property
    def reasons_path(self) -> Path:
        """Where their reasons lie: one row per candidate and rule."""
        return self._beside("reasons")

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f"{self.header.reviewed_from or self.id}.{what}.parquet")

    @classmethod
    def read(cls, path: Path, *, workspace_id: str) -> Plan:
        """Open a plan and make sure that it is whole and from here.

        Raises:
            PlanRefused: missing, edited, from another workspace, or of another format.
        """
        try:
            with path.open("rb") as file:
                header = _read_header(file.readline(), path)
                body_sha256 = _digest(file)
        except OSError as error:
            raise PlanRefused(
                f"the plan {path.name} cannot be read ({error.strerror})", hint="crmbridge plan makes a new one"
            ) from None
        if body_sha256 != header.body_sha256:
            raise _edited(path)
        if header.workspace_id != workspace_id:
            raise PlanRefused(
                f"the plan {path.name} belongs to workspace {header.workspace_id}, this one is {workspace_id}",
                hint="apply it where it was made, or run crmbridge plan here",
            )
        return cls(header, path)

    def lines(self) -> Iterator[PlanLine]:
        """Read the roles to add, sorted by (opportunity, falling confidence, contact)."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                yield PlanLine.model_validate_json(line)

    def table(self) -> pa.Table:
        """The lines as columns, for joins and exports."""
        import pyarrow.json

        if not self.header.lines:
            return LINE_SCHEMA.empty_table()
        with self.path.open("rb") as file:
            file.readline()
            options = pyarrow.json.ParseOptions(explicit_schema=LINE_SCHEMA, unexpected_field_behavior="error")
            return pyarrow.json.read_json(file, parse_options=options)

    def refuse_if_old(self, now: datetime) -> None:
        """Refuse a plan that is older than its policy allows.

        Raises:
            PlanRefused: with its age in days.
        """
        age = now - self.header.as_of
        if age > timedelta(days=self.header.policy.max_age_days):
            raise PlanRefused(
                f"the plan {self.id} is {age.days} days old; [policy] max_age_days allows {self.header.policy.max_age_days}",
                hint="crmbridge pull && crmbridge plan",
            )

    def refuse_if_too_large(self, *, writes: int, opportunities: int) -> None:
        """Hold what would be written against the blast-radius caps of the policy.

        Args:
            writes: roles that would be written.
            opportunities: opportunities that would change.

        Raises:
            BlastRadiusExceeded: with the figures and the cap.
        """
        policy, in_scope = self.header.policy, self.header.opportunities_in_scope
        hint = "review it (crmbridge plan review), then raise the cap in [policy] and plan again, or take fewer: --max-writes N"
        if writes > policy.max_changes:
            raise BlastRadiusExceeded(
                f"the plan would add {writes:,} roles; [policy] max_changes allows {policy.max_changes:,}; nothing was written",
                hint=hint,
            )
        percent = 100 * opportunities / in_scope if in_scope else 0.0
        if opportunities > _FEW_OPPORTUNITIES and percent > policy.max_changed_percent:
            raise BlastRadiusExceeded(
                f"the plan would change {opportunities:,} of {in_scope:,} opportunities in scope ({percent:.1f} %); "
                f"[policy] max_changed_percent allows {policy.max_changed_percent:g} %; nothing was written",
                hint=hint,
            )


def role_write(line: PlanLine, plan_id: str) -> RoleWrite:
    """Turn a line into the write an adapter gets; its key is stable across retries of this plan."""
    return RoleWrite(
        key=f"{plan_id}:{line.line_id}",
        action="put",
        opportunity_id=line.opportunity_id,
        contact_id=line.contact_id,
        role=line.role,
        is_primary=line.is_primary,
        expected=PairState(primary_contact_id=line.expected_primary_contact_id),
        provenance={"confidence": f"{line.confidence:.4f}", "reason": _reason(line.reasons)},
    )


def _reason(reasons: Sequence[Reason]) -> str:
    """The rules that speak for a line, the strongest first, as far as a text field of a CRM holds them."""
    told = ""
    for reason in sorted(reasons, key=lambda reason: (-reason.bits, reason.rule)):
        day = f" {reason.occurred_at[:10]}" if reason.occurred_at else ""
        longer = f"{told}; {reason.rule} {reason.bits:+.1f}{day}" if told else f"{reason.rule} {reason.bits:+.1f}{day}"
        if len(longer) > _LONGEST_REASON:
            break
        told = longer
    return told


LINE_SCHEMA = pa.schema(
    [
        pa.field("line_id", pa.string()),
        pa.field("opportunity_id", pa.string()),
        pa.field("contact_id", pa.string()),
        pa.field("role", pa.string()),
        pa.field("is_primary", pa.bool_()),
        pa.field("expected_primary_contact_id", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field(
            "reasons",
            pa.list_(
                pa.struct(
                    [
                        pa.field("rule", pa.string()),
                        pa.field("bits", pa.float64()),
                        pa.field("items", pa.int64()),
                        pa.field("occurred_at", pa.string()),
                        pa.field("source_entity", pa.string()),
                        pa.field("source_id", pa.string()),
                    ]
                )
            ),
        ),
    ]
)


def _read_header(line: bytes, path: Path) -> PlanHeader:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "plan_id" not in document:
        raise PlanRefused(f"{path.name} is not a crmbridge plan", hint="crmbridge plan makes one")
    if document.get("format") != FORMAT:
        raise PlanRefused(
            f"the plan {path.name} has format {document.get('format')!r}; this version reads format {FORMAT}",
            hint="crmbridge plan makes a new one",
        )
    plan_id = document.pop("plan_id")
    try:
        header = PlanHeader.model_validate(document)
    except ValidationError:
        raise _edited(path) from None
    if header.plan_id != plan_id:
        raise _edited(path)
    return header


def _edited(path: Path) -> PlanRefused:
    return PlanRefused(
        f"the plan {path.name} was edited: its content does not match its hash; nothing was written",
        hint="reject lines by review instead (crmbridge plan review), or make a new plan: crmbridge plan",
    )


def _digest(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
