"""The facade that scripts import: one object per CRM and workspace, one method per thing a person would do.

    import crmbridge

    with crmbridge.connect("crmbridge.toml") as bridge:
        bridge.pull()
        plan = bridge.plan()
        print(bridge.coverage(), bridge.coverage(plan))
        run = bridge.apply(plan)
        bridge.undo(run.run_id)

Nothing but `apply`, `undo` and a `backfill` that is told to writes to the CRM.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
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
from crmbridge.apply import execute, resume
from crmbridge.attribution.attribute import attribute, take_down
from crmbridge.attribution.models import Model, chosen_models
from crmbridge.attribution.restate import Books, Period, restate
from crmbridge.attribution.result import Attribution
from crmbridge.attribution.settings import AttributionSettings
from crmbridge.config import Settings, in_memory, load
from crmbridge.contract import Adapter, Check, Health
from crmbridge.coverage import Coverage, coverage
from crmbridge.errors import PlanRefused, SettingsError
from crmbridge.evidence.replay import Proof, drawn, replay
from crmbridge.evidence.rule import Rule
from crmbridge.evidence.score import Keep, Scored, score
from crmbridge.evidence.settings import RuleSettings, rules_in_force
from crmbridge.frozen import freeze, frozen_periods, thaw
from crmbridge.journal import Journal, Progress, Run, RunSummary
from crmbridge.model import Entity
from crmbridge.plan.choice import chosen_lines, planned_write, refuse_negative
from crmbridge.plan.file import FORMAT, Plan
from crmbridge.plan.imagine import imagined
from crmbridge.plan.make import make_plan
from crmbridge.plan.policy import Policy
from crmbridge.plan.review import Verdicts, read_verdicts, reviewed_plan, write_review
from crmbridge.plan.shelf import find_plan, plan_paths
from crmbridge.plan.show import candidates_table
from crmbridge.plan.standing import keyed, see_removals, stand, vetoes_of_person
from crmbridge.report.exports import Report, TableFormat
from crmbridge.snapshot import Frames, PullEvent, PullSummary, Snapshot
from crmbridge.snapshot import pull as pull_snapshot
from crmbridge.snapshot.keep import Keeper
from crmbridge.workspace import Workspace, private_text

__all__ = ["Attribution", "Backfill", "Bridge", "Proof", "Report", "connect"]


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
    adapter: str | Adapter | None = None,
    options: Mapping[str, Any] | None = None,
    workspace: str | Path | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Bridge:
    """Open a CRM with its workspace.

    Args:
        settings: a settings file, or settings already made; None for `crmbridge.toml`, unless `adapter` is given.
        adapter: for scripts that need no file: its name, or one that is open already (which stays yours to close).
        options: the options of the adapter that is named.
        workspace: the folder for snapshot, plans and journal; made where it is missing.
        policy: `[policy]` as keywords.

    Raises:
        SettingsError: what is given is malformed, or contradicts itself, such as a settings file and an adapter's name.
    """
    opened = None if isinstance(adapter, str) else adapter
    own = {"options": options, "workspace": workspace, "policy": policy}
    if settings is not None or adapter is None:
        _refuse_beside_settings({**own, "adapter": None if opened else adapter})
        return Bridge(settings if isinstance(settings, Settings) else load(settings), adapter=opened)
    if opened is not None and options is not None:
        raise SettingsError("options are given for an adapter that is open already")
    name = adapter if isinstance(adapter, str) else adapter.name
    values: dict[str, Any] = {"crm": {"adapter": name, "options": dict(options or {})}, "policy": dict(policy or {})}
    if workspace is not None:
        values["workspace"] = {"folder": str(workspace)}
    return Bridge(in_memory(values), adapter=opened)


def _refuse_beside_settings(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            hint = "name an adapter in place of settings, or change the settings"
            raise SettingsError(f"{name} is given, and the settings say it already", hint=hint)


class Bridge:
    """One CRM and its workspace; close it, or use it with `with`. Nothing is opened before it is needed.

    Args:
        settings: as made by `crmbridge.config`.
        adapter: an open CRM to use in place of the one that the settings name; it stays the caller's to close.
        clock: gives the aware time of pulls, runs and vetoes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        adapter: Adapter | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self._given_adapter = adapter
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
        if self._given_adapter is not None:
            return self._given_adapter
        cls = registry.load(self.settings.crm.adapter)
        adapter = registry.opened(cls, self.settings.adapter_options(cls.options))
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
        """Look at the settings, credentials, permissions, objects and fields; nothing is changed."""
        return Health(checks=(*self._settings_checks(), *self.adapter.check().checks))

    def _settings_checks(self) -> Iterator[Check]:
        for section, use in self._used_settings().items():
            try:
                use()
            except SettingsError as error:
                yield Check(name=f"settings: {section}", status="failed", detail=str(error), hint=error.hint)
            else:
                yield Check(name=f"settings: {section}", status="ok", detail="can be used")

    def _used_settings(self) -> dict[str, Callable[[], object]]:
        """What is read of the settings when it is used, by section: a night must not fail for it after an hour of reading."""
        return {
            "policy": lambda: self.policy,
            "rules": lambda: self._rules(()),
            "attribution": lambda: chosen_models(self.settings.section("attribution", AttributionSettings), extra=()),
        }

    def pull(self, *, full: bool = False, progress: Callable[[PullEvent], None] | None = None) -> PullSummary:
        """Copy the CRM into the snapshot; the last one stays until the new one is whole.

        Runs that were killed are settled first, by reading back: what they wrote is ours, and not evidence. Roles of ours that a
        person removed meanwhile become vetoes.

        Args:
            full: read everything; else only what changed since the last pull, where the CRM tells and `[pull]` allows. For when
                the CRM shows this login other fields or records than before, or you open the adapter with other options.
            progress: called with the events of the pull.
        """
        return self._pull(progress, full=full)[0]

    def coverage(self, plan: Plan | None = None, *, without: Iterable[str] = ()) -> Coverage:
        """Count opportunities and amounts without people, as it is or as if a plan were applied.

        Args:
            plan: the roles to imagine; None for the state as it is.
            without: line ids of the plan to leave out.
        """
        with self.snapshot() as snapshot:
            frames = stand(snapshot, self.journal).frames
            return coverage(frames, planned=_planned(snapshot, plan, set(without)) if plan else None)

    def attribute(
        self,
        plan: Plan | None = None,
        *,
        models: Sequence[Model] = (),
        stage: Callable[[str], None] = lambda _: None,
        **changes: Any,  # noqa: ANN401
    ) -> Attribution:
        """Say which campaign earned what: credits, gap ledger, ROI, spread; as it is and as if a plan were applied.

        Args:
            plan: the roles to imagine; None for the state as it is only.
            models: of your own, beside those of the settings.
            stage: told what is being computed.
            **changes: of `[attribution]`, such as `mode="hybrid"`, `currency="EUR"`, `lookback_days=180`.

        Raises:
            SettingsError: a setting or a model that does not exist.
        """
        settings = self.settings.section("attribution", AttributionSettings, changes=changes)
        with self.snapshot() as snapshot:
            return attribute(
                snapshot.connection,
                roles=stand(snapshot, self.journal).frames.roles,
                planned=imagined(snapshot, plan) if plan else None,
                models=chosen_models(settings, extra=models),
                settings=settings,
                as_of=snapshot.meta.as_of,
                time_zone=snapshot.meta.time_zone,
                stage=stage,
            )

    def ledger(self, plan: Plan | None = None, **changes: Any) -> pa.Table:  # noqa: ANN401
        """Where every won and open amount is: `crmbridge.attribution.result.LEDGER`; arguments as for `attribute`."""
        return self.attribute(plan, **changes).ledger

    def roi(self, plan: Plan | None = None, **changes: Any) -> pa.Table:  # noqa: ANN401
        """What campaigns cost and earned under every model: `crmbridge.attribution.result.ROI`; arguments as for `attribute`."""
        return self.attribute(plan, **changes).roi

    def report(
        self,
        path: str | Path | None = None,
        *,
        plan: Plan | None = None,
        tables: str | Path | None = None,
        table_format: TableFormat = TableFormat.CSV,
        locale: str = "en",
        stage: Callable[[str], None] = lambda _: None,
        **changes: Any,  # noqa: ANN401
    ) -> Report:
        """Write one self-contained HTML page of what campaigns earned; no network, no script.

        Args:
            path: the file; None for the workspace's folder of reports.
            plan: shown beside the state as it is.
            tables: a folder for every table behind the page.
            table_format: of those.
            locale: how numbers and dates are written, such as `en`, `de-DE`.
            stage: told what is being computed.
            **changes: of `[attribution]`.
        """
        # The drawing library takes a second to import, which no other method should pay for.
        from crmbridge.report.material import Material
        from crmbridge.report.reasons import reasons_of
        from crmbridge.report.write import write_report

        found = self.attribute(plan, stage=stage, **changes)
        with self.snapshot() as snapshot:
            meta, findings = snapshot.meta, snapshot.findings()
        material = Material(
            attribution=found,
            before=self.coverage(),
            after=self.coverage(plan) if plan else None,
            findings=findings,
            reasons=reasons_of(plan, snapshot_fingerprint=meta.fingerprint) if plan else None,
            adapter=meta.adapter,
            snapshot_fingerprint=meta.fingerprint,
            version=__version__,
        )
        stage("page")
        target = Path(path) if path is not None else self.workspace.reports / f"report-{found.as_of:%Y-%m-%d}.html"
        return write_report(
            material, target, locale=locale, tables=Path(tables) if tables is not None else None, table_format=table_format
        )

    def freeze(self, period: str) -> Path:
        """Keep the credits of a period as reported, so that `restatement` can say later what changed.

        Args:
            period: of the closes: a month 2026-03, a quarter 2026-Q1, or a year 2026.

        Raises:
            SettingsError: no such period, or it is frozen already.
        """
        wanted = Period.parse(period)
        with self.workspace.lock("freeze"):
            return freeze(self.workspace.frozen, wanted, self._books(wanted))

    def restatement(self, period: str) -> pa.Table:
        """Say what changed since a period was frozen, and why: model, campaign_id, name, currency, cause, opportunities, amounts.

        Raises:
            SettingsError: no such period, or it was never frozen.
        """
        wanted = Period.parse(period)
        before = thaw(self.workspace.frozen, wanted)
        with self.snapshot() as snapshot:
            return restate(snapshot.connection, before, self._books(wanted))

    def frozen(self) -> list[str]:
        """The periods that are frozen, sorted."""
        return frozen_periods(self.workspace.frozen)

    def _books(self, period: Period) -> Books:
        settings = self.settings.section("attribution", AttributionSettings)
        with self.snapshot() as snapshot:
            standing = stand(snapshot, self.journal)
            return take_down(
                snapshot.connection,
                period,
                roles=standing.frames.roles,
                own=standing.own,
                models=chosen_models(settings),
                settings=settings,
                as_of=snapshot.meta.as_of,
                time_zone=snapshot.meta.time_zone,
            )

    def findings(self) -> pa.Table:
        """What is wrong with the data: code, entity, field, count, sample_ids, severity, meaning."""
        with self.snapshot() as snapshot:
            return snapshot.findings()

    def table(self, entity: Entity | str) -> pa.Table:
        """All records of an entity in the snapshot, as Arrow; `crmbridge.model.records` makes model objects of them.

        Raises:
            SettingsError: there is no such entity.
        """
        if entity not in set(Entity):
            raise SettingsError(f"there is no entity {str(entity)!r}; entities: {', '.join(Entity)}")
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
        policy = self._policy(max_writes)
        in_force = self._rules(rules)
        with self.workspace.lock("plan"), self.snapshot() as snapshot:
            keep = _ToldKeeper(snapshot, stage)
            standing = stand(snapshot, self.journal)
            # Evidence is what the CRM held at the pull; what we wrote since is none.
            scored = self._score(snapshot, snapshot.frames(), standing.own, in_force, keep)
            return make_plan(
                snapshot,
                standing,
                scored,
                policy=policy,
                folder=self.workspace.plans,
                basis=self._basis(snapshot, policy, in_force),
                keep=keep,
            )

    def plans(self) -> list[Plan]:
        """The saved plans that could be applied, newest first; edited, foreign or outdated files are left out."""
        found = []
        for path in plan_paths(self.workspace.plans):
            with suppress(PlanRefused):
                found.append(Plan.read(path, workspace_id=self.journal.workspace_id))
        return found

    def read_plan(self, plan: str | Path | None = None) -> Plan:
        """Open a saved plan by its id, the beginning of its id, or its path; None opens the newest.

        Raises:
            PlanRefused: no such plan, or it was edited, is foreign, or of another format.
        """
        path = find_plan(self.workspace.plans, plan)
        return Plan.read(path, workspace_id=self.journal.workspace_id)

    def candidates(self, plan: Plan) -> pa.Table:
        """Every candidate of a plan, also those left alone.

        Returns:
            opportunity_id, contact_id, role, is_primary, confidence, decision, reasons; sorted.
        """
        with self.snapshot() as snapshot:
            return candidates_table(snapshot.connection, plan)

    def review(self, plan: Plan, path: str | Path, *, link: str | None = None) -> Path:
        """Write a plan out as a CSV for people to judge; `link` may hold `{opportunity_id}`."""
        with self.snapshot() as snapshot, private_text(Path(path)) as file:
            write_review(plan, snapshot.connection, file, link=link)
        return Path(path)

    def import_review(self, plan: Plan, path: str | Path) -> tuple[Plan, Verdicts]:
        """Read a judged CSV back: rejected lines become vetoes; what is left is a new plan."""
        verdicts = read_verdicts(plan, Path(path))
        with self.workspace.lock("plan import"):
            pairs = [(line.opportunity_id, line.contact_id) for line in verdicts.rejected]
            self.journal.vetoes.add(pairs, source="rejected", reason=f"review of {plan.id}")
            return reviewed_plan(plan, verdicts, self.workspace.plans), verdicts

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
            PlanRefused: too old, edited since it was read, or of another workspace.
            BlastRadiusExceeded: it changes more than the policy allows; nothing was written.
        """
        refuse_negative(max_writes)
        with self.workspace.lock("apply"):
            plan = Plan.read(plan.path, workspace_id=self.journal.workspace_id)
            plan.refuse_if_old(self._clock())
            chosen, identity = chosen_lines(plan, max_writes)
            writes = (planned_write(line, plan) for line in chosen)
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
            on_pull: called with the events of the pull.
            stage: told what is being computed.
            on_apply: called after each durable step.
        """
        writing = self.settings.backfill.apply if apply is None else apply
        for use in self._used_settings().values():
            use()
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
        """Allow this person again, under every one of their records; returns how many vetoes there were."""
        pairs = {(opportunity_id, contact_id)}
        if self.workspace.snapshot.is_file():
            with self.snapshot() as snapshot:
                pairs |= vetoes_of_person(snapshot, self.journal, opportunity_id, contact_id)
        return self.journal.vetoes.lift(sorted(pairs))

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
            standing = stand(snapshot, self.journal)
            in_force = self._rules(rules)
            return replay(
                snapshot.frames(),
                standing.own,
                rescore=lambda frames: self._score(snapshot, frames, standing.own, in_force, keep),
                draw=lambda given: drawn(given, hide_percent=hide_percent, seed=seed),
                threshold=self.policy.threshold,
                keep=keep,
            )

    # How

    def _pull(self, progress: Callable[[PullEvent], None] | None, *, full: bool = False) -> tuple[PullSummary, int]:
        with self.workspace.lock("pull"):
            resume(self.adapter, self.journal)
            began = self._clock()
            summary = pull_snapshot(
                self.adapter,
                self.workspace.snapshot,
                time_zone=self.settings.workspace.time_zone,
                as_of=began,
                previous=None if full else self.workspace.snapshot,
                source_id=self._source_id(),
                full_after_days=self.settings.pull.full_after_days,
                progress=progress,
            )
            with self.snapshot() as snapshot:
                return summary, see_removals(snapshot, self.journal, pulled_at=began)

    def _source_id(self) -> str:
        """Tell this CRM, read in this way, from another; an adapter that came open is known by its class only."""
        cls = type(self.adapter)
        options = self.settings.options_digest(cls.options) if self._given_adapter is None else ""
        parts = [__version__, cls.__module__, cls.__qualname__, options]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _policy(self, max_writes: int | None) -> Policy:
        refuse_negative(max_writes)
        return self.policy if max_writes is None else self.policy.model_copy(update={"max_writes": max_writes})

    def _rules(self, extra: Sequence[Rule]) -> tuple[Rule, ...]:
        return rules_in_force(self.settings.section("rules", RuleSettings), self.settings.weights, extra=extra)

    def _score(self, snapshot: Snapshot, frames: Frames, own: nw.LazyFrame[Any], rules: tuple[Rule, ...], keep: Keep) -> Scored:
        settings = self.settings.section("rules", RuleSettings)
        return score(
            frames,
            as_of_s=int(snapshot.meta.as_of.timestamp()),
            own_role_ids=own,
            rules=rules,
            windows=settings.windows,
            prior_bits=settings.prior_bits,
            keep=keep,
        )

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


class _ToldKeeper(Keeper):
    """Tells what is being computed."""

    def __init__(self, snapshot: Snapshot, stage: Callable[[str], None]) -> None:
        super().__init__(snapshot.connection)
        self._stage = stage

    def _put(self, query: str, name: str) -> nw.LazyFrame[Any]:
        self._stage(name.replace("_", " "))
        return super()._put(query, name)


def _planned(snapshot: Snapshot, plan: Plan, without: set[str]) -> nw.LazyFrame[Any]:
    lines = plan.table()
    kept = lines.filter(pc.invert(pc.is_in(lines["line_id"], pa.array(sorted(without), pa.string()))))
    return keyed(snapshot, kept.select(["opportunity_id", "contact_id", "is_primary"]), "planned_lines")
