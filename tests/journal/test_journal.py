"""The journal's file and what it remembers."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from crmbridge.contract import Outcome, PairState, Receipt, RoleRow, RoleWrite
from crmbridge.errors import WorkspaceBusy, WorkspaceError
from crmbridge.journal import Journal, PlannedWrite, observe_removals

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    with Journal.open(path, clock=lambda: NOW) as journal:
        yield journal


def line(opportunity_id, contact_id):
    write = RoleWrite(key=f"{opportunity_id}:{contact_id}", action="put", opportunity_id=opportunity_id, contact_id=contact_id)
    return PlannedWrite(line_id=write.key, write=write, detail={"bits": [3.5], "reasons": ["lead"]})


def wrote(journal, *pairs, plan="p"):
    """A finished run that applied these pairs; role ids are `opportunity-contact`."""
    run, _ = journal.begin_run("apply", plan_id=plan, plan_hash=plan, undoes_run_id=None)
    lines = [line(*pair) for pair in pairs]
    journal.record_intents(run, lines, [], {})
    after = [PairState(rows=(RoleRow(id="-".join(pair), role=None, is_primary=False),)) for pair in pairs]
    keys = [item.write.key for item in lines]
    journal.record_receipts(
        run, [Receipt(key=key, outcome=Outcome.APPLIED, after=state) for key, state in zip(keys, after, strict=True)]
    )
    journal.end_run(run.run_id)
    return run


def ids(*values):
    return pa.array(values, pa.string())


def pairs(*values):
    columns = list(zip(*values, strict=True)) or [(), ()]
    return pa.table({"opportunity_id": ids(*columns[0]), "contact_id": ids(*columns[1])})


def test_the_file_is_private_and_safe(journal, path):
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"journal.db", "journal.db-wal"} <= set(modes)
    pragmas = [journal._database.rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert pragmas == ["wal", 2, 1]


def test_the_workspace_keeps_its_id(path):
    with Journal.open(path) as first:
        workspace_id = first.workspace_id
    with Journal.open(path) as again:
        assert again.workspace_id == workspace_id


def test_run_ids_are_dated_and_found_by_a_unique_prefix(journal):
    first, second = wrote(journal, ("o1", "c1"), plan="p"), wrote(journal, ("o1", "c2"), plan="q")
    assert first.run_id.startswith("2026-11-22-")
    assert len(first.run_id) == len("2026-11-22-a3f9")
    assert journal.run(second.run_id).plan_hash == "q"
    with pytest.raises(WorkspaceError, match="More than one"):
        journal.run("2026")
    with pytest.raises(WorkspaceError, match="No run"):
        journal.run("")


def test_runs_come_newest_first_with_counts(journal):
    wrote(journal, ("o1", "c1"), ("o1", "c2"), plan="p")
    wrote(journal, ("o2", "c1"), plan="q")
    assert [(run.plan_id, run.counts, run.state, run.finished_at) for run in journal.runs()] == [
        ("q", {"applied": 1}, "finished", NOW),
        ("p", {"applied": 2}, "finished", NOW),
    ]


def test_reading_in_pages_gives_every_line_once(journal, monkeypatch):
    monkeypatch.setattr("crmbridge.journal.store._PAGE_ROWS", 2)
    run = wrote(journal, *[("o1", f"c{n}") for n in range(5)])
    assert [item.write.contact_id for item, _ in journal.applied(run.run_id)] == [f"c{n}" for n in range(5)]
    assert next(journal.applied(run.run_id))[0].detail == {"bits": [3.5], "reasons": ["lead"]}


def test_vetoes_are_idempotent_lifted_and_remembered(journal):
    assert journal.vetoes.add([("o1", "c1"), ("o1", "c2")], source="person", reason="left the deal") == 2
    assert journal.vetoes.add([("o1", "c1")], source="person") == 0
    assert journal.vetoes.add([("o1", "c1")], source="rejected") == 1
    assert journal.vetoes.active().to_pylist() == [
        {"opportunity_id": "o1", "contact_id": contact, "source": "person", "reason": "left the deal", "added_at": NOW}
        for contact in ("c1", "c2")
    ]
    assert journal.vetoes.lift([("o1", "c1")]) == 1
    assert journal.vetoes.lift([("o1", "c1")]) == 0
    assert journal.vetoes.active()["contact_id"].to_pylist() == ["c2"]
    assert journal.vetoes.history()["lifted_at"].to_pylist() == [NOW, None, NOW]
    assert journal.vetoes.add([("o1", "c1")], source="person") == 1


def test_empty_tables_keep_their_columns(journal):
    assert journal.vetoes.active().num_rows == journal.own_role_ids().num_rows == 0
    assert journal.vetoes.active().schema.field("added_at").type == pa.timestamp("us", tz="UTC")
    assert journal.vetoes.add([], source="person") == 0


# Removals by people


def observed(journal, present=(), opportunities=("o1", "o2"), contacts=("c1", "c2"), pulled_at=NOW + timedelta(hours=1)):
    return observe_removals(
        journal,
        present_pairs=pairs(*present),
        live_opportunity_ids=ids(*opportunities),
        live_contact_ids=ids(*contacts),
        pulled_at=pulled_at,
    )


def test_what_a_person_removed_is_vetoed_once(journal):
    wrote(journal, ("o1", "c1"), ("o1", "c2"))
    assert observed(journal, present=[("o1", "c2"), ("o2", "c1")]) == 1
    assert journal.vetoes.active().select(["contact_id", "source"]).to_pylist() == [{"contact_id": "c1", "source": "removed"}]
    assert journal.own_role_ids()["role_id"].to_pylist() == ["o1-c2"]
    assert observed(journal, present=[("o1", "c2")]) == 0


@pytest.mark.parametrize(
    "pull",
    [
        {"opportunities": ["o2"]},
        {"contacts": ["c2"]},
        {"present": [("o1", "c1")]},
        {"pulled_at": NOW},
        {"pulled_at": NOW - timedelta(hours=1)},
        {"opportunities": [], "contacts": []},
    ],
    ids=[
        "opportunity is gone",
        "contact is gone or merged",
        "present",
        "written as the pull began",
        "written later",
        "empty pull",
    ],
)
def test_absence_that_tells_nothing_is_no_veto(journal, pull):
    wrote(journal, ("o1", "c1"))
    assert observed(journal, **pull) == 0
    assert journal.vetoes.active().num_rows == 0


def test_a_removal_of_ours_on_its_way_is_not_a_persons(journal):
    first = wrote(journal, ("o1", "c1"))
    undoing, _ = journal.begin_run("undo", plan_id="u", plan_hash="u", undoes_run_id=first.run_id)
    write = RoleWrite(key="u1", action="remove", opportunity_id="o1", contact_id="c1")
    journal.record_intents(undoing, [PlannedWrite(line_id="1", write=write)], [], {})
    assert observed(journal) == 0


# Files that are not as they should be


def test_a_newer_version_is_refused_with_both_versions(path):
    Journal.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '7' WHERE name = 'schema_version'")
    connection.close()
    with pytest.raises(WorkspaceError, match=r"version 7.*up to 1(.|\n)*upgrade"):
        Journal.open(path)


def test_a_foreign_database_is_refused_and_left_alone(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(WorkspaceError, match="not a crmbridge journal"):
        Journal.open(path)
    assert path.read_bytes() == before


def test_damage_is_named(path):
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(WorkspaceError, match="damaged"):
        Journal.open(path)


def test_a_journal_without_its_version_is_damaged(path):
    Journal.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM meta")
    connection.close()
    with pytest.raises(WorkspaceError, match="damaged"):
        Journal.open(path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(WorkspaceError, match="No such file"):
        Journal.open(tmp_path / "nowhere" / "journal.db")


def test_a_journal_another_process_locks_is_busy(path):
    with Journal.open(path, busy_timeout_s=0.05) as journal:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(WorkspaceBusy, match="nothing was done"):
            journal.vetoes.add([("o1", "c1")], source="person")
        holder.execute("ROLLBACK")
        holder.close()
        assert journal.vetoes.add([("o1", "c1")], source="person") == 1


def test_a_second_process_can_read_while_one_writes(journal, path):
    wrote(journal, ("o1", "c1"))
    with journal._database.transaction(), Journal.open(path) as reader:
        assert len(reader.runs()) == 1


def test_a_full_disk_says_that_nothing_is_lost(journal):
    wrote(journal, ("o1", "c1"))
    (pages,) = journal._database.rows("PRAGMA page_count")[0]
    journal._database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(WorkspaceError, match=r"Nothing is lost(.|\n)*free some space"):
        wrote(journal, *[("o1", f"c{n}") for n in range(2_000)], plan="q")
    journal._database.rows("PRAGMA max_page_count = 1000000")
    assert [run.counts for run in journal.runs()] == [{}, {"applied": 1}]
    wrote(journal, ("o1", "c5"), plan="q")


def test_a_quota_that_is_used_up_says_that_nothing_is_lost(path):
    script = (
        "import resource, sys\n"
        "from crmbridge.errors import WorkspaceError\n"
        "from crmbridge.journal import Journal\n"
        "journal = Journal.open(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        "    journal.vetoes.add([('o', str(n)) for n in range(20_000)], source='person')\n"
        "except WorkspaceError as error:\n"
        "    print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert "Nothing is lost" in done.stdout
    with Journal.open(path) as journal:
        assert journal.vetoes.active().num_rows == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_journal_is_named(path):
    Journal.open(path).close()
    path.chmod(0o400)
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        Journal.open(path)


def test_no_personal_field_exists(journal):
    columns = {
        name
        for (table,) in journal._database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (_, name, *_) in journal._database.rows(f"PRAGMA table_info({table})")
    }
    assert not {name for name in columns if "mail" in name or "name" in name} - {"name"}


def test_own_roles_tell_what_was_written_and_when_it_ended(journal):
    wrote(journal, ("o1", "c1"), ("o1", "c2"))
    journal.record_removals([("o1", "c2")])
    assert journal.own_roles().to_pylist() == [
        {
            "role_id": f"o1-{contact}",
            "opportunity_id": "o1",
            "contact_id": contact,
            "role": None,
            "is_primary": False,
            "since": NOW,
            "ended_at": ended_at,
            "ended_by": ended_by,
        }
        for contact, ended_at, ended_by in (("c1", None, None), ("c2", NOW, "removed"))
    ]
