"""The review: a CSV that a person can judge in any spreadsheet, and that comes back by `line_id` alone.

What spreadsheets do to a file (reformat ids and dates, swap the separator, run formulas) cannot hurt: only the columns `line_id` and
`decision` are read back, `line_id` is text in every spreadsheet, and cells that look like formulas are neutralised.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from crmbridge.errors import PlanRefused
from crmbridge.plan.file import Plan, PlanLine
from crmbridge.plan.policy import Decision
from crmbridge.plan.show import REASONS_TEXT, reason_parameters
from crmbridge.plan.write import place

ACCEPT, REJECT = "accept", "reject"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")

COLUMNS = (
    "line_id",
    "decision",
    "opportunity",
    "account",
    "contact",
    "title",
    "role",
    "primary",
    "confidence_percent",
    "amount",
    "currency",
    "stage",
    "close_date",
    "owner",
    "reasons",
    "link",
    "opportunity_id",
    "contact_id",
)

_REVIEW = """
    SELECT line.line_id, 'accept' AS decision, opportunity.name AS opportunity, account.name AS account,
        concat_ws(' ', contact.first_name, contact.last_name) AS contact, contact.title,
        line.role, CASE WHEN line.is_primary THEN 'yes' ELSE '' END AS primary,
        CAST(round(100 * line.confidence) AS INTEGER) AS confidence_percent,
        opportunity.amount, opportunity.currency, opportunity.stage, opportunity.close_date, owner.name AS owner,
        """ + REASONS_TEXT + """ AS reasons, CASE WHEN $link IS NULL THEN '' ELSE replace($link, '{opportunity_id}', line.opportunity_id) END AS link,
        line.opportunity_id, line.contact_id
    FROM review_lines AS line
    JOIN read_parquet($candidates) AS candidate USING (opportunity_id, contact_id)
    LEFT JOIN crm.opportunity AS opportunity ON opportunity.id = line.opportunity_id
    LEFT JOIN crm.account AS account ON account.id = opportunity.account_id
    LEFT JOIN crm.contact AS contact ON contact.id = line.contact_id
    LEFT JOIN crm.user AS owner ON owner.id = opportunity.owner_id
    ORDER BY opportunity.amount DESC NULLS LAST, line.opportunity_id, line.confidence DESC, line.contact_id
"""


@dataclass(frozen=True)
class Verdicts:
    """What came back from a review.

    Attributes:
        accepted: line ids to keep.
        rejected: the lines that become vetoes.
        missing: how many lines of the plan the file does not hold; they are left out, without a veto.
    """

    accepted: frozenset[str]
    rejected: tuple[PlanLine, ...]
    missing: int


def review_csv(plan: Plan, connection: duckdb.DuckDBPyConnection, *, link: str | None) -> str:
    """Write the plan out for people, the largest opportunities first.

    Args:
        plan: the plan to judge.
        connection: of the snapshot, for names, titles and amounts.
        link: where to look an opportunity up, with `{opportunity_id}` in it; None leaves the column blank.

    Returns:
        CSV text, with the columns `COLUMNS`.
    """
    connection.register("review_lines", plan.table().drop_columns(["reasons"]))
    try:
        found = connection.execute(_REVIEW, {"link": link, "candidates": str(plan.candidates_path), **reason_parameters(plan)})
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([_safe(cell) for cell in row] for row in found.fetchall())
    finally:
        connection.unregister("review_lines")
    return text.getvalue()


def read_verdicts(plan: Plan, path: Path) -> Verdicts:
    """Read a reviewed CSV back.

    Raises:
        PlanRefused: not a review of this plan, or a decision that is neither accept nor reject.
    """
    decisions = _decisions(path)
    lines = {line.line_id: line for line in plan.lines()}
    strange = next((line_id for line_id in decisions if line_id not in lines), None)
    if strange is not None:
        raise PlanRefused(
            f"{path.name} holds line {strange!r}, which is not in {plan.id}",
            hint="name the plan that was reviewed: crmbridge plan import FILE --plan ID",
        )
    return Verdicts(
        accepted=frozenset(line_id for line_id, decision in decisions.items() if decision == ACCEPT),
        rejected=tuple(lines[line_id] for line_id, decision in decisions.items() if decision == REJECT),
        missing=len(lines) - len(decisions),
    )


def reviewed_plan(plan: Plan, verdicts: Verdicts) -> Plan:
    """Write the plan that is left after a review, beside the original."""
    kept = [line for line in plan.lines() if line.line_id in verdicts.accepted]
    draft = plan.path.with_name(f".{plan.path.name}.reviewed")
    try:
        _write_lines(draft, kept)
        decisions = dict(plan.header.decisions)
        decisions[Decision.ADD.value] = len(kept)
        decisions[Decision.VETOED.value] = decisions.get(Decision.VETOED.value, 0) + len(verdicts.rejected)
        header = plan.header.model_copy(
            update={
                "decisions": decisions,
                "lines": len(kept),
                "opportunities_changed": len({line.opportunity_id for line in kept}),
                "body_sha256": _file_sha256(draft),
                "reviewed_from": plan.header.reviewed_from or plan.id,
            }
        )
        return place(header, draft, plan.path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _write_lines(path: Path, lines: Iterable[PlanLine]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line.model_dump(mode="json"), ensure_ascii=False) + "\n" for line in lines)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safe(cell: Any) -> Any:  # noqa: ANN401
    """Neutralise what a spreadsheet would run as a formula; numbers stay numbers."""
    if isinstance(cell, str) and cell.lstrip().startswith(_FORMULA_STARTS):
        return "'" + cell
    return cell


def _decisions(path: Path) -> dict[str, str]:
    decisions: dict[str, str] = {}
    for number, row in enumerate(_rows(path), start=2):
        line_id = (row["line_id"] or "").strip()
        decision = (row["decision"] or "").strip().lower() or ACCEPT
        if not line_id:
            continue
        if decision not in {ACCEPT, REJECT}:
            raise PlanRefused(
                f"{path.name}, row {number} (line {line_id}): decision is {decision!r}; allowed: {ACCEPT}, {REJECT}"
            )
        if decisions.setdefault(line_id, decision) != decision:
            raise PlanRefused(f"{path.name}, row {number}: line {line_id} is both accepted and rejected")
    return decisions


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlanRefused(f"{path.name} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise PlanRefused(
            f"{path.name} is not UTF-8", hint="save it from the spreadsheet as 'CSV UTF-8'"
        ) from None
    heading = text.partition("\n")[0]
    separator = max((",", ";", "\t"), key=heading.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=separator)
    missing = {"line_id", "decision"} - set(reader.fieldnames or ())
    if missing:
        raise PlanRefused(
            f"{path.name} has no column {sorted(missing)[0]!r}",
            hint="crmbridge plan review writes the file; keep its first two columns",
        )
    yield from reader
