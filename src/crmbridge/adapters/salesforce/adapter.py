"""The Salesforce adapter: an organisation as a CRM, over REST and the Bulk API 2.0."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, ClassVar

from crmbridge.adapters.salesforce import deletions, rates
from crmbridge.adapters.salesforce.connection import Connection
from crmbridge.adapters.salesforce.describe import Organisation, describe
from crmbridge.adapters.salesforce.fitting import misfits
from crmbridge.adapters.salesforce.health import examine
from crmbridge.adapters.salesforce.mapping import OBJECTS, PARENTS, RECORD_TYPE, Source, Sources, sources
from crmbridge.adapters.salesforce.options import SalesforceOptions
from crmbridge.adapters.salesforce.provenance import usable
from crmbridge.adapters.salesforce.reader import Reader
from crmbridge.adapters.salesforce.writer import RoleWriter
from crmbridge.contract import CONTRACT_VERSION, Capabilities, Deletion, Health, WriteGuard
from crmbridge.errors import CrmRefused, DataError, SettingsError
from crmbridge.model import ESSENTIAL, Entity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    import pyarrow as pa
    from pydantic import BaseModel

    from crmbridge.contract import Checkpoint, EarlierRecords, Receipt, RoleWrite
    from crmbridge.model import ContactRole

WRITES_PER_CALL = 10_000
"""What one Bulk job takes in one internal batch; smaller plans go by collections all the same."""

ROLES = "OpportunityContactRole"


class SalesforceAdapter:
    """A Salesforce organisation as a CRM; see docs/adapters/salesforce.md.

    Implements `crmbridge.contract.Adapter` and `crmbridge.contract.BuildsOnEarlier`.
    """

    name: ClassVar[str] = "salesforce"
    contract_version: ClassVar[int] = CONTRACT_VERSION
    options: ClassVar[type[BaseModel]] = SalesforceOptions

    def __init__(self, options: BaseModel) -> None:
        """Keep the options; connect on first use.

        Raises:
            SettingsError: the options are another adapter's.
        """
        if not isinstance(options, SalesforceOptions):
            raise SettingsError(f"the salesforce adapter takes SalesforceOptions, not {type(options).__name__}")
        self._options = options
        self.connection = Connection(options)
        self._reader = Reader(self.connection, OBJECTS)
        self._organisation: Organisation | None = None
        self._sources: Sources | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What this organisation lets this user do; connects once."""
        known = self._known()
        by_entity = known.by_entity
        roles = self._org().objects[ROLES]
        return Capabilities(
            entities=frozenset(by_entity),
            incremental=frozenset(entity for entity in by_entity if known.is_told(entity)),
            deletions=frozenset(entity for entity in by_entity if known.is_told(entity) and self._is_logged(by_entity[entity])),
            role_names=roles.picklists.get("Role", ()),
            has_primary=True,
            write_guard=WriteGuard.READ_COMPARE_WRITE,
            writes_per_call=WRITES_PER_CALL,
            can_write=not self._options.read_only
            and roles.flags.get("createable", False)
            and roles.flags.get("deletable", False),
        )

    def identity(self) -> str:
        """Tell the organisation from others, with what is read of it: a right gained or lost changes no record's stamp.

        Raises:
            SettingsError, CrmUnavailable, CrmRefused: as `capabilities` does, which connects as well.
        """
        return hashlib.sha256(json.dumps([self.connection.client.sf_instance, self._shown()]).encode()).hexdigest()

    def build_on(self, earlier: EarlierRecords | None) -> None:
        """Do nothing: what changed is never told by comparing."""

    def check(self) -> Health:
        """Look at login, version, objects, fields, permissions, limits and costs; change nothing, raise nothing."""
        return examine(self.connection, self._org, self._reader)

    def count(self, entity: Entity) -> int | None:
        """Always None: asking would cost a call of the daily limit for each entity. Raises DataError like `read`."""
        self._of(entity)
        return None

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Give an entity's records in canonical batches.

        Raises:
            DataError: this organisation has no such entity; `since` is naive; a value does not fit its field.
            CrmUnavailable, CrmRefused: see `crmbridge.errors`.
        """
        found = self._of(entity)
        if since is not None and since.utcoffset() is None:
            raise DataError(f"since is naive: {since.isoformat()}; give it a time zone")
        if entity is Entity.EXCHANGE_RATE:
            yield from rates.read(self._reader, found)
        else:
            yield from self._reader.read(entity, found, since if entity in self.capabilities.incremental else None)

    def read_deleted(self, entity: Entity, *, since: datetime) -> Iterator[Deletion]:
        """Give what was deleted or merged away at or after `since`.

        Raises:
            DeletionsUnknown: longer ago than Salesforce remembers; read everything anew.
            DataError, CrmUnavailable, CrmRefused: like `read`.
        """
        found = self._of(entity)
        if since.utcoffset() is None:
            raise DataError(f"since is naive: {since.isoformat()}; give it a time zone")
        if entity not in self.capabilities.deletions:
            raise DataError(f"Salesforce does not tell which {entity} records were deleted")
        yield from deletions.read_deleted(self.connection, found, since)

    def read_roles(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        """Give the roles of these opportunities as they are now; raises like `read`."""
        yield from self._reader.read_roles(opportunity_ids)

    def write_roles(self, writes: Sequence[RoleWrite], *, checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:
        """Read, compare, write, verify: by collections where there are few writes, by Bulk jobs where there are many.

        Raises:
            CrmUnavailable, CrmRefused: nothing was sent.
        """
        provenance = usable(self._options.provenance_fields, self._org().objects[ROLES])
        yield from RoleWriter(self.connection, self._reader, provenance).write(writes, checkpoint)

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:
        """Bring jobs to their end, wait out lost requests, then judge each write by what is there.

        Raises:
            CrmUnavailable: Salesforce cannot be reached, or a job still runs.
        """
        yield from RoleWriter(self.connection, self._reader).settle(writes, checkpoints)

    def close(self) -> None:
        """Let go of connections; may be called twice."""
        self.connection.close()

    def _org(self) -> Organisation:
        if self._organisation is None:
            self._organisation = describe(self.connection, OBJECTS, PARENTS, {"User": self._options.team_field})
        return self._organisation

    def _shown(self) -> list[object]:
        """What is read of this organisation, and all that a record's own stamp does not tell of it; sorted, for a digest."""
        objects = self._org().objects
        told: list[object] = []
        for entity, found in sorted(self._known().by_entity.items()):
            for source in found:
                facts = objects[source.object_name]
                kinds = {path: facts.fields[path] for path in sorted(source.paths) if path in facts.fields}
                names = facts.record_types if RECORD_TYPE in source.paths else ()
                told.append([entity, source.soql(), source.everything, source.suffix, kinds, names])
        return told

    def _known(self) -> Sources:
        """What can be read; learnt once.

        Raises:
            CrmRefused: an object or field that nothing can do without is not there for this user.
            SettingsError: an option does not fit this organisation.
        """
        if self._sources is None:
            for misfit in misfits(self._org(), self._options):
                raise SettingsError(f"`crm.options.{misfit.option}`: {misfit.detail}", hint=misfit.hint)
            known = sources(self._org(), self._options)
            lacking = [missing for entity in sorted(ESSENTIAL - known.by_entity.keys()) for missing in known.missing[entity]]
            if lacking:
                raise CrmRefused(
                    f"this user cannot read {', '.join(lacking)} in Salesforce",
                    hint="give it Read on Opportunity, Contact and their fields, then crmbridge check",
                )
            self._sources = known
        return self._sources

    def _of(self, entity: Entity) -> tuple[Source, ...]:
        by_entity = self._known().by_entity
        if entity not in by_entity:
            raise DataError(f"this organisation has no {entity}; it has: {', '.join(sorted(by_entity))}")
        return by_entity[entity]

    def _is_logged(self, found: Sequence[Source]) -> bool:
        objects = self._org().objects
        asked = [source.object_name for source in found if source.is_logged]
        return all(objects[name].flags.get("replicateable", False) for name in asked)
