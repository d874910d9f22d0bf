"""`[rules]` and `[weights]`: which rules take part, what they weigh, and how far around an opportunity they look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crmbridge.errors import PluginError, SettingsError
from crmbridge.evidence.rule import Rule, Weight, Windows
from crmbridge.evidence.rules import BUILT_IN
from crmbridge.evidence.score import PRIOR_BITS

GROUP = "crmbridge.rules"


class RuleSettings(BaseModel):
    """`[rules]` in the settings.

    Attributes:
        plugins: rules of installed packages (entry point group `crmbridge.rules`) that take part, by name.
        disabled: built-in rules that do not.
        prior_bits: log2 odds of a proposed pair before its evidence.
        windows: the spans of time around an opportunity, in days.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plugins: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    prior_bits: float = Field(default=PRIOR_BITS, ge=-20, le=20)
    windows: Windows = Windows()


def rules_in_force(settings: RuleSettings, bits: Mapping[str, float], *, extra: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """The rules that take part, with their weights.

    Args:
        settings: `[rules]`.
        bits: `[weights]`: bits by rule name, over the shipped ones.
        extra: rules of a script.

    Raises:
        SettingsError: a name that is no rule, or bits out of range.
        PluginError: an unknown, broken or doubled plug-in.
    """
    built_in = {rule.name: rule for rule in BUILT_IN}
    _refuse_unknown("[rules] disabled", settings.disabled, built_in)
    kept = [rule for name, rule in built_in.items() if name not in settings.disabled]
    rules = [*kept, *(_plugin(name) for name in settings.plugins), *extra]
    _refuse_unknown("[weights]", bits, {*built_in, *(rule.name for rule in rules)})
    return tuple(_with_bits(rule, bits[rule.name]) if rule.name in bits else rule for rule in rules)


def _with_bits(rule: Rule, bits: float) -> Rule:
    try:
        weight = Weight.model_validate(rule.weight.model_dump() | {"bits": bits})
    except ValidationError:
        raise SettingsError(f"[weights] {rule.name} = {bits}; allowed: -20 to 20 bits") from None
    return replace(rule, weight=weight)


def _refuse_unknown(where: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    known = sorted(allowed)
    for name in names:
        if name not in known:
            raise SettingsError(f"{where} names {name!r}, which is no rule; rules: {', '.join(known)}")


def _plugin(name: str) -> Rule:
    points = [point for point in metadata.entry_points(group=GROUP) if point.name == name]
    if len(points) != 1:
        names = sorted({point.name for point in metadata.entry_points(group=GROUP)})
        what = "is announced by several packages" if points else "is not installed"
        raise PluginError(f"rule {name!r} {what}; installed rules: {', '.join(names) or 'none'}", hint="[rules] plugins")
    try:
        found = points[0].load()
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is the plug-in's
        raise PluginError(f"rule {name!r} cannot be imported from {points[0].value!r}: {type(error).__name__}") from None
    if not isinstance(found, Rule):
        raise PluginError(f"rule {name!r}: {points[0].value!r} is a {type(found).__name__}, not a crmbridge Rule")
    return found
