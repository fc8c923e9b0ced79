"""What a worker process does: the combos of one board on one device, one after another, as it is told.

It gets names and makes the components from them itself, so that nothing of a plugin travels between processes. The data
is placed once and kept from combo to combo.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ClaimLostError, StorageError
from harness.execution.workers import WorkOrder, begin_work, why_unfit

if TYPE_CHECKING:
    from harness.execution.job import Job, Result
    from harness.results.record import ProvenancePart
    from harness.training.epoch import Epoch
    from harness.training.memory import DeviceData
    from harness.training.pace import Steps


# --- what the parent says --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Run a combo."""

    name: str
    key: str
    claim: Path
    token: str
    """The token of the claim: nothing is written without it."""
    resume: bool


@dataclass(frozen=True)
class Stop:
    """Stop after the epoch under way."""


# --- what the worker says --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """The worker has the board, and waits to be told what to run."""

    provenance: ProvenancePart


@dataclass(frozen=True)
class EpochDone:
    """An epoch is over, and kept."""

    epoch: Epoch


@dataclass(frozen=True)
class StepsDone:
    """An epoch is under way."""

    steps: Steps


@dataclass(frozen=True)
class NoteMade:
    """Something that a person should know."""

    text: str


@dataclass(frozen=True)
class Finished:
    """A combo has a result, good or bad."""

    result: Result
    unfit: str | None = None
    """Why the process should run nothing more, where it should not; see `why_unfit`."""


@dataclass(frozen=True)
class Stopped:
    """A combo has stopped, as it was told to; its checkpoint is kept."""


@dataclass(frozen=True)
class Refused:
    """A combo that was given up: the disk is full, or its claim is lost."""

    error: StorageError | ClaimLostError


class _StopError(BaseException):
    """Raised to leave a training."""


def work(parent: Connection, order: WorkOrder) -> None:
    """Run combos of the order's board, as the parent says, until it says no more."""
    import torch

    from harness.execution.planning import plan
    from harness.registry import load_registry
    from harness.results.provenance import describe_run
    from harness.training.memory import DeviceData

    begin_work(order)
    planned = plan(order.task, load_registry(order.plugins), order.settings, lambda event: None)
    jobs = {item.job.combo.name: item.job for item in planned}
    parent.send(Ready(describe_run(torch.device(order.settings.device))))
    on_device = DeviceData()
    while True:
        told = parent.recv()
        if isinstance(told, Run):
            parent.send(_run(parent, told, jobs[told.name], on_device))


def _run(parent: Connection, told: Run, job: Job, on_device: DeviceData) -> Finished | Stopped | Refused:
    from harness.execution.combo import run_combo
    from harness.execution.job_record import failed_result
    from harness.lease_files import FileLease
    from harness.results.record import FailurePart

    claim, process = FileLease(told.claim, told.token, {}), os.getpid()

    def guard() -> None:
        if os.getpid() != process:
            raise ClaimLostError("a copy of the worker process, forked by a plugin, is to write nothing")
        claim.require()

    def advance(epoch: Epoch) -> None:
        parent.send(EpochDone(epoch))
        if parent.poll() and isinstance(parent.recv(), Stop):
            raise _StopError

    def tell_steps(steps: Steps) -> None:
        parent.send(StepsDone(steps))

    def note(text: str) -> None:
        parent.send(NoteMade(text))

    try:
        if told.key != job.key:
            message = "the data or a plugin's file has changed since the run began; begin it again"
            failure = FailurePart(kind="data", message=message, where="before training")
            return Finished(failed_result(replace(job, key=told.key), failure))
        result = run_combo(replace(job, guard=guard, resume=told.resume), on_device, advance, tell_steps, note)
        return Finished(result, why_unfit(job.device_name))
    except _StopError:
        return Stopped()
    except (StorageError, ClaimLostError) as error:
        return Refused(error)
