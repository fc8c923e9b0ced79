"""What SLURM says of jobs."""

from __future__ import annotations

import math
import os
import subprocess
import time

ENDED = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE"}
)
"""States of SLURM that no job leaves by itself; one that is requeued is PENDING again."""
FORGOTTEN = "FORGOTTEN"
"""What is said here of a job that SLURM does not know any more."""


class Queue:
    """The states of this user's jobs. A look is one command for all of them, or two where SLURM has forgotten some."""

    def __init__(self, poll: float) -> None:
        self.poll = poll
        self._states: dict[str, str] = {}
        self._jobs: set[str] = set()
        self._next_look = -math.inf

    def find_state(self, job: str) -> str:
        """The state of a job, as of the last look."""
        if job not in self._jobs or time.monotonic() >= self._next_look:
            self._jobs.add(job)
            self._look()
        return self._states.get(job, "PENDING")

    def look_soon(self) -> None:
        """Look before the next answer: something has changed."""
        self._next_look = -math.inf

    def _look(self) -> None:
        self._next_look = time.monotonic() + self.poll
        told = ask("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T")
        if told is None:
            return  # the controller does not answer: what it said before holds
        now = dict(line.strip().split("|") for line in told.splitlines() if "|" in line)
        lost = [job for job in self._jobs if job not in now and self._states.get(job) not in ENDED]
        self._states |= now | (_ask_accounts(lost) if lost else {})


def _ask_accounts(jobs: list[str]) -> dict[str, str]:
    """The states of jobs that the controller has forgotten, by the accounts, where the cluster keeps them."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    numbers = ",".join(sorted({job.partition("_")[0] for job in jobs}))
    told = ask("sacct", "--allocations", "--parsable2", "--format=JobID,State", f"--jobs={numbers}") or ""
    found = SlurmInfoWatcher().read_info(told)
    return {job: found[job]["State"].split()[0] if job in found else FORGOTTEN for job in jobs}


def ask(*command: str) -> str | None:
    """What a command of SLURM prints; None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
