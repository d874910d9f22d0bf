"""What a run on HubSpot costs in API calls, against the least that its limits allow; and how long reading takes.

Measured on generated worlds of any size, and on the demo world with its real plan.

    python -m benchmarks.hubspot_calls 5000 demo 200000
"""

from __future__ import annotations

import re
import sys
import tempfile
import zlib
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metered import Meter, Row, answer, applied_and_undone, beside, planned_and_undone, planned_lines, print_rows
from crmbridge.adapters.hubspot import HubSpotAdapter, HubSpotOptions
from crmbridge.adapters.hubspot.reader import OF_KIND
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.demo.world import make_world
from crmbridge.model import Entity
from crmbridge.testing import KeptRecords
from crmbridge.testing.sandbox import HubSpotSandbox, HubSpotSwitches
from crmbridge.testing.sandbox.crowd import crowd_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection

    import pyarrow as pa

    from crmbridge.config import Settings
    from crmbridge.contract import Deletion
    from crmbridge.testing.sandbox.hubspot.store import Store

DEMO_OPPORTUNITIES = 5_000
CONTACTS_EACH, ACTIVITIES_EACH = 2.5, 5
"""Contacts and activities of the generated worlds, for each deal."""
PAGE, FOUND, LINKS, CREATED, ARCHIVED, MEMBERS = 100, 200, 1_000, 2_000, 100, 250
"""Records in a page, in a page of a search; records whose links one call reads; pairs that one call makes, or takes apart;
members of a list in a page."""
LINKED = {
    "companies": 0,
    "contacts": 1,
    "deals": 1,
    "leads": 2,
    **dict.fromkeys(("meetings", "calls", "emails", "notes", "tasks"), 3),
}
"""Kinds, and to how many kinds their links are read; roles are counted apart."""
ONCE = 3
"""Pipelines, label definitions, the portal's time zone."""
CHANGED = 0.01
NIGHTS: dict[str, dict[str, Any]] = {"nightly, 1 % changed": {}, "the same, links_stay": {"links_stay": True}}


@dataclass(frozen=True)
class Sizes:
    """What a portal holds.

    Attributes:
        live, archived: records by kind.
        owners: active, and those that left.
        campaigns: how many.
        asking: least calls for whom the campaigns touched, but for the days.
        dating: least calls beside, to know the days.
        newly: the same, where all is known but the slice of days that is not over.
    """

    live: Mapping[str, int]
    archived: Mapping[str, int]
    owners: tuple[int, int]
    campaigns: int
    asking: int
    dating: int
    newly: int

    def small(self) -> int:
        """Least calls for what is always read whole, whatever has changed."""
        owners = sum(pages(number) for number in self.owners)
        return ONCE + owners + pages(self.campaigns) + self.asking + ceil(self.live["deals"] / LINKS)


def pages(rows: int, size: int = PAGE) -> int:
    return max(ceil(rows / size), 1)


def least_whole(sizes: Sizes) -> int:
    """A page of every hundred records, with their links."""
    return sum(pages(sizes.live[kind]) for kind in LINKED) + sizes.small() + sizes.dating


def least_changed(sizes: Sizes, changed: Mapping[str, int], *, links_stay: bool) -> int:
    """Searches for what changed, the links of these, or of everything where links do not stay, and the archive; merged deals."""
    linked = changed if links_stay else sizes.live
    searched = sum(
        pages(number, FOUND) + LINKED[kind] * ceil(linked[kind] / LINKS) + pages(sizes.archived[kind])
        for kind, number in changed.items()
    )
    return 1 + searched + sizes.small() + sizes.newly


def least_write(lines: int, deals: int, *, is_undo: bool) -> int:
    """The readings that safety asks for, and the sending.

    Pairs are read before anything is journalled as ours, at the moment of writing, after it, and when the run is over; caps of
    labels before the first is written.
    """
    reads = 4 * ceil(deals / LINKS)
    return reads + (ceil(lines / ARCHIVED) if is_undo else 1 + ceil(lines / CREATED))


def least_touches(store: Store, slice_days: int, today: date) -> tuple[int, int, int]:
    """Least calls to learn whom campaigns touched; beside it on which days; and these where only the present slice is open.

    For each campaign its lists with their members, and three reports over the whole time. Then somebody who responded first in a
    slice of days is known to have done so by a question that ends before that slice and one that ends with it, unless time does:
    one question for each such end. Nobody knows beforehand which ends these are.
    """
    asking = dating = newly = 0
    for guid, campaign in store.campaigns.items():
        asking += 1 + sum(pages(len(store.members[one]), MEMBERS) for one in store.assets[guid])
        days: dict[str, str] = {}
        for report in ("influencedContacts", "contactFirstTouch", "contactLastTouch"):
            told = store.responses[guid, report]
            asking += pages(len({contact for _, contact in told}))
            for day, contact in sorted(told):
                days[contact] = min(day, days.get(contact, day))
        first = min(campaign["createdAt"][:10], campaign["properties"].get("hs_start_date") or "9999-12-31")
        number = Counter((date.fromisoformat(day) - date.fromisoformat(first)).days // slice_days for day in days.values())
        present = (today - date.fromisoformat(first)).days // slice_days
        dating += len({end for one in number for end in (one, one + 1)} - {0, present + 1})
        newly += present in number and len(number) > 1
    return asking, dating, newly


def crowd(deals: int) -> dict[Entity, pa.Table]:
    return crowd_tables(opportunities=deals, contacts=int(CONTACTS_EACH * deals), activities=ACTIVITIES_EACH * deals)


def serve(deals: int, world: str, pipe: Connection) -> None:
    """Be the portal, until told to stop."""
    given = make_world(opportunities=deals, as_of=datetime.now(UTC)).records if world == "demo" else crowd(deals)
    with HubSpotSandbox(given, HubSpotSwitches(daily_calls=1_000_000)) as portal:
        del given
        ids = (sorted(portal.id_map(entity).values()) for entity in (Entity.OPPORTUNITY, Entity.CONTACT))
        pipe.send((portal.url, portal.access_token, *ids))
        tasks = {
            "sizes": lambda slice_days: sizes_of(portal, slice_days),
            "change": lambda share: change(portal, share),
            "changed": lambda since: changed_since(portal, since),
        }
        answer(portal, pipe, tasks)


def sizes_of(portal: HubSpotSandbox, slice_days: int) -> Sizes:
    store = portal.store
    archived = {kind: sum(1 for one in store.records[kind].values() if one.archived) for kind in LINKED}
    return Sizes(
        {kind: len(store.records[kind]) - archived[kind] for kind in LINKED},
        archived,
        (sum(1 for one in store.owners if not one["archived"]), sum(1 for one in store.owners if one["archived"])),
        len(store.campaigns),
        *least_touches(store, slice_days, datetime.now(UTC).date()),
    )


def change(portal: HubSpotSandbox, share: float) -> int:
    """Change a share of every kind's records, now, and have a share of a campaign's list respond; how many records."""
    now, changed = datetime.now(UTC), 0
    for kind in LINKED:
        for one in portal.store.records[kind].values():
            if one.archived is None and zlib.crc32(one.id.encode()) % 10_000 < share * 10_000:
                one.updated = now
                changed += 1
    for guid, lists in portal.store.assets.items():
        for contact in [contact for one in lists for contact, _ in portal.store.members[one]]:
            if zlib.crc32(f"{guid} {contact}".encode()) % 10_000 < share * 10_000:
                portal.store.responses[guid, "influencedContacts"].append((now.date().isoformat(), contact))
    return changed


def changed_since(portal: HubSpotSandbox, since: Mapping[str, datetime]) -> dict[str, int]:
    records = portal.store.records
    return {
        kind: sum(1 for one in records[kind].values() if one.archived is None and one.updated >= start)
        for kind, start in since.items()
    }


class Heard(HubSpotAdapter):
    """Remembers since when each entity was asked for."""

    def __init__(self, options: HubSpotOptions) -> None:
        super().__init__(options)
        self.since: dict[Entity, datetime] = {}

    def read(self, entity: Entity, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        if since is not None:
            self.since[entity] = since
        return super().read(entity, since=since)

    def searched(self) -> dict[str, datetime]:
        """Kind -> since when it was searched."""
        lag = timedelta(minutes=10, seconds=self._options.index_lag_s)
        found: dict[str, datetime] = {}
        for entity, since in self.since.items():
            for kind in OF_KIND[entity]:
                found[kind.name] = min(found.get(kind.name, since), since)
        return {kind: since - lag for kind, since in found.items()}


def read_all(adapter: HubSpotAdapter, *, earlier: KeptRecords | None = None, kept: KeptRecords | None = None) -> int:
    """Read what a pull reads, in its order; how many records.

    Args:
        adapter: an open one.
        earlier: what to build on.
        kept: is filled, to be built on.
    """
    adapter.build_on(earlier)
    known, rows = adapter.capabilities, 0
    for entity in Entity:
        if entity not in known.entities:
            continue
        begin = earlier.read_at(entity) if earlier and entity in known.incremental & known.deletions else None
        gone: Iterator[Deletion] = adapter.read_deleted(entity, since=begin) if begin else iter(())
        rows += sum(1 for _ in gone)
        batches = adapter.read(entity, since=begin)
        if kept is not None:
            batches = list(batches)
            kept.keep(entity, batches)
        rows += sum(len(batch) for batch in batches)
    adapter.build_on(None)
    return rows


@dataclass
class Case:
    """A portal beside us, and what is measured of it."""

    meter: Meter
    given: dict[str, Any]
    folder: Path
    slice_days: int = field(default=HubSpotOptions.model_fields["touch_slice_days"].default)

    def opened(self, **more: object) -> Heard:
        return Heard(HubSpotOptions(**self.given, **more))

    def sizes(self) -> Sizes:
        sizes: Sizes = self.meter.ask("sizes", self.slice_days)
        return sizes

    def told(self, **more: object) -> tuple[str, str]:
        """What `check` says that a full pull takes, and a nightly one."""
        with closing(self.opened(**more)) as adapter:
            (cost,) = [check.detail for check in adapter.check().checks if check.name == "cost"]
        whole, nightly = re.findall(r"[\d,]+(?= API calls| by)", cost)
        return f" (told: {whole})", f" (told: {nightly})"

    def least_since(self, adapter: Heard, _: object = None) -> int:
        """The least for what an adapter was just asked for."""
        changed = self.meter.ask("changed", adapter.searched())
        return least_changed(self.sizes(), changed, links_stay=adapter._options.links_stay)  # noqa: SLF001


def measure(deals: int) -> Iterator[Row]:
    """The rows of a generated world."""
    with tempfile.TemporaryDirectory() as folder, beside(serve, deals, "crowd") as (pipe, (url, token, ids, people)):
        case = Case(Meter(pipe), {"access_token": token, "base_url": url, "settle_wait_s": 0}, Path(folder))
        kept = KeptRecords()
        with closing(case.opened()) as adapter:
            told, _ = case.told()
            yield case.meter.measured("full pull" + told, lambda: read_all(adapter), least_whole(case.sizes()))
            # Once more beside the meter, to have something to build on.
            read_all(adapter, kept=kept)
        case.meter.ask("change", CHANGED)
        for what, more in NIGHTS.items():
            with closing(case.opened(**more)) as adapter:
                _, told = case.told(**more)
                yield case.meter.measured(
                    what + told, partial(read_all, adapter, earlier=kept), partial(case.least_since, adapter)
                )
        lines = min(deals, 20_000)
        for size in (min(lines, 1_000), lines):
            yield from _write_rows(case, planned_lines(ids, people, size))


def measure_demo(deals: int) -> Iterator[Row]:
    """The rows of the demo world: the nightly job as it is run, and its real plan."""
    with tempfile.TemporaryDirectory() as folder, beside(serve, deals, "demo") as (pipe, (url, token, *_)):
        case = Case(Meter(pipe), {"access_token": token, "base_url": url, "settle_wait_s": 0}, Path(folder))
        settings = _settings(case)
        with closing(case.opened()) as adapter, Bridge(settings, adapter=adapter) as bridge:
            told, _ = case.told()
            yield case.meter.measured("full pull" + told, lambda: _pulled(bridge), least_whole(case.sizes()))
        for what, more in NIGHTS.items():
            case.meter.ask("change", CHANGED)
            with closing(case.opened(**more)) as adapter, Bridge(settings, adapter=adapter) as bridge:
                _, told = case.told(**more)
                yield case.meter.measured(what + told, partial(_pulled, bridge), partial(case.least_since, adapter))
        with closing(case.opened()) as adapter, Bridge(settings, adapter=adapter) as bridge:
            planned = bridge.plan()
            size = (sum(1 for _ in planned.lines()), len({line.opportunity_id for line in planned.lines()}))
            least = (least_write(*size, is_undo=False), least_write(*size, is_undo=True))
            _ = adapter.capabilities
            yield from planned_and_undone(case.meter, bridge, planned, least)


def _settings(case: Case) -> Settings:
    return in_memory(
        {
            "crm": {"adapter": "hubspot", "options": case.given},
            "policy": {"max_changed_percent": 100, "max_changes": 100_000},
            "workspace": {"folder": str(case.folder / "workspace")},
        }
    )


def _pulled(bridge: Bridge) -> int:
    return sum(read.changed for read in bridge.pull().reads.values())


def _write_rows(case: Case, lines: list[Any]) -> Iterator[Row]:
    deals = len({line.write.opportunity_id for line in lines})
    least = (least_write(len(lines), deals, is_undo=False), least_write(len(lines), deals, is_undo=True))
    with closing(case.opened()) as adapter:
        _ = adapter.capabilities
        yield from applied_and_undone(case.meter, adapter, case.folder / f"journal-{len(lines)}.db", lines, least)


def main(worlds: list[str]) -> None:
    """Print a row for each run; `demo` stands for the demo world of 5,000 opportunities."""
    print_rows(
        (world, row) for world in worlds for row in (measure_demo(DEMO_OPPORTUNITIES) if world == "demo" else measure(int(world)))
    )


if __name__ == "__main__":
    main(sys.argv[1:] or ["5000", "demo", "200000"])
