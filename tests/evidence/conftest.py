"""Tiny worlds: a few rows per resolved table, in days around one fixed day, scored on an in-memory DuckDB."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Self

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest

from crmbridge.evidence import score as score_room
from crmbridge.evidence.rule import Rule, Stance, Weight
from crmbridge.evidence.rules import BUILT_IN
from crmbridge.evidence.score import Scored, score
from crmbridge.evidence.titles import classify
from crmbridge.snapshot.frames import RESOLVED, Frames, frames_from_tables
from crmbridge.snapshot.keep import Keeper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WEIGHTS = {
    "lead_conversion": Weight(bits=6.0, undated=1.0),
    "contact_lookup": Weight(bits=5.5, undated=1.0),
    "opportunity_activity": Weight(bits=4.0, half_life_days=60, undated=0.7, repeat_bits=0.6, repeat_cap_bits=2.0),
    "account_activity": Weight(bits=2.0, half_life_days=45, undated=0.0, repeat_bits=0.5, repeat_cap_bits=1.5),
    "campaign_response": Weight(bits=1.0, half_life_days=120, undated=0.0, repeat_bits=0.25, repeat_cap_bits=0.5),
    "earlier_role": Weight(bits=2.5, half_life_days=400, undated=0.5, repeat_bits=0.5, repeat_cap_bits=1.0),
    "created_with_opportunity": Weight(bits=1.5, undated=0.0, half_life_days=5),
    "parallel_opportunity": Weight(bits=-1.5, half_life_days=60, undated=0.0),
    "other_account": Weight(bits=-1.5, undated=1.0),
    "account_relation": Weight(bits=0.4, undated=1.0),
    "email_domain": Weight(bits=0.5, undated=1.0),
    "title_seniority": Weight(bits=0.6, undated=1.0),
}
"""Fixed here, so that better defaults break no test of how a rule works."""

READS = {
    "lead_conversion": "conversions",
    "contact_lookup": "lookups",
    "opportunity_activity": "participants",
    "account_activity": "participants",
    "campaign_response": "responses",
    "earlier_role": "roles",
    "parallel_opportunity": "participants",
    "account_relation": "relations",
    "email_domain": "account_domains",
}
"""What a rule cannot speak without; test_rules holds this table to the rules."""

DAY_S = 86_400
ZERO_S = 1_700_000_000
PAIR = ("opportunity_key", "person_key")


def at(day: float | None) -> int | None:
    """Epoch seconds of a day counted from the fixed one."""
    return None if day is None else ZERO_S + round(day * DAY_S)


class World:
    """Rows by resolved table; every method adds one and hands the world back."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def add(self, table: str, **row: Any) -> Self:
        self.rows[table].append(row)
        return self

    def opportunity(
        self,
        key: int,
        *accounts: str,
        created: float | None = 0,
        closed: float | None = None,
        is_won: bool = False,
    ) -> Self:
        for account in accounts:
            self.add("opportunity_accounts", opportunity_key=key, account_id=account)
        return self.add(
            "opportunities",
            opportunity_key=key,
            opportunity_id=f"o{key}",
            account_id=accounts[0] if accounts else None,
            created_s=at(created),
            close_s=at(closed),
            is_closed=closed is not None,
            is_won=is_won,
        )

    def contact(
        self,
        contact_id: str,
        person: int,
        account: str | None = None,
        *,
        title: str | None = None,
        domain: str | None = None,
        created: float | None = None,
    ) -> Self:
        return self.add(
            "contacts",
            contact_id=contact_id,
            person_key=person,
            account_id=account,
            title=title,
            email_domain=domain,
            created_s=at(created),
            has_left=False,
            is_employee=False,
        )

    def activity(
        self,
        activity_id: str,
        *people: int,
        day: float | None = 10,
        opportunity: int | None = None,
        account: str | None = None,
        kind: str = "meeting",
        as_kind: str = "attendee",
    ) -> Self:
        for person in people:
            self.add(
                "participants",
                activity_id=activity_id,
                kind=kind,
                participant_kind=as_kind,
                person_key=person,
                opportunity_key=opportunity,
                account_id=account,
                occurred_s=at(day),
            )
        return self

    def response(
        self, member_id: str, person: int, day: float | None = 10, *, campaign: str = "k", is_inferred: bool = False
    ) -> Self:
        return self.add(
            "responses",
            member_id=member_id,
            campaign_id=campaign,
            person_key=person,
            has_responded=True,
            responded_s=at(day),
            is_inferred=is_inferred,
        )

    def role(self, role_id: str, opportunity: int, person: int, contact: str, role: str | None = None) -> Self:
        return self.add(
            "roles",
            role_id=role_id,
            opportunity_key=opportunity,
            person_key=person,
            contact_id=contact,
            role=role,
            is_primary=False,
        )

    def lookup(self, lookup_id: str, opportunity: int, person: int, contact: str, field: str = "Buyer__c") -> Self:
        return self.add(
            "lookups",
            lookup_id=lookup_id,
            opportunity_key=opportunity,
            person_key=person,
            contact_id=contact,
            field=field,
        )

    def conversion(self, lead_id: str, opportunity: int, person: int, day: float | None = 1) -> Self:
        return self.add("conversions", lead_id=lead_id, opportunity_key=opportunity, person_key=person, converted_s=at(day))

    def relation(self, relation_id: str, account: str, person: int, contact: str, *, is_active: bool = True) -> Self:
        return self.add(
            "relations",
            relation_id=relation_id,
            account_id=account,
            person_key=person,
            contact_id=contact,
            is_active=is_active,
        )

    def domain(self, account: str, domain: str) -> Self:
        return self.add("account_domains", account_id=account, email_domain=domain)

    def tables(self) -> dict[str, pa.Table]:
        made = {}
        for name, rows in self.rows.items():
            schema = RESOLVED[name]
            optional = pa.schema([field.with_nullable(True) for field in schema])
            made[name] = pa.Table.from_pylist(rows, schema=optional)
        return made

    def frames(self) -> Frames:
        return frames_from_tables(self.tables(), connection=self.connection)

    def score(self, *, as_of: float = 1_000, **options: Any) -> Scored:
        as_of_s = at(as_of)
        assert as_of_s is not None
        if not {"rules", "weights"} & options.keys():
            options["rules"] = self.speaking()
            options["weights"] = {rule.name: WEIGHTS[rule.name] for rule in options["rules"]}
        elif "rules" not in options:
            options.setdefault("weights", WEIGHTS)
        return score(self.frames(), as_of_s=as_of_s, keep=Keeper(self.connection), **options)

    def speaking(self) -> tuple[Rule, ...]:
        """The rules that have something to read; the others would take most of the time to say nothing."""
        speaking = tuple(rule for rule in BUILT_IN if rule.name not in READS or self.rows[READS[rule.name]])
        return speaking if any(rule.stance is Stance.PROPOSES for rule in speaking) else BUILT_IN

    def judged(self, *, as_of: float = 1_000, **options: Any) -> Judged:
        return Judged(self.score(as_of=as_of, **options))

    def lazy(self, name: str, **columns: Sequence[Any]) -> Any:
        """A small frame on the world's own connection."""
        self.connection.register("incoming", pa.table(columns))
        self.connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS FROM incoming')
        self.connection.unregister("incoming")
        return nw.from_native(self.connection.table(name))


class Judged:
    """Scored pairs and reasons as dictionaries."""

    def __init__(self, scored: Scored) -> None:
        self.scored = scored
        self.pairs = {tuple(row[key] for key in PAIR): row for row in rows(scored.pairs)}
        self.reasons: dict[tuple[int, ...], dict[str, dict[str, Any]]] = defaultdict(dict)
        for row in rows(scored.reasons):
            pair = tuple(row[key] for key in PAIR)
            assert row["rule"] not in self.reasons[pair], "one row per pair and rule"
            self.reasons[pair][row["rule"]] = row

    def bits(self, rule: str, opportunity: int = 1, person: int = 1) -> float | None:
        """The bits of a rule for a pair; None where it says nothing."""
        reason = self.reasons.get((opportunity, person), {}).get(rule)
        return None if reason is None else reason["bits"]

    def items(self, rule: str, opportunity: int = 1, person: int = 1) -> int:
        return self.reasons[opportunity, person][rule]["items"]

    def said(self) -> dict[tuple[int, ...], dict[str, float]]:
        """Bits by pair and rule."""
        return {pair: {name: row["bits"] for name, row in by.items()} for pair, by in self.reasons.items()}


def rows(frame: Any) -> list[dict[str, Any]]:
    return frame.collect("pyarrow").to_native().to_pylist()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        yield opened


@pytest.fixture
def world(connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty world; `frames` replaces what an earlier call put into the same connection."""

    def classified(titles: Any) -> Any:
        """Titles have tests of their own and take most of the time; without any there is nothing to classify."""
        if titles.filter(~nw.col("title").is_null()).select(n=nw.len()).collect("pyarrow").item(0, "n"):
            return classify(titles)
        names = ("seniority", "function", "suggested_role", "title_key", "class_key")
        return titles.filter(~nw.col("title").is_null()).with_columns(nw.col("title").alias(name) for name in names)

    monkeypatch.setattr(score_room, "classify", classified)
    return World(connection)
