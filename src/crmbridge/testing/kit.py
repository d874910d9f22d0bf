"""The machinery under the checks: a freshly loaded CRM, its world, and what a check says when it fails."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest
from pydantic import SecretStr

from crmbridge.contract import (
    Adapter,
    Capabilities,
    Checkpoint,
    Outcome,
    PairState,
    Receipt,
    RoleWrite,
    pair_state,
)
from crmbridge.model import ContactRole, Entity, Record
from crmbridge.testing import worlds

if TYPE_CHECKING:
    from pydantic import BaseModel

    from crmbridge.testing.worlds import World

CheckMethod = TypeVar("CheckMethod", bound=Callable[..., None])

_REFERENCES: dict[str, Entity] = {
    "account_id": Entity.ACCOUNT,
    "contact_id": Entity.CONTACT,
    "lead_id": Entity.LEAD,
    "opportunity_id": Entity.OPPORTUNITY,
    "campaign_id": Entity.CAMPAIGN,
    "activity_id": Entity.ACTIVITY,
    "user_id": Entity.USER,
    "owner_id": Entity.USER,
    "created_by_id": Entity.USER,
    "converted_account_id": Entity.ACCOUNT,
    "converted_contact_id": Entity.CONTACT,
    "converted_opportunity_id": Entity.OPPORTUNITY,
}
_ITSELF = ("id", "parent_id", "merged_into_id")


def proves(check: CheckMethod) -> CheckMethod:
    """Make a failing check say which sentence of the contract is broken: its docstring, then what was found."""

    @functools.wraps(check)
    def checked(self: Kit) -> None:
        try:
            check(self)
        except AssertionError as error:
            raise AssertionError(f"The contract says: {check.__doc__}\nFound: {error}") from None

    return checked  # type: ignore[return-value]


def hold(condition: object, found: str) -> None:
    """Fail with what was found unless the condition holds."""
    if not condition:
        raise AssertionError(found)


def needs(condition: object, reason: str) -> None:
    """Skip the check, with the reason, where the adapter's capabilities rule it out."""
    if not condition:
        pytest.skip(reason)


def put(
    opportunity_id: str,
    contact_id: str,
    role: str | None = None,
    *,
    is_primary: bool = False,
    expected: PairState | None = None,
) -> RoleWrite:
    """A write that adds a role, under a key of its own."""
    return RoleWrite(
        key=f"write-{next(_KEYS)}",
        action="put",
        opportunity_id=opportunity_id,
        contact_id=contact_id,
        role=role,
        is_primary=is_primary,
        expected=expected or PairState(),
        provenance={"run": "a-run", "confidence": "0.9371", "reason": "meeting +3.1 2026-02-03"},
    )


def remove(opportunity_id: str, contact_id: str, expected: PairState) -> RoleWrite:
    """A write that removes the expected rows, under a key of its own."""
    return RoleWrite(
        key=f"write-{next(_KEYS)}",
        action="remove",
        opportunity_id=opportunity_id,
        contact_id=contact_id,
        expected=expected,
    )


_KEYS = count(1)


class Sandbox:
    """One CRM, freshly loaded with a world, and every adapter that a check opens on it.

    Attributes:
        world: the records as this CRM holds them: ids in its form, roles it offers, entities it has.
        checkpoints: what the adapters asked to have recorded, oldest first.
    """

    def __init__(self, world: World, options: BaseModel, open_adapter: Callable[[BaseModel], Adapter]) -> None:
        self.world = world
        self._options = options
        self._open = open_adapter
        self.checkpoints: list[Checkpoint] = []

    def open(self) -> Adapter:
        """Open one more adapter on this CRM."""
        return self._open(self._options)

    def secrets(self) -> list[str]:
        """The secrets of the options, in the clear."""
        values = (getattr(self._options, field) for field in type(self._options).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr) and value.get_secret_value()]

    def ids(self, entity: Entity) -> list[str]:
        """The ids of an entity's records, in the order of the world."""
        return [record.id for record in self.world[entity]]  # type: ignore[attr-defined]

    def roles(self, opportunity_ids: Sequence[str] | None = None) -> list[ContactRole]:
        """Read the roles, by an adapter of its own, sorted by id; those of every opportunity unless told which."""
        wanted = self.ids(Entity.OPPORTUNITY) if opportunity_ids is None else opportunity_ids
        return sorted(self.open().read_roles(wanted), key=lambda role: role.id)

    def pairs(self) -> list[tuple[str, str, str | None, bool]]:
        """Read what the roles say, without their ids, sorted."""
        told = [(role.opportunity_id, role.contact_id, role.role, bool(role.is_primary)) for role in self.roles()]
        return sorted(told, key=lambda row: (row[0], row[1], row[2] or "", row[3]))

    def pair(self, opportunity_id: str, contact_id: str) -> PairState:
        """Read one pair, by an adapter of its own."""
        return pair_state(self.roles([opportunity_id]), contact_id)

    def states(self, writes: Sequence[RoleWrite]) -> dict[str, PairState]:
        """Read the pair of each write, all together, by an adapter of its own; by the write's key."""
        roles: dict[str, list[ContactRole]] = {write.opportunity_id: [] for write in writes}
        for role in self.roles(list(roles)):
            roles.setdefault(role.opportunity_id, []).append(role)
        return {write.key: pair_state(roles[write.opportunity_id], write.contact_id) for write in writes}

    def write(self, *writes: RoleWrite, adapter: Adapter | None = None) -> dict[str, Receipt]:
        """Write; give the receipts by key."""
        return by_key((adapter or self.open()).write_roles(writes, checkpoint=self.checkpoints.append))

    def write_one(self, write: RoleWrite) -> Receipt:
        """Write one; fail unless it has a receipt."""
        return the_receipt(self.write(write), write)

    def settle(self, *writes: RoleWrite) -> dict[str, Receipt]:
        """Settle by an adapter of its own, with every checkpoint recorded so far; give the receipts by key."""
        return by_key(self.open().settle(writes, list(self.checkpoints)))


def by_key(receipts: Iterable[Receipt]) -> dict[str, Receipt]:
    """Give the last receipt of each key."""
    return {receipt.key: receipt for receipt in receipts}


def the_receipt(receipts: Mapping[str, Receipt], write: RoleWrite) -> Receipt:
    """Pick a write's receipt; fail where it has none."""
    hold(write.key in receipts, f"no receipt for the {write.action} of ({write.opportunity_id!r}, {write.contact_id!r})")
    return receipts[write.key]


def expect(receipt: Receipt, *allowed: Outcome) -> None:
    """Fail unless the receipt's outcome is one of these."""
    wanted = " or ".join(repr(str(outcome)) for outcome in allowed)
    hold(receipt.outcome in allowed, f"the outcome is {str(receipt.outcome)!r} (code {receipt.code!r}), not {wanted}")


class Kit:
    """What an author overrides, and the life of one check. Authors subclass `AdapterConformance`."""

    adapter_class: ClassVar[type[Any]]
    many_rows: ClassVar[int] = 2_500
    most_writes: ClassVar[int] = 2_500

    def load(self, world: World) -> BaseModel:
        """Put a world into an empty CRM and return the options that open it. The one method an author must write."""
        raise NotImplementedError("write `load(self, world)`: fill an empty CRM, return the options that open it")

    def crm_id(self, entity: Entity, text: str) -> str:  # noqa: ARG002 (for authors)
        """Turn the id of a world into one of the CRM's own form: same in, same out; two never become one."""
        return text

    def fit(self, record: Record) -> Record:
        """Give a record as this CRM can hold it: where a moment is kept as a day, say, or a field cannot be set.

        Ids are in the CRM's form by then, roles are ones that it offers, and what `capabilities.entities` leaves out is gone.
        """
        return record

    def new_folder(self) -> Path:
        """Give an empty folder that is removed after the check, for CRMs that live in files."""
        folder = tempfile.TemporaryDirectory(prefix="crmbridge-")
        self._folders.append(folder)
        return Path(folder.name)

    def setup_method(self) -> None:
        """Begin a check; called by pytest."""
        self._folders: list[tempfile.TemporaryDirectory[str]] = []
        self._opened: list[Adapter] = []

    def teardown_method(self) -> None:
        """Close every adapter and remove every folder; called by pytest."""
        for adapter in self._opened:
            with suppress(Exception):  # whether closing works is a check of its own
                adapter.close()
        for folder in self._folders:
            folder.cleanup()

    def sandbox(self, world: World) -> Sandbox:
        """Load a world, as this CRM can hold it, into a fresh CRM."""
        fitted = self._fitted(world)
        return Sandbox(fitted, self.load(fitted), self._open)

    def unknown_id(self, entity: Entity) -> str:
        """Make up an id, in the CRM's form, that no world holds."""
        return self.crm_id(entity, f"no-such-{entity.value}")

    def opportunity(self, number: int) -> str:
        """The id of `opportunity-<number>` of a world."""
        return self.crm_id(Entity.OPPORTUNITY, f"opportunity-{number}")

    def contact(self, number: int) -> str:
        """The id of `contact-<number>` of a world."""
        return self.crm_id(Entity.CONTACT, f"contact-{number}")

    def roles(self) -> tuple[str | None, str | None]:
        """Two different roles that the CRM takes."""
        names: tuple[str | None, ...] = self.known.role_names or ("Decision Maker", "Evaluator")
        first, second = (*names, None)[:2]
        return first, second

    @property
    def known(self) -> Capabilities:
        """What the adapter can do, asked once for all checks of a class."""
        cls = type(self)
        if "_known" not in cls.__dict__:
            cls._known = self._open(self.load(worlds.empty())).capabilities
        return cls._known

    _known: ClassVar[Capabilities]

    def _open(self, options: BaseModel) -> Adapter:
        adapter: Adapter = self.adapter_class(options)
        self._opened.append(adapter)
        return adapter

    def _fitted(self, world: World) -> World:
        names = _RoleNames(self.known.role_names)
        return {
            entity: [self.fit(self._translated(record, names)) for record in group] if entity in self.known.entities else []
            for entity, group in world.items()
        }

    def _translated(self, record: Record, names: _RoleNames) -> Record:
        given = ((field, target, getattr(record, field)) for field, target in _ids_in(type(record)))
        changes: dict[str, object] = {field: self.crm_id(target, value) for field, target, value in given if value is not None}
        if isinstance(record, ContactRole):
            changes["role"] = names.fit(record.role)
            changes["is_primary"] = record.is_primary if self.known.has_primary else False
        return record.model_copy(update=changes)


@functools.cache
def _ids_in(kind: type[Record]) -> Sequence[tuple[str, Entity]]:
    """The fields of a record that hold ids, and of which entity."""
    targets = {**_REFERENCES, **dict.fromkeys(_ITSELF, kind.entity)}
    return [(field, targets[field]) for field in kind.model_fields if field in targets]


class _RoleNames:
    """Replaces the roles of a world by those the CRM offers, each always by the same one."""

    def __init__(self, offered: Sequence[str]) -> None:
        self._offered = offered
        self._given: dict[str, str] = {}

    def fit(self, role: str | None) -> str | None:
        if role is None or not self._offered:
            return role
        return self._given.setdefault(role, self._offered[len(self._given) % len(self._offered)])
