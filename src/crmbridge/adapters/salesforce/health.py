"""What `crmbridge check` says about an organisation: login, version, objects, fields, permissions, limits, costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crmbridge.adapters.salesforce.bulk_query import PAGE_ROWS
from crmbridge.adapters.salesforce.fitting import has_currencies, misfits
from crmbridge.adapters.salesforce.mapping import OBJECTS, sources
from crmbridge.adapters.salesforce.options import Login, SalesforceOptions
from crmbridge.adapters.salesforce.provenance import unusable
from crmbridge.contract import Check, Health
from crmbridge.errors import CrmBridgeError
from crmbridge.model import ESSENTIAL, Entity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from crmbridge.adapters.salesforce.connection import Connection
    from crmbridge.adapters.salesforce.describe import ObjectFacts, Organisation
    from crmbridge.adapters.salesforce.mapping import Sources
    from crmbridge.adapters.salesforce.reader import Reader

ROLES = "OpportunityContactRole"
PAGE_ROWS_REST = 2_000
DESCRIBE_CALLS = 2
"""The describes, and the sizes of the objects."""
JOB_CALLS = 4
"""Creating a query job, and asking how it goes about three times."""

_PERMISSIONS_HINT = "see the permissions in docs/adapters/salesforce.md"
_LIMITS_HINT = "grant View Setup"
_LOW_CALLS = 0.2
_LOCAL = ("http://localhost", "http://127.0.0.1", "http://[::1]")


def examine(connection: Connection, learn: Callable[[], Organisation], reader: Reader) -> Health:
    """Look at everything, in the order it is used; changes nothing and raises nothing."""
    return Health(checks=tuple(_checks(connection, learn, reader)))


def _checks(connection: Connection, learn: Callable[[], Organisation], reader: Reader) -> Iterator[Check]:
    step = "login"
    try:
        _ = connection.client
        yield from _login_checks(connection)
        step = "objects"
        organisation = learn()
    except CrmBridgeError as error:
        yield Check(name=step, status="failed", detail=error.message, hint=error.hint)
        return
    known = sources(organisation, connection.options)
    for entity in Entity:
        if entity is not Entity.OPPORTUNITY_ACCOUNT:
            yield _entity_check(entity, known)
    yield from _option_checks(connection, organisation)
    yield from _provenance_checks(connection, organisation)
    yield _write_check(connection, organisation)
    yield _role_check(organisation)
    yield _currency_check(connection, organisation)
    yield from _cost_checks(connection, known, reader)


def _login_checks(connection: Connection) -> Iterator[Check]:
    options = connection.options
    if options.login is Login.PASSWORD:
        yield Check(
            name="login",
            status="warning",
            detail="by password: Salesforce retires this login in summer 2027, and it ends with API version 64.0",
            hint="set up JWT: docs/adapters/salesforce.md",
        )
    else:
        yield Check(name="login", status="ok", detail=f"by {options.login}")
    if (options.base_url or "").startswith("http://") and not (options.base_url or "").startswith(_LOCAL):
        yield Check(name="address", status="warning", detail="base_url is not encrypted: tokens can be read on the way")
    yield Check(name="API version", status="ok", detail=options.api_version)


def _entity_check(entity: Entity, known: Sources) -> Check:
    lacking = known.missing.get(entity, ())
    if entity in known.by_entity:
        names = tuple(dict.fromkeys(source.object_name for source in known.by_entity[entity]))
        if len(names) == 1:
            lacking = tuple(one.removeprefix(f"{names[0]}.") for one in lacking)
        without = f"; without {', '.join(lacking)}" if lacking else ""
        return Check(name=str(entity), status="ok", detail=f"{', '.join(names)}{without}")
    if entity in _BY_CHOICE:
        return Check(name=str(entity), status="ok", detail=_BY_CHOICE[entity])
    status = "failed" if entity in ESSENTIAL else "warning"
    detail = f"no {', '.join(_object_or_field(one) for one in lacking)}"
    return Check(name=str(entity), status=status, detail=detail, hint=_PERMISSIONS_HINT)


_BY_CHOICE = {
    Entity.OPPORTUNITY_CONTACT_LOOKUP: "none: contact_lookup_fields names none that is there",
    Entity.EXCHANGE_RATE: "none: no object CurrencyType, as where there is one currency only",
}


def _object_or_field(name: str) -> str:
    return f"field {name}" if "." in name else f"object {name}"


def _option_checks(connection: Connection, organisation: Organisation) -> Iterator[Check]:
    options = connection.options
    for misfit in misfits(organisation, options):
        yield Check(name=f"option {misfit.option}", status="failed", detail=misfit.detail, hint=misfit.hint)
    wanted = [("Opportunity", name) for name in options.contact_lookup_fields]
    wanted += [("Contact", options.left_field)] if options.left_field else []
    wanted += [("User", options.team_field)] if options.team_field != _USUAL_TEAM else []
    wanted += [(ROLES, options.write_key_field)] if options.write_key_field else []
    for object_name, name in wanted:
        facts = organisation.objects.get(object_name)
        if facts is None or not facts.has(name):
            detail = f"{object_name} has no field {name}, or this user may not see it"
            yield Check(name=f"field {name}", status="failed", detail=detail, hint=_PERMISSIONS_HINT)
        elif name == options.write_key_field and (problem := _key_problem(facts, name)) is not None:
            yield Check(name=f"field {name}", status="failed", detail=f"{ROLES}.{name} {problem}", hint=_KEY_HINT)


_USUAL_TEAM = SalesforceOptions.model_fields["team_field"].default
"""Nobody asked for it: without it, users have no team."""
_KEY_LENGTH = 255
_KEY_HINT = f"write_key_field: an External Id, unique, text of {_KEY_LENGTH} characters, which the user may edit"


def _key_problem(facts: ObjectFacts, name: str) -> str | None:
    """Why a field cannot keep Salesforce from taking the same role twice."""
    if name not in facts.changeable:
        return "may not be set by this user"
    if facts.fields[name] != "string" or facts.lengths.get(name, 0) < _KEY_LENGTH:
        return "is not of type text, or too short"
    return None if name in facts.unique else "is not unique: Salesforce would take the same role twice"


def _provenance_checks(connection: Connection, organisation: Organisation) -> Iterator[Check]:
    facts = organisation.objects.get(ROLES)
    for name, problem in (unusable(connection.options.provenance_fields, facts) if facts else {}).items():
        detail = f"{problem}: it is left out"
        yield Check(name=f"field {name}", status="warning", detail=detail, hint=_PERMISSIONS_HINT)


def _write_check(connection: Connection, organisation: Organisation) -> Check:
    name = "writing roles"
    facts = organisation.objects.get(ROLES)
    if connection.options.read_only:
        return Check(name=name, status="warning", detail="read_only is set: plans can be made, not applied")
    if facts is None:
        return Check(name=name, status="failed", detail=f"no object {ROLES}", hint=_PERMISSIONS_HINT)
    refused = [flag for flag in ("createable", "updateable", "deletable") if not facts.flags.get(flag, False)]
    refused += [field for field in ("OpportunityId", "ContactId", "Role", "IsPrimary") if field not in facts.changeable]
    if refused:
        detail = f"{ROLES} is not {', '.join(refused)} for this user: plans can be made, not applied"
        return Check(name=name, status="warning", detail=detail, hint="give it Edit on Opportunity and Read on Contact")
    return Check(name=name, status="ok", detail=f"{ROLES} may be created, changed and deleted")


def _role_check(organisation: Organisation) -> Check:
    facts = organisation.objects.get(ROLES)
    names = facts.picklists.get("Role", ()) if facts else ()
    if not names:
        return Check(name="role names", status="warning", detail="the picklist Role is empty")
    return Check(name="role names", status="ok", detail=", ".join(names))


def _currency_check(connection: Connection, organisation: Organisation) -> Check:
    name = "currencies"
    if has_currencies(organisation):
        dated = " with dated rates" if organisation.has("DatedConversionRate") else ""
        return Check(name=name, status="ok", detail=f"several{dated}")
    if connection.options.currency is None:
        return Check(name=name, status="warning", detail="one, whose name is not known", hint='set currency = "EUR" or the like')
    return Check(name=name, status="ok", detail=f"one: {connection.options.currency}")


def _cost_checks(connection: Connection, known: Sources, reader: Reader) -> Iterator[Check]:
    usage = _usage(connection)
    if usage is None:
        yield Check(name="daily limit", status="warning", detail="this user may not see it", hint=_LIMITS_HINT)
    else:
        used, most = usage
        status = "ok" if most - used >= _LOW_CALLS * most else "warning"
        yield Check(name="daily limit", status=status, detail=f"{max(most - used, 0):,} of {most:,} API calls left")
    sizes = reader.sizes(OBJECTS)
    bulk_rows = connection.options.bulk_read_rows
    nightly = f"a nightly one {nightly_calls(known, sizes, bulk_rows):,}, and one for every {PAGE_ROWS_REST:,} changes"
    if not sizes:
        detail = f"a full pull: unknown, for this user may not see how many records there are; {nightly}"
        yield Check(name="cost", status="warning", detail=detail, hint=_LIMITS_HINT)
        return
    calls = pull_calls(known, sizes, bulk_rows)
    left = usage[1] - usage[0] if usage else calls
    is_enough = calls <= min(left, connection.options.max_api_calls or calls)
    detail = f"a full pull takes about {calls:,} API calls; {nightly}"
    yield Check(name="cost", status="ok" if is_enough else "failed", detail=detail)


def _usage(connection: Connection) -> tuple[int, int] | None:
    """Used and allowed calls: every answer tells; where a proxy strips that, Salesforce is asked."""
    if connection.transport.usage is not None:
        return connection.transport.usage
    try:
        limits = connection.get("limits")["DailyApiRequests"]
        return int(limits["Max"]) - int(limits["Remaining"]), int(limits["Max"])
    except (CrmBridgeError, KeyError, TypeError, ValueError):
        return None


def pull_calls(known: Sources, sizes: Mapping[str, int], bulk_rows: int) -> int:
    """About how many calls a full pull takes, by the sizes of the objects."""
    queries = [source.object_name for group in known.by_entity.values() for source in group]
    return DESCRIBE_CALLS + sum(object_calls(sizes.get(name, 0), bulk_rows) for name in queries)


def nightly_calls(known: Sources, sizes: Mapping[str, int], bulk_rows: int) -> int:
    """How many calls it takes to learn that nothing has changed.

    That is a query for each object, and what was deleted of it; and all of what is read in full every night.
    """
    queries = [(entity, source) for entity, group in known.by_entity.items() for source in group]
    told = [(entity, source) for entity, source in queries if known.is_told(entity)]
    logs = {(entity, source.object_name) for entity, source in told if source.is_logged}
    whole = [(entity, source.object_name) for entity, source in queries if not known.is_told(entity)]
    in_full = sum(object_calls(sizes.get(name, 0), bulk_rows) for _, name in whole)
    asks_sizes = any(entity is not Entity.EXCHANGE_RATE for entity, _ in whole)
    return 1 + asks_sizes + len(told) + len(logs) + sum(1 for _, source in told if source.blank_when) + in_full


def object_calls(rows: int, bulk_rows: int) -> int:
    """Calls to read an object of so many records once."""
    if rows < bulk_rows:
        return max(-(-rows // PAGE_ROWS_REST), 1)
    return JOB_CALLS + -(-rows // PAGE_ROWS)
