"""What the pages say is what the code does."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from crmbridge.evidence.role_names import _MIN_ROWS, _MIN_SHARE
from crmbridge.evidence.rule import Weight, Windows
from crmbridge.evidence.rules import BUILT_IN
from crmbridge.evidence.score import CATCH_ALL_OPPORTUNITIES, FAINT_SHARE, PRIOR_BITS
from crmbridge.evidence.settings import RuleSettings, rules_in_force

DOCS = Path(__file__).parents[2] / "docs"
EVIDENCE = (DOCS / "evidence.md").read_text()
EXTEND = (DOCS / "extend-rules.md").read_text()


def _blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _table_rows(text):
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return [[row[0].strip("`"), *row[1:]] for row in cells]


def _repeats(weight: Weight) -> str:
    return f"{weight.repeat_bits:g}, at most {weight.repeat_cap_bits:g}" if weight.repeat_bits else "-"


def test_the_table_of_rules_is_the_codes():
    documented = [row[:-1] for row in _table_rows(EVIDENCE) if len(row) == 8]
    assert documented == [
        [
            rule.name,
            rule.stance.value,
            f"{rule.weight.bits:g}",
            f"{rule.weight.half_life_days:g}" if rule.weight.half_life_days else "-",
            f"{rule.weight.undated:g}",
            _repeats(rule.weight),
            rule.reason,
        ]
        for rule in BUILT_IN
    ]


def test_the_windows_and_constants_are_the_codes():
    documented = {row[0]: int(row[1]) for row in _table_rows(EVIDENCE) if len(row) == 3}
    assert documented == Windows().model_dump()
    assert f"prior of {PRIOR_BITS:g} bits" in EVIDENCE
    assert f"more than {CATCH_ALL_OPPORTUNITIES:,} opportunities" in EVIDENCE
    assert f"less than {FAINT_SHARE:.0%}".replace("%", " %") in EVIDENCE
    assert (_MIN_ROWS, _MIN_SHARE) == (5, 0.6)


def test_the_settings_of_the_page_are_settings():
    page = tomllib.loads(_blocks(EVIDENCE, "toml")[0])
    rules = rules_in_force(RuleSettings.model_validate(page["rules"]), page["weights"])
    assert {rule.name: rule.weight.bits for rule in rules}["campaign_response"] == 0.5
    assert "title_seniority" not in [rule.name for rule in rules]


def test_the_example_rule_runs_in_a_script_and_as_a_package(world, monkeypatch):
    example: dict = {}
    exec(compile(_blocks(EXTEND, "python")[0], "extend-rules.md", "exec"), example)
    package, settings = (tomllib.loads(block) for block in _blocks(EXTEND, "toml"))
    ((group, points),) = package["project"]["entry-points"].items()
    ((name, value),) = points.items()
    point = metadata.EntryPoint(name, value, group)
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: example[self.value.partition(":")[2]])
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point] if group == point.group else [])
    world.opportunity(1).contact("c1", 1).contact("c2", 2).lookup("x1", 1, 1, "c1").lookup("x2", 1, 2, "c2")
    world.rows["opportunities"][0]["owner_id"] = world.rows["contacts"][0]["owner_id"] = "u1"
    world.rows["contacts"][1]["owner_id"] = "u2"
    assert world.judged(rules=[*BUILT_IN, example["SAME_OWNER"]]).bits("same_owner") == 0.3
    named = rules_in_force(RuleSettings.model_validate(settings["rules"]), settings["weights"])
    judged = world.judged(rules=named)
    assert (judged.bits("same_owner", 1, 1), judged.bits("same_owner", 1, 2)) == (0.5, None)
