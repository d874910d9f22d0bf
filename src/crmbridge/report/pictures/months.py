"""Month by month of the close: all of the money, and what of it is attributed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import altair as alt

from crmbridge.report.drawing import NARROW_PX, Drawing, both_widths, chart_of, color, fixed, pixels
from crmbridge.report.figures import Figures

_HEIGHT_PX, _TOP_PX, _FOOT_PX = 200, 22, 26
_LABEL_PX = 30
"""Half of what the label of the largest month needs."""
_YEAR_LABELS_PX = 16


@dataclass(frozen=True)
class Month:
    """One month of the close.

    Attributes:
        month: `2026-03`.
        amount: all that was won in it.
        as_is, applied: what of it is attributed; `applied` is None without a plan.
    """

    month: str
    amount: Decimal
    as_is: Decimal
    applied: Decimal | None


def month_columns(months: Sequence[Month], currency: str | None, figures: Figures) -> Drawing:
    """Draw months in order; none of the amounts may be negative, and one must be positive."""
    words = "; ".join(_words(month, currency, figures) for month in months) + "."
    return both_widths(words, lambda width_px: _chart(months, currency, figures, width_px))


def _words(month: Month, currency: str | None, figures: Figures) -> str:
    then = "" if month.applied is None else f", with the plan {figures.short_money(month.applied, currency)}"
    won, attributed = figures.short_money(month.amount, currency), figures.short_money(month.as_is, currency)
    return f"{figures.month(month.month)}: won {won}, attributed {attributed}{then}"


def _chart(months: Sequence[Month], currency: str | None, figures: Figures, width_px: int) -> alt.LayerChart | alt.FacetChart:
    top = max(float(month.amount) for month in months)
    step_px = min(46.0, width_px / len(months))
    gap_px = min(3.0, 0.2 * step_px)
    base = _HEIGHT_PX - _FOOT_PX

    def columns(name: str) -> list[dict[str, Any]]:
        sized = ((place, float(getattr(month, name))) for place, month in enumerate(months) if getattr(month, name))
        return [
            {
                "from": place * step_px,
                "to": (place + 1) * step_px - gap_px,
                "top": base - (base - _TOP_PX) * size / top,
                "base": base,
            }
            for place, size in sized
        ]

    x = alt.X("from:Q", axis=None, scale=alt.Scale(domain=[0, width_px], range=[0, width_px], nice=False))
    y = pixels("top", _HEIGHT_PX)
    layers = [("amount", "hairline"), ("applied", "earned-soft"), ("as_is", "earned")]
    drawn = [
        chart_of(columns(name)).mark_rect(fill=color(fill)).encode(x=x, x2=alt.X2("to:Q"), y=y, y2=alt.Y2("base:Q"))
        for name, fill in layers
    ]
    years = chart_of(_years(months, step_px, width_px)).mark_text(align="left", fontSize=11.5, fill=color("muted"), dy=14)
    ground = chart_of([{"top": base}]).mark_rule(stroke=color("faint"))
    return alt.layer(
        *drawn,
        ground.encode(y=y, x=fixed(alt.XValue, 0), x2=fixed(alt.X2Value, len(months) * step_px)),
        years.encode(x=x, y=fixed(alt.YValue, base), text=alt.Text("year:N")),
        *_largest(months, currency, figures, step_px, width_px, x),
    ).properties(width=width_px, height=_HEIGHT_PX)


def _years(months: Sequence[Month], step_px: float, width_px: int) -> list[dict[str, Any]]:
    """The first month of each year carries it, where there is room for it."""
    found: list[dict[str, Any]] = []
    for place, month in enumerate(months):
        year = month.month.partition("-")[0]
        is_new = not found or found[-1]["year"] != year
        if is_new and (not found or place * step_px - found[-1]["from"] > (30 if width_px > NARROW_PX else 28)):
            found.append({"from": place * step_px, "year": year})
    return found


def _largest(
    months: Sequence[Month], currency: str | None, figures: Figures, step_px: float, width_px: int, x: alt.X
) -> list[alt.Chart]:
    """The height of the largest month, said once: that is the whole of the vertical axis."""
    place = max(range(len(months)), key=lambda index: months[index].amount)
    middle_px = (place + 0.5) * step_px
    label = {"from": middle_px, "text": figures.short_money(months[place].amount, currency)}
    align: Literal["left", "center", "right"] = "center"
    if middle_px < _LABEL_PX or middle_px > width_px - _LABEL_PX:
        align = "left" if middle_px < _LABEL_PX else "right"
    mark = chart_of([label]).mark_text(align=align, fontSize=12, fill=color("muted"))
    return [mark.encode(x=x, y=fixed(alt.YValue, _TOP_PX - 9), text=alt.Text("text:N"))]
