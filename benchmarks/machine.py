"""What figures were measured on."""

from __future__ import annotations

import os
import platform

import psutil


def machine() -> str:
    """Cores, memory, Python, and how busy it was."""
    memory_gib = psutil.virtual_memory().total / 2**30
    busy = os.getloadavg()[0]
    size = f"{os.cpu_count()} cores, {memory_gib:.0f} GiB"
    return f"{size}, Python {platform.python_version()}, load average {busy:.1f} at the start"
