"""Held against the hidden truth: crmbridge beside what people do today.

Everybody gets the benefit of the doubt: the methods of today are ranked by what they know (recency, number of activities), not
taken as a flat list, and each is judged at its own best threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import narwhals as nw
import pyarrow as pa

from crmbridge.evidence.proof import Quality, quality

if TYPE_CHECKING:
    from crmbridge.demo.world import DemoWorld
    from crmbridge.plan.file import Plan

_RECENT = """
    SELECT opportunity_id, contact_id, coalesce(last_s, 0) AS score FROM (
        SELECT o.opportunity_key, c.contact_id, c.last_s,
            row_number() OVER (PARTITION BY o.opportunity_key ORDER BY c.last_s DESC NULLS LAST, c.contact_id) AS place
        FROM resolved.opportunity_accounts o
        JOIN (SELECT c.account_id, c.contact_id, max(p.occurred_s) AS last_s
              FROM resolved.contacts c LEFT JOIN resolved.participants p USING (person_key)
              GROUP BY c.account_id, c.contact_id) c USING (account_id))
    JOIN resolved.opportunities USING (opportunity_key)
    WHERE place <= {most}
"""

METHODS = {
    "every contact of the account": """
        SELECT opportunity_id, contact_id, 1 AS score
        FROM resolved.opportunity_accounts JOIN resolved.contacts USING (account_id)
        JOIN resolved.opportunities USING (opportunity_key)""",
    "the account's 5 most recently active": _RECENT.format(most=5),
    "the account's 10 most recently active": _RECENT.format(most=10),
    "activity on the opportunity, or converted lead": """
        SELECT opportunity_id, contact_id, count(*) AS score
        FROM (SELECT opportunity_key, person_key FROM resolved.participants WHERE opportunity_key IS NOT NULL
              UNION ALL SELECT opportunity_key, person_key FROM resolved.conversions)
        JOIN resolved.contacts USING (person_key) JOIN resolved.opportunities USING (opportunity_key)
        GROUP BY opportunity_id, contact_id""",
}
"""What people do today, as SQL over the resolved frames: opportunity_id, contact_id, score."""

_OURS = """
    SELECT opportunity_id, contact_id, CASE WHEN decision = 'campaign_only' THEN 0 ELSE confidence END AS score
    FROM read_parquet('{path}') WHERE contact_id IS NOT NULL
"""

_ONE_PERSON = """
    SELECT opportunity_id AS opportunity_key, person AS person_key, max(score)::DOUBLE AS score
    FROM ({ranked}) JOIN demo_person USING (contact_id)
    WHERE (opportunity_id, person) NOT IN (FROM demo_linked)
    GROUP BY opportunity_id, person
"""


@dataclass(frozen=True)
class Added:
    """The roles a plan adds, held against the truth: how many, and the shares that are right and found (0 to 1)."""

    roles: int
    precision: float
    recall: float


class Judge:
    """Holds rankings against the truth of a demo world, person by person.

    Args:
        connection: of the snapshot that the plan came from.
        world: with the truth.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, world: DemoWorld) -> None:
        self._connection = connection
        people = world.person_of
        self._put("demo_person", {"contact_id": list(people), "person": list(people.values())})
        hidden = sorted({(deal, people[contact]) for deal, contact in world.hidden})
        self._put("demo_hidden", {"opportunity_key": [deal for deal, _ in hidden], "person_key": [who for _, who in hidden]})
        connection.execute(
            """CREATE OR REPLACE TEMP TABLE demo_linked AS SELECT DISTINCT opportunity_id, person
            FROM resolved.roles JOIN resolved.opportunities USING (opportunity_key) JOIN demo_person USING (contact_id)"""
        )

    def compare(self, plan: Plan) -> Iterator[tuple[str, Quality]]:
        """Judge crmbridge and every method of today; (name, quality), crmbridge first."""
        path = str(plan.candidates_path).replace("'", "''")
        for name, ranked in {"crmbridge": _OURS.format(path=path), **METHODS}.items():
            yield name, quality(self._frame(_ONE_PERSON.format(ranked=ranked)), self._truth(), score="score")

    def added(self, plan: Plan) -> Added:
        """Judge the roles that a plan adds."""
        self._connection.register("demo_lines", plan.table().select(["opportunity_id", "contact_id"]))
        row = self._connection.execute(
            """SELECT count(*), count(h.person_key), (SELECT count(*) FROM demo_hidden) FROM demo_lines
            JOIN demo_person USING (contact_id)
            LEFT JOIN demo_hidden h ON h.opportunity_key = opportunity_id AND h.person_key = person"""
        ).fetchone()
        self._connection.unregister("demo_lines")
        roles, right, hidden = row or (0, 0, 0)
        return Added(roles, right / roles if roles else 0.0, right / hidden if hidden else 0.0)

    def _truth(self) -> nw.LazyFrame[duckdb.DuckDBPyRelation]:
        return self._frame("FROM demo_hidden")

    def _frame(self, query: str) -> nw.LazyFrame[duckdb.DuckDBPyRelation]:
        return nw.from_native(self._connection.sql(query))

    def _put(self, name: str, columns: dict[str, list[str]]) -> None:
        table = pa.table({column: pa.array(values, pa.string()) for column, values in columns.items()})
        self._connection.register("incoming", table)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM incoming")
        self._connection.unregister("incoming")
