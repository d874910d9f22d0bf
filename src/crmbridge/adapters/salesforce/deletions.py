"""What went: Salesforce's own log of deletions (15 days), and who was merged into whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from crmbridge.adapters.salesforce.failures import Refusal
from crmbridge.adapters.salesforce.ids import long_id
from crmbridge.adapters.salesforce.mapping import STAMP, soql_time
from crmbridge.contract import Deletion
from crmbridge.errors import DeletionsUnknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crmbridge.adapters.salesforce.connection import Connection
    from crmbridge.adapters.salesforce.mapping import Source

LOG_DAYS = 15
"""How far back Salesforce tells what was deleted; its log may be purged sooner."""

_HINT = "read that entity in full"
_NO_ENTRY = (401, 403)
_MARGIN = timedelta(minutes=2)


def read_deleted(connection: Connection, sources: Sequence[Source], since: datetime) -> Iterator[Deletion]:
    """Give what was deleted or merged away at or after `since`.

    Raises:
        DeletionsUnknown: the log does not go back that far, or is too long.
        CrmUnavailable, CrmRefused: see `Connection`.
    """
    now = datetime.now(UTC)
    if since < now - timedelta(days=LOG_DAYS):
        raise DeletionsUnknown(
            f"Salesforce knows deletions for {LOG_DAYS} days; asked for those since {since:%Y-%m-%d}", hint=_HINT
        )
    # Several sources may be fields of one object, whose log is asked for once.
    names = dict.fromkeys(source.object_name for source in sources if source.is_logged)
    logs = {name: list(_log(connection, name, since, now)) for name in names}
    for source in sources:
        gone = logs[source.object_name] if source.is_logged else []
        # Who was merged away is in the log like everybody who went: without any, nobody was.
        masters = _masters(connection, source, since) if gone else {}
        for identifier, moment in gone:
            master = masters.pop(identifier, (None, moment))[0]
            yield Deletion(id=identifier + source.suffix, deleted_at=moment, merged_into_id=master)
        for identifier, (master, moment) in masters.items():
            yield Deletion(id=identifier, deleted_at=moment, merged_into_id=master)
        yield from _blanked(connection, source, since)


def _log(connection: Connection, name: str, since: datetime, now: datetime) -> Iterator[tuple[str, datetime]]:
    # The end is left out, the window is a minute at least, and their clock may be ahead of ours.
    end = max(now, since) + _MARGIN
    start, end_text = (moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S%%2B00:00") for moment in (since, end))
    try:
        answer = connection.get(f"sobjects/{name}/deleted/?start={start}&end={end_text}")
    except Refusal as refusal:
        if refusal.status in _NO_ENTRY:
            raise
        # Too many (EXCEEDED_ID_LIMIT), or longer ago than this organisation keeps them (INVALID_REPLICATION_DATE).
        told = f"Salesforce does not tell which {name} records were deleted since {since:%Y-%m-%d}: {refusal.code}"
        raise DeletionsUnknown(told, hint=_HINT) from None
    if _moment(answer["earliestDateAvailable"]) > since.replace(second=0, microsecond=0):
        raise DeletionsUnknown(f"Salesforce's log of deleted {name} records was purged since {since:%Y-%m-%d}", hint=_HINT)
    for item in answer["deletedRecords"]:
        moment = _moment(item["deletedDate"])
        if moment >= since.replace(microsecond=0):
            yield long_id(item["id"]), moment


def _masters(connection: Connection, source: Source, since: datetime) -> dict[str, tuple[str | None, datetime]]:
    """Who was merged away, into whom and when, by id."""
    if "MasterRecordId" not in source.paths:
        return {}
    soql = (
        f"SELECT Id, MasterRecordId, {STAMP} FROM {source.object_name} "
        f"WHERE IsDeleted = true AND MasterRecordId != null AND {STAMP} >= {soql_time(since)}"
    )
    gone = connection.records(soql, everything=True)
    return {long_id(row["Id"]): (long_id(row["MasterRecordId"]), _moment(row[STAMP])) for row in gone}


def _blanked(connection: Connection, source: Source, since: datetime) -> Iterator[Deletion]:
    """What is still there and says no more: a lookup that was cleared."""
    if not source.blank_when:
        return
    # Changed since, and blank now: it may never have been filled, and then this deletes nothing.
    soql = f"SELECT Id, {STAMP} FROM {source.object_name} WHERE {source.blank_when} AND {STAMP} >= {soql_time(since)}"
    for row in connection.records(soql, everything=source.everything):
        yield Deletion(id=long_id(row["Id"]) + source.suffix, deleted_at=_moment(row[STAMP]))


def _moment(text: Any) -> datetime:  # noqa: ANN401 - JSON
    return datetime.fromisoformat(text).astimezone(UTC)
