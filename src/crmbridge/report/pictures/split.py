"""One bar per scenario: what is attributed, and the residuals beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from crmbridge.report.balance import ATTRIBUTED, SCENARIOS, Balance, Pair
from crmbridge.report.drawing import Drawing, both_widths, chart_of, color, fixed, pixels, text_width_px
from crmbridge.report.figures import Figures

_SHADES = ("gap", "gap-2", "gap-3", "gap-4")
_ON = {"earned": "on-earned", "gap": "on-gap", "gap-2": "on-gap", "gap-3": "on-small-gap", "gap-4": "on-small-gap"}
"""Shade of a segment -> colour of the text on it."""
_HEAD_PX, _BAR_PX, _APART_PX = 30, 48, 24
_ROW_PX = _HEAD_PX + _BAR_PX + _APART_PX
_INSET_PX, _LARGE_PX, _SMALL_PX = 9, 14, 12
_BOLD = 1.08
"""How much wider bold letters are."""


def split_bars(pair: Pair, names: dict[str, str], figures: Figures) -> Drawing:
    """Draw a pair of balances that bars can show.

    Args:
        pair: as it is, and with the plan where there is one.
        names: residual -> its name for people.
        figures: how numbers are written.
    """
    shades = _shades(pair)
    segments = [one for row, balance in enumerate(pair.both) for one in _segments(row, balance, shades, names, figures)]
    heads = [_head(row, balance, figures) for row, balance in enumerate(pair.both)]
    words = " ".join(_words(balance, names, figures) for balance in pair.both)
    return both_widths(words, lambda width_px: _chart(segments, heads, width_px))


def _shades(pair: Pair) -> dict[str, str]:
    """The largest gaps stand out; attributed money has a colour of its own."""
    gaps = sorted((part for part in pair.as_is.parts if part.residual != ATTRIBUTED), key=lambda part: -part.amount)
    shades = {part.residual: _SHADES[min(place, len(_SHADES) - 1)] for place, part in enumerate(gaps)}
    return {ATTRIBUTED: "earned", **shades}


def _head(row: int, balance: Balance, figures: Figures) -> dict[str, Any]:
    share = f"{figures.percent(balance.share)} attributed"
    return {"y": row * _ROW_PX + 18, "scenario": SCENARIOS[balance.scenario], "share": share}


def _segments(
    row: int, balance: Balance, shades: dict[str, str], names: dict[str, str], figures: Figures
) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    total, begin = float(balance.amount), 0.0
    top = row * _ROW_PX + _HEAD_PX
    for part in sorted(balance.parts, key=lambda part: (part.residual != ATTRIBUTED, -part.amount)):
        end = begin + float(part.amount) / total
        found.append(
            {
                "from": begin,
                "to": end,
                "top": top,
                "bottom": top + _BAR_PX,
                "fill": color(shades[part.residual]),
                "text": color(_ON[shades[part.residual]]),
                "name": names[part.residual],
                "amount": figures.short_money(part.amount, balance.currency),
            }
        )
        begin = end
    return [one for one in found if one["to"] > one["from"]]


def _chart(segments: Sequence[dict[str, Any]], heads: Sequence[dict[str, Any]], width_px: int) -> alt.LayerChart | alt.FacetChart:
    height = len(heads) * _ROW_PX - _APART_PX
    x = alt.X("from:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False))
    bars = (
        chart_of(segments)
        .mark_rect(strokeWidth=1.5, stroke=color("paper"))
        .encode(x=x, x2=alt.X2("to:Q"), y=pixels("top", height), y2=alt.Y2("bottom:Q"), fill=alt.Fill("fill:N", scale=None))
    )
    labelled = chart_of(one for one in segments if _has_room(one, width_px)).encode(
        x=x, y=pixels("top", height), fill=alt.Fill("text:N", scale=None)
    )
    top = chart_of(heads).encode(y=pixels("y", height))
    inside: dict[str, Any] = {"align": "left", "dx": _INSET_PX}
    return alt.layer(
        bars,
        labelled.mark_text(**inside, dy=17, fontWeight="bold", fontSize=_LARGE_PX).encode(text=alt.Text("amount:N")),
        labelled.mark_text(**inside, dy=35, fontSize=_SMALL_PX).encode(text=alt.Text("name:N")),
        top.mark_text(align="left", fontWeight="bold", fontSize=15).encode(x=fixed(alt.XValue, 0), text=alt.Text("scenario:N")),
        top.mark_text(align="right", fontWeight="bold", fontSize=15, fill=color("earned")).encode(
            x=fixed(alt.XValue, width_px), text=alt.Text("share:N")
        ),
    ).properties(width=width_px, height=height)


def _has_room(segment: dict[str, Any], width_px: int) -> bool:
    amount_px = _BOLD * text_width_px(segment["amount"], _LARGE_PX)
    wanted_px = max(amount_px, text_width_px(segment["name"], _SMALL_PX)) + 2 * _INSET_PX
    return bool((segment["to"] - segment["from"]) * width_px >= wanted_px)


def _words(balance: Balance, names: dict[str, str], figures: Figures) -> str:
    parts = [
        f"{names[part.residual]} {figures.short_money(part.amount, balance.currency)}"
        for part in balance.parts
        if part.opportunities
    ]
    return f"{SCENARIOS[balance.scenario]}: {', '.join(parts)}."
