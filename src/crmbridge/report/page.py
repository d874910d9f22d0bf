"""One self-contained page: no script, no address of anything else, everything escaped."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crmbridge.report.drawing import styles
from crmbridge.report.figures import Figures, plain, short
from crmbridge.report.material import Material
from crmbridge.report.returns import Shares
from crmbridge.report.story import Story, currency_note

_SHADES = 5


def page(material: Material, *, locale: str = "en") -> str:
    """Write the report as HTML.

    Args:
        material: what was found.
        locale: how numbers and dates are written, such as `en`, `de-DE`.

    Raises:
        SettingsError: no such locale.
    """
    figures = Figures(locale)
    environment = _environment(figures)
    css = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    return environment.get_template("page.html").render(story=Story(material, figures), styles=Markup(css + styles()))  # noqa: S704


@cache
def _environment(figures: Figures) -> Environment:
    environment = Environment(
        loader=PackageLoader("crmbridge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_filters(figures))
    environment.globals["currency_note"] = currency_note
    return environment


def _filters(figures: Figures) -> dict[str, Any]:
    return {
        "count": figures.count,
        "money": figures.money,
        "short_money": figures.short_money,
        "percent": figures.percent,
        "roi": figures.roi,
        "day": figures.day,
        "month": figures.month,
        "currency": currency_note,
        # Drawings are made here, by a library that escapes what it writes.
        "drawn": lambda drawing: Markup(drawing),  # noqa: S704
        "plain": plain,
        "short": short,
        "is_cut": lambda text, width: len(plain(text)) > width,
        "heat": _heat,
        "words": lambda text: plain(text).replace("_", " "),
        "lower_first": lambda text: text[:1].lower() + text[1:],
        "upper_first": lambda text: text[:1].upper() + text[1:],
    }


def _heat(share: float, shares: Shares) -> int:
    """The shade of a share, 1 to 5, of the largest one shown."""
    largest = max((one for row in shares.rows if not row.is_rest for one in row.shares), default=0.0)
    return 1 + min(int(_SHADES * max(share, 0.0) / largest), _SHADES - 1) if largest > 0 else 1
