"""An adapter that wants to see the snapshot before sees it while it is read, and no longer."""

import pytest
from living_crm import LivingCrm

from crmbridge.errors import CrmUnavailable
from crmbridge.model import Entity
from crmbridge.snapshot import WhyFull, pull

CONTACT = Entity.CONTACT


class Building(LivingCrm):
    """Notes what it was given, and what that told while contacts were read."""

    org = "org 1"
    fails = False

    def identity(self):
        return self.org

    def __init__(self):
        super().__init__()
        self.given, self.seen = [], []

    def build_on(self, earlier):
        self.given.append(earlier)

    def read(self, entity, *, since=None):
        earlier = self.given[-1]
        if entity is CONTACT and earlier is not None:
            self.seen.append((earlier.read_at(CONTACT), earlier.columns(CONTACT, "id", "last_name").to_pylist()))
        yield from super().read(entity, since=since)
        if self.fails:
            raise CrmUnavailable("gone")


@pytest.fixture
def crm():
    crm = Building()
    crm.put(CONTACT, "c1", last_name="A")
    return crm


def night(crm, path, **options):
    return pull(crm, path, as_of=crm.now, previous=path, threads=1, **options)


def test_it_sees_what_the_last_pull_kept(crm, tmp_path):
    path = tmp_path / "snapshot.duckdb"
    night(crm, path)
    first = crm.now
    crm.wait(days=1)
    crm.put(CONTACT, "c1", last_name="B")
    night(crm, path)
    assert crm.seen == [(first, [{"id": "c1", "last_name": "A"}])]


def test_it_is_told_when_there_is_nothing_to_build_on_and_when_it_is_over(crm, tmp_path):
    path = tmp_path / "snapshot.duckdb"
    night(crm, path)
    assert crm.given == [None, None]
    night(crm, path)
    assert [given is None for given in crm.given[2:]] == [False, True]


def test_it_is_told_that_it_is_over_where_it_fails(crm, tmp_path):
    path = tmp_path / "snapshot.duckdb"
    night(crm, path)
    crm.fails = True
    with pytest.raises(CrmUnavailable):
        night(crm, path)
    assert crm.given[-1] is None


def test_what_another_crm_left_is_not_built_on(crm, tmp_path):
    path = tmp_path / "snapshot.duckdb"
    night(crm, path)
    crm.org = "org 2"
    assert {read.why_full for read in night(crm, path).reads.values()} == {WhyFull.OTHER_SOURCE}
    assert night(crm, path).reads[CONTACT].why_full is None
