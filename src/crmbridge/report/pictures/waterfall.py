"""The ledger as a waterfall: from all of the money, residual by residual, down to what is attributed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import altair as alt

from crmbridge.report.balance import ATTRIBUTED, SCENARIOS, Balance, Pair
from crmbridge.report.drawing import NARROW_PX, Drawing, both_widths, chart_of, color, fixed, pixels
from crmbridge.report.figures import Figures

_ROW_PX, _BAR_PX, _HEAD_PX = 30, 18, 34
_NAMES_PX = 132
_LABEL_SIDE = 0.62
"""Where a bar ends beyond this share of the panel, its figure stands before it."""


def waterfall(pair: Pair, names: dict[str, str], figures: Figures) -> Drawing:
    """Draw a pair of balances that bars can show, one panel per scenario, the rows in the ledger's order.

    Args:
        pair: as it is, and with the plan where there is one.
        names: residual -> its name for people.
        figures: how numbers are written.
    """
    rows = [part.residual for part, _ in pair.rows if part.residual != ATTRIBUTED]
    labels = [pair.state.capitalize(), *(names[name] for name in rows), names[ATTRIBUTED].capitalize()]
    panels = [(SCENARIOS[balance.scenario], _steps(balance, rows, figures)) for balance in pair.both]
    words = " ".join(_words(title, labels, steps) for title, steps in panels)
    return both_widths(words, lambda width_px: _chart(labels, panels, width_px))


def _steps(balance: Balance, rows: Sequence[str], figures: Figures) -> list[dict[str, Any]]:
    left, steps = balance.amount, [(Decimal(0), balance.amount, "faint")]
    for name in rows:
        amount = balance.part(name).amount
        steps.append((left - amount, left, "gap"))
        left -= amount
    steps.append((Decimal(0), balance.attributed.amount, "earned"))
    return [_step(row, *step, balance, figures) for row, step in enumerate(steps)]


def _step(row: int, begin: Decimal, end: Decimal, fill: str, balance: Balance, figures: Figures) -> dict[str, Any]:
    total = float(balance.amount)
    is_before = begin > 0 and float(end) / total > _LABEL_SIDE
    return {
        "from": float(begin) / total,
        "to": float(end) / total,
        "at": float(begin if is_before else end) / total,
        "side": "before" if is_before else "within" if begin == 0 and float(end) / total > _LABEL_SIDE else "after",
        "top": row * _ROW_PX + (_ROW_PX - _BAR_PX) / 2,
        "bottom": row * _ROW_PX + (_ROW_PX + _BAR_PX) / 2,
        "middle": (row + 0.5) * _ROW_PX,
        "fill": color(fill),
        "inside": color("on-earned" if fill == "earned" else "ink"),
        "amount": figures.short_money(end - begin, balance.currency),
    }


def _chart(labels: Sequence[str], panels: Sequence[tuple[str, list[dict[str, Any]]]], width_px: int) -> alt.TopLevelMixin:
    if width_px == NARROW_PX:
        parts = [alt.hconcat(_names(labels), _panel(*panel, width_px - _NAMES_PX), spacing=0) for panel in panels]
        return alt.vconcat(*parts, spacing=26)
    panel_px = int((width_px - _NAMES_PX - 24 * (len(panels) - 1)) / len(panels))
    return alt.hconcat(_names(labels), *(_panel(*panel, panel_px) for panel in panels), spacing=24 if len(panels) > 1 else 0)


def _names(labels: Sequence[str]) -> alt.LayerChart | alt.FacetChart:
    height = len(labels) * _ROW_PX
    ends = (0, len(labels) - 1)
    named = [
        {"y": (row + 0.5) * _ROW_PX, "name": name, "weight": "bold" if row in ends else "normal"}
        for row, name in enumerate(labels)
    ]
    texts = [
        chart_of(one for one in named if one["weight"] == weight)
        .mark_text(align="left", fontWeight=weight)
        .encode(x=fixed(alt.XValue, 0), y=pixels("y", height), text=alt.Text("name:N"))
        for weight in ("bold", "normal")
    ]
    return alt.layer(*texts).properties(width=_NAMES_PX, height=height)


def _panel(title: str, steps: list[dict[str, Any]], width_px: int) -> alt.LayerChart | alt.FacetChart:
    height = len(steps) * _ROW_PX
    x = alt.X("from:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False))
    y = pixels("top", height)
    bars = (
        chart_of(steps)
        .mark_rect()
        .encode(x=x, x2=alt.X2("to:Q"), y=y, y2=alt.Y2("bottom:Q"), fill=alt.Fill("fill:N", scale=None))
    )
    joints = (
        chart_of(_joints(steps))
        .mark_rule(stroke=color("faint"), strokeWidth=1)
        .encode(x=x, y=pixels("top", height), y2=alt.Y2("bottom:Q"))
    )
    heading = chart_of([{"title": title}]).mark_text(align="left", fontWeight="bold", fontSize=14, dy=-14)
    return alt.layer(
        joints,
        bars,
        *_amounts(steps, x, height),
        heading.encode(x=fixed(alt.XValue, 0), y=fixed(alt.YValue, 0), text=alt.Text("title:N")),
    ).properties(width=width_px, height=height)


def _amounts(steps: list[dict[str, Any]], x: alt.X, height: float) -> list[alt.Chart]:
    places: dict[str, dict[str, Any]] = {
        "before": {"align": "right", "dx": -6},
        "after": {"align": "left", "dx": 6},
        "within": {"align": "right", "dx": -8},
    }
    at = x.copy()
    at.shorthand = "at:Q"
    return [
        chart_of(one for one in steps if one["side"] == side)
        .mark_text(**place, fontSize=12.5)
        .encode(
            x=at,
            y=pixels("middle", height),
            text=alt.Text("amount:N"),
            fill=fixed(alt.FillValue, color("ink")) if side != "within" else alt.Fill("inside:N", scale=None),
        )
        for side, place in places.items()
    ]


def _joints(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hairlines that lead from a step's left end to the next step."""
    return [
        {"from": before["from"] if row else before["to"], "top": before["bottom"], "bottom": after["top"]}
        for row, (before, after) in enumerate(pairwise(steps))
    ]


def _words(title: str, labels: Sequence[str], steps: list[dict[str, Any]]) -> str:
    return f"{title}: " + ", ".join(f"{label} {step['amount']}" for label, step in zip(labels, steps, strict=True)) + "."
