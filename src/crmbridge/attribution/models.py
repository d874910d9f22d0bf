"""Attribution models, named by their anchors; vendors' presets with their exact weights. `docs/models.md` says it at length.

A weight is a whole number; only the ratios count. What an anchor that is missing would get goes to the rest of the model in
proportion; several anchors on one touch add up there; where there are no other touches, theirs goes to the anchors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import narwhals as nw

from crmbridge.attribution.settings import AttributionSettings
from crmbridge.errors import PluginError, SettingsError

GROUP = "crmbridge.attribution_models"
DAY_S = 86_400
_NAME = re.compile("[a-z][a-z0-9_]*")
_MOST_WEIGHT = 1_000_000
_MOST_ORDER = 4

WeightExpression = Callable[[], nw.Expr]
"""Gives a whole weight per touch from the columns of `credit.place_touches`; less than 0 and null count as 0, most is 10**12."""


class Anchor(StrEnum):
    """A touch that a model knows by its place."""

    FIRST = "first"
    """The earliest touch of anybody linked to the opportunity."""
    LEAD_CREATED = "lead_created"
    """The last touch up to the creation of the person who was in the CRM first."""
    OPPORTUNITY_CREATED = "opportunity_created"
    """The last touch up to the creation of the opportunity."""
    LAST = "last"
    """The latest touch."""
    CLOSE = "close"
    """The latest touch of an opportunity that is closed; missing while it is open."""


class Strategy(StrEnum):
    """How a model comes to its weights."""

    ANCHORS = "anchors"
    DECAY = "decay"
    SHAPLEY = "shapley"
    MARKOV = "markov"
    OWN = "own"


NOT_CAUSAL = "It describes who was there when deals were won; it does not prove that a campaign caused them."


@dataclass(frozen=True)
class Model:
    """One way of sharing an opportunity's amount among its touches.

    Attributes:
        name: lower_snake_case, unique; also a column's name.
        label: what people call it.
        note: how it gives credit, in a sentence.
        strategy: how it comes to its weights.
        anchors: the anchors' weights.
        rest: the weight that all other touches share.
        half_life_days: of DECAY.
        role_weights: contact role -> percent; multiplied onto the weights of that person's touches.
        order: of MARKOV, 1 to 4.
        expression: of OWN.
    """

    name: str
    label: str
    note: str
    strategy: Strategy = Strategy.ANCHORS
    anchors: Mapping[Anchor, int] = field(default_factory=dict)
    rest: int = 0
    half_life_days: float = 7.0
    role_weights: Mapping[str, int] = field(default_factory=dict)
    order: int = 1
    expression: WeightExpression | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be computed.

        Raises:
            SettingsError: see the message.
        """
        if not _NAME.fullmatch(self.name):
            raise SettingsError(f"{self.name!r} is no name for an attribution model", hint="lower_snake_case, such as my_model")
        weights = (self.rest, *self.anchors.values(), *self.role_weights.values())
        if any(weight < 0 or weight != int(weight) or weight > _MOST_WEIGHT for weight in weights):
            raise self._refused(f"has a weight that is not a whole number from 0 to {_MOST_WEIGHT:,}")
        if not 0 < self.half_life_days < math.inf:
            raise self._refused(f"has a half-life of {self.half_life_days} days; it must be more than 0, and finite")
        if not 1 <= self.order <= _MOST_ORDER:
            raise self._refused(f"has order {self.order}; allowed: 1 to {_MOST_ORDER}")
        if (self.strategy is Strategy.OWN) != (self.expression is not None):
            raise self._refused("needs both Strategy.OWN and an expression, or neither")

    def _refused(self, why: str) -> SettingsError:
        return SettingsError(f"the attribution model {self.name!r} {why}")

    def reduced(self) -> tuple[dict[Anchor, int], int]:
        """The same ratios in the smallest whole numbers: anchors, rest."""
        divisor = math.gcd(self.rest, *self.anchors.values()) or 1
        return {anchor: weight // divisor for anchor, weight in self.anchors.items() if weight}, self.rest // divisor


def _anchored(name: str, label: str, note: str, rest: int = 0, **anchors: int) -> Model:
    return Model(name, label, note, anchors={Anchor(anchor): weight for anchor, weight in anchors.items()}, rest=rest)


_SALESFORCE_FIRST = "All to the first touch."
PRESETS: dict[str, Model] = {
    model.name: model
    for model in (
        _anchored("first", "First touch", _SALESFORCE_FIRST, first=1),
        _anchored("last", "Last touch", "All to the last touch.", last=1),
        _anchored("linear", "Linear", "The same to every touch.", rest=1),
        _anchored(
            "u_hubspot",
            "U-shaped (HubSpot)",
            "40 % first touch, 40 % lead creation, 20 % all others.",
            rest=20,
            first=40,
            lead_created=40,
        ),
        _anchored("u_marketo", "U-shaped (Marketo Measure)", "50 % first touch, 50 % lead creation.", first=50, lead_created=50),
        _anchored("u_adobe", "U-shaped (Adobe)", "40 % first touch, 40 % last, 20 % those between.", rest=20, first=40, last=40),
        _anchored(
            "w",
            "W-shaped (HubSpot, Marketo Measure)",
            "30 % first touch, 30 % lead creation, 30 % opportunity creation, 10 % all others.",
            rest=10,
            first=30,
            lead_created=30,
            opportunity_created=30,
        ),
        _anchored(
            "full_path",
            "Full path (HubSpot, Marketo Measure)",
            "22.5 % each: first touch, lead creation, opportunity creation, last touch before the close; 10 % all others.",
            rest=100,
            first=225,
            lead_created=225,
            opportunity_created=225,
            close=225,
        ),
        _anchored("j_adobe", "J-shaped (Adobe)", "20 % first touch, 60 % last, 20 % those between.", rest=20, first=20, last=60),
        _anchored(
            "inverse_j_adobe",
            "Inverse J (Adobe)",
            "60 % first touch, 20 % last, 20 % those between.",
            rest=20,
            first=60,
            last=20,
        ),
        Model(
            "time_decay",
            "Time decay (Adobe)",
            "A touch counts half for every half-life that it lies before the last one.",
            Strategy.DECAY,
        ),
        _anchored("salesforce_first", "First touch (Salesforce)", _SALESFORCE_FIRST, first=1),
        _anchored("salesforce_last", "Last touch (Salesforce)", "All to the last touch.", last=1),
        _anchored("salesforce_even", "Even distribution (Salesforce)", "The same to every touch.", rest=1),
        Model(
            "markov",
            "Markov chain",
            "In proportion to what conversions would be lost without the campaign (removal effect), won and lost journeys "
            f"considered. {NOT_CAUSAL}",
            Strategy.MARKOV,
        ),
        Model(
            "shapley",
            "Shapley value",
            f"The same to every campaign of the journey, however many touches: the exact Shapley value. {NOT_CAUSAL}",
            Strategy.SHAPLEY,
        ),
    )
}
"""The built-in models. Sources: the vendors' public documentation of their models; docs/models.md."""


def chosen_models(settings: AttributionSettings, *, extra: Iterable[Model] = ()) -> tuple[Model, ...]:
    """The models of the settings, in their order, then those given in a script.

    Raises:
        SettingsError: a model is unknown, or two share a name.
        PluginError: a model by entry point does not load.
    """
    from dataclasses import replace

    known = dict(PRESETS)
    known["time_decay"] = replace(known["time_decay"], half_life_days=settings.half_life_days)
    known["markov"] = replace(known["markov"], order=settings.markov_order)
    for name, custom in settings.custom.items():
        if name in known:
            raise SettingsError(f"[attribution.custom.{name}] has the name of a built-in model", hint="choose another name")
        weights = {anchor: getattr(custom, anchor) for anchor in Anchor if getattr(custom, anchor)}
        if not weights and not custom.rest:
            raise SettingsError(f"[attribution.custom.{name}] gives no weight to anything", hint="set first, last, rest ...")
        note = ", ".join(f"{weight} {anchor.replace('_', ' ')}" for anchor, weight in [*weights.items(), ("rest", custom.rest)])
        known[name] = Model(
            name, custom.label or name, f"Weights: {note}.", anchors=weights, rest=custom.rest, role_weights=custom.role_weights
        )
    # Asked only where it is needed: it reads the files of every installed package.
    is_foreign = any(name not in known for name in settings.models)
    plugins = {point.name: point for point in entry_points(group=GROUP)} if is_foreign else {}
    own = list(extra)
    if any(not isinstance(model, Model) for model in own):
        raise SettingsError("a model given in a script must be a Model", hint="names belong into [attribution] models")
    named = [_named(name, known, plugins) for name in settings.models]
    names = [model.name for model in (*named, *own)]
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"attribution models of the same name: {', '.join(doubles)}")
    return (*named, *own)


def _named(name: str, known: Mapping[str, Model], plugins: Mapping[str, EntryPoint]) -> Model:
    if name in known:
        return known[name]
    if name not in plugins:
        raise SettingsError(f"there is no attribution model {name!r}", hint=f"models: {', '.join(sorted({*known, *plugins}))}")
    try:
        model: Any = plugins[name].load()
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is the plug-in's
        raise PluginError(f"the attribution model {name!r} failed to load: {type(error).__name__}") from None
    if not isinstance(model, Model) or model.name != name:
        raise PluginError(f"the entry point {name!r} of {GROUP} is not a Model of that name")
    return model
