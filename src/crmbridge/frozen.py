"""Frozen periods on disk: two Parquet files each, for their owner only."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crmbridge.attribution.restate import Books, Period
from crmbridge.errors import SettingsError, WorkspaceError
from crmbridge.workspace import private_file

_CREDITS, _BASIS = ".credits.parquet", ".basis.parquet"


def freeze(folder: Path, period: Period, taken: Books) -> Path:
    """Write a period's books; the file of its credits comes last, and says that it is whole.

    Raises:
        SettingsError: it is frozen already; what was reported is not overwritten.
    """
    target = folder / (period.name + _CREDITS)
    if target.exists():
        hint = f"to report it anew, remove {target.name} from {folder}"
        raise SettingsError(f"the period {period.name} is frozen already", hint=hint)
    for table, path in ((taken.basis, folder / (period.name + _BASIS)), (taken.credits, target)):
        with private_file(path) as file:
            pq.write_table(table, file)
    return target


def thaw(folder: Path, period: Period) -> Books:
    """Read a period's books back.

    Raises:
        SettingsError: it was never frozen.
        WorkspaceError: its files cannot be read.
    """
    path = folder / (period.name + _CREDITS)
    if not path.is_file():
        frozen = ", ".join(frozen_periods(folder)) or "none"
        hint = f"crmbridge freeze {period.name} keeps it as it is now"
        raise SettingsError(f"the period {period.name} was never frozen; frozen periods: {frozen}", hint=hint)
    try:
        return Books(pq.read_table(path), pq.read_table(folder / (period.name + _BASIS)))
    except (OSError, pa.ArrowInvalid):
        raise WorkspaceError(f"the books of {period.name} in {folder} cannot be read") from None


def frozen_periods(folder: Path) -> list[str]:
    """The names of the frozen periods, sorted."""
    return sorted(path.name.removesuffix(_CREDITS) for path in folder.glob(f"*{_CREDITS}"))
