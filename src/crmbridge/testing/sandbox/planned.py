"""Trouble that is planned ahead, for whatever server: which call it hits, and when."""

from __future__ import annotations

import re
import threading
from typing import Generic, Protocol, TypeVar


class Planned(Protocol):
    """What every fault says.

    Attributes:
        method: regular expression over the whole method.
        path: regular expression searched in the path with its query, percent-decoded.
        nth: the first matching call that is hit, counted from 1 since the fault was added.
        times: how many in a row are hit.
    """

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def nth(self) -> int: ...  # noqa: D102
    @property
    def times(self) -> int: ...  # noqa: D102


F = TypeVar("F", bound=Planned)


class PlannedFaults(Generic[F]):
    """The troubles ahead; safe across threads.

    Attributes:
        struck: those that have hit a call, in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[F, list[int]]] = []
        self.struck: list[F] = []

    def add(self, *faults: F) -> None:
        """Plan troubles; those added first are looked at first, and a call meets at most one."""
        with self._lock:
            self._waiting += [(fault, [0]) for fault in faults]

    def clear(self) -> None:
        """Plan no trouble any more."""
        with self._lock:
            self._waiting.clear()

    def strike(self, method: str, path: str) -> F | None:
        """Count a call for every fault it matches; give the one that hits it."""
        hit: F | None = None
        with self._lock:
            for fault, seen in self._waiting:
                if re.fullmatch(fault.method, method) and re.search(fault.path, path):
                    seen[0] += 1
                    if hit is None and fault.nth <= seen[0] < fault.nth + fault.times:
                        hit = fault
            if hit:
                self.struck.append(hit)
        return hit
