"""Checks of `write_roles`: what is written, what is left alone, and what each receipt says."""

from __future__ import annotations

import random
from collections import Counter

from crmbridge.contract import Outcome, PairState, RoleRow, RoleWrite
from crmbridge.model import Entity
from crmbridge.testing.kit import Kit, Sandbox, expect, hold, needs, proves, put, remove, the_receipt
from crmbridge.testing.worlds import UNICODE_TEXTS, crowded, doubled, odd_ids, small

READ_ONLY = "capabilities.can_write is False"


class WritingKit(Kit):
    """What the checks of writing share."""

    def writable(self) -> None:
        """Skip where the connection is known to be read-only."""
        needs(self.known.can_write, READ_ONLY)

    def mixed(self, sandbox: Sandbox) -> list[RoleWrite]:
        """Seven writes on `small()`, one of each fate, no two on the same pair.

        Applied, already, conflict, two rejected, removed, already removed.
        """
        first, second = self.roles()
        unknown_contact, unknown_opportunity = self.unknown_id(Entity.CONTACT), self.unknown_id(Entity.OPPORTUNITY)
        return [
            put(self.opportunity(3), self.contact(1), first),
            put(self.opportunity(2), self.contact(1), None),
            put(self.opportunity(1), self.contact(2), self.another_role(sandbox)),
            put(self.opportunity(3), unknown_contact, first),
            put(unknown_opportunity, self.contact(1), second),
            remove(self.opportunity(1), self.contact(1), sandbox.pair(self.opportunity(1), self.contact(1))),
            remove(self.opportunity(4), self.contact(4), _stale(first)),
        ]

    def loaded_row(self, sandbox: Sandbox) -> RoleRow:
        """The one row that `small()` holds for its first opportunity and second contact."""
        rows = sandbox.pair(self.opportunity(1), self.contact(2)).rows
        hold(len(rows) == 1, f"a pair that was loaded with one row reads back with {len(rows)}")
        return rows[0]

    def another_role(self, sandbox: Sandbox) -> str | None:
        """A role that the CRM takes and that `loaded_row` does not have."""
        held = self.loaded_row(sandbox).role
        return next(role for role in self.roles() if role != held)

    def hold_untouched(self, sandbox: Sandbox, write: RoleWrite, *outcomes: Outcome) -> None:
        """Write; fail unless it ends so and no role of the CRM differs afterwards."""
        before = sandbox.roles()
        receipt = sandbox.write_one(write)
        expect(receipt, *outcomes)
        hold(sandbox.roles() == before, f"the outcome is {str(receipt.outcome)!r}, yet the roles differ")


class PutChecks(WritingKit):
    """A `put` adds the role where the pair is as `expected`."""

    @proves
    def test_put_absent(self) -> None:
        """The pair is as expected: write it -> `applied`; a new adapter sees one row, and nothing else differs."""
        self.writable()
        sandbox, (role, _) = self.sandbox(small()), self.roles()
        before, wanted = sandbox.pairs(), (self.opportunity(1), self.contact(3), role, False)
        expect(sandbox.write_one(put(self.opportunity(1), self.contact(3), role)), Outcome.APPLIED)
        added = Counter(sandbox.pairs()) - Counter(before)
        lost = Counter(before) - Counter(sandbox.pairs())
        hold(list(added.elements()) == [wanted], f"the rows added are {list(added.elements())}, not {[wanted]}")
        hold(not lost, f"{lost.total()} rows of others are gone")

    @proves
    def test_put_again(self) -> None:
        """The pair is already as wanted, by this write -> `already`; nothing is written."""
        self.writable()
        sandbox, write = self.sandbox(small()), put(self.opportunity(3), self.contact(1), self.roles()[0])
        expect(sandbox.write_one(write), Outcome.APPLIED)
        self.hold_untouched(sandbox, write, Outcome.ALREADY)

    @proves
    def test_put_by_anyones_hand(self) -> None:
        """The pair is already as wanted, by anyone's hand -> `already`; nothing is written."""
        self.writable()
        sandbox = self.sandbox(small())
        held = self.loaded_row(sandbox)
        self.hold_untouched(sandbox, put(self.opportunity(1), self.contact(2), held.role), Outcome.ALREADY)

    @proves
    def test_put_beside_another_role(self) -> None:
        """Anything else differs from `expected.rows` -> `conflict`; nothing is written."""
        self.writable()
        sandbox = self.sandbox(small())
        other = self.another_role(sandbox)
        self.hold_untouched(sandbox, put(self.opportunity(1), self.contact(2), other), Outcome.CONFLICT)

    @proves
    def test_put_primary(self) -> None:
        """A `put` that asks to be primary, where the primary is as expected, is `applied` and is the primary."""
        self.writable()
        needs(self.known.has_primary, "capabilities.has_primary is False")
        sandbox = self.sandbox(small())
        receipt = sandbox.write_one(put(self.opportunity(3), self.contact(2), is_primary=True))
        expect(receipt, Outcome.APPLIED)
        for where, state in (("CRM", sandbox.pair(self.opportunity(3), self.contact(2))), ("receipt", receipt.after)):
            marked = [row.is_primary for row in state.rows] == [True]
            hold(marked and state.primary_contact_id == self.contact(2), f"in the {where} the new row is not the primary")

    @proves
    def test_put_primary_guard(self) -> None:
        """`conflict` unless the opportunity's primary is still `expected.primary_contact_id`."""
        self.writable()
        needs(self.known.has_primary, "capabilities.has_primary is False")
        sandbox = self.sandbox(small())
        write = put(self.opportunity(1), self.contact(3), is_primary=True)
        self.hold_untouched(sandbox, write, Outcome.CONFLICT)
        gone = PairState(primary_contact_id=self.contact(1))
        write = put(self.opportunity(3), self.contact(3), is_primary=True, expected=gone)
        self.hold_untouched(sandbox, write, Outcome.CONFLICT)

    @proves
    def test_put_not_primary(self) -> None:
        """The primary is compared only by a `put` that asks to be primary; any other is written and leaves it alone."""
        self.writable()
        needs(self.known.has_primary, "capabilities.has_primary is False")
        sandbox, stale = self.sandbox(small()), PairState(primary_contact_id=self.contact(4))
        expect(sandbox.write_one(put(self.opportunity(1), self.contact(3), expected=stale)), Outcome.APPLIED)
        now = sandbox.pair(self.opportunity(1), self.contact(3))
        hold(now.primary_contact_id == self.contact(1), "the opportunity's primary is not who it was")

    @proves
    def test_put_blank_role(self) -> None:
        """`role`: None leaves the role blank."""
        self.writable()
        sandbox = self.sandbox(small())
        expect(sandbox.write_one(put(self.opportunity(3), self.contact(1), None)), Outcome.APPLIED)
        held = [row.role for row in sandbox.pair(self.opportunity(3), self.contact(1)).rows]
        hold(held == [None], f"the pair's roles are {held}, not one blank")

    @proves
    def test_put_any_role_text(self) -> None:
        """`role_names`: empty where any text is allowed; then any text comes back to the letter."""
        self.writable()
        needs(not self.known.role_names, "capabilities.role_names is a closed list")
        sandbox = self.sandbox(crowded(opportunities=1, contacts=len(UNICODE_TEXTS)))
        writes = [put(self.opportunity(1), self.contact(n), text) for n, text in enumerate(UNICODE_TEXTS, start=1)]
        receipts = sandbox.write(*writes)
        now = sandbox.states(writes)
        for write in writes:
            expect(the_receipt(receipts, write), Outcome.APPLIED)
            held = [row.role for row in now[write.key].rows]
            hold(held == [write.role], f"the role {write.role!r} reads back as {held}")

    @proves
    def test_put_role_not_offered(self) -> None:
        """`role_names`: the roles this CRM offers; another is `rejected` with a code, or `applied` and reads back."""
        self.writable()
        needs(self.known.role_names, "capabilities.role_names is empty: any text is allowed")
        sandbox = self.sandbox(small())
        write, neighbour = (
            put(self.opportunity(3), self.contact(1), "Not offered"),
            put(self.opportunity(3), self.contact(2)),
        )
        receipts = sandbox.write(write, neighbour)
        expect(the_receipt(receipts, neighbour), Outcome.APPLIED)
        receipt = the_receipt(receipts, write)
        expect(receipt, Outcome.REJECTED, Outcome.APPLIED)
        held = [row.role for row in sandbox.pair(write.opportunity_id, write.contact_id).rows]
        wanted = [write.role] if receipt.outcome is Outcome.APPLIED else []
        hold(held == wanted, f"the outcome is {str(receipt.outcome)!r}, yet the pair's roles are {held}")
        hold(receipt.outcome is Outcome.APPLIED or receipt.code, "`rejected` without the CRM's code")

    @proves
    def test_put_odd_ids(self) -> None:
        """Ids are the CRM's own, as text: a role is added to exactly the pair that was named."""
        self.writable()
        sandbox = self.sandbox(odd_ids())
        before, contacts = Counter(sandbox.pairs()), sandbox.ids(Entity.CONTACT)
        opportunities = sandbox.ids(Entity.OPPORTUNITY)
        writes = [put(a, b) for a, b in zip(opportunities, contacts[1:] + contacts[:1], strict=True)]
        receipts = sandbox.write(*writes)
        for write in writes:
            expect(the_receipt(receipts, write), Outcome.APPLIED)
        added = set((Counter(sandbox.pairs()) - before).elements())
        wanted = {(write.opportunity_id, write.contact_id, None, False) for write in writes}
        hold(
            added == wanted,
            f"{len(wanted - added)} of {len(wanted)} pairs are missing, {len(added - wanted)} are others",
        )


class RemoveChecks(WritingKit):
    """A `remove` deletes the very rows in `expected`; undo is made of removes."""

    @proves
    def test_remove(self) -> None:
        """A `remove` deletes the very rows in `expected`, and no others."""
        self.writable()
        sandbox = self.sandbox(small())
        before, doomed = sandbox.roles(), sandbox.pair(self.opportunity(1), self.contact(1))
        expect(sandbox.write_one(remove(self.opportunity(1), self.contact(1), doomed)), Outcome.APPLIED)
        gone = {row.id for row in doomed.rows}
        wanted = [(role.id, role.contact_id, role.role) for role in before if role.id not in gone]
        left = [(role.id, role.contact_id, role.role) for role in sandbox.roles()]
        hold(left == wanted, f"{len(left)} roles are left, not the {len(wanted)} others")

    @proves
    def test_remove_again(self) -> None:
        """The pair is already as wanted -> `already`: a `remove` of what is gone."""
        self.writable()
        sandbox = self.sandbox(small())
        doomed = sandbox.pair(self.opportunity(1), self.contact(2))
        write = remove(self.opportunity(1), self.contact(2), doomed)
        expect(sandbox.write_one(write), Outcome.APPLIED)
        self.hold_untouched(sandbox, write, Outcome.ALREADY)

    @proves
    def test_remove_edited(self) -> None:
        """Anything else differs from `expected.rows` -> `conflict`: a row that a person edited survives its undo."""
        self.writable()
        sandbox = self.sandbox(small())
        now = sandbox.pair(self.opportunity(1), self.contact(2))
        planned = self.loaded_row(sandbox).model_copy(update={"role": self.another_role(sandbox)})
        stale = PairState(rows=(planned,), primary_contact_id=now.primary_contact_id)
        self.hold_untouched(sandbox, remove(self.opportunity(1), self.contact(2), stale), Outcome.CONFLICT)

    @proves
    def test_remove_anothers_row(self) -> None:
        """A `remove` deletes the very rows in `expected`: a like row under another id, or rows never seen, survive."""
        self.writable()
        sandbox = self.sandbox(small())
        other = self.loaded_row(sandbox).model_copy(update={"id": self.unknown_id(Entity.CONTACT_ROLE)})
        for rows in ((other,), ()):
            write = remove(self.opportunity(1), self.contact(2), PairState(rows=rows))
            self.hold_untouched(sandbox, write, Outcome.CONFLICT)

    @proves
    def test_remove_one_of_two(self) -> None:
        """`expected` is all rows of the pair: where one of two is expected -> `conflict`; where both are, both go."""
        self.writable()
        sandbox = self.sandbox(doubled())
        pair = (self.opportunity(1), self.contact(1))
        both = sandbox.pair(*pair)
        hold(len(both.rows) == 2, f"the pair was loaded with two rows; {len(both.rows)} are given")
        self.hold_untouched(sandbox, remove(*pair, PairState(rows=both.rows[:1])), Outcome.CONFLICT)
        expect(sandbox.write_one(remove(*pair, both)), Outcome.APPLIED)
        hold(not sandbox.pair(*pair).rows, "after both rows were removed, some are left")

    @proves
    def test_undo_round_trip(self) -> None:
        """A `put`, then a `remove` of the rows its receipt names, leaves every role exactly as it was."""
        self.writable()
        sandbox, (role, _) = self.sandbox(small()), self.roles()
        before = sandbox.roles()
        writes = [put(self.opportunity(n), self.contact(5), role) for n in (1, 2, 3)]
        receipts = sandbox.write(*writes)
        undo = [remove(w.opportunity_id, w.contact_id, the_receipt(receipts, w).after) for w in writes]
        undone = sandbox.write(*undo)
        for write in undo:
            expect(the_receipt(undone, write), Outcome.APPLIED)
        hold(sandbox.roles() == before, "after the undo the roles differ from those before")


class ReceiptChecks(WritingKit):
    """`write_roles` yields exactly one receipt per write, in any order."""

    @proves
    def test_one_receipt_each(self) -> None:
        """`write_roles` yields exactly one receipt per write, in any order."""
        self.writable()
        sandbox = self.sandbox(small())
        writes = self.mixed(sandbox)
        given = Counter(receipt.key for receipt in sandbox.open().write_roles(writes, checkpoint=sandbox.checkpoints.append))
        wanted = Counter(write.key for write in writes)
        hold(not given - wanted, f"{(given - wanted).total()} receipts too many for {len(writes)} writes")
        hold(not wanted - given, f"{(wanted - given).total()} of {len(writes)} writes have no receipt")

    @proves
    def test_no_writes_no_receipts(self) -> None:
        """Exactly one receipt per write: none for none."""
        self.writable()
        sandbox = self.sandbox(small())
        hold(not sandbox.write(), "receipts were given for no writes")
        hold(not sandbox.settle(), "settled receipts were given for no writes")

    @proves
    def test_receipts_before_and_after(self) -> None:
        """A receipt tells the pair before and after: as it was and as it reads now."""
        self.writable()
        sandbox = self.sandbox(small())
        writes = self.mixed(sandbox)
        before = sandbox.states(writes)
        receipts = sandbox.write(*writes)
        now = sandbox.states(writes)
        for write in writes:
            receipt = the_receipt(receipts, write)
            about = f"the receipt of a {write.action} that ended {str(receipt.outcome)!r}"
            hold(receipt.before.rows == before[write.key].rows, f"{about}: `before` is not what the pair was")
            hold(receipt.after.rows == now[write.key].rows, f"{about}: `after` is not what the pair is now")

    @proves
    def test_refused_alone(self) -> None:
        """The CRM refuses this record for good -> `rejected` with the CRM's code; never takes others with it."""
        self.writable()
        sandbox, (role, _) = self.sandbox(small()), self.roles()
        neighbours = [put(self.opportunity(3), self.contact(number), role) for number in (1, 2, 3)]
        refused = [
            put(self.opportunity(3), self.unknown_id(Entity.CONTACT), role),
            put(self.unknown_id(Entity.OPPORTUNITY), self.contact(1), role),
        ]
        receipts = sandbox.write(neighbours[0], refused[0], neighbours[1], refused[1], neighbours[2])
        now = sandbox.states([*refused, *neighbours])
        for write in refused:
            expect(the_receipt(receipts, write), Outcome.REJECTED)
            hold(the_receipt(receipts, write).code, "`rejected` without the CRM's code")
            hold(not now[write.key].rows, "`rejected`, yet it was written")
        for write in neighbours:
            expect(the_receipt(receipts, write), Outcome.APPLIED)
            hold(
                now[write.key].rows,
                "`applied` beside a refused write, yet absent",
            )

    @proves
    def test_any_order(self) -> None:
        """Each write ends the same in whatever order the writes come."""
        self.writable()
        ends = []
        for seed in (None, 1, 2):
            sandbox = self.sandbox(small())
            writes = self.mixed(sandbox)
            shuffled = writes if seed is None else random.Random(seed).sample(writes, len(writes))  # noqa: S311
            receipts = sandbox.write(*shuffled)
            ends.append(([the_receipt(receipts, write).outcome for write in writes], sandbox.pairs()))
        hold(all(outcomes == ends[0][0] for outcomes, _ in ends), "in another order the writes end otherwise")
        hold(all(pairs == ends[0][1] for _, pairs in ends), "in another order other roles are left")

    @proves
    def test_same_opportunity(self) -> None:
        """Two writes for one opportunity in one call are two writes: each is compared with its own pair."""
        self.writable()
        sandbox, (first, second) = self.sandbox(small()), self.roles()
        held = sandbox.pair(self.opportunity(1), self.contact(2))
        writes = [
            put(self.opportunity(1), self.contact(3), first),
            put(self.opportunity(1), self.contact(4), second),
            remove(self.opportunity(1), self.contact(2), held),
        ]
        receipts = sandbox.write(*writes)
        for write in writes:
            expect(the_receipt(receipts, write), Outcome.APPLIED)
        named = {role.contact_id for role in sandbox.roles([self.opportunity(1)])}
        hold(
            named == {self.contact(1), self.contact(3), self.contact(4)},
            f"{len(named)} contacts are named, not the 3 wanted",
        )

    @proves
    def test_big_batches(self) -> None:
        """`writes_per_call` is the adapter's own affair: far more writes end alike, many on one opportunity too."""
        self.writable()
        total = min(max(2 * self.known.writes_per_call + 1, 60), self.most_writes)
        crowd = min(total // 2, 60)
        sandbox = self.sandbox(crowded(opportunities=total - crowd + 1, contacts=total))
        writes = [put(self.opportunity(max(number - crowd + 1, 1)), self.contact(number)) for number in range(1, total + 1)]
        receipts = sandbox.write(*writes)
        for write in writes:
            expect(the_receipt(receipts, write), Outcome.APPLIED)
        wanted = sorted((write.opportunity_id, write.contact_id, None, False) for write in writes)
        hold(
            sorted(sandbox.pairs(), key=str) == sorted(wanted, key=str),
            f"{len(wanted)} roles were added; others are there",
        )


def _stale(role: str | None) -> PairState:
    return PairState(rows=(RoleRow(id="gone", role=role, is_primary=False),))
