"""Labels are written beside those that are there, and each answer is matched with the pair that it is about."""

import pytest
from bare_portal import BarePortal, Said, error, put, remove, user

from crmbridge.adapters.hubspot.failures import AnswerLost, Refusal
from crmbridge.adapters.hubspot.labels import UNLABELLED
from crmbridge.contract import Outcome, PairState
from crmbridge.errors import CrmUnavailable, LimitReached

THREE = ("Champion", "Budget Holder", "Blocker")


@pytest.fixture(params=[True, False], ids=["replaces", "appends"])
def portal(request):
    return BarePortal(replaces=request.param)


def outcomes(receipts):
    return [receipt.outcome.value for receipt in receipts.values()]


def codes(receipts):
    return [receipt.code for receipt in receipts.values()]


# --- labels that people set ------------------------------------------------------------------------------------------


def test_a_label_joins_the_three_that_people_set(portal):
    portal.person_sets("1", "2", *THREE)
    write = put(1, 2, "Key", expected=portal.state("1", "2"))
    assert outcomes(portal.write(write)) == ["applied"]
    assert portal.names_of("1", "2") == {*THREE, "Key"}


def test_a_pair_with_labels_that_the_plan_did_not_see_is_left_alone(portal):
    portal.person_sets("1", "2", *THREE)
    receipts = portal.write(put(1, 2, "Key"), put(1, 3, "Key"))
    assert sorted(outcomes(receipts)) == ["applied", "conflict"]
    assert portal.names_of("1", "2") == set(THREE)


def test_a_label_is_taken_back_from_beside_one_that_came_in_the_same_moment():
    portal = BarePortal(replaces=False)
    portal.meanwhile = lambda: portal.person_sets("1", "2", *THREE)
    assert outcomes(portal.write(put(1, 2, "Key"))) == ["conflict"]
    assert portal.names_of("1", "2") == set(THREE)


def test_a_label_is_taken_back_also_where_the_answer_was_lost():
    portal = BarePortal(replaces=False)
    portal.meanwhile = lambda: portal.person_sets("1", "2", *THREE)

    def lost_after(path, inputs):
        if path != "batch/create":
            return None
        portal.create(inputs)
        return lost()

    portal.instead = lost_after
    write = put(1, 2, "Key")
    assert outcomes(portal.write(write)) == ["unknown"]
    assert outcomes(portal.settle(write)) == ["conflict"]
    assert portal.names_of("1", "2") == set(THREE)


def test_a_pair_that_a_person_labelled_since_survives_its_undo(portal):
    (receipt,) = portal.write(put(1, 2, "Key")).values()
    portal.person_sets("1", "2", "Blocker")
    assert outcomes(portal.write(remove(1, 2, receipt.after))) == ["conflict"]
    assert portal.names_of("1", "2") == {"Key", "Blocker"}


def test_undo_takes_the_pair_apart(portal):
    (receipt,) = portal.write(put(1, 2, "Key")).values()
    assert outcomes(portal.write(remove(1, 2, receipt.after))) == ["applied"]
    assert ("1", "2") not in portal.links


def test_a_pair_without_labels_is_a_role_without_a_name(portal):
    (receipt,) = portal.write(put(1, 2)).values()
    assert [(row.id, row.role) for row in receipt.after.rows] == [("1:2:HUBSPOT_DEFINED:3", None)]
    assert portal.links["1", "2"] == {UNLABELLED}


def test_two_writes_on_one_pair_are_each_compared_with_what_is_there_then(portal):
    receipts = portal.write(put(1, 2, "Key"), put(1, 2, "Blocker"))
    assert outcomes(receipts) == ["applied", "conflict"]
    assert portal.names_of("1", "2") == {"Key"}


# --- which label is meant --------------------------------------------------------------------------------------------


def test_a_label_is_its_number_whatever_it_is_called_now(portal):
    portal.person_sets("1", "2", "Champion")
    portal.labels = {"Sponsor" if name == "Champion" else name: number for name, number in portal.labels.items()}
    (row,) = portal.state("1", "2").rows
    assert (row.id, row.role) == ("1:2:USER_DEFINED:37", "Sponsor")


def test_the_same_number_in_another_category_is_another_label(portal):
    portal.links["1", "2"] = {UNLABELLED, ("INTEGRATOR_DEFINED", 37)}
    assert [row.role for row in portal.state("1", "2").rows] == [None]


@pytest.mark.parametrize(
    ("settings", "role", "code"),
    [
        ({}, "Nobody's", "LABEL_NOT_OFFERED"),
        ({"role_labels": ("Champion",)}, "Blocker", "LABEL_NOT_OFFERED"),
        ({"primary_label": "Key"}, "Key", "LABEL_NOT_OFFERED"),
    ],
)
def test_a_label_that_is_not_offered_is_rejected_unsent(settings, role, code):
    portal = BarePortal(**settings)
    receipts = portal.write(put(1, 2, role), put(1, 3, "Champion"))
    assert outcomes(receipts) == ["rejected", "applied"]
    assert codes(receipts) == [code, None]
    assert portal.calls_to("batch/create") == [1]


def test_two_labels_of_one_name_are_no_name(portal):
    real = portal.ask

    def twice(method, path, **given):
        told = real(method, path, **given)
        if path == "labels":
            told["results"].append({"category": "USER_DEFINED", "typeId": 99, "label": "Key"})
        return told

    portal.ask = twice
    assert codes(portal.write(put(1, 2, "Key"))) == ["LABEL_NOT_DEFINED"]


def test_only_a_label_of_people_is_meant_by_its_name(portal):
    real = portal.ask

    def integrated(method, path, **given):
        told = real(method, path, **given)
        if path == "labels":
            told["results"].append({"category": "INTEGRATOR_DEFINED", "typeId": 40, "label": "Key"})
        return told

    portal.ask = integrated
    portal.write(put(1, 2, "Key"))
    assert portal.links["1", "2"] == {UNLABELLED, user("Key")}


def test_no_label_is_created_that_the_settings_do_not_name():
    portal = BarePortal(primary_label="Boss")
    assert codes(portal.write(put(1, 2, is_primary=True))) == ["LABEL_NOT_DEFINED"]
    assert "Boss" not in portal.labels


def test_a_label_is_created_only_where_the_settings_allow_it():
    portal = BarePortal(create_labels=("Economic Buyer", "Never Asked For"))
    assert portal.roles().names() == (*portal.labels, "Economic Buyer", "Never Asked For")
    assert outcomes(portal.write(put(1, 2, "Economic Buyer"), put(1, 3, "Economic Buyer"))) == ["applied", "applied"]
    assert portal.names_of("1", "3") == {"Economic Buyer"}
    assert "Never Asked For" not in portal.labels


def test_no_label_is_created_for_what_is_not_written():
    portal = BarePortal(create_labels=("Economic Buyer",))
    portal.person_sets("1", "2", "Key")
    assert outcomes(portal.write(put(1, 2, "Economic Buyer"))) == ["conflict"]
    assert "Economic Buyer" not in portal.labels


def test_a_label_that_hubspot_will_not_have_rejects_its_writes_alone():
    portal = BarePortal(create_labels=("Economic Buyer",))
    portal.instead = lambda path, inputs: refusal(400, "LIMIT_EXCEEDED") if path == "labels" else None
    receipts = portal.write(put(1, 2, "Economic Buyer"), put(1, 3, "Key"))
    assert (outcomes(receipts), codes(receipts)) == (["rejected", "applied"], ["LIMIT_EXCEEDED", None])


def test_a_label_whose_creation_was_not_answered_is_looked_for():
    portal = BarePortal(create_labels=("Economic Buyer",))

    def created_unheard(path, inputs):
        if path != "labels":
            return None
        portal.labels["Economic Buyer"] = 77
        return lost()

    portal.instead = created_unheard
    assert outcomes(portal.write(put(1, 2, "Economic Buyer"))) == ["applied"]
    assert portal.names_of("1", "2") == {"Economic Buyer"}


# --- the primary -----------------------------------------------------------------------------------------------------


def test_the_primary_is_a_label_of_its_own():
    portal = BarePortal(primary_label="Key")
    (receipt,) = portal.write(put(1, 2, "Champion", is_primary=True)).values()
    assert portal.names_of("1", "2") == {"Champion", "Key"}
    assert [(row.role, row.is_primary) for row in receipt.after.rows] == [("Champion", True)]
    assert receipt.after.primary_contact_id == "2"


def test_a_primary_without_a_role():
    portal = BarePortal(primary_label="Key")
    (receipt,) = portal.write(put(1, 2, is_primary=True)).values()
    assert [(row.id, row.role, row.is_primary) for row in receipt.after.rows] == [("1:2:HUBSPOT_DEFINED:3", None, True)]


def test_a_new_primary_takes_the_mark_off_the_earlier_and_nothing_else():
    portal = BarePortal(primary_label="Key")
    portal.person_sets("1", "9", "Champion", "Key")
    write = put(1, 2, "Blocker", is_primary=True, expected=PairState(primary_contact_id="9"))
    (receipt,) = portal.write(write).values()
    assert (receipt.outcome, receipt.after.primary_contact_id) == (Outcome.APPLIED, "2")
    assert portal.names_of("1", "9") == {"Champion"}


def test_the_primary_may_get_another_label_and_stays_the_primary(portal):
    portal.options.primary_label = "Key"
    portal.person_sets("1", "2", "Champion", "Key")
    write = put(1, 2, "Blocker", is_primary=True, expected=portal.state("1", "2"))
    assert outcomes(portal.write(write)) == ["applied"]
    assert portal.names_of("1", "2") == {"Champion", "Key", "Blocker"}


def test_only_our_label_is_taken_back_from_the_primary():
    portal = BarePortal(replaces=False, primary_label="Key")
    portal.person_sets("1", "2", "Champion", "Key")
    write = put(1, 2, "Blocker", is_primary=True, expected=portal.state("1", "2"))
    portal.meanwhile = lambda: portal.person_sets("1", "2", "Budget Holder")
    assert outcomes(portal.write(write)) == ["conflict"]
    assert portal.names_of("1", "2") == {"Champion", "Key", "Budget Holder"}


def test_an_earlier_primary_stays_where_the_new_one_is_refused():
    portal = BarePortal(primary_label="Key", known_contacts={"9"})
    portal.person_sets("1", "9", "Champion", "Key")
    write = put(1, 2, "Blocker", is_primary=True, expected=PairState(primary_contact_id="9"))
    assert codes(portal.write(write)) == ["TO_OBJECT_NOT_FOUND"]
    assert portal.names_of("1", "9") == {"Champion", "Key"}


def test_no_primary_without_a_label_for_it(portal):
    assert codes(portal.write(put(1, 2, "Key", is_primary=True))) == ["NO_PRIMARY_LABEL"]


# --- caps ------------------------------------------------------------------------------------------------------------


def test_a_label_that_is_full_is_not_sent():
    portal = BarePortal(caps={user("Champion"): 2})
    portal.person_sets("1", "9", "Champion")
    receipts = portal.write(put(1, 2, "Champion"), put(1, 3, "Champion"), put(1, 4, "Key"), put(2, 3, "Champion"))
    assert outcomes(receipts) == ["applied", "rejected", "applied", "applied"]
    assert codes(receipts)[1] == "LABEL_CAP_REACHED"
    assert portal.calls_to("batch/create") == [3]


def test_a_deal_that_is_full_takes_nobody_else():
    portal = BarePortal(caps={UNLABELLED: 2})
    portal.person_sets("1", "9")
    receipts = portal.write(put(1, 2, "Champion"), put(1, 3))
    assert (outcomes(receipts), codes(receipts)[1]) == (["applied", "rejected"], "CONTACT_CAP_REACHED")


def test_caps_that_may_not_be_read_leave_it_to_hubspot(portal):
    real = portal.ask

    def ask(method, path, **given):
        if path == "caps":
            raise refusal(403, "MISSING_SCOPES")
        return real(method, path, **given)

    portal.ask = ask
    assert outcomes(portal.write(put(1, 2, "Champion"))) == ["applied"]


# --- what the answer says --------------------------------------------------------------------------------------------


def test_an_error_is_for_the_pair_that_it_names(portal):
    portal.known_contacts = {"2", "4"}
    receipts = portal.write(put(1, 2), put(1, 3), put(2, 4), put(2, 5))
    assert outcomes(receipts) == ["applied", "rejected", "applied", "rejected"]
    assert codes(receipts)[1] == "TO_OBJECT_NOT_FOUND"


@pytest.mark.parametrize("context", [{"id": ["3"]}, {"toObjectId": ["3"]}, {"toObjectId": [3], "fromObjectId": [1]}])
def test_an_error_may_name_less(portal, context):
    portal.instead = without("3", error("INVALID_IDENTIFIER", **context), portal)
    receipts = portal.write(put(1, 2), put(1, 3))
    assert (outcomes(receipts), codes(receipts)[1]) == (["applied", "rejected"], "INVALID_IDENTIFIER")


@pytest.mark.parametrize("keys", [("fromObjectId", "toObjectId"), ("id", "id")])
def test_each_pair_of_a_deal_has_its_own_error(portal, keys):
    def told(path, inputs):
        errors = []
        for contact, code in (("3", "CAP"), ("4", "GONE")):
            context = {"id": ["1", contact]} if keys == ("id", "id") else {"fromObjectId": ["1"], "toObjectId": [contact]}
            errors.append(error(code, **context))
        return Said(207, {"results": [], "errors": errors})

    portal.instead = told
    assert codes(portal.write(put(1, 3), put(1, 4))) == ["CAP", "GONE"]


def test_an_error_that_names_nobody_is_for_the_pair_that_is_not_there_afterwards(portal):
    portal.instead = without("3", error("CAP_EXCEEDED"), portal)
    receipts = portal.write(put(1, 2), put(1, 3))
    assert (outcomes(receipts), codes(receipts)[1]) == (["applied", "rejected"], "CAP_EXCEEDED")


def test_what_passes_is_not_refused_for_good(portal):
    portal.instead = without("3", error("", category="RATE_LIMITS", toObjectId=["3"]), portal)
    writes = [put(1, 2), put(1, 3)]
    assert outcomes(portal.write(*writes)) == ["applied", "unknown"]
    assert outcomes(portal.settle(*writes)) == ["applied", "absent"]


@pytest.mark.parametrize("status", [200, 201, 202])
def test_an_answer_without_results_is_read_back(portal, status):
    portal.instead = lambda path, inputs: portal.create(inputs) and Said(status, {"status": "COMPLETE"})
    assert outcomes(portal.write(put(1, 2, "Key"))) == ["applied"]
    portal.instead = lambda path, inputs: Said(status, None)
    write = put(1, 3, "Key")
    receipts = portal.write(write)
    assert (outcomes(receipts), codes(receipts)) == (["unknown"], ["NO_RESULT"])
    assert outcomes(portal.settle(write)) == ["absent"]


def test_what_was_done_and_is_not_there_may_only_be_late(portal):
    done = {"fromObjectId": 1, "toObjectId": 2, "labels": []}
    portal.instead = lambda path, inputs: Said(201, {"status": "COMPLETE", "results": [done]})
    receipts = portal.write(put(1, 2))
    assert (outcomes(receipts), codes(receipts)) == (["unknown"], ["NOT_SEEN"])


def test_ids_may_be_text_or_numbers(portal):
    def told(path, inputs):
        said = portal.create(inputs)
        for result in said.body["results"]:
            deal, contact = str(result.pop("fromObjectId")), str(result.pop("toObjectId"))
            result |= {"from": {"id": deal}, "to": {"id": contact}}
        return said

    portal.instead = told
    assert outcomes(portal.write(put(1, 2), put(2, 1))) == ["applied", "applied"]


def test_one_that_spoils_the_whole_batch_is_found(portal):
    def refused_whole(path, inputs):
        return refusal(400, "FROM_OBJECT_NOT_FOUND") if any(one["to"]["id"] == "13" for one in inputs) else None

    portal.instead = refused_whole
    receipts = portal.write(*(put(1, number) for number in range(1, 21)))
    assert outcomes(receipts) == ["applied"] * 12 + ["rejected"] + ["applied"] * 7
    assert codes(receipts)[12] == "FROM_OBJECT_NOT_FOUND"


def test_a_label_that_went_meanwhile_is_refused_for_all_at_once(portal):
    def gone(path, inputs):
        is_asked = any(spec["associationTypeId"] == 40 for one in inputs for spec in one["types"])
        return refusal(400, "INVALID_ASSOCIATION_TYPE") if is_asked else None

    portal.instead = gone
    receipts = portal.write(*(put(1, number, "Key") for number in range(1, 20)), put(1, 20, "Blocker"))
    assert outcomes(receipts) == ["rejected"] * 19 + ["applied"]
    assert portal.calls_to("batch/create") == [20, 19, 1]


def test_an_id_of_another_form_is_not_sent(portal):
    receipts = portal.write(put("x1", 2), put(1, "003A"), put(1, 2), put("007", 2))
    assert outcomes(receipts) == ["rejected", "rejected", "applied", "rejected"]
    assert portal.calls_to("batch/create") == [1]


def test_errors_are_told_by_code_alone(portal):
    portal.known_contacts = set()
    receipts = portal.write(put(1, 2))
    assert "Smith" not in str(receipts)


# --- answers that do not come ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_is_read_back(portal, happened):
    def unheard(path, inputs):
        if happened:
            portal.create(inputs)
        return lost()

    portal.instead = unheard
    write = put(1, 2, "Key")
    assert outcomes(portal.write(write)) == (["applied"] if happened else ["unknown"])
    assert outcomes(portal.settle(write)) == (["applied"] if happened else ["absent"])


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_to_an_undo_is_read_back(portal, happened):
    (receipt,) = portal.write(put(1, 2, "Key")).values()

    def unheard(path, inputs):
        if happened:
            portal.archive(inputs)
        return lost()

    portal.instead = unheard
    write = remove(1, 2, receipt.after)
    assert outcomes(portal.write(write)) == (["applied"] if happened else ["unknown"])
    assert outcomes(portal.settle(write)) == (["applied"] if happened else ["absent"])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [LimitReached("used up"), CrmUnavailable("away")])
def test_what_could_not_be_sent_any_more_is_unknown(portal, stop):
    portal.instead = lambda path, inputs: stop if len(portal.calls_to("batch/create")) > 1 else None
    writes = [put(1, number) for number in range(1, 2_101)]
    receipts = portal.write(*writes)
    assert outcomes(receipts) == ["applied"] * 2_000 + ["unknown"] * 100
    assert codes(receipts)[-1] == f"NOT_SENT_{type(stop).__name__}"


@pytest.mark.parametrize("stop", [LimitReached("used up"), CrmUnavailable("away")])
def test_nothing_sent_is_an_error(portal, stop):
    portal.instead = lambda path, inputs: stop
    with pytest.raises(type(stop)):
        portal.write(put(1, 2))


def test_what_cannot_be_verified_is_unknown(portal):
    real = portal.ask

    def fails_later(method, path, **given):
        if path == "batch/read" and portal.calls_to("batch/create"):
            raise CrmUnavailable("away")
        return real(method, path, **given)

    portal.ask = fails_later
    receipts = portal.write(put(1, 2))
    assert (outcomes(receipts), codes(receipts)) == (["unknown"], ["UNVERIFIED_CrmUnavailable"])


# --- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_batches_are_as_large_as_they_may_be(portal):
    writes = [put(deal, 1 + deal % 7, "Key") for deal in range(1, 2_502)]
    receipts = portal.write(*writes)
    assert set(outcomes(receipts)) == {"applied"}
    assert portal.calls_to("batch/create") == [2_000, 501]
    assert portal.calls_to("batch/read") == [1_000, 1_000, 501] * 2
    undo = [remove(write.opportunity_id, write.contact_id, receipts[write.key].after) for write in writes]
    assert set(outcomes(portal.write(*undo))) == {"applied"}
    assert portal.calls_to("batch/archive") == [100] * 25 + [1]
    assert not portal.links


def test_a_deal_with_more_contacts_than_an_answer_holds_is_read_to_the_end(portal):
    portal.page = 3
    for contact in range(1, 12):
        portal.person_sets("1", str(contact), "Key")
    portal.person_sets("2", "1")
    assert len(list(portal.roles().read(["1", "2", "3", "x"]))) == 12


def test_a_read_that_is_not_whole_fails(portal):
    portal.ask = lambda method, path, **given: {"results": [], "errors": [error("", category="INTERNAL_ERROR")]}
    with pytest.raises(CrmUnavailable):
        list(portal.roles().read(["1"]))


def test_a_deal_that_was_merged_away_has_no_roles(portal):
    plain = {"category": "HUBSPOT_DEFINED", "typeId": 3, "label": None}
    told = {"from": {"id": "2"}, "to": [{"toObjectId": 5, "associationTypes": [plain]}]}
    portal.ask = lambda method, path, **given: {"results": [told] if path == "batch/read" else []}
    assert not list(portal.roles().read(["1"]))


def refusal(status, code):
    return Refusal("POST batch", status, code)


def lost():
    return AnswerLost("POST batch", "TIMEOUT")


def without(contact, told, portal):
    """Carry out all but one contact's, and say this instead."""

    def answer(path, inputs):
        said = portal.create([one for one in inputs if one["to"]["id"] != contact])
        said.body["errors"].append(told)
        return Said(207, said.body)

    return answer
