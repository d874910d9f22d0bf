"""Bulk API 2.0 jobs: how long to wait for one, and what its states mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from crmbridge.errors import CrmUnavailable

if TYPE_CHECKING:
    from crmbridge.adapters.salesforce.connection import Connection

COMPLETE = "JobComplete"
OPEN = "Open"
TERMINAL = frozenset({COMPLETE, "Failed", "Aborted"})
_GROWTH = 1.6
_LONGEST_POLL_S = 30.0


def finished(connection: Connection, path: str, *, first_wait_s: float = 0) -> dict[str, Any]:
    """Wait until a job is in a terminal state and give what Salesforce says of it; asking costs a call each time.

    Args:
        connection: where the job runs.
        path: such as `jobs/ingest/750...`.
        first_wait_s: how long it will surely take, if known.

    Raises:
        CrmUnavailable: it did not end within `job_timeout_s`; it still runs. Refusal: there is no such job.
    """
    options = connection.options
    deadline_s = time.monotonic() + options.job_timeout_s
    pause_s = max(options.poll_s, first_wait_s)
    while True:
        time.sleep(min(pause_s, max(deadline_s - time.monotonic(), 0)))
        job: dict[str, Any] = connection.get(path)
        if job.get("state") in TERMINAL:
            return job
        if time.monotonic() >= deadline_s:
            raise CrmUnavailable(
                f"Bulk job {path.rpartition('/')[2]} is still {job.get('state')} after {options.job_timeout_s:g} s",
                hint="run the same command again later, or raise job_timeout_s",
            )
        pause_s = min(max(pause_s, options.poll_s) * _GROWTH, _LONGEST_POLL_S)
