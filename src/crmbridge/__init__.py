"""crmbridge: find the people missing from a CRM's opportunities, add them safely, prove what marketing earned.

    import crmbridge

    with crmbridge.connect("crmbridge.toml") as bridge:
        bridge.pull()
        plan = bridge.plan()
        bridge.apply(plan)

Everything below is loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crmbridge.bridge import Bridge, connect
    from crmbridge.config import Settings
    from crmbridge.errors import (
        BlastRadiusExceeded,
        CrmBridgeError,
        CrmRefused,
        CrmUnavailable,
        DataError,
        LimitReached,
        MappingError,
        PlanRefused,
        PluginError,
        SettingsError,
        WorkspaceBusy,
        WorkspaceError,
    )
    from crmbridge.model import (
        Account,
        AccountContactRelation,
        Activity,
        ActivityParticipant,
        Campaign,
        CampaignMember,
        Contact,
        ContactRole,
        Entity,
        ExchangeRate,
        Lead,
        Opportunity,
        OpportunityAccount,
        OpportunityContactLookup,
        User,
    )

    __version__: str

_ROOMS = {
    "bridge": ("Bridge", "connect"),
    "config": ("Settings",),
    "errors": (
        "BlastRadiusExceeded",
        "CrmBridgeError",
        "CrmRefused",
        "CrmUnavailable",
        "DataError",
        "LimitReached",
        "MappingError",
        "PlanRefused",
        "PluginError",
        "SettingsError",
        "WorkspaceBusy",
        "WorkspaceError",
    ),
    "model": (
        "Account",
        "AccountContactRelation",
        "Activity",
        "ActivityParticipant",
        "Campaign",
        "CampaignMember",
        "Contact",
        "ContactRole",
        "Entity",
        "ExchangeRate",
        "Lead",
        "Opportunity",
        "OpportunityAccount",
        "OpportunityContactLookup",
        "User",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Account",
    "AccountContactRelation",
    "Activity",
    "ActivityParticipant",
    "BlastRadiusExceeded",
    "Bridge",
    "Campaign",
    "CampaignMember",
    "Contact",
    "ContactRole",
    "CrmBridgeError",
    "CrmRefused",
    "CrmUnavailable",
    "DataError",
    "Entity",
    "ExchangeRate",
    "Lead",
    "LimitReached",
    "MappingError",
    "Opportunity",
    "OpportunityAccount",
    "OpportunityContactLookup",
    "PlanRefused",
    "PluginError",
    "Settings",
    "SettingsError",
    "User",
    "WorkspaceBusy",
    "WorkspaceError",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    if name == "__version__":
        from importlib.metadata import version

        return version("crmbridge")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'crmbridge' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"crmbridge.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
