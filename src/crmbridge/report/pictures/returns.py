"""ROI by campaign: a line from the lowest to the highest model, a tick for each, and the chosen one as a dot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from crmbridge.report.drawing import NARROW_PX, TEXT_PX, Drawing, both_widths, chart_of, color, fitted, fixed, pixels
from crmbridge.report.figures import Figures

_ROW_PX, _TOP_PX = 40, 26
_TICKS = (-1.0, -0.5, 0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
_CHOSEN_PX = 84
_NOTE_PX = 11
_APART_PX = {True: 34, False: 46}


@dataclass(frozen=True)
class ReturnRow:
    """One campaign whose ROI is defined under some model.

    Attributes:
        note: what stands small below the name, such as the cost.
        chosen: ROI under the model that the page leads with; None where it is undefined there.
        others: ROI under every model.
    """

    name: str
    note: str
    chosen: float | None
    others: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """Under the least favourable model."""
        return min(self.others)

    @property
    def highest(self) -> float:
        """Under the most favourable model."""
        return max(self.others)


def return_ranges(rows: Sequence[ReturnRow], figures: Figures) -> Drawing:
    """Draw campaigns in the order given, on an axis that gives losses and large gains room alike (symmetric log)."""
    words = "; ".join(_words(row, figures) for row in rows) + "."
    return both_widths(words, lambda width_px: _chart(rows, figures, width_px))


def _words(row: ReturnRow, figures: Figures) -> str:
    span = f"{figures.roi(row.lowest)} to {figures.roi(row.highest)} by model"
    return f"{row.name}: ROI {figures.roi(row.chosen)}, {span}"


def _chart(rows: Sequence[ReturnRow], figures: Figures, width_px: int) -> alt.LayerChart | alt.FacetChart:
    is_narrow = width_px == NARROW_PX
    names_px = 132 if is_narrow else 236
    height = _TOP_PX + len(rows) * _ROW_PX
    values = [value for row in rows for value in row.others]
    domain = [min(-1.0, *values), max(1.0, *values)]
    right_px = 12 if is_narrow else _CHOSEN_PX
    plot = (names_px + 14, width_px - right_px)
    scale = alt.Scale(type="symlog", constant=1, domain=domain, range=list(plot), nice=False)
    x = alt.X("value:Q", axis=None, scale=scale)
    placed = [_placed(row, place, names_px) for place, row in enumerate(rows)]
    return alt.layer(
        *_axis(domain, plot, x, height, figures, is_narrow=is_narrow),
        *_ranges(placed, x, height),
        *_labels(placed, height),
        *([] if is_narrow else _chosen_figures(placed, figures, height, width_px)),
    ).properties(width=width_px, height=height)


def _placed(row: ReturnRow, place: int, names_px: int) -> dict[str, Any]:
    return {
        "row": row,
        "y": _TOP_PX + (place + 0.5) * _ROW_PX,
        "name": fitted(row.name, names_px, TEXT_PX),
        "note": fitted(row.note, names_px, _NOTE_PX),
    }


def _axis(
    domain: Sequence[float], plot: tuple[float, float], x: alt.X, height: float, figures: Figures, *, is_narrow: bool
) -> list[alt.Chart]:
    ticks = [
        {"value": tick, "text": "break-even" if tick == 0 else figures.roi(tick), "top": _TOP_PX - 6, "bottom": height}
        for tick in _apart(domain, plot, apart_px=_APART_PX[is_narrow])
    ]
    even = [tick for tick in ticks if tick["value"] == 0]
    y = pixels("top", height)
    lines = chart_of(one for one in ticks if one["value"] != 0).mark_rule(stroke=color("hairline"))
    return [
        lines.encode(x=x, y=y, y2=alt.Y2("bottom:Q")),
        chart_of(even).mark_rule(stroke=color("muted"), strokeWidth=1.25).encode(x=x, y=y, y2=alt.Y2("bottom:Q")),
        chart_of(ticks).mark_text(fontSize=11, dy=-8, fill=color("muted")).encode(x=x, y=y, text=alt.Text("text:N")),
    ]


def _apart(domain: Sequence[float], plot: tuple[float, float], *, apart_px: float) -> Iterable[float]:
    """The ticks whose labels do not touch each other; break-even always, with room for its longer label."""
    low, high = (_symlog(end) for end in domain)
    taken: dict[float, float] = {}
    inside = (tick for tick in _TICKS if domain[0] <= tick <= domain[1])
    for tick in sorted(inside, key=lambda tick: (tick != 0, tick != -1, tick)):
        place = plot[0] + (plot[1] - plot[0]) * (_symlog(tick) - low) / (high - low)
        if all(abs(place - other) >= apart_px + (16 if tick_other == 0 else 0) for tick_other, other in taken.items()):
            taken[tick] = place
    return taken


def _symlog(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)


def _ranges(placed: list[dict[str, Any]], x: alt.X, height: float) -> list[alt.Chart]:
    y = pixels("y", height)
    lines = [{"value": one["row"].lowest, "to": one["row"].highest, "y": one["y"]} for one in placed]
    ticks = [{"value": value, "y": one["y"]} for one in placed for value in sorted(set(one["row"].others))]
    dots = [
        {"value": one["row"].chosen, "y": one["y"], "fill": _sign_color(one["row"].chosen)}
        for one in placed
        if one["row"].chosen is not None
    ]
    return [
        chart_of(lines)
        .mark_rule(stroke=color("earned-soft"), strokeWidth=6, strokeCap="round")
        .encode(x=x, x2=alt.X2("to:Q"), y=y),
        chart_of(ticks).mark_tick(thickness=1.5, size=14, color=color("muted")).encode(x=x, y=y),
        chart_of(dots)
        .mark_circle(size=120, opacity=1, stroke=color("paper"), strokeWidth=1.5)
        .encode(x=x, y=y, fill=alt.Fill("fill:N", scale=None)),
    ]


def _labels(placed: list[dict[str, Any]], height: float) -> list[alt.Chart]:
    texts = [{"y": one["y"], "name": one["name"], "note": one["note"]} for one in placed]
    y = pixels("y", height)
    names = chart_of(texts).mark_text(align="left", dy=-7, fontSize=TEXT_PX)
    notes = chart_of(texts).mark_text(align="left", dy=9, fontSize=_NOTE_PX, fill=color("muted"))
    return [
        names.encode(x=fixed(alt.XValue, 0), y=y, text=alt.Text("name:N")),
        notes.encode(x=fixed(alt.XValue, 0), y=y, text=alt.Text("note:N")),
    ]


def _chosen_figures(placed: list[dict[str, Any]], figures: Figures, height: float, width_px: int) -> list[alt.Chart]:
    texts = [{"y": one["y"], "text": figures.roi(one["row"].chosen), "fill": _sign_color(one["row"].chosen)} for one in placed]
    shown = chart_of(texts).mark_text(align="right", fontWeight="bold", fontSize=13)
    return [
        shown.encode(
            x=fixed(alt.XValue, width_px), y=pixels("y", height), text=alt.Text("text:N"), fill=alt.Fill("fill:N", scale=None)
        )
    ]


def _sign_color(value: float | None) -> str:
    return color("muted" if value is None else "loss" if value < 0 else "earned")
