"""Pulling: what is refused, what is kept, and that a failure leaves everything as it was."""

from __future__ import annotations

import errno
import os
import stat
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from dict_crm import AS_OF, DictCrm, raw, rows

from crmbridge.errors import DataError, SettingsError, WorkspaceError
from crmbridge.model import Contact as ContactRecord
from crmbridge.model import Entity, arrow_schema, record_batches, records
from crmbridge.snapshot import (
    RESOLVED,
    EntityDone,
    EntityStarted,
    PullDone,
    Resolving,
    RowsRead,
    Snapshot,
    pull,
)
from crmbridge.snapshot.store import SCHEMA_VERSION

ONE = {"contact": [{"id": "c1"}], "opportunity": [{"id": "o1"}], "contact_role": []}


def test_an_empty_crm_gives_every_table_with_its_columns(pulled):
    snapshot = pulled({})
    assert set(snapshot.counts().values()) == {0}
    for entity in Entity:
        assert snapshot.table(entity).schema == arrow_schema(entity)
    for name, schema in RESOLVED.items():
        native = getattr(snapshot.frames(), name).collect().to_native()
        assert (native.schema.names, native.schema.types) == (schema.names, schema.types), name
        assert len(native) == 0


def test_records_come_back_as_they_were_given(pulled):
    moment = datetime(2025, 3, 1, 10, 30, 1, 123456, tzinfo=timezone(timedelta(hours=2)))
    given = {"id": "ü-1 '\"", "last_name": "Ōe", "email": "x@y.de", "created_at": moment, "has_left": False}
    snapshot = pulled({"contact": [given]})
    assert list(records(Entity.CONTACT, snapshot.table(Entity.CONTACT))) == [ContactRecord(**given)]
    assert [len(batch) for batch in snapshot.batches(Entity.CONTACT)] == [1]


def test_meta_says_where_it_came_from(pulled):
    only = frozenset({Entity.CONTACT, Entity.OPPORTUNITY, Entity.CONTACT_ROLE})
    meta = pulled(ONE, entities=only, time_zone="Europe/Berlin").meta
    assert (meta.adapter, meta.as_of, meta.time_zone, meta.entities) == ("dicts", AS_OF, "Europe/Berlin", only)


def test_progress_counts_up_and_ends(path):
    events = []
    summary = pull(DictCrm({"contact": [{"id": str(i)} for i in range(5)]}), path, as_of=AS_OF, progress=events.append)
    contact = [e for e in events if getattr(e, "entity", None) == Entity.CONTACT]
    assert contact == [EntityStarted(Entity.CONTACT, 5), RowsRead(Entity.CONTACT, 5), EntityDone(Entity.CONTACT, 5)]
    assert any(isinstance(e, Resolving) for e in events)
    assert events[-1] == PullDone(summary)
    assert summary.rows[Entity.CONTACT] == 5


def test_nobody_asks_for_totals_without_a_progress_bar(path):
    class Dear(DictCrm):
        def count(self, entity):
            raise AssertionError("asked")

    pull(Dear(ONE), path, as_of=AS_OF)


def test_the_file_is_private_and_nothing_is_left_beside_it(path):
    pull(DictCrm(ONE), path, as_of=AS_OF)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_leftovers_of_a_killed_pull_are_swept_away(path):
    (path.parent / (path.name + ".new")).mkdir(parents=True)
    (path.parent / (path.name + ".new") / path.name).write_bytes(b"half a file")
    pull(DictCrm(ONE), path, as_of=AS_OF)
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_a_failed_pull_leaves_the_previous_snapshot(path):
    first = pull(DictCrm(ONE), path, as_of=AS_OF)
    broken = DictCrm({**ONE, "contact": [{"id": "c1"}, {"id": "c2"}]}, fail_at=Entity.OPPORTUNITY)
    with pytest.raises(ConnectionError, match="lost its CRM"):
        pull(broken, path, as_of=AS_OF)
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    with Snapshot.open(path) as snapshot:
        assert snapshot.meta.snapshot_id == first.snapshot_id
        assert snapshot.counts()[Entity.CONTACT] == 1


def test_an_open_snapshot_survives_a_pull_and_a_new_one_sees_it(path):
    pull(DictCrm(ONE), path, as_of=AS_OF)
    with Snapshot.open(path) as old:
        pull(DictCrm({**ONE, "contact": [{"id": "c1"}, {"id": "c2"}]}), path, as_of=AS_OF)
        with Snapshot.open(path) as new:
            assert len(old.table(Entity.CONTACT)) == 1
            assert len(new.table(Entity.CONTACT)) == 2


def test_a_snapshot_cannot_be_changed_through_its_connection(pulled):
    with pytest.raises(duckdb.Error):
        pulled(ONE).connection.execute("DELETE FROM crm.contact")


SCHEMA = arrow_schema(Entity.CONTACT)


def _without(name: str) -> pa.Schema:
    return pa.schema([f for f in SCHEMA if f.name != name])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (_without("email"), ("contact", "missing: ['email']", "unknown: none")),
        (SCHEMA.append(pa.field("shoe_size", pa.int8())), ("contact", "missing: none", "unknown: ['shoe_size']")),
        (_without("title").append(pa.field("job", pa.string())), ("missing: ['title']", "unknown: ['job']")),
        (SCHEMA.append(pa.field("email", pa.string())), ("got 14 columns, wanted 13",)),
        (
            pa.schema([f if f.name != "created_at" else pa.field("created_at", pa.timestamp("us")) for f in SCHEMA]),
            ("contact.created_at", "got type timestamp[us]", "wanted timestamp[us, tz=UTC]"),
        ),
        (
            pa.schema([f if f.name != "id" else pa.field("id", pa.int64()) for f in SCHEMA]),
            ("contact.id", "got type int64", "wanted string"),
        ),
    ],
)
def test_wrong_columns_are_named(path, schema, words):
    batch = pa.RecordBatch.from_arrays([pa.nulls(1, f.type) for f in schema], schema=schema)
    with pytest.raises(DataError) as caught:
        pull(DictCrm({"contact": [batch]}), path, as_of=AS_OF)
    for word in words:
        assert word in str(caught.value)
    assert not path.exists()


def test_columns_may_come_in_any_order(pulled):
    batch = raw(Entity.CONTACT, {"id": "c1", "title": "CEO"}).select(SCHEMA.names[::-1])
    assert rows(pulled({"contact": [batch]}), "SELECT contact_id, title FROM resolved.contacts") == [("c1", "CEO")]


@pytest.mark.parametrize(
    ("entity", "row", "words"),
    [
        (Entity.CONTACT, {"id": None}, ("contact.id", "1 of the 2 rows of batch 1")),
        (Entity.CONTACT, {"id": ""}, ("contact.id", "1 of the 2 rows")),
        (Entity.EXCHANGE_RATE, {"id": "x", "currency": "USD", "base_currency": "EUR"}, ("exchange_rate.rate", "2 of the 2 rows")),
        (Entity.CONTACT_ROLE, {"id": "r", "opportunity_id": "o"}, ("contact_role.contact_id", "2 of the 2 rows")),
    ],
)
def test_null_or_blank_required_values_are_counted(path, entity, row, words):
    batch = raw(entity, row, {**row, "id": "fine"})
    with pytest.raises(DataError) as caught:
        pull(DictCrm({entity: [batch]}), path, as_of=AS_OF)
    for word in words:
        assert word in str(caught.value)


def test_text_that_is_not_utf8_is_a_data_error(path):
    batch = raw(Entity.CONTACT, {"id": "c1", "title": "xx"})
    broken = pa.StringArray.from_buffers(1, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe"))
    batch = batch.set_column(batch.schema.get_field_index("title"), SCHEMA.field("title"), broken)
    with pytest.raises(DataError, match=r"contact: .*UTF-8"):
        pull(DictCrm({"contact": [batch]}), path, as_of=AS_OF)


def test_essential_entities_are_required(path):
    with pytest.raises(DataError, match="does not read contact_role"):
        pull(DictCrm(ONE, entities=frozenset({Entity.CONTACT, Entity.OPPORTUNITY})), path, as_of=AS_OF)


def test_settings_are_checked_before_anything_is_read(path):
    with pytest.raises(SettingsError, match="'Mars/Olympus'"):
        pull(DictCrm(ONE), path, time_zone="Mars/Olympus", as_of=AS_OF)
    with pytest.raises(DataError, match="naive"):
        pull(DictCrm(ONE), path, as_of=datetime(2026, 1, 1))  # noqa: DTZ001
    assert not path.parent.exists()


def test_there_must_be_a_snapshot_to_open(path):
    with pytest.raises(WorkspaceError, match=r"no snapshot(.|\n)*crmbridge pull"):
        Snapshot.open(path)


def test_a_file_that_is_no_snapshot_is_refused(tmp_path):
    stranger = tmp_path / "notes.duckdb"
    stranger.write_text("shopping list" * 1000)
    with pytest.raises(WorkspaceError, match=r"not a snapshot(.|\n)*crmbridge pull"):
        Snapshot.open(stranger)
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).close()
    with pytest.raises(WorkspaceError, match="not a snapshot"):
        Snapshot.open(other)


@pytest.mark.parametrize("version", [0, 99])
def test_another_schema_version_is_refused(path, version):
    pull(DictCrm(ONE), path, as_of=AS_OF)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta.snapshot SET schema_version = $1", [version])
    with pytest.raises(WorkspaceError, match=rf"version {version}, wanted {SCHEMA_VERSION}(.|\n)*crmbridge pull"):
        Snapshot.open(path)


def test_a_folder_that_cannot_be_written_is_a_workspace_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="cannot write the snapshot"):
        pull(DictCrm(ONE), tmp_path / "file" / "snapshot.duckdb", as_of=AS_OF)


def test_a_full_disk_is_a_workspace_error(path, monkeypatch):
    pull(DictCrm(ONE), path, as_of=AS_OF)

    def full(self, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WorkspaceError, match="No space left on device"):
        pull(DictCrm(ONE), path, as_of=AS_OF)
    assert [child.name for child in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform != "linux", reason="limits file sizes in a child process")
def test_a_disk_that_fills_up_while_duckdb_writes_is_a_workspace_error(path):
    """A limit on file sizes stands in for the full disk: DuckDB meets it in the middle of its own writes."""
    import resource
    import signal

    noise = [{"id": os.urandom(12).hex()} for _ in range(30_000)]
    batches = list(record_batches(Entity.CONTACT, [ContactRecord(**row) for row in noise]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(WorkspaceError, match="cannot write the snapshot"):
            pull(DictCrm({"contact": batches}), path, as_of=AS_OF)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(path.parent.iterdir()) == []


def test_small_batches_are_gathered_without_loss(pulled):
    snapshot = pulled({"contact": [raw(Entity.CONTACT, {"id": f"c{i}"}) for i in range(300)]})
    assert snapshot.counts()[Entity.CONTACT] == 300


def test_as_of_keeps_its_moment(pulled):
    as_of = datetime(1969, 12, 31, 23, 59, 58, 250_000, tzinfo=UTC)
    assert pulled(ONE, as_of=as_of).meta.as_of == as_of
