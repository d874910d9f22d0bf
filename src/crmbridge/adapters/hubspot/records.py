"""Makes canonical records out of what HubSpot told of one kind, and out of its links."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.hubspot.columns import canonical
from crmbridge.adapters.hubspot.kinds import DEALS, MERGED, Kind, flags, has_left, participant_kinds
from crmbridge.errors import DataError
from crmbridge.model import Entity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crmbridge.adapters.hubspot.bunch import Bunch
    from crmbridge.adapters.hubspot.options import HubSpotOptions
    from crmbridge.adapters.hubspot.portal import Portal

_DAY_LENGTH = len("2024-01-31")


class Records:
    """Those of one portal."""

    def __init__(self, options: HubSpotOptions, portal: Portal) -> None:
        self._options = options
        self._portal = portal

    def made(self, entity: Entity, kind: Kind, some: Bunch) -> list[pa.RecordBatch]:
        """The records of an entity that are in a bunch.

        Raises:
            DataError: a value that does not fit its field.
        """
        try:
            if entity in _OF_LINKS:
                made = [_OF_LINKS[entity](kind, some)]
            else:
                made = [self._records(entity, kind, some), *([_merged(entity, some)] if kind.keeps_merged else [])]
        except pa.ArrowInvalid:
            # Arrow's message holds the value, which may be anybody's.
            raise DataError(f"{entity}: HubSpot sent a moment that is none") from None
        return [batch for batch in made if batch.num_rows]

    def _records(self, entity: Entity, kind: Kind, some: Bunch) -> pa.RecordBatch:
        columns = {name: column(some) for name, column in kind.columns.items()}
        columns |= {name: pa.repeat(text, len(some)) for name, text in kind.constants.items()}
        if kind is DEALS:
            columns |= self._judged(columns, some)
        if entity is Entity.CONTACT and (name := self._options.left_property):
            columns["has_left"] = has_left(some.prop(name))
        if entity is Entity.ACTIVITY:
            columns["id"] = ids(kind, some)
        return canonical(entity, columns, len(some))

    def _judged(self, columns: Mapping[str, pa.Array], some: Bunch) -> dict[str, pa.Array]:
        """Stage, pipeline, closed and won by the stage's metadata; the day of the close in the portal's time zone."""
        known = self._portal.stages
        stages = pc.index_in(columns["stage"], value_set=pa.array(known, pa.string()))

        def told(values: Iterable[object], kind: pa.DataType) -> pa.Array:
            return pa.array(list(values), kind).take(stages)

        labels, pipelines = (told((getattr(one, name) for one in known.values()), pa.string()) for name in ("label", "pipeline"))
        closed, won = (told((getattr(one, name) for one in known.values()), pa.bool_()) for name in ("is_closed", "is_won"))
        return {
            "stage": pc.coalesce(labels, columns["stage"]),
            "record_type": pc.coalesce(pipelines, columns["record_type"]),
            "is_closed": pc.coalesce(flags(closed), some.prop("hs_is_closed")),
            "is_won": pc.coalesce(flags(won), some.prop("hs_is_closed_won")),
            "currency": pc.fill_null(columns["currency"], pa.scalar(self._options.currency, pa.string())),
            "close_date": _days(columns["close_date"], self._portal.time_zone),
        }


def ids(kind: Kind, some: Bunch) -> pa.Array:
    """The canonical ids of records of a kind."""
    return whole_ids(kind, some.top("id"))


def whole_ids(kind: Kind, numbers: pa.Array) -> pa.Array:
    """Canonical ids, by HubSpot's numbers."""
    return pc.binary_join_element_wise(kind.prefix, numbers, "")


def _days(moments: pa.Array, time_zone: str) -> pa.Array:
    """The day, in a time zone, of moments in UTC; a day stays what it is."""
    stamps = pc.cast(moments, pa.timestamp("us", "UTC"))
    local = pc.strftime(pc.cast(stamps, pa.timestamp("us", time_zone)), "%Y-%m-%d")
    return pc.if_else(pc.equal(pc.utf8_length(moments), _DAY_LENGTH), moments, local)


def _merged(entity: Entity, some: Bunch) -> pa.RecordBatch:
    """A row for each id that lives on in another record."""
    gone = pc.split_pattern(some.prop(MERGED), ";")
    names, into = pc.list_flatten(gone), some.top("id").take(pc.list_parent_indices(gone))
    named = pc.not_equal(names, "")
    return canonical(entity, {"id": names.filter(named), "merged_into_id": into.filter(named)}, pc.sum(named).as_py() or 0)


def _participants(kind: Kind, some: Bunch) -> pa.RecordBatch:
    rows, contacts, _ = some.links["contacts"]
    activities = ids(kind, some).take(rows)
    columns = {
        "id": pc.binary_join_element_wise(activities, contacts, ":"),
        "activity_id": activities,
        "contact_id": contacts,
        "kind": participant_kinds(some, kind).take(rows),
        "modified_at": some.top("updatedAt").take(rows),
    }
    return canonical(Entity.ACTIVITY_PARTICIPANT, columns, len(rows))


def _relations(_: Kind, some: Bunch) -> pa.RecordBatch:
    """Companies of a contact besides its own."""
    rows, companies, _ = some.links["companies"]
    is_other = pc.fill_null(pc.not_equal(companies, some.prop("associatedcompanyid").take(rows)), fill_value=True)
    rows, companies = rows.filter(is_other), companies.filter(is_other)
    contacts = some.top("id").take(rows)
    columns = {
        "id": pc.binary_join_element_wise(companies, contacts, ":"),
        "account_id": companies,
        "contact_id": contacts,
        "is_direct": pa.repeat("false", len(rows)),
        "is_active": pa.repeat("true", len(rows)),
        "modified_at": some.top("updatedAt").take(rows),
    }
    return canonical(Entity.ACCOUNT_CONTACT_RELATION, columns, len(rows))


def _deal_companies(_: Kind, some: Bunch) -> pa.RecordBatch:
    rows, companies, is_primary = some.links["companies"]
    deals = some.top("id").take(rows)
    columns = {
        "id": pc.binary_join_element_wise(deals, companies, ":"),
        "opportunity_id": deals,
        "account_id": companies,
        "is_primary": flags(is_primary),
        "modified_at": some.top("updatedAt").take(rows),
    }
    return canonical(Entity.OPPORTUNITY_ACCOUNT, columns, len(rows))


_OF_LINKS = {
    Entity.ACTIVITY_PARTICIPANT: _participants,
    Entity.ACCOUNT_CONTACT_RELATION: _relations,
    Entity.OPPORTUNITY_ACCOUNT: _deal_companies,
}
