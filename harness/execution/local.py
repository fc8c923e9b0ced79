"""Runs what a plan has, on this machine."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from harness.errors import ClaimLostError
from harness.execution.combo import Result, run_combo
from harness.execution.dispatch import Dispatch, RunningCombo
from harness.execution.events import Listener, ProcessUnfit
from harness.execution.interruption import Interrupted, Interruption
from harness.execution.planning import Planned
from harness.execution.pool import POLL, Pool
from harness.execution.supervision import Inbox
from harness.execution.workers import WorkerOptions, why_unfit
from harness.leases import LEASE
from harness.results.provenance import find_commit
from harness.results.record import Record
from harness.training.memory import DeviceData

if TYPE_CHECKING:
    from harness.training.fit import Epoch


def run(
    planned: Sequence[Planned],
    listener: Listener,
    options: WorkerOptions | None = None,
    *,
    lease: float = LEASE,
    retries: int = 0,
) -> tuple[Record, ...]:
    """Run what has a reason, writing each record as soon as it is there; gives them in the order of the plan.

    Worker processes do it, or this process without `options`, where a plugin that crashes ends everything. Processes
    that run one board share its combos: a record that another one has made is given, too. Failures that may pass are
    tried again up to `retries` times.

    Raises `Interrupted` after Ctrl-C, with what is left; `StorageError` where nothing can be written.
    """
    inbox: Inbox = SimpleQueue()
    dispatch = Dispatch(planned, listener, lease=lease, retries=retries)

    def tell() -> None:
        """Ask for the end of the run, from within a signal's handler, which may do little itself."""
        inbox.put((None, None))
        if options is None:
            threading.Thread(target=dispatch.stop).start()

    with dispatch, Interruption(tell) as interruption:
        try:
            if options is None or not planned:
                _run_here(dispatch, interruption)
            else:
                Pool(planned[0].job.board, options, dispatch, interruption, inbox).run()
        except KeyboardInterrupt:
            raise Interrupted(dispatch.unfinished()) from None
        if interruption.asked:
            raise Interrupted(dispatch.unfinished())
    return dispatch.results()


def _run_here(dispatch: Dispatch, interruption: Interruption) -> None:
    """One combo after another, in this process; what plugins print goes to standard error."""
    find_commit()
    on_device, load_size, unfit = DeviceData(), None, None
    while dispatch.todo and not interruption.asked:
        task = dispatch.take(load_size)
        if task is None:
            dispatch.wait()
            time.sleep(POLL if dispatch.todo else 0)
            continue
        load_size = task.job.choices.recipe.load_size
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = _run_task(task, on_device, dispatch, interruption)
                while not dispatch.finish(task, result):
                    result = _run_task(task, on_device, dispatch, interruption)
        except ClaimLostError:
            dispatch.lose(task)
        if unfit is None:
            unfit = why_unfit(task.job.device)
            if unfit is not None:
                dispatch.listener(ProcessUnfit(str(task.job.device), unfit, replaced=False))


def _run_task(task: RunningCombo, on_device: DeviceData, dispatch: Dispatch, interruption: Interruption) -> Result:
    def advance(epoch: Epoch) -> None:
        dispatch.advance(task, epoch)
        if interruption.asked:
            raise KeyboardInterrupt

    task.claim.tell(device=str(task.job.device))
    return run_combo(replace(task.job, guard=task.claim.require, resume=task.resume), on_device, advance)
