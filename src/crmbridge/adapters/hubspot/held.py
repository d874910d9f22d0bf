"""What the snapshot before holds of the links of one kind of records, and which of these records are linked otherwise now.

Nothing in HubSpot tells that a link came or went while its records stayed as they were. Links are a thousand records to a call
and records a hundred, so a night compares all links, and reads the records of those few that differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.hubspot.bunch import Linked
from crmbridge.adapters.hubspot.columns import joined
from crmbridge.model import Entity

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.kinds import Kind
    from crmbridge.contract import EarlierRecords

_TEXT = pa.string()
_ONES: dict[Entity, dict[str, str]] = {
    Entity.CONTACT: {"companies": "account_id"},
    Entity.OPPORTUNITY: {"companies": "account_id"},
    Entity.LEAD: {"contacts": "converted_contact_id", "deals": "converted_opportunity_id"},
    Entity.ACTIVITY: {"deals": "opportunity_id", "companies": "account_id"},
}
"""The one link of a kind that a record tells of itself."""
_PRIMARY_ONLY = frozenset({Entity.CONTACT})
"""Records whose one link is their primary one, and none that merely comes first."""


class Many(NamedTuple):
    """The entity that links of a kind are made into.

    Attributes:
        kind: what is linked to.
        entity: what the links are.
        owner, other: its columns for the two ends.
        tells: a column that says more of a link.
        but: a column of the owner that names a link which is not made into one.
    """

    kind: str
    entity: Entity
    owner: str
    other: str
    tells: str | None = None
    but: str | None = None


MADE_OF_LINKS = {
    Entity.CONTACT: Many("companies", Entity.ACCOUNT_CONTACT_RELATION, "contact_id", "account_id", but="account_id"),
    Entity.OPPORTUNITY: Many("companies", Entity.OPPORTUNITY_ACCOUNT, "opportunity_id", "account_id", tells="is_primary"),
    Entity.ACTIVITY: Many("contacts", Entity.ACTIVITY_PARTICIPANT, "activity_id", "contact_id"),
}


@dataclass(frozen=True)
class Held:
    """Some records of one kind, with their links as the snapshot before has them.

    Attributes:
        kind: of the records.
        many: what links are made into, where they are.
        ids: of the records, as HubSpot numbers them.
        ones: by kind the one link of each record, null for none.
        rows: of every other link the place of its record; ascending.
        links: those links, as `_told` has it.
        but: of each record the link that is not among those.
    """

    kind: Kind
    many: Many | None
    ids: pa.Array
    ones: Mapping[str, pa.Array]
    rows: pa.Array
    links: pa.Array
    but: pa.Array | None

    def some(self, first: int, size: int) -> Iterator[Held]:
        """Cut into parts: the first of so many records at most, even of none, the others of so many."""
        ends = [*range(min(first, len(self.ids)), len(self.ids), size), len(self.ids)]
        for begin, end in pairwise([0, *ends]):
            links = slice(_below(self.rows, begin), _below(self.rows, end))
            yield Held(
                self.kind,
                self.many,
                self.ids[begin:end],
                {kind: column[begin:end] for kind, column in self.ones.items()},
                pc.subtract(self.rows[links], begin),
                self.links[links],
                None if self.but is None else self.but[begin:end],
            )

    def differing(self, now: Mapping[str, Linked]) -> pa.Array:
        """The ids of the records that are linked otherwise now.

        Args:
            now: their links by kind, rows counted from the first of these records.
        """
        differs = pc.is_null(self.ids)
        for kind, held in self.ones.items():
            linked = now[kind]
            one = (linked.the_primary if self.kind.entity in _PRIMARY_ONLY else linked.the_one)(len(self.ids))
            differs = pc.or_(differs, pc.not_equal(pc.fill_null(one, ""), pc.fill_null(held, "")))
        others = self._others(now) if self.many else pa.array([], self.rows.type)
        return self.ids.filter(pc.or_(differs, pc.is_in(_numbers(self.ids), value_set=others)))

    def _others(self, now: Mapping[str, Linked]) -> pa.Array:
        """The places of records with another set of links than before."""
        assert self.many is not None  # noqa: S101 - asked of those only
        linked = now[self.many.kind]
        if self.but is not None:
            own = pc.fill_null(pc.equal(linked.others, self.but.take(linked.rows)), fill_value=False)
            linked = linked.filter(pc.invert(own))
        told = _told(linked.others, linked.is_primary if self.many.tells else None)
        before, present = _keys(self.rows, self.links), _keys(linked.rows, told)
        came = linked.rows.filter(pc.invert(pc.is_in(present, value_set=before)))
        went = self.rows.filter(pc.invert(pc.is_in(before, value_set=present)))
        return pa.concat_arrays([came.cast(self.rows.type), went])


def held(earlier: EarlierRecords, kind: Kind, kinds: Collection[str], known: pa.Array) -> Held:
    """What a snapshot holds of a kind of records, but for those of which more is known already.

    Args:
        earlier: the snapshot.
        kind: of records.
        kinds: whose links can be read.
        known: ids as HubSpot numbers them.
    """
    ones = {to_kind: column for to_kind, column in _ONES.get(kind.entity, {}).items() if to_kind in kinds}
    many = MADE_OF_LINKS.get(kind.entity)
    many = many if many is not None and many.kind in kinds else None
    but = many.but if many is not None else None
    merged = "merged_into_id" if kind.keeps_merged else None
    columns = dict.fromkeys(name for name in (*ones.values(), but, merged) if name is not None)
    records = earlier.columns(kind.entity, "id", *columns)
    records = records.filter(pc.starts_with(records["id"], kind.prefix))
    if merged is not None:
        records = records.filter(pc.is_null(records[merged]))
    numbers = pc.utf8_slice_codeunits(records["id"], len(kind.prefix))
    stay = pc.invert(pc.is_in(numbers, value_set=known))
    records = records.filter(stay).combine_chunks()
    texts = {name: joined(records[name].chunks) for name in ("id", *columns)}
    rows, links = _links(earlier, many, texts["id"]) if many is not None else (pa.array([], pa.int32()), pa.array([], _TEXT))
    return Held(
        kind,
        many,
        joined(numbers.filter(stay).chunks),
        {to_kind: texts[name] for to_kind, name in ones.items()},
        rows,
        links,
        None if but is None else texts[but],
    )


def _links(earlier: EarlierRecords, many: Many, ids: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The links of records, and of each the place of its record."""
    tells = [many.tells] if many.tells else []
    table = earlier.columns(many.entity, many.owner, many.other, *tells)
    table = table.append_column("row", pc.index_in(table[many.owner], value_set=ids))
    table = table.filter(pc.is_valid(table["row"])).sort_by("row")
    rows, others, *told = (table[name].combine_chunks() for name in ("row", many.other, *tells))
    return rows, _told(others, *told)


def _told(others: pa.Array, tells: pa.Array | None = None) -> pa.Array:
    """What is linked to, with what is said of the link behind it."""
    if tells is None:
        return others
    return pc.binary_join_element_wise(others, pc.cast(pc.fill_null(tells, fill_value=False), _TEXT), " ")


def _keys(rows: pa.Array, told: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pc.cast(rows, _TEXT), told, " ")


def _numbers(ids: pa.Array) -> pa.Array:
    return pa.array(range(len(ids)), pa.int32())


def _below(rows: pa.Array, number: int) -> int:
    """How many of some ascending rows are below a number."""
    return int(rows.to_numpy().searchsorted(number))
