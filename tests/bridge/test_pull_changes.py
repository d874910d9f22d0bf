"""Nightly pulls by changes: removals are still seen, and another CRM, or other options, is read anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa
from deals import deals

from crmbridge.adapters.sql.schema import create_tables, load
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.contract import RoleWrite, pair_state
from crmbridge.model import Entity
from crmbridge.snapshot import WhyFull


def test_the_second_pull_reads_changes_and_full_reads_all(opened, crm):
    bridge = opened(crm)
    assert bridge.pull().reads[Entity.CONTACT].why_full is WhyFull.FIRST
    assert bridge.pull().reads[Entity.CONTACT].why_full is None
    assert bridge.pull(full=True).reads[Entity.CONTACT].why_full is WhyFull.ASKED


def test_the_settings_say_how_often_everything_is_read(opened, crm):
    bridge = opened(crm, pull={"full_after_days": 0})
    bridge.pull()
    assert bridge.pull().reads[Entity.CONTACT].why_full is WhyFull.DUE


def test_a_role_that_a_person_removed_is_vetoed_after_a_pull_of_changes(bridge, crm):
    run = bridge.apply(bridge.plan(max_writes=2))
    assert bridge.pull().reads[Entity.CONTACT_ROLE].why_full is None
    assert bridge.vetoes().num_rows == 0, "what we wrote is there"
    pairs = bridge.journal.own_pairs(written_before=bridge._clock()).to_pylist()
    opportunity, contact = pairs[0]["opportunity_id"], pairs[0]["contact_id"]
    expected = pair_state(crm.roles(opportunity), contact)
    crm.write(RoleWrite(key="by hand", action="remove", opportunity_id=opportunity, contact_id=contact, expected=expected))
    summary = bridge.pull()
    assert summary.reads[Entity.CONTACT_ROLE].why_full is None
    assert summary.reads[Entity.CONTACT_ROLE].deleted == 1
    assert bridge.vetoes().select(["opportunity_id", "contact_id"]).to_pylist() == [
        {"opportunity_id": opportunity, "contact_id": contact}
    ]
    assert run.run_id


@pytest.fixture
def sqlite_bridge(tmp_path):
    """Open a bridge on an SQLite file by its settings; all of them share one workspace."""

    def open_bridge(name="crm.db", **options):
        path = tmp_path / name
        if not path.exists():
            engine = sa.create_engine(f"sqlite:///{path}")
            create_tables(engine)
            load(engine, deals())
            engine.dispose()
        values = {"crm": {"options": {"url": f"sqlite:///{path}", **options}}, "workspace": {"folder": str(tmp_path / "ws")}}
        return Bridge(in_memory(values))

    return open_bridge


def _why(bridge) -> WhyFull | None:
    with bridge:
        return bridge.pull().reads[Entity.CONTACT].why_full


def test_another_database_or_mapping_is_read_anew(sqlite_bridge, tmp_path):
    assert _why(sqlite_bridge()) is WhyFull.FIRST
    assert _why(sqlite_bridge()) is None
    assert _why(sqlite_bridge("other.db")) is WhyFull.OTHER_SOURCE
    assert _why(sqlite_bridge(time_zone="Europe/Berlin")) is WhyFull.OTHER_SOURCE


def test_rows_that_went_without_a_word_are_noticed(sqlite_bridge, tmp_path):
    _why(sqlite_bridge())
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection, connection:
        connection.execute("DELETE FROM contact WHERE id = (SELECT min(id) FROM contact)")
    assert _why(sqlite_bridge()) is WhyFull.MISCOUNT
