"""The charts of the page, each drawn in two widths from the same rows that stand in the table behind it."""

from crmbridge.report.pictures.bars import count_bars
from crmbridge.report.pictures.dumbbell import Span, dumbbells
from crmbridge.report.pictures.months import Month, month_columns
from crmbridge.report.pictures.returns import ReturnRow, return_ranges
from crmbridge.report.pictures.split import split_bars
from crmbridge.report.pictures.waterfall import waterfall

__all__ = [
    "Month",
    "ReturnRow",
    "Span",
    "count_bars",
    "dumbbells",
    "month_columns",
    "return_ranges",
    "split_bars",
    "waterfall",
]
