"""Finds adapters by entry point: lists them without importing any, and loads exactly the one that was asked for.

crmbridge's own adapters come in the same way as everybody's: a broken plug-in can only ever break itself.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

from crmbridge.contract import CONTRACT_VERSION, Adapter
from crmbridge.errors import CrmBridgeError, PluginError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "crmbridge.adapters"
_METHODS = ("check", "count", "read", "read_deleted", "read_roles", "write_roles", "settle", "close")
_LIST_HINT = "crmbridge adapters"


@dataclass(frozen=True, slots=True, order=True)
class AdapterEntry:
    """An adapter as its distribution announces it; nothing of it was imported.

    Attributes:
        name: what `[crm] adapter = "..."` says.
        distribution: the installed package that brings it.
        version: that package's version.
        target: `module:class`, unchecked.
    """

    name: str
    distribution: str
    version: str
    target: str


def listed() -> list[AdapterEntry]:
    """List every announced adapter, sorted by name, without importing any; names taken twice are listed twice."""
    return sorted({_entry(point) for point in _points()})


def load(name: str) -> type[Adapter]:
    """Import one adapter's class, and no other.

    Args:
        name: as listed.

    Raises:
        PluginError: unknown name, two distributions with that name, a failing import, another contract version, or an
            object that lacks what the contract asks for.
    """
    point = _the_one(name)
    entry = _entry(point)
    loaded = _imported(point, entry)
    _require_contract(loaded, entry)
    return cast("type[Adapter]", loaded)


def open_adapter(name: str, options: Mapping[str, object]) -> Adapter:
    """Load an adapter, check its options against its own model, and make it; it connects on first use.

    Args:
        name: as listed.
        options: `[crm.options]` as read; values are never repeated in messages, for they may be secrets.

    Raises:
        PluginError: see `load`; or the adapter's constructor failed with an error of its own.
        SettingsError: an option is unknown, missing or malformed.
    """
    cls = load(name)
    return opened(cls, _accepted(cls, name, options))


def opened(cls: type[Adapter], options: BaseModel) -> Adapter:
    """Make an adapter of options that its own model has accepted; it connects on first use.

    Raises:
        PluginError: the constructor failed with an error of its own.
        CrmBridgeError: whatever the constructor says of the options.
    """
    try:
        return cls(options)
    except CrmBridgeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is the plug-in's
        # The constructor has seen secrets: its message stays inside.
        raise PluginError(f"adapter {cls.name!r} failed to open: {type(error).__name__}", hint=_LIST_HINT) from None


def _points() -> metadata.EntryPoints:
    return metadata.entry_points(group=GROUP)


def _entry(point: metadata.EntryPoint) -> AdapterEntry:
    distribution = point.dist
    name, version = (distribution.name, distribution.version) if distribution else ("unknown", "unknown")
    return AdapterEntry(point.name, name, version, point.value)


def _the_one(name: str) -> metadata.EntryPoint:
    found = {_entry(point): point for point in _points() if point.name == name}
    if not found:
        raise _unknown(name)
    if len(found) > 1:
        owners = " and ".join(f"{entry.distribution} {entry.version}" for entry in sorted(found))
        raise PluginError(f"adapter {name!r} is announced by {owners}", hint="uninstall all but one of them")
    return next(iter(found.values()))


def _unknown(name: str) -> PluginError:
    names = sorted({entry.name for entry in listed()})
    close = difflib.get_close_matches(name, names, n=1)
    hint = f'adapter = "{close[0]}"' if close else _LIST_HINT
    return PluginError(f"unknown adapter {name!r}; installed: {', '.join(names) or 'none'}", hint=hint)


def _imported(point: metadata.EntryPoint, entry: AdapterEntry) -> object:
    try:
        loaded: object = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plug-in raises is the plug-in's
        raise PluginError(
            f"adapter {entry.name!r} of {entry.distribution} {entry.version} cannot be imported from {entry.target!r}: "
            f"{_why(error)}",
            hint=f"reinstall {entry.distribution}; the whole error: python -c 'import {entry.target.partition(':')[0]}'",
        ) from None
    return loaded


def _why(error: BaseException) -> str:
    """The error's kind, and the module that is missing; not its text, which may hold anything."""
    missing = f": {error.name}" if isinstance(error, ModuleNotFoundError) and error.name else ""
    return f"{type(error).__name__}{missing}"


def _require_contract(loaded: object, entry: AdapterEntry) -> None:
    version = getattr(loaded, "contract_version", None)
    if version is not None and version != CONTRACT_VERSION:
        raise PluginError(
            f"adapter {entry.name!r} of {entry.distribution} {entry.version} speaks contract version {version!r}; "
            f"this crmbridge speaks {CONTRACT_VERSION}",
            hint=f"upgrade {entry.distribution} or crmbridge",
        )
    lacking = _lacking(loaded)
    if lacking:
        raise PluginError(
            f"adapter {entry.name!r} of {entry.distribution} {entry.version}: {entry.target!r} lacks {', '.join(lacking)}",
            hint="see crmbridge.contract.Adapter",
        )


def _lacking(loaded: object) -> list[str]:
    """Name what the contract asks of the class and the class does not have."""
    options = getattr(loaded, "options", None)
    answers = {
        "to be a class": isinstance(loaded, type),
        "name (text)": isinstance(getattr(loaded, "name", None), str),
        "contract_version": hasattr(loaded, "contract_version"),
        "options (a pydantic model)": isinstance(options, type) and issubclass(options, BaseModel),
        "capabilities": hasattr(loaded, "capabilities"),
    }
    answers |= {f"{method}()": callable(getattr(loaded, method, None)) for method in _METHODS}
    return [name for name, given in answers.items() if not given]


def _accepted(cls: type[Adapter], name: str, options: Mapping[str, object]) -> BaseModel:
    try:
        return cls.options.model_validate(dict(options))
    except ValidationError as error:
        allowed = _option_names(cls.options)
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [_problem(dict(problem), allowed) for problem in problems]
    raise SettingsError(
        f"[crm.options] of adapter {name!r}: {'; '.join(lines)}", hint=f"options of {name!r}: {', '.join(allowed)}"
    )


def _option_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _problem(problem: dict[str, Any], allowed: list[str]) -> str:
    """Say which option is wrong and why, never with what value."""
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(path, allowed, n=1)
        return f"unknown option {path!r}" + (f" (did you mean {close[0]!r}?)" if close else "")
    said = str(problem["msg"]).removeprefix("Value error, ")
    return f"{path}: {said}" if path else said
