"""Streams entities out of Salesforce: small objects by REST pages, large ones by the Bulk API, as few calls as either allows."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from crmbridge.adapters.salesforce import bulk_query, composite
from crmbridge.adapters.salesforce.columns import canonical, text_table
from crmbridge.adapters.salesforce.failures import Refusal
from crmbridge.adapters.salesforce.ids import is_id, long_id, short_id
from crmbridge.errors import CrmUnavailable
from crmbridge.model import ContactRole, Entity, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from crmbridge.adapters.salesforce.connection import Connection
    from crmbridge.adapters.salesforce.mapping import Source

OVERLAP = timedelta(minutes=10)
"""How far before `since` an incremental read begins: a long transaction shows its changes after their time stamp."""

_MOST_ROWS = 100_000
_RESTARTS = 3
_FEW_IDS = 200
_NOT_FOR_BULK = 400
_CURSOR_EXPIRED = "INVALID_QUERY_LOCATOR"
_ROLE_FIELDS = ("Id", "OpportunityId", "ContactId", "Role", "IsPrimary", "CreatedById", "CreatedDate", "SystemModstamp")
_ROLES_OF = f"SELECT {', '.join(_ROLE_FIELDS)} FROM OpportunityContactRole WHERE OpportunityId IN "
_CONTACTS = "SELECT Id FROM Contact WHERE Id IN "


class Reader:
    """Reads over one connection.

    Args:
        connection: where to read.
        names: the objects whose sizes are asked for together, before the first large read.
    """

    def __init__(self, connection: Connection, names: Sequence[str]) -> None:
        self._connection = connection
        self._names = names
        self._sizes: dict[str, int] | None = None

    def read(self, entity: Entity, sources: Sequence[Source], since: datetime | None) -> Iterator[pa.RecordBatch]:
        """Give an entity's records, or those changed at or after `since` and a little before.

        Raises:
            DataError: a value that does not fit its field.
            CrmUnavailable, CrmRefused: see `Connection`.
        """
        start = since - OVERLAP if since is not None else None
        for source in sources:
            for table in self.tables(source, start):
                yield from batches(entity, source, table)

    def tables(self, source: Source, since: datetime | None) -> Iterator[pa.Table]:
        """Give a source's columns of text, as selected."""
        expected = self._size(source.object_name) if since is None else 0
        if expected >= self._connection.options.bulk_read_rows:
            job_id = self._submitted(source, since)
            if job_id is not None:
                yield from bulk_query.tables(self._connection, job_id, source.paths, expected_rows=expected)
                return
        yield from self.pages(source, since)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """About how many records objects hold, in one call; what Salesforce does not say is left out."""
        try:
            answer = self._connection.get(f"limits/recordCount?sObjects={','.join(names)}")
            return {item["name"]: int(item["count"]) for item in answer["sObjects"]}
        except (Refusal, KeyError, TypeError, ValueError):
            return {}

    def read_roles(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        """Give the roles of these opportunities as they are now, under the ids as they were asked for."""
        asked = {long_id(text): text for text in opportunity_ids if is_id(text)}
        for _, page in self._listed((_ROLES_OF, list(asked))):
            yield from _roles(page, asked)

    def roles_and_visible(
        self, opportunity_ids: Sequence[str], contact_ids: Sequence[str]
    ) -> tuple[list[ContactRole], frozenset[str]]:
        """Give the roles of opportunities, and say which of these contacts exist, are not deleted, and may be seen.

        Args:
            opportunity_ids: in their long form.
            contact_ids: likewise.
        """
        asked = {text: text for text in opportunity_ids if is_id(text)}
        contacts = dict.fromkeys(text for text in contact_ids if is_id(text))
        roles: list[ContactRole] = []
        visible: set[str] = set()
        for lookup, page in self._listed((_ROLES_OF, list(asked)), (_CONTACTS, list(contacts))):
            if lookup == _CONTACTS:
                visible.update(long_id(record["Id"]) for record in page)
            else:
                roles += _roles(page, asked)
        return roles, frozenset(visible)

    def _listed(self, *lookups: tuple[str, Sequence[str]]) -> Iterator[tuple[str, list[dict[str, str]]]]:
        """Give pages of queries whose last condition lists ids, each with its query; in as few calls as their addresses allow."""
        counts = [-(-len(ids) // self._connection.room_for_ids(select)) for select, ids in lookups]
        if sum(counts) > 1:
            # A call with fewer queries costs the same: the first, spread over what is left, less often takes a second page.
            spare = -sum(counts) % composite.QUERIES_PER_CALL
            counts[0] = max(counts[0], min(counts[0] + spare, len(lookups[0][1]) // _FEW_IDS))
        queries = [
            (select, soql)
            for (select, ids), count in zip(lookups, counts, strict=True)
            for soql in _spread(select, sorted(short_id(text) for text in ids), count)
        ]
        for place, page in composite.pages(self._connection, [soql for _, soql in queries]):
            if page:
                yield queries[place][0], page

    def _size(self, object_name: str) -> int:
        if self._sizes is None:
            self._sizes = self.sizes(self._names)
        return self._sizes.get(object_name, 0)

    def pages(self, source: Source, since: datetime | None) -> Iterator[pa.Table]:
        """Read by REST; where the first page tells of a large result, by the Bulk API after all."""
        seen: list[pa.ChunkedArray] = []
        for _ in range(_RESTARTS):
            known = pa.chunked_array([chunk for ids in seen for chunk in ids.chunks], pa.string())
            try:
                for page in self._connection.query(source.soql(since), everything=source.everything):
                    if not seen and (job_id := self._better_by_bulk(source, since, page)) is not None:
                        rows = int(page["totalSize"])
                        yield from bulk_query.tables(self._connection, job_id, source.paths, expected_rows=rows)
                        return
                    table = _unseen(text_table(page["records"], source.paths), known)
                    seen.append(table["Id"])
                    if len(table):
                        yield table
            except Refusal as refusal:
                if refusal.code != _CURSOR_EXPIRED:
                    raise
            else:
                return
        raise CrmUnavailable(f"the cursor over {source.object_name} expired {_RESTARTS} times")

    def _better_by_bulk(self, source: Source, since: datetime | None, page: Mapping[str, object]) -> str | None:
        total = page["totalSize"]
        is_large = isinstance(total, int) and total >= self._connection.options.bulk_read_rows
        return self._submitted(source, since) if is_large and not page["done"] else None

    def _submitted(self, source: Source, since: datetime | None) -> str | None:
        """Start a job; None where this object is not for the Bulk API, which REST can read all the same."""
        try:
            return bulk_query.submit(self._connection, source.soql(since), everything=source.everything)
        except Refusal as refusal:
            if refusal.status != _NOT_FOR_BULK:
                raise
            return None


def batches(entity: Entity, source: Source, table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Shape a table of text into canonical batches of at most 100,000 rows."""
    for start in range(0, len(table), _MOST_ROWS):
        part = table.slice(start, _MOST_ROWS).combine_chunks()
        texts = {name: part[name].chunk(0) for name in part.column_names}
        yield canonical(entity, source.shape(texts, len(part)), len(part))


def _unseen(table: pa.Table, known: pa.ChunkedArray) -> pa.Table:
    """Leave out what an expired cursor has given already."""
    return table.filter(pc.invert(pc.is_in(table["Id"], known))) if len(known) else table


def _spread(select: str, ids: Sequence[str], count: int) -> Iterator[str]:
    """Spread ids evenly over so many queries."""
    bounds = [len(ids) * number // count for number in range(count + 1)] if count else []
    for start, end in pairwise(bounds):
        if start < end:
            listed = ",".join(f"'{text}'" for text in ids[start:end])
            yield f"{select}({listed})"


def _roles(page: Sequence[Mapping[str, object]], asked: Mapping[str, str]) -> Iterator[ContactRole]:
    batch = canonical(Entity.CONTACT_ROLE, _role_columns(page), len(page))
    for role in records(Entity.CONTACT_ROLE, batch):
        if isinstance(role, ContactRole) and role.opportunity_id in asked:
            yield role.model_copy(update={"opportunity_id": asked[role.opportunity_id]})


def _role_columns(page: Sequence[Mapping[str, object]]) -> dict[str, pa.Array]:
    columns = text_table(page, _ROLE_FIELDS)
    named = dict(zip(_ROLE_FIELDS, _ROLE_NAMES, strict=True))
    return {named[path]: columns[path].combine_chunks() for path in _ROLE_FIELDS}


_ROLE_NAMES = ("id", "opportunity_id", "contact_id", "role", "is_primary", "created_by_id", "created_at", "modified_at")
