"""The labels this portal knows between a deal and a contact: their numbers, their names, and how many of each it allows.

A label is its category and number in the direction deal to contact; its text is looked up here and nowhere else, for texts
change, and the other direction has another number.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from crmbridge.adapters.hubspot.failures import AnswerLost, Refusal

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection

LabelType: TypeAlias = tuple[str, int]
"""Category and typeId, deal to contact; a number means nothing outside its category."""

DEALS, CONTACTS = "deals", "contacts"
USER_DEFINED: Final = "USER_DEFINED"
UNLABELLED: Final[LabelType] = ("HUBSPOT_DEFINED", 3)
"""The plain association, which stands beside every label."""

_NAME_LENGTH = 40


class Labels:
    """Definitions and caps, asked for once each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.options

    @cached_property
    def names(self) -> Mapping[LabelType, str]:
        """The text of every labelled type, in the portal's order."""
        found = self._connection.ask("GET", self._path("labels"))["results"]
        return {_type_of(one): str(one["label"]) for one in found if one.get("label") is not None}

    @cached_property
    def caps(self) -> Mapping[LabelType, int]:
        """The most contacts of one deal that may have a type, where somebody set a cap; empty where they cannot be asked."""
        try:
            found = self._connection.ask("GET", self._connection.paths.label_caps(DEALS, CONTACTS))["results"]
        except Refusal:
            return {}
        return {_type_of(one): int(most) for one in found if (most := one.get("userEnforcedMaxToObjectIds")) is not None}

    @cached_property
    def primary(self) -> LabelType | None:
        """The type that marks the primary; None where the settings name none, or the portal does not have it yet."""
        return self.bound(self._options.primary_label) if self._options.primary_label else None

    def bound(self, name: str) -> LabelType | None:
        """The user-defined type of that name; None where there is none, or more than one."""
        found = [kind for kind, text in self.names.items() if text == name and kind[0] == USER_DEFINED]
        return found[0] if len(found) == 1 else None

    def offered(self) -> tuple[str, ...]:
        """The roles that may be written: the portal's own labels and those that may be created, without the primary's."""
        own = [text for (category, _), text in self.names.items() if category == USER_DEFINED]
        wanted = dict.fromkeys([*own, *self._options.create_labels])
        closed = self._options.role_labels
        return tuple(name for name in wanted if name != self._options.primary_label and (not closed or name in closed))

    def create(self, names: Iterable[str]) -> dict[str, str]:
        """Create those of these labels that the settings allow and the portal lacks; codes of the refused ones, by name.

        Raises:
            CrmUnavailable, LimitReached: nothing is known of the last one; it is found when the labels are read again.
        """
        lacking = [name for name in dict.fromkeys(names) if name in self._options.create_labels and not self._exists(name)]
        refused: dict[str, str] = {}
        for name in lacking:
            try:
                self._connection.send("POST", self._path("labels"), body={"label": name, "name": _internal(name)})
            except AnswerLost:
                self._forget()
                if not self._exists(name):
                    raise
            except Refusal as refusal:
                refused[name] = refusal.code
            finally:
                self._forget()
        return refused

    def _exists(self, name: str) -> bool:
        return name in self.names.values()

    def _forget(self) -> None:
        for known in ("names", "caps", "primary"):
            self.__dict__.pop(known, None)

    def _path(self, action: str) -> str:
        return self._connection.paths.associations(DEALS, CONTACTS, action)


def _type_of(told: Mapping[str, Any]) -> LabelType:
    return str(told["category"]), int(told["typeId"])


def _internal(label: str) -> str:
    """A name for HubSpot's own use: letters, digits and underscores, another for each label."""
    plain = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")[:_NAME_LENGTH]
    return f"crmbridge_{plain}_{zlib.crc32(label.encode()):08x}"
