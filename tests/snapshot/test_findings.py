"""Each kind of trouble is found, counted, and shown with ids."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from dict_crm import AS_OF, DictCrm, of_crm, raw, rows, side_by_side

from crmbridge.model import Entity
from crmbridge.snapshot import Snapshot, pull
from crmbridge.snapshot.findings import MEANINGS

LATER = AS_OF + timedelta(days=1)
BASE = {
    "account": [{"id": "a"}],
    "campaign": [{"id": "k"}],
    "contact": [{"id": "c"}],
    "lead": [{"id": "l"}],
    "opportunity": [{"id": "o"}],
    "activity": [{"id": "t"}],
}


def found(snapshot: Snapshot) -> dict[tuple[str, str, str | None], tuple[int, list[str]]]:
    return {(f["code"], f["entity"], f["field"]): (f["count"], f["sample_ids"]) for f in snapshot.findings().to_pylist()}


def opp(id_: str = "x", **more) -> dict:
    return {"opportunity": [{"id": id_, **more}]}


WON = {"is_won": True, "is_closed": True, "close_date": date(2025, 1, 2), "amount": Decimal(1), "currency": "EUR"}

CASES = [
    ({}, {}),
    ({"contact": [{"id": "x", "account_id": "gone"}]}, {("orphan", "contact", "account_id"): (1, ["x"])}),
    (opp(account_id="gone"), {("orphan", "opportunity", "account_id"): (1, ["x"])}),
    (opp(campaign_id="gone"), {("orphan", "opportunity", "campaign_id"): (1, ["x"])}),
    (
        {"contact_role": [{"id": "x", "opportunity_id": "gone", "contact_id": "gone"}]},
        {("orphan", "contact_role", "opportunity_id"): (1, ["x"]), ("orphan", "contact_role", "contact_id"): (1, ["x"])},
    ),
    (
        {"campaign_member": [{"id": "x", "campaign_id": "gone", "contact_id": "gone", "lead_id": "gone"}]},
        {("orphan", "campaign_member", f): (1, ["x"]) for f in ("campaign_id", "contact_id", "lead_id")},
    ),
    ({"campaign_member": [{"id": "x", "campaign_id": "k"}]}, {("member_without_person", "campaign_member", None): (1, ["x"])}),
    (
        {"activity": [{"id": "x", "opportunity_id": "gone", "account_id": "gone"}]},
        {("orphan", "activity", "opportunity_id"): (1, ["x"]), ("orphan", "activity", "account_id"): (1, ["x"])},
    ),
    (
        {"activity_participant": [{"id": "x", "activity_id": "gone", "contact_id": "gone", "lead_id": "gone"}]},
        {("orphan", "activity_participant", f): (1, ["x"]) for f in ("activity_id", "contact_id", "lead_id")},
    ),
    (
        {"activity_participant": [{"id": "x", "activity_id": "t", "email": "no@one.com"}]},
        {("unresolved_address", "activity_participant", "email"): (1, ["x"])},
    ),
    (
        {"lead": [{"id": "x", "converted_contact_id": "gone", "converted_opportunity_id": "gone"}]},
        {("orphan", "lead", f): (1, ["x"]) for f in ("converted_contact_id", "converted_opportunity_id")},
    ),
    (
        {"opportunity_contact_lookup": [{"id": "x", "opportunity_id": "gone", "contact_id": "gone", "field": "f"}]},
        {("orphan", "opportunity_contact_lookup", f): (1, ["x"]) for f in ("contact_id", "opportunity_id")},
    ),
    (
        {"opportunity_account": [{"id": "x", "opportunity_id": "gone", "account_id": "gone"}]},
        {("orphan", "opportunity_account", f): (1, ["x"]) for f in ("account_id", "opportunity_id")},
    ),
    (
        {"account_contact_relation": [{"id": "x", "account_id": "gone", "contact_id": "gone"}]},
        {("orphan", "account_contact_relation", f): (1, ["x"]) for f in ("account_id", "contact_id")},
    ),
    ({"contact": [{"id": "x", "account_id": "gone", "is_deleted": True}]}, {}),
    (
        {"account": [{"id": "d", "is_deleted": True}], "contact": [{"id": "x", "account_id": "d"}]},
        {("orphan", "contact", "account_id"): (1, ["x"])},
    ),
    (
        {"contact_role": [{"id": f"r{i}", "opportunity_id": "o", "contact_id": "c"} for i in range(7)]},
        {("duplicate_role", "contact_role", None): (6, ["r1", "r2", "r3", "r4", "r5"])},
    ),
    (
        {
            "contact": [{"id": "x"}],
            "contact_role": [{"id": f"r{c}", "opportunity_id": "o", "contact_id": c, "is_primary": True} for c in ("c", "x")],
        },
        {("several_primaries", "opportunity", None): (1, ["o"])},
    ),
    ({"contact": [{"id": "x", "created_at": LATER}]}, {("date_in_future", "contact", "created_at"): (1, ["x"])}),
    ({"activity": [{"id": "x", "occurred_at": LATER}]}, {("date_in_future", "activity", "occurred_at"): (1, ["x"])}),
    (opp(close_date=date(2026, 9, 1)), {}),
    (opp(**{**WON, "close_date": AS_OF.date()}), {}),
    (opp(**{**WON, "close_date": date(2026, 7, 1)}), {("date_in_future", "opportunity", "close_date"): (1, ["x"])}),
    (opp(**WON, created_at=datetime(2025, 1, 2, 23, 59, tzinfo=UTC)), {}),
    (
        opp(**WON, created_at=datetime(2025, 1, 3, tzinfo=UTC)),
        {("close_before_creation", "opportunity", "close_date"): (1, ["x"])},
    ),
    (opp(**{**WON, "close_date": None}), {("closed_without_date", "opportunity", "close_date"): (1, ["x"])}),
    (opp(**{**WON, "amount": None}), {("won_without_amount", "opportunity", "amount"): (1, ["x"])}),
    (opp(**{**WON, "is_closed": False}), {("won_not_closed", "opportunity", "is_closed"): (1, ["x"])}),
    ({"contact": [{"id": "x", "merged_into_id": "c"}]}, {("merged_record", "contact", "merged_into_id"): (1, ["x"])}),
    (
        {"account": [{"id": "x", "merged_into_id": "gone"}]},
        {("merged_record", "account", "merged_into_id"): (1, ["x"]), ("orphan", "account", "merged_into_id"): (1, ["x"])},
    ),
    (
        {"lead": [{"id": "x", "merged_into_id": "y"}, {"id": "y", "merged_into_id": "x"}]},
        {("merge_cycle", "lead", "merged_into_id"): (2, ["x", "y"])},
    ),
    (
        {
            "contact": [{"id": "x", "last_name": "A", "email": "a@b.de"}],
            "lead": [{"id": "y", "last_name": "B", "email": "a@b.de"}],
        },
        {("conflicting_names", "contact", "email"): (1, ["x"]), ("conflicting_names", "lead", "email"): (1, ["y"])},
    ),
    (
        {"contact": [{"id": "x", "email": "info@b.de"}], "lead": [{"id": "y", "email": "info@b.de"}]},
        {("generic_mailbox", "contact", "email"): (1, ["x"]), ("generic_mailbox", "lead", "email"): (1, ["y"])},
    ),
    (
        {"contact": [{"id": "x", "email": "a@b.de"}, {"id": "y", "email": "a@b.de"}]},
        {("same_person", "contact", None): (1, ["x"])},
    ),
]

# Whether a currency is missing depends on those of all records.
CASES_OF_THEIR_OWN = [
    (opp(**{**WON, "currency": None}), {}),
    (
        {"opportunity": [{"id": "x", "amount": Decimal(1)}, {"id": "y", "currency": "EUR"}, {"id": "z", "currency": "USD"}]},
        {("missing_currency", "opportunity", "currency"): (1, ["x"])},
    ),
]


def on_base(data: dict) -> dict:
    return {entity: [*BASE.get(entity, []), *data.get(entity, [])] for entity in {**BASE, **data}}


def groups() -> list[list[int]]:
    """Numbers of cases, grouped so that no two of a group expect the same finding: each count is of one case alone."""
    grouped: list[list[int]] = []
    for number, (_, expected) in enumerate(CASES):
        for group in grouped:
            if all(CASES[other][1].keys().isdisjoint(expected) for other in group):
                group.append(number)
                break
        else:
            grouped.append([number])
    return grouped


@pytest.fixture(scope="module")
def found_of(tmp_path_factory):
    """Number of a case -> what was found in its records; cases of a group stand side by side in one CRM."""
    path = tmp_path_factory.mktemp("findings") / "snapshot.duckdb"
    told: dict[int, dict] = {number: {} for number in range(len(CASES))}
    for numbers in groups():
        pull(DictCrm(side_by_side(on_base(CASES[number][0]) for number in numbers)), path, as_of=AS_OF)
        with Snapshot.open(path) as snapshot:
            for key, (count, ids) in found(snapshot).items():
                assert ids, key
                for number in {numbers[of_crm(id_)[0]] for id_ in ids}:
                    told[number][key] = (count, [own for crm, own in map(of_crm, ids) if numbers[crm] == number])
    return told


@pytest.mark.parametrize(("number", "expected"), [(number, expected) for number, (_, expected) in enumerate(CASES)])
def test_every_finding(found_of, number, expected):
    assert found_of[number] == expected


@pytest.mark.parametrize(("data", "expected"), CASES_OF_THEIR_OWN)
def test_findings_that_all_records_decide(pulled, data, expected):
    assert found(pulled(on_base(data))) == expected


def test_every_code_has_a_case():
    covered = {code for _, expected in [*CASES, *CASES_OF_THEIR_OWN] for code, _, _ in expected} | {
        "duplicate_id",
        "date_out_of_range",
    }
    assert covered == set(MEANINGS)


def test_a_close_on_the_day_of_creation_counts_in_the_organisations_zone(path):
    """Created at 02:00 UTC on the 3rd is still the 2nd in New York."""
    data = {**BASE, **opp(**WON, created_at=datetime(2025, 1, 3, 2, tzinfo=UTC))}
    for zone, codes in (("America/New_York", []), ("UTC", ["close_before_creation"])):
        summary = pull(DictCrm(data), path, as_of=AS_OF, time_zone=zone)
        assert [f.code for f in summary.findings] == codes


@pytest.mark.parametrize("backwards", [False, True])
def test_of_duplicate_ids_the_last_modified_stays(pulled, backwards):
    versions = [
        {"id": "c1", "title": "old", "modified_at": datetime(2024, 1, 1, tzinfo=UTC)},
        {"id": "c1", "title": "new", "modified_at": datetime(2025, 1, 1, tzinfo=UTC)},
        {"id": "c1", "title": "undated"},
        {"id": "c2", "title": "b"},
        {"id": "c2", "title": "a"},
        {"id": "c3", "title": "once"},
    ]
    snapshot = pulled({"contact": [raw(Entity.CONTACT, *(versions[::-1] if backwards else versions))]})
    assert rows(snapshot, "SELECT contact_id, title FROM resolved.contacts ORDER BY 1") == [
        ("c1", "new"),
        ("c2", "a"),
        ("c3", "once"),
    ]
    assert found(snapshot) == {("duplicate_id", "contact", "id"): (3, ["c1", "c2"])}
    assert snapshot.counts()[Entity.CONTACT] == 3


def test_findings_name_no_people(pulled):
    secret = {"first_name": "Annabelle", "last_name": "Secret", "email": "annabelle@secret.com"}
    snapshot = pulled({"contact": [{"id": "1", **secret}, {"id": "2", **secret}, {"id": "3", **secret, "last_name": "X"}]})
    text = str(snapshot.findings().to_pylist()).lower()
    assert "annabelle" not in text
    assert "secret" not in text
