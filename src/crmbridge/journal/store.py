"""The journal: what was to be written, what was sent, what came back, what is ours, and what is vetoed."""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
from filelock import FileLock, Timeout

from crmbridge.contract import Checkpoint, Outcome, Receipt, RoleWrite
from crmbridge.errors import WorkspaceBusy, WorkspaceError
from crmbridge.journal import rows
from crmbridge.journal.database import Database, translated
from crmbridge.journal.records import FINAL_OUTCOMES, VETOED, PlannedWrite, Refused, Run, RunKind, RunState
from crmbridge.journal.vetoes import Vetoes, insert_vetoes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

_FINAL = ", ".join(f"'{outcome}'" for outcome in FINAL_OUTCOMES)
_PAGE_ROWS = 10_000
_PAIR = ("opportunity_id", "contact_id")
_LINES = """(SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS opportunity_id,
    json_extract(value, '$[2]') AS contact_id FROM json_each(?)) AS line"""


class Journal:
    """One workspace's journal; open it with `Journal.open` and close it with `with`."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._lock = FileLock(database.path.with_name(database.path.name + ".lock"), timeout=0, mode=0o600)
        self.vetoes = Vetoes(database, clock)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        busy_timeout_s: float = 5.0,
    ) -> Self:
        """Open a journal, making it where it is missing; its folder must exist.

        Args:
            path: the file; read and written by its owner only.
            clock: gives the aware time of runs, receipts and vetoes.
            busy_timeout_s: how long to wait for another process that is writing.

        Raises:
            WorkspaceBusy: another process kept it locked for longer than that.
            WorkspaceError: it is not a journal, damaged, of a newer version, or cannot be written.
        """
        return cls(Database.open(Path(path), busy_timeout_s=busy_timeout_s), clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._database.close()

    @property
    def workspace_id(self) -> str:
        """Made with the journal and never changed: plans name it, so that a foreign plan is refused."""
        ((workspace_id,),) = self._database.rows("SELECT value FROM meta WHERE name = 'workspace_id'")
        return str(workspace_id)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep every other run out; the lock goes with the process, also when it is killed."""
        with translated(self._database.path):
            self._acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            raise WorkspaceBusy(
                f"Another run writes with the journal {self._database.path}; nothing was done.",
                hint="wait until it has ended, then run again",
            ) from None

    # Runs

    def runs(self) -> list[Run]:
        """Every run, the newest first."""
        counts = self._counts_by_run()
        unsettled = dict(
            self._database.rows(
                """SELECT i.run_id, count(*) FROM intent i LEFT JOIN receipt r USING (run_id, key)
                WHERE r.key IS NULL OR r.outcome = 'unknown' GROUP BY i.run_id"""
            )
        )
        return [
            replace(run, counts=counts.get(run.run_id, {}), unsettled=unsettled.get(run.run_id, 0)) for run in self._bare_runs()
        ]

    def _bare_runs(self) -> list[Run]:
        found = self._database.rows(f"SELECT {rows.RUN_COLUMNS} FROM run ORDER BY started_at DESC, rowid DESC")
        return [rows.run(row) for row in found]

    def run(self, run_id: str) -> Run:
        """The run whose id is, or begins with, `run_id`.

        Raises:
            WorkspaceError: no run, or more than one, begins so.
        """
        runs = self.runs()
        exact = [run for run in runs if run.run_id == run_id]
        found = exact or [run for run in runs if run_id and run.run_id.startswith(run_id)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(run.run_id for run in (found or runs)[:5]) or "none yet"
        problem = "More than one run begins with" if found else "No run begins with"
        raise WorkspaceError(f"{problem} {run_id!r}.", hint=f"name one run; the newest that fit: {known}")

    def begin_run(self, kind: RunKind, *, plan_id: str, plan_hash: str, undoes_run_id: str | None) -> tuple[Run, bool]:
        """Open a run, or carry on the unfinished one of the same plan; tells whether it was carried on.

        A run that is undone before it finished is abandoned in the same step: its plan will never continue it.
        """
        with self._database.transaction() as connection:
            found = connection.execute(
                """SELECT run_id FROM run WHERE kind = ? AND plan_hash = ? AND state IN ('open', 'interrupted')
                ORDER BY started_at DESC""",
                (kind, plan_hash),
            ).fetchone()
            run_id = found[0] if found else self._insert_run(connection, kind, plan_id, plan_hash, undoes_run_id)
            connection.execute("UPDATE run SET state = 'open' WHERE run_id = ?", (run_id,))
            connection.execute(
                """UPDATE run SET state = 'abandoned', finished_at = ?
                WHERE run_id = ? AND state IN ('open', 'interrupted')""",
                (self._now(), undoes_run_id),
            )
        return next(run for run in self._bare_runs() if run.run_id == run_id), found is not None

    def _insert_run(
        self, connection: sqlite3.Connection, kind: RunKind, plan_id: str, plan_hash: str, undoes_run_id: str | None
    ) -> str:
        taken = {run_id for (run_id,) in connection.execute("SELECT run_id FROM run")}
        run_id = next(name for name in iter(self._random_run_id, "") if name not in taken)
        connection.execute(
            "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, NULL, 'open')",
            (run_id, kind, plan_id, plan_hash, undoes_run_id, self._now()),
        )
        return run_id

    def _random_run_id(self) -> str:
        return f"{self._clock():%Y-%m-%d}-{secrets.token_hex(2)}"

    def end_run(self, run_id: str) -> RunState:
        """Mark a run `finished`, or `interrupted` where a line has no final outcome yet."""
        open_lines = sum(count for outcome, count in self.counts(run_id).items() if outcome not in FINAL_OUTCOMES)
        state: RunState = "interrupted" if open_lines or self.unsettled(run_id) else "finished"
        finished_at = self._now() if state == "finished" else None
        self._set_state(run_id, state, finished_at)
        return state

    def interrupt_run(self, run_id: str) -> None:
        """Mark a run as ended early; the same plan carries it on."""
        self._set_state(run_id, "interrupted", None)

    def _set_state(self, run_id: str, state: RunState, finished_at: str | None) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE run SET state = ?, finished_at = ? WHERE run_id = ?", (state, finished_at, run_id))

    def counts(self, run_id: str) -> dict[str, int]:
        """Lines of a run per outcome; lines without a receipt are left out."""
        return dict(
            self._database.rows(
                "SELECT outcome, count(*) FROM receipt WHERE run_id = ? GROUP BY outcome ORDER BY outcome", (run_id,)
            )
        )

    def _counts_by_run(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for run_id, outcome, count in self._database.rows(
            "SELECT run_id, outcome, count(*) FROM receipt GROUP BY run_id, outcome ORDER BY outcome"
        ):
            counts.setdefault(run_id, {})[outcome] = count
        return counts

    # Lines of a run

    def final_keys(self, run_id: str, keys: Sequence[str]) -> set[str]:
        """Which of these writes already have a final outcome in this run."""
        found = self._database.rows(
            f"""SELECT key FROM receipt WHERE run_id = ? AND outcome IN ({_FINAL})
            AND key IN (SELECT value FROM json_each(?))""",
            (run_id, json.dumps(keys)),
        )
        return {key for (key,) in found}

    def blocked(self, run: Run, lines: Sequence[PlannedWrite], absent_keys: set[str]) -> dict[str, str]:
        """Which puts must not be sent, by key, and the source of the veto.

        Args:
            run: a run that undoes an undo is not held up by the vetoes of that very undo.
            lines: any writes; removes are never blocked.
            absent_keys: writes whose pair is absent from the CRM now. One that we wrote and did not undo was removed by
                a person, even where no pull has seen it yet.
        """
        puts = [
            (line.write.key, line.write.opportunity_id, line.write.contact_id) for line in lines if line.write.action == "put"
        ]
        gone = [put for put in puts if put[0] in absent_keys]
        removed = self._database.rows(
            f"""SELECT line.key, 'removed' FROM {_LINES} JOIN own_role USING (opportunity_id, contact_id)
            WHERE ended_at IS NULL""",
            (json.dumps(gone),),
        )
        vetoed = self._database.rows(
            f"""SELECT line.key, source FROM {_LINES} JOIN veto USING (opportunity_id, contact_id)
            WHERE lifted_at IS NULL AND NOT (? = 'undo' AND run_id IS ?)""",
            (json.dumps(puts), run.kind, run.undoes_run_id),
        )
        return dict(removed + vetoed)

    def record_intents(
        self, run: Run, lines: Sequence[PlannedWrite], decided: Sequence[Receipt], blocked: Mapping[str, str]
    ) -> None:
        """Write down, in one step, what is about to be sent and what was decided without sending.

        A line that is sent again loses its `absent` receipt here: from now on it counts as possibly sent.
        """
        now = self._now()
        with self._database.transaction() as connection:
            ((seq,),) = connection.execute("SELECT ifnull(max(seq), 0) FROM intent WHERE run_id = ?", (run.run_id,))
            connection.executemany(
                "INSERT INTO intent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, key) DO NOTHING",
                [rows.intent_row(run.run_id, seq + offset, line) for offset, line in enumerate(lines, start=1)],
            )
            connection.executemany(
                "DELETE FROM receipt WHERE run_id = ? AND key = ?", [(run.run_id, line.write.key) for line in lines]
            )
            self._insert_receipts(connection, run, decided, now)
            _upsert_receipts(
                connection,
                [(run.run_id, key, VETOED, rows.EMPTY_STATE, rows.EMPTY_STATE, source, now) for key, source in blocked.items()],
            )

    def record_checkpoint(self, run_id: str, checkpoint: Checkpoint) -> None:
        """Write down what will outlive the call."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO checkpoint (run_id, kind, reference, keys, made_at) VALUES (?, ?, ?, ?, ?)",
                (run_id, checkpoint.kind, checkpoint.reference, json.dumps(checkpoint.keys), self._now()),
            )

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """A run's checkpoints, oldest first."""
        found = self._database.rows(
            "SELECT kind, reference, keys FROM checkpoint WHERE run_id = ? ORDER BY checkpoint_id", (run_id,)
        )
        return [Checkpoint(kind=kind, reference=ref, keys=tuple(json.loads(keys))) for kind, ref, keys in found]

    def record_receipts(self, run: Run, receipts: Sequence[Receipt]) -> None:
        """Write down outcomes and, in the same step, what follows: what is ours, what an undo vetoes or lifts."""
        with self._database.transaction() as connection:
            self._insert_receipts(connection, run, receipts, self._now())

    def _insert_receipts(self, connection: sqlite3.Connection, run: Run, receipts: Sequence[Receipt], now: str) -> None:
        _upsert_receipts(connection, [rows.receipt_row(run.run_id, receipt, now) for receipt in receipts])
        connection.executemany(
            """INSERT INTO own_role (run_id, key, role_id, opportunity_id, contact_id, since)
            SELECT run_id, key, ?, opportunity_id, contact_id, ? FROM intent
            WHERE run_id = ? AND key = ? AND action = 'put'
            ON CONFLICT DO NOTHING""",
            [(role_id, now, run.run_id, receipt.key) for receipt in receipts for role_id in rows.new_role_ids(receipt)],
        )
        if run.kind == "undo":
            self._follow_undo(connection, run, receipts, now)

    def _follow_undo(self, connection: sqlite3.Connection, run: Run, receipts: Sequence[Receipt], now: str) -> None:
        done = [receipt.key for receipt in receipts if receipt.outcome in (Outcome.APPLIED, Outcome.ALREADY)]
        gone, back = (
            connection.execute(
                # CROSS JOIN: by key, not a walk over the whole run
                """SELECT opportunity_id, contact_id FROM json_each(?) AS done
                CROSS JOIN intent i ON i.run_id = ? AND i.key = done.value WHERE action = ?""",
                (json.dumps(done), run.run_id, action),
            ).fetchall()
            for action in ("remove", "put")
        )
        connection.executemany(
            """UPDATE own_role SET ended_at = ?, ended_by = 'undone'
            WHERE opportunity_id = ? AND contact_id = ? AND ended_at IS NULL""",
            [(now, *pair) for pair in gone],
        )
        insert_vetoes(connection, gone, source="undone", reason="", run_id=run.run_id, added_at=self._clock())
        connection.executemany(
            """UPDATE veto SET lifted_at = ?
            WHERE run_id = ? AND opportunity_id = ? AND contact_id = ? AND lifted_at IS NULL""",
            [(now, run.undoes_run_id, *pair) for pair in back],
        )

    def unfinished_runs(self) -> list[Run]:
        """Runs that were killed or ended early, oldest first, without counts."""
        return [run for run in reversed(self._bare_runs()) if run.state in ("open", "interrupted")]

    def unsettled(self, run_id: str) -> list[RoleWrite]:
        """Writes that may have been sent and whose outcome is not known, in the order of the run."""
        found = self._database.rows(
            f"""SELECT {rows.INTENT_COLUMNS} FROM intent i LEFT JOIN receipt r USING (run_id, key)
            WHERE i.run_id = ? AND (r.key IS NULL OR r.outcome = 'unknown') ORDER BY seq""",
            (run_id,),
        )
        return [rows.planned_write(row).write for row in found]

    def outcomes(self, run_id: str, keys: Sequence[str]) -> dict[str, str]:
        """The latest outcome of each of these writes; those without a receipt are left out."""
        return dict(
            self._database.rows(
                "SELECT key, outcome FROM receipt WHERE run_id = ? AND key IN (SELECT value FROM json_each(?))",
                (run_id, json.dumps(keys)),
            )
        )

    def applied(self, run_id: str) -> Iterator[tuple[PlannedWrite, Receipt]]:
        """The lines of a run that changed the CRM, with their receipts, in the order of the run; read in pages."""
        after_seq = 0
        while True:
            found = self._database.rows(
                f"""SELECT {rows.INTENT_COLUMNS}, {rows.RECEIPT_COLUMNS}, seq
                FROM intent i JOIN receipt r USING (run_id, key)
                WHERE i.run_id = ? AND seq > ? AND outcome = 'applied' ORDER BY seq LIMIT {_PAGE_ROWS}""",
                (run_id, after_seq),
            )
            for row in found:
                yield rows.planned_write(row[:9]), rows.receipt(row[1], row[9:13])
            if len(found) < _PAGE_ROWS:
                return
            after_seq = found[-1][-1]

    def refused(self, run_id: str) -> tuple[Refused, ...]:
        """The lines of a run that were not written and were not there already, in the order of the run."""
        found = self._database.rows(
            """SELECT line_id, opportunity_id, contact_id, outcome, code
            FROM intent i JOIN receipt r USING (run_id, key)
            WHERE i.run_id = ? AND outcome NOT IN ('applied', 'already') ORDER BY seq""",
            (run_id,),
        )
        return tuple(Refused(*row) for row in found)

    # What is ours

    def own_role_ids(self) -> pa.Table:
        """Ids of role rows that we wrote and did not take back, even if edited since: column role_id."""
        found = self._database.rows("SELECT DISTINCT role_id FROM own_role WHERE ended_at IS NULL ORDER BY role_id")
        return pa.table({"role_id": pa.array([role_id for (role_id,) in found], pa.string())})

    def own_roles(self) -> pa.Table:
        """Every role row that we ever wrote, also those that are gone, ordered by id of row and run.

        Returns:
            role_id, opportunity_id, contact_id, role and is_primary as they were written, since, ended_at and ended_by
            (`undone` or `removed`; both null while the role stands).
        """
        found = self._database.rows(
            """SELECT role_id, o.opportunity_id, o.contact_id, role, is_primary, since, ended_at, ended_by
            FROM own_role o JOIN intent i USING (run_id, key) ORDER BY role_id, run_id"""
        )
        return rows.own_roles(found)

    def own_pairs(self, *, written_before: datetime) -> pa.Table:
        """Pairs whose role of ours was written before a time and has nothing of ours on its way, as two columns."""
        found = self._database.rows(
            """SELECT DISTINCT o.opportunity_id, o.contact_id FROM own_role o
            WHERE ended_at IS NULL AND (o.opportunity_id, o.contact_id) NOT IN (
                SELECT i.opportunity_id, i.contact_id FROM intent i JOIN run USING (run_id)
                LEFT JOIN receipt r ON r.run_id = i.run_id AND r.key = i.key
                WHERE state IN ('open', 'interrupted') AND (r.key IS NULL OR r.outcome = 'unknown'))
            GROUP BY o.opportunity_id, o.contact_id HAVING max(since) < ?""",
            (written_before.astimezone(UTC).isoformat(),),
        )
        columns = list(zip(*found, strict=True)) or [(), ()]
        return pa.table({name: pa.array(values, pa.string()) for name, values in zip(_PAIR, columns, strict=True)})

    def record_removals(self, pairs: Sequence[tuple[str, str]]) -> int:
        """A person removed our role from these pairs: veto them; they are no longer ours. Returns the new vetoes."""
        now = self._clock()
        with self._database.transaction() as connection:
            connection.executemany(
                """UPDATE own_role SET ended_at = ?, ended_by = 'removed'
                WHERE opportunity_id = ? AND contact_id = ? AND ended_at IS NULL""",
                [(now.isoformat(), *pair) for pair in pairs],
            )
            return insert_vetoes(connection, pairs, source="removed", reason="", run_id=None, added_at=now)

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat()


def _upsert_receipts(connection: sqlite3.Connection, receipts: Sequence[tuple[object, ...]]) -> None:
    connection.executemany(
        """INSERT INTO receipt VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, key) DO UPDATE SET
        outcome = excluded.outcome, before = excluded.before, after = excluded.after, code = excluded.code,
        received_at = excluded.received_at""",
        receipts,
    )
