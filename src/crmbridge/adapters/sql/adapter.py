"""The SQL adapter: an SQLite file or a PostgreSQL database as a CRM, as it is or through a mapping file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from crmbridge.adapters.sql import reader
from crmbridge.adapters.sql.catalog import Catalog, RoleTarget, found_mapping
from crmbridge.adapters.sql.database import Database
from crmbridge.adapters.sql.failures import translated
from crmbridge.adapters.sql.health import examine
from crmbridge.adapters.sql.mapping import load_mapping
from crmbridge.adapters.sql.options import SqlOptions
from crmbridge.adapters.sql.writer import CHUNK_WRITES, RoleWriter
from crmbridge.contract import CONTRACT_VERSION, Capabilities, Deletion, Health, WriteGuard
from crmbridge.errors import CrmRefused, DataError, SettingsError
from crmbridge.model import Entity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    import sqlalchemy as sa
    from pydantic import BaseModel

    from crmbridge.adapters.sql.source import Selectable
    from crmbridge.contract import Checkpoint, Receipt, RoleWrite
    from crmbridge.model import ContactRole


class SqlAdapter:
    """A database as a CRM; see docs/adapters/sql.md. Implements `crmbridge.contract.Adapter`."""

    name: ClassVar[str] = "sql"
    contract_version: ClassVar[int] = CONTRACT_VERSION
    options: ClassVar[type[BaseModel]] = SqlOptions

    def __init__(self, options: BaseModel) -> None:
        """Read the mapping file, if there is one; connect on first use.

        Raises:
            SettingsError: the options are another adapter's, or name a driver that is not installed.
            MappingError: the mapping file cannot be used.
        """
        if not isinstance(options, SqlOptions):
            raise SettingsError(f"the sql adapter takes SqlOptions, not {type(options).__name__}")
        self._options = options
        self._time_zone = options.time_zone
        self._mapping = load_mapping(options.mapping, time_zone=options.time_zone) if options.mapping else None
        self._database = Database(options)
        self._catalog: Catalog | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What this database, as mapped, can do; connects once."""
        mapping = self._learned().mapping
        target = self._target()
        entities = frozenset(mapping.sources)
        dated = frozenset(entity for entity in entities if "modified_at" in mapping.fields(entity))
        marked = frozenset(entity for entity in dated if all(source.tells_deletions for source in mapping.sources[entity]))
        # Roles go without a mark: our own undo deletes their rows.
        return Capabilities(
            entities=entities,
            incremental=dated,
            deletions=marked - {Entity.CONTACT_ROLE},
            role_names=target.roles.role_names if target else (),
            has_primary="is_primary" in (target.columns if target else mapping.fields(Entity.CONTACT_ROLE)),
            write_guard=WriteGuard.TRANSACTION,
            writes_per_call=CHUNK_WRITES,
            can_write=target is not None and not self._options.read_only,
        )

    def check(self) -> Health:
        """Look at the connection, every mapped table and field, the right to write; change nothing, raise nothing."""
        return examine(self._database, self._learned)

    def count(self, entity: Entity) -> int | None:
        """How many records `read` will give; None where the entity is not mapped."""
        total = None
        with self._database.reading() as connection, translated(f"counting {entity}"):
            for selectable in self._selectables(connection, entity):
                total = (total or 0) + connection.scalars(selectable.select_count()).one()
        return total

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Stream an entity in canonical batches of at most `reader.BATCH_ROWS` rows.

        Raises:
            MappingError: a mapped table, column or expression is not there.
            DataError: a value that its field cannot hold, with the record's id; or `since` is naive, or
                nothing says when this entity's records changed.
            CrmUnavailable, CrmRefused: see `crmbridge.errors`.
        """
        start = self._start(entity, since) if since is not None else None
        with self._database.reading() as connection, translated(f"reading {entity}"):
            for selectable in self._selectables(connection, entity):
                yield from reader.read(connection, selectable, since=start, time_zone=self._time_zone)

    def read_deleted(self, entity: Entity, *, since: datetime) -> Iterator[Deletion]:
        """Give what is marked as deleted or merged away; raises like `read`."""
        start = self._start(entity, since)
        with self._database.reading() as connection, translated(f"reading deleted {entity}"):
            for selectable in self._selectables(connection, entity):
                yield from reader.read_deleted(connection, selectable, since=start, time_zone=self._time_zone)

    def read_roles(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        """Give the roles of these opportunities as they are now; raises like `read`."""
        with self._database.reading() as connection, translated("reading roles"):
            roles = self._selectables(connection, Entity.CONTACT_ROLE)
            yield from reader.read_roles(connection, roles, opportunity_ids, time_zone=self._time_zone)

    def write_roles(self, writes: Sequence[RoleWrite], *, checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:
        """Write, `CHUNK_WRITES` in a transaction; nothing outlives the call, so `checkpoint` is never called.

        Raises:
            CrmUnavailable, CrmRefused: the database cannot be reached or will not let us write; nothing was sent.
        """
        del checkpoint
        yield from self._writer().write(writes)

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:
        """Wait until nothing lost can still be under way, then judge each write by what is there.

        Raises:
            CrmUnavailable: the database cannot be reached, or something is still under way.
        """
        del checkpoints
        yield from self._writer().settle(writes)

    def close(self) -> None:
        """Let go of connections; may be called twice."""
        self._database.close()

    def _selectables(self, connection: sa.Connection, entity: Entity) -> Sequence[Selectable]:
        return self._learned().learn(connection, entity)

    def _learned(self) -> Catalog:
        """The catalog; without a mapping file the canonical tables are looked for, once."""
        if self._catalog is None:
            mapping = self._mapping
            if mapping is None:
                with self._database.reading() as connection, translated("looking for the canonical tables"):
                    mapping = found_mapping(connection, self._options.schema_name)
            self._catalog = Catalog(mapping, self._options)
        return self._catalog

    def _target(self) -> RoleTarget | None:
        with self._database.reading() as connection, translated("looking at the role table"):
            return self._learned().learn_target(connection)

    def _writer(self) -> RoleWriter:
        target = None if self._options.read_only else self._target()
        if target is None:
            reason = "read_only is set" if self._options.read_only else "the mapping does not say where roles are written"
            raise CrmRefused(f"roles cannot be written: {reason}", hint="see read_only, and [contact_role.write] in the mapping")
        catalog = self._learned()
        with self._database.reading() as connection, translated("looking at the tables"):
            for entity in (Entity.CONTACT_ROLE, Entity.OPPORTUNITY, Entity.CONTACT):
                catalog.learn(connection, entity)
        return RoleWriter(self._database, catalog, target)

    def _start(self, entity: Entity, since: datetime) -> datetime:
        if since.utcoffset() is None:
            raise DataError(f"since={since.isoformat()} has no time zone", hint="give it one: datetime(..., tzinfo=UTC)")
        if "modified_at" not in self._learned().mapping.fields(entity):
            raise DataError(f"{entity}: nothing says when its records changed", hint="map modified_at, or read everything")
        return since.astimezone(UTC)
