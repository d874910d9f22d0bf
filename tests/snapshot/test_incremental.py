"""Pulling by changes: what comes of it equals a full pull of the same CRM, and where it might not, a full read is made."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from living_crm import LivingCrm

from crmbridge.model import Entity
from crmbridge.snapshot import PullSummary, Snapshot, pull

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


@settings(max_examples=6, deadline=None, suppress_health_check=_ONCE)
@given(**_LIFE)
def test_by_changes_equals_in_full(days, keeps_losers, remembers, slow_minutes):
    _live(days, keeps_losers, remembers, slow_minutes)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=_ONCE)
@given(**_LIFE)
def test_by_changes_equals_in_full_over_many_lives(days, keeps_losers, remembers, slow_minutes):
    _live(days, keeps_losers, remembers, slow_minutes)
