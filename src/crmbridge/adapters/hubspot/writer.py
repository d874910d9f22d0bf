"""Writes roles as labels: read, compare, merge, write, verify; and takes nothing away that a person has set.

Where a label is written, the labels that the pair has already are sent along: some portals replace, some append.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from crmbridge.adapters.hubspot import batches
from crmbridge.adapters.hubspot.associations import READ_PER_CALL, Links, Pair, Roles, Types, is_id
from crmbridge.adapters.hubspot.batches import ARCHIVE_PER_CALL, CREATE_PER_CALL, Input
from crmbridge.adapters.hubspot.failures import Refusal
from crmbridge.adapters.hubspot.labels import CONTACTS, DEALS, UNLABELLED, Labels, LabelType
from crmbridge.adapters.hubspot.merged import MERGED_AWAY, survivors
from crmbridge.adapters.hubspot.settle import Answer, Fate, is_as_wanted, receipt, settled_receipts
from crmbridge.contract import Outcome, Receipt, RoleWrite, verdict
from crmbridge.errors import CrmBridgeError, CrmUnavailable

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.contract import Checkpoint

NOT_AN_ID = "INVALID_IDENTIFIER"
NOT_OFFERED = "LABEL_NOT_OFFERED"
NOT_DEFINED = "LABEL_NOT_DEFINED"
NO_PRIMARY = "NO_PRIMARY_LABEL"
FULL = "LABEL_CAP_REACHED"
CROWDED = "CONTACT_CAP_REACHED"

_TAKE_BACKS = 3
"""How often a label of ours is taken off again until it is gone; to take it off twice harms nobody."""


class RoleWriter:
    """Writes, and settles, over one connection."""

    def __init__(self, connection: Connection, roles: Roles) -> None:
        self._connection = connection
        self._roles = roles

    def write(self, writes: Sequence[RoleWrite], checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:  # noqa: ARG002
        """Write; one receipt each. Nothing outlives a call, so there are no checkpoints. Raises only where nothing was sent."""
        something_left = False
        for wave in _waves(writes):
            try:
                receipts = _Wave(self._connection, self._roles, something_left=something_left).over(wave)
            except CrmBridgeError as error:
                if not something_left:
                    raise
                receipts = [_not_sent(write, error) for write in wave]
            something_left = True
            yield from receipts

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:  # noqa: ARG002
        """Wait out lost requests, then judge each write by what is there; raises CrmUnavailable where nobody answers."""
        yield from settled_receipts(self._roles, writes, wait_s=self._connection.options.settle_wait_s)


@dataclass
class _Wave:
    """Writes of which none depends on another.

    Attributes:
        before: the pairs of the deals looked at so far, as they were.
        judged: writes that need no sending, by key.
        answers: of writes that were sent, or that must not be.
        put: those of the sent that add something, by pair.
        held: contacts per deal and type, with those about to get one.
        merged_deals: deals that live on in another.
    """

    connection: Connection
    roles: Roles
    something_left: bool
    before: Links = field(default_factory=dict)
    judged: dict[str, Outcome] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    sent: list[RoleWrite] = field(default_factory=list)
    put: dict[Pair, RoleWrite] = field(default_factory=dict)
    held: Counter[tuple[str, LabelType]] = field(default_factory=Counter)
    merged_deals: set[str] = field(default_factory=set)

    def over(self, writes: Sequence[RoleWrite]) -> list[Receipt]:
        """Look at a thousand deals, send what makes full batches, look at the next; then verify all.

        Raises:
            CrmUnavailable, Refusal: before anything was sent.
        """
        stopped: CrmBridgeError | None = None
        try:
            self._walk(writes)
        except CrmBridgeError as error:
            if not self.something_left:
                raise
            stopped = error
        after = self._verified()
        return [self._receipt(write, after) if self._is_known(write) else _not_sent(write, stopped) for write in writes]

    def _walk(self, writes: Sequence[RoleWrite]) -> None:
        puts: list[RoleWrite] = []
        removes: list[RoleWrite] = []
        for group in _by_deals(writes):
            self._look(group)
            for write in group:
                if self._is_to_be_sent(write):
                    (puts if write.action == "put" else removes).append(write)
            puts = self._full(puts, CREATE_PER_CALL, batches.create)
            removes = self._full(removes, ARCHIVE_PER_CALL, batches.archive)
        self._full(removes, 1, batches.archive)
        self._full(puts, 1, batches.create)

    def _look(self, writes: Iterable[RoleWrite]) -> None:
        found = self.roles.links(write.opportunity_id for write in writes)
        self.before |= found
        if self.roles.strangers:
            silent = [deal_id for deal_id, contacts in found.items() if not contacts and is_id(deal_id)]
            self.merged_deals |= survivors(self.connection, DEALS, silent).keys()
        for deal_id, contacts in found.items():
            self.held.update((deal_id, kind) for types in contacts.values() for kind in types)

    def _is_to_be_sent(self, write: RoleWrite) -> bool:
        outcome = verdict(write, self.roles.state(self.before, _pair(write)))
        if outcome is not None:
            self.judged[write.key] = outcome
        elif (code := self._obstacle(write)) is not None:
            self.answers[write.key] = Answer(Fate.REFUSED, code)
        return write.key not in self.judged and write.key not in self.answers

    def _obstacle(self, write: RoleWrite) -> str | None:
        """Why a write must not be sent."""
        if not all(map(is_id, _pair(write))):
            return NOT_AN_ID
        if write.action == "remove":
            return None
        if write.opportunity_id in self.merged_deals:
            return MERGED_AWAY
        return self._lacking_label(write) or self._reached_cap(write)

    def _lacking_label(self, write: RoleWrite) -> str | None:
        labels = self.roles.labels
        if write.role is not None and write.role not in labels.offered():
            return NOT_OFFERED
        primary = self.connection.options.primary_label
        if write.is_primary and primary is None:
            return NO_PRIMARY
        needed = [name for name in (write.role, primary if write.is_primary else None) if name is not None]
        refused = labels.create(needed)
        return next((refused.get(name, NOT_DEFINED) for name in needed if labels.bound(name) is None), None)

    def _reached_cap(self, write: RoleWrite) -> str | None:
        """Whether a cap has no room; if it has, a place is taken."""
        new = {UNLABELLED, *_types(write, self.roles.labels)} - self._held_by(write).keys()
        places = [(write.opportunity_id, kind) for kind in new]
        caps = self.roles.labels.caps
        full = [kind for deal_id, kind in places if kind in caps and self.held[deal_id, kind] >= caps[kind]]
        if full:
            return CROWDED if UNLABELLED in full else FULL
        self.held.update(places)
        return None

    def _held_by(self, write: RoleWrite) -> Types:
        return self.before[write.opportunity_id].get(write.contact_id, {})

    def _full(self, waiting: list[RoleWrite], size: int, send: Callable[..., Mapping[Pair, Answer]]) -> list[RoleWrite]:
        """Send what makes full batches of this size; give what is left."""
        whole = len(waiting) // size * size
        if whole:
            of_pair = {_pair(write): write for write in waiting[:whole]}
            found = send(
                self.connection,
                [self._input(write) for write in of_pair.values()],
                lambda inputs: self._still_open([of_pair[one.pair] for one in inputs]),
            )
            self.something_left = True
            self.sent += [write for pair, write in of_pair.items() if pair in found]
            self.put |= {pair: write for pair, write in of_pair.items() if pair in found and write.action == "put"}
            self.answers |= {of_pair[pair].key: answer for pair, answer in found.items()}
        return waiting[whole:]

    def _still_open(self, writes: Sequence[RoleWrite]) -> list[Input]:
        """Compare once more, where HubSpot has made us wait: a label that somebody set meanwhile would be written over."""
        try:
            self.before |= self._read(writes)
        except Refusal as refusal:
            raise CrmUnavailable(refusal.message, hint=refusal.hint) from None
        outcomes = {write.key: verdict(write, self.roles.state(self.before, _pair(write))) for write in writes}
        self.judged |= {key: outcome for key, outcome in outcomes.items() if outcome is not None}
        return [self._input(write) for write in writes if outcomes[write.key] is None]

    def _input(self, write: RoleWrite) -> Input:
        """The pair that goes, or the types that a pair has and the new ones."""
        if write.action == "remove":
            return Input(_pair(write))
        return Input(_pair(write), tuple(sorted({*self._held_by(write), *_types(write, self.roles.labels)})))

    def _verified(self) -> Links:
        """Read what was written; take back a label that came beside somebody else's, and the mark of an earlier primary."""
        if not self.sent:
            return self.before
        try:
            after = self._read(self.sent)
        except CrmBridgeError as error:
            # It was sent: whoever settles reads back.
            self.answers |= {write.key: Answer(Fate.OPEN, f"UNVERIFIED_{type(error).__name__}") for write in self.sent}
            return self.before
        with suppress(CrmBridgeError):  # then it stays unknown what became of them
            after = self._put_right(self._strayed(after), after)
        for wrong in (self._beside_others(after), self._earlier_primaries(after)):
            with suppress(CrmBridgeError):  # then both stay, and the receipt says so
                after = self._without(wrong, after)
        return self.before | after

    def _read(self, writes: Iterable[RoleWrite]) -> Links:
        return self.roles.links(write.opportunity_id for write in writes)

    def _without(self, wrong: Sequence[Input], links: Links) -> Links:
        for _ in range(_TAKE_BACKS):
            wrong = [one for one in wrong if links[one.pair[0]].get(one.pair[1], {}).keys() & set(one.types)]
            if not wrong:
                break
            batches.archive_labels(self.connection, wrong)
            links = links | self.roles.links(one.pair[0] for one in wrong)
        return links

    def _strayed(self, after: Links) -> dict[Pair, RoleWrite]:
        """Writes that are not where they should be, by the pair of the survivor that they landed on."""
        lost = [write for write in self.put.values() if self._may_have_strayed(write, after)]
        if not lost:
            return {}
        living = survivors(self.connection, CONTACTS, [write.contact_id for write in lost])
        return {(write.opportunity_id, living[write.contact_id]): write for write in lost if write.contact_id in living}

    def _may_have_strayed(self, write: RoleWrite, after: Links) -> bool:
        """Whether a pair is not there, and was passed over in silence, or another one of its deal has got what is its."""
        deal_id, answer = write.opportunity_id, self.answers[write.key]
        if write.contact_id in after[deal_id] or answer.fate is Fate.REFUSED:
            return False
        asked = set(_types(write, self.roles.labels))
        return answer.code == batches.NO_RESULT or any(
            asked <= types.keys() and types.keys() != self._due((deal_id, contact_id))
            for contact_id, types in after[deal_id].items()
        )

    def _put_right(self, strayed: Mapping[Pair, RoleWrite], after: Links) -> Links:
        """Give the survivors back what they had; the writes themselves are refused."""
        if not strayed:
            return after
        due = {pair: self._due(pair) for pair in strayed}
        theirs = {pair: after[pair[0]].get(pair[1], {}).keys() - self._wrong(strayed[pair], due[pair]) for pair in strayed}
        lost = [Input(pair, tuple(sorted({*due[pair], *theirs[pair]}))) for pair in strayed if due[pair] - theirs[pair]]
        batches.create(self.connection, lost)
        batches.archive(self.connection, [Input(pair) for pair in strayed if not due[pair] | theirs[pair]])
        self.answers |= {write.key: Answer(Fate.REFUSED, MERGED_AWAY) for write in strayed.values()}
        wrong = {pair: self._wrong(write, due[pair]) - {UNLABELLED} for pair, write in strayed.items()}
        after = after | self.roles.links(deal_id for deal_id, _ in strayed)
        return self._without([Input(pair, tuple(sorted(types))) for pair, types in wrong.items()], after)

    def _due(self, pair: Pair) -> set[LabelType]:
        """What a pair should have: what it had, and what this wave has given it under its own id."""
        own = self.put.get(pair)
        given = (UNLABELLED, *_types(own, self.roles.labels)) if own else ()
        return {*self.before[pair[0]].get(pair[1], {}), *given}

    def _wrong(self, write: RoleWrite, due: set[LabelType]) -> set[LabelType]:
        """What a strayed write has brought to a pair that should not have it."""
        return {UNLABELLED, *_types(write, self.roles.labels)} - due

    def _beside_others(self, after: Links) -> list[Input]:
        """Our labels, where somebody labelled the same pair in the same moment: theirs stay."""
        found = []
        for write in self.sent:
            ours = {*_types(write, self.roles.labels)} - {UNLABELLED} - self._held_by(write).keys()
            now = after[write.opportunity_id].get(write.contact_id, {}).keys()
            is_refused = self.answers[write.key].fate is Fate.REFUSED
            is_alone = is_as_wanted(write, self.roles.state(after, _pair(write)))
            if write.action == "put" and ours & now and not is_alone and not is_refused:
                found.append(Input(_pair(write), tuple(sorted(ours & now))))
        return found

    def _earlier_primaries(self, after: Links) -> list[Input]:
        """The marks to be taken off, once another contact of the deal has become the primary."""
        primary = self.roles.labels.primary
        if primary is None:
            return []
        risen = [write for write in self.sent if write.is_primary and is_as_wanted(write, self.roles.state(after, _pair(write)))]
        return [
            Input((write.opportunity_id, contact_id), (primary,))
            for write in risen
            for contact_id, types in self.before[write.opportunity_id].items()
            if primary in types and contact_id != write.contact_id
        ]

    def _is_known(self, write: RoleWrite) -> bool:
        return write.key in self.judged or write.key in self.answers

    def _receipt(self, write: RoleWrite, after: Links) -> Receipt:
        was, now = self.roles.state(self.before, _pair(write)), self.roles.state(after, _pair(write))
        if write.key in self.judged:
            return Receipt(key=write.key, outcome=self.judged[write.key], before=now, after=now)
        return receipt(write, self.answers[write.key], was, now)


def _types(write: RoleWrite, labels: Labels) -> list[LabelType]:
    """What a put asks for: its label, the mark of the primary, or the plain association."""
    role = labels.bound(write.role) if write.role is not None else None
    mark = labels.primary if write.is_primary else None
    return [kind for kind in (role, mark) if kind is not None] or [UNLABELLED]


def _pair(write: RoleWrite) -> Pair:
    return write.opportunity_id, write.contact_id


def _not_sent(write: RoleWrite, error: CrmBridgeError | None) -> Receipt:
    code = f"NOT_SENT_{type(error).__name__}"
    return Receipt(key=write.key, outcome=Outcome.UNKNOWN, before=write.expected, after=write.expected, code=code)


def _by_deals(writes: Sequence[RoleWrite]) -> Iterator[list[RoleWrite]]:
    """The writes of a thousand deals at a time."""
    by_deal: dict[str, list[RoleWrite]] = defaultdict(list)
    for write in writes:
        by_deal[write.opportunity_id].append(write)
    groups = iter(by_deal.values())
    while together := list(islice(groups, READ_PER_CALL)):
        yield [write for group in together for write in group]


def _waves(writes: Sequence[RoleWrite]) -> list[list[RoleWrite]]:
    """Deal writes out so that none depends on another of its wave.

    A pair is written once a wave, and so is the primary of a deal: a later write must see what an earlier did.
    """
    dealt: list[list[RoleWrite]] = []
    turns: Counter[tuple[str, str]] = Counter()
    for write in writes:
        needs = [_pair(write), *([(write.opportunity_id, "")] if write.is_primary else [])]
        turn = max(turns[need] for need in needs)
        turns.update({need: turn + 1 - turns[need] for need in needs})
        if turn == len(dealt):
            dealt.append([])
        dealt[turn].append(write)
    return dealt
