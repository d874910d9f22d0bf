"""An invented, messy CRM with a hidden truth, to try crmbridge on and to measure it with."""

from __future__ import annotations

from crmbridge.demo.world import DemoWorld, make_world

__all__ = ["DemoWorld", "make_world"]
