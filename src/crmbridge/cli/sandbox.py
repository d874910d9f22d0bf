"""`sandbox`: a local CRM to rehearse a nightly job on, before the real one is touched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crmbridge.cli.console import grid
from crmbridge.cli.session import session_of
from crmbridge.errors import SettingsError, WorkspaceError

if TYPE_CHECKING:
    from crmbridge.demo.world import DemoWorld
    from crmbridge.testing.sandbox import HubSpotSandbox, SalesforceSandbox

sandbox_app = typer.Typer(no_args_is_help=True)

_SETTINGS = """\
[crm]
adapter = "salesforce"

[crm.options]
base_url = "{url}"
domain = "rehearsal.my"
consumer_key = "{consumer_key}"
left_field = "Has_Left__c"
contact_lookup_fields = [{lookups}]
{policy}"""

_HUBSPOT_SETTINGS = """\
[crm]
adapter = "hubspot"

[crm.options]
base_url = "{url}"
left_property = "has_left"
{policy}"""
_POLICY = """
[policy]
# A first run changes most of this invented CRM; against a real one keep the default and begin with --max-writes.
max_changed_percent = 100
"""

_DemoOption = Annotated[bool, typer.Option("--demo", help="Large, messy and invented instead of a handful of records.")]
_PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 for any free port.")]
_SizeOption = Annotated[int, typer.Option(min=1, max=100_000, help="How large the --demo CRM is.")]
_TruthOption = Annotated[
    Path | None, typer.Option(metavar="PATH", help="With --demo: write the people who are missing, as CSV of this CRM's ids.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.add_typer(sandbox_app, name="sandbox", rich_help_panel="Start")


@sandbox_app.callback()
def sandbox() -> None:
    """Serve an invented CRM on this machine, to rehearse on. Nobody else can reach it; it is gone when it stops.

    Example: crmbridge sandbox salesforce --demo
    """


@sandbox_app.command()
def salesforce(
    ctx: typer.Context,
    *,
    demo: _DemoOption = False,
    port: _PortOption = 8787,
    opportunities: _SizeOption = 5_000,
    truth: _TruthOption = None,
) -> None:
    """Serve a Salesforce of invented records until Ctrl-C.

    Example: crmbridge sandbox salesforce --demo

    Example: crmbridge sandbox salesforce --demo --opportunities 20000 --port 9000 --truth missing.csv
    """
    world = _world(opportunities, truth, is_demo=demo)
    served: SalesforceSandbox = _opened("SalesforceSandbox", world, port)
    with served:
        _write_truth(served, world, truth)
        _announce(ctx, served)
        _wait()


@sandbox_app.command()
def hubspot(
    ctx: typer.Context,
    *,
    demo: _DemoOption = False,
    port: _PortOption = 8788,
    opportunities: _SizeOption = 5_000,
    truth: _TruthOption = None,
) -> None:
    """Serve a HubSpot portal of invented records until Ctrl-C.

    Example: crmbridge sandbox hubspot --demo

    Example: crmbridge sandbox hubspot --demo --opportunities 20000 --port 9001 --truth missing.csv
    """
    world = _world(opportunities, truth, is_demo=demo)
    served: HubSpotSandbox = _opened("HubSpotSandbox", world, port)
    with served:
        _write_truth(served, world, truth)
        settings = _HUBSPOT_SETTINGS.format(url=served.url, policy=_POLICY)
        session_of(ctx).console.answer(
            {"url": served.url, "settings": settings, "login": {"access_token": served.access_token}},
            f"An invented HubSpot portal listens on {served.url} until Ctrl-C.",
            "",
            "Put this into crmbridge.toml:",
            "",
            settings,
            f"export CRMBRIDGE_CRM__OPTIONS__ACCESS_TOKEN={served.access_token}",
            "crmbridge check",
        )
        _wait()


def _world(opportunities: int, truth: Path | None, *, is_demo: bool) -> DemoWorld | None:
    """The demo world; None for a handful of records."""
    if not is_demo:
        if truth is not None:
            raise SettingsError("--truth needs --demo: only the demo CRM has a hidden truth")
        return None
    from datetime import UTC, datetime

    from crmbridge.demo.world import make_world

    return make_world(opportunities=opportunities, as_of=datetime.now(UTC))


def _opened(name: str, world: DemoWorld | None, port: int) -> Any:  # noqa: ANN401 - one of the sandboxes
    try:
        from crmbridge.testing import sandbox
    except ModuleNotFoundError as error:
        hint = 'pip install "crmbridge[testing]"'
        raise SettingsError(f"the sandbox needs {error.name}, which is not installed", hint=hint) from None
    from crmbridge.testing.worlds import small

    made = getattr(sandbox, name)(world.records if world else small(), port=port)
    try:
        made.start()
    except OSError as error:
        made.stop()
        raise WorkspaceError(f"cannot listen on port {port}: {error.strerror}", hint="choose another --port, or 0") from None
    return made


def _announce(ctx: typer.Context, served: SalesforceSandbox) -> None:
    known = served.credentials
    lookups = ", ".join(f'"{name}"' for name in served.lookup_fields.values())
    settings = _SETTINGS.format(url=served.url, consumer_key=known.consumer_key, lookups=lookups, policy=_POLICY)
    logins = [
        ("consumer key", known.consumer_key),
        ("consumer secret", known.consumer_secret),
        ("user name", known.username),
        ("password", known.password),
        ("security token", known.security_token),
        ("access token", served.session_id),
    ]
    document = {"url": served.url, "settings": settings, "login": {name.replace(" ", "_"): value for name, value in logins}}
    session_of(ctx).console.answer(
        document,
        f"An invented Salesforce listens on {served.url} until Ctrl-C.",
        "",
        grid(["invented login", "value"], logins),
        "",
        "Put this into crmbridge.toml:",
        "",
        settings,
        f"export CRMBRIDGE_CRM__OPTIONS__CONSUMER_SECRET={known.consumer_secret}",
        "crmbridge check",
    )


def _write_truth(served: SalesforceSandbox | HubSpotSandbox, world: DemoWorld | None, path: Path | None) -> None:
    from crmbridge.model import Entity

    if path is None or world is None:
        return
    deals, people = served.id_map(Entity.OPPORTUNITY), served.id_map(Entity.CONTACT)
    lines = [f"{deals[deal]},{people[person]}\n" for deal, person in sorted(world.hidden)]
    try:
        path.write_text("opportunity_id,contact_id\n" + "".join(lines), "utf-8")
    except OSError as error:
        raise WorkspaceError(f"cannot write {path}: {error.strerror}") from None


def _wait() -> None:
    import contextlib
    import threading

    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
