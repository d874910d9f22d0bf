"""What the pages on attribution say is what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from crediting import one_path

from crmbridge.attribution.markov import LEAST_JOURNEYS
from crmbridge.attribution.models import GROUP, PRESETS, Anchor, Strategy, chosen_models
from crmbridge.attribution.restate import CAUSES
from crmbridge.attribution.result import RESIDUALS
from crmbridge.attribution.settings import DEFAULT_MODELS, AttributionSettings

DOCS = Path(__file__).parents[2] / "docs"
ATTRIBUTION = (DOCS / "attribution.md").read_text(encoding="utf-8")
MODELS = (DOCS / "models.md").read_text(encoding="utf-8")


def rows_under(text, first_header):
    """The cells of the table whose first header is this, by its first column."""
    table = text.split(f"\n| {first_header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_residuals_stand_in_the_order_in_which_they_are_tried():
    assert list(rows_under(ATTRIBUTION, "line")) == [one.name for one in RESIDUALS]


def test_causes_stand_in_the_order_in_which_they_are_tried():
    assert list(rows_under(ATTRIBUTION, "cause")) == list(CAUSES)


def test_settings_and_their_defaults():
    told = rows_under(ATTRIBUTION, "key")
    assert list(told) == list(AttributionSettings.model_fields)
    defaults = AttributionSettings().model_dump(mode="json")
    for name, (default, _) in told.items():
        if default == "none":
            assert not defaults[name]
        elif name != "models":
            assert tomllib.loads(f"value = {default.strip('`')}")["value"] == defaults[name]
    assert told["models"][0] == "nine of the built-in ones"
    assert len(DEFAULT_MODELS) == 9
    assert f"the first, `{DEFAULT_MODELS[0]}` unless set" in told["models"][1]


def test_weights_of_every_model_by_anchors():
    told = rows_under(MODELS, "model")
    by_anchors = {name: model for name, model in PRESETS.items() if model.strategy is Strategy.ANCHORS}
    assert set(told) == set(by_anchors)
    order = (Anchor.FIRST, Anchor.LEAD_CREATED, Anchor.OPPORTUNITY_CREATED, Anchor.LAST, Anchor.CLOSE)
    for name, cells in told.items():
        model = by_anchors[name]
        weights = [*(model.anchors.get(anchor, 0) for anchor in order), model.rest]
        percent = [0.0 if cell == "-" else float(cell) for cell in cells[:6]]
        assert percent == [100 * weight / sum(weights) for weight in weights], name
    others = [name for name in PRESETS if name not in by_anchors]
    assert all(f"`{name}`" in MODELS for name in others)


def test_the_cases_worked_out():
    table = MODELS.split("Worked out for 1,000.00", 1)[1]
    for name, cells in rows_under(table, "model").items():
        for cell in cells:
            shares = [round(100 * float(share)) for share in cell.split(",")]
            assert one_path(PRESETS[name], range(len(shares)), value=100_000, lead=2.5, opportunity=4.5) == shares


def test_anchors():
    assert list(rows_under(MODELS, "anchor")) == [str(anchor) for anchor in Anchor]


def test_the_least_that_markov_and_shapley_need():
    assert f"at least {LEAST_JOURNEYS} won and {LEAST_JOURNEYS} lost" in MODELS
    assert f"`shapley` takes part where at least {LEAST_JOURNEYS} won ones" in MODELS
    assert f"refused on fewer than {LEAST_JOURNEYS} conversions" in MODELS
    assert "**Neither is causal.**" in MODELS


def test_examples_of_settings_hold():
    blocks = re.findall(r"```toml\n(.*?)```", MODELS, re.DOTALL)
    assert GROUP in blocks[-1]
    for block in blocks[:-1]:
        section = tomllib.loads(block)["attribution"]
        assert [model.name for model in chosen_models(AttributionSettings(**section))] == section["models"]


def test_the_examples_in_python_run(firm, monkeypatch):
    from earning import ACCOUNT, FAIR, person, role, touch, won

    import crmbridge

    bridge = firm(ACCOUNT, FAIR, person("C"), won("O"), role("O", "C"), touch("C"))
    monkeypatch.setattr(crmbridge, "connect", lambda: bridge, raising=False)
    of_a_model, of_paths = re.findall(r"```python\n(.*?)```", MODELS, re.DOTALL)
    found = {}
    exec(of_a_model, found)
    assert found["found"].models[-1].name == "late"
    exec(of_paths, found)
    told = [(name, *cells) for name, cells in rows_under(MODELS, "channel").items()]
    assert told == [tuple(str(row[name]) for name in ("channel", "first", "linear")) for row in found["credits"].to_pylist()]


@pytest.mark.parametrize("page", [ATTRIBUTION, MODELS])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert links
    assert all((DOCS / link).is_file() for link in links)
