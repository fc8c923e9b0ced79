"""Jobs of SLURM, as futures."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from harness import HarnessError

from .queue import ENDED, FORGOTTEN, Queue

LAG = 15
"""Seconds for which the result of a finished job may be on its way through a shared file system."""
KINDS = {
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "FAILED": "crashed",
    "COMPLETED": "crashed",
}
"""Kinds of failure by the state in which a job ended without a result; any other is an interruption."""


class SlurmError(HarnessError):
    """A job that ended without a result."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class SlurmFuture:
    """A job."""

    def __init__(self, job: Any, queue: Queue) -> None:
        self._job, self._queue = job, queue

    @property
    def job(self) -> str:
        """Its number, as `squeue` shows it."""
        return str(self._job.job_id)

    @property
    def log(self) -> str:
        """The file that it writes to."""
        return str(self._job.paths.stdout)

    @property
    def state(self) -> str:
        """What SLURM says of it, such as PENDING."""
        return self._queue.find_state(self.job)

    def has_result(self) -> bool:
        """Whether its result, good or bad, has come."""
        path: Path = self._job.paths.result_pickle
        with contextlib.suppress(OSError), os.scandir(path.parent):  # has NFS look for it again
            pass
        return path.is_file()

    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self.has_result() or self.state in (*ENDED, FORGOTTEN)

    def result(self, timeout: float | None = None) -> Any:
        """Give what the function returned. Raises `SlurmError` for whatever ended it, `TimeoutError` after `timeout`
        seconds.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self.done():
            if time.monotonic() >= until:
                raise TimeoutError(f"SLURM job {self.job} is {self.state}")
            time.sleep(min(1.0, self._queue.poll))
        outcome, value = self._read() or ("lost", None)
        if outcome == "success":
            return value
        if outcome == "error":
            raise SlurmError(f"SLURM job {self.job}: {str(value).strip().splitlines()[-1]}", "crashed")
        state = self.state
        words = "is not known any more" if state == FORGOTTEN else f"ended as {state}"
        raise SlurmError(f"SLURM job {self.job} {words}; its log is {self.log}", KINDS.get(state, "interrupted"))

    def cancel(self) -> bool:
        """End it; gives whether it was not over already."""
        if self.done():
            return False
        done = subprocess.run(["scancel", self.job], capture_output=True, check=False)  # noqa: S603, S607
        self._queue.look_soon()
        return done.returncode == 0

    def _read(self) -> tuple[str, Any] | None:
        from submitit.core.utils import pickle_load

        until = time.monotonic() + LAG
        while not self.has_result():
            if self.state != "COMPLETED" or time.monotonic() > until:
                return None
            time.sleep(1)
        outcome, value = pickle_load(self._job.paths.result_pickle)
        return outcome, value
