"""The roles of many deals as columns, for a pull: what `associations` tells of one pair, told of all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.labels import UNLABELLED, LabelType
from crmbridge.errors import DataError
from crmbridge.model import Entity

_TEXT = pa.string()
_TYPES = pa.list_(pa.struct([("category", _TEXT), ("typeId", pa.int64()), ("label", _TEXT)]))


def role_batch(results: Sequence[Mapping[str, Any]], names: Mapping[LabelType, str], primary: LabelType | None) -> pa.RecordBatch:
    """Turn the answer to a batch/read into roles: one for each label of a pair, or one without a name.

    Args:
        results: of the answer.
        names: of the labels that are defined; the text that comes with a pair serves for others.
        primary: the label that marks the primary, and is no role.

    Raises:
        DataError: something is not where HubSpot has it.
    """
    deals, contacts, pairs, keys, told = _types(results)
    texts = pc.coalesce(pa.array(names.values(), _TEXT).take(pc.index_in(keys, value_set=_keys(*names))), told)
    is_mark = pc.is_in(keys, value_set=_keys(*([primary] if primary else [])))
    is_role = pc.and_(pc.is_valid(texts), pc.invert(is_mark))
    labelled = pairs.filter(is_role)
    plain = pc.unique(pairs)
    plain = plain.filter(pc.invert(pc.is_in(plain, value_set=labelled)))
    rows = pa.concat_arrays([labelled, plain])
    kinds = pa.concat_arrays([keys.filter(is_role), pa.repeat(_keys(UNLABELLED)[0], len(plain))])
    columns = {
        "id": pc.binary_join_element_wise(deals.take(rows), contacts.take(rows), kinds, ":"),
        "opportunity_id": deals.take(rows),
        "contact_id": contacts.take(rows),
        "role": pa.concat_arrays([texts.filter(is_role), pa.nulls(len(plain), _TEXT)]),
        "is_primary": pc.is_in(rows, value_set=pairs.filter(is_mark)),
    }
    roles = canonical(Entity.CONTACT_ROLE, columns, len(rows))
    # A deal that was asked for under two ids is told twice.
    return roles.take(pc.index_in(pc.unique(roles["id"]), value_set=roles["id"]))


def _types(results: Sequence[Mapping[str, Any]]) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array, pa.Array]:
    """Deal and contact of every pair; and of every type the pair's place among those, its key, and the text that came with it."""
    # The number of a contact comes as a number, or as text.
    number = (
        pa.string() if any(isinstance(one["toObjectId"], str) for result in results[:1] for one in result["to"]) else pa.int64()
    )
    linked = pa.list_(pa.struct([("toObjectId", number), ("associationTypes", _TYPES)]))
    try:
        answer = pa.array(results, pa.struct([("from", pa.struct([("id", _TEXT)])), ("to", linked)]))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise DataError("HubSpot sent an association in another form than it describes") from None
    to = pc.struct_field(answer, ["to"])
    pairs = pc.list_flatten(to)
    deals = pc.struct_field(answer, ["from", "id"]).take(pc.list_parent_indices(to))
    types = pc.struct_field(pairs, ["associationTypes"])
    each = pc.list_flatten(types)
    keys = pc.binary_join_element_wise(
        pc.struct_field(each, ["category"]), pc.cast(pc.struct_field(each, ["typeId"]), _TEXT), ":"
    )
    contacts = pc.cast(pc.struct_field(pairs, ["toObjectId"]), _TEXT)
    return deals, contacts, pc.list_parent_indices(types), keys, pc.struct_field(each, ["label"])


def _keys(*types: LabelType) -> pa.Array:
    return pa.array([f"{category}:{number}" for category, number in types], _TEXT)
