"""From a chart of Altair's to a static SVG that follows the reader's light or dark, and says in words what it shows.

The SVG carries the light colours. The page's style sheet turns every colour of `PALETTE` into its dark counterpart, so that one
drawing serves both, and stays light in print.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from crmbridge.report.figures import plain

WIDE_PX, NARROW_PX = 760, 350
TEXT_PX = 13
FONT = "Liberation Sans, Helvetica Neue, Arial, sans-serif"

PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#1b2127", "#e9ecef"),
    "muted": ("#5b6670", "#a3adb7"),
    "faint": ("#c9ced3", "#4a525a"),
    "hairline": ("#e3e6e8", "#333a41"),
    "paper": ("#fffffe", "#15191d"),
    "earned": ("#0b6b84", "#4fb3cf"),
    "earned-soft": ("#9cc7d3", "#2c5f6e"),
    "on-earned": ("#fffffd", "#0c1a1f"),
    "gap": ("#d9822b", "#e39a4f"),
    "gap-2": ("#e9b47c", "#ad783f"),
    "gap-3": ("#b9a58f", "#6f5f4d"),
    "gap-4": ("#d6cbbd", "#5c5248"),
    "on-gap": ("#2a1a08", "#1a1208"),
    "on-small-gap": ("#2a1a09", "#f4efe8"),
    "loss": ("#b3470f", "#f08a4b"),
    "heat-1": ("#f2f6f7", "#1d2429"),
    "heat-2": ("#d3e5ea", "#20363e"),
    "heat-3": ("#a5cbd6", "#265363"),
    "heat-4": ("#5fa1b5", "#2f7a97"),
    "heat-5": ("#17708a", "#63bcd8"),
    "on-heat-4": ("#0c1a20", "#fdfffe"),
    "on-heat-5": ("#fefffe", "#0c1a1e"),
}
"""Name -> colour in light and in dark; blue against orange, which all kinds of colour vision tell apart."""

_ROOT = re.compile(r"<svg [^>]*?viewBox=\"([^\"]+)\"[^>]*>")


@dataclass(frozen=True)
class Drawing:
    """A picture in two widths, and the sentence that stands for it where nobody sees it."""

    words: str
    wide: str
    narrow: str


def color(name: str) -> str:
    """The light colour of a name in the palette, which is what a chart is drawn in."""
    return PALETTE[name][0]


def both_widths(words: str, draw: Callable[[int], alt.TopLevelMixin]) -> Drawing:
    """Draw a chart for a desk and for a telephone; `draw` gets the width in pixels."""
    # Every part of a chart is checked against the schema when it is made, which takes longer than drawing it; what is drawn here
    # does not depend on the data.
    with debug_mode(arg=False):
        return Drawing(words, wide=svg(draw(WIDE_PX)), narrow=svg(draw(NARROW_PX)))


def svg(chart: alt.TopLevelMixin) -> str:
    """Draw a chart.

    Returns:
        An `<svg>` element that scales to its place; no script, no address of anything else, hidden from screen readers, which
        get the words around it.
    """
    drawn = vl_convert.vegalite_to_svg(_dressed(chart), vl_version=_VERSION, allowed_base_urls=[])
    return _ROOT.sub(r'<svg class="drawing" viewBox="\1" aria-hidden="true" focusable="false">', drawn, count=1)


def styles() -> str:
    """The palette as a style sheet: custom properties for light and dark, and what maps a drawing's colours onto them."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in PALETTE.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in PALETTE.items())
    mapped = "".join(
        f'.drawing [{what}="{pair[0]}"]{{{what}:var(--{name})}}' for name, pair in PALETTE.items() for what in ("fill", "stroke")
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}{mapped}"


def pixels(field: str, height: float) -> alt.Y:
    """A vertical place in pixels from the top, as the data say it."""
    return alt.Y(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, height], range=[0, height], nice=False, zero=False))


def chart_of(records: Iterable[dict[str, Any]]) -> alt.Chart:
    """A chart over data that travel inside it."""
    # A list would be copied, record by record, with every step in which a chart is put together.
    return alt.Chart(alt.InlineData(values=tuple(records)))


def fixed(channel: type[Any], value: object) -> Any:  # noqa: ANN401
    """What no record decides, for a channel such as `alt.XValue`; for `alt.value` the class is searched in the whole schema."""
    return channel(value)


def text_width_px(text: str, size_px: float) -> float:
    """About how wide a text is in the drawings' fonts."""
    return size_px * sum(map(_advance, text)) / 1_000


def fitted(text: str, room_px: float, size_px: float) -> str:
    """The beginning of a name that has room, visibly cut.

    Never left to Vega, which cuts text between the halves of an emoji and then draws nothing at all.
    """
    clean = plain(text)
    if text_width_px(clean, size_px) <= room_px:
        return clean
    ends = accumulate(map(_advance, clean), initial=_ADVANCES["…"])
    fits = sum(size_px * end / 1_000 <= room_px for end in ends) - 1
    return clean[: max(fits, 0)].rstrip() + "…"


@cache
def _advance(sign: str) -> int:
    """How far one sign moves the pen, in thousandths of the font's size."""
    for known in (sign, unicodedata.normalize("NFKD", sign)[0]):
        if known in _ADVANCES:
            return _ADVANCES[known]
    if unicodedata.category(sign) in {"Mn", "Me", "Cf"}:
        return 0
    return 1_000 if unicodedata.east_asian_width(sign) in "WF" else _USUAL_ADVANCE


def _dressed(chart: alt.TopLevelMixin) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict(validate=False)
    spec["config"] = _CONFIG
    return spec


_USUAL_ADVANCE = 722
_ADVANCES = {
    sign: width
    for width, signs in {
        191: "'",
        222: "ijl",
        260: "|",
        278: " !,./:;I[\\]ft",
        334: "{}",
        333: "()-`r",
        355: '"',
        389: "*",
        469: "^",
        500: "Jckvsxyz",
        556: "#$0123456789?L_abdeghnopqu",
        584: "+<=>~",
        611: "FTZ",
        667: "&ABEKPSVXY",
        722: "CDHNRUw",
        778: "GOQ",
        833: "Mm",
        889: "%",
        944: "W",
        1_000: "…",
        1_015: "@",
    }.items()
    for sign in signs
}
"""Of Arial, whose measures Liberation Sans and Helvetica share."""
_VERSION = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": None,
    "font": FONT,
    "padding": 2,
    "view": {"stroke": None},
    "text": {"fontSize": TEXT_PX, "fill": color("ink")},
    "axis": {
        "domain": False,
        "ticks": False,
        "gridColor": color("hairline"),
        "labelColor": color("muted"),
        "labelFontSize": 12,
        "labelPadding": 6,
        "titleColor": color("muted"),
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}
