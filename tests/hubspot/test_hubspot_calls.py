"""What runs cost in API calls: held to within a tenth of the least that HubSpot's limits allow, and told beforehand."""

import re
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from benchmarks.hubspot_calls import (
    NIGHTS,
    Heard,
    change,
    changed_since,
    least_changed,
    least_whole,
    least_write,
    read_all,
    sizes_of,
)
from benchmarks.metered import planned_lines
from portals import QUICK

from crmbridge.adapters.hubspot import HubSpotOptions
from crmbridge.apply import execute
from crmbridge.journal import Journal
from crmbridge.model import Campaign, CampaignMember, Contact, Entity
from crmbridge.testing import KeptRecords
from crmbridge.testing.sandbox import HubSpotSandbox
from crmbridge.testing.sandbox.crowd import crowd_tables
from crmbridge.undo import undo

PROBES = 11
"""Looks at what the token may read, once for each process: nothing tells it in fewer."""
SLICE_DAYS = 7
CHANGED = 0.3


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def portal():
    with HubSpotSandbox(crowd_tables(opportunities=1_600, contacts=4_000, activities=3_200)) as made:
        yield made


@pytest.fixture(scope="module")
def opened(portal):
    def open_one(**more):
        given = {"access_token": portal.access_token, "base_url": portal.url}
        return closing(Heard(HubSpotOptions(**given, settle_wait_s=0, **more)))

    return open_one


@pytest.fixture(scope="module")
def whole(portal, opened):
    """Calls of a full pull, and what it read."""
    kept = KeptRecords()
    with opened() as adapter:
        return spent(portal, lambda: read_all(adapter, kept=kept)), kept


def spent(portal, work):
    before = portal.calls_used
    work()
    return portal.calls_used - before


def is_near(calls, least):
    return least <= calls <= 1.1 * least + PROBES


def told_by_check(adapter):
    (cost,) = [check.detail for check in adapter.check().checks if check.name == "cost"]
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]+(?= API calls| by)", cost)]


def test_a_full_pull(portal, whole):
    assert is_near(whole[0], least_whole(sizes_of(portal, SLICE_DAYS)))


@pytest.mark.parametrize("night", NIGHTS)
def test_a_nightly_pull_and_what_check_tells_of_it(portal, opened, whole, night):
    (full, kept), options = whole, NIGHTS[night]
    change(portal, CHANGED)  # so much that links are more than a call's
    with opened(**options) as adapter:
        told_whole, told_nightly = told_by_check(adapter)
    with opened(**options) as adapter:
        nightly = spent(portal, lambda: read_all(adapter, earlier=kept))
        changed = changed_since(portal, adapter.searched())
    assert is_near(nightly, least_changed(sizes_of(portal, SLICE_DAYS), changed, **{"links_stay": False} | options))
    assert nightly < full
    assert (told_whole, told_nightly) == (pytest.approx(full, rel=0.03), pytest.approx(nightly, rel=0.1))


def test_applying_and_undoing(portal, opened, tmp_path):
    deals, people = (sorted(portal.id_map(entity).values()) for entity in (Entity.OPPORTUNITY, Entity.CONTACT))
    lines = planned_lines(sorted([*deals[:1_500], *deals[:750]]), people, 2_250)
    with opened() as adapter, Journal.open(tmp_path / "journal.db") as journal:
        assert adapter.capabilities
        runs = []
        applied = spent(portal, lambda: runs.append(execute(adapter, journal, lines, kind="apply", plan_id="p", plan_hash="p")))
        undone = spent(portal, lambda: runs.append(undo(adapter, journal, runs[0].run_id)))
    assert [run.counts for run in runs] == [{"applied": 2_250}] * 2
    for calls, is_undo in ((applied, False), (undone, True)):
        least = least_write(2_250, 1_500, is_undo=is_undo)
        assert least <= calls <= 1.1 * least


TODAY = datetime.now(UTC).replace(hour=12)
BEGUN = TODAY - timedelta(days=7 * 60 + 3)


def fair(weeks):
    """A campaign that began 60 weeks ago, with a response in each of these weeks."""
    responses = [
        CampaignMember(id=str(week), campaign_id="fair", contact_id=str(100 + week), has_responded=True, responded_at=at(week))
        for week in weeks
    ]
    return {
        Entity.CONTACT: [Contact(id=str(100 + week), last_name="Lark", created_at=BEGUN, modified_at=BEGUN) for week in weeks],
        Entity.CAMPAIGN: [Campaign(id="fair", name="Fair", start_date=BEGUN.date(), created_at=BEGUN, modified_at=BEGUN)],
        Entity.CAMPAIGN_MEMBER: responses,
    }


def at(week):
    return BEGUN + timedelta(days=7 * week + 2)


@pytest.mark.parametrize(
    ("weeks", "most"),
    [((), 0), ((60,), 9), ((0,), 6), ((30,), 7), (range(12), 15), (range(61), 60)],
    ids=["nobody", "now", "at once", "once", "a campaign's run", "all the time"],
)
def test_touches_are_dated_by_few_questions(weeks, most):
    with HubSpotSandbox(fair(weeks)) as made:
        given = {"access_token": made.access_token, "base_url": made.url} | QUICK
        with closing(Heard(HubSpotOptions(**given))) as adapter:
            found = [row for batch in adapter.read(Entity.CAMPAIGN_MEMBER) for row in batch.to_pylist()]
        asked = Counter(made.calls)["campaigns reports"] - 3
    ends = {int(row["contact_id"]) - 100: row["responded_at"].date() for row in found}
    assert ends == {week: min(at(week).date() + timedelta(days=4), TODAY.date()) for week in weeks}
    assert asked <= most
