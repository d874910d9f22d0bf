"""Pulling by changes: what comes of it equals a full pull of the same CRM, and where it might not, a full read is made."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from dict_crm import DictCrm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from living_crm import EVERY, START, LivingCrm

from crmbridge.errors import CrmUnavailable
from crmbridge.model import Entity
from crmbridge.snapshot import EntityDone, EntityRead, EntityStarted, PullSummary, RowsRead, Snapshot, WhyFull, pull
from crmbridge.snapshot.earlier import OVERLAP, SLOW_CLOCK

CONTACT, OPPORTUNITY, ROLE, ACTIVITY = Entity.CONTACT, Entity.OPPORTUNITY, Entity.CONTACT_ROLE, Entity.ACTIVITY


def night(crm: LivingCrm, path: Path, **options) -> PullSummary:
    """Pull by changes, as of the CRM's present."""
    return pull(crm, path, **{"as_of": crm.now, "previous": path, "threads": 1, **options})


def in_full(crm: LivingCrm, path: Path) -> PullSummary:
    return pull(crm, path.with_name("full.duckdb"), as_of=crm.now, threads=1)


def ids(path: Path, entity: Entity = CONTACT) -> set[str]:
    with Snapshot.open(path) as snapshot:
        return set(snapshot.table(entity)["id"].to_pylist())


@pytest.fixture
def crm() -> LivingCrm:
    """Two contacts, two opportunities, one role between them."""
    crm = LivingCrm()
    for number in ("1", "2"):
        crm.put(CONTACT, f"c{number}", last_name="A")
        crm.put(OPPORTUNITY, f"o{number}")
    crm.put(ROLE, "r1", opportunity_id="o1", contact_id="c1")
    crm.wait(hours=20)
    return crm


# One world for both: what happens between pulls, entity by entity.
_RECORDS = {
    CONTACT: [f"c{n}" for n in range(5)],
    OPPORTUNITY: ["o0", "o1"],
    ROLE: ["r0", "r1", "r2"],
    ACTIVITY: ["a0", "a1"],
}
_PLACES = st.sampled_from([(entity, identifier) for entity, group in _RECORDS.items() for identifier in group])
_EVENTS = st.one_of(
    st.tuples(st.just("put"), _PLACES, st.integers(0, 3)),
    st.tuples(st.just("delete"), _PLACES, st.none()),
    st.tuples(st.just("merge"), st.sampled_from(_RECORDS[CONTACT]), st.sampled_from(_RECORDS[CONTACT])),
    st.tuples(st.just("restore"), _PLACES, st.none()),
    st.tuples(st.just("wait"), st.sampled_from([1, 60, 540, 7200, 90_000]), st.none()),
)


def _happen(crm: LivingCrm, kind: str, what, value) -> None:
    match kind:
        case "put" if what[0] is ROLE:
            crm.put(*what, opportunity_id=f"o{value % 2}", contact_id=f"c{value}")
        case "put" if what[0] is CONTACT:
            crm.put(*what, last_name=f"Name {value}", email=f"{value}@example.com")
        case "put":
            crm.put(*what)
        case "merge" if what != value and {what, value} <= crm.tables[CONTACT].keys():
            crm.delete(CONTACT, what, into=value)
        case "delete" | "restore":
            getattr(crm, kind)(*what)
        case "wait":
            crm.wait(seconds=what)


_DAYS = st.lists(st.lists(_EVENTS, min_size=1, max_size=12), min_size=1, max_size=4)
_LIFE = {
    "days": _DAYS,
    "keeps_losers": st.booleans(),
    "remembers": st.sampled_from([None, timedelta(hours=2)]),
    "slow_minutes": st.sampled_from([0, -30, 9, 600]),
}


def _live(days, keeps_losers, remembers, slow_minutes) -> None:
    crm = LivingCrm(keeps_losers=keeps_losers, remembers=remembers, slow=timedelta(minutes=slow_minutes))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.duckdb"
        night(crm, path)
        for events in days:
            for event in events:
                _happen(crm, *event)
            crm.wait(seconds=1)
            by_changes, whole = night(crm, path), in_full(crm, path)
            assert by_changes.fingerprint == whole.fingerprint
            assert by_changes.findings == whole.findings
            assert by_changes.rows == whole.rows


_ONCE = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=3, deadline=None, suppress_health_check=_ONCE)
@given(**_LIFE)
def test_by_changes_equals_in_full(days, keeps_losers, remembers, slow_minutes):
    _live(days, keeps_losers, remembers, slow_minutes)


@pytest.mark.large
@settings(max_examples=40, deadline=None, suppress_health_check=_ONCE)
@given(**_LIFE)
def test_by_changes_equals_in_full_over_many_lives(days, keeps_losers, remembers, slow_minutes):
    _live(days, keeps_losers, remembers, slow_minutes)


def test_only_changes_are_read_and_told(crm, path):
    night(crm, path)
    crm.wait(days=1)
    crm.put(CONTACT, "c1", last_name="B")
    crm.put(CONTACT, "c3", last_name="New")
    crm.delete(CONTACT, "c2")
    crm.wait(hours=1)
    events = []
    summary = night(crm, path, progress=events.append)
    assert summary.reads[CONTACT] == EntityRead(None, changed=2, deleted=1)
    assert summary.reads[ACTIVITY] == EntityRead(None, changed=0, deleted=0)
    assert ids(path) == {"c1", "c3"}
    told = [event for event in events if getattr(event, "entity", None) is CONTACT]
    assert told == [EntityStarted(CONTACT, None), RowsRead(CONTACT, 2), EntityDone(CONTACT, 2)]


def test_changes_are_read_from_where_the_last_pull_began_less_the_overlap(crm, path):
    crm.put(CONTACT, "c1", last_name="B")  # a moment before the pull: the latest change
    night(crm, path)
    began = crm.now
    crm.wait(days=1)
    night(crm, path)
    assert dict(crm.asked)[CONTACT] == began - OVERLAP
    assert dict(crm.asked)[ACTIVITY] == began - SLOW_CLOCK - OVERLAP, "nothing known of its clock"


def test_a_clock_that_lags_by_hours_loses_nothing(crm, path):
    crm.slow = timedelta(hours=14)
    crm.put(CONTACT, "c1", last_name="B")
    night(crm, path)
    crm.wait(minutes=1)
    crm.put(CONTACT, "c3")
    crm.delete(CONTACT, "c2")
    crm.wait(minutes=1)
    assert night(crm, path).reads[CONTACT].why_full is None
    assert ids(path) == {"c1", "c3"}


def test_a_date_in_the_future_does_not_hide_changes(crm, path):
    crm.tables[CONTACT]["c9"] = {"id": "c9", "modified_at": crm.now + timedelta(days=900)}
    crm.slow = timedelta(hours=5)
    night(crm, path)
    crm.put(CONTACT, "c3")
    night(crm, path)
    assert "c3" in ids(path)


def test_a_deletion_of_a_record_that_came_back_is_no_loss(crm, path):
    night(crm, path)
    crm.delete(CONTACT, "c1")
    crm.restore(CONTACT, "c1")
    assert night(crm, path).reads[CONTACT].deleted == 0
    assert ids(path) == {"c1", "c2"}


def test_a_record_that_comes_back_between_the_two_reads_is_no_loss(crm, path):
    night(crm, path)
    crm.delete(CONTACT, "c1")

    class Lively(LivingCrm):
        def read_deleted(self, entity, *, since):
            yield from LivingCrm.read_deleted(self, entity, since=since)
            self.restore(CONTACT, "c1")

    crm.__class__ = Lively
    night(crm, path)
    assert ids(path) == {"c1", "c2"}


def test_what_was_merged_away_leads_to_its_master_where_the_crm_keeps_it(crm, path):
    crm.keeps_losers = True
    night(crm, path)
    crm.delete(CONTACT, "c1", into="c2")
    night(crm, path)
    with Snapshot.open(path) as snapshot:
        assert snapshot.connection.sql("SELECT contact_id FROM resolved.roles").fetchall() == [("c2",)]


def test_a_record_that_comes_twice_while_it_changes_is_kept_once_as_it_is_last(crm, path):
    night(crm, path)

    class Paging(LivingCrm):
        def read(self, entity, *, since=None):
            yield from LivingCrm.read(self, entity, since=since)
            if entity is CONTACT:
                self.put(CONTACT, "c1", last_name="Later")
                yield from LivingCrm.read(self, entity, since=since)

    crm.__class__ = Paging
    crm.wait(minutes=1)
    crm.put(CONTACT, "c1", last_name="Sooner")
    crm.wait(seconds=1)
    summary = night(crm, path)
    assert summary.rows[CONTACT] == 2
    assert not [found for found in summary.findings if found.code == "duplicate_id"]
    with Snapshot.open(path) as snapshot:
        kept = snapshot.connection.sql("SELECT last_name FROM crm.contact WHERE id = 'c1'").fetchall()
    assert kept == [("Later",)]
    assert night(crm, path.with_name("other.duckdb"), previous=path).reads[CONTACT].why_full is None


def _reasons(summary: PullSummary) -> set[WhyFull | None]:
    return {read.why_full for read in summary.reads.values()}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"previous": None}, WhyFull.ASKED),
        ({"time_zone": "Europe/Berlin"}, WhyFull.OTHER_SOURCE),
        ({"source_id": "another org"}, WhyFull.OTHER_SOURCE),
        ({"as_of": START}, WhyFull.CLOCK),
        ({"full_after_days": 0}, WhyFull.DUE),
    ],
)
def test_where_the_earlier_snapshot_says_nothing_everything_is_read(crm, path, change, why):
    night(crm, path)
    assert _reasons(night(crm, path, **change)) - {WhyFull.NO_DELETIONS} == {why}


def test_another_adapters_snapshot_is_not_built_on(crm, path):
    pull(DictCrm({"contact": [{"id": "stranger"}]}), path, as_of=START)
    assert _reasons(night(crm, path)) == {WhyFull.OTHER_SOURCE}
    assert ids(path) == {"c1", "c2"}


@pytest.mark.parametrize("content", [None, b"shopping list" * 1000])
def test_without_a_readable_snapshot_everything_is_read(crm, path, content):
    path.parent.mkdir()
    if content:
        path.write_bytes(content)
    assert _reasons(night(crm, path)) == {WhyFull.FIRST}
    assert ids(path) == {"c1", "c2"}


def test_an_older_format_is_not_built_on(crm, path):
    night(crm, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta.snapshot SET schema_version = 2")
    assert _reasons(night(crm, path)) == {WhyFull.FIRST}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"incremental": EVERY - {CONTACT}}, WhyFull.NO_CHANGES),
        ({"deletions": EVERY - {CONTACT}}, WhyFull.NO_DELETIONS),
        ({"remembers": timedelta(hours=1)}, WhyFull.FORGOTTEN),
        ({"counts": True}, WhyFull.MISCOUNT),
    ],
)
def test_an_entity_of_which_the_crm_tells_too_little_is_read_in_full(crm, path, change, why):
    night(crm, path)
    crm.wait(days=1)
    del crm.tables[CONTACT]["c2"]  # gone without a word
    for name, value in change.items():
        setattr(crm, name, value)
    summary = night(crm, path)
    assert summary.reads[CONTACT] == EntityRead(why, changed=1, deleted=0)
    assert "duplicate_id" not in {found.code for found in summary.findings}
    assert ids(path) == {"c1"}


def test_a_count_that_agrees_lets_changes_be_enough(crm, path):
    crm.counts = True
    night(crm, path)
    crm.put(CONTACT, "c3")
    crm.delete(CONTACT, "c1")
    assert night(crm, path).reads[CONTACT].why_full is None


def test_an_entity_that_was_not_there_before_is_read_in_full(crm, path):
    crm.entities = EVERY - {ACTIVITY}
    night(crm, path)
    crm.put(ACTIVITY, "a1")
    crm.wait(days=9)
    crm.entities = EVERY
    summary = night(crm, path)
    assert summary.reads[ACTIVITY].why_full is WhyFull.NEW
    assert summary.reads[CONTACT].why_full is None
    assert ids(path, ACTIVITY) == {"a1"}


def test_an_entity_that_is_no_longer_there_leaves_nothing(crm, path):
    crm.put(ACTIVITY, "a1")
    night(crm, path)
    crm.entities = EVERY - {ACTIVITY}
    assert ACTIVITY not in night(crm, path).reads
    assert ids(path, ACTIVITY) == set()


def test_ids_that_came_twice_keep_an_entity_from_being_built_on(crm, path):
    class Doubled(LivingCrm):
        def read(self, entity, *, since=None):
            yield from LivingCrm.read(self, entity, since=since)
            if entity is CONTACT and since is None:
                yield from LivingCrm.read(self, entity, since=since)

    crm.__class__ = Doubled
    night(crm, path)
    summary = night(crm, path)
    assert summary.reads[CONTACT].why_full is WhyFull.DUPLICATES
    assert [found.count for found in summary.findings if found.code == "duplicate_id"] == [2]


def test_each_entity_is_read_in_full_again_after_so_many_days(crm, path):
    whys = []
    for _ in range(5):
        summary = night(crm, path, full_after_days=3)
        whys.append(summary.reads[CONTACT].why_full)
        crm.wait(days=1)
    assert whys == [WhyFull.FIRST, None, None, WhyFull.DUE, None]


def test_a_pull_that_fails_leaves_the_earlier_snapshot_to_build_on(crm, path):
    first = night(crm, path)
    crm.put(CONTACT, "c3")
    crm.wait(hours=1)

    class Failing(LivingCrm):
        def read(self, entity, *, since=None):
            if entity is OPPORTUNITY:
                raise CrmUnavailable("down")
            return LivingCrm.read(self, entity, since=since)

    crm.__class__ = Failing
    with pytest.raises(CrmUnavailable):
        night(crm, path)
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    with Snapshot.open(path) as snapshot:
        assert snapshot.meta.snapshot_id == first.snapshot_id
    crm.__class__ = LivingCrm
    night(crm, path)
    assert ids(path) == {"c1", "c2", "c3"}


def test_an_open_snapshot_may_be_built_on(crm, path):
    night(crm, path)
    with Snapshot.open(path) as old:
        crm.delete(CONTACT, "c2")
        assert night(crm, path).reads[CONTACT].deleted == 1
        assert len(old.table(CONTACT)) == 2


def test_an_error_of_the_log_of_deletions_is_no_full_read(crm, path):
    night(crm, path)

    class Down(LivingCrm):
        def read_deleted(self, entity, *, since):
            raise CrmUnavailable("down")

    crm.__class__ = Down
    with pytest.raises(CrmUnavailable):
        night(crm, path)
