"""Writing: compare and write without a gap, one receipt each, on both engines."""

import threading

import pytest
import sqlalchemy as sa

from conftest import canonical, outcomes, put, undo, written
from crmbridge.adapters.sql import load
from crmbridge.adapters.sql.database import Database
from crmbridge.contract import Outcome, PairState, RoleRow, RoleWrite
from crmbridge.errors import CrmRefused, CrmUnavailable
from crmbridge.model import ContactRole, Entity

INTEGER_KEYS = """
[contact]
table = "people"
fields = { id = "pid" }
[opportunity]
table = "deals"
fields = { id = "deal" }
[contact_role]
table = "roles"
fields = { id = "id", opportunity_id = "deal", contact_id = "person"%s }
[contact_role.write]
%s
"""


def integer_tables(crm, more=""):
    serial = "INTEGER PRIMARY KEY" if crm.is_sqlite else "SERIAL PRIMARY KEY"
    crm.run("CREATE TABLE people (pid INTEGER PRIMARY KEY)")
    crm.run("CREATE TABLE deals (deal BIGINT PRIMARY KEY)")
    crm.run(
        f"CREATE TABLE roles (id {serial}, deal BIGINT NOT NULL REFERENCES deals, "
        f"person INTEGER NOT NULL REFERENCES people{more})"
    )
    crm.run("INSERT INTO people VALUES (1), (2), (3)")
    crm.run("INSERT INTO deals VALUES (10), (20)")


def role(record_id, opportunity_id, contact_id, **more):
    return ContactRole(id=record_id, opportunity_id=opportunity_id, contact_id=contact_id, **more)


def test_applied_then_already_then_undone_without_a_trace(crm):
    load(crm.engine, {Entity.CONTACT_ROLE: [role("r1", "o2", "c1", role="User")]}, schema=crm.schema)
    before = {table: crm.rows(table) for table in Entity}
    adapter = crm.adapter()
    writes = [put("o1", "c1"), put("o1", "c2", role=None), put("o2", "c2", is_primary=True)]
    receipts = written(adapter, writes)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    after = receipts["put-o2-c2"].after
    assert (after.rows[0].role, after.rows[0].is_primary, after.primary_contact_id) == ("Decision Maker", True, "c2")
    assert {receipt.outcome for receipt in written(adapter, writes).values()} == {Outcome.ALREADY}
    assert len(crm.rows("contact_role")) == 4
    removals = [undo(write, receipts[write.key]) for write in writes]
    assert {receipt.outcome for receipt in written(adapter, removals).values()} == {Outcome.APPLIED}
    assert {receipt.outcome for receipt in written(adapter, removals).values()} == {Outcome.ALREADY}
    assert {table: crm.rows(table) for table in Entity} == before


def test_nothing_to_write_gives_nothing(crm):
    assert written(crm.adapter(), []) == {}


def test_a_persons_hand_wins(crm):
    roles = [role("r1", "o1", "c1", role="User"), role("r2", "o2", "c3", is_primary=True)]
    load(crm.engine, {Entity.CONTACT_ROLE: roles}, schema=crm.schema)
    seen = PairState(rows=(RoleRow(id="r1", role="Buyer", is_primary=False),))
    removal = RoleWrite(key="undo", action="remove", opportunity_id="o1", contact_id="c1", expected=seen)
    receipts = written(crm.adapter(), [put("o1", "c1"), removal, put("o2", "c1", is_primary=True), put("o2", "c2")])
    assert outcomes(receipts) == {
        "put-o1-c1": ("conflict", None),
        "undo": ("conflict", None),
        "put-o2-c1": ("conflict", None),
        "put-o2-c2": ("applied", None),
    }
    assert receipts["put-o1-c1"].before.rows[0].role == "User"
    assert len(crm.rows("contact_role")) == 3


def test_missing_and_deleted_ends_are_rejected_though_there_is_no_foreign_key(crm):
    crm.run("UPDATE contact SET is_deleted = :yes WHERE id = 'c3'", yes=True)
    writes = [put("gone", "c1"), put("o1", "gone"), put("o1", "c3"), put("o1", "x\x00y"), put("o1", "c1")]
    assert outcomes(written(crm.adapter(), writes)) == {
        "put-gone-c1": ("rejected", "OPPORTUNITY_NOT_FOUND"),
        "put-o1-gone": ("rejected", "CONTACT_NOT_FOUND"),
        "put-o1-c3": ("rejected", "CONTACT_NOT_FOUND"),
        "put-o1-x\x00y": ("rejected", "CONTACT_NOT_FOUND"),
        "put-o1-c1": ("applied", None),
    }


def test_a_later_write_sees_an_earlier_one(crm):
    first, second = put("o1", "c1", key="a", is_primary=True), put("o1", "c2", key="b", is_primary=True)
    same, other = put("o1", "c1", key="c", is_primary=True), put("o1", "c1", key="d", role="User")
    receipts = outcomes(written(crm.adapter(), [first, second, same, other]))
    assert [receipts[key][0] for key in "abcd"] == ["applied", "conflict", "already", "conflict"]


def test_one_refused_row_takes_no_other_with_it(crm):
    crm.run("ALTER TABLE contact_role RENAME TO old_role")
    crm.run(
        "CREATE TABLE contact_role (id TEXT PRIMARY KEY DEFAULT (%s), opportunity_id TEXT NOT NULL, "
        "contact_id TEXT NOT NULL, role TEXT CHECK (role <> 'Bad'), is_primary BOOLEAN)"
        % ("lower(hex(randomblob(16)))" if crm.is_sqlite else "gen_random_uuid()::text")
    )
    writes = [put("o1", "c1"), put("o1", "c2", role="Bad"), put("o2", "c1", role="Bad"), put("o2", "c2")]
    code = "SQLITE_CONSTRAINT_CHECK" if crm.is_sqlite else "23514"
    assert outcomes(written(crm.adapter(), writes)) == {
        "put-o1-c1": ("applied", None),
        "put-o1-c2": ("rejected", code),
        "put-o2-c1": ("rejected", code),
        "put-o2-c2": ("applied", None),
    }
    assert len(crm.rows("contact_role")) == 2


def sqlite_trigger(action):
    return f"""CREATE TRIGGER refuse BEFORE INSERT ON contact_role WHEN NEW.contact_id = 'c2'
               BEGIN SELECT RAISE({action}); END"""


@pytest.mark.parametrize("action", ["ABORT, 'no Mr Smith'", "FAIL, 'no Mr Smith'", "ROLLBACK, 'no Mr Smith'"])
def test_a_trigger_that_refuses_on_sqlite(sqlite_crm, action):
    crm = canonical(sqlite_crm)
    crm.run(sqlite_trigger(action))
    receipts = outcomes(written(crm.adapter(), [put("o1", "c1"), put("o1", "c2"), put("o2", "c3")]))
    assert receipts == {
        "put-o1-c1": ("applied", None),
        "put-o1-c2": ("rejected", "SQLITE_CONSTRAINT_TRIGGER"),
        "put-o2-c3": ("applied", None),
    }
    assert sorted(row[1] for row in crm.run("SELECT id, opportunity_id FROM contact_role")) == ["o1", "o2"]


def test_a_trigger_that_swallows_is_told(sqlite_crm):
    crm = canonical(sqlite_crm)
    crm.run(sqlite_trigger("IGNORE"))
    receipts = outcomes(written(crm.adapter(), [put("o1", "c1"), put("o1", "c2")]))
    assert receipts == {"put-o1-c1": ("applied", None), "put-o1-c2": ("rejected", "NO_EFFECT")}


def test_deferred_constraints_and_own_codes_on_postgres(postgres_crm):
    crm = canonical(postgres_crm)
    crm.run(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.contact_id = 'c2' THEN RAISE EXCEPTION 'no Mr Smith' USING ERRCODE = 'MY001'; END IF; RETURN NEW; END $$"""
    )
    crm.run(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON contact_role DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    receipts = outcomes(written(crm.adapter(), [put("o1", "c1"), put("o1", "c2"), put("o2", "c3")]))
    assert receipts == {
        "put-o1-c1": ("applied", None),
        "put-o1-c2": ("rejected", "MY001"),
        "put-o2-c3": ("applied", None),
    }
    assert len(crm.rows("contact_role")) == 2


def test_integer_keys_foreign_keys_and_further_columns(empty_crm, tmp_path):
    integer_tables(empty_crm, more=", note TEXT NOT NULL, origin TEXT UNIQUE")
    text = INTEGER_KEYS % ("", 'values = { note = "added" }\nwrite_key = "origin"')
    adapter = empty_crm.mapped(tmp_path, text)
    assert not adapter.capabilities.has_primary
    receipts = written(
        adapter, [put("10", "1"), put("20", "2", is_primary=True), put("010", "1"), put("10", "x"), put("30", "1")]
    )
    assert outcomes(receipts) == {
        "put-10-1": ("applied", None),
        "put-20-2": ("applied", None),
        "put-010-1": ("rejected", "OPPORTUNITY_NOT_FOUND"),
        "put-10-x": ("rejected", "CONTACT_NOT_FOUND"),
        "put-30-1": ("rejected", "OPPORTUNITY_NOT_FOUND"),
    }
    assert [row[1:] for row in empty_crm.rows("roles")] == [(10, 1, "added", "put-10-1"), (20, 2, "added", "put-20-2")]
    again = outcomes(written(adapter, [put("10", "1", key="other")]))
    assert again == {"other": ("already", None)}, "a role that the database cannot hold is no difference"
    removals = [undo(put("10", "1"), receipts["put-10-1"]), undo(put("20", "2"), receipts["put-20-2"])]
    assert {receipt.outcome for receipt in written(adapter, removals).values()} == {Outcome.APPLIED}
    assert empty_crm.rows("roles") == []


@pytest.mark.parametrize(
    ("kind", "setting", "false", "true"),
    [
        ("TEXT", "", "false", "true"),
        ("TEXT", 'booleans = ["N", "Y"]', "N", "Y"),
        ("INTEGER", "", 0, 1),
        ("BOOLEAN", "", False, True),
    ],
)
def test_primary_is_spelled_as_the_column_spells_it(empty_crm, tmp_path, kind, setting, false, true):
    integer_tables(empty_crm, more=f", is_main {kind}")
    adapter = empty_crm.mapped(tmp_path, INTEGER_KEYS % (', is_primary = "is_main"', setting))
    receipts = written(adapter, [put("10", "1"), put("20", "2", is_primary=True)])
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert [row[3] for row in empty_crm.rows("roles")] == [false, true]
    assert receipts["put-20-2"].after.primary_contact_id == "2"


def test_uuid_keys(postgres_crm, tmp_path):
    crm = postgres_crm
    crm.run("CREATE TABLE people (pid UUID PRIMARY KEY)")
    crm.run("CREATE TABLE deals (deal UUID PRIMARY KEY)")
    crm.run("CREATE TABLE roles (id UUID PRIMARY KEY, deal UUID, person UUID)")
    one = "11111111-1111-4111-8111-111111111111"
    crm.run(f"INSERT INTO people VALUES ('{one}')")
    crm.run(f"INSERT INTO deals VALUES ('{one}')")
    adapter = crm.mapped(tmp_path, INTEGER_KEYS % ("", 'new_id = "uuid"'))
    receipts = written(adapter, [put(one, one), put("nonsense", one)])
    assert [outcome for outcome, _ in outcomes(receipts).values()] == ["applied", "rejected"]
    assert written(adapter, [undo(put(one, one), receipts[f"put-{one}-{one}"])])
    assert crm.rows("roles") == []


def test_many_writes_go_in_chunks(crm):
    crm.run(
        "INSERT INTO opportunity (id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1300) "
        "SELECT 'x' || i FROM n"
    )
    receipts = written(crm.adapter(), [put(f"x{number}", "c1") for number in range(1, 1301)])
    assert len(receipts) == 1300
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}


def test_two_writers_at_once_add_each_pair_once(crm):
    """Both compare and write the same pairs; each pair is applied by exactly one of them."""
    crm.run(
        "INSERT INTO opportunity (id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "SELECT 'x' || i FROM n"
    )
    adapters = [crm.adapter(), crm.adapter()]
    found, barrier = [], threading.Barrier(2)

    def run(adapter):
        barrier.wait()
        for number in range(1, 201, 10):
            writes = [put(f"x{n}", "c1", key=f"k{n}") for n in range(number, number + 10)]
            found.extend(adapter.write_roles(writes, checkpoint=lambda _: None))

    threads = [threading.Thread(target=run, args=(adapter,)) for adapter in adapters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(receipt.outcome for receipt in found) == [Outcome.ALREADY] * 200 + [Outcome.APPLIED] * 200
    assert len(crm.rows("contact_role")) == 200


def test_another_programs_open_change_is_waited_out(crm):
    """A person's program holds an uncommitted role of the pair: the write waits, then finds the pair taken."""
    load(crm.engine, {Entity.CONTACT_ROLE: [role("r1", "o2", "c3")]}, schema=crm.schema)
    adapter = crm.adapter()
    list(adapter.read_roles(["o1"]))
    with crm.engine.connect() as person:
        if crm.is_sqlite:
            person.exec_driver_sql("PRAGMA busy_timeout = 5000")
        person.execute(
            sa.text("INSERT INTO contact_role (id, opportunity_id, contact_id, role) VALUES ('p', 'o1', 'c1', 'User')")
        )
        found = []
        thread = threading.Thread(target=lambda: found.append(outcomes(written(adapter, [put("o1", "c1")]))))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive(), "the write did not wait for the open transaction"
        person.commit()
        thread.join()
    assert found == [{"put-o1-c1": ("conflict", None)}]


def test_a_lock_that_is_not_given_up_is_unavailable_and_changes_nothing(crm):
    adapter = crm.adapter(timeout_s=1)
    with crm.engine.connect() as person:
        person.execute(sa.text("INSERT INTO contact_role (id, opportunity_id, contact_id) VALUES ('p', 'o1', 'c1')"))
        with pytest.raises(CrmUnavailable):
            written(adapter, [put("o1", "c1")])
        with pytest.raises(CrmUnavailable):
            list(adapter.settle([put("o1", "c1")], []))
        person.rollback()
    assert crm.rows("contact_role") == []


def losing(adapter, monkeypatch, *, commits, times=1):
    """Make the adapter's connection die at the commit: before the server did it, or after."""
    engine = adapter._database.engine
    real = engine.dialect.do_commit
    left = [times]

    def die(dbapi_connection):
        if not left[0]:
            return real(dbapi_connection)
        left[0] -= 1
        if commits:
            real(dbapi_connection)
        elif engine.dialect.name == "postgresql":
            _kill(adapter, dbapi_connection.dbapi_connection.info.backend_pid)
            return real(dbapi_connection)
        raise engine.dialect.loaded_dbapi.OperationalError("Mr Smith's server closed the connection")

    monkeypatch.setattr(engine.dialect, "do_commit", die)


def _kill(adapter, backend_pid):
    engine = sa.create_engine(adapter._options.full_url(), poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend_pid})


@pytest.mark.parametrize("commits", [True, False])
def test_a_lost_answer_is_unknown_and_settles_by_reading_back(crm, monkeypatch, commits):
    adapter = crm.adapter()
    list(adapter.read(Entity.CONTACT))
    adapter.capabilities  # noqa: B018 - looks everything up before the connection is lost
    writes = [put("o1", "c1"), put("o2", "c2")]
    losing(adapter, monkeypatch, commits=commits)
    lost = written(adapter, writes)
    assert {receipt.outcome for receipt in lost.values()} == {Outcome.UNKNOWN}
    assert all(receipt.code and "Smith" not in receipt.code for receipt in lost.values())
    expected = Outcome.APPLIED if commits else Outcome.ABSENT
    assert {receipt.outcome for receipt in adapter.settle(writes, [])} == {expected}
    assert len(crm.rows("contact_role")) == (2 if commits else 0)


def test_settle_tells_someone_elses_role_from_ours(crm):
    load(crm.engine, {Entity.CONTACT_ROLE: [role("r1", "o1", "c1", role="User")]}, schema=crm.schema)
    (receipt,) = crm.adapter().settle([put("o1", "c1")], [])
    assert receipt.outcome is Outcome.CONFLICT


def test_a_backend_killed_before_the_commit_is_simply_tried_again(postgres_crm, monkeypatch):
    """Nothing was committed, so nothing is unknown: the chunk is sent again and applied once."""
    crm = canonical(postgres_crm)
    adapter = crm.adapter()
    killed = []

    def kill_once(connection, _cursor, statement, *_):
        if statement.startswith("INSERT") and not killed:
            killed.append(statement)
            _kill(adapter, connection.connection.dbapi_connection.info.backend_pid)

    sa.event.listen(adapter._database.engine, "before_cursor_execute", kill_once)
    assert outcomes(written(adapter, [put("o1", "c1")])) == {"put-o1-c1": ("applied", None)}
    assert killed
    assert len(crm.rows("contact_role")) == 1


def test_a_database_that_goes_away_between_chunks_leaves_the_rest_unknown(crm, monkeypatch):
    """One receipt a write, even then: what was not sent settles as absent."""
    monkeypatch.setattr("crmbridge.adapters.sql.writer.CHUNK_WRITES", 1)
    adapter = crm.adapter()
    stream = adapter.write_roles([put("o1", "c1"), put("o1", "c2"), put("o1", "c3")], checkpoint=lambda _: None)
    assert next(stream).outcome is Outcome.APPLIED

    def gone(self):
        raise CrmUnavailable("gone")

    monkeypatch.setattr(Database, "connect", gone)
    assert [(receipt.outcome, receipt.code) for receipt in stream] == [(Outcome.UNKNOWN, "CrmUnavailable")] * 2


def test_read_only_is_refused_before_anything_is_sent(crm):
    adapter = crm.adapter(read_only=True)
    assert not adapter.capabilities.can_write
    with pytest.raises(CrmRefused, match="read_only is set"):
        written(adapter, [put()])
    assert next(check for check in adapter.check().checks if check.name == "writing roles").status == "warning"


def test_a_full_disk_loses_nothing(sqlite_crm):
    crm = canonical(sqlite_crm)
    adapter = crm.adapter()

    def no_more_pages(connection, _record):
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")

    sa.event.listen(adapter._database.engine, "connect", no_more_pages)
    writes = [put("o1", "c1", role="x" * 50_000)]
    with pytest.raises(CrmUnavailable, match="disk is full"):
        written(adapter, writes)
    assert crm.rows("contact_role") == []
    sa.event.remove(adapter._database.engine, "connect", no_more_pages)
    assert outcomes(written(adapter, writes)) == {"put-o1-c1": ("applied", None)}
