"""What a report is made of: everything is computed before, and nothing here reads a file or a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from crmbridge.coverage import Coverage
from crmbridge.report.reasons import Reasons

if TYPE_CHECKING:
    from crmbridge.attribution.result import Attribution


@dataclass(frozen=True)
class Material:
    """Everything that the page and the exports show.

    Attributes:
        attribution: credits, ledger, ROI and the rest, as it is and with the plan where there is one.
        before, after: coverage; `after` is None without a plan.
        findings: of the snapshot.
        reasons: of the plan; None without one.
        adapter: which CRM.
        snapshot_fingerprint: of all its records.
        version: of crmbridge.
    """

    attribution: Attribution
    before: Coverage
    after: Coverage | None
    findings: pa.Table
    reasons: Reasons | None
    adapter: str
    snapshot_fingerprint: str
    version: str
