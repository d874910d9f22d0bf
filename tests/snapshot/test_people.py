"""Who is the same person: table-driven cases, and what must hold for any people."""

from __future__ import annotations

import re
import tempfile
from itertools import combinations
from pathlib import Path

import pytest
from dict_crm import AS_OF, DictCrm, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from crmbridge.snapshot import Snapshot, pull

MAIL = "x@acme.com"


def people_of(snapshot: Snapshot) -> dict[str, set[str]]:
    """Person -> ids of the contacts and leads; read where the CRM's own tables meet the resolved ones."""
    people: dict[str, set[str]] = {}
    for contact, person in rows(snapshot, "SELECT contact_id, person_key FROM resolved.contacts"):
        people.setdefault(person, set()).add(contact)
    return people


def groups(snapshot: Snapshot) -> list[list[str]]:
    return sorted(sorted(ids) for ids in people_of(snapshot).values())


def contact(id_: str, first: str | None = None, last: str | None = None, email: str | None = MAIL, **more) -> dict:
    return {"id": id_, "first_name": first, "last_name": last, "email": email, **more}


SAME = [["1", "2"]]
APART = [["1"], ["2"]]


NAMES_ON_ONE_ADDRESS = [
    (("Anna", "Berg"), ("Anna", "Berg"), SAME),
    (("ANNA", "berg "), ("anna", " Berg"), SAME),
    (("A.", "Berg"), ("Anna", "Berg"), SAME),
    (("Anna", "Berg"), ("Anna Maria", "Berg"), SAME),
    (("Anna", "Berg"), (None, "Berg"), SAME),
    (("Anna", "Berg"), (None, None), SAME),
    (("Anna", "Berg"), ("Anna", None), SAME),
    ((None, None), (None, None), SAME),
    (("Jürgen", "Müller"), ("Juergen", "Mueller"), SAME),
    (("Jürgen", "Müller"), ("Jurgen", "Muller"), SAME),
    (("José", "Nuñez"), ("Jose", "Nunez"), SAME),
    (("Łukasz", "Wałęsa"), ("Lukasz", "Walesa"), SAME),
    (("Hans-Peter", "O'Neil"), ("Hans Peter", "ONeil"), SAME),
    (("Anna", "[not provided]"), ("Anna", "Berg"), SAME),
    (("Максим", "Иванов"), ("максим", "ИВАНОВ"), SAME),
    (("Максим", "Иванов"), ("Мария", "Иванова"), APART),
    (("Anna", "Berg"), ("Anna", "Koch"), APART),
    (("Anna", "Berg"), ("Bob", "Berg"), APART),
    (("Anna", "Berg"), ("Bob", None), APART),
    (("Anna", None), ("Bob", None), APART),
]

ADDRESSES_WITH_ONE_NAME = [
    ("Anna.Berg@Acme.com", " anna.berg@acme.COM ", SAME),
    ("<anna@acme.com>", "anna@acme.com;", SAME),
    ("anna@acme.com", "anna@acme.com.", SAME),
    ("anna@acme.com", "\u00a0anna@acme.com\t", SAME),
    ("anna@acme.com", "anna@acme.de", APART),
    ("anna", "anna", APART),
    ("@acme.com", "@acme.com", APART),
    ("anna@localhost", "anna@localhost", APART),
    ("a@b@acme.com", "a@b@acme.com", APART),
    ("", "", APART),
    (None, None, APART),
    *(
        (address, address, APART)
        for address in (
            "info@acme.com",
            "INFO@acme.com",
            "info.berlin@acme.com",
            "info2@acme.com",
            "no-reply@acme.com",
            "do.not.reply@acme.com",
            "sales@acme.com",
            "kontakt@acme.de",
            "buero@acme.at",
            "vertrieb@acme.de",
            "contacto@acme.es",
            "ventas@acme.es",
            "comptabilite@acme.fr",
            "ufficio@acme.it",
            "biuro@acme.pl",
            "hr@acme.com",
            "customer-service@acme.com",
            "info+web@acme.com",
        )
    ),
    *((address, address, SAME) for address in ("hr.smith@acme.com", "infosmith@acme.com", "salesky@acme.com")),
]

MORE_THAN_TWO_ON_ONE_ADDRESS = [
    # A fits Anna as well as Albert: given to neither.
    ([("A", "B"), ("Anna", "B"), ("Albert", "B")], [["1"], ["2"], ["3"]]),
    # An, Ann and Anna are one chain beside Bob.
    ([("An", "B"), ("Ann", "B"), ("Anna", "B"), ("Bob", "B")], [["1", "2", "3"], ["4"]]),
    # Two people share the mailbox; each keeps its own records, and the nameless one is given to neither.
    ([("Anna", "B"), ("Anna", "B"), ("Bob", "K"), (None, None)], [["1", "2"], ["3"], ["4"]]),
    # The record without a last name cannot be Bob, nor can it tell the Bergs from the Kochs.
    ([("Anna", "B"), ("Anna", "K"), ("Anna", None)], [["1"], ["2"], ["3"]]),
]


def cases():
    """The records of every case by its name, and who is the same person."""
    for case, (first, second, expected) in enumerate(NAMES_ON_ONE_ADDRESS):
        yield f"names-{case}", [contact("1", *first), contact("2", *second)], expected
    for case, (first, second, expected) in enumerate(ADDRESSES_WITH_ONE_NAME):
        yield f"addresses-{case}", [contact("1", "Anna", "Berg", first), contact("2", "Anna", "Berg", second)], expected
    for case, (names, expected) in enumerate(MORE_THAN_TWO_ON_ONE_ADDRESS):
        yield f"several-{case}", [contact(str(i), *name) for i, name in enumerate(names, start=1)], expected


def apart(case, one):
    """The record in a company of the case's own, so that all cases fit into one CRM and none touches another."""
    email = one["email"] and re.sub("acme|localhost", lambda name: f"{name[0]}-{case}", one["email"], flags=re.IGNORECASE)
    return {**one, "id": f"{case}/{one['id']}", "email": email}


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Case -> who is the same person, in a CRM that holds the records of all cases."""
    contacts = [apart(case, one) for case, records, _ in cases() for one in records]
    path = tmp_path_factory.mktemp("people") / "snapshot.duckdb"
    pull(DictCrm({"contact": contacts}), path, as_of=AS_OF)
    found = {}
    with Snapshot.open(path) as snapshot:
        for group in groups(snapshot):
            (case,) = {id_.split("/")[0] for id_ in group}
            found.setdefault(case, []).append([id_.split("/")[1] for id_ in group])
    return found


@pytest.mark.parametrize(("case", "expected"), [(case, expected) for case, _, expected in cases()])
def test_who_is_the_same_by_names_and_addresses(grouped, case, expected):
    assert grouped[case] == expected


def test_a_lead_follows_its_contact_whatever_its_address_and_name_say(pulled):
    snapshot = pulled(
        {
            "contact": [contact("c1", "Anna", "Berg", "anna@acme.com"), contact("c2", "Bob", "Koch", "bob@acme.com")],
            "lead": [
                {"id": "l1", "first_name": "Bob", "last_name": "Koch", "email": "bob@acme.com", "converted_contact_id": "c1"},
                {"id": "l2", "first_name": "B", "last_name": "Koch", "email": "bob@acme.com"},
                {"id": "l3", "email": "bob@acme.com", "converted_contact_id": "nowhere"},
                {"id": "l4", "email": "new@acme.com"},
            ],
            "campaign_member": [{"id": f"m{i}", "campaign_id": "k", "lead_id": f"l{i}"} for i in range(1, 5)],
            "campaign": [{"id": "k"}],
        }
    )
    query = """SELECT r.member_id, list_sort(list(c.contact_id)) FROM resolved.responses r
        LEFT JOIN resolved.contacts c USING (person_key) GROUP BY ALL ORDER BY 1"""
    assert rows(snapshot, query) == [("m1", ["c1"]), ("m2", ["c2"]), ("m3", ["c2"]), ("m4", [None])]
    assert sorted(rows(snapshot, "SELECT contacts, leads FROM resolved.people")) == [(0, 1), (1, 1), (1, 2)]


def test_deleted_and_merged_records_are_nobody(pulled):
    snapshot = pulled(
        {
            "contact": [
                contact("1"),
                contact("2", is_deleted=True),
                contact("3", email="other@acme.com", merged_into_id="1"),
            ]
        }
    )
    assert groups(snapshot) == [["1"]]
    assert rows(snapshot, "SELECT contacts, leads FROM resolved.people") == [(1, 0)]


@pytest.mark.slow
def test_a_mailbox_shared_by_many_names_is_no_burden(pulled):
    shared = [contact(f"c{i:05}", f"{i:05}".translate(str.maketrans("0123456789", "bcdfghjklm")), "Z") for i in range(20_000)]
    assert len(people_of(pulled({"contact": shared}))) == 20_000


NAMES = st.sampled_from([None, "", "A", "An", "Anna", "Albert", "Bob", "Б"])
LASTS = st.sampled_from([None, "Berg", "BERG", "Koch", "-"])
MAILS = st.sampled_from([None, "x@acme.com", "X@acme.com ", "y@acme.com", "z@acme.com", "info@acme.com"])
PERSON = st.tuples(NAMES, LASTS, MAILS)


def conflict(a: tuple, b: tuple) -> bool:
    """The rule of the room, said once more and plainly."""
    first_a, first_b = (("" if p[0] is None else p[0].casefold()) for p in (a, b))
    last_a, last_b = (("" if p[1] in (None, "-") else p[1].casefold()) for p in (a, b))
    if last_a and last_b and last_a != last_b:
        return True
    return not (first_a.startswith(first_b) or first_b.startswith(first_a))


@settings(max_examples=5, deadline=None)
@given(people=st.lists(PERSON, min_size=1, max_size=24), shuffle=st.randoms(use_true_random=False))
def test_people_are_an_equivalence_without_conflicts_whatever_the_order(people, shuffle):
    contacts = [contact(str(i), *person) for i, person in enumerate(people)]
    shuffled = shuffle.sample(contacts, len(contacts))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.duckdb"
        one = pull(DictCrm({"contact": contacts}), path, as_of=AS_OF)
        with Snapshot.open(path) as snapshot:
            found = people_of(snapshot)
        other = pull(DictCrm({"contact": shuffled}), path, as_of=AS_OF)
        with Snapshot.open(path) as snapshot:
            assert people_of(snapshot) == found
    assert one.fingerprint == other.fingerprint
    assert sorted(id_ for ids in found.values() for id_ in ids) == sorted(c["id"] for c in contacts)
    assert set(found) == set(range(1, len(found) + 1))
    person_of = {id_: person for person, ids in found.items() for id_ in ids}
    for (i, a), (j, b) in combinations(enumerate(people), 2):
        same_mail = a[2] is not None and b[2] is not None and a[2].strip().lower() == b[2].strip().lower()
        if person_of[str(i)] == person_of[str(j)]:
            assert same_mail
            assert not conflict(a, b)
            assert "info" not in a[2]
        if same_mail and "info" not in a[2] and a[:2] == b[:2]:
            assert person_of[str(i)] == person_of[str(j)]
