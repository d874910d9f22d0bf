"""The kit notices each way to break the contract, blames nothing else, and has no check that cannot fail."""

import pytest
from broken_adapters import BROKEN, OversizedBatches
from kit_runner import checks, outcomes

from crmbridge.testing import AdapterConformance, MemoryCrm, MemoryOptions


def kit_for(cls, **attributes):
    """A suite for a broken adapter, as its author would write it."""

    def load(self, world):
        return MemoryOptions(crm=MemoryCrm(world), **getattr(cls, "shape", {}))

    fields = {"adapter_class": cls, "load": load, "many_rows": 250, **attributes}
    return type(f"Kit{cls.__name__}", (AdapterConformance,), fields)


@pytest.mark.slow
@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_exactly_the_intended_checks_fail(cls):
    failures = {name: error for name, error in outcomes(kit_for(cls)).items() if error}
    assert sorted(failures) == sorted(BROKEN[cls]), failures


def test_every_check_can_fail():
    assert frozenset().union(*BROKEN.values()) == set(checks(AdapterConformance))


@pytest.mark.slow
def test_batches_of_more_than_100_000_rows_are_noticed():
    kit = kit_for(OversizedBatches, many_rows=100_001)
    assert "100001 rows" in outcomes(kit, only="test_read_batch_sizes")["test_read_batch_sizes"]


def test_a_failure_says_which_sentence_is_broken():
    (broken,) = (cls for cls in BROKEN if cls.__name__ == "DuplicatesOnRetry")
    message = outcomes(kit_for(broken), only="test_put_again")["test_put_again"]
    assert "The contract says: The pair is already as wanted, by this write -> `already`" in message
    assert "Found: the outcome is 'applied'" in message
