"""Models of one's own: by a function in a script, by settings, by entry point."""

import sys

import narwhals as nw
import pytest
from crediting import one_path
from earning import ACCOUNT, FAIR, campaign, credits_of, person, role, touch, won

from crmbridge.attribution.models import Model, Strategy, chosen_models
from crmbridge.attribution.settings import AttributionSettings
from crmbridge.errors import PluginError, SettingsError

FIRM = (
    *(ACCOUNT, FAIR, campaign("mail"), person("C"), won("O", "30"), role("O", "C")),
    *(touch("C"), touch("C", "2026-04-01", "mail")),
)


def own(expression, name="own"):
    return Model(name, "Own", "Mine.", Strategy.OWN, expression=expression)


def test_a_function_in_a_script_stands_beside_the_models_of_the_settings(firm):
    bridge = firm(*FIRM, models=["linear"])
    found = bridge.attribute(models=[own(lambda: nw.col("rank"))])
    assert [(model.name, model.label) for model in found.models] == [("linear", "Linear"), ("own", "Own")]
    assert credits_of(found, "own") == {"fair": 10, "mail": 20}
    assert credits_of(found, "linear") == {"fair": 15, "mail": 15}


def test_it_may_look_at_campaigns_and_days():
    by_name = own(lambda: nw.when(nw.col("channel") == "a").then(3).otherwise(1))
    assert one_path(by_name, [0, 1], value=400) == [300, 100]
    last_week = own(lambda: (nw.col("latest_s") - nw.col("occurred_s") <= 7 * 86_400).cast(nw.Int64))
    assert one_path(last_week, [0, 5, 10], value=400) == [0, 200, 200]


def test_weights_below_zero_and_without_value_count_as_nothing():
    assert one_path(own(lambda: nw.col("rank") - 2), [0, 1, 2], value=90) == [0, 0, 90]
    assert one_path(own(lambda: nw.col("lead_created_rank")), [0, 1, 2], value=90) == [30, 30, 30]


def test_huge_weights_do_not_overflow():
    shares = one_path(own(lambda: nw.col("rank") * 10**11), [0, 1, 2, 3], value=10**17 + 5 * 10**11)
    assert shares == [10**16 * n + 5 * 10**10 * n for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("number", [4_000])
def test_wide_weights_on_many_touches_do_not_overflow(number):
    wide = Model("wide", "", "", anchors={"first": 1000}, rest=999, role_weights={"Buyer": 1000})
    # The weights sum to 7,994,001,000; a value just below makes the largest product on the way.
    value = 7_993_999_999
    shares = one_path(wide, range(number), value=value, roles=dict.fromkeys(range(number), "Buyer"), channels="a" * number)
    assert sum(shares) == value
    assert shares[0] == pytest.approx(value * 1000 / 1999, abs=1)


def test_two_models_of_one_name_are_refused(firm):
    bridge = firm(*FIRM, models=["linear"])
    with pytest.raises(SettingsError, match="of the same name: linear"):
        bridge.attribute(models=[own(lambda: nw.lit(1), name="linear")])


def test_a_name_where_a_model_is_wanted_is_told_where_names_go(firm):
    with pytest.raises(SettingsError, match="must be a Model") as caught:
        firm(*FIRM).attribute(models=["linear"])
    assert "[attribution] models" in caught.value.hint


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a distribution with models by entry point: name -> what it loads."""

    def install(code, **points):
        (tmp_path / "firm_models.py").write_text(code, encoding="utf-8")
        info = tmp_path / "firm_models-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: firm-models\nVersion: 1.0\n", encoding="utf-8")
        lines = [f"{name} = firm_models:{attribute}" for name, attribute in points.items()]
        text = "[crmbridge.attribution_models]\n" + "\n".join(lines) + "\n"
        (info / "entry_points.txt").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("firm_models", None)


CODE = """
import narwhals as nw
from crmbridge.attribution.models import Model, Strategy
late = Model("late", "Late", "Later touches count more.", Strategy.OWN, expression=lambda: nw.col("rank"))
text = "no model"
"""


def named(*names):
    return chosen_models(AttributionSettings(models=names))


def test_a_model_by_entry_point_is_named_in_the_settings(installed, firm):
    installed(CODE, late="late")
    assert credits_of(firm(*FIRM, models=["late"]).attribute(), "late") == {"fair": 10, "mail": 20}


def test_one_that_is_not_named_is_not_even_loaded(installed):
    installed("raise RuntimeError('loaded')", late="late")
    assert [model.name for model in named("linear")] == ["linear"]


@pytest.mark.parametrize(
    ("code", "point", "message"),
    [
        ("raise RuntimeError('secret words')", "late", "'late' failed to load: RuntimeError$"),
        (CODE, "text", "'text' of crmbridge.attribution_models is not a Model of that name"),
        (CODE, "missing", "'missing' failed to load: AttributeError$"),
    ],
)
def test_an_entry_point_that_does_not_hold_a_model_is_named(installed, code, point, message):
    installed(code, **{point: point})
    with pytest.raises(PluginError, match=message):
        named(point)


def test_a_model_under_another_name_than_its_entry_point_is_refused(installed):
    installed(CODE, early="late")
    with pytest.raises(PluginError, match="not a Model of that name"):
        named("early")


def test_an_unknown_name_lists_those_of_plug_ins_too(installed):
    installed(CODE, late="late")
    with pytest.raises(SettingsError) as caught:
        named("erly")
    assert "late" in caught.value.hint
