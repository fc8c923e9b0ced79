"""Runs what a plan has, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.execution.dispatch import Dispatch
from harness.execution.events import Listener
from harness.execution.interruption import Interrupted, Interruption
from harness.execution.planning import Planned
from harness.execution.pool import Pool
from harness.execution.single import SingleProcess
from harness.execution.workers import WorkerOptions
from harness.leases import LEASE
from harness.results.record import Record


class Runner(Protocol):
    """What runs the combos of a `Dispatch`: it takes one, tells of its epochs, and finishes, loses or gives it back."""

    interruption: Interruption
    """Listens for Ctrl-C while `run` goes on."""

    def run(self) -> None:
        """Run all that is to do; return when it is done, or when what was under way has stopped after a Ctrl-C."""


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
    dispatch = Dispatch(planned, listener, lease=lease, retries=retries)
    runner = _choose_runner(planned, dispatch, options)
    with dispatch, runner.interruption:
        try:
            runner.run()
        except KeyboardInterrupt:
            raise Interrupted(dispatch.unfinished()) from None
        if runner.interruption.asked:
            raise Interrupted(dispatch.unfinished())
    return dispatch.results()


def _choose_runner(planned: Sequence[Planned], dispatch: Dispatch, options: WorkerOptions | None) -> Runner:
    if options is None or not planned:
        return SingleProcess(dispatch)
    return Pool(planned[0].job.board, options, dispatch)
