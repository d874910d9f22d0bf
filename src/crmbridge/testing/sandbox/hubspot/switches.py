"""How a portal is set up, and how HubSpot behaves where nobody has said for sure: every unknown is a switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

ROLE_LABELS = (
    "Business User",
    "Decision Maker",
    "Economic Buyer",
    "Economic Decision Maker",
    "Evaluator",
    "Executive Sponsor",
    "Influencer",
    "Technical Buyer",
    "Other",
)


class LabelWrites(Enum):
    """What writing labels does to those that a pair has already."""

    REPLACE = auto()
    APPEND = auto()


class RetryAfter(Enum):
    """Whether a 429 says how long to wait."""

    ABSENT = auto()
    GIVEN = auto()


class Ids(Enum):
    """How the other end of an association is written."""

    NUMBERS = auto()
    TEXT = auto()


class OverCap(Enum):
    """How HubSpot says that a cap is exceeded."""

    NAMED = auto()
    """By an error of a 207 that names the pair."""
    UNNAMED = auto()
    """By an error of a 207 that names nobody."""
    WHOLE = auto()
    """By refusing the call as a whole."""


class MergedIds(Enum):
    """What writing a link to an id that was merged away does; reading a record by it gives the survivor."""

    FOLLOWED = auto()
    REFUSED = auto()


class LinksChange(Enum):
    """Whether linking a record counts as a change of it."""

    LEAVES_RECORD = auto()
    STAMPS_RECORD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSpotSwitches:
    """How this portal is set up.

    Attributes:
        labels: user-defined labels from deals to contacts, in order.
        caps: label -> the most contacts of one deal that may have it.
        contacts_per_deal: the most contacts of one deal; None for no limit.
        hidden: kinds and `owners`, `campaigns`, `lists` that the token has no scope for.
        label_writes, retry_after, ids, over_cap, merged_ids, links_change: see there.
        tells_caps: whether the token may ask for the caps.
        labels_most: the most labels from deals to contacts.
        archive_status: of batch/archive and labels/archive: 204, or 200 with a body.
        created_status: of batch/create: 201 on v4, 200 in the newest family.
        labels_archive_most: the most inputs of labels/archive.
        link_page: contacts of one record per answer of batch/read.
        inline_links: links of one record that a listing shows; more are on further pages.
        search_page: the most records of an answer to a search, whatever was asked for.
        index_lag_s: how long a change stays invisible to searches.
        calls_per_interval, interval_ms: the short limit; None for none.
        searches_per_second: the limit of searches; None for none.
        daily_calls: the portal's limit.
        portal_id, time_zone: of the portal.
        has_rate_headers: whether answers tell what is left.
    """

    labels: tuple[str, ...] = ROLE_LABELS
    caps: Mapping[str, int] = field(default_factory=dict)
    contacts_per_deal: int | None = None
    hidden: frozenset[str] = frozenset()
    label_writes: LabelWrites = LabelWrites.REPLACE
    retry_after: RetryAfter = RetryAfter.ABSENT
    ids: Ids = Ids.NUMBERS
    over_cap: OverCap = OverCap.NAMED
    merged_ids: MergedIds = MergedIds.FOLLOWED
    tells_caps: bool = True
    labels_most: int = 10
    links_change: LinksChange = LinksChange.LEAVES_RECORD
    archive_status: int = 204
    created_status: int = 201
    labels_archive_most: int = 100
    link_page: int = 500
    inline_links: int = 100
    search_page: int = 200
    index_lag_s: float = 0
    calls_per_interval: int | None = None
    interval_ms: int = 10_000
    searches_per_second: int | None = None
    daily_calls: int = 650_000
    portal_id: int | None = 1
    time_zone: str = "UTC"
    has_rate_headers: bool = True
