"""What goes into the journal and what comes out: ids, role names and outcomes, never a person's name or address."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from crmbridge.contract import RoleWrite

if TYPE_CHECKING:
    from datetime import datetime

RunKind = Literal["apply", "undo"]
RunState = Literal["open", "interrupted", "finished", "abandoned"]
VetoSource = Literal["removed", "undone", "rejected", "person"]

VETOED = "vetoed"
"""The outcome of a line that was not sent because its pair is vetoed; beside the contract's own outcomes."""

FINAL_OUTCOMES = ("applied", "already", "conflict", "rejected", VETOED)
"""A line that ended so is never sent again by its run; `unknown` is settled first, `absent` may be sent again."""


class PlannedWrite(BaseModel):
    """One line of a plan, ready to be written.

    Attributes:
        line_id: the plan's own name for the line; comes back in refused lines.
        write: what the adapter gets.
        detail: confidence and reasons, kept for whoever asks later why a role is there; ids and numbers only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    line_id: str
    write: RoleWrite
    detail: dict[str, JsonValue] = {}


@dataclass(frozen=True, slots=True)
class Run:
    """One walk over a plan, or over the inverse of a run.

    Attributes:
        plan_hash: which plan; an unfinished run of the same hash is continued, not begun anew.
        state: `open` (running, or killed), `interrupted` (ended early), `finished`, or `abandoned` (undone before it
            finished).
        counts: lines per outcome.
        unsettled: lines that may have been sent and whose outcome is not known yet.
    """

    run_id: str
    kind: RunKind
    plan_id: str
    plan_hash: str
    undoes_run_id: str | None
    started_at: datetime
    finished_at: datetime | None
    state: RunState
    counts: dict[str, int] = field(default_factory=dict)
    unsettled: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was not written. `code` is the CRM's own code, or for a vetoed line the veto's source."""

    line_id: str
    opportunity_id: str
    contact_id: str
    outcome: str
    code: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A line that was written and reads otherwise afterwards: somebody, or a trigger of the CRM, was there too.

    Attributes:
        what: `missing` (the pair is gone), `present` (it was removed and is back), `changed` (another role, row or
            mark), or `primary` (the opportunity's primary is not the one that was left behind).
    """

    line_id: str
    opportunity_id: str
    contact_id: str
    what: Literal["missing", "present", "changed", "primary"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended.

    Attributes:
        state: `finished`, or `interrupted` where some lines are still `absent` or `unknown`: run the same plan again.
        counts: lines per outcome over the whole run, earlier attempts included.
        refused: every line that was not written and was not there already, in the plan's order.
        differences: what the read-back after the run found.
        was_continued: True where an earlier, unfinished run was carried on.
    """

    run_id: str
    kind: RunKind
    state: RunState
    counts: dict[str, int]
    refused: tuple[Refused, ...]
    differences: tuple[Difference, ...]
    was_continued: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """What reading back found out about one unfinished run: lines per outcome."""

    run_id: str
    counts: dict[str, int]


class Step(StrEnum):
    """The durable steps of a run, in the order in which they first occur."""

    OPENED = "opened"
    INTENDED = "intended"
    CHECKPOINTED = "checkpointed"
    RECEIVED = "received"
    SETTLED = "settled"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after each durable step: the lines of this step, and how many of the run have a final outcome."""

    step: Step
    run_id: str
    lines: int
    done: int
