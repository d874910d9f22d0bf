"""`[attribution]`: what can be set, and errors that teach."""

import pytest
from earning import ACCOUNT, FAIR, person, role, touch, won

from crmbridge.attribution.models import PRESETS, Anchor, Model, Strategy, chosen_models
from crmbridge.attribution.settings import AttributionSettings
from crmbridge.config import in_memory
from crmbridge.errors import SettingsError


def section(**values):
    return in_memory({"attribution": values}).section("attribution", AttributionSettings)


def test_by_default_roles_count_responses_count_and_every_currency_stands_apart():
    asked = section()
    assert (asked.mode, asked.touches, asked.lookback_days, asked.currency) == ("explicit", "responded", 365, None)
    assert set(asked.models) < set(PRESETS)


def test_the_environment_sets_it_too(monkeypatch):
    for name, value in {"MODE": "hybrid", "LOOKBACK_DAYS": "30", "MODELS": '["w", "linear"]', "CURRENCY": "EUR"}.items():
        monkeypatch.setenv(f"CRMBRIDGE_ATTRIBUTION__{name}", value)
    asked = section(mode="implicit")
    assert (asked.mode, asked.lookback_days, asked.models, asked.currency) == ("hybrid", 30, ("w", "linear"), "EUR")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "explicitly"}, "attribution.mode"),
        ({"touches": "some"}, "attribution.touches"),
        ({"lookback_days": 0}, "attribution.lookback_days"),
        ({"models": []}, "attribution.models"),
        ({"models": ["linear", "w", "linear"]}, "named twice: linear"),
        ({"currency": "euro"}, "attribution.currency"),
        ({"currency": "E'R"}, "attribution.currency"),
        ({"rates": "daily"}, "attribution.rates"),
        ({"half_life_days": 0}, "attribution.half_life_days"),
        ({"half_life_days": float("inf")}, "attribution.half_life_days"),
        ({"half_life_days": float("nan")}, "attribution.half_life_days"),
        ({"markov_order": 5}, "attribution.markov_order"),
        ({"thresholds": [0.5, 1.5]}, "attribution.thresholds"),
        ({"lookback": 3}, "attribution.lookback"),
        ({"custom": {"Mine!": {"first": 1}}}, "attribution.custom"),
        ({"custom": {"mine": {"first": -1}}}, "attribution.custom.mine.first"),
        ({"custom": {"mine": {"middle": 1}}}, "attribution.custom.mine.middle"),
        ({"custom": {"mine": {"rest": 1, "role_weights": {"Buyer": 1.5}}}}, "attribution.custom.mine.role_weights"),
    ],
)
def test_a_setting_that_cannot_be_names_itself(values, words):
    with pytest.raises(SettingsError) as caught:
        section(**values)
    assert words in str(caught.value)


def test_a_change_for_one_run_is_held_to_the_same(firm):
    bridge = firm(ACCOUNT, FAIR, person("C"), won("O"), role("O", "C"), touch("C"))
    with pytest.raises(SettingsError, match=r"attribution\.mode"):
        bridge.attribute(mode="some")


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ({"models": ("linaer",)}, "there is no attribution model 'linaer'", "linear"),
        ({"custom": {"linear": {"first": 1}}}, r"\[attribution.custom.linear\] has the name of a built-in", "another name"),
        ({"custom": {"nothing": {"first": 0}}}, r"\[attribution.custom.nothing\] gives no weight to anything", "set first"),
    ],
)
def test_models_that_do_not_exist(asked, message, hint):
    with pytest.raises(SettingsError, match=message) as caught:
        chosen_models(AttributionSettings(**asked))
    assert hint in caught.value.hint


def test_settings_reach_the_models():
    custom = {"mine": {"first": 30, "close": 60, "rest": 10, "role_weights": {"Buyer": 200}}}
    asked = AttributionSettings(models=("markov", "time_decay", "mine"), markov_order=3, half_life_days=14, custom=custom)
    markov, decay, mine = chosen_models(asked)
    assert (markov.order, decay.half_life_days) == (3, 14)
    assert (mine.anchors, mine.rest, mine.role_weights) == ({Anchor.FIRST: 30, Anchor.CLOSE: 60}, 10, {"Buyer": 200})
    assert mine.note == "Weights: 30 first, 60 close, 10 rest."


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": 'no"name'}, "no name for an attribution model"),
        ({"name": "Mine"}, "no name for an attribution model"),
        ({"anchors": {Anchor.FIRST: -1}}, "weight"),
        ({"rest": 0.5}, "weight"),
        ({"role_weights": {"Buyer": -1}}, "weight"),
        ({"half_life_days": float("inf")}, "half-life"),
        ({"order": 0, "strategy": Strategy.MARKOV}, "order 0; allowed: 1 to 4"),
        ({"strategy": Strategy.OWN}, "an expression"),
        ({"expression": lambda: None}, "an expression"),
    ],
)
def test_a_model_that_could_not_be_computed_is_refused_when_it_is_made(fields, words):
    with pytest.raises(SettingsError, match=words):
        Model(**{"name": "mine", "label": "", "note": "", **fields})
