"""Mistakes in settings, in the mapping file and in the database: each is named, with what is allowed."""

import re
import sqlite3
from pathlib import Path

import pytest

from conftest import POSTGRES, canonical, put, written
from crmbridge.adapters.registry import open_adapter
from crmbridge.adapters.sql import SqlOptions
from crmbridge.contract import Outcome
from crmbridge.errors import CrmRefused, CrmUnavailable, DataError, MappingError, SettingsError
from crmbridge.model import Entity

ROOT = Path(__file__).parents[2]
BASE = """
[contact]
table = "people"
fields = { id = "pid" }
[contact_role]
table = "roles"
fields = { id = "id", opportunity_id = "deal", contact_id = "person" }
"""
DEALS = (
    BASE
    + """
[opportunity]
table = "deals"
fields = { id = "deal" %s }
"""
)


def tables(crm):
    crm.run("CREATE TABLE people (pid INTEGER PRIMARY KEY)")
    crm.run('CREATE TABLE deals (deal INTEGER PRIMARY KEY, stage TEXT, "Amount EUR" TEXT)')
    crm.run("CREATE TABLE roles (id INTEGER PRIMARY KEY, deal INTEGER, person INTEGER)")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[opportunity", "is not TOML", None),
        ("[oportunity]\ntable = 'x'", "unknown entity 'oportunity'; allowed: account, contact", "did you mean 'opportunity'?"),
        (BASE, "nothing gives opportunity; needed are contact, contact_role, opportunity", None),
        (DEALS % ', stge = "stage"', "opportunity.fields: unknown field 'stge'; allowed: id, account_id", "'stage'"),
        (DEALS % ", stage = 3", "opportunity.fields.stage: ", None),
        (DEALS % ', stage = { sql = "x", value = "y" }', "expected a column name, { sql", None),
        (DEALS % ", is_won = { value = 'maybe' }", "value 'maybe' is not one of true, false", None),
        (DEALS % ", close_date = { value = '1.2.2026' }", "is not a date such as", None),
        (BASE + "[opportunity]\nfields = { id = 'deal' }", "opportunity: needs table or from", None),
        (BASE + "[opportunity]\ntable = 'a'\nfrom = 'b'\nfields = { id = 'deal' }", "needs table or from, and only one", None),
        (BASE + "[opportunity]\ntable = 'deals'", "opportunity: expected table or from, and fields", None),
        (BASE + "[opportunity]\ntable = 'deals'\nfields = { stage = 'x' }", "opportunity.fields (deals) lacks id", None),
        (BASE + "opportunity = 3", "contact_role.opportunity: unknown key; allowed: table, from", None),
        (DEALS % "" + "tabel = 'x'", "opportunity.tabel: unknown key; allowed: table, from, schema", None),
        (DEALS % "" + "[contact_role.write]\nnew_id = 'guess'", "contact_role.write.new_id: Input should be", None),
        (DEALS % "" + "[contact_role.write]\ncolumns = { status = 'x' }", "contact_role.write.columns.status", None),
    ],
)
def test_what_the_file_alone_gets_wrong(sqlite_crm, tmp_path, text, said, hint):
    with pytest.raises(MappingError) as caught:
        sqlite_crm.mapped(tmp_path, text)
    assert said in caught.value.message
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "said", "hint"),
    [
        (', stage = "stagge"', "opportunity.fields.stage: no column 'stagge' in table deals; there are: deal, stage", "'stage'"),
        (', stage = { sql = "nosuch + 1" }', "opportunity.fields.stage: the database answered", None),
        (', stage = { sql = "((" }', "to sql = '(('", None),
    ],
)
def test_what_the_database_does_not_have(empty_crm, tmp_path, fields, said, hint):
    tables(empty_crm)
    adapter = empty_crm.mapped(tmp_path, DEALS % fields)
    with pytest.raises(MappingError) as caught:
        list(adapter.read(Entity.OPPORTUNITY))
    assert said in caught.value.message
    assert hint is None or hint in caught.value.hint
    checks = {check.name: check for check in adapter.check().checks}
    assert checks["opportunity"].status == "failed"
    assert said in checks["opportunity"].detail
    assert checks["contact"].status != "failed"


@pytest.mark.parametrize(
    ("opportunity", "said"),
    [
        ("table = 'dealz'\nfields = { id = 'deal' }", "opportunity: no table 'dealz' in the database; there are: deals"),
        ("from = 'dealz d'\nfields = { id = 'd.deal' }", "opportunity.from: the database answered"),
        ("from = 'deals d'\nfields = { id = 'd.del' }", "no column 'del' in from; there are: deal, stage, Amount EUR"),
        ("table = 'deals'\nwhere = 'x ='\nfields = { id = 'deal' }", "opportunity: the database answered"),
    ],
)
def test_tables_and_clauses_that_are_not_there(empty_crm, tmp_path, opportunity, said):
    tables(empty_crm)
    adapter = empty_crm.mapped(tmp_path, f"{BASE}[opportunity]\n{opportunity}")
    with pytest.raises(MappingError) as caught:
        list(adapter.read(Entity.OPPORTUNITY))
    assert said in caught.value.message


def test_an_expression_that_fails_on_a_value(postgres_crm, tmp_path):
    tables(postgres_crm)
    postgres_crm.run("INSERT INTO deals (deal, stage) VALUES (1, 'Mr Smith')")
    adapter = postgres_crm.mapped(tmp_path, DEALS % ', amount = { sql = "CAST(stage AS INTEGER)" }')
    with pytest.raises(DataError, match="22P02") as caught:
        list(adapter.read(Entity.OPPORTUNITY))
    assert "Smith" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_role_table_that_cannot_be_written(empty_crm, tmp_path):
    tables(empty_crm)
    text = DEALS % "" + "[contact_role.write]\nwrite_key = 'origin'"
    with pytest.raises(MappingError, match="no column origin in table roles; there are: id, deal, person"):
        written(empty_crm.mapped(tmp_path, text), [put("1", "1")])
    joined = (DEALS % "").replace('table = "roles"', 'from = "roles"')
    adapter = empty_crm.mapped(tmp_path, joined)
    assert not adapter.capabilities.can_write
    with pytest.raises(CrmRefused, match="does not say where roles are written"):
        written(adapter, [put("1", "1")])


def test_check_says_what_nothing_fills(empty_crm, tmp_path):
    tables(empty_crm)
    empty_crm.run("ALTER TABLE roles RENAME TO old")
    empty_crm.run("CREATE TABLE roles (id TEXT NOT NULL PRIMARY KEY, deal INTEGER, person INTEGER, note TEXT NOT NULL)")
    check = empty_crm.mapped(tmp_path, DEALS % "").check().checks[-1]
    assert (check.status, check.detail) == ("failed", "table roles: nothing fills id, note")
    fixed = DEALS % "" + "[contact_role.write]\nnew_id = 'uuid'\nvalues = { note = 'n' }"
    assert empty_crm.mapped(tmp_path, fixed).check().checks[-1].status == "ok"


def test_check_of_a_sound_database_counts_and_leaves_no_trace(crm):
    before = {entity: crm.rows(entity) for entity in Entity}
    health = crm.adapter().check()
    assert health.ok
    checks = {check.name: check for check in health.checks}
    assert checks["contact"].detail == "3 records"
    assert {entity: crm.rows(entity) for entity in Entity} == before


def test_a_database_file_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "absent.db"
    adapter = open_adapter("sql", {"url": f"sqlite:///{path}"})
    with pytest.raises(CrmRefused, match="no SQLite database at"):
        list(adapter.read(Entity.CONTACT))
    assert [check.status for check in adapter.check().checks] == ["failed"]
    assert not path.exists()


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "letter.db"
    path.write_text("Dear Mr Smith, " * 100)
    with pytest.raises(CrmRefused, match="SQLITE_NOTADB") as caught:
        list(open_adapter("sql", {"url": f"sqlite:///{path}"}).read(Entity.CONTACT))
    assert "Smith" not in str(caught.value)


def test_a_file_with_odd_characters_in_its_name(tmp_path):
    path = tmp_path / "büro #1 = 'x'.db"
    sqlite3.connect(path).close()
    with pytest.raises(MappingError, match="nothing gives"):
        list(open_adapter("sql", {"url": f"sqlite:///{path}"}).read(Entity.CONTACT))


def test_the_documented_example_is_a_mapping(sqlite_crm, tmp_path):
    """docs/adapters/sql.md shows a database and its mapping: both are run."""
    text = (ROOT / "docs" / "adapters" / "sql.md").read_text(encoding="utf-8")
    (tables_sql,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    (mapping,) = [block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "[contact_role]" in block]
    connection = sqlite3.connect(sqlite_crm.options["url"].removeprefix("sqlite:///"))
    connection.executescript(tables_sql)
    connection.close()
    adapter = sqlite_crm.mapped(tmp_path, mapping, time_zone="Europe/Berlin")
    assert adapter.check().ok
    assert len(list(adapter.read(Entity.ACTIVITY))) == 2
    assert written(adapter, [put("1", "1", role="Decision Maker")])["put-1-1"].outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "mysql://host/crm"}, "must be one of sqlite"),
        ({"url": "s3cret"}, "not a database URL"),
        ({"url": "sqlite://"}, "names no database file"),
        ({"url": "postgresql://host/crm?password=s3cret"}, "holds a password"),
        ({"url": "sqlite:///x.db", "time_zone": "Mars"}, "unknown time zone"),
        ({"url": "sqlite:///x.db", "time_zone": "../etc"}, "unknown time zone"),
        ({"url": "postgresql://host/crm", "password": "s3cret", "password_file": "f"}, "password or password_file"),
        ({"url": "sqlite:///x.db", "timeout_s": 0}, "timeout_s: "),
        ({"url": "sqlite:///x.db", "mapping": "absent.toml"}, "'absent.toml' does not exist"),
        ({"url": "postgresql://host/crm", "password_file": "absent"}, "password_file 'absent' cannot be read"),
    ],
)
def test_options_that_cannot_be_used(options, said):
    with pytest.raises(SettingsError) as caught:
        open_adapter("sql", options)
    assert said in caught.value.message
    assert "s3cret" not in str(caught.value)


def test_an_unreachable_server_is_unavailable():
    options = {"url": "postgresql://me@127.0.0.1:1/crm", "password": "s3cret", "timeout_s": 1}
    adapter = open_adapter("sql", options)
    with pytest.raises(CrmUnavailable, match="CONNECTION_FAILED") as caught:
        list(adapter.read(Entity.CONTACT))
    assert "s3cret" not in str(caught.value)
    (check,) = adapter.check().checks
    assert (check.name, check.status) == ("connection", "failed")


@pytest.mark.postgres
@pytest.mark.parametrize("change", [{"username": "nobody_here"}, {"database": "nothing_here"}])
def test_a_server_that_says_no_is_refused(postgres_crm, change):
    import sqlalchemy as sa

    url = sa.make_url(POSTGRES).set(**change).render_as_string(hide_password=False)
    with pytest.raises(CrmRefused, match="connecting: the database answered"):
        list(open_adapter("sql", {"url": url}).read(Entity.CONTACT))


def test_a_reader_account_is_refused_before_anything_is_sent(postgres_crm):
    crm = canonical(postgres_crm)
    account = f"reader_{crm.schema}"
    crm.run(f"CREATE ROLE {account} LOGIN")
    crm.run(f"GRANT USAGE ON SCHEMA {crm.schema} TO {account}")
    crm.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {crm.schema} TO {account}")
    try:
        adapter = crm.adapter(url=crm.options["url"].replace("//crmbridge@", f"//{account}@"))
        assert len(list(adapter.read(Entity.CONTACT))) == 1
        check = adapter.check().checks[-1]
        assert (check.name, check.status) == ("writing roles", "failed")
        assert "no right to INSERT, DELETE" in check.detail
        with pytest.raises(CrmRefused, match="42501"):
            written(adapter, [put()])
    finally:
        crm.run(f"DROP OWNED BY {account}")
        crm.run(f"DROP ROLE {account}")


def test_a_read_only_account_is_refused(postgres_crm):
    crm = canonical(postgres_crm)
    account = f"frozen_{crm.schema}"
    crm.run(f"CREATE ROLE {account} LOGIN SUPERUSER")
    crm.run(f"ALTER ROLE {account} SET default_transaction_read_only = on")
    try:
        adapter = crm.adapter(url=crm.options["url"].replace("//crmbridge@", f"//{account}@"))
        assert "read-only" in adapter.check().checks[-1].detail
        with pytest.raises(CrmRefused, match="25006"):
            written(adapter, [put()])
    finally:
        crm.run(f"DROP ROLE {account}")


def test_a_read_only_file_is_refused(sqlite_crm):
    crm = canonical(sqlite_crm)
    adapter = crm.adapter(url=crm.options["url"])
    adapter._database.close()
    frozen = crm.adapter(read_only=True)
    adapter._database = frozen._database
    with pytest.raises(CrmRefused, match="SQLITE_READONLY"):
        written(adapter, [put()])
    assert crm.rows("contact_role") == []


def test_the_password_is_read_from_its_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    options = SqlOptions(url="postgresql://me@host/crm", password_file=path)
    assert options.full_url().password == "s3cret"
    assert "s3cret" not in repr(SqlOptions(url="postgresql://me@host/crm", password="s3cret"))
    path.write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        options.full_url()
