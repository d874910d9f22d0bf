"""Every error crmbridge raises, grouped by what the caller should do about it.

CrmBridgeError
|-- SettingsError        change the settings or the mapping, then run again
|   |-- MappingError     the SQL adapter's mapping file
|   `-- PluginError      an adapter or rule plug-in: unknown, broken, duplicate, wrong version
|-- CrmUnavailable       wait, then run again: nothing is lost, the journal remembers
|   `-- LimitReached     the CRM's or your own call budget is used up for now
|-- CrmRefused           ask the administrator: credentials, permissions, missing objects
|-- DeletionsUnknown     read that entity anew, as a pull does by itself: the CRM has forgotten what was deleted
|-- DataError            the CRM (or its adapter) sent data that break the contract
|-- PlanRefused          make a new plan: edited, foreign, stale, or of another version
|-- BlastRadiusExceeded  review the plan, then raise the cap or take fewer lines
`-- WorkspaceError       the local folder: missing, full, read-only, or of another version
    `-- WorkspaceBusy    another run holds the workspace

No message ever holds a person's name, an e-mail address, a token or the body of a vendor's response.
"""

from __future__ import annotations

from typing import ClassVar


class CrmBridgeError(Exception):
    """The root of the tree.

    Args:
        message: what failed, on which id, the value received and the values allowed.
        hint: the next thing to do, usually a command; printed after `Hint:`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message


class SettingsError(CrmBridgeError):
    """The settings are missing, malformed or contradict each other."""

    exit_code = 3


class MappingError(SettingsError):
    """The mapping file names something that does not exist, or leaves out something essential."""


class PluginError(SettingsError):
    """A plug-in is unknown, cannot be imported, is installed twice, or speaks another contract version."""


class CrmUnavailable(CrmBridgeError):
    """The CRM did not answer, or answered that it cannot now."""

    exit_code = 4


class LimitReached(CrmUnavailable):
    """The CRM's limit, or the budget you set, is used up; what was done is journalled."""


class CrmRefused(CrmBridgeError):
    """The CRM understood and said no: credentials, permissions, or an object that is not there."""

    exit_code = 5


class DeletionsUnknown(CrmBridgeError):
    """The CRM no longer knows everything that was deleted since the moment asked for; only a full read tells what is left."""


class DataError(CrmBridgeError):
    """Data that break the contract: wrong columns, wrong types, null ids, naive datetimes."""

    exit_code = 6


class PlanRefused(CrmBridgeError):
    """The plan file was edited, belongs to another workspace or version, or is too old."""

    exit_code = 7


class BlastRadiusExceeded(CrmBridgeError):
    """The plan would change more than the policy allows; nothing was written."""

    exit_code = 8


class WorkspaceError(CrmBridgeError):
    """The workspace folder is missing, full, read-only, or was made by a newer version."""

    exit_code = 9


class WorkspaceBusy(WorkspaceError):
    """Another run holds the workspace; nothing was done."""

    exit_code = 75
