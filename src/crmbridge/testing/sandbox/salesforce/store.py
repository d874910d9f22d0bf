"""Where the org's records live: one DuckDB table per object, in memory, behind one lock."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crmbridge.testing.sandbox.salesforce import ids, soql
from crmbridge.testing.sandbox.salesforce.compile import as_json, compile_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    import duckdb

    from crmbridge.testing.sandbox.salesforce.compile import Compiled, Scope
    from crmbridge.testing.sandbox.salesforce.schema import Schema, SObject
    from crmbridge.testing.sandbox.salesforce.switches import Switches


class Store:
    """The records, and what was deleted when.

    Args:
        schema: the objects that exist.
        switches: what the user cannot see.
        now: naive UTC, whole seconds.
        connection: to an empty database, or to one that has the tables already.
    """

    def __init__(
        self, schema: Schema, switches: Switches, now: Callable[[], datetime], connection: duckdb.DuckDBPyConnection
    ) -> None:
        self.schema = schema
        self.switches = switches
        self.now = now
        self.lock = threading.RLock()
        self.connection = connection
        self._is_open = True
        self._made = 0

    def create_tables(self) -> None:
        """Make room for every object."""
        self.connection.execute("CREATE TABLE deletions (object VARCHAR, id VARCHAR, deleted TIMESTAMP)")
        for sobject in self.schema.stored.values():
            columns = ", ".join(f'"{field.name}" {field.sql_type}' for field in sobject.fields)
            self.connection.execute(f'CREATE TABLE "{sobject.name}" ({columns})')

    def close(self) -> None:
        """Forget everything; may be called twice."""
        with self.lock:
            if not self._is_open:
                return
            self._is_open = False
            ((name,),) = self.rows("SELECT current_catalog()")
            if name != "memory":  # one of several databases beside each other
                self.connection.execute(f"USE memory; DETACH {name}")
            self.connection.close()

    def new_id(self, prefix: str) -> str:
        """The id of a record made here."""
        with self.lock:
            self._made += 1
            return ids.counted(prefix, self._made)

    def query(self, text: str, scope: Scope, form: Callable[[Compiled], str] = as_json) -> tuple[Compiled, pa.Table]:
        """Run a query; the answer is complete before a later write can touch it.

        Args:
            text: SOQL.
            scope: whether deleted and archived records are seen.
            form: `as_json` or `as_text`.

        Raises:
            Refusal: the query is wrong, or asks for what the user may not see.
        """
        compiled = compile_query(soql.parse(text), self.schema, scope, self.switches.invisible_contacts)
        return compiled, self.table(form(compiled), compiled.parameters)

    def table(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run SQL of this package's own."""
        with self.lock:
            return self.connection.execute(sql, list(parameters)).to_arrow_table()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run SQL of this package's own; few rows."""
        with self.lock:
            return self.connection.execute(sql, list(parameters)).fetchall()

    def count(self, sobject: SObject) -> int:
        """How many records there are, without deleted and archived ones."""
        stored = self.schema.stored[sobject.name].by_name
        unseen = [f'NOT "{flag}"' for flag in ("IsDeleted", "IsArchived") if flag.lower() in stored]
        return int(self.rows(f'SELECT count(*) FROM "{sobject.name}" WHERE {" AND ".join(unseen) or "true"}')[0][0])

    def records(self, sobject: str, record_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Records as stored, deleted ones too, by id."""
        found = self.table(f'SELECT * FROM "{sobject}" WHERE "Id" IN (SELECT unnest(?))', [list(record_ids)])
        return {record["Id"]: record for record in found.to_pylist()}

    def put(self, sobject: str, records: Sequence[dict[str, Any]]) -> None:
        """Add whole records; a field left out is null."""
        if records:
            self._with_rows(sobject, records, f'INSERT INTO "{sobject}" BY NAME SELECT * FROM given')

    def change(self, sobject: str, records: Sequence[dict[str, Any]]) -> None:
        """Overwrite fields of records by `Id`; every record holds the same fields."""
        if records:
            fields = [name for name in records[0] if name != "Id"]
            settings = ", ".join(f'"{name}" = given."{name}"' for name in fields)
            sql = f'UPDATE "{sobject}" SET {settings} FROM given WHERE given."Id" = "{sobject}"."Id"'
            self._with_rows(sobject, records, sql)

    def _with_rows(self, sobject: str, records: Sequence[dict[str, Any]], sql: str) -> None:
        known = self.schema.stored[sobject].by_name
        fields = pa.schema([(name, _ARROW[known[name.lower()].sql_type]) for name in records[0]])
        with self.lock:
            self.connection.register("given", pa.Table.from_pylist(list(records), schema=fields))
            self.connection.execute(sql)
            self.connection.unregister("given")

    def mark_deleted(self, sobject: str, record_ids: Sequence[str]) -> None:
        """Put records into the recycle bin, and into the log of deletions."""
        now, gone = self.now(), list(record_ids)
        with self.lock:
            self.connection.execute(
                f'UPDATE "{sobject}" SET "IsDeleted" = true, "SystemModstamp" = ?, "LastModifiedDate" = ? '
                'WHERE "Id" IN (SELECT unnest(?))',
                [now, now, gone],
            )
            self.log_deletions(sobject, gone)

    def erase(self, sobject: str, record_ids: Sequence[str]) -> None:
        """Delete for good: only the log of deletions remembers."""
        with self.lock:
            self.connection.execute(f'DELETE FROM "{sobject}" WHERE "Id" IN (SELECT unnest(?))', [list(record_ids)])
            self.log_deletions(sobject, record_ids)

    def log_deletions(self, sobject: str, record_ids: Sequence[str]) -> None:
        """Remember that these are gone since now."""
        with self.lock:
            self.connection.execute("INSERT INTO deletions SELECT ?, unnest(?), ?", [sobject, list(record_ids), self.now()])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; an exception rolls back and goes on."""
        with self.lock:
            self.connection.begin()
            try:
                yield
            except BaseException:
                self.connection.rollback()
                raise
            self.connection.commit()


_ARROW = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
}
