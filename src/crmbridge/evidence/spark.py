"""Computing a lazy frame once on Spark, for evidence over frames that live in a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import narwhals as nw


class SparkKeeper:
    """Cuts the lineage of every kept frame, so that Spark plans each step of the way by itself.

    The data stay with the executors until they are forgotten and the last frame made from them is gone.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def __call__(self, frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
        """Compute a frame, once, and hand it back."""
        kept = frame.to_native().localCheckpoint(eager=True)
        self._kept[name] = kept
        lazy: nw.LazyFrame[Any] = nw.from_native(kept)
        return lazy

    def made(self, name: str, make: Callable[..., nw.LazyFrame[Any]], *given: Any) -> nw.LazyFrame[Any]:  # noqa: ANN401
        """Compute `make(*given)`, once, and hand it back."""
        return self(make(*given), name)

    def forget(self, name: str) -> None:
        """Let go of a kept frame."""
        self._kept.pop(name, None)
