"""From here to there: a hollow dot as it is, a filled one with the plan, and the way between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from crmbridge.report.drawing import NARROW_PX, TEXT_PX, Drawing, both_widths, chart_of, color, fitted, fixed, pixels

_ROW_PX, _GROUP_PX, _TOP_PX = 26, 34, 8
_GAP_PX = 8
"""Between a name and a figure on the left of its dot."""


@dataclass(frozen=True)
class Span:
    """One row.

    Attributes:
        group: a heading over the rows that share it; None for none.
        name: of the row.
        as_is, applied: places on the common axis; `applied` is None without a plan.
        as_is_text, applied_text: the same, for people.
    """

    name: str
    as_is: float
    as_is_text: str
    applied: float | None = None
    applied_text: str = ""
    group: str | None = None


def dumbbells(spans: Sequence[Span], *, names_px: int, fill: str = "earned", full: float | None = None) -> Drawing:
    """Draw spans under each other.

    Args:
        spans: in the order of the rows.
        names_px: how wide the names may be in the wide drawing.
        fill: the palette's colour of the filled dots.
        full: where the axis ends; None for the largest value. It begins at 0, or lower where a value is negative.
    """
    words = "; ".join(_words(span) for span in spans) + "."
    return both_widths(words, lambda width_px: _chart(spans, names_px if width_px > NARROW_PX else 128, fill, full, width_px))


def _chart(spans: Sequence[Span], names_px: int, fill: str, full: float | None, width_px: int) -> alt.LayerChart | alt.FacetChart:
    placed, heads, height = _placed(spans, names_px)
    values = [value for span in spans for value in (span.as_is, span.applied) if value is not None]
    domain = [min(0.0, *values), full or max(0.0, *values) or 1.0]
    right_px = 64
    x = alt.X("as_is:Q", axis=None, scale=alt.Scale(domain=domain, range=[names_px + 56, width_px - right_px], nice=False))
    y = pixels("y", height)
    both = [one for one in placed if one["applied"] is not None]
    ends = {"x": fixed(alt.XValue, names_px + 56), "x2": fixed(alt.X2Value, width_px - right_px)}
    tracks = chart_of(placed).mark_rule(stroke=color("hairline")).encode(**ends, y=y)
    hollow = chart_of(placed).mark_circle(size=70, fill=color("paper"), stroke=color("muted"), strokeWidth=2, opacity=1)
    ways = chart_of(both).mark_rule(stroke=color(fill), strokeWidth=3, opacity=0.45).encode(x=x, x2=alt.X2("applied:Q"), y=y)
    return alt.layer(
        tracks,
        ways,
        hollow.encode(x=x, y=y),
        _second(chart_of(both).mark_circle(size=95, fill=color(fill), opacity=1), x).encode(y=y),
        *_figures(placed, x, height, fill),
        chart_of(placed).mark_text(align="left").encode(x=fixed(alt.XValue, 0), y=y, text=alt.Text("name:N")),
        chart_of(heads).mark_text(align="left", fontWeight="bold").encode(x=fixed(alt.XValue, 0), y=y, text=alt.Text("group:N")),
    ).properties(width=width_px, height=height)


def _placed(spans: Sequence[Span], names_px: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    top, group, placed, heads = float(_TOP_PX), None, [], []
    for span in spans:
        if span.group != group:
            group = span.group
            heads.append({"y": top + _GROUP_PX / 2, "group": group})
            top += _GROUP_PX
        placed.append({**vars(span), "name": fitted(span.name, names_px - _GAP_PX, TEXT_PX), "y": top + _ROW_PX / 2})
        top += _ROW_PX
    return placed, heads, top


def _second(chart: alt.Chart, x: alt.X) -> alt.Chart:
    """The same axis, at the second value."""
    there = x.copy()
    there.shorthand = "applied:Q"
    return chart.encode(x=there)


def _figures(placed: list[dict[str, Any]], x: alt.X, height: float, fill: str) -> list[alt.Chart]:
    """Each figure on the outer side of its dot, on a patch of paper that keeps it clear of the line."""
    paper: dict[str, Any] = {"fill": color("paper"), "stroke": color("paper"), "strokeWidth": 5}
    bold: dict[str, Any] = {"fontWeight": "bold"}
    return [
        *_written(placed, x, height, as_is=paper, applied={**paper, **bold}),
        *_written(placed, x, height, as_is={"fill": color("muted")}, applied={"fill": color(fill), **bold}),
    ]


def _written(
    placed: list[dict[str, Any]], x: alt.X, height: float, *, as_is: dict[str, Any], applied: dict[str, Any]
) -> list[alt.Chart]:
    """Where nothing moved, one figure is enough."""
    y = pixels("y", height)
    rising = [one for one in placed if one["applied"] is not None and one["applied"] > one["as_is"]]
    falling = [one for one in placed if one["applied"] is not None and one["applied"] < one["as_is"]]
    still = [one for one in placed if one["applied"] is None or one["applied"] == one["as_is"]]
    left: dict[str, Any] = {"align": "right", "dx": -10, "fontSize": 12}
    right: dict[str, Any] = {"align": "left", "dx": 10, "fontSize": 12}
    here, there = alt.Text("as_is_text:N"), alt.Text("applied_text:N")
    return [
        chart_of(rising).mark_text(**left, **as_is).encode(x=x, y=y, text=here),
        chart_of([*falling, *still]).mark_text(**right, **as_is).encode(x=x, y=y, text=here),
        _second(chart_of(rising).mark_text(**right, **applied), x).encode(y=y, text=there),
        _second(chart_of(falling).mark_text(**left, **applied), x).encode(y=y, text=there),
    ]


def _words(span: Span) -> str:
    subject = f"{span.group}, {span.name}" if span.group else span.name
    return f"{subject}: {span.as_is_text}" + (f", with the plan {span.applied_text}" if span.applied is not None else "")
