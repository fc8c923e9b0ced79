"""What runs in a job of SLURM."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .queue import ask

PATIENCE = 60
"""Seconds that a job has to finish an epoch after the warning of its time limit, before it has to stop at once."""


def run_in_job(requeue: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function, and have it go on in the same job where SLURM makes it end: near the time limit, or to give its
    node away. What was interrupted says so by its `outcome`, and can be run again as it is.
    """
    Alarm().start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # submitit has it ignored
    result = function(*arguments)
    if isinstance(result, Mapping) and result.get("outcome") == "interrupted":
        _go_on_later(requeue)
    return result


class Alarm(threading.Thread):
    """Turns SLURM's warning into two Ctrl-C: one that lets the epoch finish, and another where that takes too long.

    The signal is blocked everywhere else, in what this process starts, too, where it would kill.
    """

    def __init__(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        super().__init__(daemon=True)

    def run(self) -> None:
        """Wait for the warning."""
        signal.sigwait({signal.SIGUSR2})
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os.kill(os.getpid(), signal.SIGTERM)


def _go_on_later(requeue: int) -> None:
    """Put this job into the queue again, and end it here, before it has a result. Return where it was requeued often
    enough. What is over in SLURM's eyes only ends: somebody cancelled it, or SLURM requeues it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    array, times = os.environ.get("SLURM_ARRAY_JOB_ID"), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    state = ask("squeue", "--noheader", f"--jobs={job}", "--format=%T") or ""
    if state.strip() != "RUNNING" or (times < requeue and ask("scontrol", "requeue", job) is not None):
        sys.exit(1)
