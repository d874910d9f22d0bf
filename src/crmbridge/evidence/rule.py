"""What a rule of evidence is, and what it gets to look at.

A rule turns the snapshot's frames into evidence: rows of (opportunity, person, source record); a source record counts once per
pair, however often it is found. A rule that *proposes* brings a pair into play; a rule that *supports* only weighs pairs that
another rule proposed, so that a title or an e-mail domain never makes an account of 100,000 contacts explode. People add
their own under the entry point group `crmbridge.rules`, or pass them to `Bridge.plan(rules=...)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import narwhals as nw
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from crmbridge.snapshot.frames import Frames

DAY_S = 86_400

EVIDENCE_COLUMNS = ("opportunity_key", "person_key", "occurred_s", "strength", "source_entity", "source_id")


class Weight(BaseModel):
    """How much a rule says, in bits (log2 odds); `docs/evidence.md` tells how each default was chosen.

    Attributes:
        bits: what the strongest item says on the day itself; negative speaks against.
        half_life_days: outside the opportunity's own time the bits halve every so many days; None never decays.
        undated: the share of `bits` that evidence without a date keeps.
        repeat_bits: added per doubling of the number of items ...
        repeat_cap_bits: ... up to this many: forty e-mails are not certainty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bits: float = Field(ge=-20, le=20)
    half_life_days: float | None = Field(default=None, gt=0)
    undated: float = Field(default=0.5, ge=0, le=1)
    repeat_bits: float = Field(default=0.0, ge=0, le=5)
    repeat_cap_bits: float = Field(default=0.0, ge=0, le=10)


class Stance(StrEnum):
    """Whether a rule brings pairs into play or only weighs them."""

    PROPOSES = "proposes"
    SUPPORTS = "supports"


class Windows(BaseModel):
    """The spans of time around an opportunity, in days.

    Attributes:
        before_days: activity this long before creation still counts (and decays).
        after_close_days: nothing later than the close plus this is evidence.
        lookback_days: campaign responses this long before the close count.
        created_with_days: a contact created this near to the opportunity counts as created with it.
        assumed_length_days: how long an opportunity without a creation date is taken to have been open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    before_days: int = Field(default=90, ge=0)
    after_close_days: int = Field(default=14, ge=0)
    lookback_days: int = Field(default=365, ge=1)
    created_with_days: int = Field(default=3, ge=0)
    assumed_length_days: int = Field(default=180, ge=1)


@dataclass(frozen=True)
class Sight:
    """What a rule may look at; all of it lazy.

    Attributes:
        frames: the resolved frames of the snapshot; roles written by crmbridge itself are already left out.
        opportunities: opportunity_key, opened_s, ended_s (close or `as_of`), latest_s (the last moment evidence may carry).
        account_opportunities: account_id, opportunity_key, opened_s, ended_s, latest_s, alive (how many of the account's
            opportunities were alive during this one, itself included); catch-all accounts are left out.
        person_accounts: person_key, account_id, contact_id: where people belong: own account, relation, or e-mail domain.
        titles: what `evidence.titles.classify` says of every title.
        pairs: opportunity_key, person_key of the pairs in play; None for a rule that proposes.
        windows: the spans in force.
        as_of_s: later evidence is not looked at.
    """

    frames: Frames
    opportunities: nw.LazyFrame[Any]
    account_opportunities: nw.LazyFrame[Any]
    person_accounts: nw.LazyFrame[Any]
    titles: nw.LazyFrame[Any]
    windows: Windows
    as_of_s: int
    pairs: nw.LazyFrame[Any] | None = None

    @property
    def proposed(self) -> nw.LazyFrame[Any]:
        """The pairs in play, for a rule that supports."""
        if self.pairs is None:
            raise TypeError("a rule that proposes has no pairs to look at; declare it as Stance.SUPPORTS")
        return self.pairs


@dataclass(frozen=True)
class Rule:
    """One rule of evidence.

    Attributes:
        name: lower_snake_case, unique; what settings, reports and reasons call it.
        stance: proposes or supports.
        weight: the default weight; `[weights]` in the settings overrides it.
        reason: the sentence a person reads, without a full stop, such as "took part in an activity on the opportunity".
        find: gives the evidence: n rows of `EVIDENCE_COLUMNS`; `occurred_s` may be null, `strength` lies in (0, 1]
            (more counts as 1).
        is_campaign: campaign evidence never carries a pair over the threshold by itself, and is reported apart.
    """

    name: str
    stance: Stance
    weight: Weight
    reason: str
    find: Callable[[Sight], nw.LazyFrame[Any]]
    is_campaign: bool = False


def evidence(frame: nw.LazyFrame[Any], *, source: str, source_id: str, strength: nw.Expr | None = None) -> nw.LazyFrame[Any]:
    """Shape a frame that has opportunity_key, person_key and occurred_s into evidence columns.

    Args:
        frame: n rows.
        source: the entity that the source records belong to.
        source_id: the column that holds their ids.
        strength: in (0, 1]; 1 where left out.
    """
    return frame.select(
        "opportunity_key",
        "person_key",
        nw.col("occurred_s").cast(nw.Int64),
        (nw.lit(1.0) if strength is None else strength).cast(nw.Float64).alias("strength"),
        nw.lit(source).alias("source_entity"),
        nw.col(source_id).alias("source_id"),
    )
