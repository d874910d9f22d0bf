"""Writing a plan and its candidates: the set-based part in the engine, the files private and in place at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw

from crmbridge.errors import WorkspaceError
from crmbridge.evidence.rule import Rule
from crmbridge.plan.decide import Decided
from crmbridge.plan.file import SUFFIX, Plan, PlanHeader
from crmbridge.plan.policy import Decision

_COPY_BUFFER_BYTES = 1 << 20

_LINES_AT_ONCE = 400_000
"""A list per line is the one thing here that the engine holds in memory; larger plans are written in slices of their order."""

# In the order of the file, cut into slices.
_ADDING = f"""
    CREATE OR REPLACE TEMP TABLE adding AS
    SELECT opportunity_key, person_key, opportunity_id, contact_id, role, is_primary, primary_contact_id, confidence, bits,
        ntile($slices) OVER (ORDER BY opportunity_id, bits DESC, contact_id) AS slice
    FROM plan_candidates JOIN plan_opportunities USING (opportunity_key)
    WHERE decision = '{Decision.ADD.value}'
"""

_LINES = """
    WITH line AS (FROM adding WHERE slice = {slice}),
    reason_lists AS (
        SELECT opportunity_key, person_key,
            -- Sorting a list of structs by its first fields is many times cheaper than an ordered aggregate.
            list_sort(list({{'falling': -abs(round(bits, 2)), 'rule': rule, 'bits': round(bits, 2), 'items': items,
                'occurred_s': occurred_s, 'source_entity': source_entity, 'source_id': source_id}})) AS reasons
        FROM plan_reasons SEMI JOIN line USING (opportunity_key, person_key)
        GROUP BY opportunity_key, person_key
    )
    SELECT 'L' || substr(sha256(opportunity_id || chr(31) || contact_id), 1, 16) AS line_id,
        opportunity_id, contact_id, role, is_primary,
        primary_contact_id AS expected_primary_contact_id, round(confidence, 4) AS confidence,
        list_transform(reasons, lambda r: {{'rule': r.rule, 'bits': r.bits, 'items': r.items,
            'occurred_at': strftime(make_timestamp(r.occurred_s * 1000000), '%Y-%m-%d'),
            'source_entity': r.source_entity, 'source_id': r.source_id}}) AS reasons
    FROM line JOIN reason_lists USING (opportunity_key, person_key)
    ORDER BY opportunity_id, bits DESC, contact_id
"""

_CANDIDATES = """
    SELECT opportunity_key, person_key, opportunity_id, contact_id, role, is_primary, round(confidence, 4) AS confidence,
        round(confidence_without_campaign, 4) AS confidence_without_campaign, decision
    FROM plan_candidates JOIN plan_opportunities USING (opportunity_key)
"""

_REASONS = """
    SELECT opportunity_key, person_key, rule, bits, items, occurred_s, source_entity, source_id FROM plan_reasons
"""


def write_plan(
    connection: duckdb.DuckDBPyConnection,
    decided: Decided,
    reasons: nw.LazyFrame[Any],
    opportunities: nw.LazyFrame[Any],
    *,
    rules: Iterable[Rule],
    folder: Path,
    basis: dict[str, Any],
) -> Plan:
    """Write the plan file and the candidates beside it.

    Args:
        connection: where the lazy frames live.
        decided: the decisions.
        reasons: one row per (opportunity_key, person_key, rule).
        opportunities: opportunity_key, opportunity_id.
        rules: for the sentences of the reasons.
        folder: the workspace's folder of plans.
        basis: the header's fields that are known before the lines are.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    with work_folder(folder) as work:
        lines, candidates, reasons_file = work / "lines.jsonl", work / "candidates.parquet", work / "reasons.parquet"
        with _Views(connection, plan_candidates=decided.candidates, plan_reasons=reasons, plan_opportunities=opportunities):
            figures = _figures(connection, decided)
            _write_lines(connection, lines, figures["lines"])
            # Written apart, and joined by whoever asks: at ten million candidates the join costs more than the plan.
            connection.execute(f"COPY ({_CANDIDATES}) TO '{_quoted(candidates)}' (FORMAT PARQUET)")
            connection.execute(f"COPY ({_REASONS}) TO '{_quoted(reasons_file)}' (FORMAT PARQUET)")
        sentences = {rule.name: rule.reason for rule in rules}
        header = PlanHeader(**basis, **figures, rules=sentences, body_sha256=file_sha256(lines))
        return place(header, lines, folder, beside=(candidates, reasons_file))


def _write_lines(connection: duckdb.DuckDBPyConnection, path: Path, count: int) -> None:
    slices = max(1, -(-count // _LINES_AT_ONCE))
    connection.execute(_ADDING, {"slices": slices})
    part = path.with_suffix(".part")
    with path.open("wb") as whole:
        for slice_number in range(1, slices + 1):
            connection.execute(f"COPY ({_LINES.format(slice=slice_number)}) TO '{_quoted(part)}' (FORMAT JSON)")
            with part.open("rb") as lines:
                shutil.copyfileobj(lines, whole, _COPY_BUFFER_BYTES)
            part.unlink()
    connection.execute("DROP TABLE adding")


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """A private folder for drafts, empty at first and gone afterwards; what a killed run left there goes too.

    Raises:
        WorkspaceError: the disk is full, or the folder cannot be written.
    """
    work = folder / ".draft"
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        yield work
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise WorkspaceError(
            f"the plan could not be written to {folder} ({_why(error)}); no plan was made",
            hint="free some space, or look at the folder's permissions, then run the same command again",
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def place(header: PlanHeader, body: Path, folder: Path, *, beside: tuple[Path, Path] | None = None) -> Plan:
    """Put header and body together under the plan's name: either whole or not at all, readable by the owner only.

    Args:
        header: of the plan.
        body: its lines, in the work folder.
        folder: of the plans.
        beside: candidates and reasons of an original plan, in the work folder; moved beside the plan, just before it.
    """
    plan = Plan(header, folder / f"{header.plan_id}{SUFFIX}")
    whole = body.with_name("whole")
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, body.open("rb") as lines:
        file.write(header.first_line())
        shutil.copyfileobj(lines, file, _COPY_BUFFER_BYTES)
        file.flush()
        os.fsync(file.fileno())
    for draft, target in zip(beside or (), (plan.candidates_path, plan.reasons_path), strict=False):
        draft.chmod(0o600)
        draft.replace(target)
    whole.replace(plan.path)
    return plan


class _Views:
    """Names for lazy frames, for as long as a statement needs them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, **frames: nw.LazyFrame[Any]) -> None:
        self._connection = connection
        self._frames = frames

    def __enter__(self) -> None:
        for name, frame in self._frames.items():
            query = frame.to_native().sql_query()
            self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")

    def __exit__(self, *_: object) -> None:
        for name in self._frames:
            self._connection.execute(f"DROP VIEW IF EXISTS {name}")


def _figures(connection: duckdb.DuckDBPyConnection, decided: Decided) -> dict[str, Any]:
    counted = connection.execute("SELECT decision, count(*) FROM plan_candidates GROUP BY decision ORDER BY decision").fetchall()
    changed = connection.execute(
        "SELECT count(DISTINCT opportunity_key) FROM plan_candidates WHERE decision = ?", [Decision.ADD.value]
    ).fetchall()
    in_scope = decided.in_scope.select(nw.len().alias("n")).collect("pyarrow").item(0, "n")
    decisions = {str(name): int(number) for name, number in counted}
    return {
        "decisions": decisions,
        "lines": decisions.get(Decision.ADD.value, 0),
        "opportunities_changed": int(changed[0][0]),
        "opportunities_in_scope": int(in_scope),
    }


def file_sha256(path: Path) -> str:
    """The hash of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _why(error: Exception) -> str:
    return (error.strerror or "I/O error") if isinstance(error, OSError) else "the disk is full or not writable"
