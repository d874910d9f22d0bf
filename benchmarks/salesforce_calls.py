"""What a run on Salesforce costs in API calls, against the least that its limits allow; and how long reading takes.

Measured on generated worlds of any size, and on the demo world with its real plan. The sandbox's jobs are done when first asked
for: in earnest a job that takes longer costs a call for every look, about four in the first half-minute.

    python -m benchmarks.salesforce_calls 5000 demo 200000
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metered import Meter, Row, answer, applied_and_undone, beside, planned_and_undone, planned_lines, print_rows
from benchmarks.world import write_world
from crmbridge.adapters.salesforce import SalesforceAdapter, SalesforceOptions
from crmbridge.adapters.salesforce.mapping import sources
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.world import make_world
from crmbridge.model import Entity
from crmbridge.testing.sandbox import SalesforceSandbox, Switches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from crmbridge.contract import Adapter, RoleWrite
    from crmbridge.journal import PlannedWrite
    from crmbridge.plan.file import PlanLine

DEMO_OPPORTUNITIES = 5_000
REST_PAGE, BULK_PAGE, COLLECTION, JOB_ROWS = 2_000, 100_000, 200, 10_000
IDS_PER_QUERY, QUERIES_PER_CALL = 16_384 // 18, 5
"""Ids in an address of 16 KiB; queries, or further pages, in one composite request, which is one call."""
QUERY_JOB, INGEST_JOB = 2, 5
"""Least calls of a job besides its pages: create, ask once; and for writing: upload, set off, read the results."""


def serve(world: Path | int, pipe: Connection) -> None:
    """Be the organisation, until told to stop.

    Args:
        world: a folder of Parquet files, or how many opportunities the demo world is to have.
        pipe: to the benchmark.
    """
    given = make_world(opportunities=world, as_of=datetime.now(UTC)).records if isinstance(world, int) else world
    with SalesforceSandbox(given, Switches(daily_calls=1_000_000, job_polls=0)) as sandbox:
        opportunities = sorted(sandbox.id_map(Entity.OPPORTUNITY).values())
        contacts = sorted(sandbox.id_map(Entity.CONTACT).values())
        pipe.send((sandbox.url, sandbox.session_id, opportunities, contacts, sandbox.lookup_fields))
        answer(sandbox, pipe, {"change": lambda share: _change(sandbox, share)})


def _change(sandbox: SalesforceSandbox, share: float) -> None:
    """Change a share of every object's records, now."""
    for sobject in sandbox.store.schema.all_seen():
        if "systemmodstamp" in sobject.by_name:
            sandbox.store.connection.execute(
                f'UPDATE "{sobject.name}" SET "SystemModstamp" = ? WHERE hash("Id") % 10000 < ?',
                [datetime.now(UTC).replace(tzinfo=None), int(share * 10_000)],
            )


def least_read(rows: int) -> int:
    by_pages = max(ceil(rows / REST_PAGE), 1)
    return min(by_pages, QUERY_JOB + ceil(rows / BULK_PAGE))


@dataclass(frozen=True)
class Size:
    """How much there is to write: lines, the opportunities and contacts they name, and the roles those opportunities hold."""

    lines: int
    opportunities: int
    contacts: int
    roles: int

    def calls(self, *, roles: int, contacts: int = 0) -> int:
        """Least calls of one reading: the ids that an address holds, pages of 2,000, five queries a call."""
        queries = max(ceil(self.opportunities / IDS_PER_QUERY), ceil(roles / REST_PAGE))
        return ceil((queries + ceil(contacts / IDS_PER_QUERY)) / QUERIES_PER_CALL)


def least_write(size: Size, *, is_undo: bool) -> int:
    """The readings that safety asks for, and the sending.

    Before anything is journalled as ours; at the moment of writing, with the contacts to be added; after it; and once more
    when the run is over.
    """
    there, added = size.roles, size.roles + size.lines
    before, after = (added, there) if is_undo else (there, added)
    reads = size.calls(roles=before) + size.calls(roles=before, contacts=0 if is_undo else size.contacts)
    reads += 2 * size.calls(roles=after)
    sends = ceil(size.lines / COLLECTION) if size.lines <= COLLECTION * 10 else INGEST_JOB * ceil(size.lines / JOB_ROWS)
    return reads + sends


def read_all(adapter: SalesforceAdapter, since: datetime | None = None) -> Counter[str]:
    """Read what a pull reads; rows by entity."""
    rows: Counter[str] = Counter()
    for entity in sorted(adapter.capabilities.entities):
        if since is not None and entity in adapter.capabilities.deletions:
            rows["deleted"] += sum(1 for _ in adapter.read_deleted(entity, since=since))
        rows[entity] += sum(len(batch) for batch in adapter.read(entity, since=since))
    return rows


def least_pull(adapter: SalesforceAdapter, sizes: dict[str, int], share: float) -> int:
    """One call for the describes, and the least for each query: of a share of it, or all of it where nothing tells of changes."""
    known = sources(adapter._org(), adapter._options)  # noqa: SLF001
    rows = [
        sizes.get(source.object_name, 0) * (share if known.is_told(entity) else 1)
        for entity, group in known.by_entity.items()
        for source in group
    ]
    return 1 + sum(least_read(int(count)) for count in rows)


def measure(opportunities: int) -> Iterator[Row]:
    """The rows of a generated world."""
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder) / "world", opportunities=opportunities)
        with beside(serve, Path(folder) / "world") as (pipe, (url, session, deals, people, _)):
            meter = Meter(pipe)
            given: dict[str, Any] = {"access_token": session, "base_url": url, "poll_s": 0.5, "settle_wait_s": 0}
            yield _pull_row(given, meter, "full pull")
            meter.ask("change", 0.01)
            yield _pull_row(given, meter, "nightly, 1 % changed", datetime.now(UTC) - timedelta(hours=1), share=0.01)
            lines = min(opportunities, 20_000)
            for size in (min(lines, 1_000), lines):
                yield from _write_rows(given, meter, Path(folder), planned_lines(deals, people, size))


def measure_demo(opportunities: int) -> Iterator[Row]:
    """The rows of the demo world: the nightly job as it is run, and its real plan."""
    with tempfile.TemporaryDirectory() as folder, beside(serve, opportunities) as (pipe, (url, session, _, _, lookups)):
        meter = Meter(pipe)
        given: dict[str, Any] = {"access_token": session, "base_url": url, "poll_s": 0.5, "settle_wait_s": 0}
        given |= {"left_field": "Has_Left__c", "contact_lookup_fields": tuple(lookups)}
        settings = in_memory(
            {
                "crm": {"adapter": "salesforce", "options": given},
                "policy": {"max_changed_percent": 100, "max_changes": 100_000},
                "workspace": {"folder": str(Path(folder) / "workspace")},
            }
        )
        with Bridge(settings) as bridge:
            yield _demo_pull(bridge, given, meter, "full pull")
            meter.ask("change", 0.01)
            yield _demo_pull(bridge, given, meter, "nightly, 1 % changed", share=0.01)
            planned = bridge.plan()
            size = _size(bridge.adapter, list(planned.lines()))
            least = (least_write(size, is_undo=False), least_write(size, is_undo=True))
            yield from planned_and_undone(meter, bridge, planned, least)


def _demo_pull(bridge: Bridge, given: dict[str, Any], meter: Meter, what: str, share: float = 1.0) -> Row:
    with closing(SalesforceAdapter(SalesforceOptions(**given))) as adapter:
        sizes = adapter._reader.sizes(adapter._org().objects)  # noqa: SLF001
        least = least_pull(adapter, sizes, share)
    return meter.measured(
        what, lambda: sum(read.changed for read in bridge.pull().reads.values()), lambda spent: least + spent["deleted"]
    )


def _size(adapter: Adapter, lines: Sequence[PlanLine] | Sequence[RoleWrite]) -> Size:
    opportunities = {line.opportunity_id for line in lines}
    held = sum(1 for _ in adapter.read_roles(sorted(opportunities)))
    return Size(len(lines), len(opportunities), len({line.contact_id for line in lines}), held)


def _pull_row(given: dict[str, Any], meter: Meter, what: str, since: datetime | None = None, share: float = 1.0) -> Row:
    with closing(SalesforceAdapter(SalesforceOptions(**given))) as adapter:
        sizes = adapter._reader.sizes(adapter._org().objects)  # noqa: SLF001
        least = least_pull(adapter, sizes, share)
    with closing(SalesforceAdapter(SalesforceOptions(**given))) as fresh:
        return meter.measured(what, lambda: read_all(fresh, since).total(), lambda spent: least + spent["deleted"])


def _write_rows(given: dict[str, Any], meter: Meter, folder: Path, lines: list[PlannedWrite]) -> Iterator[Row]:
    with closing(SalesforceAdapter(SalesforceOptions(**given))) as adapter:
        size = _size(adapter, [line.write for line in lines])
        _ = adapter.capabilities
        least = (least_write(size, is_undo=False), least_write(size, is_undo=True))
        yield from applied_and_undone(meter, adapter, folder / f"journal-{len(lines)}.db", lines, least)


def main(worlds: list[str]) -> None:
    """Print a row for each run; `demo` stands for the demo world of 5,000 opportunities."""
    print_rows(
        (world, row) for world in worlds for row in (measure_demo(DEMO_OPPORTUNITIES) if world == "demo" else measure(int(world)))
    )


if __name__ == "__main__":
    main(sys.argv[1:] or ["5000", "demo", "200000"])
