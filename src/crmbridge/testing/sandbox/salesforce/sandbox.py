"""A local Salesforce to test against and to rehearse on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from crmbridge.model import Entity
from crmbridge.testing.sandbox.salesforce import merging
from crmbridge.testing.sandbox.salesforce.app import App, Usage, compressed
from crmbridge.testing.sandbox.salesforce.faults import Faults, RowFaults
from crmbridge.testing.sandbox.salesforce.load import lookup_names, tables_of
from crmbridge.testing.sandbox.salesforce.login import Credentials, Logins
from crmbridge.testing.sandbox.salesforce.ready import filled
from crmbridge.testing.sandbox.salesforce.rest import Rest
from crmbridge.testing.sandbox.salesforce.schema import Schema
from crmbridge.testing.sandbox.salesforce.switches import Switches
from crmbridge.testing.sandbox.server import LoopbackServer

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path
    from types import TracebackType

    from crmbridge.testing.sandbox.salesforce.load import AnyWorld
    from crmbridge.testing.sandbox.salesforce.write import Row


class SalesforceSandbox:
    """A stateful Salesforce over HTTP on the loopback address, for as long as the `with` block lasts.

    Args:
        world: what the org holds: canonical records or Arrow tables by entity, or a folder of `<entity>.parquet`.
        switches: how the org is set up.
        credentials: who may log in.
        port: 0 for any free one.
        clock: gives the org's time, aware; the machine's unless given.

    Attributes:
        store: the records, for a look behind the scenes.
        faults: plan trouble with calls here.
        row_faults: plan refused contact roles here.
        lookup_fields: field of the world's contact lookups -> API name on the opportunity.
    """

    def __init__(
        self,
        world: AnyWorld | Path | None = None,
        switches: Switches | None = None,
        *,
        credentials: Credentials | None = None,
        port: int = 0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.switches = switches or Switches()
        self.credentials = credentials or Credentials()
        self.faults = Faults()
        self.row_faults = RowFaults()
        self._clock = clock or (lambda: datetime.now(UTC))
        tables = tables_of(world or {})
        self.lookup_fields = lookup_names(tables)
        schema = Schema(self.switches, tuple(self.lookup_fields.values()))
        self.store = filled(schema, self.switches, self._now, tables, self.lookup_fields)
        self._usage = Usage(self.switches.daily_calls)
        self._logins = Logins(self.credentials)
        self.rest = Rest(self.store, self.row_faults, lambda: (self._usage.used, self._usage.most))
        self._server = LoopbackServer(compressed(App(self.rest, self._logins, self.faults, self._usage)), port)

    def __enter__(self) -> Self:
        if not self._server.is_running:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def stop(self) -> None:
        """Stop serving and forget everything."""
        self._server.stop()
        self.store.close()

    @property
    def url(self) -> str:
        """Where to log in."""
        return self._server.url

    @property
    def instance_url(self) -> str:
        """Where the data are; here the same."""
        return self._server.url

    @property
    def session_id(self) -> str:
        """A session that is open already."""
        return self.credentials.session_id

    @property
    def calls(self) -> Counter[str]:
        """How often each endpoint was called; logins under `token` and `soap login`."""
        return self._usage.calls

    @property
    def calls_used(self) -> int:
        """How many calls count against the daily limit."""
        return self._usage.used

    def expire_sessions(self) -> None:
        """End every session, as an administrator or the night does."""
        self._logins.expire()

    def expire_cursors(self) -> None:
        """End every query cursor, as two days do."""
        self.rest.cursors.expire()

    def finish_jobs(self) -> None:
        """Let running Bulk jobs end without anybody polling."""
        self.rest.bulk.finish()

    def sf_id(self, entity: Entity, canonical_id: str) -> str:
        """The Salesforce id that a record of the world got.

        Raises:
            KeyError: the world has no such record.
        """
        return self._mapped(entity, "sf_id", "canonical_id", canonical_id)

    def canonical_id(self, entity: Entity, sf_id: str) -> str:
        """The world's id of a Salesforce record.

        Raises:
            KeyError: the record did not come from the world.
        """
        return self._mapped(entity, "canonical_id", "sf_id", sf_id)

    def id_map(self, entity: Entity) -> dict[str, str]:
        """Canonical id -> Salesforce id, for all records of an entity and for ids that lead nowhere."""
        return dict(self.store.rows(f"SELECT canonical_id, sf_id FROM ids.{entity}"))

    def insert(self, sobject: str, **fields: Any) -> str:  # noqa: ANN401
        """Do as somebody at the screen would: add a record, and give its id.

        Raises:
            ValueError: the org refuses it.
        """
        return str(self._by_hand("insert", sobject, fields).record_id)

    def change(self, sobject: str, record_id: str, **fields: Any) -> None:  # noqa: ANN401
        """Change a record by hand; ValueError where the org refuses."""
        self._by_hand("update", sobject, {"Id": record_id, **fields})

    def delete(self, sobject: str, record_id: str) -> None:
        """Delete a record by hand; ValueError where the org refuses."""
        self._by_hand("delete", sobject, {"Id": record_id})

    def merge_contacts(self, master_id: str, loser_id: str) -> None:
        """Merge a contact into another: roles, memberships, relations and activities move to the master."""
        merging.merge_contacts(self.store, master_id, loser_id)

    def rows(self, sobject: str) -> list[dict[str, Any]]:
        """All stored records of an object by id, deleted ones too, whatever the user may see."""
        found: Sequence[dict[str, Any]] = self.store.table(f'SELECT * FROM "{sobject}" ORDER BY "Id"').to_pylist()
        return list(found)

    def _mapped(self, entity: Entity, wanted: str, given: str, value: str) -> str:
        found = self.store.rows(f"SELECT {wanted} FROM ids.{entity} WHERE {given} = ?", [value])
        if not found:
            raise KeyError(f"no {entity} with {given} {value!r}")
        return str(found[0][0])

    def _by_hand(self, operation: str, sobject: str, fields: Mapping[str, Any]) -> Row:
        (row,) = self.rest.writer.write(operation, self.store.schema.stored[sobject], [dict(fields)])
        if row.code:
            raise ValueError(f"{operation} of {sobject}: {row.code}")
        return row

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(tzinfo=None, microsecond=0)
