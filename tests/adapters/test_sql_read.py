"""Reading: canonical tables and mapped ones give the same records, on both engines."""

import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
import sqlalchemy as sa

from crmbridge.adapters.sql import create_tables, load, reader
from crmbridge.contract import Adapter
from crmbridge.errors import DataError, MappingError
from crmbridge.model import RECORDS, Account, Contact, ContactRole, Entity, Opportunity, arrow_schema, records

ODD_IDS = ["1", "007", "ä ü '\"%:x;--", "006A\u202e\U0001f600", "0" * 200]
WHEN = datetime(2026, 3, 29, 1, 30, 0, 123456, UTC)
VALUES = {
    pa.string(): 'Zoë O\'Néil, "%s" :x\n漢字 \U0001f600 ',
    pa.bool_(): True,
    pa.date32(): date(1999, 12, 31),
    pa.timestamp("us", tz="UTC"): WHEN,
    pa.decimal128(22, 4): Decimal("-999999999999999999.9999"),
    pa.decimal128(28, 12): Decimal("0.000000000001"),
}
FEW = """
[contact]
table = "people"
fields = { id = "pid" }
[opportunity]
table = "deals"
[opportunity.fields]
id = "deal"
%s
[contact_role]
table = "roles"
fields = { id = "id", opportunity_id = "deal", contact_id = "person" }
"""


def read_all(adapter, entity, **more):
    return [record for batch in adapter.read(entity, **more) for record in records(entity, batch)]


def full(entity, record_id):
    """A record with every field given, and odd."""
    values = {column.name: VALUES[column.type] for column in arrow_schema(entity)}
    fixed = {"id": record_id, "kind": "other" if entity is Entity.ACTIVITY else "who", "date_quality": "exact"}
    values |= {name: value for name, value in fixed.items() if name in values}
    return RECORDS[entity](**{**values, "is_deleted": False})


def bare(entity, record_id):
    """A record with only what must be given."""
    needed = {name: record_id for name, info in RECORDS[entity].model_fields.items() if info.is_required()}
    return RECORDS[entity](**{**needed, **({"rate": Decimal("1.5")} if "rate" in needed else {})})


def few_tables(crm, deal_columns="deal INTEGER PRIMARY KEY, amount TEXT, closed TEXT, won TEXT, made TEXT"):
    crm.run("CREATE TABLE people (pid INTEGER PRIMARY KEY)")
    crm.run(f"CREATE TABLE deals ({deal_columns})")
    crm.run("CREATE TABLE roles (id INTEGER PRIMARY KEY, deal INTEGER, person INTEGER)")


def test_is_an_adapter(crm):
    assert isinstance(crm.adapter(), Adapter)


@pytest.mark.parametrize("entity", list(Entity))
def test_every_entity_reads_back_as_it_was_loaded(empty_crm, entity):
    create_tables(empty_crm.engine, schema=empty_crm.schema)
    given = [full(entity, odd) for odd in ODD_IDS] + [bare(entity, "bare")]
    load(empty_crm.engine, {entity: given}, schema=empty_crm.schema)
    adapter = empty_crm.adapter()
    batches = list(adapter.read(entity))
    assert all(batch.schema.equals(arrow_schema(entity)) for batch in batches)
    back = [record for batch in batches for record in records(entity, batch)]
    assert sorted(back, key=lambda record: record.id) == sorted(given, key=lambda record: record.id)
    assert adapter.count(entity) == len(given)


def test_deleted_records_are_left_out_and_told_separately(crm):
    gone = Contact(id="gone", is_deleted=True, modified_at=WHEN)
    merged = Contact(id="merged", merged_into_id="c1", modified_at=WHEN, is_deleted=True)
    old = Contact(id="old", is_deleted=True, modified_at=datetime(2020, 1, 1, tzinfo=UTC))
    load(crm.engine, {Entity.CONTACT: [gone, merged, old]}, schema=crm.schema)
    adapter = crm.adapter()
    assert {record.id for record in read_all(adapter, Entity.CONTACT)} == {"c1", "c2", "c3"}
    assert adapter.count(Entity.CONTACT) == 3
    deletions = {deletion.id: deletion for deletion in adapter.read_deleted(Entity.CONTACT, since=WHEN)}
    assert set(deletions) == {"gone", "merged"}
    assert deletions["merged"].merged_into_id == "c1"
    assert deletions["gone"].deleted_at == WHEN


def test_since_is_exact_and_keeps_what_is_undated(crm):
    before = WHEN.replace(microsecond=123455)
    accounts = [Account(id="old", modified_at=before), Account(id="new", modified_at=WHEN), Account(id="undated")]
    load(crm.engine, {Entity.ACCOUNT: accounts}, schema=crm.schema)
    changed = read_all(crm.adapter(), Entity.ACCOUNT, since=WHEN)
    assert {record.id for record in changed} == {"new", "undated"}


def test_since_needs_a_time_zone(crm):
    with pytest.raises(DataError, match="no time zone"):
        list(crm.adapter().read(Entity.ACCOUNT, since=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_an_unmapped_entity_gives_nothing(empty_crm, tmp_path):
    few_tables(empty_crm)
    adapter = empty_crm.mapped(tmp_path, FEW % "")
    assert list(adapter.read(Entity.LEAD)) == []
    assert adapter.count(Entity.LEAD) is None
    assert adapter.capabilities.entities == {Entity.CONTACT, Entity.OPPORTUNITY, Entity.CONTACT_ROLE}
    assert adapter.capabilities.incremental == frozenset()


_MARKED = 'modified_at = "made"\nis_deleted = "closed"'


@pytest.mark.parametrize(
    ("opportunity", "known"),
    [
        (f'table = "deals"\n[opportunity.fields]\nid = "deal"\n{_MARKED}', True),
        ('table = "deals"\n[opportunity.fields]\nid = "deal"\nmodified_at = "made"', False),
        (f'table = "deals"\nwhere = "won <> \'x\'"\n[opportunity.fields]\nid = "deal"\n{_MARKED}', False),
        ('from = "deals d"\n[opportunity.fields]\nid = "d.deal"\nmodified_at = "d.made"\nis_deleted = "d.closed"', False),
        ('table = "deals"\n[opportunity.fields]\nid = "deal"\nmodified_at = "made"\nis_deleted = { value = false }', False),
    ],
)
def test_deletions_are_known_only_where_no_row_can_vanish_without_a_mark(empty_crm, tmp_path, opportunity, known):
    few_tables(empty_crm)
    text = (FEW % "").replace('table = "deals"\n[opportunity.fields]\nid = "deal"', opportunity)
    assert (Entity.OPPORTUNITY in empty_crm.mapped(tmp_path, text).capabilities.deletions) is known


def test_deletions_of_roles_are_not_known(crm):
    known = crm.adapter().capabilities
    assert Entity.CONTACT in known.deletions
    assert Entity.CONTACT_ROLE in known.incremental - known.deletions


def test_text_columns_become_typed_fields(empty_crm, tmp_path):
    few_tables(empty_crm)
    empty_crm.run("INSERT INTO deals VALUES (7, ' 811.0', 'True', '0', '2026-01-31 23:30:00')")
    empty_crm.run("INSERT INTO deals VALUES (8, '', '', 'n/a', '2026-01-31T23:30:00+02:00')")
    fields = 'amount = "amount"\nis_closed = "closed"\nis_won = "won"\ncreated_at = "made"\nclose_date = "made"'
    text = 'null_values = ["", "n/a"]\n' + FEW % f"{fields}\ncurrency = {{ value = 'EUR' }}\nstage = {{ sql = \"'s' || deal\" }}"
    adapter = empty_crm.mapped(tmp_path, text, time_zone="Europe/Berlin")
    first, second = sorted(read_all(adapter, Entity.OPPORTUNITY), key=lambda record: record.id)
    assert (first.id, first.amount, first.is_closed, first.is_won) == ("7", Decimal("811.0000"), True, False)
    assert (first.currency, first.stage, first.close_date) == ("EUR", "s7", date(2026, 1, 31))
    assert first.created_at == datetime(2026, 1, 31, 22, 30, tzinfo=UTC)
    assert (second.amount, second.is_closed, second.is_won) == (None, None, None)
    assert second.created_at == datetime(2026, 1, 31, 21, 30, tzinfo=UTC)
    assert second.close_date == date(2026, 1, 31)


@pytest.mark.parametrize(
    ("column", "field", "value", "said"),
    [
        ("made", "close_date", "31.01.2026", "received '31.01.2026'; expected a date such as 2026-01-31"),
        ("made", "close_date", "Mrs Miller", "received a text of 10 characters"),
        ("made", "created_at", "2026-02-30 10:00", "expected a date and time such as"),
        ("amount", "amount", "1.23456", "received '1.23456'; expected a number of at most 22 digits"),
        ("amount", "amount", "1234567890123456789", "expected a number of at most 22 digits, 4 of them decimals"),
        ("closed", "is_closed", "perhaps", "expected one of true, false, yes, no, 1, 0"),
    ],
)
def test_a_value_that_cannot_be_read_names_its_record(empty_crm, tmp_path, column, field, value, said):
    few_tables(empty_crm)
    for number in range(40):
        empty_crm.run("INSERT INTO deals (deal) VALUES (:number)", number=number)
    empty_crm.run(f"UPDATE deals SET {column} = :value WHERE deal = 37", value=value)
    adapter = empty_crm.mapped(tmp_path, FEW % f'{field} = "{column}"')
    with pytest.raises(DataError, match=f"opportunity 37: {field} cannot be read") as caught:
        list(adapter.read(Entity.OPPORTUNITY))
    assert said in caught.value.message
    assert "Miller" not in str(caught.value)


def test_a_row_that_lacks_an_end_is_an_error_for_a_role(empty_crm, tmp_path):
    few_tables(empty_crm)
    empty_crm.run("INSERT INTO roles VALUES (5, 7, NULL)")
    with pytest.raises(DataError, match="contact_role 5: contact_id is empty"):
        list(empty_crm.mapped(tmp_path, FEW % "").read(Entity.CONTACT_ROLE))


def test_several_lookups_and_joins(empty_crm, tmp_path):
    few_tables(empty_crm)
    empty_crm.run('CREATE TABLE wide (id INTEGER PRIMARY KEY, "Buyer Id" TEXT, payer INTEGER)')
    empty_crm.run("INSERT INTO wide VALUES (1, '11', 12), (2, '', NULL), (3, '13', NULL)")
    empty_crm.run("INSERT INTO people VALUES (11), (13)")
    text = (
        FEW % ""
        + """
[[opportunity_contact_lookup]]
table = "wide"
null_values = [""]
fields = { opportunity_id = "id", contact_id = "Buyer Id", field = { value = "Buyer" } }
[[opportunity_contact_lookup]]
from = "wide w LEFT JOIN people p ON p.pid = w.payer AND '12:30' <> '%:x'"
where = "w.id < 3"
fields = { opportunity_id = "w.id", contact_id = "w.payer", field = { value = "Payer" } }
"""
    )
    adapter = empty_crm.mapped(tmp_path, text)
    found = {(lookup.id, lookup.contact_id) for lookup in read_all(adapter, Entity.OPPORTUNITY_CONTACT_LOOKUP)}
    assert found == {("Buyer:1:11", "11"), ("Buyer:3:13", "13"), ("Payer:1:12", "12")}
    assert adapter.count(Entity.OPPORTUNITY_CONTACT_LOOKUP) == 3


def test_roles_of_some_opportunities(crm):
    roles = [ContactRole(id=f"r{number}", opportunity_id=f"o{number}", contact_id="c1") for number in range(1200)]
    load(crm.engine, {Entity.CONTACT_ROLE: roles}, schema=crm.schema)
    asked = [f"o{number}" for number in range(0, 1200, 2)] + ["o2", "nowhere", "x\x00y"]
    found = [role.opportunity_id for role in crm.adapter().read_roles(asked)]
    assert sorted(found) == sorted({f"o{number}" for number in range(0, 1200, 2)})
    assert list(crm.adapter().read_roles([])) == []


def test_reading_cannot_change_the_database(empty_crm, tmp_path):
    """An SQL expression with a side effect is refused: reading connections are read-only."""
    if empty_crm.is_sqlite:
        with empty_crm.adapter()._database.reading() as connection, pytest.raises(sa.exc.OperationalError):
            connection.exec_driver_sql("CREATE TABLE t (x)")
        return
    few_tables(empty_crm)
    empty_crm.run("INSERT INTO deals (deal) VALUES (1)")
    empty_crm.run("CREATE SEQUENCE counter")
    adapter = empty_crm.mapped(tmp_path, FEW % "stage = { sql = \"nextval('counter')\" }")
    with pytest.raises(Exception, match="25006"):
        list(adapter.read(Entity.OPPORTUNITY))


def test_streams_in_bounded_memory(sqlite_crm, monkeypatch):
    """Four times the rows must not need more memory: what is held is a batch or two."""
    monkeypatch.setattr(reader, "BATCH_ROWS", 1000)
    create_tables(sqlite_crm.engine)
    peaks = []
    for count in (5_000, 20_000):
        with sqlite_crm.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM opportunity")
            statement = "INSERT INTO opportunity (id, name, amount) VALUES (?, ?, '12.5')"
            connection.exec_driver_sql(statement, [(f"006{number}", "n" * 50) for number in range(count)])
        tracemalloc.start()
        assert sum(batch.num_rows for batch in sqlite_crm.adapter().read(Entity.OPPORTUNITY)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_reads_an_ordinary_typed_schema(empty_crm, tmp_path):
    """Real types instead of text: floats, numerics, booleans, datetimes with and without a zone, big integers."""
    zoned = "TEXT" if empty_crm.is_sqlite else "TIMESTAMPTZ"
    stamp, real = ("TEXT", "REAL") if empty_crm.is_sqlite else ("TIMESTAMP", "DOUBLE PRECISION")
    few_tables(empty_crm, f"deal BIGINT PRIMARY KEY, amount {real}, won BOOLEAN, made {stamp}, changed {zoned}")
    empty_crm.run(
        "INSERT INTO deals VALUES (9007199254740993, 0.1, :yes, '2026-07-01 12:00:00', '2026-07-01 12:00:00+02:00')",
        yes=True,
    )
    fields = 'amount = "amount"\nis_won = "won"\ncreated_at = "made"\nmodified_at = "changed"'
    (deal,) = read_all(empty_crm.mapped(tmp_path, FEW % fields, time_zone="America/New_York"), Entity.OPPORTUNITY)
    assert deal == Opportunity(
        id="9007199254740993",
        amount=Decimal("0.1000"),
        is_won=True,
        created_at=datetime(2026, 7, 1, 16, tzinfo=UTC),
        modified_at=datetime(2026, 7, 1, 10, tzinfo=UTC),
    )


def test_infinite_datetimes_are_a_clear_error(postgres_crm, tmp_path):
    few_tables(postgres_crm, "deal INTEGER PRIMARY KEY, made TIMESTAMP")
    postgres_crm.run("INSERT INTO deals VALUES (3, 'infinity')")
    with pytest.raises(DataError, match="opportunity 3: created_at"):
        list(postgres_crm.mapped(tmp_path, FEW % 'created_at = "made"').read(Entity.OPPORTUNITY))


def test_text_that_is_not_utf8_is_a_clear_error(sqlite_crm, tmp_path):
    few_tables(sqlite_crm)
    sqlite_crm.run("INSERT INTO deals (deal, amount) VALUES (1, CAST(x'ff6d' AS TEXT))")
    with pytest.raises(DataError, match="not UTF-8"):
        list(sqlite_crm.mapped(tmp_path, FEW % 'name = "amount"').read(Entity.OPPORTUNITY))


def test_a_database_without_the_canonical_tables_asks_for_a_mapping(empty_crm):
    empty_crm.run("CREATE TABLE opportunity (id TEXT PRIMARY KEY)")
    with pytest.raises(MappingError, match="nothing gives contact, contact_role"):
        list(empty_crm.adapter().read(Entity.OPPORTUNITY))
