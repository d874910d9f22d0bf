"""What `crmbridge check` says about a portal: token, scopes, limits, labels, and what is missing and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crmbridge.adapters.hubspot.costs import costs, count
from crmbridge.adapters.hubspot.kinds import ACTIVITIES, COMPANIES, CONTACTS, DEALS, LEADS
from crmbridge.adapters.hubspot.labels import USER_DEFINED
from crmbridge.adapters.hubspot.options import Api
from crmbridge.adapters.hubspot.touches import NO_TOUCHES
from crmbridge.contract import Check, Health
from crmbridge.errors import CrmBridgeError

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.associations import Roles
    from crmbridge.adapters.hubspot.connection import Connection
    from crmbridge.adapters.hubspot.portal import Portal
    from crmbridge.adapters.hubspot.touches import Touches

_SCOPES_HINT = "give the token the scopes in docs/adapters/hubspot.md"
_LOW_CALLS = 0.2
_LOCAL = ("http://localhost", "http://127.0.0.1", "http://[::1]")
_ESSENTIAL = (DEALS.name, CONTACTS.name)
_WITHOUT = {
    COMPANIES.name: "no evidence by way of the company",
    LEADS.name: "no evidence from leads",
    **dict.fromkeys((kind.name for kind in ACTIVITIES), "no evidence from them"),
    "owners": "owners and teams have no names, and colleagues are not told from buyers",
    "campaigns": "no campaign evidence, and nothing to attribute",
}


def examine(connection: Connection, portal: Portal, roles: Roles, touches: Touches) -> Health:
    """Look at everything, in the order it is used; changes nothing and raises nothing."""
    return Health(checks=tuple(_checks(connection, portal, roles, touches)))


def _checks(connection: Connection, portal: Portal, roles: Roles, touches: Touches) -> Iterator[Check]:
    try:
        names = [*_ESSENTIAL, *_WITHOUT]
        found = [_kind_check(name, portal) for name in names]
    except CrmBridgeError as error:
        yield Check(name="login", status="failed", detail=error.message, hint=error.hint)
        return
    yield from _login_checks(connection)
    yield from found
    if not all(portal.has(name) for name in _ESSENTIAL):
        return
    try:
        yield from _label_checks(connection, roles)
        yield Check(name="time zone", status="ok", detail=portal.time_zone)
        yield from _left_checks(connection)
        yield from _cost_checks(connection, portal, touches)
    except CrmBridgeError as error:
        yield Check(name="labels and costs", status="failed", detail=error.message, hint=error.hint)


def _login_checks(connection: Connection) -> Iterator[Check]:
    options = connection.options
    yield Check(name="login", status="ok", detail="by token" if options.access_token else "by OAuth")
    if options.base_url.startswith("http://") and not options.base_url.startswith(_LOCAL):
        yield Check(name="address", status="warning", detail="base_url is not encrypted: tokens can be read on the way")
    if options.api is Api.V4:
        detail = "v4; HubSpot supports its associations until 30 March 2027"
        yield Check(name="API", status="ok", detail=detail, hint=f'later: api = "{Api.DATED}"')
    else:
        yield Check(name="API", status="ok", detail=options.api)


def _kind_check(name: str, portal: Portal) -> Check:
    refusal = portal.refusal(name)
    if refusal is None:
        return Check(name=name, status="ok", detail="readable")
    if name in _ESSENTIAL:
        return Check(name=name, status="failed", detail=f"{refusal.message}: nothing can be done", hint=_SCOPES_HINT)
    return Check(name=name, status="warning", detail=f"{refusal.code}: {_WITHOUT[name]}", hint=_SCOPES_HINT)


def _label_checks(connection: Connection, roles: Roles) -> Iterator[Check]:
    options, labels = connection.options, roles.labels
    own = [text for (category, _), text in labels.names.items() if category == USER_DEFINED]
    offered = roles.names()
    if offered:
        yield Check(name="labels", status="ok", detail=f"roles: {', '.join(offered)}")
    else:
        detail = "no label from deal to contact: roles stay without a name"
        yield Check(name="labels", status="warning", detail=detail, hint="define labels in HubSpot, or set create_labels")
    if options.primary_label and options.primary_label not in own:
        detail = f"primary_label {options.primary_label!r} is not defined; labels: {', '.join(own) or 'none'}"
        yield Check(name="primary", status="failed", detail=detail, hint="define it in HubSpot, or leave primary_label out")
    elif options.primary_label is None:
        yield Check(name="primary", status="ok", detail="HubSpot has none; primary_label binds it to a label")
    capped = [f"{labels.names.get(kind, 'contacts')}: {most:,}" for kind, most in labels.caps.items()]
    yield Check(name="caps", status="ok", detail=", ".join(capped) or "none set")
    if options.read_only:
        yield Check(name="writing roles", status="warning", detail="read_only is set: plans can be made, not applied")


def _left_checks(connection: Connection) -> Iterator[Check]:
    name = connection.options.left_property
    if name is None:
        return
    if filled := count(connection, CONTACTS.name, {"propertyName": name, "operator": "HAS_PROPERTY"}):
        yield Check(name="left_property", status="ok", detail=f"{name}: filled for {filled:,}")
    else:
        detail = f"{name}: no contact has it, or HubSpot does not know it: nobody is taken to have left"
        yield Check(name="left_property", status="warning", detail=detail, hint="give the property's internal name")


def _cost_checks(connection: Connection, portal: Portal, touches: Touches) -> Iterator[Check]:
    if connection.daily is None:
        yield Check(name="daily limit", status="warning", detail="HubSpot did not say")
    else:
        left, most = connection.daily
        status = "ok" if left >= _LOW_CALLS * most else "warning"
        yield Check(name="daily limit", status=status, detail=f"{left:,} of {most:,} API calls left")
    of_campaigns = touches.calls(datetime.now(UTC).date()) if portal.has("campaigns") else NO_TOUCHES
    found = costs(connection, portal, of_campaigns)
    if found is None:
        yield Check(name="cost", status="warning", detail="HubSpot did not say how many records there are")
        return
    detail = f"a full pull takes about {found.whole:,} API calls, a nightly one {found.nightly:,} by what changed in the last day"
    yield Check(name="cost", status="ok", detail=detail)
