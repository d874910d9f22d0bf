"""From what the CRM said to what is meant."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from dict_crm import AS_OF, DictCrm, of_crm, raw, rows, side_by_side

from crmbridge.model import Entity
from crmbridge.snapshot import Snapshot, frames_from_tables, pull
from crmbridge.snapshot.domains import registrable_domains
from crmbridge.snapshot.resolve import last_second

DAY = datetime(2025, 5, 1, 8, tzinfo=UTC)
DAY_S = int(DAY.timestamp())


def test_an_opportunity_with_all_it_has(pulled):
    given = {
        "id": "o1",
        "account_id": "a1",
        "name": "Deal",
        "amount": Decimal("12.3400"),
        "currency": "EUR",
        "stage": "Won",
        "is_closed": True,
        "is_won": True,
        "close_date": date(2025, 5, 2),
        "type": "New",
        "record_type": "Standard",
        "campaign_id": "k",
        "owner_id": "u",
        "created_at": DAY,
    }
    snapshot = pulled(
        {"opportunity": [given], "account": [{"id": "a1"}], "user": [{"id": "u", "team": "North"}]}, time_zone="Europe/Berlin"
    )
    (row,) = snapshot.frames().opportunities.collect().to_native().to_pylist()
    end = int(datetime(2025, 5, 2, 21, 59, 59, tzinfo=UTC).timestamp())
    expected = {k: v for k, v in given.items() if k not in ("id", "created_at")}
    assert row == {
        **expected,
        "opportunity_id": "o1",
        "opportunity_key": 1,
        "created_s": DAY_S,
        "close_s": end,
        "team": "North",
    }


def test_an_opportunity_of_which_nothing_is_known(pulled):
    (row,) = pulled({"opportunity": [{"id": "o1"}]}).frames().opportunities.collect().to_native().to_pylist()
    known = {"opportunity_key": 1, "opportunity_id": "o1", "is_closed": False, "is_won": False}
    assert {k: v for k, v in row.items() if v is not None} == known


def test_won_is_closed_and_deleted_is_gone(pulled):
    opportunities = [{"id": "b", "is_won": True}, {"id": "a"}, {"id": "c", "is_deleted": True}]
    query = "SELECT opportunity_key, opportunity_id, is_closed FROM resolved.opportunities ORDER BY 1"
    assert rows(pulled({"opportunity": opportunities}), query) == [(1, "a", False), (2, "b", True)]


@pytest.mark.parametrize(
    ("day", "zone", "expected"),
    [
        (date(2025, 7, 1), "UTC", datetime(2025, 7, 1, 23, 59, 59, tzinfo=UTC)),
        (date(2025, 7, 1), "America/New_York", datetime(2025, 7, 2, 3, 59, 59, tzinfo=UTC)),
        (date(2025, 10, 26), "Europe/Berlin", datetime(2025, 10, 26, 22, 59, 59, tzinfo=UTC)),
        # Clocks in Beirut went from 00:00 to 01:00: that midnight never was, and the day before ends with the change.
        (date(2024, 3, 30), "Asia/Beirut", datetime(2024, 3, 30, 21, 59, 59, tzinfo=UTC)),
        (date(1900, 1, 1), "UTC", datetime(1900, 1, 1, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_last_second_of_a_day(day, zone, expected):
    assert datetime.fromtimestamp(last_second(day, ZoneInfo(zone)), UTC) == expected


def chain(*links: tuple[str, str | None]) -> list[dict]:
    return [{"id": id_, "merged_into_id": master} for id_, master in links]


MERGES = [
    (chain(("a", None), ("b", "a")), {"a": "a", "b": "a"}),
    (chain(*((f"c{i:03}", f"c{i + 1:03}") for i in range(99)), ("c099", None)), {f"c{i:03}": "c099" for i in range(100)}),
    (chain(("a", "a")), {"a": "a"}),
    (chain(("a", "b"), ("b", "a"), ("t", "a")), {"a": "a", "b": "b", "t": "t"}),
    (chain(("a", "b"), ("b", "c"), ("c", "a"), ("x", "y"), ("y", None)), {"a": "a", "b": "b", "c": "c", "x": "y", "y": "y"}),
    (chain(("a", "gone")), {"a": None}),
    ([*chain(("a", "b")), {"id": "b", "is_deleted": True}], {"a": None, "b": None}),
    ([{"id": "a", "is_deleted": True, "merged_into_id": "b"}, {"id": "b"}], {"a": "b", "b": "b"}),
]


@pytest.fixture(scope="module")
def merged(pulled_once):
    """Number of a case -> its contacts, and the contact of each of its roles."""

    def crm(contacts, expected):
        roles = [{"id": id_, "opportunity_id": "o", "contact_id": id_} for id_ in expected]
        return {"contact": contacts, "opportunity": [{"id": "o"}], "contact_role": roles}

    snapshot = pulled_once(side_by_side(crm(*case) for case in MERGES))
    told = {number: (set(), {}) for number in range(len(MERGES))}
    for number, contact in map(of_crm, rows(snapshot, "SELECT contact_id FROM resolved.contacts")):
        told[number][0].add(contact)
    for role, contact in rows(snapshot, "SELECT role_id, contact_id FROM resolved.roles"):
        (number, own), (of_contact, contact_id) = of_crm(role), of_crm(contact)
        assert number == of_contact
        told[number][1][own] = contact_id
    return told


@pytest.mark.parametrize(("number", "expected"), [(number, expected) for number, (_, expected) in enumerate(MERGES)])
def test_merges_are_followed_to_their_end(merged, number, expected):
    contacts, roles = merged[number]
    assert {id_: roles.get(id_) for id_ in expected} == expected
    assert contacts == set(filter(None, expected.values()))


def test_merged_accounts_and_leads_are_followed_everywhere(pulled):
    merged = [{"id": "a1"}, {"id": "a0", "merged_into_id": "a1", "is_deleted": True}]
    snapshot = pulled(
        {
            "account": merged,
            "contact": [{"id": "c", "account_id": "a0"}],
            "lead": [{"id": "l1"}, {"id": "l0", "merged_into_id": "l1", "is_deleted": True}],
            "opportunity": [{"id": "o", "account_id": "a0"}],
            "opportunity_account": [{"id": "x", "opportunity_id": "o", "account_id": "a1"}],
            "account_contact_relation": [{"id": "r", "account_id": "a0", "contact_id": "c"}],
            "activity": [{"id": "t", "account_id": "a0"}],
            "activity_participant": [{"id": "p", "activity_id": "t", "lead_id": "l0"}],
            "campaign": [{"id": "k"}],
            "campaign_member": [{"id": "m", "campaign_id": "k", "lead_id": "l1"}],
        }
    )
    for table in ("contacts", "opportunities", "opportunity_accounts", "relations", "participants"):
        assert rows(snapshot, f"SELECT account_id FROM resolved.{table}") == ["a1"], table
    query = "SELECT count(*) FROM resolved.participants JOIN resolved.responses USING (person_key)"
    assert rows(snapshot, query) == [1]


def test_ids_of_entities_the_crm_does_not_have_stand_for_themselves(pulled):
    data = {
        "contact": [{"id": "c", "account_id": "a"}],
        "opportunity": [{"id": "o", "account_id": "a"}],
        "activity": [{"id": "t", "account_id": "a"}],
        "activity_participant": [{"id": "p", "activity_id": "t", "contact_id": "c"}],
        "campaign_member": [{"id": "m", "campaign_id": "k", "contact_id": "c"}],
    }
    absent = frozenset({Entity.ACCOUNT, Entity.CAMPAIGN})
    snapshot = pulled(data, entities=frozenset(Entity) - absent)
    for table in ("contacts", "opportunities", "opportunity_accounts", "participants"):
        assert rows(snapshot, f"SELECT account_id FROM resolved.{table}") == ["a"], table
    assert rows(snapshot, "SELECT campaign_id FROM resolved.responses") == ["k"]
    assert snapshot.findings().num_rows == 0


PARTICIPANTS = [
    ({"contact_id": "c1"}, ["c1"]),
    ({"contact_id": "gone", "email": "bob@acme.com"}, ["c2"]),
    ({"email": " BOB@acme.com"}, ["c2"]),
    ({"email": "bob@acme.com", "user_id": "u"}, []),
    ({"email": "stranger@acme.com"}, []),
    ({"email": "info@acme.com"}, []),
    ({"email": "two@acme.com"}, []),
    ({"contact_id": "c1", "is_deleted": True}, []),
    ({"contact_id": "c1", "activity_id": "deleted"}, []),
    ({"contact_id": "c1", "activity_id": "gone"}, []),
]


@pytest.fixture(scope="module")
def took_part(pulled_once):
    """Number of a case -> the contacts who took part."""

    def crm(participant):
        return {
            "contact": [
                {"id": "c1", "email": "anna@acme.com"},
                {"id": "c2", "email": "bob@acme.com"},
                {"id": "c3", "email": "info@acme.com"},
                {"id": "c4", "last_name": "A", "email": "two@acme.com"},
                {"id": "c5", "last_name": "B", "email": "two@acme.com"},
            ],
            "activity": [{"id": "t"}, {"id": "deleted", "is_deleted": True}],
            "activity_participant": [{"id": "p", "activity_id": "t", **participant}],
        }

    snapshot = pulled_once(side_by_side(crm(participant) for participant, _ in PARTICIPANTS))
    query = "SELECT activity_id, contact_id FROM resolved.participants JOIN resolved.contacts USING (person_key)"
    told = {number: [] for number in range(len(PARTICIPANTS))}
    for activity, contact in rows(snapshot, query):
        (number, _), (of_contact, own) = of_crm(activity), of_crm(contact)
        assert number == of_contact
        told[number].append(own)
    return told


@pytest.mark.parametrize(("number", "expected"), [(number, expected) for number, (_, expected) in enumerate(PARTICIPANTS)])
def test_who_took_part(took_part, number, expected):
    assert took_part[number] == expected


def test_one_row_per_activity_kind_and_person(pulled):
    snapshot = pulled(
        {
            "contact": [{"id": "c1", "email": "a@acme.com"}, {"id": "c2", "email": "a@acme.com"}],
            "opportunity": [{"id": "o"}],
            "activity": [{"id": "t", "kind": "call", "opportunity_id": "o", "occurred_at": DAY}],
            "activity_participant": [
                {"id": "p1", "activity_id": "t", "contact_id": "c1"},
                {"id": "p2", "activity_id": "t", "contact_id": "c2"},
                {"id": "p3", "activity_id": "t", "email": "a@acme.com"},
                {"id": "p4", "activity_id": "t", "contact_id": "c1", "kind": "attendee"},
            ],
        }
    )
    query = "SELECT activity_id, kind, participant_kind, person_key, opportunity_key, occurred_s FROM resolved.participants"
    assert sorted(rows(snapshot, query)) == [("t", "call", "attendee", 1, 1, DAY_S), ("t", "call", "who", 1, 1, DAY_S)]


MEMBERS = [
    ({"responded_at": DAY, "has_responded": True}, (True, DAY_S, False)),
    ({"responded_at": DAY}, (True, DAY_S, False)),
    ({"responded_at": DAY, "date_quality": "inferred"}, (True, DAY_S, True)),
    ({"created_at": DAY, "has_responded": True}, (True, DAY_S, True)),
    ({"created_at": DAY}, (False, DAY_S, True)),
    ({"has_responded": False, "responded_at": DAY}, (False, DAY_S, False)),
    ({}, (False, None, True)),
]


@pytest.fixture(scope="module")
def responses(pulled_once):
    """Number of a case -> its responses."""
    member = {"id": "m", "campaign_id": "k", "contact_id": "c"}
    crm = {"contact": [{"id": "c"}], "campaign": [{"id": "k"}]}
    snapshot = pulled_once(side_by_side({**crm, "campaign_member": [{**member, **given}]} for given, _ in MEMBERS))
    told = {number: [] for number in range(len(MEMBERS))}
    for id_, *response in rows(snapshot, "SELECT member_id, has_responded, responded_s, is_inferred FROM resolved.responses"):
        told[of_crm(id_)[0]].append(tuple(response))
    return told


@pytest.mark.parametrize(("number", "expected"), [(number, expected) for number, (_, expected) in enumerate(MEMBERS)])
def test_responses(responses, number, expected):
    assert responses[number] == [expected]


def test_lookups_conversions_roles_and_relations(pulled):
    snapshot = pulled(
        {
            "account": [{"id": "a"}],
            "contact": [{"id": "c"}],
            "opportunity": [{"id": "o"}],
            "lead": [
                {"id": "l", "converted_contact_id": "c", "converted_opportunity_id": "o", "converted_at": DAY},
                {"id": "x", "converted_opportunity_id": "gone"},
            ],
            "contact_role": [{"id": "r", "opportunity_id": "o", "contact_id": "c", "role": "User", "created_at": DAY}],
            "opportunity_contact_lookup": [{"id": "f", "opportunity_id": "o", "contact_id": "c", "field": "Buyer"}],
            "account_contact_relation": [
                {"id": "n1", "account_id": "a", "contact_id": "c"},
                {"id": "n2", "account_id": "a", "contact_id": "c", "is_active": False},
            ],
        }
    )
    assert rows(snapshot, "FROM resolved.conversions") == [("l", 1, 1, DAY_S)]
    assert rows(snapshot, "FROM resolved.roles") == [("r", 1, 1, "c", "User", False, DAY_S)]
    assert rows(snapshot, "FROM resolved.lookups") == [("f", 1, 1, "c", "Buyer")]
    assert rows(snapshot, "FROM resolved.relations ORDER BY 1") == [("n1", "a", 1, "c", True), ("n2", "a", 1, "c", False)]


def test_a_contact_with_what_rules_ask_of_it(pulled):
    snapshot = pulled(
        {
            "account": [{"id": "a", "type": "Partner"}],
            "user": [{"id": "u", "email": "ANNA@our.com"}],
            "contact": [
                {"id": "c1", "account_id": "a", "email": "anna@our.com", "title": "CEO", "has_left": True, "created_at": DAY},
                {"id": "c2", "account_id": "gone", "email": "bob@mail.sub.acme.co.uk", "owner_id": "u"},
                {"id": "c3", "email": "cleo@gmail.com"},
            ],
        }
    )
    assert rows(snapshot, "SELECT * EXCLUDE person_key FROM resolved.contacts ORDER BY 1") == [
        ("c1", "a", "CEO", "our.com", DAY_S, True, True, "Partner", None),
        ("c2", None, None, "acme.co.uk", None, False, False, None, "u"),
        ("c3", None, None, None, None, False, False, None, None),
    ]


WEBSITES = [
    ("https://www.Acme.com/contact?x=1", ["acme.com"]),
    ("acme.com", ["acme.com"]),
    ("http://user:secret@shop.acme.co.uk:8080/", ["acme.co.uk"]),
    ("www.acme.de", ["acme.de"]),
    ("//acme.fr", ["acme.fr"]),
    ("https://www.facebook.com/acme", []),
    ("https://linkedin.com/", ["linkedin.com"]),
    ("https://acme.github.io/", ["acme.github.io"]),
    ("gmail.com", []),
    ("co.uk", []),
    ("none", []),
    ("", []),
    (None, []),
]


@pytest.fixture(scope="module")
def domains(pulled_once):
    """Number of a case -> the domains of its account, whose name stands for Acme's: no two accounts share a domain."""

    def named(website, number):
        return website and re.sub("acme", rf"\g<0>-{number}", website, flags=re.IGNORECASE)

    crms = ({"account": [{"id": "a", "website": named(website, number)}]} for number, (website, _) in enumerate(WEBSITES))
    told = {number: [] for number in range(len(WEBSITES))}
    for id_, domain in rows(pulled_once(side_by_side(crms)), "SELECT account_id, email_domain FROM resolved.account_domains"):
        number, _ = of_crm(id_)
        told[number].append(domain.replace(f"acme-{number}", "acme"))
    return told


@pytest.mark.parametrize(("number", "expected"), [(number, expected) for number, (_, expected) in enumerate(WEBSITES)])
def test_domains_from_websites(domains, number, expected):
    assert domains[number] == expected


def test_domains_from_contacts_need_two_and_one_account(pulled):
    def contacts(account: str, domain: str, count: int) -> list[dict]:
        return [{"id": f"{account}{domain}{i}", "account_id": account, "email": f"p{i}@{domain}"} for i in range(count)]

    snapshot = pulled(
        {
            "account": [{"id": "a", "website": "acme.com"}, {"id": "b"}],
            "contact": [
                *contacts("a", "acme.com", 3),
                *contacts("a", "two.com", 2),
                *contacts("a", "one.com", 1),
                *contacts("a", "both.com", 2),
                *contacts("b", "both.com", 2),
                *contacts("b", "gmail.com", 5),
            ],
        }
    )
    query = "SELECT account_id, email_domain FROM resolved.account_domains ORDER BY ALL"
    assert rows(snapshot, query) == [("a", "acme.com"), ("a", "two.com")]


def test_registrable_domains():
    hosts = ["mail.acme.co.uk", "co.uk", "x.github.io", "googlemail.com", "a.b.unknowntld", "localhost", "bad..com"]
    domains = registrable_domains(pa.array(hosts)).to_pylist()
    assert [row["domain"] for row in domains] == [
        "acme.co.uk", None, "x.github.io", "googlemail.com", "b.unknowntld", None, None
    ]  # fmt: skip
    assert [row["is_free"] for row in domains] == [False, False, False, True, False, False, False]


def test_dates_out_of_range_are_unknown_and_never_a_crash(pulled):
    extremes = [2**63 - 1, -(2**63) + 1, int(datetime(1899, 12, 31, tzinfo=UTC).timestamp() * 1e6)]
    batch = raw(Entity.CONTACT, *({"id": f"c{i}"} for i in range(4)))
    moments = pa.array([*extremes, int(DAY.timestamp() * 1e6)], pa.timestamp("us", tz="UTC"))
    batch = batch.set_column(batch.schema.get_field_index("created_at"), batch.schema.field("created_at"), moments)
    deals = raw(Entity.OPPORTUNITY, *({"id": f"o{i}"} for i in range(3)))
    days = pa.array([2**31 - 1, -(2**31) + 1, 20_000], pa.int32()).cast(pa.date32())
    deals = deals.set_column(deals.schema.get_field_index("close_date"), deals.schema.field("close_date"), days)
    snapshot = pulled({"contact": [batch], "opportunity": [deals]})
    assert rows(snapshot, "SELECT created_s FROM resolved.contacts ORDER BY contact_id") == [None, None, None, DAY_S]
    known = rows(snapshot, "SELECT close_date, close_s IS NOT NULL FROM resolved.opportunities ORDER BY opportunity_id")
    assert known == [(None, False), (None, False), (date(2024, 10, 4), True)]
    found = snapshot.findings().select(["code", "field", "count"]).to_pylist()
    assert {"code": "date_out_of_range", "field": "created_at", "count": 3} in found
    assert {"code": "date_out_of_range", "field": "close_date", "count": 2} in found


RICH = {
    "account": [{"id": f"a{i}", "website": f"acme{i % 3}.com"} for i in range(6)],
    "contact": [
        {"id": f"c{i}", "account_id": f"a{i % 7}", "email": f"p{i % 5}@acme{i % 3}.com", "first_name": "AB"[i % 2]}
        for i in range(20)
    ],
    "lead": [{"id": f"l{i}", "email": f"p{i}@acme0.com", "converted_contact_id": "c3" if i % 2 else None} for i in range(6)],
    "opportunity": [{"id": f"o{i}", "account_id": f"a{i}", "is_won": i % 2 == 0} for i in range(8)],
    "contact_role": [{"id": f"r{i}", "opportunity_id": f"o{i % 9}", "contact_id": f"c{i % 21}"} for i in range(25)],
    "activity": [{"id": f"t{i}", "opportunity_id": f"o{i}"} for i in range(9)],
    "activity_participant": [
        {"id": f"p{i}", "activity_id": f"t{i % 9}", "contact_id": f"c{i % 20}" if i % 3 else None, "email": f"p{i % 6}@acme0.com"}
        for i in range(30)
    ],
}


def test_the_order_of_records_changes_nothing(path):
    """Same content, same keys, same findings, same fingerprint; one more record changes the fingerprint."""
    seen = []
    for data in (RICH, {entity: list(reversed(records)) for entity, records in RICH.items()}):
        summary = pull(DictCrm(data), path, as_of=AS_OF)
        with Snapshot.open(path) as snapshot:
            content = {
                name: sorted(map(str, frame.collect().to_native().to_pylist())) for name, frame in vars(snapshot.frames()).items()
            }
        seen.append((summary.fingerprint, summary.findings, content))
    assert seen[0] == seen[1]
    assert all(seen[0][2][name] for name in ("opportunities", "contacts", "participants", "roles", "account_domains"))


def test_a_changed_value_changes_the_fingerprint(path):
    given = {"id": "o1", "account_id": "a", "stage": "Won"}
    changes = ({}, {"stage": "Lost"}, {"account_id": None}, {"account_id": "Won", "stage": "a"})
    prints = {pull(DictCrm({"opportunity": [{**given, **change}]}), path, as_of=AS_OF).fingerprint for change in changes}
    assert len(prints) == 4


def test_a_giant_account_stays_linear(pulled):
    giant = [raw(Entity.CONTACT, *({"id": f"c{i}", "account_id": "a", "email": f"p{i}@acme.com"} for i in range(100_000)))]
    snapshot = pulled({"account": [{"id": "a"}], "contact": giant})
    assert rows(snapshot, "FROM resolved.account_domains") == [("a", "acme.com")]
    assert rows(snapshot, "SELECT count(*), count(DISTINCT person_key) FROM resolved.contacts") == [(100_000, 100_000)]


def test_roles_can_be_hidden_for_proof(pulled):
    snapshot = pulled(
        {
            "contact": [{"id": "c"}],
            "opportunity": [{"id": "o1"}, {"id": "o2"}],
            "contact_role": [{"id": f"r{i}", "opportunity_id": f"o{i}", "contact_id": "c"} for i in (1, 2)],
        }
    )
    frames = snapshot.frames()
    import narwhals as nw

    hidden = replace(frames, roles=frames.roles.filter(nw.col("role_id") != "r1"))
    joined = hidden.roles.join(hidden.opportunities, on="opportunity_key").select("opportunity_id")
    assert joined.collect()["opportunity_id"].to_list() == ["o2"]


def test_frames_from_tables_fill_in_what_is_left_out():
    frames = frames_from_tables({"people": pa.table({"person_key": pa.array([1], pa.int32()), "contacts": [1], "leads": [0]})})
    assert frames.people.collect().to_native().to_pylist() == [{"person_key": 1, "contacts": 1, "leads": 0, "created_s": None}]
    assert frames.roles.collect().shape == (0, 7)
    with pytest.raises(ValueError, match=r"\['person'\]"):
        frames_from_tables({"person": pa.table({})})
