"""What attribution is asked to do: `[attribution]` in the settings."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

DEFAULT_MODELS = ("linear", "first", "last", "u_hubspot", "w", "full_path", "time_decay", "markov", "shapley")


class Mode(StrEnum):
    """Whose touches count for an opportunity."""

    EXPLICIT = "explicit"
    """People with a contact role."""
    HYBRID = "hybrid"
    """People with a contact role; where there is none, everybody at the account."""
    IMPLICIT = "implicit"
    """Everybody at the account."""


class Touches(StrEnum):
    """Which campaign members are touches."""

    RESPONDED = "responded"
    ALL = "all"


class Rates(StrEnum):
    """Which exchange rate an amount is converted at."""

    DATED = "dated"
    """The rate that was valid on the close date; for open opportunities the one at the report's date."""
    STATIC = "static"
    """The rate at the report's date, for everything."""


class CustomModel(BaseModel):
    """A model of one's own by anchors: `[attribution.custom.NAME]`.

    Attributes:
        label: what reports call it; its name where left out.
        first, lead_created, opportunity_created, last, close: the weights of the anchors, whole numbers, any scale.
        rest: the weight that all other touches share.
        role_weights: contact role -> percent, multiplied onto the weights of that person's touches; 100 where not named.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str | None = None
    first: int = Field(default=0, ge=0, le=1000)
    lead_created: int = Field(default=0, ge=0, le=1000)
    opportunity_created: int = Field(default=0, ge=0, le=1000)
    last: int = Field(default=0, ge=0, le=1000)
    close: int = Field(default=0, ge=0, le=1000)
    rest: int = Field(default=0, ge=0, le=1000)
    role_weights: dict[str, Annotated[int, Field(ge=0, le=1000)]] = {}


class AttributionSettings(BaseModel):
    """How credit is given.

    Attributes:
        mode: whose touches count.
        touches: members that responded, or all of them.
        lookback_days: touches this long before the close (or the report's date) count, at the most.
        models: in the order of reports; the first is the one that single figures are told under. Built in:
            docs/models.md.
        currency: everything is converted to it, such as EUR; None keeps every currency apart.
        rates: which exchange rate holds.
        half_life_days: of `time_decay`.
        markov_order: 1 to 4.
        thresholds: confidences at which the plan's effect on ROI is looked at for the spread.
        custom: models of your own; name them in `models` too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Mode.EXPLICIT
    touches: Touches = Touches.RESPONDED
    lookback_days: int = Field(default=365, ge=1)
    models: tuple[str, ...] = Field(default=DEFAULT_MODELS, min_length=1)
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] | None = None
    rates: Rates = Rates.DATED
    half_life_days: float = Field(default=7.0, gt=0, allow_inf_nan=False)
    markov_order: int = Field(default=1, ge=1, le=4)
    thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.7, 0.9)
    custom: dict[Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]*$")], CustomModel] = {}

    @field_validator("models")
    @classmethod
    def _once_each(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if doubles := sorted({name for name in models if models.count(name) > 1}):
            raise ValueError(f"models named twice: {', '.join(doubles)}")
        return models
