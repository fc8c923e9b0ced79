"""What of this machine the process may use."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def count_processors() -> int:
    """Count the processors that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def identify_boot() -> str:
    """Return what is the same until this machine starts again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time()))
