"""Adapters that each break the contract in one way, with the checks that must notice, and no other check."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import pyarrow as pa

from crmbridge.contract import Check, Checkpoint, Deletion, Health, Outcome, PairState, Receipt, verdict
from crmbridge.errors import DataError
from crmbridge.model import ESSENTIAL, ContactRole, Entity
from crmbridge.testing.memory import MemoryAdapter, MemoryBulkAdapter

AS_IS: dict[str, object] = {}
BARE = {"entities": ESSENTIAL}
SMALL_JOBS = {"writes_per_call": 4}
TWO_ROLES = {"role_names": ("Buyer", "User")}

BROKEN: dict[type[MemoryAdapter], frozenset[str]] = {}


def fails(*checks):
    """Say which checks must fail; without `test_`."""

    def note(cls):
        BROKEN[cls] = frozenset(f"test_{check}" for check in checks)
        return cls

    return note


class Broken(MemoryAdapter):
    """`shape` narrows the options that the adapter is opened with."""

    shape = AS_IS

    def rows(self, batches, change):
        """Pass batches through a change of their rows."""
        for batch in batches:
            yield pa.RecordBatch.from_pylist([change(dict(row)) for row in batch.to_pylist()], schema=batch.schema)


# -- what it says about itself


@fails("class_attributes")
class OldVersion(Broken):
    contract_version = 0


@fails("capabilities_complete")
class PromisesTooMuch(Broken):
    shape = BARE

    @property
    def capabilities(self):
        return super().capabilities.model_copy(update={"incremental": frozenset(Entity)})


@fails("capabilities_steady")
class Moody(Broken):
    asked = count(10)

    @property
    def capabilities(self):
        return super().capabilities.model_copy(update={"writes_per_call": next(self.asked)})


@fails("check_finds_no_fault")
class CriesWolf(Broken):
    def check(self):
        return Health(checks=(Check(name="limits", status="failed", detail="no calls are left"),))


@fails("check_changes_nothing")
class ProbesByWriting(Broken):
    def check(self):
        for role in list(self._crm.records(Entity.CONTACT_ROLE)):
            self._crm._keep(role.model_copy(update={"role": "probe"}))
        return super().check()


@fails("close_twice")
class ClosesOnce(Broken):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


# -- reading


@fails("read_schema")
class LargeStrings(Broken):
    def read(self, entity, *, since=None):
        for batch in super().read(entity, since=since):
            schema = batch.schema.set(0, pa.field("id", pa.large_string(), nullable=False))
            yield batch.cast(schema)


@fails("read_schema", "read_values", "read_unicode", "read_odd_ids")
class NaiveDatetimes(Broken):
    def read(self, entity, *, since=None):
        for batch in super().read(entity, since=since):
            fields = [
                field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field for field in batch.schema
            ]
            yield batch.cast(pa.schema(fields))


@fails("read_batch_sizes")
class EmptyBatches(Broken):
    def read(self, entity, *, since=None):
        for batch in super().read(entity, since=since):
            yield from (batch, batch.slice(0, 0))


@fails("read_each_record_once", "read_odd_ids", "read_never_ends_early", "count")
class RepeatsTheFirstRow(Broken):
    def read(self, entity, *, since=None):
        for number, batch in enumerate(super().read(entity, since=since)):
            if number == 0:
                yield batch.slice(0, 1)
            yield batch


@fails("read_values")
class RoundsMoney(Broken):
    def read(self, entity, *, since=None):
        def rounded(row):
            return row | ({"amount": row["amount"] and round(row["amount"], 1)} if "amount" in row else {})

        yield from self.rows(super().read(entity, since=since), rounded)


@fails("read_unicode")
class LosesUnicode(Broken):
    def read(self, entity, *, since=None):
        def ascii_name(row):
            name = row.get("last_name")
            return row | ({"last_name": name.encode("ascii", "replace").decode()} if name else {})

        yield from self.rows(super().read(entity, since=since), ascii_name)


@fails("read_odd_ids")
class FoldsCase(Broken):
    def read(self, entity, *, since=None):
        yield from self.rows(super().read(entity, since=since), lambda row: row | {"id": row["id"].casefold()})


@fails("read_never_ends_early", "count")
class GivesOnePage(Broken):
    def read(self, entity, *, since=None):
        yield from islice(super().read(entity, since=since), 1)


@fails("read_entity_left_out")
class GivesWhatItLeavesOut(Broken):
    shape = BARE

    def read(self, entity, *, since=None):
        if entity in ESSENTIAL:
            yield from super().read(entity, since=since)
        else:
            yield pa.RecordBatch.from_pylist([{"id": "1"}])


@fails("read_entity_left_out", "errors_are_discreet")
class ForeignError(Broken):
    shape = BARE

    def read(self, entity, *, since=None):
        if entity not in ESSENTIAL:
            raise KeyError(entity)
        yield from super().read(entity, since=since)


@fails("count")
class CountsTheDead(Broken):
    def count(self, entity):
        return sum(1 for _ in self._crm.records(entity))


class Builder(Broken):
    earlier = None

    def identity(self):
        return "memory"

    def build_on(self, earlier):
        self.earlier = earlier


@fails("building_on_earlier_records")
class TakesWhatIsThereForGone(Builder):
    def read_deleted(self, entity, *, since):
        known = self.earlier.columns(entity, "id").to_pylist() if self.earlier else []
        yield from (Deletion(id=row["id"]) for row in known)
        yield from super().read_deleted(entity, since=since)


@fails("building_on_earlier_records")
class NeverLetsGo(Builder):
    has_built = False

    def build_on(self, earlier):
        self.has_built = self.has_built or earlier is not None

    @property
    def capabilities(self):
        told = super().capabilities
        return told.model_copy(update={"incremental": frozenset()}) if self.has_built else told


@fails("read_since")
class IgnoresSince(Broken):
    def read(self, entity, *, since=None):
        yield from super().read(entity)


@fails("read_since")
class SinceIsExclusive(Broken):
    def read(self, entity, *, since=None):
        yield from super().read(entity, since=since and since + timedelta(microseconds=1))


@fails("read_leaves_out_deleted")
class GivesTheDead(Broken):
    def _living(self, entity):
        return iter([record.model_copy(update={"merged_into_id": None}) for record in self._crm.records(entity)])


@fails("read_deleted")
class ForgetsTheDead(Broken):
    def read_deleted(self, entity, *, since):
        return iter(())


@fails("read_deleted")
class DeletionsOfAllTime(Broken):
    def read_deleted(self, entity, *, since):
        return super().read_deleted(entity, since=datetime(2000, 1, 1, tzinfo=UTC))


# -- roles


@fails("read_roles", "put_primary", "put_not_primary", "receipts_before_and_after", "remove")
class ForgetsWhoIsPrimary(Broken):
    def read_roles(self, opportunity_ids):
        return (role.model_copy(update={"is_primary": None}) for role in super().read_roles(opportunity_ids))


@fails("read_roles_unknown_ids")
class NoFilterMeansAll(Broken):
    def read_roles(self, opportunity_ids):
        wanted = opportunity_ids or [record.id for record in self._crm.records(Entity.OPPORTUNITY)]
        return super().read_roles(wanted)


@fails("read_roles_fresh")
class StaleRoles(Broken):
    def __init__(self, options):
        super().__init__(options)
        self.kept: dict[tuple[str, ...], list[ContactRole]] = {}

    def read_roles(self, opportunity_ids):
        key = tuple(opportunity_ids)
        if key not in self.kept:
            self.kept[key] = list(super().read_roles(opportunity_ids))
        return iter(self.kept[key])


@fails("read_roles_odd_ids")
class RolesByFoldedId(Broken):
    def read_roles(self, opportunity_ids):
        wanted = {opportunity_id.casefold() for opportunity_id in opportunity_ids}
        for record in self._crm.records(Entity.OPPORTUNITY):
            if record.id.casefold() in wanted:
                yield from super().read_roles([record.id])


# -- putting


class Rewrites(Broken):
    """Changes each write before it is sent."""

    def rewrite(self, write):
        return write

    def _send(self, write, before):
        code = self._crm.write(self.rewrite(write))
        return self._receipt(write, before, code)


@fails(
    "put_absent",
    "put_any_role_text",
    "receipts_before_and_after",
    "same_opportunity",
    "undo_round_trip",
    "lost_answers",
)
class BlanksItsNeighbours(Broken):
    def _send(self, write, before):
        for role in self._crm.roles(write.opportunity_id) if write.action == "put" else ():
            self._crm._keep(role.model_copy(update={"role": None}))
        return super()._send(write, before)


@fails("put_again", "put_by_anyones_hand")
class DuplicatesOnRetry(Broken):
    def _judge(self, write, before):
        outcome = super()._judge(write, before)
        return None if write.action == "put" and outcome is Outcome.ALREADY else outcome


@fails("put_by_anyones_hand")
class KnowsOnlyItsOwnHand(Broken):
    def _judge(self, write, before):
        outcome = super()._judge(write, before)
        ours = all(row.id.startswith("new-") for row in before.rows)
        return Outcome.CONFLICT if outcome is Outcome.ALREADY and not ours else outcome


@fails("put_beside_another_role")
class OverwritesAPersonsRow(Broken):
    def _judge(self, write, before):
        outcome = super()._judge(write, before)
        return None if write.action == "put" and outcome is Outcome.CONFLICT and not write.is_primary else outcome

    def _send(self, write, before):
        if write.action == "put" and before.rows:
            self._crm._remove(write.model_copy(update={"expected": before}))
        return super()._send(write, before)


@fails("put_primary_guard")
class StealsThePrimary(Broken):
    def _judge(self, write, before):
        return super()._judge(write.model_copy(update={"expected": before}) if write.is_primary else write, before)


@fails("put_primary")
class NeverPrimary(Rewrites):
    def rewrite(self, write):
        return write.model_copy(update={"is_primary": False})


@fails("put_not_primary")
class AlwaysComparesThePrimary(Broken):
    def _judge(self, write, before):
        stale = write.expected.primary_contact_id not in (None, before.primary_contact_id)
        return Outcome.CONFLICT if write.action == "put" and stale else super()._judge(write, before)


@fails("put_blank_role", "put_odd_ids", "big_batches")
class BlankBecomesOther(Rewrites):
    def rewrite(self, write):
        fill = write.action == "put" and write.role is None
        return write.model_copy(update={"role": "Other"}) if fill else write


@fails("put_any_role_text")
class TrimsRoleText(Rewrites):
    def rewrite(self, write):
        return write.model_copy(update={"role": " ".join(write.role.split()) if write.role else None})


@fails("put_role_not_offered")
class DropsRolesNotOffered(Rewrites):
    shape = TWO_ROLES

    def _judge(self, write, before):
        return verdict(write, before)

    def rewrite(self, write):
        known = write.role in (None, *self._options.role_names)
        return write if known else write.model_copy(update={"role": None})


@fails("put_odd_ids")
class TruncatesIds(Rewrites):
    def rewrite(self, write):
        return write.model_copy(update={"contact_id": write.contact_id[:199]})


# -- removing


@fails("remove_edited", "remove_anothers_row", "remove_one_of_two")
class RemovesByPair(Broken):
    def _judge(self, write, before):
        if write.action == "put":
            return super()._judge(write, before)
        return None if before.rows else Outcome.ALREADY

    def _send(self, write, before):
        whole = write.model_copy(update={"expected": before}) if write.action == "remove" else write
        return super()._send(whole, before)


@fails("remove_anothers_row")
class RemovesByRoleName(Broken):
    def _judge(self, write, before):
        roles, expected = ([row.role for row in rows] for rows in (before.rows, write.expected.rows))
        if write.action == "remove" and roles and roles == expected:
            return None
        return super()._judge(write, before)

    def _send(self, write, before):
        whole = write.model_copy(update={"expected": before}) if write.action == "remove" else write
        return super()._send(whole, before)


@fails("remove_one_of_two")
class RemovesTheFirstRow(Rewrites):
    def rewrite(self, write):
        return write.model_copy(update={"expected": PairState(rows=write.expected.rows[:1])})


@fails("remove", "same_opportunity", "undo_round_trip", "any_order", "receipts_before_and_after")
class RemovesAllOfTheOpportunity(Broken):
    def _send(self, write, before):
        receipt = super()._send(write, before)
        for role in self._crm.roles(write.opportunity_id) if write.action == "remove" else ():
            self._crm._keep(role.model_copy(update={"is_deleted": True}))
        return receipt


@fails("remove_again")
class GoneIsRefused(Broken):
    def _judge(self, write, before):
        outcome = super()._judge(write, before)
        return Outcome.REJECTED if write.action == "remove" and outcome is Outcome.ALREADY else outcome


@fails("undo_round_trip")
class TouchesItsNeighbours(Broken):
    def _send(self, write, before):
        for role in self._crm.roles(write.opportunity_id) if write.action == "put" else ():
            self._crm._keep(role.model_copy(update={"modified_at": datetime.now(UTC)}))
        return super()._send(write, before)


# -- receipts


@fails("one_receipt_each")
class TwoReceipts(Broken):
    def write_roles(self, writes, *, checkpoint):
        for receipt in super().write_roles(writes, checkpoint=checkpoint):
            yield from (receipt, receipt)


@fails("one_receipt_each", "put_again", "put_by_anyones_hand", "remove_again", "receipts_before_and_after", "any_order")
class DropsReceipts(Broken):
    def write_roles(self, writes, *, checkpoint):
        receipts = super().write_roles(writes, checkpoint=checkpoint)
        return (receipt for receipt in receipts if receipt.outcome is not Outcome.ALREADY)


@fails("no_writes_no_receipts")
class ReceiptForNothing(Broken):
    def write_roles(self, writes, *, checkpoint):
        yield from super().write_roles(writes, checkpoint=checkpoint)
        if not writes:
            yield Receipt(key="", outcome=Outcome.APPLIED)


@fails("receipts_before_and_after")
class SaysNothingOfConflicts(Broken):
    def write_roles(self, writes, *, checkpoint):
        for receipt in super().write_roles(writes, checkpoint=checkpoint):
            blank = receipt.outcome is Outcome.CONFLICT
            yield receipt.model_copy(update={"before": PairState()}) if blank else receipt


@fails("refused_alone", "receipts_before_and_after")
class AllOrNothing(Broken):
    def write_roles(self, writes, *, checkpoint):
        kept = {role.id for role in self._crm.records(Entity.CONTACT_ROLE)}
        receipts = list(super().write_roles(writes, checkpoint=checkpoint))
        if any(receipt.outcome is Outcome.REJECTED for receipt in receipts):
            for role in list(self._crm.records(Entity.CONTACT_ROLE)):
                if role.id not in kept:
                    self._crm._keep(role.model_copy(update={"is_deleted": True}))
        yield from receipts


@fails("refused_alone")
class RefusesWithoutACode(Broken):
    def _receipt(self, write, before, code):
        return super()._receipt(write, before, code).model_copy(update={"code": None})


@fails("any_order")
class OrderMatters(Broken):
    def write_roles(self, writes, *, checkpoint):
        for number, write in enumerate(writes):
            after = [later for later in writes[number + 1 :] if later.opportunity_id == write.opportunity_id]
            if write.action == "remove" and any(later.action == "put" for later in after):
                state = self._state(write)
                yield Receipt(key=write.key, outcome=Outcome.CONFLICT, before=state, after=state)
            else:
                yield from super().write_roles([write], checkpoint=checkpoint)


@fails("same_opportunity", "big_batches", "any_order", "refused_alone", "lost_answers", "put_any_role_text")
class OneWriteAnOpportunity(Broken):
    def write_roles(self, writes, *, checkpoint):
        seen: set[str] = set()
        for write in writes:
            if write.opportunity_id in seen:
                state = self._state(write)
                yield Receipt(key=write.key, outcome=Outcome.CONFLICT, before=state, after=state)
            else:
                yield from super().write_roles([write], checkpoint=checkpoint)
            seen.add(write.opportunity_id)


@fails("big_batches")
class LosesTheTail(Broken):
    def write_roles(self, writes, *, checkpoint):
        yield from super().write_roles(writes[:50], checkpoint=checkpoint)
        yield from (Receipt(key=write.key, outcome=Outcome.APPLIED) for write in writes[50:])


# -- settling and checkpoints


@fails("lost_answers")
class SettlesWhileTheJobRuns(MemoryBulkAdapter):
    shape = SMALL_JOBS

    def settle(self, writes, checkpoints):
        return super().settle(writes, [])


@fails("settle_never_sent")
class SettlesBySending(Broken):
    def settle(self, writes, checkpoints):
        for write in writes:
            if verdict(write, self._state(write)) is None:
                self._crm.write(write)
            yield from super().settle([write], checkpoints)


@fails("settle_never_sent", "settle_conflict", "lost_answers")
class SettlesByHope(Broken):
    def settle(self, writes, checkpoints):
        for receipt in super().settle(writes, checkpoints):
            yield receipt.model_copy(update={"outcome": Outcome.APPLIED})


@fails("settle_happened", "settle_conflict", "lost_answers")
class SettlesByFear(Broken):
    def settle(self, writes, checkpoints):
        for receipt in super().settle(writes, checkpoints):
            yield receipt.model_copy(update={"outcome": Outcome.ABSENT})


@fails("settle_conflict")
class TakesAnothersRowForItsOwn(Broken):
    def settle(self, writes, checkpoints):
        for receipt in super().settle(writes, checkpoints):
            ours = receipt.outcome is Outcome.CONFLICT
            yield receipt.model_copy(update={"outcome": Outcome.APPLIED}) if ours else receipt


@fails("settle_one_receipt_each")
class SettlesTwice(Broken):
    def settle(self, writes, checkpoints):
        for receipt in super().settle(writes, checkpoints):
            yield from (receipt, receipt)


@fails("settle_one_receipt_each")
class SettlesOnlyPuts(Broken):
    def settle(self, writes, checkpoints):
        several = len(writes) > 2
        return super().settle([write for write in writes if write.action == "put" or not several], checkpoints)


@fails("checkpoint_first")
class CheckpointAfterTheJob(MemoryBulkAdapter):
    shape = SMALL_JOBS

    def _submit(self, chunk, checkpoint):
        reference = self._crm.new_id("job")
        self._crm.accept(chunk, reference=reference)
        checkpoint(Checkpoint(kind="bulk-job", reference=reference, keys=tuple(write.key for write in chunk)))
        return reference, chunk


@fails("checkpoint_before_receipts")
class CheckpointOfNothing(MemoryBulkAdapter):
    shape = SMALL_JOBS

    def _submit(self, chunk, checkpoint):
        def without_keys(told):
            checkpoint(told.model_copy(update={"keys": ()}))

        return super()._submit(chunk, without_keys)


@fails("checkpoint_before_receipts", "checkpoint_first")
class CheckpointAtTheEnd(Broken):
    def write_roles(self, writes, *, checkpoint):
        yield from super().write_roles(writes, checkpoint=checkpoint)
        if writes:
            checkpoint(Checkpoint(kind="batch", reference="1", keys=tuple(write.key for write in writes)))


# -- discretion


@fails("logs_are_discreet")
class LogsAddresses(Broken):
    def read(self, entity, *, since=None):
        for batch in super().read(entity, since=since):
            logging.getLogger("crm.wire").debug("received %s", batch.to_pylist())
            yield batch


@fails("logs_are_discreet")
class PrintsRows(Broken):
    def read(self, entity, *, since=None):
        for batch in super().read(entity, since=since):
            print(batch.to_pylist())
            yield batch


@fails("errors_are_discreet")
class NamesPeopleInErrors(Broken):
    shape = BARE

    def _living(self, entity):
        if entity not in ESSENTIAL:
            raise DataError(f"no {entity}, only {[contact.email for contact in self._crm.records(Entity.CONTACT)]}")
        return super()._living(entity)


@fails("errors_are_discreet")
class ShowsTheCause(Broken):
    shape = BARE

    def _living(self, entity):
        try:
            return {kind: super(ShowsTheCause, self)._living for kind in ESSENTIAL}[entity](entity)
        except KeyError as error:
            raise DataError(f"no {entity}") from error


@fails("answers_are_discreet")
class PassesTheMessageOn(Broken):
    def _receipt(self, write, before, code):
        receipt = super()._receipt(write, before, code)
        return receipt.model_copy(update={"code": code and f"{code}: role {write.role} of {write.contact_id}"})


@fails("answers_are_discreet")
class ChecksByName(Broken):
    def check(self):
        names = ", ".join(str(user.name) for user in self._crm.records(Entity.USER))
        return Health(checks=(Check(name="owners", status="ok", detail=f"found {names}"),))


class OversizedBatches(Broken):
    """Told apart only by a world of more than 100,000 rows."""

    batch_rows = 200_000
