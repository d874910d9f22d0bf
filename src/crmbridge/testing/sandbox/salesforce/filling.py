"""How one object is filled from the canonical tables: SQL per field, ids by the map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crmbridge.testing.sandbox.salesforce import ids

if TYPE_CHECKING:
    import duckdb

    from crmbridge.model import Entity
    from crmbridge.testing.sandbox.salesforce.store import Store


class Filler:
    """Fills one object after the other.

    Args:
        store: what is filled.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.connection: duckdb.DuckDBPyConnection = store.connection

    def fill(self, name: str, source: str, fields: Mapping[str, str], links: Mapping[str, tuple[Entity, str]]) -> None:
        """Fill an object.

        Args:
            name: of the object.
            source: a table or subquery, spoken of as `w`.
            fields: field -> SQL over `w`; fields that the org does not have are left out.
            links: field -> (entity, the column of `w` with its canonical id); `Id` among them.
        """
        known = self.store.schema.stored[name].by_name
        shown = [f'{sql} AS "{field}"' for field, sql in fields.items() if field.lower() in known]
        joins = []
        for place, (field, (entity, column)) in enumerate(links.items()):
            shown.append(f'j{place}.sf_id AS "{field}"')
            joins.append(f"LEFT JOIN ids.{entity} j{place} ON j{place}.canonical_id = w.{column}")
        self.connection.execute(
            f'INSERT INTO "{name}" BY NAME SELECT {", ".join(shown)} FROM {source} w {" ".join(joins)} {self._guard(name)}'
        )

    def _guard(self, name: str) -> str:
        return "WHERE NOT coalesce(w.is_deleted, false)" if name == "OpportunityContactRole" else ""


def second(column: str) -> str:
    """SQL of a moment in whole seconds: Salesforce keeps no fractions."""
    return f"date_trunc('second', {column}::TIMESTAMP)"


def stamps(created: str = "w.created_at") -> dict[str, str]:
    """SQL of the fields that every object has."""
    changed = second(f"coalesce(w.modified_at, {created}, TIMESTAMPTZ '2020-01-01 00:00:00+00')")
    return {
        "CreatedDate": second(created),
        "LastModifiedDate": changed,
        "SystemModstamp": changed,
        "IsDeleted": "coalesce(w.is_deleted, false)",
    }


def merged_stamps() -> dict[str, str]:
    """The same for objects that can be merged: a loser counts as deleted."""
    return stamps() | {"IsDeleted": "coalesce(w.is_deleted, false) OR w.merged_into_id IS NOT NULL"}


NO_CREATION = "NULL::TIMESTAMPTZ"


def map_ids(store: Store, sources: Mapping[Entity, str]) -> None:
    """Make `ids.<entity>` (canonical_id, object, sf_id) of a SELECT of canonical_id, object, prefix for each entity.

    All in one go: planning the SQL of an id costs more than running it on a small world.
    """
    parts = [f"SELECT '{entity}' AS entity, canonical_id, object, prefix FROM ({sql})" for entity, sql in sources.items()]
    named = f"(SELECT * FROM ({' UNION ALL '.join(parts)}) WHERE canonical_id IS NOT NULL)"
    store.connection.execute(f"CREATE TABLE w.mapped AS {ids.made_from_sql('prefix', 'canonical_id', named)}")
    for entity in sources:
        store.connection.execute(
            f"CREATE TABLE ids.{entity} AS SELECT canonical_id, object, sf_id FROM w.mapped WHERE entity = '{entity}'"
        )
    store.connection.execute("DROP TABLE w.mapped")
