"""How things stand now: the snapshot, and what the journal knows that the snapshot does not.

Roles that we wrote since the pull are there, roles that we took back since are gone, and vetoes hold for the person, whichever of
their records they were given for, also for one that was merged into another since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa

from crmbridge.journal import observe_removals
from crmbridge.plan.lend import as_table
from crmbridge.snapshot import Frames, Snapshot
from crmbridge.snapshot.frames import distinct

if TYPE_CHECKING:
    from datetime import datetime

    from crmbridge.journal import Journal

# A contact that was merged away leads to the record it lives on in; a chain ends at the first living record, and so does a cycle.
_KEYED = """
    CREATE OR REPLACE TEMP TABLE "{name}" AS
    WITH RECURSIVE chain AS (
        SELECT DISTINCT contact_id AS id, contact_id AS at_id FROM incoming
        UNION
        SELECT c.id, m.merged_into_id FROM chain c JOIN crm.contact m ON m.id = c.at_id
            ANTI JOIN resolved.contacts k ON k.contact_id = c.at_id
        WHERE m.merged_into_id IS NOT NULL
    )
    SELECT o.opportunity_key, k.person_key, k.contact_id, i.* EXCLUDE (contact_id)
    FROM incoming i JOIN resolved.opportunities o USING (opportunity_id)
    JOIN chain c ON c.id = i.contact_id JOIN resolved.contacts k ON k.contact_id = c.at_id
"""

_UNDONE_SINCE = "SELECT role_id FROM own_rows WHERE ended_by = 'undone' AND ended_at >= $as_of"
_WRITTEN_SINCE = "ended_at IS NULL AND since >= $as_of"

_ROLES_NOW = f"""
    CREATE OR REPLACE TEMP TABLE roles_now AS
    SELECT * FROM resolved.roles ANTI JOIN ({_UNDONE_SINCE}) USING (role_id)
    UNION ALL BY NAME
    SELECT role_id, opportunity_key, person_key, contact_id, role, is_primary, epoch_us(since) // 1000000 AS created_s
    FROM own_roles ANTI JOIN resolved.roles USING (role_id) WHERE {_WRITTEN_SINCE}
"""

# As the CRM itself names them, also people it has deleted: a write is compared with what the CRM says.
_PRIMARIES = f"""
    CREATE OR REPLACE TEMP TABLE primaries AS
    SELECT opportunity_key, min(contact_id) AS primary_contact_id FROM (
        SELECT o.opportunity_key, r.contact_id FROM crm.contact_role r JOIN resolved.opportunities o USING (opportunity_id)
            ANTI JOIN ({_UNDONE_SINCE}) undone ON undone.role_id = r.id
        WHERE r.is_primary AND r.is_deleted IS NOT TRUE
        UNION ALL
        SELECT opportunity_key, contact_id FROM own_roles WHERE is_primary AND {_WRITTEN_SINCE}
    ) GROUP BY opportunity_key
"""


@dataclass(frozen=True)
class Standing:
    """How things stand now; all of it lazy.

    Attributes:
        frames: the snapshot's frames, with `roles` as they are now.
        own: role_id of every role row that we ever wrote: never evidence.
        own_pairs: opportunity_key, person_key of those of them that stand.
        vetoes: opportunity_key, person_key that must never be added.
        primaries: opportunity_key, primary_contact_id where the CRM has one.
    """

    frames: Frames
    own: nw.LazyFrame[Any]
    own_pairs: nw.LazyFrame[Any]
    vetoes: nw.LazyFrame[Any]
    primaries: nw.LazyFrame[Any]


def stand(snapshot: Snapshot, journal: Journal) -> Standing:
    """Lay the journal over the snapshot; temporary tables of its connection, the file is never written."""
    own_roles = journal.own_roles()
    own_pairs = keyed(snapshot, own_roles, "own_roles").filter(nw.col("ended_at").is_null())
    own = table_frame(snapshot, own_roles.select(["role_id", "ended_at", "ended_by"]), "own_rows")
    since = {"as_of": snapshot.meta.as_of}
    snapshot.connection.execute(_ROLES_NOW, since)
    snapshot.connection.execute(_PRIMARIES, since)
    return Standing(
        frames=replace(snapshot.frames(), roles=_kept(snapshot, "roles_now")),
        own=distinct(own, "role_id"),
        own_pairs=distinct(own_pairs, "opportunity_key", "person_key"),
        vetoes=distinct(keyed(snapshot, journal.vetoes.active(), "vetoes"), "opportunity_key", "person_key"),
        primaries=_kept(snapshot, "primaries"),
    )


def vetoes_of_person(snapshot: Snapshot, journal: Journal, opportunity_id: str, contact_id: str) -> set[tuple[str, str]]:
    """The vetoed pairs of the opportunity that speak of the same person, whichever of their records they were given for."""
    active = journal.vetoes.active()
    vetoed = keyed(snapshot, active.append_column("vetoed_id", active["contact_id"]), "vetoes")
    asked = keyed(snapshot, pa.table({"opportunity_id": [opportunity_id], "contact_id": [contact_id]}), "asked_pair")
    same = vetoed.join(asked.select("opportunity_key", "person_key"), on=["opportunity_key", "person_key"], how="semi")
    return {(opportunity_id, found) for found in same.collect("pyarrow").to_native()["vetoed_id"].to_pylist()}


def keyed(snapshot: Snapshot, pairs: pa.Table, name: str) -> nw.LazyFrame[Any]:
    """Find the keys of (opportunity_id, contact_id), merges followed; what the snapshot does not know drops out.

    Args:
        snapshot: where to look.
        pairs: opportunity_id, contact_id and any other columns.
        name: of the temporary table.

    Returns:
        opportunity_key, person_key, contact_id (the living record's), and the other columns; at most one row per row of `pairs`.
    """
    with as_table(snapshot.connection, pairs, "incoming"):
        snapshot.connection.execute(_KEYED.format(name=name))
    return _kept(snapshot, name)


def table_frame(snapshot: Snapshot, table: pa.Table, name: str) -> nw.LazyFrame[Any]:
    """Make a table joinable with the snapshot's frames, under the name of a temporary table."""
    with as_table(snapshot.connection, table, "incoming"):
        snapshot.connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS FROM incoming')
    return _kept(snapshot, name)


def see_removals(snapshot: Snapshot, journal: Journal, *, pulled_at: datetime) -> int:
    """Veto the pairs whose role of ours a person removed before a complete pull; returns how many are new.

    Only what concerns our own pairs leaves the snapshot: a million contacts cost no memory.
    """
    own = journal.own_pairs(written_before=pulled_at)
    if not own.num_rows:
        return 0
    read = snapshot.connection
    with as_table(snapshot.connection, own, "incoming"):
        present = read.sql(
            """SELECT DISTINCT opportunity_id, contact_id FROM crm.contact_role
            SEMI JOIN incoming USING (opportunity_id, contact_id) WHERE is_deleted IS NOT TRUE"""
        ).to_arrow_table()
        opportunities = read.sql("SELECT opportunity_id FROM resolved.opportunities SEMI JOIN incoming USING (opportunity_id)")
        contacts = read.sql("SELECT contact_id FROM resolved.contacts SEMI JOIN incoming USING (contact_id)")
        return observe_removals(
            journal,
            present_pairs=present,
            live_opportunity_ids=opportunities.to_arrow_table()["opportunity_id"],
            live_contact_ids=contacts.to_arrow_table()["contact_id"],
            pulled_at=pulled_at,
        )


def _kept(snapshot: Snapshot, name: str) -> nw.LazyFrame[Any]:
    return nw.from_native(snapshot.connection.table(f'temp.main."{name}"'))
