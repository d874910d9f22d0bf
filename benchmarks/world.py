"""A large synthetic CRM as Parquet files in the canonical schemas, written by DuckDB alone, and an adapter that reads them.

For n opportunities: 0.4 n accounts, 2.5 n contacts, 0.5 n leads, 5 n activities with 6 n participants, 5 n campaign members,
0.6 n contact roles. Ids are 18 characters long, as in Salesforce. Account sizes have a heavy tail: the largest account holds
about n / 250 contacts and opportunities. Every choice is a hash of the row number and the seed: the same world every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from crmbridge.contract import Capabilities, WriteGuard
from crmbridge.model import Entity, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

READ_ROWS = 100_000

# u(i, salt): uniform in [0, 1); tail(...): a power law over 0 .. size - 1, so that low numbers are chosen far more often.
_MACROS = (
    "u(i, salt) AS (hash(i, salt, {seed}) >> 11)::DOUBLE / 9007199254740992.0",
    "pick(i, salt, size) AS floor(u(i, salt) * size)::BIGINT",
    "tail(i, salt, size) AS floor(size * pow(u(i, salt), 2.2))::BIGINT",
    "sfid(prefix, i) AS prefix || lpad(i::TEXT, 15, '0')",
    "moment(i, salt) AS TIMESTAMPTZ '2022-01-01 00:00:00+00' + to_seconds(pick(i, salt, 140000000))",
)

_WORLD: dict[Entity, tuple[float, str]] = {
    Entity.ACCOUNT: (
        0.4,
        """sfid('001', i) AS id, 'Company ' || i AS name,
        CASE WHEN u(i, 'web') < 0.7 THEN 'https://www.company' || i || '.com/' END AS website,
        CASE pick(i, 'type', 10) WHEN 0 THEN 'Partner' WHEN 1 THEN 'Competitor' ELSE 'Customer' END AS type,
        sfid('005', pick(i, 'owner', 200)) AS owner_id, moment(i, 'created') AS created_at""",
    ),
    Entity.CONTACT: (
        2.5,
        """sfid('003', i) AS id, CASE WHEN u(i, 'has account') < 0.97 THEN sfid('001', account) END AS account_id,
        ['Anna', 'Bob', 'Chloe', 'Dieter', 'Elena', 'Farid', 'Greta', 'Hugo'][1 + pick(i, 'first', 8)] AS first_name,
        'Name' || pick(i, 'last', 50000) AS last_name, CASE WHEN u(i, 'has mail') < 0.85 THEN
            CASE WHEN u(i, 'same') < 0.02 THEN 'person' || (i // 2) ELSE 'person' || i END || '@' ||
            CASE WHEN u(i, 'free') < 0.1 THEN 'gmail.com' ELSE 'company' || account || '.com' END END AS email,
        ['CEO', 'Head of Sales', 'Engineer', 'VP Marketing', 'Einkäufer', 'Directeur', NULL][1 + pick(i, 'title', 7)] AS title,
        u(i, 'left') < 0.03 AS has_left, sfid('005', pick(i, 'owner', 200)) AS owner_id, moment(i, 'created') AS created_at""",
    ),
    Entity.LEAD: (
        0.5,
        """sfid('00Q', i) AS id, 'Anna' AS first_name, 'Lead' || i AS last_name,
        'lead' || i || '@company' || account || '.com' AS email,
        i % 4 = 0 AS is_converted, CASE WHEN i % 4 = 0 THEN moment(i, 'converted') END AS converted_at,
        CASE WHEN i % 4 = 0 THEN sfid('003', pick(i, 'contact', {contacts})) END AS converted_contact_id,
        CASE WHEN i % 8 = 0 THEN sfid('006', pick(i, 'opportunity', {n})) END AS converted_opportunity_id,
        moment(i, 'created') AS created_at""",
    ),
    Entity.OPPORTUNITY: (
        1.0,
        """sfid('006', i) AS id, sfid('001', account) AS account_id, 'Deal ' || i AS name,
        (1000 + pick(i, 'amount', 500000))::DECIMAL(22, 4) AS amount, 'EUR' AS currency,
        ['Won', 'Lost', 'Open'][1 + pick(i, 'stage', 3)] AS stage, pick(i, 'stage', 3) < 2 AS is_closed,
        pick(i, 'stage', 3) = 0 AS is_won, DATE '2022-03-01' + pick(i, 'close', 1600)::INT AS close_date, 'New' AS type,
        sfid('005', pick(i, 'owner', 200)) AS owner_id,
        TIMESTAMPTZ '2022-01-01 00:00:00+00' + to_days(pick(i, 'close', 1600)::INT) AS created_at""",
    ),
    Entity.CONTACT_ROLE: (
        0.6,
        """sfid('00K', i) AS id, sfid('006', pick(i, 'opportunity', {n})) AS opportunity_id,
        sfid('003', coalesce(people[1 + pick(i, 'contact', len(people))], pick(i, 'contact', {contacts}))) AS contact_id,
        'Decision Maker' AS role, u(i, 'primary') < 0.5 AS is_primary,
        moment(i, 'created') AS created_at""",
    ),
    Entity.CAMPAIGN: (0.0, "sfid('701', i) AS id, 'Campaign ' || i AS name, 'Webinar' AS type"),
    Entity.CAMPAIGN_MEMBER: (
        5.0,
        """sfid('00v', i) AS id, sfid('701', pick(i, 'campaign', 500)) AS campaign_id,
        CASE WHEN i % 10 > 0 THEN sfid('003', tail(i, 'contact', {contacts})) END AS contact_id,
        CASE WHEN i % 10 = 0 THEN sfid('00Q', pick(i, 'lead', {leads})) END AS lead_id, 'Responded' AS status,
        u(i, 'responded') < 0.4 AS has_responded,
        CASE WHEN u(i, 'responded') < 0.4 THEN moment(i, 'response') END AS responded_at,
        moment(i, 'created') AS created_at""",
    ),
    Entity.ACTIVITY: (
        5.0,
        """sfid('00T', i) AS id, ['task', 'call', 'email', 'meeting'][1 + pick(i, 'kind', 4)] AS kind,
        CASE WHEN u(i, 'about') < 0.4 AND deals IS NOT NULL THEN sfid('006', deals[1 + pick(i, 'deal', len(deals))]) END
            AS opportunity_id,
        CASE WHEN u(i, 'on account') < 0.5 THEN sfid('001', account) END AS account_id, moment(i, 'occurred') AS occurred_at,
        sfid('005', pick(i, 'owner', 200)) AS owner_id""",
    ),
    Entity.ACTIVITY_PARTICIPANT: (
        6.0,
        """sfid('00A', i) AS id, sfid('00T', i % {activities}) AS activity_id,
        CASE WHEN i < {activities} THEN sfid('003', tail(i, 'talks with', {contacts}))
            WHEN i % 20 > 1 THEN sfid('003', tail(i, 'contact', {contacts})) END AS contact_id,
        CASE WHEN i >= {activities} AND i % 20 = 1 THEN sfid('00Q', pick(i, 'lead', {leads})) END AS lead_id,
        CASE WHEN i >= {activities} AND i % 20 = 0 THEN 'person' || pick(i, 'contact', {contacts}) || '@gmail.com' END AS email,
        CASE WHEN i % 3 = 0 THEN 'attendee' ELSE 'who' END AS kind""",
    ),
    Entity.USER: (
        0.0,
        "sfid('005', i) AS id, 'User ' || i AS name, 'user' || i || '@ourselves.example' AS email, 'Team ' || i % 8 AS team",
    ),
}
"""Entity -> rows per opportunity (0: a fixed small number) and the columns that are not null, over `i` and `account`."""

_FIXED = {Entity.CAMPAIGN: 500, Entity.USER: 200}


def write_world(folder: Path, *, opportunities: int, seed: int = 7) -> dict[Entity, int]:
    """Write one Parquet file per entity into `folder`; return how many rows each holds."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {entity: _FIXED.get(entity, int(share * opportunities)) for entity, (share, _) in _WORLD.items()}
    numbers = {
        "n": opportunities,
        "contacts": sizes[Entity.CONTACT],
        "leads": sizes[Entity.LEAD],
        "activities": sizes[Entity.ACTIVITY],
    }
    with duckdb.connect(":memory:", config={"memory_limit": "2GB", "preserve_insertion_order": "false"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for macro in _MACROS:
            connection.execute(f"CREATE MACRO {macro.format(seed=seed)}")
        for entity, (_, columns) in _WORLD.items():
            query = _query(entity, columns.format(**numbers), sizes=sizes, n=opportunities)
            connection.execute(f"COPY ({query}) TO '{folder / entity}.parquet' (ROW_GROUP_SIZE {READ_ROWS})")
    return sizes


def _query(entity: Entity, columns: str, *, sizes: dict[Entity, int], n: int) -> str:
    """All canonical columns in order, null where `columns` does not name them."""
    rows, accounts, contacts = sizes[entity], sizes[Entity.ACCOUNT], sizes[Entity.CONTACT]
    schema = arrow_schema(entity)
    with duckdb.connect(":memory:") as typed:
        typed.register("empty", schema.empty_table())
        described = typed.execute("DESCRIBE FROM empty").fetchall()
    nulls = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind, *_ in described)
    picked = ", ".join(f'filled."{name}"::{kind} AS "{name}"' for name, kind, *_ in described)
    account = f"tail(i, '{entity} account', {accounts})"
    source = f"SELECT i, {account} AS account FROM range({rows}) AS r(i)"
    if entity is Entity.ACTIVITY:
        # Activities are with somebody of the account: its first participant's own; and about one of that account's deals.
        account = f"tail(tail(i, 'talks with', {contacts}), '{Entity.CONTACT} account', {accounts})"
        source = _beside(account, rows=rows, lists=_listed("deals", Entity.OPPORTUNITY, n, accounts))
    if entity is Entity.CONTACT_ROLE:
        # Roles are mostly people of the account.
        account = f"tail(pick(i, 'opportunity', {n}), '{Entity.OPPORTUNITY} account', {accounts})"
        source = _beside(account, rows=rows, lists=_listed("people", Entity.CONTACT, contacts, accounts))
    return (
        f"WITH filled AS (SELECT {columns} FROM ({source})), typed AS (SELECT {nulls} WHERE false UNION ALL BY NAME FROM filled) "
        f"SELECT {picked} FROM typed AS filled"
    )


def _listed(name: str, entity: Entity, rows: int, accounts: int) -> str:
    """The row numbers of an entity, as a list per account."""
    return f"SELECT tail(i, '{entity} account', {accounts}) AS account, list(i) AS {name} FROM range({rows}) AS r(i) GROUP BY ALL"


def _beside(account: str, *, rows: int, lists: str) -> str:
    return f"SELECT * FROM (SELECT i, {account} AS account FROM range({rows}) AS r(i)) LEFT JOIN ({lists}) USING (account)"


@dataclass(frozen=True)
class ParquetCrm:
    """Reads the files of `write_world` as an adapter would; it can read and no more."""

    folder: Path
    name: str = "parquet"

    @property
    def capabilities(self) -> Capabilities:
        """Every entity that has a file."""
        return Capabilities(
            entities=frozenset(entity for entity in Entity if (self.folder / f"{entity}.parquet").exists()),
            incremental=frozenset(),
            deletions=frozenset(),
            role_names=(),
            has_primary=True,
            write_guard=WriteGuard.READ_COMPARE_WRITE,
            writes_per_call=200,
            can_write=False,
        )

    def count(self, entity: Entity) -> int:
        """The number of rows in the file's footer."""
        return int(pq.ParquetFile(self.folder / f"{entity}.parquet").metadata.num_rows)

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in canonical batches; `since` is not known here."""
        assert since is None
        schema = arrow_schema(entity)
        with pq.ParquetFile(self.folder / f"{entity}.parquet") as file:
            for batch in file.iter_batches(READ_ROWS):
                columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
