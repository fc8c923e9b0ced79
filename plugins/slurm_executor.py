"""`slurm`: jobs of a SLURM cluster, submitted by submitit."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import Executor, HarnessError, Needs, UsageError, hookimpl

WARNING = 120
"""Seconds before its time limit at which a job is told to end; SLURM says it up to a minute earlier."""
PATIENCE = 60
"""Seconds that a job has then to finish an epoch, before it has to stop at once."""
LAG = 15
"""Seconds for which the result of a finished job may be on its way through a shared file system."""
ENDED = frozenset(
    "COMPLETED CANCELLED FAILED TIMEOUT OUT_OF_MEMORY NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE REVOKED".split()
)
"""States of SLURM that no job leaves by itself; one that is requeued is PENDING again."""
KINDS = {
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "FAILED": "crashed",
    "COMPLETED": "crashed",
}
"""Kinds of failure by the state in which a job ended without a result; any other is an interruption."""
FORGOTTEN = "FORGOTTEN"
"""What is said here of a job that SLURM does not know any more."""
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")
"""What of an allocation's environment is not about the allocation."""


def open_engine(
    needs: Needs,
    *,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    gpus: int | str | None = None,
    cpus: int | None = None,
    memory: str | None = None,
    time: int | str | None = None,
    constraint: str | None = None,
    exclude: str | None = None,
    setup: str | list[str] | None = None,
    python: str | None = None,
    requeue: int = 20,
    sbatch: dict[str, str] | None = None,
    poll: float = 15.0,
) -> SlurmEngine:
    """Open SLURM.

    - `partition`: Submit to this partition. Left out, it is the cluster's default.
    - `account`: Charge this account.
    - `qos`: Ask for this quality of service.
    - `gpus`: Ask for this many GPUs, or for a type, as in `a100:1`. Left out, it is one, or none with `--device cpu`.
    - `cpus`: Give each job this many processors.
    - `memory`: Give each job this much memory, as in `32G`.
    - `time`: End each job after this time: minutes, or as in `8:00:00`. Left out, it is what the work is expected to
      take with a margin, where that is known, or the partition's own.
    - `constraint`: Take nodes with this feature alone.
    - `exclude`: Take none of these nodes.
    - `setup`: Run this line of shell, or these, before each job, as in `module load cuda`.
    - `python`: Start Python by this command. Left out, it is this Python, which the nodes have to see, too.
    - `requeue`: Put a job into the queue again at its time limit, at most this often; it goes on where it was. With 0,
      SLURM does not do so after a preemption or a lost node either.
    - `sbatch`: Give sbatch these further options, as in `{reservation = "mri"}`.
    - `poll`: Look at the queue every this many seconds.
    """
    parameters = {
        "job_name": needs.name,
        "partition": partition,
        "account": account,
        "qos": qos,
        "gpus_per_node": (needs.gpus if gpus is None else gpus) or None,
        "cpus_per_task": cpus,
        "mem": memory,
        "time": _expect_minutes(needs.seconds) if time is None else time,
        "constraint": constraint,
        "exclude": exclude,
        "setup": [setup] if isinstance(setup, str) else setup,
        "srun_args": [] if cpus is None else [f"--cpus-per-task={cpus}"],  # srun of SLURM 22.05 takes 1 otherwise
        "signal_delay_s": WARNING,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {"requeue" if requeue else "no-requeue": True} | (sbatch or {}),
    }
    return SlurmEngine(needs, parameters, python=python, requeue=requeue, poll=poll)


def _expect_minutes(seconds: float | None) -> int | None:
    """The time limit for work of so many seconds: the warning before it is no time to work in."""
    return None if seconds is None else math.ceil((seconds + WARNING + PATIENCE) / 60)


# --- where jobs are submitted ----------------------------------------------------------------------------------------


class SlurmError(HarnessError):
    """A job that ended without a result."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class SlurmEngine:
    """Where functions run as jobs of SLURM."""

    capacity = None

    def __init__(
        self, needs: Needs, parameters: dict[str, Any], *, python: str | None, requeue: int, poll: float
    ) -> None:
        """Submit nothing yet. Raises `UsageError` where there is no SLURM."""
        from submitit import SlurmExecutor

        if shutil.which("sbatch") is None:
            raise UsageError("there is no sbatch on the PATH: --on slurm is for a machine that submits jobs to SLURM")
        self._requeue, self._queue = requeue, Queue(poll)
        self._executor = SlurmExecutor(needs.folder, python=python)
        self._executor.update_parameters(**parameters)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> SlurmFuture:
        """Submit a job; within `batch`, keep it for the array. Raises `HarnessError` where sbatch refuses it."""
        with _submitting():
            job = self._executor.submit(run_in_job, self._requeue, function, *arguments)
        self._queue.look_soon()
        return SlurmFuture(job, self._queue)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """What is submitted within is one job array. Raises `HarnessError` where sbatch refuses it."""
        with _submitting(), self._executor.batch():
            yield
        self._queue.look_soon()

    def find(self, job: str) -> SlurmFuture | None:
        """What was submitted earlier; None where neither SLURM nor the folder knows it."""
        from submitit import SlurmJob

        found = SlurmFuture(SlurmJob(self._executor.folder, job), self._queue)
        return None if found.state == FORGOTTEN and not found.has_result() else found

    def explain(self, error: BaseException) -> str | None:
        """The kind of failure that the end of a job means."""
        return error.kind if isinstance(error, SlurmError) else None

    def close(self) -> None:
        """Nothing is held: jobs go on."""


@contextlib.contextmanager
def _submitting() -> Iterator[None]:
    """Submit as from outside, also within an allocation, and say in one line why sbatch refuses."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    within = "SLURM_JOB_ID" in os.environ
    own = [name for name in os.environ if within and name.startswith(("SLURM", "SUBMITIT")) and name not in KEPT]
    aside = {name: os.environ.pop(name) for name in own}
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        lines = str(error).strip().splitlines() or ["it does not say why"]
        raise HarnessError(f"SLURM takes no job: {lines[-1].removeprefix('sbatch: ')}") from None
    finally:
        os.environ.update(aside)


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
        with contextlib.suppress(OSError):
            os.listdir(path.parent)  # has NFS look for it again
        return path.is_file()

    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self.has_result() or self.state in {*ENDED, FORGOTTEN}

    def result(self, timeout: float | None = None) -> Any:
        """Give what the function returned. Raises `SlurmError` for whatever ended it, `TimeoutError` after `timeout`
        seconds.
        """
        until = math.inf if timeout is None else clock.monotonic() + timeout
        while not self.done():
            if clock.monotonic() >= until:
                raise TimeoutError(f"SLURM job {self.job} is {self.state}")
            clock.sleep(min(1.0, self._queue.poll))
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

        until = clock.monotonic() + LAG
        while not self.has_result():
            if self.state != "COMPLETED" or clock.monotonic() > until:
                return None
            clock.sleep(1)
        outcome, value = pickle_load(self._job.paths.result_pickle)
        return outcome, value


class Queue:
    """What SLURM says of this user's jobs. Every look is one command for all of them, two where it has forgotten some."""

    def __init__(self, poll: float) -> None:
        self.poll = poll
        self._states: dict[str, str] = {}
        self._jobs: set[str] = set()
        self._next_look = -math.inf

    def find_state(self, job: str) -> str:
        """The state of a job, as of the last look."""
        if job not in self._jobs or clock.monotonic() >= self._next_look:
            self._jobs.add(job)
            self._look()
        return self._states.get(job, "PENDING")

    def look_soon(self) -> None:
        """Look before the next answer: something has changed."""
        self._next_look = -math.inf

    def _look(self) -> None:
        self._next_look = clock.monotonic() + self.poll
        told = _ask("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T")
        if told is None:
            return  # the controller does not answer: what it said before holds
        now = dict(line.strip().split("|") for line in told.splitlines() if "|" in line)
        lost = [job for job in self._jobs if job not in now and self._states.get(job) not in ENDED]
        self._states |= now | (_ask_accounts(lost) if lost else {})


def _ask_accounts(jobs: list[str]) -> dict[str, str]:
    """The states of jobs that the controller has forgotten, by the accounts, where the cluster keeps them."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    numbers = ",".join(sorted({job.partition("_")[0] for job in jobs}))
    told = _ask("sacct", "--allocations", "--parsable2", "--format=JobID,State", f"--jobs={numbers}") or ""
    found = SlurmInfoWatcher().read_info(told)
    return {job: found[job]["State"].split()[0] if job in found else FORGOTTEN for job in jobs}


def _ask(*command: str) -> str | None:
    """What a command of SLURM prints; None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


# --- in a job --------------------------------------------------------------------------------------------------------


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
        clock.sleep(PATIENCE)
        os.kill(os.getpid(), signal.SIGTERM)


def _go_on_later(requeue: int) -> None:
    """Put this job into the queue again, and end it here, before it has a result. Return where it was requeued often
    enough. What is over in SLURM's eyes only ends: somebody cancelled it, or SLURM requeues it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    job, times = os.environ["SLURM_JOB_ID"], int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    state = _ask("squeue", "--noheader", f"--jobs={job}", "--format=%T") or ""
    if state.strip() != "RUNNING" or (times < requeue and _ask("scontrol", "requeue", job) is not None):
        sys.exit(1)


@hookimpl
def harness_executors() -> Iterable[Executor]:
    """SLURM."""
    return [
        Executor(name="slurm", open=open_engine, about="jobs of a SLURM cluster (pip install 'cxr-harness[slurm]')")
    ]
