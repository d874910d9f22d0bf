"""Whatever goes wrong at whatever call, or whoever kills the run: run again, and nothing is doubled, lost, or left by undo."""

from __future__ import annotations

from contextlib import suppress

import pytest
from bare_portal import BarePortal
from troubled import line

from crmbridge.adapters.hubspot.associations import Roles
from crmbridge.adapters.hubspot.failures import AnswerLost
from crmbridge.adapters.hubspot.writer import RoleWriter
from crmbridge.apply import execute
from crmbridge.contract import Capabilities, WriteGuard
from crmbridge.errors import CrmBridgeError, CrmUnavailable, LimitReached
from crmbridge.journal import Journal
from crmbridge.model import ESSENTIAL
from crmbridge.undo import undo

MOST_CALLS, MOST_RUNS = 60, 6
THREE = ("Champion", "Budget Holder", "Blocker")


class Killed(BaseException):
    """The process is gone."""


class Adapter:
    """As much of an adapter as a run needs."""

    name = "hubspot"
    capabilities = Capabilities(
        entities=ESSENTIAL,
        incremental=frozenset(),
        deletions=frozenset(),
        role_names=(),
        has_primary=True,
        write_guard=WriteGuard.READ_COMPARE_WRITE,
        writes_per_call=10_000,
        can_write=True,
    )

    def __init__(self, portal):
        self._roles = Roles(portal, None)
        self._writer = RoleWriter(portal, self._roles)
        self.read_roles = self._roles.read

    def write_roles(self, writes, *, checkpoint):
        return self._writer.write(writes, checkpoint)

    def settle(self, writes, checkpoints):
        return self._writer.settle(writes, checkpoints)


class Troubled:
    """A portal in which one call goes wrong."""

    def __init__(self, portal, trouble, nth):
        self._portal, self._trouble, self._left = portal, trouble, nth
        self.struck = False

    def __getattr__(self, name):
        return getattr(self._portal, name)

    def ask(self, method, path, **given):
        return self._call(self._portal.ask, method, path, **given)

    def send(self, method, path, **given):
        return self._call(self._portal.send, method, path, **given)

    def _call(self, real, *where, **given):
        self._left -= 1
        if self._left:
            return real(*where, **given)
        self.struck = True
        is_write = real.__name__ == "send"
        return self._trouble(lambda: real(*where, **given), is_write)


def lost(carry_out, is_write):
    raise AnswerLost("POST", "TIMEOUT") if is_write else CrmUnavailable("away")


def lost_after(carry_out, is_write):
    carry_out()
    return lost(carry_out, is_write)


def stopped(carry_out, is_write):
    raise LimitReached("used up")


def killed(carry_out, is_write):
    raise Killed


def killed_after(carry_out, is_write):
    carry_out()
    raise Killed


TROUBLES = [lost, lost_after, stopped, killed, killed_after]


# Deal 1 has somebody with three labels and a primary; deal 2 gets a primary; one contact is unknown.
PLAN = [
    line(1, 11, "Champion", primary="10"),
    line(1, 12, None, primary="10"),
    line(1, 20, "Economic Buyer", primary="10"),
    line(2, 11, "Blocker", is_primary=True),
    line(3, 12, "Economic Buyer"),
    line(3, 99, "Champion"),
]


def start(replaces):
    portal = BarePortal(
        replaces=replaces,
        primary_label="Key",
        create_labels=("Economic Buyer",),
        known_contacts={"10", "11", "12", "20"},
    )
    portal.person_sets("1", "10", *THREE, "Key")
    portal.person_sets("1", "20", *THREE)
    return portal


def links(portal):
    return {pair: frozenset(types) for pair, types in portal.links.items() if types}


def in_the_end(act):
    for _ in range(MOST_RUNS):
        with suppress(CrmBridgeError, Killed):
            return act()
    raise AssertionError("it never ended")


@pytest.fixture(scope="module", params=[True, False], ids=["replaces", "appends"])
def undisturbed(request, tmp_path_factory):
    portal = start(request.param)
    before = links(portal)
    with Journal.open(tmp_path_factory.mktemp("calm") / "journal.db") as journal:
        adapter = Adapter(portal)
        run = execute(adapter, journal, PLAN, kind="apply", plan_id="p", plan_hash="p")
        assert run.counts == {"applied": 4, "conflict": 1, "rejected": 1}
        wanted = links(portal)
        undo(adapter, journal, run.run_id)
    assert links(portal) == before
    return request.param, before, wanted


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_at_every_call(undisturbed, trouble, tmp_path):
    replaces, before, wanted = undisturbed
    for nth in range(1, MOST_CALLS):
        portal = start(replaces)
        with Journal.open(tmp_path / f"{nth}.db") as journal:
            journal._database._connection.execute("PRAGMA synchronous = OFF")
            applying = Troubled(portal, trouble, nth)
            run = in_the_end(
                lambda applying=applying, journal=journal: execute(
                    Adapter(applying), journal, PLAN, kind="apply", plan_id="p", plan_hash="p"
                )
            )
            assert links(portal) == wanted, nth
            assert run.differences == (), nth
            undoing = Troubled(portal, trouble, nth)
            in_the_end(lambda undoing=undoing, journal=journal, run=run: undo(Adapter(undoing), journal, run.run_id))
            assert links(portal) == before, nth
        if not applying.struck and not undoing.struck:
            assert nth > 8, "labels, caps, look, compare, send, read again, report"
            return
    raise AssertionError("the trouble never ended")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_a_person_did_after_the_trouble_stays(undisturbed, trouble, tmp_path):
    replaces, _, _ = undisturbed
    for nth in range(1, MOST_CALLS):
        portal = start(replaces)
        with Journal.open(tmp_path / f"{nth}.db") as journal:
            journal._database._connection.execute("PRAGMA synchronous = OFF")
            applying = Troubled(portal, trouble, nth)
            with suppress(CrmBridgeError, Killed):
                execute(Adapter(applying), journal, PLAN, kind="apply", plan_id="p", plan_hash="p")
            portal.person_sets("1", "11", *THREE)
            run = in_the_end(
                lambda journal=journal, portal=portal: execute(
                    Adapter(portal), journal, PLAN, kind="apply", plan_id="p", plan_hash="p"
                )
            )
            in_the_end(lambda journal=journal, portal=portal, run=run: undo(Adapter(portal), journal, run.run_id))
            assert portal.names_of("1", "11") == set(THREE), nth
            assert portal.names_of("1", "20") == set(THREE), nth
            assert portal.names_of("1", "10") == {*THREE, "Key"}, nth
        if not applying.struck:
            return
    raise AssertionError("the trouble never ended")
