"""The answer to a batch/read of associations as columns, for whoever reads many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.errors import DataError

_TEXT = pa.string()
_TYPES = pa.list_(pa.struct([("category", _TEXT), ("typeId", pa.int64()), ("label", _TEXT)]))


class Pairs(NamedTuple):
    """Pairs of linked records, and the types of their links.

    Attributes:
        ids: of every pair the record that was asked for.
        others: what it is linked to.
        of_pair: of every type the pair's place among those.
        types: its category and number, with a colon between.
        texts: what came with it.
    """

    ids: pa.Array
    others: pa.Array
    of_pair: pa.Array
    types: pa.Array
    texts: pa.Array

    def are(self, types: pa.Array) -> pa.Array:
        """Whether each pair is of any of these types."""
        return pc.is_in(pa.array(range(len(self.ids)), self.of_pair.type), value_set=self.of_pair.filter(self.typed(types)))

    def typed(self, types: pa.Array) -> pa.Array:
        """Whether each type is any of these."""
        return pc.is_in(self.types, value_set=types)


def type_keys(*types: tuple[str, int]) -> pa.Array:
    """Types as `Pairs` tells them, by category and number."""
    return pa.array([f"{category}:{number}" for category, number in types], _TEXT)


def pairs_of(results: Sequence[Mapping[str, Any]]) -> Pairs:
    """Take the results of an answer apart.

    Raises:
        DataError: something is not where HubSpot has it.
    """
    try:
        # The number of a record comes as a number, or as text.
        told = next((one["toObjectId"] for result in results for one in result["to"]), 0)
        number = _TEXT if isinstance(told, str) else pa.int64()
        linked = pa.list_(pa.struct([("toObjectId", number), ("associationTypes", _TYPES)]))
        answer = pa.array(results, pa.struct([("from", pa.struct([("id", _TEXT)])), ("to", linked)]))
    except (KeyError, pa.ArrowInvalid, pa.ArrowTypeError):
        raise DataError("HubSpot sent an association in another form than it describes") from None
    to = pc.struct_field(answer, ["to"])
    each = pc.list_flatten(to)
    types = pc.struct_field(each, ["associationTypes"])
    flat = pc.list_flatten(types)
    numbers = pc.cast(pc.struct_field(flat, ["typeId"]), _TEXT)
    return Pairs(
        ids=pc.struct_field(answer, ["from", "id"]).take(pc.list_parent_indices(to)),
        others=pc.cast(pc.struct_field(each, ["toObjectId"]), _TEXT),
        of_pair=pc.list_parent_indices(types),
        types=pc.binary_join_element_wise(pc.struct_field(flat, ["category"]), numbers, ":"),
        texts=pc.struct_field(flat, ["label"]),
    )
