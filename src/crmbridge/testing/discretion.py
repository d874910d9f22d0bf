"""Checks that nothing personal or secret leaves an adapter by a log, an error, a finding or a receipt."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from typing import TYPE_CHECKING

from crmbridge.errors import CrmBridgeError
from crmbridge.model import Entity
from crmbridge.testing.kit import Sandbox, hold, proves, put
from crmbridge.testing.worlds import PERSONAL_MARK, personal
from crmbridge.testing.writing import WritingKit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crmbridge.contract import RoleWrite


class DiscretionChecks(WritingKit):
    """An adapter never logs names, addresses, tokens or response bodies."""

    @proves
    def test_logs_are_discreet(self) -> None:
        """An adapter never logs names, addresses, tokens or response bodies, at any level; nor prints or warns them."""
        sandbox = self.sandbox(personal())
        with _overheard() as lines:
            self._exercise(sandbox)
        self._hold_discreet(sandbox, "a log line or warning", lines)

    @proves
    def test_errors_are_discreet(self) -> None:
        """An adapter raises only `crmbridge.errors`, `from None`; no message holds anything personal."""
        sandbox = self.sandbox(personal())
        for error in self._provoked(sandbox):
            hold(isinstance(error, CrmBridgeError), f"a {type(error).__name__} was raised, not a CrmBridgeError")
            hidden = error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
            hold(hidden, f"{type(error).__name__} was not raised `from None`")
            self._hold_discreet(sandbox, f"the message of a {type(error).__name__}", [str(error), repr(error)])

    @proves
    def test_answers_are_discreet(self) -> None:
        """A code is never the CRM's message, and `check` names tables, fields and counts, never people."""
        sandbox = self.sandbox(personal())
        health = sandbox.open().check()
        self._hold_discreet(sandbox, "a finding of `check`", [health.model_dump_json()])
        if self.known.can_write:
            receipts = sandbox.write(*self._failing()).values()
            self._hold_discreet(sandbox, "the code of a receipt", [receipt.code or "" for receipt in receipts])

    def _failing(self) -> list[RoleWrite]:
        """Writes that the CRM refuses; where any role is allowed, the role itself is a personal text."""
        role = self.roles()[0] if self.known.role_names else f"{PERSONAL_MARK} role"
        unknown_contact, unknown_opportunity = self.unknown_id(Entity.CONTACT), self.unknown_id(Entity.OPPORTUNITY)
        return [
            put(self.opportunity(3), unknown_contact, role),
            put(unknown_opportunity, self.contact(1), role),
            put(self.opportunity(1), self.contact(1), role, is_primary=self.known.has_primary),
        ]

    def _exercise(self, sandbox: Sandbox) -> None:
        """Call everything once; what it gives or raises is not looked at here."""
        adapter = sandbox.open()
        adapter.check()
        for entity in sorted(self.known.entities):
            adapter.count(entity)
            list(adapter.read(entity))
        list(adapter.read_roles(sandbox.ids(Entity.OPPORTUNITY)))
        if self.known.can_write:
            writes = [*self.mixed(sandbox), *self._failing()]
            sandbox.write(*writes, adapter=adapter)
            sandbox.settle(*writes)
        with suppress(Exception):  # raised by left-out entities; errors are another check's affair
            list(self._provoked(sandbox))
        adapter.close()

    def _provoked(self, sandbox: Sandbox) -> Iterator[Exception]:
        """Give every error that can be provoked from outside."""
        adapter = sandbox.open()
        attempts: list[Callable[[], object]] = []
        for entity in sorted(set(Entity) - self.known.entities):
            attempts += [partial(_drained, adapter.read, entity), partial(adapter.count, entity)]
        if self.known.can_write:
            attempts.append(lambda: sandbox.write(*self._failing(), adapter=adapter))
        for attempt in attempts:
            try:
                attempt()
            except Exception as error:  # noqa: BLE001 (every error is looked at)
                yield error

    def _hold_discreet(self, sandbox: Sandbox, where: str, texts: list[str]) -> None:
        secrets = sandbox.secrets()
        for text in texts:
            hold(PERSONAL_MARK not in text.casefold(), f"{where} holds a personal text of the CRM")
            hold(not any(secret in text for secret in secrets), f"{where} holds a secret of the options")


def _drained(read: Callable[[Entity], Iterator[object]], entity: Entity) -> None:
    for _ in read(entity):
        pass


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter("%(name)s %(message)s").format(record))


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect everything that is logged, at any level, printed or warned meanwhile."""
    listener, root, printed = _Listener(), logging.getLogger(), io.StringIO()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.NOTSET)
    try:
        with warnings.catch_warnings(record=True) as warned, redirect_stdout(printed), redirect_stderr(printed):
            warnings.simplefilter("always")
            yield listener.lines
    finally:
        root.setLevel(level)
        root.removeHandler(listener)
        listener.lines += [printed.getvalue(), *(str(warning.message) for warning in warned)]
