"""What stays true from one pull to the next, kept in a private folder: the ids of deals, and when campaigns touched whom.

HubSpot gives roles by the ids of their deals, and those ids a hundred at a time; it dates a touch by being asked for some days
after the other. Neither need be asked twice. What is not there, cannot be read, or is another portal's, is not known; nothing
hangs on it but calls. Files hold ids and days, no names.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from crmbridge.errors import WorkspaceError

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.portal import Portal

_FORMAT = "1"
_DEALS, _TOUCHES = "deals", "touches"
_TOUCH = pa.schema([("campaign", pa.string()), ("begin", pa.date32()), ("contact", pa.string()), ("slice", pa.int32())])


@dataclass(frozen=True)
class Dated:
    """Whom one campaign touched, as far as it is known.

    Attributes:
        begin: where the slices of days begin.
        until: the day up to which they were asked for; None where they never were.
        slices: contact -> which of the slices, counted from 0.
    """

    begin: date
    until: date | None = None
    slices: dict[str, int] = field(default_factory=dict)


class Memory:
    """One portal's.

    Args:
        folder: where; made when it is needed. None remembers nothing.
        portal: whose.
    """

    def __init__(self, folder: Path | None, portal: Portal) -> None:
        self._folder = folder
        self._portal = portal

    @property
    def is_kept(self) -> bool:
        """Whether anything is remembered at all."""
        return self._folder is not None

    def deals(self, since: datetime) -> pa.Array | None:
        """The ids of all deals that were there at a moment, and perhaps of some that are gone; None where that is not known."""
        table = self._read(_DEALS)
        if table is None or datetime.fromisoformat(_told(table, "as_of")) < since:
            return None
        return table["id"].combine_chunks()

    def keep_deals(self, ids: pa.Array, as_of: datetime) -> None:
        """Remember the ids of all deals that were there at a moment.

        Raises:
            WorkspaceError: the folder cannot be written.
        """
        self._write(_DEALS, pa.table({"id": pc.unique(ids)}), as_of=as_of.isoformat())

    def touches(self, slice_days: int) -> dict[str, Dated]:
        """Whom campaigns touched, by GUID, in slices of so many days."""
        table = self._read(_TOUCHES)
        if table is None or _told(table, "slice_days") != str(slice_days):
            return {}
        until = date.fromisoformat(_told(table, "until"))
        found: dict[str, Dated] = {}
        for campaign, begin, contact, number in zip(*(column.to_pylist() for column in table.columns), strict=True):
            found.setdefault(campaign, Dated(begin, until)).slices[contact] = number
        return found

    def keep_touches(self, touches: Mapping[str, Dated], slice_days: int, until: date) -> None:
        """Remember whom campaigns touched; raises like `keep_deals`."""
        rows: dict[str, list[object]] = defaultdict(list)
        for campaign, dated in touches.items():
            rows["campaign"] += [campaign] * len(dated.slices)
            rows["begin"] += [dated.begin] * len(dated.slices)
            rows["contact"] += dated.slices.keys()
            rows["slice"] += dated.slices.values()
        table = pa.table(
            [pa.array(rows[name], kind) for name, kind in zip(_TOUCH.names, _TOUCH.types, strict=True)], schema=_TOUCH
        )
        self._write(_TOUCHES, table, slice_days=str(slice_days), until=until.isoformat())

    def _read(self, name: str) -> pa.Table | None:
        if self._folder is None:
            return None
        with suppress(OSError, pa.ArrowException):
            table = feather.read_table(self._folder / f"{name}.arrow", memory_map=False)
            if (_told(table, "format"), _told(table, "portal")) == (_FORMAT, self._portal.id):
                return table
        return None

    def _write(self, name: str, table: pa.Table, **told: str) -> None:
        if self._folder is None or self._portal.id is None:
            return
        whole = table.replace_schema_metadata({**told, "format": _FORMAT, "portal": self._portal.id})
        draft = self._folder / f"{name}.new"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                feather.write_feather(whole, file)
            draft.replace(self._folder / f"{name}.arrow")
        except OSError as error:
            raise WorkspaceError(
                f"the folder of remember_in cannot be written: errno {error.errno}", hint="give your user write permission there"
            ) from None


def joined(parts: Iterable[pa.Array]) -> pa.Array:
    """Ids, one after the other."""
    return pa.chunked_array(list(parts), pa.string()).combine_chunks()


def _told(table: pa.Table, name: str) -> str:
    told: bytes = (table.schema.metadata or {}).get(name.encode(), b"")
    return told.decode()
