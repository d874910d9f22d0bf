"""A local HubSpot to test against and to rehearse on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from crmbridge.model import Entity
from crmbridge.testing.sandbox.hubspot import ids
from crmbridge.testing.sandbox.hubspot.app import App, Tokens
from crmbridge.testing.sandbox.hubspot.associations import Associations
from crmbridge.testing.sandbox.hubspot.faults import HubSpotFaults, PairFaults
from crmbridge.testing.sandbox.hubspot.load import load
from crmbridge.testing.sandbox.hubspot.store import Store
from crmbridge.testing.sandbox.hubspot.switches import HubSpotSwitches
from crmbridge.testing.sandbox.salesforce.load import tables_of
from crmbridge.testing.sandbox.server import LoopbackServer

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path
    from types import TracebackType

    from crmbridge.testing.sandbox.salesforce.load import AnyWorld

_PAIR = ("deals", "contacts")


class HubSpotSandbox:
    """A stateful HubSpot over HTTP on the loopback address, for as long as the `with` block lasts.

    Args:
        world: what the portal holds: canonical records or Arrow tables by entity, or a folder of `<entity>.parquet`.
        switches: how the portal is set up.
        port: 0 for any free one.
        clock: gives the portal's time, aware; the machine's unless given.

    Attributes:
        store: the records, for a look behind the scenes.
        tokens: who may come in.
        faults: plan trouble with calls here.
        pair_faults: plan refused pairs here.
    """

    def __init__(
        self,
        world: AnyWorld | Path | None = None,
        switches: HubSpotSwitches | None = None,
        *,
        port: int = 0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.switches = switches or HubSpotSwitches()
        self.faults, self.pair_faults, self.tokens = HubSpotFaults(), PairFaults(), Tokens()
        self.store = Store(clock or (lambda: datetime.now(UTC)))
        for label in self.switches.labels:
            self.store.label(label)
        self._known = load(self.store, tables_of(world or {}))
        links = Associations(self.store, self.switches, self.pair_faults)
        self._app = App(self.store, self.switches, self.faults, self.tokens, links)
        self._server = LoopbackServer(self._app, port)

    def __enter__(self) -> Self:
        if not self._server.is_running:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    @property
    def url(self) -> str:
        """Where it is."""
        return self._server.url

    @property
    def access_token(self) -> str:
        """A token that is good now."""
        return self.tokens.access_token

    @property
    def calls(self) -> Counter[str]:
        """How often each endpoint was called."""
        return self._app.calls

    @property
    def calls_used(self) -> int:
        """How many calls count against the daily limit."""
        return self._app.used

    def expire_tokens(self) -> None:
        """End every token."""
        self.tokens.expire()

    def hs_id(self, entity: Entity, canonical_id: str) -> str:
        """The id that a record of the world got.

        Raises:
            KeyError: the world has no such record.
        """
        return self._known[entity][canonical_id]

    def canonical_id(self, entity: Entity, hs_id: str) -> str:
        """The world's id of a record.

        Raises:
            KeyError: the record did not come from the world.
        """
        return {theirs: ours for ours, theirs in self._known[entity].items()}[hs_id]

    def id_map(self, entity: Entity) -> dict[str, str]:
        """Canonical id -> HubSpot's, for all records of an entity."""
        return dict(self._known[entity])

    def insert(self, kind: str, **properties: Any) -> str:  # noqa: ANN401
        """Do as somebody at the screen would: add a record, and give its id."""
        now = self.store.clock()
        return self.store.add(
            kind, ids.number(f"{kind} {len(self.store.records[kind])} {now.timestamp()}"), properties, now, now
        ).id

    def change(self, kind: str, record_id: str, **properties: Any) -> None:  # noqa: ANN401
        """Change a record by hand."""
        record = self.store.records[kind][record_id]
        record.properties.update(properties)
        record.updated = self.store.clock()

    def delete(self, kind: str, record_id: str) -> None:
        """Archive a record by hand."""
        self.store.archive(kind, record_id)

    def link(self, deal: str, contact: str, labels: Iterable[str] = ()) -> None:
        """Link a contact to a deal by hand, with labels beside those it has."""
        self.store.link(_PAIR, deal, contact, [self.store.label(text) for text in labels])

    def unlink(self, deal: str, contact: str) -> None:
        """Take a contact off a deal by hand."""
        self.store.linked(_PAIR, deal).pop(contact, None)

    def labels_of(self, deal: str, contact: str) -> set[str] | None:
        """The labels of a pair; None where it is not linked."""
        types = self.store.linked(_PAIR, deal).get(contact)
        return None if types is None else {self.store.labels[kind] for kind in types if kind in self.store.labels}

    def label_type(self, text: str) -> int:
        """The number of a label, from deals to contacts."""
        return self.store.label(text)[1]

    def roles(self) -> dict[tuple[str, str], frozenset[str]]:
        """Every linked pair with its labels."""
        by_deal = self.store.links[_PAIR]
        return {
            (deal, contact): frozenset(self.store.labels[kind] for kind in types if kind in self.store.labels)
            for deal, contacts in by_deal.items()
            for contact, types in contacts.items()
        }

    def merge_contacts(self, master_id: str, loser_id: str) -> None:
        """Merge a contact into another: its links move, its id lives on in the master."""
        self._merge("contacts", master_id, loser_id)

    def merge_deals(self, master_id: str, loser_id: str) -> None:
        """Merge a deal into another: its links move, its id lives on in the master."""
        self._merge("deals", master_id, loser_id)

    def new_day(self) -> None:
        """Begin the day's calls anew."""
        self._app.new_day()

    def _merge(self, kind: str, master_id: str, loser_id: str) -> None:
        for (from_kind, to_kind), by_id in self.store.links.items():
            if from_kind == kind:
                for other, types in by_id.pop(loser_id, {}).items():
                    by_id[master_id].setdefault(other, set()).update(types)
            if to_kind == kind:
                for others in by_id.values():
                    if loser_id in others:
                        others.setdefault(master_id, set()).update(others.pop(loser_id))
        both = self.store.records[kind][master_id], self.store.records[kind].pop(loser_id)
        gone = [one for record in both for one in (record.properties.get("hs_merged_object_ids") or "").split(";") if one]
        self.change(kind, master_id, hs_merged_object_ids=";".join([*gone, loser_id]))
        self.store.forget_order()
