"""What a person does in the very moments in which we write: theirs stays, ours is taken back, none of theirs is claimed."""

import json
import ssl

import pytest
import requests
import test_faults
from orgs import crm_id
from test_faults import PLAN, Killed, c, interrupted, o, org
from urllib3.exceptions import SSLError

from crmbridge.adapters.salesforce import transport, writer
from crmbridge.errors import CrmBridgeError, LimitReached
from crmbridge.model import Entity
from crmbridge.testing.sandbox import Fault, RowFault, Trouble

ROLES = "OpportunityContactRole"
KEY_FIELD = {ROLES: ("Write_Key__c string(255) cx",)}
_no_pauses = test_faults._no_pauses


def somebody_adds(made, *, role="Influencer", opportunity=1, contact=2, **fields):
    row_id = made.sandbox.insert(ROLES, OpportunityId=o(opportunity), ContactId=c(contact), Role=role, **fields)
    statement = f'UPDATE "{ROLES}" SET "CreatedById" = ? WHERE "Id" = ?'
    made.sandbox.store.connection.execute(statement, [crm_id(Entity.USER, "somebody"), row_id])
    return row_id


def with_keys(made):
    made.options = made.options.model_copy(update={"write_key_field": "Write_Key__c"})


def meanwhile(monkeypatch, act, after=lambda: None):
    """Let somebody act at the last moment before rows are sent, and something happen right after."""
    real = writer.collections.insert

    def insert(*given, **options):
        act()
        answers = real(*given, **options)
        after()
        return answers

    monkeypatch.setattr(writer.collections, "insert", insert)


STRIKES = {
    "locked": lambda made: made.sandbox.row_faults.add(RowFault(code="UNABLE_TO_LOCK_ROW", attempts=1)),
    "lost": lambda made: made.sandbox.faults.add(Fault(trouble=Trouble.DROP_BEFORE, method="DELETE", path="composite/sobjects")),
    "lost, but done": lambda made: made.sandbox.faults.add(
        Fault(trouble=Trouble.DROP_AFTER, method="DELETE", path="composite/sobjects")
    ),
    "the day is over": lambda made: made.sandbox.faults.add(
        Fault(trouble=Trouble.LIMIT_REACHED, method="DELETE", path="composite/sobjects")
    ),
}


@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("role", ["Influencer", "Evaluator"])
def test_a_row_beside_anothers_is_taken_back_whatever_strikes(tmp_path, monkeypatch, strike, role):
    with org(tmp_path) as made:
        before = made.rows()
        meanwhile(monkeypatch, lambda: somebody_adds(made, role=role), lambda: STRIKES[strike](made))
        summary = made.in_the_end(lambda: made.apply([PLAN[0]]))
        assert summary.counts == {"conflict": 1}
        assert made.rows() == sorted([*before, (o(1), c(2), role, False)])
        assert made.journal.own_roles().num_rows == 0


@pytest.mark.parametrize("role", ["Influencer", "Evaluator"])
def test_a_row_whose_answer_was_lost_is_told_from_anothers_by_its_key(tmp_path, monkeypatch, role):
    with org(tmp_path, custom_fields=KEY_FIELD) as made:
        with_keys(made)
        before = made.rows()
        lost = Fault(trouble=Trouble.DROP_AFTER, method="POST", path="composite/sobjects")
        meanwhile(monkeypatch, lambda: [somebody_adds(made, role=role), made.sandbox.faults.add(lost)])
        assert made.in_the_end(lambda: made.apply([PLAN[0]])).counts == {"conflict": 1}
        assert made.rows() == sorted([*before, (o(1), c(2), role, False)])
        assert [row["Write_Key__c"] for row in made.sandbox.rows(ROLES)] == [None, None]


def test_what_a_person_added_after_a_kill_is_theirs_where_rows_carry_keys(tmp_path, monkeypatch):
    with org(tmp_path, custom_fields=KEY_FIELD) as made:
        with_keys(made)

        def die():
            raise Killed

        meanwhile(monkeypatch, die)
        assert interrupted(lambda: made.apply([PLAN[0]])) is None
        monkeypatch.undo()
        somebody_adds(made, role="Evaluator")
        before = made.rows()
        summary = made.apply([PLAN[0]])
        assert summary.counts == {"conflict": 1}
        assert made.undo(summary.run_id).counts == {}
        assert made.rows() == before


def test_whose_row_it_is_is_asked_until_it_is_told(tmp_path, monkeypatch):
    with org(tmp_path, custom_fields=KEY_FIELD) as made:
        with_keys(made)

        def die():
            raise Killed

        meanwhile(monkeypatch, die)
        assert interrupted(lambda: made.apply([PLAN[0]])) is None
        monkeypatch.undo()
        somebody_adds(made, role="Evaluator")
        real = transport.Transport.send

        def send(self, request, **options):
            if "Write_Key__c+IN" not in request.url:
                return real(self, request, **options)
            refusal = requests.Response()
            refusal.status_code, refusal.url = 400, request.url
            refusal._content = b'[{"message": "x", "errorCode": "QUERY_TOO_COMPLICATED"}]'
            return refusal

        monkeypatch.setattr(transport.Transport, "send", send)
        with pytest.raises(CrmBridgeError, match="QUERY_TOO_COMPLICATED"):
            made.apply([PLAN[0]])
        assert made.journal.own_roles().num_rows == 0


@pytest.mark.parametrize("is_written", [False, True])
def test_where_rows_carry_keys_a_lost_answer_ends_as_it_was(tmp_path, is_written):
    with org(tmp_path, custom_fields=KEY_FIELD) as made:
        with_keys(made)
        before = made.rows()
        trouble = Trouble.DROP_AFTER if is_written else Trouble.DROP_BEFORE
        made.sandbox.faults.add(Fault(trouble=trouble, method="POST", path="composite/sobjects"))
        summary = made.in_the_end(lambda: made.apply([PLAN[0]]))
        assert summary.counts == {"applied": 1}
        assert len(made.rows()) == len(before) + 1
        assert made.undo(summary.run_id).counts == {"applied": 1}
        assert made.rows() == before


@pytest.mark.parametrize("mode", test_faults.MODES)
def test_who_holds_the_lock_may_name_the_primary(tmp_path, monkeypatch, mode):
    with org(tmp_path, mode) as made:
        fault = RowFault(code="UNABLE_TO_LOCK_ROW", opportunities=frozenset({o(2)}), attempts=1)
        made.sandbox.row_faults.add(fault)
        waited = []

        def sleep(_):
            if not waited:
                somebody_adds(made, opportunity=2, contact=5, role="Decision Maker", IsPrimary=True)
            waited.append(1)

        monkeypatch.setattr(writer.time, "sleep", sleep)
        assert made.apply([PLAN[2]]).counts == {"conflict": 1}
        assert (o(2), c(5), "Decision Maker", True) in made.rows()
        assert waited


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_primary_that_a_person_cleared_stays_cleared(tmp_path, monkeypatch, is_deleted):
    with org(tmp_path) as made:
        summary = made.apply([PLAN[0]])
        (first,) = (row for row in made.sandbox.rows(ROLES) if row["ContactId"] == c(1))
        made.sandbox.change(ROLES, first["Id"], IsPrimary=False)
        real = writer.collections.delete

        def delete(*given):
            if is_deleted:
                real(*given)
            raise Killed

        monkeypatch.setattr(writer.collections, "delete", delete)
        assert interrupted(lambda: made.undo(summary.run_id)) is None
        monkeypatch.undo()
        assert made.undo(summary.run_id).counts == {"applied": 1}
        assert made.rows() == [(o(1), c(1), "Decision Maker", False)]


def test_a_role_that_a_merge_moved_is_no_role_taken_back(tmp_path):
    with org(tmp_path) as made:
        summary = made.apply([PLAN[0]])
        made.sandbox.merge_contacts(c(4), c(2))
        undone = made.undo(summary.run_id)
        assert undone.counts == {"conflict": 1}
        assert [refused.line_id for refused in undone.refused] == ["L-1-2"]
        assert (o(1), c(4), "Evaluator", False) in made.rows()
        (own,) = made.journal.own_roles().to_pylist()
        assert own["ended_at"] is None


@pytest.mark.parametrize("ends_by", ["limit", "budget"])
def test_half_of_a_refused_collection_that_was_written_is_known(tmp_path, monkeypatch, ends_by):
    with org(tmp_path) as made:
        before, real, sizes = made.rows(), transport.Transport.send, []

        def send(self, request, **options):
            if request.method != "POST" or not request.url.endswith("composite/sobjects"):
                return real(self, request, **options)
            sizes.append(len(json.loads(request.body)["records"]))
            if len(sizes) == 1:
                refusal = requests.Response()
                refusal.status_code, refusal.url = 400, request.url
                refusal._content = b'[{"message": "x", "errorCode": "MALFORMED_ID"}]'
                return refusal
            answer = real(self, request, **options)
            if ends_by == "limit":
                made.sandbox.faults.add(Fault(trouble=Trouble.LIMIT_REACHED, method="POST", path="composite/sobjects"))
            else:
                self._max_calls = self.calls
            return answer

        monkeypatch.setattr(transport.Transport, "send", send)
        plan = [PLAN[0], PLAN[1], PLAN[3], PLAN[4]]
        with pytest.raises(LimitReached):
            made.apply(plan)
        assert sizes[:2] == [4, 2]
        assert len(made.rows()) == len(before) + 2
        monkeypatch.undo()
        made.sandbox.faults.clear()
        summary = made.in_the_end(lambda: made.apply(plan))
        assert summary.counts == {"applied": 4}
        made.undo(summary.run_id)
        assert made.rows() == before


@pytest.mark.parametrize(
    ("error", "is_unsent"),
    [
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), True),
        (ssl.SSLError(1, "decryption failed or bad record mac"), False),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), False),
    ],
)
def test_tls_that_breaks_may_have_carried_the_request(error, is_unsent):
    assert transport._is_unsent(requests.exceptions.SSLError(SSLError(error))) is is_unsent
