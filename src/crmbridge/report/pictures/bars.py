"""Plain bars with their figures beside them."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from crmbridge.report.drawing import NARROW_PX, TEXT_PX, Drawing, both_widths, chart_of, color, fitted, fixed, pixels
from crmbridge.report.figures import Figures

_ROW_PX, _BAR_PX = 28, 14
_FIGURE_PX = 62


def count_bars(counts: Sequence[tuple[str, int]], figures: Figures) -> Drawing:
    """Draw named counts in the order given."""
    words = "; ".join(f"{name}: {figures.count(count)}" for name, count in counts) + "."
    return both_widths(words, lambda width_px: _chart(counts, figures, width_px))


def _chart(counts: Sequence[tuple[str, int]], figures: Figures, width_px: int) -> alt.LayerChart | alt.FacetChart:
    names_px = 196 if width_px == NARROW_PX else 400
    height = len(counts) * _ROW_PX
    placed = [
        {
            "name": fitted(name, names_px - 8, TEXT_PX),
            "count": count,
            "text": figures.count(count),
            "middle": (row + 0.5) * _ROW_PX,
            "top": (row + 0.5) * _ROW_PX - _BAR_PX / 2,
            "bottom": (row + 0.5) * _ROW_PX + _BAR_PX / 2,
        }
        for row, (name, count) in enumerate(counts)
    ]
    scale = alt.Scale(domain=[0, max(count for _, count in counts)], range=[names_px, width_px - _FIGURE_PX], nice=False)
    x = alt.X("count:Q", axis=None, scale=scale)
    base = chart_of(placed)
    middle = pixels("middle", height)
    return alt.layer(
        base.mark_rect(fill=color("earned")).encode(x=x, x2=alt.datum(0), y=pixels("top", height), y2=alt.Y2("bottom:Q")),
        base.mark_text(align="left").encode(x=fixed(alt.XValue, 0), y=middle, text=alt.Text("name:N")),
        base.mark_text(align="left", dx=7, fontSize=12.5, fontWeight="bold").encode(x=x, y=middle, text=alt.Text("text:N")),
    ).properties(width=width_px, height=height)
