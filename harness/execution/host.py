"""What the host's memory allows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Where Linux says what a container may have, has, and could give back: control groups of version 2 and version 1."""


@dataclass(frozen=True)
class HostMemory:
    """Memory in bytes, of the host or, where it is less, of the container that this process runs in."""

    total: int
    available: int

    @property
    def is_short(self) -> bool:
        """Whether so little is left that the kernel will soon kill somebody."""
        return self.available < min(2**31, max(2**29, self.total // 20))


def measure_memory() -> HostMemory:
    """The memory as it is now."""
    import psutil

    host = psutil.virtual_memory()
    total, available = host.total, host.available
    for limit, usage, details, reclaimable in CONTROL_GROUPS:
        with contextlib.suppress(OSError, ValueError):
            allowed, used = int(Path(limit).read_text()), int(Path(usage).read_text())
            lines = dict(line.split() for line in Path(details).read_text().splitlines())
            total = min(total, allowed)
            available = min(available, allowed - used + int(lines.get(reclaimable, 0)))
    return HostMemory(total, max(available, 0))
