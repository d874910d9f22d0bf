"""The association endpoints between deals and contacts, read as roles: in batches, by pair, from raw JSON.

One pair carries several types: the plain one, and one for each label. A role is a label of a pair, and a pair without
labels is one role without a name; its id is `<deal>:<contact>:<category>:<typeId>`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from crmbridge.adapters.hubspot.failures import a_code, exact_code
from crmbridge.adapters.hubspot.labels import CONTACTS, DEALS, UNLABELLED, Labels, LabelType
from crmbridge.adapters.hubspot.rolls import role_batch
from crmbridge.contract import PairState, RoleRow
from crmbridge.errors import CrmUnavailable
from crmbridge.model import ContactRole

if TYPE_CHECKING:
    import pyarrow as pa

    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.adapters.hubspot.portal import Portal

READ_PER_CALL = 1_000

Pair: TypeAlias = tuple[str, str]
"""Deal and contact."""
Types: TypeAlias = dict[LabelType, str | None]
"""The types of one pair, each with the text that came with it."""
Links: TypeAlias = dict[str, dict[str, Types]]
"""By deal and contact; a deal that was asked for is there even where it has none."""

_PASSING = frozenset({"RATE_LIMITS", "RATE_LIMIT", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "GATEWAY_TIMEOUT", "LOCKED"})
"""What passes: the same may be asked again."""
_ANSWERS = frozenset({"OBJECT_NOT_FOUND", "VALIDATION_ERROR"})
"""A deal has no contacts, or is not there."""


class Roles:
    """Reads the roles of deals.

    Attributes:
        labels: of this portal.
        strangers: deals that were told of in the last `links` and had not been asked for: others were merged into them.
    """

    def __init__(self, connection: Connection, portal: Portal) -> None:  # noqa: ARG002
        self.connection = connection
        self.labels = Labels(connection)
        self.strangers: set[str] = set()

    def names(self) -> tuple[str, ...]:
        """The roles that may be written, in the portal's order."""
        return self.labels.offered()

    def read(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        """Give the roles of these deals as they are now; ids that are unknown, or none of HubSpot's, give nothing."""
        for deal_id, contacts in self.linked(dict.fromkeys(opportunity_ids)):
            for contact_id, types in contacts.items():
                for row in self.rows((deal_id, contact_id), types):
                    yield _role(deal_id, contact_id, row)

    def batches(self, deal_ids: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """Give the same of many deals, each named once, in canonical batches.

        Raises:
            CrmUnavailable: no whole answer.
        """
        labels = self.labels
        for inputs in _inputs(deal_ids):
            for results in self._answers(inputs):
                batch = role_batch(results, labels.names, labels.primary)
                if batch.num_rows:
                    yield batch

    def links(self, deal_ids: Iterable[str]) -> Links:
        """The types of every pair of these deals, as they are now."""
        wanted = list(dict.fromkeys(deal_ids))
        self.strangers.clear()
        return {deal_id: {} for deal_id in wanted} | dict(self.linked(wanted))

    def linked(self, deal_ids: Iterable[str]) -> Iterator[tuple[str, dict[str, Types]]]:
        """Give each deal that has contacts, whole, in no order."""
        for inputs in _inputs(deal_ids):
            yield from self._read_whole(inputs).items()

    def state(self, links: Mapping[str, Mapping[str, Types]], pair: Pair) -> PairState:
        """One pair, as the contract tells it."""
        contacts = links[pair[0]]
        primary = self.labels.primary
        marked = [contact_id for contact_id, types in contacts.items() if primary in types]
        return PairState(rows=self.rows(pair, contacts.get(pair[1], {})), primary_contact_id=min(marked, default=None))

    def rows(self, pair: Pair, types: Mapping[LabelType, str | None]) -> tuple[RoleRow, ...]:
        """A pair's roles, sorted by id; none for a pair without types."""
        primary = self.labels.primary
        names = self.labels.names
        told = {kind: names.get(kind, text) for kind, text in types.items() if kind != primary}
        labelled: Types = {kind: text for kind, text in told.items() if text is not None}
        shown = labelled or ({UNLABELLED: None} if types else {})
        rows = (
            RoleRow(id=f"{pair[0]}:{pair[1]}:{category}:{number}", role=text, is_primary=primary in types)
            for (category, number), text in shown.items()
        )
        return tuple(sorted(rows, key=lambda row: row.id))

    def _read_whole(self, inputs: Sequence[Mapping[str, str]]) -> Links:
        """Ask for these deals, and go on where one has more contacts than an answer holds."""
        found: Links = defaultdict(dict)
        for results in self._answers(inputs):
            for result in results:
                _take(result["to"], found[str(result["from"]["id"])])
        return found

    def _answers(self, inputs: Sequence[Mapping[str, str]]) -> Iterator[list[Mapping[str, Any]]]:
        """What HubSpot tells of these deals, an answer at a time; some may need more than one."""
        waiting = list(inputs)
        asked = {one["id"] for one in waiting}
        while waiting:
            body = self.connection.ask("POST", self._path("batch/read"), body={"inputs": waiting[:READ_PER_CALL]})
            _hold_whole(body)
            told = [(str(result["from"]["id"]), result) for result in body["results"]]
            # Of a deal that was merged away, HubSpot tells under the other's id.
            self.strangers.update(deal_id for deal_id, _ in told if deal_id not in asked)
            waiting = waiting[READ_PER_CALL:]
            waiting += [{"id": deal_id, "after": after} for deal_id, one in told if deal_id in asked and (after := _next(one))]
            yield [one for deal_id, one in told if deal_id in asked]

    def _path(self, action: str) -> str:
        return self.connection.paths.associations(DEALS, CONTACTS, action)


def is_id(text: str) -> bool:
    """Whether it may be an id of HubSpot's, to the letter: one of another form would spoil the call for all."""
    return text.isascii() and text.isdigit() and not text.startswith("0")


def _inputs(deal_ids: Iterable[str]) -> Iterator[list[dict[str, str]]]:
    """As many deals as a call asks for, and so on."""
    asked = [{"id": deal_id} for deal_id in deal_ids if is_id(deal_id)]
    for start in range(0, len(asked), READ_PER_CALL):
        yield asked[start : start + READ_PER_CALL]


def error_code(error: Mapping[str, Any]) -> str:
    """The code of one error of a 207: the more exact one, never a message."""
    return exact_code(error) or a_code(error.get("category"))


def is_passing(error: Mapping[str, Any]) -> bool:
    """Whether the same may succeed a moment later."""
    return error.get("category") in _PASSING


def _hold_whole(body: Mapping[str, Any]) -> None:
    """Fail where some deals could not be read; that one has no contacts, or is not there, is an answer."""
    for error in body.get("errors") or ():
        if error.get("category") not in _ANSWERS:
            raise CrmUnavailable(f"HubSpot could not read some associations: {error_code(error)}", hint="run it again")


def _take(entries: Iterable[Mapping[str, Any]], contacts: dict[str, Types]) -> None:
    for entry in entries:
        types = contacts.setdefault(str(entry["toObjectId"]), {})
        types.update(((str(one["category"]), int(one["typeId"])), one.get("label")) for one in entry["associationTypes"])


def _next(result: Mapping[str, Any]) -> str | None:
    after = ((result.get("paging") or {}).get("next") or {}).get("after")
    return None if after is None else str(after)


def _role(deal_id: str, contact_id: str, row: RoleRow) -> ContactRole:
    return ContactRole(id=row.id, opportunity_id=deal_id, contact_id=contact_id, role=row.role, is_primary=row.is_primary)
