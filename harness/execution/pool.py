"""Worker processes that run a board's combos: one for each device unless more are wanted.

This process schedules, listens, keeps the claims and writes the records; it never touches a GPU. A worker that dies
costs the combo that it was running a failure that says why, and is replaced.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue

from harness.board import Board
from harness.errors import ClaimLostError, StorageError
from harness.execution.dispatch import POLL, Dispatch, RunningCombo
from harness.execution.events import Printed, ProcessUnfit
from harness.execution.failures import explain_death
from harness.execution.host import HostMemory, measure_memory
from harness.execution.interruption import Interruption
from harness.execution.job_record import failed_result
from harness.execution.supervision import Death, Inbox
from harness.execution.worker import EpochDone, Finished, NoteMade, Ready, Refused, Run, StepsDone, Stop, Stopped, work
from harness.execution.workers import Place, WorkerOptions, Workers, share_out
from harness.results.record import ProvenancePart

TICK = 0.1
"""Seconds between two looks at clocks and memory."""
FALSE_STARTS = 2
"""Workers in a row that may die at one place before they are ready."""


@dataclass(eq=False)
class Seat(Place):
    """A place with the combo that is run there."""

    provenance: ProvenancePart | None = None
    """Known as soon as its worker is ready."""
    task: RunningCombo | None = None
    load_size: int | None = None
    """Size of the images that its worker holds."""

    @property
    def is_idle(self) -> bool:
        """Whether its worker could be told to run a combo."""
        return self.worker is not None and self.proven and self.task is None


class Pool:
    """The workers of one run."""

    def __init__(self, board: Board, options: WorkerOptions, dispatch: Dispatch) -> None:
        inbox: Inbox = SimpleQueue()
        self.options, self.dispatch = options, dispatch
        self.interruption = Interruption(
            lambda: inbox.put((None, None))
        )  # its handler wakes `run`, which does the rest
        self.seats = [Seat(order) for order in share_out(board, options)]
        proof = "they had loaded the board"
        self.workers = Workers(
            inbox, work, self.seats, false_starts=FALSE_STARTS, proof=proof, apprentice=options.apprentice
        )
        self._next_look = 0.0
        self._stopping = False

    def run(self) -> None:
        """Run all that is to do; return when it is done, or when what was under way has stopped after a Ctrl-C."""
        try:
            while not self._is_over():
                self._assign()
                heard = self.workers.listen(TICK)
                if heard is not None:
                    self._hear(*heard)
                self._watch()
        finally:
            self.workers.close()

    def _is_over(self) -> bool:
        if any(seat.task is not None for seat in self.seats):
            return False
        return self.interruption.asked or self.dispatch.is_over

    def _assign(self) -> None:
        """Give idle workers something to do, and have as many as there is something to do for."""
        if self.interruption.asked:
            self._stop()
            return
        busy = sum(seat.task is not None for seat in self.seats)
        for seat in self.seats[: busy + len(self.dispatch.todo)]:
            if seat.worker is None:
                self.workers.start(seat)
        idle = [seat for seat in self.seats if seat.is_idle]
        if not idle or not self.dispatch.todo or time.monotonic() < self._next_look:
            return
        for seat in idle:
            task = self.dispatch.take(seat.load_size)
            if task is None:
                self._next_look = time.monotonic() + POLL
                if not any(other.task for other in self.seats):
                    self.dispatch.wait()
                return
            self._begin(seat, task)

    def _begin(self, seat: Seat, task: RunningCombo) -> None:
        assert seat.worker is not None
        job, claim = task.job, task.claim
        seat.task, seat.load_size = task, job.choices.recipe.load_size
        claim.tell(device=seat.order.settings.device, worker=seat.worker.pid)
        seat.worker.send(Run(job.combo.name, job.key, claim.path, claim.token, task.resume))

    def _stop(self) -> None:
        """Let the combos under way finish their epoch."""
        if self._stopping:
            return
        self._stopping = True
        self.dispatch.stop()
        for seat in self.seats:
            if seat.worker is not None and seat.task is not None:
                seat.worker.send(Stop())

    # --- what workers say ------------------------------------------------------------------------------------------

    def _hear(self, seat: Seat, message: object) -> None:
        try:
            self._answer(seat, message)
        except ClaimLostError:
            self._lose(seat)

    def _answer(self, seat: Seat, message: object) -> None:
        match message:
            case Ready():
                seat.provenance = message.provenance
                seat.prove()
            case EpochDone() if seat.task is not None:
                self.dispatch.advance(seat.task, message.epoch)
            case StepsDone() if seat.task is not None:
                self.dispatch.tell_steps(seat.task, message.steps)
            case NoteMade(text):
                self.dispatch.note(text)
            case Finished() if seat.task is not None:
                self._finish(seat, seat.task, message)
            case Stopped() if seat.task is not None:
                self.dispatch.give_back(seat.task)
                seat.task = None
            case Refused():
                if isinstance(message.error, StorageError):
                    raise message.error
                self._lose(seat)
            case Printed():
                self.dispatch.listener(message)
            case Death():
                self._fail(seat, message)

    def _finish(self, seat: Seat, task: RunningCombo, message: Finished) -> None:
        seat.task = None
        if message.unfit is not None and seat.worker is not None:
            self._dismiss(seat, message.unfit)
            self.dispatch.listener(ProcessUnfit(seat.order.settings.device, message.unfit, replaced=True))
        if not self.dispatch.finish(task, message.result):
            self._retry(seat, task)

    def _retry(self, seat: Seat, task: RunningCombo) -> None:
        """Run it again where it was, at once or as soon as there is a worker."""
        if self.interruption.asked:
            self.dispatch.give_back(task)
        elif seat.is_idle:
            self._begin(seat, task)
        else:
            self.dispatch.put_back(task)

    def _lose(self, seat: Seat) -> None:
        """The combo is another process's: whatever the worker still does for it, it may not write."""
        if seat.task is not None:
            self.dispatch.lose(seat.task)
            seat.task = None
        self._dismiss(seat, "its combo was taken over")

    def _dismiss(self, seat: Seat, reason: str) -> None:
        self.workers.dismiss(seat, reason)
        seat.provenance, seat.load_size = None, None

    def _fail(self, seat: Seat, death: Death) -> None:
        """Make a failure of what a dead worker was doing."""
        task, provenance = seat.task, seat.provenance
        seat.provenance, seat.task, seat.load_size = None, None, None
        if task is None or provenance is None:
            return
        if death.kind == "killed" and self.interruption.asked:  # a scheduler that ends a job signals all its processes
            self.dispatch.give_back(task)
            return
        failure = explain_death(death, f"after epoch {task.epoch} of {task.job.choices.recipe.epochs}")
        finished = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made_by = provenance.model_copy(update={"finished": finished})
        if not self.dispatch.finish(task, failed_result(task.job, failure, made_by)):
            self._retry(seat, task)

    # --- limits ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Kill who takes too long or too much memory."""
        busy = [(seat.worker, seat.task) for seat in self.seats if seat.worker is not None and seat.task is not None]
        for worker, task in busy:
            if self.options.timeout is not None and time.perf_counter() - task.started > self.options.timeout:
                worker.kill(Death("timeout", f"took more than {self.options.timeout:g} s, the limit of --timeout"))
        host = measure_memory()
        if not busy or (self.options.memory is None and not host.is_short):
            return
        held = {worker: worker.memory() for worker, _ in busy}
        largest = max(held, key=lambda worker: held[worker])
        excess = judge_memory(held[largest], sum(held.values()), self.options.memory, host)
        if excess is not None:
            largest.kill(Death("out_of_memory", excess))


def judge_memory(largest: int, together: int, limit: int | None, host: HostMemory) -> str | None:
    """Why the largest worker has to go, where it has."""
    if limit is not None and largest > limit:
        return f"the worker process held {largest / 2**30:.1f} GiB, more than the {limit / 2**30:.1f} GiB of --memory"
    if host.is_short and together > host.total / 2:
        return (
            f"the worker process held {largest / 2**30:.1f} GiB, and {host.available / 2**30:.1f} GiB of the host's "
            f"{host.total / 2**30:.1f} GiB were left"
        )
    return None
