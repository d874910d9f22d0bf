"""Checks of what an adapter says about itself: class attributes, capabilities, health, closing."""

from __future__ import annotations

from pydantic import BaseModel

from crmbridge.contract import CONTRACT_VERSION, Adapter, Capabilities, Health
from crmbridge.model import ESSENTIAL
from crmbridge.testing.kit import Kit, hold, proves
from crmbridge.testing.worlds import small


class DeclaringChecks(Kit):
    """An adapter is a class with three class attributes and eight methods."""

    @proves
    def test_class_attributes(self) -> None:
        """An adapter is a class with three class attributes (name, contract_version, options) and eight methods."""
        cls = self.adapter_class
        name, version, options = (getattr(cls, field, None) for field in ("name", "contract_version", "options"))
        hold(isinstance(name, str) and name, f"`name` is {name!r}, not a text")
        hold(version == CONTRACT_VERSION, f"`contract_version` is {version!r}; this kit tests version {CONTRACT_VERSION}")
        hold(
            isinstance(options, type) and issubclass(options, BaseModel),
            f"`options` is {options!r}, not a pydantic model",
        )
        missing = [method for method in _METHODS if not hasattr(cls, method)]
        hold(not missing, f"these methods are missing: {', '.join(missing)}")

    @proves
    def test_capabilities_complete(self) -> None:
        """`entities`: always at least opportunity, contact and contact_role; the other fields speak only of those."""
        known = self.sandbox(small()).open().capabilities
        hold(isinstance(known, Capabilities), f"`capabilities` is a {type(known).__name__}, not Capabilities")
        hold(known.entities >= ESSENTIAL, f"left out of `entities`: {_names(ESSENTIAL - known.entities)}")
        for field in ("incremental", "deletions"):
            beyond = getattr(known, field) - known.entities
            hold(not beyond, f"`{field}` names what `entities` leaves out: {_names(beyond)}")
        hold(known.writes_per_call >= 1, f"`writes_per_call` is {known.writes_per_call}; at least 1 is needed")
        hold(all(known.role_names), "`role_names` holds a blank; blank is always allowed and never named")
        hold(len(set(known.role_names)) == len(known.role_names), "`role_names` holds a role twice")

    @proves
    def test_capabilities_steady(self) -> None:
        """`capabilities`: what this CRM, as configured, can do; the same from every adapter with these options."""
        sandbox = self.sandbox(small())
        first = sandbox.open()
        hold(first.capabilities == first.capabilities, "two readings of one adapter differ")
        hold(first.capabilities == sandbox.open().capabilities, "two adapters opened with the same options differ")

    @proves
    def test_check_finds_no_fault(self) -> None:
        """`check`: look at credentials, permissions, objects, fields and limits; on a CRM that works nothing failed."""
        health = self.sandbox(small()).open().check()
        hold(isinstance(health, Health), f"`check` gave a {type(health).__name__}, not Health")
        hold(health.checks, "`check` looked at nothing")
        failed = [check.name for check in health.checks if check.status == "failed"]
        hold(health.ok, f"these checks failed on a CRM that works: {', '.join(failed)}")

    @proves
    def test_check_changes_nothing(self) -> None:
        """`check`: change nothing and raise nothing but bugs."""
        sandbox = self.sandbox(small())
        before = sandbox.roles()
        sandbox.open().check()
        hold(sandbox.roles() == before, "the contact roles differ after `check`")

    @proves
    def test_close_twice(self) -> None:
        """`close` may be called twice; also before first use."""
        unused, used = (sandbox := self.sandbox(small())).open(), sandbox.open()
        list(used.read_roles([self.opportunity(1)]))
        for adapter in (unused, unused, used, used):
            _close(adapter)


_METHODS = ("capabilities", "check", "count", "read", "read_deleted", "read_roles", "write_roles", "settle", "close")


def _close(adapter: Adapter) -> None:
    try:
        adapter.close()
    except Exception as error:  # noqa: BLE001 (any error at all is the finding)
        raise AssertionError(f"`close` raised {type(error).__name__}") from None


def _names(entities: frozenset[str]) -> str:
    return ", ".join(sorted(entities))
