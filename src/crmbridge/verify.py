"""Reading back what a run wrote: a trigger of the CRM, or a person, may have been there too."""

from __future__ import annotations

from itertools import groupby, islice
from typing import TYPE_CHECKING, Literal

from crmbridge.contract import Adapter, PairState, Receipt, pair_state
from crmbridge.journal import Difference, Journal, PlannedWrite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crmbridge.model import ContactRole

_READ_TOGETHER = 25_000
"""Opportunities: many, for each reading ends in a call that is not quite full; their roles are held in memory, some 100 MB."""

_What = Literal["missing", "present", "changed", "primary"]
_Written = tuple[PlannedWrite, Receipt]


def differences(adapter: Adapter, journal: Journal, run_id: str) -> Iterator[Difference]:
    """Compare every line that a run wrote with the CRM as it is now, in the order of the run."""
    by_opportunity = groupby(journal.applied(run_id), lambda item: item[0].write.opportunity_id)
    groups = (list(group) for _, group in by_opportunity)
    while together := list(islice(groups, _READ_TOGETHER)):
        roles: dict[str, list[ContactRole]] = {group[0][0].write.opportunity_id: [] for group in together}
        for role in adapter.read_roles(list(roles)):
            roles[role.opportunity_id].append(role)
        for group in together:
            yield from _of_opportunity(group, roles[group[0][0].write.opportunity_id])


def _of_opportunity(group: list[_Written], roles: list[ContactRole]) -> Iterator[Difference]:
    primary = _primary_left_behind(group)
    for line, receipt in group:
        now = pair_state(roles, line.write.contact_id)
        what = _pair_difference(receipt.after, now)
        if what is None and now.primary_contact_id != primary:
            what = "primary"
        if what is not None:
            yield Difference(line.line_id, line.write.opportunity_id, line.write.contact_id, what)


def _pair_difference(after: PairState, now: PairState) -> _What | None:
    if now.rows == after.rows:
        return None
    if not now.rows:
        return "missing"
    return "changed" if after.rows else "present"


def _primary_left_behind(group: Iterable[_Written]) -> str | None:
    """Who should be the primary once all these lines of one opportunity are written."""
    lines = list(group)
    primary = lines[0][1].before.primary_contact_id
    for line, _ in lines:
        write = line.write
        if write.action == "put" and write.is_primary:
            primary = write.contact_id
        elif write.action == "remove" and primary == write.contact_id:
            primary = None
    return primary
