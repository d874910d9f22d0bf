"""What every test shares."""

from __future__ import annotations

import sys

# DuckDB looks for pandas at every expression and does not remember that it is absent: a quarter of the time of a small plan.
sys.modules.setdefault("pandas", None)  # type: ignore[assignment]
