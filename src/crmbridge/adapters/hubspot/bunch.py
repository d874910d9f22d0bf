"""Records of one kind as columns: JSON is taken apart once for thousands of them, and never record by record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.errors import DataError

Found: TypeAlias = Mapping[str, Any]
"""One record as HubSpot tells it: id, properties, createdAt, updatedAt, and in a listing its associations."""
LookUp: TypeAlias = Callable[[str, pa.Array], pa.Table]
"""Gives the links to a kind that some records have, by their ids: columns as in `LINKS`, in any order, more than once or not."""

_TEXT = pa.string()
LINKS = pa.schema([("id", _TEXT), ("other", _TEXT), ("is_primary", pa.bool_())])
_LINKED = pa.struct([("id", _TEXT), ("type", _TEXT)])
_SOME = pa.struct([("results", pa.list_(_LINKED)), ("paging", pa.struct([("next", pa.struct([("after", _TEXT)]))]))])
_PRIMARY_TYPES = pa.array(["deal_to_company", "contact_to_company"])


class Linked(NamedTuple):
    """What the records of a bunch are linked to, once each: of every record the primary one first, then the lowest numbers.

    Attributes:
        rows: which record of the bunch, counted from 0; ascending.
        others: what it is linked to.
        is_primary: whether that is the primary one.
    """

    rows: pa.Array
    others: pa.Array
    is_primary: pa.Array

    def the_one(self, records: int) -> pa.Array:
        """Of each record the one it is linked to: the primary, else the one with the lowest number; null for none."""
        # A value is found where it stands first, and that is a record's first link.
        return self.others.take(pc.index_in(pa.array(range(records), self.rows.type), value_set=self.rows))

    def the_primary(self, records: int) -> pa.Array:
        """Of each record the primary one that it is linked to; null for none."""
        return self.filter(self.is_primary).the_one(records)

    def filter(self, mask: pa.Array) -> Linked:
        """Some of them."""
        return Linked(*(column.filter(mask) for column in self))


@dataclass(frozen=True)
class Bunch:
    """Some records of one kind.

    Attributes:
        told: a row each, as HubSpot tells them.
        links: by kind.
    """

    told: pa.StructArray
    links: Mapping[str, Linked]

    def __len__(self) -> int:
        return len(self.told)

    def top(self, name: str) -> pa.Array:
        """`id`, `createdAt` or `updatedAt`."""
        return pc.struct_field(self.told, [name])

    def prop(self, name: str) -> pa.Array:
        """A property; HubSpot's blank is none."""
        texts = pc.struct_field(self.told, ["properties", name])
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, _TEXT), texts)

    def the_one(self, kind: str) -> pa.Array:
        """The one linked record of a kind: the primary, else the one with the lowest number."""
        return self.links[kind].the_one(len(self))


def bunch(
    records: Sequence[Found], properties: Sequence[str], kinds: Sequence[str], look_up: LookUp, *, tell_links: bool
) -> Bunch:
    """Take records apart.

    Args:
        records: as they came.
        properties: those that are wanted.
        kinds: whose links are wanted.
        look_up: asked for links that the records do not tell, or not all of them.
        tell_links: whether they tell any: those of a listing do, those of a search do not.

    Raises:
        DataError: something that is always text is none.
    """
    told = _told(records, properties, kinds)
    ids = pc.struct_field(told, ["id"])
    links = {}
    for kind in kinds:
        more = pc.is_valid(pc.struct_field(told, ["associations", kind, "paging", "next", "after"]))
        lacking = ids.filter(more) if tell_links else ids
        inline = _inline(told, kind)
        links[kind] = _linked(_completed(inline, ids, lacking, look_up(kind, lacking)) if len(lacking) else inline)
    return Bunch(told, links)


def linked(found: pa.Table, ids: pa.Array) -> Linked:
    """Links as `LookUp` gives them, of these records.

    Args:
        found: may hold others' as well.
        ids: of the records, in their order.
    """
    rows = pc.index_in(found["id"], value_set=ids)
    return _linked(found.set_column(0, "row", rows).filter(pc.is_valid(rows)))


def _told(records: Sequence[Found], properties: Sequence[str], kinds: Sequence[str]) -> pa.StructArray:
    wanted = [*((name, _TEXT) for name in ("id", "createdAt", "updatedAt"))]
    wanted += [("properties", pa.struct([(name, _TEXT) for name in dict.fromkeys(properties)]))]
    wanted += [("associations", pa.struct([(kind, _SOME) for kind in kinds]))]
    try:
        return pa.array(records, pa.struct(wanted))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Arrow's message may hold the value, which may be anybody's.
        raise DataError("HubSpot sent a record in which something is no text") from None


def _inline(told: pa.StructArray, kind: str) -> pa.Table:
    """Links as a listing tells them: an id once for each of its types."""
    results = pc.struct_field(told, ["associations", kind, "results"])
    linked = pc.list_flatten(results)
    is_primary = pc.is_in(pc.struct_field(linked, ["type"]), value_set=_PRIMARY_TYPES)
    return pa.table({"row": pc.list_parent_indices(results), "other": pc.struct_field(linked, ["id"]), "is_primary": is_primary})


def _completed(inline: pa.Table, ids: pa.Array, lacking: pa.Array, found: pa.Table) -> pa.Table:
    """The links that a listing tells, but for those records of which it does not tell all."""
    rows = pc.index_in(lacking, value_set=ids)
    told = inline.filter(pc.invert(pc.is_in(inline["row"], value_set=rows)))
    more = found.set_column(0, "row", pc.index_in(found["id"], value_set=ids)).cast(inline.schema)
    return pa.concat_tables([told, more.filter(pc.is_valid(more["row"]))])


def _linked(links: pa.Table) -> Linked:
    once = links.group_by(["row", "other"], use_threads=False).aggregate([("is_primary", "max")])
    ordered = once.append_column("digits", pc.utf8_length(once["other"])).sort_by(
        [("row", "ascending"), ("is_primary_max", "descending"), ("digits", "ascending"), ("other", "ascending")]
    )
    return Linked(*(ordered[name].combine_chunks() for name in ("row", "other", "is_primary_max")))
