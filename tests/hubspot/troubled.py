"""A portal with labels that people set, a journal, and a fresh adapter for every run: real HTTP, no waiting."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime

from portals import open_adapter

from crmbridge.apply import execute
from crmbridge.contract import PairState, RoleWrite
from crmbridge.errors import CrmBridgeError
from crmbridge.journal import Journal, PlannedWrite
from crmbridge.model import Contact, Entity, Opportunity
from crmbridge.testing.sandbox import HubSpotSandbox, HubSpotSwitches
from crmbridge.testing.sandbox.hubspot.switches import LabelWrites
from crmbridge.undo import undo

THREE = ("Champion", "Budget Holder", "Blocker")
PRIMARY = "Key"
NEW = "Economic Buyer"
MOST_RUNS = 4
PAIR = ("deals", "contacts")
MODES = {
    "replaces": {"label_writes": LabelWrites.REPLACE},
    "appends": {"label_writes": LabelWrites.APPEND, "archive_status": 200, "created_status": 200},
}
FAMILIES = {"replaces": "v4", "appends": "2026-03"}
_THEN = datetime(2025, 1, 1, tzinfo=UTC)

# Deal 101 has a primary and somebody with three labels; deal 102 gets a primary; contact 999 is nobody.
PEOPLE = {("101", "210"): (*THREE, PRIMARY), ("101", "220"): THREE, ("103", "210"): THREE}


def world():
    deals = [
        Opportunity(id=str(number), name=f"Deal {number}", is_closed=False, is_won=False, created_at=_THEN, modified_at=_THEN)
        for number in range(101, 105)
    ]
    contacts = [
        Contact(id=str(number), last_name=f"Lark{number}", created_at=_THEN, modified_at=_THEN) for number in range(210, 226)
    ]
    return {Entity.OPPORTUNITY: deals, Entity.CONTACT: contacts}


def line(deal, contact, role, *, is_primary=False, primary=None):
    write = RoleWrite(
        key=f"{deal}:{contact}",
        action="put",
        opportunity_id=str(deal),
        contact_id=str(contact),
        role=role,
        is_primary=is_primary,
        expected=PairState(primary_contact_id=primary),
    )
    return PlannedWrite(line_id=f"L{deal}-{contact}", write=write, detail={})


PLAN = [
    line(101, 211, "Champion", primary="210"),
    line(101, 212, None, primary="210"),
    line(101, 220, NEW, primary="210"),
    line(102, 211, "Blocker", is_primary=True),
    line(103, 212, NEW),
    line(103, 999, "Champion"),
]
ADDED = {
    ("101", "211"): ("Champion",),
    ("101", "212"): (),
    ("102", "211"): ("Blocker", PRIMARY),
    ("103", "212"): (NEW,),
}
COUNTS = {"applied": len(ADDED), "conflict": 1, "rejected": 1}


def new_portal(mode="replaces", **switches):
    """A portal as the plan expects it; to be entered."""
    given = {"labels": (*THREE, PRIMARY), **MODES[mode], **switches}
    portal = HubSpotSandbox(world(), HubSpotSwitches(**given))
    for (deal, contact), labels in PEOPLE.items():
        portal.link(deal, contact, labels)
    return portal


class Portal:
    """A sandbox, a journal, and a fresh adapter for every run."""

    def __init__(self, folder, sandbox, **options):
        self.sandbox, self.folder = sandbox, folder
        self.journal = Journal.open(folder / "journal.db")
        self.journal._database._connection.execute("PRAGMA synchronous = OFF")
        self.options = {"primary_label": PRIMARY, "create_labels": (NEW,), **options}

    def pairs(self):
        """Every linked pair with the names of its labels, sorted."""
        return {pair: tuple(sorted(labels)) for pair, labels in self.sandbox.roles().items()}

    def types(self):
        """Every linked pair with all its types: not a label more or less."""
        by_deal = self.sandbox.store.links[PAIR]
        return {(deal, contact): frozenset(types) for deal, of_deal in by_deal.items() for contact, types in of_deal.items()}

    @contextmanager
    def adapter(self):
        adapter = open_adapter(self.sandbox, **self.options)
        try:
            yield adapter
        finally:
            adapter.close()

    def apply(self, plan=PLAN):
        with self.adapter() as adapter:
            return execute(adapter, self.journal, plan, kind="apply", plan_id="p", plan_hash="p")

    def undo(self, run_id):
        with self.adapter() as adapter:
            return undo(adapter, self.journal, run_id)

    def in_the_end(self, act):
        """Run it again, tomorrow if need be, until it ends; whatever happens, people keep their labels."""
        for _ in range(MOST_RUNS):
            try:
                return act()
            except CrmBridgeError:
                self.sandbox.new_day()
            finally:
                self.hold_people()
        raise AssertionError("it never ended")

    def hold_people(self):
        now = self.pairs()
        assert {pair: now.get(pair) for pair in PEOPLE} == {pair: tuple(sorted(labels)) for pair, labels in PEOPLE.items()}

    def anew(self, number):
        """With another journal, where nothing has happened yet."""
        self.close()
        self.journal = Journal.open(self.folder / f"{number}.db")
        self.journal._database._connection.execute("PRAGMA synchronous = OFF")
        return self

    def close(self):
        self.journal.close()


@contextmanager
def portal_for(folder, mode="replaces", *, options=(), **switches):
    """One of its own, for one test."""
    with new_portal(mode, **switches) as sandbox:
        made = Portal(folder, sandbox, **{"api": FAMILIES[mode], **dict(options)})
        try:
            yield made
        finally:
            made.close()


@contextmanager
def as_new(folder, sandbox, **options):
    """One that serves several tests, set back to its beginning."""
    links, labels = deepcopy(sandbox.store.links), dict(sandbox.store.labels)
    made = Portal(folder, sandbox, **options)
    try:
        yield made
    finally:
        made.close()
        sandbox.calls.clear()
        sandbox.faults.clear()
        sandbox.faults.struck.clear()
        sandbox.pair_faults.clear()
        sandbox.new_day()
        sandbox.store.links.clear()
        sandbox.store.links.update(links)
        sandbox.store.labels.clear()
        sandbox.store.labels.update(labels)


def wanted():
    """What the portal holds once the plan is applied, by names."""
    return {pair: tuple(sorted(labels)) for pair, labels in {**PEOPLE, **ADDED}.items()}
