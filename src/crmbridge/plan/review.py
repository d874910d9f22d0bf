"""The review: a CSV that a person can judge in any spreadsheet, and that comes back by `line_id` alone.

What spreadsheets do to a file (reformat ids and dates, swap the separator, run formulas) cannot hurt: only the columns `line_id`
and `decision` are read back, `line_id` is text in every spreadsheet, and cells that look like formulas are neutralised.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

import duckdb

from crmbridge.errors import PlanRefused
from crmbridge.plan.file import Plan, PlanLine
from crmbridge.plan.lend import as_table
from crmbridge.plan.policy import Decision
from crmbridge.plan.show import REASONS_OF_LINE, reason_parameters
from crmbridge.plan.write import file_sha256, place, work_folder

ACCEPT, REJECT = "accept", "reject"
_FORMULA = re.compile(r"(^|[;,\t\r\n|])(\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet would begin a formula: a cell, or what it takes for one because it splits lines at another separator."""
_LINE_ID = re.compile(r"L[0-9a-f]{16}")
_ROWS_AT_ONCE = 10_000

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

_REVIEW = f"""
    SELECT line.line_id, '{ACCEPT}' AS decision, opportunity.name AS opportunity, account.name AS account,
        concat_ws(' ', contact.first_name, contact.last_name) AS contact, contact.title,
        line.role, CASE WHEN line.is_primary THEN 'yes' ELSE '' END AS primary,
        CAST(round(100 * line.confidence) AS INTEGER) AS confidence_percent,
        opportunity.amount, opportunity.currency, opportunity.stage, opportunity.close_date, owner.name AS owner,
        {REASONS_OF_LINE} AS reasons, replace($link, '{{opportunity_id}}', url_encode(line.opportunity_id)) AS link,
        line.opportunity_id, line.contact_id
    FROM review_lines AS line
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


def write_review(plan: Plan, connection: duckdb.DuckDBPyConnection, file: IO[str], *, link: str | None) -> None:
    """Write the plan out for people, the largest opportunities first: CSV with the columns `COLUMNS`.

    Args:
        plan: the plan to judge.
        connection: of the snapshot, for names, titles and amounts.
        file: text; line ends are written as CSV wants them.
        link: where to look an opportunity up, with `{opportunity_id}` in it; None leaves the column blank.
    """
    with as_table(connection, plan.table(), "review_lines"):
        found = connection.execute(_REVIEW, {"link": link or "", **reason_parameters(plan)})
        # The mark makes spreadsheets read the file as UTF-8.
        file.write("\ufeff")
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            writer.writerows([_cell(value) for value in row] for row in rows)


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
            f"{path.name} holds {_named(strange)}, which is not in {plan.id}",
            hint="name the plan that was reviewed: crmbridge plan import FILE --plan ID",
        )
    return Verdicts(
        accepted=frozenset(line_id for line_id, decision in decisions.items() if decision == ACCEPT),
        rejected=tuple(line for line_id, line in lines.items() if decisions.get(line_id) == REJECT),
        missing=len(lines) - len(decisions),
    )


def reviewed_plan(plan: Plan, verdicts: Verdicts, folder: Path) -> Plan:
    """Write the plan that is left after a review.

    Args:
        plan: as it was reviewed.
        verdicts: what came back.
        folder: of the workspace's plans.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    kept = [line for line in plan.lines() if line.line_id in verdicts.accepted]
    with work_folder(folder) as work:
        draft = work / "lines.jsonl"
        _write_lines(draft, kept)
        changes = {
            "decisions": _decisions_after(plan, verdicts),
            "lines": len(kept),
            "opportunities_changed": len({line.opportunity_id for line in kept}),
            "body_sha256": file_sha256(draft),
            "reviewed_from": plan.header.reviewed_from or plan.id,
        }
        return place(plan.header.model_copy(update=changes), draft, folder)


def _decisions_after(plan: Plan, verdicts: Verdicts) -> dict[str, int]:
    """Numbers by decision, as the next plan would count them; lines that the file left out are in none of them."""
    decisions = dict(plan.header.decisions)
    decisions[Decision.ADD.value] = len(verdicts.accepted)
    decisions[Decision.VETOED.value] = decisions.get(Decision.VETOED.value, 0) + len(verdicts.rejected)
    return {name: number for name, number in sorted(decisions.items()) if number}


def _write_lines(path: Path, lines: Iterable[PlanLine]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line.model_dump(mode="json"), ensure_ascii=False) + "\n" for line in lines)


def _cell(value: Any) -> Any:  # noqa: ANN401 - whatever the engine holds
    """Write amounts plainly; neutralise what a spreadsheet would run as a formula. Numbers stay numbers."""
    if isinstance(value, Decimal):
        return f"{value:.2f}" if value == round(value, 2) else f"{value.normalize():f}"
    return harmless(value) if isinstance(value, str) else value


def harmless(text: str) -> str:
    """Neutralise what a spreadsheet would run as a formula."""
    return _FORMULA.sub(r"\1\2'", text)


def _decisions(path: Path) -> dict[str, str]:
    """The decision of every line in the file; messages name rows and lines, and never what else a cell may hold."""
    decisions: dict[str, str] = {}
    for number, row in _rows(path):
        line_id = (row["line_id"] or "").strip()
        decision = (row["decision"] or "").strip().lower()
        if not line_id and not decision:
            continue
        where = f"{path.name}, row {number} ({_named(line_id)})"
        if decision not in {ACCEPT, REJECT}:
            what = "another word" if decision else "blank"
            hint = "delete a row to leave its line out"
            raise PlanRefused(f"{where}: the decision is {what}; allowed: {ACCEPT}, {REJECT}", hint=hint)
        if decisions.setdefault(line_id, decision) != decision:
            raise PlanRefused(f"{where}: the line is both accepted and rejected", hint="keep one of its rows")
    return decisions


def _named(line_id: str) -> str:
    """A line id where it is one; anything else may be a name out of a shifted column."""
    return f"line {line_id}" if _LINE_ID.fullmatch(line_id) else "something that is no line_id" if line_id else "no line_id"


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The rows of a CSV with the number of the line they end on, whatever separator and line ends a spreadsheet chose."""
    text = _text(path)
    heading = re.split(r"[\r\n]", text, maxsplit=1)[0]
    separator = max((",", ";", "\t"), key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _refuse_missing_columns(path, names)
        for cells in reader:
            yield reader.line_num, dict(zip_longest(names, cells[: len(names)]))
    except csv.Error:
        raise PlanRefused(
            f"{path.name}, row {reader.line_num} is not CSV", hint="save it from the spreadsheet as 'CSV UTF-8'"
        ) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlanRefused(f"{path.name} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise PlanRefused(f"{path.name} is not UTF-8", hint="save it from the spreadsheet as 'CSV UTF-8'") from None


def _refuse_missing_columns(path: Path, names: list[str]) -> None:
    for column in ("line_id", "decision"):
        if names.count(column) != 1:
            what = "no column" if column not in names else "several columns"
            raise PlanRefused(
                f"{path.name} has {what} {column!r}", hint="crmbridge plan review writes the file; keep its first two columns"
            )
