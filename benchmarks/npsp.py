"""The whole job on the sample organisations of Salesforce.org's Nonprofit Success Pack: data that nobody here made.

    python -m benchmarks.npsp FOLDER        FOLDER holds 1k.sql and dev_org.sql

Loads each dump into SQLite, runs check, coverage, plan, apply and undo through the mappings in docs/npsp, compares every table
before and after, then deletes a seeded 60 % of the contact roles and prints precision and recall of what comes back, overall and
by rule.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import narwhals as nw
import pyarrow as pa

import crmbridge
from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.evidence.proof import Quality, RuleQuality, quality, rule_quality
from crmbridge.plan.file import Plan

MAPPINGS = Path(__file__).parents[1] / "docs" / "npsp"
SETS = {"1k": "npsp-1k.toml", "dev_org": "npsp-dev-org.toml"}
HIDE_SHARE, SEED = 0.6, 7
_PAIR_COLUMNS = {"1k": ("opportunity_id", "contact_id"), "dev_org": ("OpportunityId", "ContactId")}


@dataclass(frozen=True)
class Recovered:
    """What came back after hiding: pairs hidden, pairs planned and right among them, the ranking's quality, and each rule's."""

    hidden: int
    planned: int
    right: int
    overall: Quality
    rules: list[RuleQuality]


def load(dump: Path, database: Path) -> None:
    """Make a SQLite database of a dump."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
        connection.commit()


def tables(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, for comparing byte for byte."""
    with closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall() for name in names}


def bridge_on(database: Path, name: str, workspace: Path) -> Bridge:
    """Open a database through its mapping."""
    options = {"url": f"sqlite:///{database}", "mapping": str(MAPPINGS / SETS[name])}
    # A gift may have hundreds of soft credits: the cap of ten roles is for sales.
    policy = {"max_changed_percent": 100, "max_changes": 100_000, "max_roles_per_opportunity": 1_000}
    return crmbridge.connect(
        in_memory({"crm": {"adapter": "sql", "options": options}, "policy": policy, "workspace": {"folder": str(workspace)}})
    )


def hide(database: Path, name: str) -> set[tuple[str, str]]:
    """Delete a seeded share of the roles; returns the pairs that have no role any more."""
    opportunity, contact = _PAIR_COLUMNS[name]
    with closing(sqlite3.connect(database)) as connection:
        query = f'SELECT id, "{opportunity}", "{contact}" FROM OpportunityContactRole ORDER BY id'
        rows = connection.execute(query).fetchall()
        gone = random.Random(SEED).sample(rows, round(HIDE_SHARE * len(rows)))
        connection.executemany("DELETE FROM OpportunityContactRole WHERE id = ?", [(row[0],) for row in gone])
        connection.commit()
        left = {(str(row[1]), str(row[2])) for row in connection.execute(query)}
    return {(str(row[1]), str(row[2])) for row in gone} - left


def recovered(bridge: Bridge, hidden: set[tuple[str, str]]) -> tuple[Plan, Recovered]:
    """Plan on what is left, and hold the candidates against what was hidden."""
    bridge.pull()
    plan = bridge.plan()
    candidates = bridge.candidates(plan)
    open_ones = candidates.filter(pa.array([name != "has_role" for name in candidates["decision"].to_pylist()]))
    ranked = _keyed(open_ones.select(["opportunity_id", "contact_id", "confidence"]))
    right = _keyed(pa.table({"opportunity_id": [o for o, _ in hidden], "contact_id": [c for _, c in hidden]}))
    lines = {(line.opportunity_id, line.contact_id) for line in plan.lines()}
    found = Recovered(
        hidden=len(hidden),
        planned=len(lines),
        right=len(lines & hidden),
        overall=quality(ranked, right),
        rules=rule_quality(_reasons(plan), right),
    )
    return plan, found


def _keyed(table: pa.Table) -> nw.LazyFrame[object]:
    import duckdb

    renamed = table.rename_columns(
        [{"opportunity_id": "opportunity_key", "contact_id": "person_key"}.get(name, name) for name in table.column_names]
    )
    return nw.from_native(duckdb.from_arrow(renamed))


def _reasons(plan: Plan) -> nw.LazyFrame[object]:
    import duckdb

    return nw.from_native(
        duckdb.sql(
            f"""SELECT opportunity_id AS opportunity_key, contact_id AS person_key, rule, bits
            FROM read_parquet('{plan.candidates_path}')
            JOIN read_parquet('{plan.reasons_path}') USING (opportunity_key, person_key)
            WHERE decision <> 'has_role'"""
        )
    )


def run(name: str, folder: Path, scratch: Path) -> None:
    """The whole job on one organisation, printed."""
    database = scratch / f"{name}.db"
    load(folder / f"{name}.sql", database)
    before = tables(database)
    with bridge_on(database, name, scratch / f"{name}-workspace") as bridge:
        print(f"\n== {name} ==")
        for check in bridge.check().checks:
            print(f"  {check.status:8} {check.name}: {check.detail}")
        bridge.pull()
        for row in bridge.coverage().rows:
            gaps = f"no role {row.no_role}, no primary {row.no_primary}"
            print(f"  {row.state}: {row.opportunities} opportunities, {row.amount}; {gaps}")
        plan = bridge.plan()
        header = plan.header
        print(f"  plan: {header.lines} roles on {header.opportunities_changed} opportunities; {header.decisions}")
        if header.lines:
            applied = bridge.apply(plan)
            print(f"  apply: {applied.counts}")
            print(f"  undo: {bridge.undo(applied.run_id).counts}")
    print(f"  every table as before: {tables(database) == before}")
    hidden_database = scratch / f"{name}-hidden.db"
    load(folder / f"{name}.sql", hidden_database)
    hidden = hide(hidden_database, name)
    with bridge_on(hidden_database, name, scratch / f"{name}-hidden-workspace") as bridge:
        _, found = recovered(bridge, hidden)
    _print(found)


def _print(found: Recovered) -> None:
    precision = found.right / found.planned if found.planned else 0.0
    print(f"  hidden {found.hidden} pairs; planned {found.planned}, right {found.right}: precision {precision:.3f}, "
          f"recall {found.right / found.hidden:.3f}; average precision {found.overall.average_precision:.3f}")  # fmt: skip
    for rule in found.rules:
        print(f"    {rule.rule:26} pairs {rule.pairs:6} precision {rule.precision:.3f} recall {rule.recall:.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for one in SETS:
            run(one, Path(sys.argv[1]), Path(made))
