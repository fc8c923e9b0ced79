"""Runs what a plan has, on this machine or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from harness.board import Board
from harness.execution.dispatch import Dispatch
from harness.execution.events import Listener
from harness.execution.interruption import Interrupted, Interruption
from harness.execution.planning import Planned
from harness.execution.pool import Pool
from harness.execution.workers import WorkerOptions
from harness.leases import LEASE
from harness.results.record import Record


class Runner(Protocol):
    """What runs the combos of a `Dispatch`: it takes one, tells of its epochs, and finishes, loses or gives it back."""

    interruption: Interruption
    """Listens for Ctrl-C while `run` goes on."""

    def run(self) -> None:
        """Run all that is to do; return when it is done, or when what was under way has stopped after a Ctrl-C."""


MakeRunner = Callable[[Board, Dispatch], Runner]
"""Makes what runs a board's combos elsewhere: see `harness.execution.elsewhere`."""


def run(
    planned: Sequence[Planned],
    listener: Listener,
    options: WorkerOptions | MakeRunner | None = None,
    *,
    lease: float = LEASE,
    retries: int = 0,
    job: str | None = None,
) -> tuple[Record, ...]:
    """Run what has a reason, writing each record as soon as it is there; gives them in the order of the plan.

    Worker processes do it, what `options` makes for other machines, or this process without `options`, where a plugin
    that crashes ends everything. Processes that run one board share its combos: a record that another one has made is
    given, too. Failures that may pass are tried again up to `retries` times. `job` is the name of the job elsewhere
    that this run is, which does not wait for what others run.

    Raises `Interrupted` after Ctrl-C, with what is left; `StorageError` where nothing can be written.
    """
    dispatch = Dispatch(planned, listener, lease=lease, retries=retries, job=job)
    runner = _choose_runner(planned, dispatch, options)
    with dispatch, runner.interruption:
        try:
            runner.run()
        except KeyboardInterrupt:
            raise Interrupted(dispatch.unfinished(), runner.interruption.jobs) from None
        if runner.interruption.asked:
            raise Interrupted(dispatch.unfinished(), runner.interruption.jobs)
    return dispatch.results()


def _choose_runner(
    planned: Sequence[Planned], dispatch: Dispatch, options: WorkerOptions | MakeRunner | None
) -> Runner:
    if options is None or not planned:
        from harness.execution.single import SingleProcess

        return SingleProcess(dispatch)
    board = planned[0].job.board
    if isinstance(options, WorkerOptions):
        return Pool(board, options, dispatch)
    return options(board, dispatch)
