"""Checks of `settle` and of checkpoints: what is known of writes whose answer never came."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from crmbridge.contract import Checkpoint, Outcome, PairState, RoleWrite
from crmbridge.errors import CrmBridgeError, WorkspaceError
from crmbridge.testing.kit import Sandbox, by_key, expect, hold, proves, put, remove, the_receipt
from crmbridge.testing.worlds import crowded, small
from crmbridge.testing.writing import WritingKit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crmbridge.contract import Receipt


class SettlingChecks(WritingKit):
    """`settle` is called for writes whose receipt is missing or `unknown`, with the checkpoints of their run."""

    @proves
    def test_settle_never_sent(self) -> None:
        """`absent`: it did not happen. `settle` reads back and writes nothing, however often."""
        self.writable()
        sandbox = self.sandbox(small())
        before = sandbox.roles()
        held = sandbox.pair(self.opportunity(1), self.contact(2))
        writes = [put(self.opportunity(3), self.contact(1)), remove(self.opportunity(1), self.contact(2), held)]
        for _ in range(2):
            receipts = sandbox.settle(*writes)
            for write in writes:
                expect(the_receipt(receipts, write), Outcome.ABSENT)
            hold(sandbox.roles() == before, "the roles differ after `settle`")

    @proves
    def test_settle_happened(self) -> None:
        """`applied`: the pair is as wanted, for writes that were sent and whose receipts were lost."""
        self.writable()
        sandbox, (role, _) = self.sandbox(small()), self.roles()
        held = sandbox.pair(self.opportunity(1), self.contact(2))
        writes = [put(self.opportunity(3), self.contact(1), role), remove(self.opportunity(1), self.contact(2), held)]
        sandbox.write(*writes)
        receipts = sandbox.settle(*writes)
        for write in writes:
            expect(the_receipt(receipts, write), Outcome.APPLIED)
        after = the_receipt(receipts, writes[0]).after.rows
        hold(after == sandbox.pair(self.opportunity(3), self.contact(1)).rows, "`after` is not what the pair is now")

    @proves
    def test_settle_conflict(self) -> None:
        """`conflict`: something else is there, for a `put` as for a `remove`."""
        self.writable()
        sandbox = self.sandbox(small())
        other = self.another_role(sandbox)
        row = self.loaded_row(sandbox)
        stale = PairState(rows=(row.model_copy(update={"role": other}),))
        writes = [
            put(self.opportunity(1), self.contact(2), other),
            remove(self.opportunity(1), self.contact(2), stale),
        ]
        for write in writes:
            expect(the_receipt(sandbox.settle(write), write), Outcome.CONFLICT)

    @proves
    def test_settle_one_receipt_each(self) -> None:
        """`settle`: one receipt each."""
        self.writable()
        sandbox = self.sandbox(small())
        writes = self.mixed(sandbox)
        keys = [receipt.key for receipt in sandbox.open().settle(writes, [])]
        hold(len(keys) == len(set(keys)), f"{len(keys) - len(set(keys))} receipts too many for {len(writes)} writes")
        hold(set(keys) == {write.key for write in writes}, f"{len(set(keys))} of {len(writes)} writes have a receipt")

    @proves
    def test_lost_answers(self) -> None:
        """It was sent and the answer was lost: `settle` reads back; whatever is `absent` is safe to send again."""
        self.writable()
        writes = self._spread()
        for answers in (0, 1, len(writes) // 2, len(writes)):
            sandbox = self.sandbox(crowded(opportunities=2, contacts=self._several()))
            self._break_off(sandbox, writes, answers)
            receipts = sandbox.settle(*writes)
            self._hold_truth(sandbox, writes, receipts)
            sandbox.write(*(write for write in writes if receipts[write.key].outcome is Outcome.ABSENT))
            wanted = sorted((write.opportunity_id, write.contact_id) for write in writes)
            now = sorted((opportunity, contact) for opportunity, contact, _, _ in sandbox.pairs())
            hold(now == wanted, f"after sending the absent ones again there are {len(now)} rows for {len(wanted)} pairs")

    @proves
    def test_checkpoint_before_receipts(self) -> None:
        """A checkpoint names the keys of the writes it carries, and comes before anything of theirs."""
        self.writable()
        sandbox = self.sandbox(crowded(opportunities=2, contacts=self._several()))
        writes, answered = self._spread(), set[str]()

        def record(checkpoint: Checkpoint) -> None:
            hold(checkpoint.kind and checkpoint.reference, "a checkpoint without a kind or a reference")
            hold(checkpoint.keys, "a checkpoint that carries no writes")
            hold(set(checkpoint.keys) <= {write.key for write in writes}, "a checkpoint with keys that no write has")
            hold(not answered.intersection(checkpoint.keys), "a checkpoint after the receipt of a write it carries")

        for receipt in sandbox.open().write_roles(writes, checkpoint=record):
            answered.add(receipt.key)

    @proves
    def test_checkpoint_first(self) -> None:
        """`checkpoint` is called before anything that outlives the call exists: where it fails, nothing was sent."""
        self.writable()
        sandbox = self.sandbox(crowded(opportunities=2, contacts=self._several()))
        writes, refused = self._spread(), set[str]()

        def fail(checkpoint: Checkpoint) -> None:
            refused.update(checkpoint.keys)
            sandbox.checkpoints.append(checkpoint)
            raise WorkspaceError("the journal is full")

        with suppress(CrmBridgeError):
            list(sandbox.open().write_roles(writes, checkpoint=fail))
        by_key(sandbox.open().settle(writes, sandbox.checkpoints))
        now = sandbox.states(writes)
        sent = [key for key in refused if now[key].rows]
        hold(not sent, f"{len(sent)} writes were sent although their checkpoint could not be recorded")

    def _several(self) -> int:
        """Enough contacts for more than two calls, a few dozen at most."""
        return min(2 * self.known.writes_per_call + 2, 40)

    def _spread(self) -> list[RoleWrite]:
        role, _ = self.roles()
        return [put(self.opportunity(1 + number % 2), self.contact(number), role) for number in range(1, self._several() + 1)]

    def _break_off(self, sandbox: Sandbox, writes: list[RoleWrite], answers: int) -> None:
        """Send, take that many receipts and walk away; whatever was answered counts as lost too."""
        receipts: Iterator[Receipt] = iter(sandbox.open().write_roles(writes, checkpoint=sandbox.checkpoints.append))
        for _ in islice(receipts, answers):
            pass
        getattr(receipts, "close", lambda: None)()

    def _hold_truth(self, sandbox: Sandbox, writes: list[RoleWrite], receipts: dict[str, Receipt]) -> None:
        sandbox.roles()  # lets time pass: what still runs remotely comes to its end
        now = sandbox.states(writes)
        for write in writes:
            expect(the_receipt(receipts, write), Outcome.APPLIED if now[write.key].rows else Outcome.ABSENT)
