"""The example of docs/extend.md is run as it stands: its adapter passes the kit."""

import re
import sys
import types
from pathlib import Path

import pytest
from kit_runner import checks, outcomes

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"
ADAPTER, SUITE = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def suite():
    module = types.ModuleType("json_crm")
    sys.modules["json_crm"] = module
    exec(ADAPTER, module.__dict__)
    namespace = {"__name__": "json_crm_suite"}
    exec(SUITE, namespace)
    yield namespace["TestJsonCrm"]
    del sys.modules["json_crm"]


def test_the_example_passes_every_check(suite):
    ends = outcomes(suite)
    assert {name: error for name, error in ends.items() if error} == {}
    assert list(ends) == checks(suite)


def test_the_example_is_caught_when_it_is_broken(suite):
    broken = type("Broken", (suite.adapter_class,), {"settle": lambda self, writes, checkpoints: iter(())})
    ends = outcomes(type("Kit", (suite,), {"adapter_class": broken}), only="test_settle_happened")
    assert "no receipt" in ends["test_settle_happened"]


def test_the_example_is_as_short_as_the_page_says():
    assert len([line for line in ADAPTER.splitlines() if line.strip()]) < 80
    assert SUITE.split("class TestJsonCrm")[1].count("\n") < 10
