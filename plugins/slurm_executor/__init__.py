"""`slurm`: jobs of a SLURM cluster, submitted by submitit."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from harness import Executor, HarnessError, Needs, UsageError, hookimpl

from .in_job import PATIENCE, run_in_job
from .jobs import SlurmError, SlurmFuture
from .queue import FORGOTTEN, Queue, ask

WARNING = 120
"""Seconds before its time limit at which a job is told to end; SLURM says it up to a minute earlier."""
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


class SlurmEngine:
    """Where functions run as jobs of SLURM."""

    capacity: int | None = None

    def __init__(
        self, needs: Needs, parameters: dict[str, Any], *, python: str | None, requeue: int, poll: float
    ) -> None:
        """Submit nothing yet. Raises `UsageError` where there is no SLURM, or none that answers."""
        from submitit import SlurmExecutor

        if shutil.which("sbatch") is None:
            raise UsageError("there is no sbatch on the PATH: --on slurm is for a machine that submits jobs to SLURM")
        if ask("squeue", "--noheader", f"--user={os.getuid()}") is None:
            raise UsageError("SLURM does not answer here; type squeue to see why")
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
        reason = lines[-1].removeprefix("sbatch: ").removeprefix("error: ")
        hint = "; --device cpu asks for no GPU" if "gres" in reason else ""
        raise HarnessError(f"SLURM takes no job: {reason}{hint}") from None
    finally:
        os.environ.update(aside)


@hookimpl
def harness_executors() -> Iterable[Executor]:
    """SLURM."""
    return [
        Executor(name="slurm", open=open_engine, about="jobs of a SLURM cluster (pip install 'cxr-harness[slurm]')")
    ]
