"""The HubSpot adapter: a portal as a CRM, with association labels as contact roles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from crmbridge.adapters.hubspot.associations import Roles
from crmbridge.adapters.hubspot.connection import Connection
from crmbridge.adapters.hubspot.health import examine
from crmbridge.adapters.hubspot.kinds import DEALS, KINDS, LEADS
from crmbridge.adapters.hubspot.options import HubSpotOptions
from crmbridge.adapters.hubspot.owners import owners
from crmbridge.adapters.hubspot.portal import Portal
from crmbridge.adapters.hubspot.reader import OF_KIND, Reader
from crmbridge.adapters.hubspot.touches import Touches
from crmbridge.adapters.hubspot.writer import RoleWriter
from crmbridge.contract import CONTRACT_VERSION, Capabilities, Deletion, Health, WriteGuard
from crmbridge.errors import CrmRefused, DataError, DeletionsUnknown, SettingsError
from crmbridge.model import ESSENTIAL, ContactRole, Entity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from pydantic import BaseModel

    from crmbridge.contract import Checkpoint, EarlierRecords, Receipt, RoleWrite

WRITES_PER_CALL = 10_000
"""Lines of one walk: each of its four readings ends in a call that is not quite full. They are sent 2,000 at a time."""
ARCHIVE_KEPT = timedelta(days=90)
"""How long HubSpot keeps what was archived."""

_OF_LINKS = frozenset({Entity.OPPORTUNITY_ACCOUNT, Entity.ACCOUNT_CONTACT_RELATION, Entity.ACTIVITY_PARTICIPANT})
_WITH_LINKS = frozenset(
    {Entity.CONTACT, Entity.LEAD, Entity.ACTIVITY, Entity.ACCOUNT_CONTACT_RELATION, Entity.ACTIVITY_PARTICIPANT}
)
_DEALS = frozenset({Entity.OPPORTUNITY, Entity.OPPORTUNITY_ACCOUNT})


class HubSpotAdapter:
    """A HubSpot portal as a CRM; see docs/adapters/hubspot.md. Implements `crmbridge.contract.Adapter`."""

    name: ClassVar[str] = "hubspot"
    contract_version: ClassVar[int] = CONTRACT_VERSION
    options: ClassVar[type[BaseModel]] = HubSpotOptions

    def __init__(self, options: BaseModel) -> None:
        """Keep the options; connect on first use.

        Raises:
            SettingsError: the options are another adapter's.
        """
        if not isinstance(options, HubSpotOptions):
            raise SettingsError(f"the hubspot adapter takes HubSpotOptions, not {type(options).__name__}")
        self._options = options
        self.connection = Connection(options)
        self._portal = Portal(self.connection)
        self._reader = Reader(self.connection, self._portal)
        self._touches = Touches(self.connection)
        self._builds = False
        self._roles = Roles(self.connection, self._portal)

    @property
    def capabilities(self) -> Capabilities:
        """What this portal lets this token do; connects once."""
        entities = self._entities()
        by_changes = entities & self._by_changes
        return Capabilities(
            entities=entities,
            incremental=by_changes,
            deletions=by_changes if self._builds else by_changes - _OF_LINKS,
            role_names=self._roles.names(),
            has_primary=self._options.primary_label is not None,
            write_guard=WriteGuard.READ_COMPARE_WRITE,
            writes_per_call=WRITES_PER_CALL,
            can_write=not self._options.read_only,
        )

    def identity(self) -> str | None:
        """Tell the portal's number from others, with what all records hang on; None where HubSpot does not say.

        That is: what may be read, the stages, the time zone in which days are counted, and how exactly touches are dated.
        """
        if self._portal.id is None:
            return None
        kinds = [name for name in (*KINDS, "owners", "campaigns") if self._portal.has(name)]
        stages = {number: astuple(stage) for number, stage in self._portal.stages.items()}
        told = [self._portal.id, kinds, stages, self._portal.time_zone, self._options.touch_slice_days]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def build_on(self, earlier: EarlierRecords | None) -> None:
        """Take the snapshot before: then links are compared with it, and not all records are read for them."""
        self._builds = earlier is not None
        self._reader.build_on(earlier)
        self._touches.build_on(earlier)

    def check(self) -> Health:
        """Look at the token, scopes, limits, labels and costs; change nothing, raise nothing."""
        return examine(self.connection, self._portal, self._roles, self._touches)

    def count(self, entity: Entity) -> int | None:
        """Always None: only searches count, and their index lags. Raises DataError like `read`."""
        self._hold(entity)
        return None

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Give an entity's records in canonical batches.

        Raises:
            DataError: this portal has no such entity; `since` is naive; a value does not fit its field.
            CrmUnavailable, CrmRefused: see `crmbridge.errors`.
        """
        self._hold(entity)
        _hold_aware(since)
        if entity is Entity.CONTACT_ROLE:
            yield from self._roles.batches(self._reader.deal_ids())
        elif entity is Entity.USER:
            yield from owners(self.connection)
        elif entity is Entity.CAMPAIGN:
            yield from self._touches.campaigns()
        elif entity is Entity.CAMPAIGN_MEMBER:
            yield from self._touches.members(datetime.now(UTC).date())
        else:
            yield from self._reader.read(entity, since if entity in self._by_changes else None)

    def read_deleted(self, entity: Entity, *, since: datetime) -> Iterator[Deletion]:
        """Give what was archived at or after `since`, and deals that live on in others; other merged ids come by `read`.

        Raises:
            DeletionsUnknown: longer ago than HubSpot keeps what was archived; links, where their records were not read before.
            DataError, CrmUnavailable, CrmRefused: like `read`.
        """
        self._hold(entity)
        _hold_aware(since)
        if datetime.now(UTC) - since > ARCHIVE_KEPT:
            raise DeletionsUnknown(f"HubSpot keeps archived records for {ARCHIVE_KEPT.days} days")
        if entity in _OF_LINKS:
            yield from (Deletion(id=one) for one in self._reader.unlinked(entity))
            return
        for kind in OF_KIND.get(entity, ()):
            if not self._portal.has(kind.name):
                continue
            if kind.merges and not kind.keeps_merged:
                yield from (Deletion(id=gone, merged_into_id=into) for gone, into in self._reader.merged_away(kind, since))
            for number, stamp in self._reader.archived(kind, since):
                yield Deletion(id=f"{kind.prefix}{number}", deleted_at=stamp)

    def read_roles(self, opportunity_ids: Sequence[str]) -> Iterator[ContactRole]:
        """Give the roles of these deals as they are now; unknown ids give nothing."""
        yield from self._roles.read(opportunity_ids)

    def write_roles(self, writes: Sequence[RoleWrite], *, checkpoint: Callable[[Checkpoint], None]) -> Iterator[Receipt]:
        """Read, compare, merge labels, write, verify.

        Raises:
            CrmUnavailable, CrmRefused: nothing was sent.
        """
        yield from RoleWriter(self.connection, self._roles).write(writes, checkpoint)

    def settle(self, writes: Sequence[RoleWrite], checkpoints: Sequence[Checkpoint]) -> Iterator[Receipt]:
        """Wait out lost requests, then judge each write by what is there.

        Raises:
            CrmUnavailable: HubSpot cannot be reached.
        """
        yield from RoleWriter(self.connection, self._roles).settle(writes, checkpoints)

    def close(self) -> None:
        """Let go of connections; may be called twice."""
        self.connection.close()

    @property
    def _by_changes(self) -> frozenset[Entity]:
        """What is read by its changes.

        Linking two records changes neither. So whatever has links can be read by its changes only where the snapshot before is
        there to compare them with, or where links are taken to stay; and deals only where it tells which others there are, for
        their roles.
        """
        if self._builds:
            return frozenset({Entity.ACCOUNT}) | _WITH_LINKS | _DEALS
        return frozenset({Entity.ACCOUNT}) | (_WITH_LINKS if self._options.links_stay else frozenset())

    def _entities(self) -> frozenset[Entity]:
        """What can be read.

        Raises:
            CrmRefused: something that nothing can do without may not be read with this token.
        """
        found = {entity for entity, kinds in OF_KIND.items() if any(self._portal.has(kind.name) for kind in kinds)}
        if self._portal.has(DEALS.name) and Entity.CONTACT in found:
            found.add(Entity.CONTACT_ROLE)
        if not self._portal.has(LEADS.name):
            found.discard(Entity.LEAD)
        found |= {Entity.USER} if self._portal.has("owners") else set()
        if self._portal.has("campaigns"):
            found |= {Entity.CAMPAIGN, Entity.CAMPAIGN_MEMBER}
        if lacking := sorted(ESSENTIAL - found):
            raise CrmRefused(
                f"this token cannot read {', '.join(lacking)} in HubSpot",
                hint="give the token the scopes in docs/adapters/hubspot.md, then crmbridge check",
            )
        return frozenset(found)

    def _hold(self, entity: Entity) -> None:
        entities = self._entities()
        if entity not in entities:
            raise DataError(f"this portal has no {entity}; it has: {', '.join(sorted(entities))}")


def _hold_aware(since: datetime | None) -> None:
    if since is not None and since.utcoffset() is None:
        raise DataError(f"since is naive: {since.isoformat()}; give it a time zone")
