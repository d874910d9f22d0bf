"""The roles of many deals as columns, for a pull: what `associations` tells of one pair, told of all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.labels import UNLABELLED, LabelType
from crmbridge.adapters.hubspot.pairs import pairs_of, type_keys
from crmbridge.model import Entity

_TEXT = pa.string()


def role_batch(results: Sequence[Mapping[str, Any]], names: Mapping[LabelType, str], primary: LabelType | None) -> pa.RecordBatch:
    """Turn the answer to a batch/read into roles: one for each label of a pair, or one without a name.

    Args:
        results: of the answer.
        names: of the labels that are defined; the text that comes with a pair serves for others.
        primary: the label that marks the primary, and is no role.

    Raises:
        DataError: something is not where HubSpot has it.
    """
    pairs = pairs_of(results)
    marks = type_keys(*([primary] if primary else []))
    texts = pc.coalesce(pa.array(names.values(), _TEXT).take(pc.index_in(pairs.types, value_set=type_keys(*names))), pairs.texts)
    is_role = pc.and_(pc.is_valid(texts), pc.invert(pairs.typed(marks)))
    labelled = pairs.of_pair.filter(is_role)
    plain = pc.unique(pairs.of_pair)
    plain = plain.filter(pc.invert(pc.is_in(plain, value_set=labelled)))
    rows = pa.concat_arrays([labelled, plain])
    kinds = pa.concat_arrays([pairs.types.filter(is_role), pa.repeat(type_keys(UNLABELLED)[0], len(plain))])
    deals, contacts = pairs.ids.take(rows), pairs.others.take(rows)
    columns = {
        "id": pc.binary_join_element_wise(deals, contacts, kinds, ":"),
        "opportunity_id": deals,
        "contact_id": contacts,
        "role": pa.concat_arrays([texts.filter(is_role), pa.nulls(len(plain), _TEXT)]),
        "is_primary": pairs.are(marks).take(rows),
    }
    roles = canonical(Entity.CONTACT_ROLE, columns, len(rows))
    # A deal that was asked for under two ids is told twice.
    return roles.take(pc.index_in(pc.unique(roles["id"]), value_set=roles["id"]))
