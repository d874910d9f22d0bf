"""Making a plan: from scored pairs, through the policy, to the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crmbridge.errors import SettingsError
from crmbridge.evidence.role_names import suggest
from crmbridge.evidence.score import Keep, Scored
from crmbridge.plan.decide import chosen_contacts, decide
from crmbridge.plan.file import Plan
from crmbridge.plan.policy import Policy
from crmbridge.plan.standing import Standing
from crmbridge.plan.write import write_plan
from crmbridge.snapshot import Snapshot


def make_plan(
    snapshot: Snapshot,
    standing: Standing,
    scored: Scored,
    *,
    policy: Policy,
    folder: Path,
    basis: dict[str, Any],
    keep: Keep,
) -> Plan:
    """Decide on every candidate and write the plan.

    Args:
        snapshot: what the pairs were scored on.
        standing: how things stand now.
        scored: pairs and reasons.
        policy: what the plan may contain.
        folder: the workspace's folder of plans.
        basis: the header's fields that are known before the lines are.
        keep: computes a lazy frame once.

    Raises:
        SettingsError: the policy names a role that the CRM does not offer.
        WorkspaceError: the folder cannot be written.
    """
    role_names = snapshot.meta.role_names
    _refuse_unknown_roles(policy, role_names)
    chosen = suggest(
        scored.sight,
        keep.made("chosen_contacts", chosen_contacts, standing.frames, scored.pairs),
        role_names=role_names,
        default_role=policy.default_role,
        keep=keep,
    )
    decided = decide(
        standing.frames,
        scored,
        policy,
        chosen=chosen,
        vetoes=standing.vetoes,
        primaries=standing.primaries,
        has_primary=snapshot.meta.has_primary,
        keep=keep,
    )
    opportunities = standing.frames.opportunities.select("opportunity_key", "opportunity_id")
    return write_plan(snapshot.connection, decided, scored.reasons, opportunities, rules=scored.rules, folder=folder, basis=basis)


def _refuse_unknown_roles(policy: Policy, role_names: Sequence[str]) -> None:
    """A role that the CRM does not offer would be rejected line by line, every night."""
    wanted = [("default_role", policy.default_role), *(("roles_allowed", role) for role in policy.roles_allowed)]
    for key, role in wanted:
        if role is not None and role_names and role not in role_names:
            raise SettingsError(
                f"[policy] {key} is {role!r}, which this CRM does not offer; allowed: {', '.join(role_names)}",
                hint="after a change in the CRM: crmbridge pull",
            )
