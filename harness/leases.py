"""Leases: what one process has, until it gives it back, dies, or is not heard of any more.

An owner renews its lease while it lives, `RENEWALS` times within the lease's length. Anybody may take over what has not
been renewed for the whole length, or whose owner is certainly dead. Files hold leases (`harness.lease_files`), and so
do the trials of a study (`harness.tuning.slots`). Each store says how long a lease has not been renewed; this module
holds what they share.

A death is certain only where the system says so of a process of this machine: there is none of that number, it is a
zombie, or it began at another time and so is another process. A process that this one may not see, because `/proc`
hides those of other users, is there nevertheless, and `kill` says so. About owners elsewhere, all that is known is
whether they renew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

LEASE = 60.0
"""Seconds after which what is not renewed may be taken over."""
RENEWALS = 6
"""Times that a lease is renewed within its length."""
PROCESSES = Path("/proc")
"""Where Linux tells of its processes."""


class Lease(Protocol):
    """Something that is this process's for as long as it renews it."""

    def renew(self) -> None:
        """Say that its owner lives. Raises `ClaimLostError` where it is another's by now."""

    def release(self) -> None:
        """Give it back, if it is still this process's."""


@dataclass(frozen=True)
class Owner:
    """A process, as others know it. The name of its host is never published."""

    machine: str | None = None
    """See `identify_machine`."""
    process: int | None = None
    process_started: float | None = None
    """When it began, in ticks of the kernel or in seconds: see `look_at_process`."""
    host: str | None = None

    @classmethod
    def here(cls) -> Self:
        """Describe this process."""
        look = look_at_process(os.getpid())
        return cls(identify_machine(), os.getpid(), None if look is None else look.started, socket.gethostname())

    @classmethod
    def read(cls, about: object) -> Self:
        """Take an owner from what a lease says, whatever that is; what makes no sense is not known."""
        told = about if isinstance(about, Mapping) else {}
        machine, process, started, host = map(told.get, ("machine", "process", "process_started", "host"))
        return cls(
            machine if isinstance(machine, str) else None,
            process if isinstance(process, int) and 0 < process < 2**31 else None,
            started if isinstance(started, int | float) else None,
            host if isinstance(host, str) else None,
        )

    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.machine is not None and self.process is not None and self.machine == identify_machine()

    def is_dead(self) -> bool:
        """Whether it is certainly there no more."""
        if self.process is None or not self.is_here():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's
        look = look_at_process(self.process)
        if look is None:
            return False
        return look.is_zombie or self.process_started not in (None, look.started)

    def describe(self) -> str:
        """Name it for a message."""
        if self.process is None:
            return "another process"
        return f"process {self.process}{f' on {self.host}' if self.host else ''}"


def is_abandoned(owner: Owner, unrenewed: float, lease: float) -> bool:
    """Tell whether a lease may be taken over that has not been renewed for some seconds."""
    return unrenewed > lease or owner.is_dead()


@cache
def identify_machine() -> str | None:
    """Return what is the same for processes that see each other by the same numbers; None where it cannot be told.

    On Linux they share a start of the kernel, a namespace of processes and one of clocks. The host's name alone would
    not do, as containers and cloned machines share it.
    """
    parts = [socket.gethostname()]
    try:
        if sys.platform == "linux":
            parts.append((PROCESSES / "sys/kernel/random/boot_id").read_text().strip())
            parts.append(os.readlink(PROCESSES / "self/ns/pid"))  # noqa: PTH115 - it is no path
            with contextlib.suppress(FileNotFoundError):  # older kernels have one clock
                parts.append(os.readlink(PROCESSES / "self/ns/time"))  # noqa: PTH115 - it is no path
        else:
            parts.append(str(uuid.getnode()))
    except OSError:
        return None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Look:
    """What can be seen of a process."""

    started: float
    is_zombie: bool


def look_at_process(process: int) -> Look | None:
    """Look at a process of this machine; None where there is none, or it may not be seen.

    Linux keeps when a process began in ticks since the machine did, which stay what they are. The time of day that
    psutil makes of them moves with every adjustment of the clock, and would tell a living process for another one.
    Elsewhere the time of day is what the kernel noted when the process began.
    """
    if sys.platform != "linux":
        return _ask_psutil(process)
    try:
        if os.readlink(PROCESSES / "self") != str(os.getpid()):  # noqa: PTH115 - it is no path
            return None  # what is mounted there tells of another namespace's processes
        _, _, fields = (PROCESSES / str(process) / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    state, *numbers = fields.split()
    return Look(int(numbers[18]), state in "ZX")


def _ask_psutil(process: int) -> Look | None:
    import psutil

    try:
        handle = psutil.Process(process)
        return Look(handle.create_time(), handle.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return None


class Keeper:
    """Renews leases while its process lives."""

    def __init__(self, lease: float = LEASE) -> None:
        self.interval = lease / RENEWALS
        self._leases: set[Lease] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what is still held."""
        self._ended.set()
        self._thread.join()
        for lease in self._leases:
            lease.release()

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        self._leases = self._leases | {lease}  # a new set: the thread may be going through the old one

    def drop(self, lease: Lease) -> None:
        """Release a lease."""
        self._leases = self._leases - {lease}
        lease.release()

    def _renew(self) -> None:
        while not self._ended.wait(self.interval):
            for lease in self._leases:
                # what is lost is found out before anything is written, and a storage that does not answer now may later
                with contextlib.suppress(Exception):
                    lease.renew()
