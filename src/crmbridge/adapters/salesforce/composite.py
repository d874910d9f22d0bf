"""Several queries in one call: a composite request counts once, and takes five of them, further pages included."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crmbridge.adapters.salesforce.connection import further_path, is_page, query_path
from crmbridge.adapters.salesforce.failures import Refusal
from crmbridge.errors import CrmUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crmbridge.adapters.salesforce.connection import Connection

QUERIES_PER_CALL = 5

_OK = 200
_NO_ENTRY = (401, 403)


@dataclass(slots=True)
class _Reading:
    """A query on its way.

    Attributes:
        place: of the query among those that were asked.
        path: of its next page, under `/services/data/vXX.X/`.
        given: records so far.
    """

    place: int
    path: str
    given: int = 0


def pages(connection: Connection, soqls: Sequence[str]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Give the pages of some queries, each with the place of its query; in no order.

    Raises:
        Refusal: a query is refused, or its cursor has expired.
        CrmUnavailable: no whole answer.
    """
    waiting = deque(_Reading(place, query_path(soql)) for place, soql in enumerate(soqls))
    while waiting:
        group = [waiting.popleft() for _ in range(min(QUERIES_PER_CALL, len(waiting)))]
        for reading, page in zip(group, _answers(connection, group), strict=True):
            reading.given += len(page["records"])
            yield reading.place, page["records"]
            if not page["done"]:
                reading.path = further_path(page)
                waiting.append(reading)
            elif reading.given != page["totalSize"]:
                raise CrmUnavailable(f"a query ended after {reading.given} of {page['totalSize']} records")


def _answers(connection: Connection, group: Sequence[_Reading]) -> Iterator[dict[str, Any]]:
    together = _together(connection, group) if len(group) > 1 else {}
    for reading in group:
        # What did not come with the others is asked for by itself: it may be well, or tell what is wrong with it.
        yield together.get(reading.place) or connection.page(reading.path)


def _together(connection: Connection, group: Sequence[_Reading]) -> dict[int, dict[str, Any]]:
    """The pages that a composite gives, by place; none where it is refused, as by a proxy that does not know it."""
    parts = [{"url": reading.path, "referenceId": f"q{reading.place}"} for reading in group]
    try:
        answers = connection.composite(parts)["compositeResponse"]
        bodies = {answer["referenceId"]: answer["body"] for answer in answers if answer["httpStatusCode"] == _OK}
    except Refusal as refusal:
        if refusal.status in _NO_ENTRY:
            raise
        return {}
    except (KeyError, TypeError):
        return {}
    return {reading.place: bodies[f"q{reading.place}"] for reading in group if is_page(bodies.get(f"q{reading.place}"))}
