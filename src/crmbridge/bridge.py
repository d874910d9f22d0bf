"""The facade that scripts import: one object per CRM and workspace, one method per thing a person would do.

    import crmbridge

    with crmbridge.connect("crmbridge.toml") as bridge:
        bridge.pull()
        plan = bridge.plan()
        print(bridge.coverage(), bridge.coverage(plan))
        run = bridge.apply(plan)
        bridge.undo(run.run_id)
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from crmbridge import __version__
from crmbridge import undo as undoing
from crmbridge.adapters import registry
from crmbridge.apply import execute
from crmbridge.config import Settings, in_memory, load
from crmbridge.contract import Adapter, Health
from crmbridge.coverage import Coverage, coverage
from crmbridge.errors import CrmBridgeError, PlanRefused, PluginError, WorkspaceError
from crmbridge.evidence.proof import Quality, RuleQuality, quality, rule_quality
from crmbridge.evidence.role_names import suggest
from crmbridge.evidence.rule import Rule
from crmbridge.evidence.score import Keep, Scored, score
from crmbridge.evidence.settings import RuleSettings, rules_in_force
from crmbridge.journal import Journal, PlannedWrite, Progress, Run, RunSummary
from crmbridge.journal.removals import observe_removals
from crmbridge.model import Entity
from crmbridge.plan.decide import chosen_contacts, decide
from crmbridge.plan.file import FORMAT, SUFFIX, Plan, PlanLine, role_write
from crmbridge.plan.policy import Decision, Policy
from crmbridge.plan.review import Verdicts, read_verdicts, review_csv, reviewed_plan
from crmbridge.plan.show import candidates_table
from crmbridge.plan.write import write_plan
from crmbridge.snapshot import Frames, PullEvent, PullSummary, Snapshot
from crmbridge.snapshot import pull as pull_snapshot
from crmbridge.snapshot.keep import Keeper
from crmbridge.workspace import Workspace, private_text

_PAIR = ["opportunity_key", "person_key"]


@dataclass(frozen=True)
class Proof:
    """How well the rules bring back roles that people added, once those are hidden.

    Attributes:
        hidden: how many (opportunity, person) pairs were hidden.
        overall: of all candidates that have no visible role.
        at_threshold: precision and recall at the policy's threshold.
        rules: each rule by itself, best recall first.
    """

    hidden: int
    overall: Quality
    at_threshold: tuple[float, float]
    rules: tuple[RuleQuality, ...]


@dataclass(frozen=True)
class Backfill:
    """What a nightly run did.

    Attributes:
        run: None where nothing was to be written, or writing was not allowed.
        removals_seen: roles of ours that a person removed since; they are vetoed now.
        before, after: coverage; `after` counts what was written, or what would be.
    """

    pull: PullSummary
    plan: Plan
    run: RunSummary | None
    removals_seen: int
    before: Coverage
    after: Coverage


def connect(
    settings: str | Path | Settings | None = None,
    *,
    adapter: str | None = None,
    options: Mapping[str, Any] | None = None,
    workspace: str | Path | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Bridge:
    """Open a CRM with its workspace.

    Args:
        settings: a settings file, or settings already made; None for `crmbridge.toml`, unless `adapter` is given.
        adapter: its name, for scripts that need no file.
        options: the adapter's own options.
        workspace: the folder for snapshot, plans and journal; made where it is missing.
        policy: `[policy]` as keywords.

    Raises:
        SettingsError: what is given is malformed, or both a file and an adapter are given.
    """
    if isinstance(settings, Settings):
        return Bridge(settings)
    if adapter is None:
        return Bridge(load(settings))
    values: dict[str, Any] = {"crm": {"adapter": adapter, "options": dict(options or {})}, "policy": dict(policy or {})}
    if workspace is not None:
        values["workspace"] = {"folder": str(workspace)}
    return Bridge(in_memory(values))


class Bridge:
    """One CRM and its workspace; close it, or use it with `with`. Nothing is opened before it is needed."""

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self._clock = clock
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the CRM and of the workspace; may be called twice."""
        self._open.close()

    @cached_property
    def adapter(self) -> Adapter:
        """The CRM, opened on first use."""
        cls = registry.load(self.settings.crm.adapter)
        options = self.settings.adapter_options(cls.options)
        try:
            adapter = cls(options)
        except CrmBridgeError:
            raise
        except Exception as error:
            # It has seen secrets: its message stays inside.
            raise PluginError(f"adapter {cls.name!r} failed to open: {type(error).__name__}") from None
        self._open.callback(adapter.close)
        return adapter

    @cached_property
    def workspace(self) -> Workspace:
        """The local folder; made on first use."""
        return Workspace(self.settings.workspace_folder)

    @cached_property
    def journal(self) -> Journal:
        """What was written, and what must not be."""
        return self._open.enter_context(Journal.open(self.workspace.journal, clock=self._clock))

    @property
    def policy(self) -> Policy:
        """`[policy]`, validated."""
        return self.settings.section("policy", Policy)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Open the local copy of the CRM for reading.

        Raises:
            WorkspaceError: nothing was pulled yet.
        """
        with Snapshot.open(self.workspace.snapshot) as snapshot:
            yield snapshot

    # Reading

    def check(self) -> Health:
        """Look at credentials, permissions, objects and fields; nothing is changed."""
        return self.adapter.check()

    def pull(self, *, progress: Callable[[PullEvent], None] | None = None) -> PullSummary:
        """Copy the CRM into the snapshot; the last one stays until the new one is whole.

        Roles of ours that a person removed meanwhile become vetoes.
        """
        return self._pull(progress)[0]

    def coverage(self, plan: Plan | None = None, *, without: Iterable[str] = ()) -> Coverage:
        """Count opportunities and amounts without people, as it is or as if a plan were applied.

        Args:
            plan: the roles to imagine; None for the state as it is.
            without: line ids of the plan to leave out.
        """
        with self.snapshot() as snapshot:
            keep = Keeper(snapshot.connection)
            frames = self._frames_now(snapshot, keep)
            return coverage(frames, planned=_planned(snapshot, frames, plan, set(without)) if plan else None)

    def findings(self) -> pa.Table:
        """What is wrong with the data: code, entity, field, count, sample_ids, severity, meaning."""
        with self.snapshot() as snapshot:
            return snapshot.findings()

    def table(self, entity: Entity | str) -> pa.Table:
        """All records of an entity in the snapshot, as Arrow; `crmbridge.model.records` makes model objects of them."""
        with self.snapshot() as snapshot:
            return snapshot.table(Entity(entity))

    # Planning

    def plan(
        self, *, rules: Sequence[Rule] = (), max_writes: int | None = None, stage: Callable[[str], None] = lambda _: None
    ) -> Plan:
        """Find the missing people and save what would be written; nothing is written.

        Args:
            rules: your own, beside the built-in ones.
            max_writes: take only the most confident; overrides the policy.
            stage: told what is being computed.
        """
        policy = self.policy if max_writes is None else self.policy.model_copy(update={"max_writes": max_writes})
        in_force = self._rules(rules)
        with self.workspace.lock("plan"), self.snapshot() as snapshot:
            keep = _ToldKeeper(snapshot, stage)
            scored = self._score(snapshot, snapshot.frames(), keep, in_force)
            capabilities = self.adapter.capabilities
            frames = self._frames_now(snapshot, keep)
            chosen = suggest(
                scored.sight,
                keep(chosen_contacts(frames, scored.pairs), "chosen_contacts"),
                role_names=capabilities.role_names,
                default_role=policy.default_role,
                keep=keep,
            )
            decided = decide(
                frames,
                scored,
                policy,
                chosen=chosen,
                vetoes=_keys(snapshot, frames, self.journal.vetoes.active(), "vetoes"),
                has_primary=capabilities.has_primary,
                keep=keep,
            )
            stage("plan file")
            basis = self._basis(snapshot, policy, in_force)
            return write_plan(
                snapshot.connection,
                decided,
                scored.reasons,
                frames.opportunities.select("opportunity_key", "opportunity_id"),
                rules=in_force,
                folder=self.workspace.plans,
                basis=self._basis(snapshot, policy, in_force),
            )

    def plans(self) -> list[Plan]:
        """The saved plans, newest first."""
        paths = sorted(self.workspace.plans.glob(f"*{SUFFIX}"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
        return [Plan.read(path, workspace_id=self.journal.workspace_id) for path in paths]

    def read_plan(self, plan: str | Path | None = None) -> Plan:
        """Open a saved plan by its id, the beginning of its id, or its path; None opens the newest.

        Raises:
            PlanRefused: no such plan, or it was edited, is foreign, or of another format.
        """
        path = self._plan_path(plan)
        return Plan.read(path, workspace_id=self.journal.workspace_id)

    def candidates(self, plan: Plan) -> pa.Table:
        """Every candidate of a plan, also those left alone: opportunity_id, contact_id, role, is_primary, confidence, decision, reasons."""
        with self.snapshot() as snapshot:
            return candidates_table(snapshot.connection, plan)

    def review(self, plan: Plan, path: str | Path, *, link: str | None = None) -> Path:
        """Write a plan out as a CSV for people to judge; `link` may hold `{opportunity_id}`."""
        with self.snapshot() as snapshot, private_text(Path(path)) as file:
            # The mark makes spreadsheets read the file as UTF-8.
            file.write("\ufeff" + review_csv(plan, snapshot.connection, link=link))
        return Path(path)

    def import_review(self, plan: Plan, path: str | Path) -> tuple[Plan, Verdicts]:
        """Read a judged CSV back: rejected lines become vetoes; what is left is a new plan."""
        verdicts = read_verdicts(plan, Path(path))
        with self.workspace.lock("plan import"):
            pairs = [(line.opportunity_id, line.contact_id) for line in verdicts.rejected]
            self.journal.vetoes.add(pairs, source="rejected", reason=f"review of {plan.id}")
            return reviewed_plan(plan, verdicts), verdicts

    # Writing

    def apply(
        self, plan: Plan, *, max_writes: int | None = None, progress: Callable[[Progress], None] = lambda _: None
    ) -> RunSummary:
        """Write exactly this plan; lines that no longer hold are refused one by one.

        Args:
            plan: as read; it may be applied again after a kill, and carries on.
            max_writes: only the most confident lines.
            progress: called after each durable step.

        Raises:
            PlanRefused: too old.
            BlastRadiusExceeded: it changes more than the policy allows; nothing was written.
        """
        plan.refuse_if_old(self._clock())
        chosen, identity = _chosen_lines(plan, max_writes)
        with self.workspace.lock("apply"):
            writes = (_planned_write(line, plan) for line in chosen)
            return execute(
                self.adapter, self.journal, writes, kind="apply", plan_id=plan.id, plan_hash=identity, progress=progress
            )

    def undo(self, run_id: str, *, progress: Callable[[Progress], None] = lambda _: None) -> RunSummary:
        """Take back what a run wrote; what a person changed since stays, and what was undone is not added again."""
        with self.workspace.lock("undo"):
            return undoing.undo(self.adapter, self.journal, run_id, progress=progress)

    def runs(self) -> list[Run]:
        """Every run, newest first."""
        return self.journal.runs()

    def backfill(
        self,
        *,
        apply: bool | None = None,
        max_writes: int | None = None,
        on_pull: Callable[[PullEvent], None] | None = None,
        stage: Callable[[str], None] = lambda _: None,
        on_apply: Callable[[Progress], None] = lambda _: None,
    ) -> Backfill:
        """Pull, plan, apply, read back: the nightly job.

        Args:
            apply: whether to write; None asks the settings (`[backfill] apply`, false by default).
            max_writes: only the most confident lines.
            on_pull, stage, on_apply: told how far it is.
        """
        writing = self.settings.backfill.apply if apply is None else apply
        with self.workspace.lock("backfill"):
            pulled, removals_seen = self._pull(on_pull)
            plan = self.plan(max_writes=max_writes, stage=stage)
            before = self.coverage()
            run = self.apply(plan, progress=on_apply) if writing and plan.header.lines else None
            refused = [line.line_id for line in run.refused] if run else []
            return Backfill(pulled, plan, run, removals_seen, before, self.coverage(plan, without=refused))

    # Vetoes

    def vetoes(self) -> pa.Table:
        """The pairs that are never added: opportunity_id, contact_id, source, reason, added_at."""
        return self.journal.vetoes.active()

    def veto(self, opportunity_id: str, contact_id: str, *, reason: str = "") -> int:
        """Never add this person to this opportunity; returns 0 where that was so already."""
        return self.journal.vetoes.add([(opportunity_id, contact_id)], source="person", reason=reason)

    def lift(self, opportunity_id: str, contact_id: str) -> int:
        """Allow this person again; returns 0 where there was no veto."""
        return self.journal.vetoes.lift([(opportunity_id, contact_id)])

    # Proof

    def prove(self, *, hide_percent: int = 60, seed: int = 7, rules: Sequence[Rule] = ()) -> Proof:
        """Hide roles that people added, replay the rules, and see which come back.

        Args:
            hide_percent: of the roles, 1 to 99.
            seed: which ones; the same seed hides the same roles.
            rules: your own, beside the built-in ones.
        """
        with self.snapshot() as snapshot:
            keep = Keeper(snapshot.connection)
            frames = snapshot.frames()
            own = self._own_roles(snapshot)
            given = frames.roles.join(own, on="role_id", how="anti")
            hidden = keep(_hidden(snapshot, keep(given, "given_roles"), hide_percent, seed), "hidden_roles")
            shown = keep(given.join(hidden.select("role_id"), on="role_id", how="anti"), "shown_roles")
            scored = self._score(snapshot, replace(frames, roles=shown), keep, self._rules(rules))
            return _proof(scored, shown, hidden, self.policy.threshold, keep)

    # How

    def _pull(self, progress: Callable[[PullEvent], None] | None) -> tuple[PullSummary, int]:
        with self.workspace.lock("pull"):
            began = self._clock()
            summary = pull_snapshot(
                self.adapter,
                self.workspace.snapshot,
                time_zone=self.settings.workspace.time_zone,
                as_of=began,
                progress=progress,
            )
            with self.snapshot() as snapshot:
                contacts = snapshot.table(Entity.CONTACT)
                removals = observe_removals(
                    self.journal,
                    present_pairs=snapshot.table(Entity.CONTACT_ROLE),
                    live_opportunity_ids=snapshot.table(Entity.OPPORTUNITY)["id"],
                    live_contact_ids=contacts.filter(pc.is_null(contacts["merged_into_id"]))["id"],
                    pulled_at=began,
                )
            return summary, removals

    def _rules(self, extra: Sequence[Rule]) -> tuple[Rule, ...]:
        return rules_in_force(self.settings.section("rules", RuleSettings), self.settings.weights, extra=extra)

    def _score(self, snapshot: Snapshot, frames: Frames, keep: Keep, rules: tuple[Rule, ...]) -> Scored:
        settings = self.settings.section("rules", RuleSettings)
        return score(
            frames,
            as_of_s=int(snapshot.meta.as_of.timestamp()),
            own_role_ids=self._own_roles(snapshot),
            rules=rules,
            windows=settings.windows,
            prior_bits=settings.prior_bits,
            keep=keep,
        )

    def _own_roles(self, snapshot: Snapshot) -> nw.LazyFrame[Any]:
        return _lazy(snapshot, self.journal.own_role_ids(), "own_role_ids")

    def _frames_now(self, snapshot: Snapshot, keep: Keep) -> Frames:
        """The snapshot's frames with the roles that were written since it was pulled."""
        frames = snapshot.frames()
        pairs = _keys(snapshot, frames, self.journal.own_pairs(written_before=self._clock()), "own_pairs")
        fresh = pairs.join(frames.roles.select(*_PAIR), on=_PAIR, how="anti").with_columns(
            role_id=nw.lit("written since the pull"),
            role=nw.lit(None, dtype=nw.String),
            is_primary=nw.lit(value=False),
            created_s=nw.lit(None, dtype=nw.Int64),
        )
        columns = ("role_id", *_PAIR, "contact_id", "role", "is_primary", "created_s")
        return replace(frames, roles=keep(nw.concat([frames.roles.select(*columns), fresh.select(*columns)]), "roles_now"))

    def _basis(self, snapshot: Snapshot, policy: Policy, rules: tuple[Rule, ...]) -> dict[str, Any]:
        evidence = self.settings.section("rules", RuleSettings).model_dump(mode="json")
        weights = {rule.name: rule.weight.model_dump(mode="json") for rule in rules}
        basis = json.dumps([evidence, weights], sort_keys=True)
        return {
            "format": FORMAT,
            "crmbridge_version": __version__,
            "workspace_id": self.journal.workspace_id,
            "snapshot_fingerprint": snapshot.meta.fingerprint,
            "as_of": snapshot.meta.as_of,
            "adapter": snapshot.meta.adapter,
            "policy": policy,
            "basis_sha256": hashlib.sha256(basis.encode()).hexdigest(),
        }

    def _plan_path(self, plan: str | Path | None) -> Path:
        paths = sorted(self.workspace.plans.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        if plan is None:
            if not paths:
                raise PlanRefused("there is no plan yet", hint="crmbridge plan")
            return paths[-1]
        if Path(plan).is_file():
            return Path(plan)
        found = [path for path in paths if path.name.startswith(str(plan))]
        if len(found) != 1:
            what = "several plans begin with" if found else "there is no plan"
            known = ", ".join(path.name.removesuffix(SUFFIX) for path in (found or paths)[-5:]) or "none yet"
            raise PlanRefused(f"{what} {str(plan)!r}", hint=f"plans: {known}")
        return found[0]


class _ToldKeeper(Keeper):
    """Tells what is being computed."""

    def __init__(self, snapshot: Snapshot, stage: Callable[[str], None]) -> None:
        super().__init__(snapshot.connection)
        self._stage = stage

    def __call__(self, frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
        self._stage(name.replace("_", " "))
        return super().__call__(frame, name)


def _lazy(snapshot: Snapshot, table: pa.Table, name: str) -> nw.LazyFrame[Any]:
    """Make a small table joinable with the snapshot's frames."""
    snapshot.connection.register("incoming", table)
    snapshot.connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS FROM incoming')
    snapshot.connection.unregister("incoming")
    return nw.from_native(snapshot.connection.table(f'temp.main."{name}"'))


def _keys(snapshot: Snapshot, frames: Frames, pairs: pa.Table, name: str) -> nw.LazyFrame[Any]:
    """Find the keys of (opportunity_id, contact_id): opportunity_key, person_key, contact_id; unknown ids drop out."""
    wanted = _lazy(snapshot, pairs.select(["opportunity_id", "contact_id"]), name)
    return wanted.join(frames.opportunities.select("opportunity_id", "opportunity_key"), on="opportunity_id").join(
        frames.contacts.select("contact_id", "person_key"), on="contact_id"
    ).select(*_PAIR, "contact_id")


def _planned(snapshot: Snapshot, frames: Frames, plan: Plan, without: set[str]) -> nw.LazyFrame[Any]:
    lines = plan.table()
    kept = lines.filter(pa.array([line_id not in without for line_id in lines["line_id"].to_pylist()], pa.bool_()))
    wanted = _lazy(snapshot, kept.select(["opportunity_id", "contact_id", "is_primary"]), "planned_lines")
    return wanted.join(frames.opportunities.select("opportunity_id", "opportunity_key"), on="opportunity_id").join(
        frames.contacts.select("contact_id", "person_key"), on="contact_id"
    )


def _chosen_lines(plan: Plan, max_writes: int | None) -> tuple[Iterable[PlanLine], str]:
    """The lines to write and the identity of that choice; refuses what is over the blast-radius cap."""
    if max_writes is None:
        plan.refuse_if_too_large(writes=plan.header.lines, opportunities=plan.header.opportunities_changed)
        return plan.lines(), plan.id
    best = heapq.nlargest(max_writes, plan.lines(), key=lambda line: (line.confidence, line.is_primary, line.line_id))
    best.sort(key=lambda line: (line.opportunity_id, -line.confidence, line.contact_id))
    plan.refuse_if_too_large(writes=len(best), opportunities=len({line.opportunity_id for line in best}))
    return best, f"{plan.id}:{max_writes}"


def _planned_write(line: PlanLine, plan: Plan) -> PlannedWrite:
    detail = {"confidence": line.confidence, "reasons": [reason.model_dump(mode="json") for reason in line.reasons]}
    return PlannedWrite(line_id=line.line_id, write=role_write(line, plan.id), detail=detail)


def _hidden(snapshot: Snapshot, given: nw.LazyFrame[Any], hide_percent: int, seed: int) -> nw.LazyFrame[Any]:
    """A seeded share of the roles; a hash that is the same on every machine and version decides."""
    if not 1 <= hide_percent <= 99:
        raise WorkspaceError(f"hide_percent is {hide_percent}; allowed: 1 to 99")
    drawn = "('0x' || substr(sha256(role_id || $seed), 1, 8))::BIGINT % 100"
    query = f"SELECT * FROM ({given.to_native().sql_query()}) WHERE {drawn.replace('$seed', repr(str(int(seed))))} < {int(hide_percent)}"
    return nw.from_native(snapshot.connection.sql(query))


def _proof(
    scored: Scored, shown: nw.LazyFrame[Any], hidden: nw.LazyFrame[Any], threshold: float, keep: Keep
) -> Proof:
    visible = shown.select(*_PAIR).unique()
    right = keep(hidden.select(*_PAIR).unique().join(visible, on=_PAIR, how="anti"), "right_pairs")
    candidates = keep(scored.pairs.join(visible, on=_PAIR, how="anti"), "open_pairs")
    reasons = scored.reasons.join(visible, on=_PAIR, how="anti")
    taken = candidates.filter((nw.col("confidence") >= threshold) & nw.col("has_other_proposal"))
    marked = taken.join(right.with_columns(hit=nw.lit(1)), on=_PAIR, how="left")
    counts = marked.select(n=nw.len(), hits=nw.col("hit").sum()).collect("pyarrow").to_native().to_pylist()[0]
    overall = quality(candidates, right)
    hits, n = int(counts["hits"] or 0), int(counts["n"])
    at_threshold = (hits / n if n else 0.0, hits / overall.right if overall.right else 0.0)
    return Proof(overall.right, overall, at_threshold, tuple(rule_quality(reasons, right)))
