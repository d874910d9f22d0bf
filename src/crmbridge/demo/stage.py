"""Setting the stage: a folder with the invented CRM in SQLite, and settings for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from crmbridge.errors import SettingsError
from crmbridge.workspace import disk_faults

if TYPE_CHECKING:
    from crmbridge.demo.world import DemoWorld

DATABASE = "crm.db"
_MARK = ".crmbridge-demo"

_SETTINGS = f"""\
# Settings of the demo; `crmbridge init` writes a commented file for your own CRM.
[crm]
adapter = "sql"

[crm.options]
url = "sqlite:///{DATABASE}"

[policy]
# A first backfill of a CRM without roles changes much; for your own, look at the plan first.
max_changed_percent = 100
max_changes = 100000
"""


def set_stage(folder: Path, world: DemoWorld) -> Path:
    """Write the world into `folder/crm.db`, and settings beside it.

    A folder of an earlier demo is made anew; anything else is left alone.

    Returns:
        The settings file.

    Raises:
        SettingsError: the folder exists and is no demo.
        WorkspaceError: it cannot be made.
    """
    import sqlalchemy as sa

    from crmbridge.adapters.sql import schema

    clear_stage(folder)
    with disk_faults(folder):
        folder.mkdir(mode=0o700, parents=True)
        (folder / _MARK).touch()
    engine = sa.create_engine(f"sqlite:///{folder / DATABASE}")
    try:
        schema.create_tables(engine)
        schema.load(engine, world.records)
    finally:
        engine.dispose()
    (folder / DATABASE).chmod(0o600)
    settings = folder / "crmbridge.toml"
    settings.write_text(_SETTINGS, encoding="utf-8")
    return settings


def clear_stage(folder: Path) -> None:
    """Remove an earlier demo.

    Raises:
        SettingsError: the folder exists and is no demo.
    """
    if not folder.exists():
        return
    if not (folder / _MARK).is_file():
        raise SettingsError(
            f"{folder} exists and is not a demo of crmbridge; nothing was changed",
            hint="crmbridge demo --folder SOMEWHERE_ELSE",
        )
    shutil.rmtree(folder)
