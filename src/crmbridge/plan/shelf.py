"""The folder of plans: finding one by its id, the beginning of its id, or its path."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from crmbridge.errors import PlanRefused
from crmbridge.plan.file import SUFFIX

_NAMED_AT_MOST = 5


def plan_paths(folder: Path) -> list[Path]:
    """Every plan's file, newest first."""
    return sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: (-path.stat().st_mtime_ns, path.name))


def find_plan(folder: Path, plan: str | Path | None) -> Path:
    """The file that is meant; None means the newest.

    Raises:
        PlanRefused: there is none, or more than one begins so.
    """
    paths = plan_paths(folder)
    if plan is None:
        if not paths:
            raise PlanRefused("there is no plan yet", hint="crmbridge plan")
        return paths[0]
    found = [path for path in paths if str(plan) and path.name.startswith(str(plan))]
    if len(found) == 1:
        return found[0]
    with suppress(OSError, ValueError):  # a word too long for a file's name, or with a NUL in it, is no file
        if Path(plan).is_file():
            return Path(plan)
    what = "several plans begin with" if found else "there is no plan"
    known = ", ".join(path.name.removesuffix(SUFFIX) for path in (found or paths)[:_NAMED_AT_MOST]) or "none yet"
    raise PlanRefused(f"{what} {str(plan)!r}", hint=f"plans: {known}")
