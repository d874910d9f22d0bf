"""The CRM being written: drafts of records, by entity, before they become model objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crmbridge.model import RECORDS, Entity, Record

if TYPE_CHECKING:
    from crmbridge.demo.dice import Dice

Draft = dict[str, Any]


class Book:
    """Drafts of records, by entity."""

    def __init__(self) -> None:
        self.drafts: dict[Entity, list[Draft]] = {entity: [] for entity in RECORDS}

    def write(self, entity: Entity, **fields: Any) -> Draft:  # noqa: ANN401
        """Add a draft and hand it back, for those who still change it."""
        self.drafts[entity].append(fields)
        return fields

    def publish(self, dice: Dice) -> dict[Entity, list[Record]]:
        """Shuffle every entity, so that order tells nothing, and turn the drafts into validated records."""
        for drafts in self.drafts.values():
            dice.shuffle(drafts)
        return {entity: [RECORDS[entity](**draft) for draft in drafts] for entity, drafts in self.drafts.items()}
