"""Which combo is next, and what becomes of it: the part of a run that all ways of running share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.errors import ClaimLostError
from harness.execution.claims import Claims
from harness.execution.events import (
    ComboFinished,
    ComboLost,
    ComboRetried,
    ComboStarted,
    EpochFinished,
    Listener,
    Noted,
    StepsBegun,
    Stopping,
    Waiting,
)
from harness.execution.failures import may_pass
from harness.execution.forecast import Forecast, measure_work
from harness.execution.hours import list_measured
from harness.execution.interruption import Left
from harness.execution.job import Job, Result, name_selection
from harness.lease_files import FileLease
from harness.leases import LEASE, Keeper
from harness.results.layout import RESUME, run_path
from harness.results.record import Record
from harness.results.store import read_record, sweep_board, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from harness.execution.planning import Planned
    from harness.training.epoch import Epoch
    from harness.training.pace import Steps

POLL = 1.0
"""Seconds between two looks at what other processes have left."""


@dataclass(eq=False, kw_only=True)
class RunningCombo:
    """A combo that is being run."""

    planned: Planned
    claim: FileLease
    number: int
    """The combo's number among those that this run has begun, from 1."""
    attempt: int = 1
    epoch: int = 0
    """The last epoch that it has finished."""
    started: float = field(default_factory=time.perf_counter)

    @property
    def job(self) -> Job:
        """What is to be run."""
        return self.planned.job

    @property
    def resume(self) -> bool:
        """Whether an earlier attempt's training goes on."""
        return self.job.resume or self.attempt > 1


class Dispatch:
    """The combos of one run: those to do, those under way, and the records that they left."""

    def __init__(
        self,
        planned: Sequence[Planned],
        listener: Listener,
        *,
        lease: float = LEASE,
        retries: int = 0,
        job: str | None = None,
    ) -> None:
        """Begin nothing yet. `job` is the name of the job elsewhere that this run is: its claims tell it, and what
        other processes run is left to them.
        """
        self.todo = {item.job.combo.name: item for item in planned if item.reason is not None}
        self.order = tuple(self.todo)
        self.total = len(self.todo)
        self.listener, self.retries, self.job = listener, retries, job
        self.active: dict[str, RunningCombo] = {}
        self.left: dict[str, Left] = {}
        self.records: dict[str, Record] = {}
        """Records of all combos that were to do, by name; also of those that another process has done meanwhile."""
        before = [item.before for item in planned if item.before is not None]
        self.forecast, self.speeds = Forecast(before), list_measured(before)
        self._board = planned[0].job.board_folder if planned else None
        self._claims = None if self._board is None else Claims(self._board, lease)
        self._keeper = Keeper(lease)
        self._begun = 0
        self._attempts: dict[str, int] = {}
        """The number of the next attempt of each combo that is tried again."""
        self._waiting: tuple[str, ...] = ()
        self._told: dict[str, list[dict[str, Any]]] = {}
        """The epochs of each combo under way, as its claim tells them."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to begin; for a job elsewhere, nothing that others are not at."""
        return not self.todo or (self.job is not None and bool(self._waiting))

    def __enter__(self) -> Self:
        if self._board is not None and self.todo:
            sweep_board(self._board)
        self._keeper.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release all claims."""
        self._keeper.__exit__(kind, error, trace)
        if self._board is not None and self._board.is_dir() and self.order:
            sweep_board(self._board)

    def take(self, load_size: int | None) -> RunningCombo | None:
        """Claim the combo that is expected to take longest, of the images at hand if there is one, and begin it.

        None where all that is left to do is run by other processes, or nothing is.
        """
        for item in sorted(self.todo.values(), key=lambda item: self._urgency(item, load_size), reverse=True):
            name = item.job.combo.name
            claim = self._claim(item)
            if claim is None:
                continue
            del self.todo[name]
            made = _made_elsewhere(item)
            if made is not None:
                claim.release()
                self.records[name] = made
                self.total -= 1
                continue
            self._keeper.keep(claim)
            self._begun += 1
            self._waiting = ()
            task = self.active[name] = RunningCombo(
                planned=item, claim=claim, number=self._begun, attempt=self._attempts.get(name, 1)
            )
            self.listener(ComboStarted(name, task.number, self.total, item.job.choices.recipe.epochs))
            return task
        return None

    def _claim(self, item: Planned) -> FileLease | None:
        job = item.job
        assert self._claims is not None
        about = {"key": job.key, "epoch": 0, "epochs": job.choices.recipe.epochs, "started": time.time()}
        if self.job is None:
            return self._claims.take(job.combo.name, **about)
        for held in self._claims.read():
            if held.name == job.combo.name and held.about.get("job") == self.job:
                self._claims.drop(held)  # an engine began this job again after its node was lost
        return self._claims.take(job.combo.name, **about, job=self.job)

    def take_over(self, item: Planned, *, begin: bool = False) -> RunningCombo | None:
        """Claim a combo that a job elsewhere is or was at, to write what comes of it; None where somebody is at it.

        With `begin` it is told as begun.
        """
        claim = self._claim(item)
        if claim is None:
            return None
        name = item.job.combo.name
        del self.todo[name]
        self._keeper.keep(claim)
        task = self.active[name] = RunningCombo(planned=item, claim=claim, number=self._begun + begin)
        if begin:
            self._begun += 1
            self.listener(ComboStarted(name, task.number, self.total, item.job.choices.recipe.epochs))
        return task

    def find_made(self, item: Planned) -> Record | None:
        """Find the record that another process has made of a combo that is to do."""
        return _made_elsewhere(item)

    def receive(self, name: str, record: Record) -> None:
        """Take a record that another process has made of a combo that is to do."""
        del self.todo[name]
        self.records[name] = record
        self.forecast.learn(record)

    def wait(self) -> None:
        """Say, once, that what is left is run by others."""
        names = tuple(self.todo)
        if names and not self._waiting:
            self.listener(Waiting(names))
        self._waiting = names

    def advance(self, task: RunningCombo, epoch: Epoch) -> None:
        """An epoch is over, and kept. Raises `ClaimLostError`."""
        task.epoch = epoch.number
        job, plain = (
            task.job,
            {name: value for name, value in asdict(epoch).items() if name not in ("timing", "values")},
        )
        told = self._told.setdefault(job.combo.name, [])
        told.append(plain)
        task.claim.tell(epoch=epoch.number, told=told)
        self.listener(EpochFinished(job.combo.name, epoch, job.choices.recipe.epochs, name_selection(job)))

    def tell_steps(self, task: RunningCombo, steps: Steps) -> None:
        """A combo is within a long epoch."""
        self.listener(StepsBegun(task.job.combo.name, steps, task.job.choices.recipe.epochs))

    def note(self, text: str) -> None:
        """Something that a person should know of a combo under way."""
        self.listener(Noted(text))

    def finish(self, task: RunningCombo, result: Result) -> bool:
        """Write what a combo left, or tell that it is to be tried again: then False.

        A failure does not take the place of a result that is done and current: one that was forced to run again.
        """
        failure = result.record.failure
        tries_left = result.record.status == "failed" and task.attempt <= self.retries
        if tries_left and failure is not None and may_pass(failure):
            task.attempt += 1
            task.started = time.perf_counter()
            self.listener(ComboRetried(task.job.combo.name, failure, task.attempt - 1, self.retries))
            return False
        try:
            task.claim.require()
            record = self._write(task.job.board_folder, result)
        except ClaimLostError:
            self.lose(task)
            return True
        if record.status == "done":
            (run_path(task.job.board_folder, record.key) / RESUME).unlink(missing_ok=True)  # nor a moment earlier
        name = task.job.combo.name
        self.records[name] = record
        self.forecast.learn(record)
        self._end(task)
        self.listener(ComboFinished(record, time.perf_counter() - task.started))
        return True

    def _write(self, folder: Path, result: Result) -> Record:
        """Write a record; gives it as it was written, or a failure that leaves a finished result as it was."""
        record, failure = result.record, result.record.failure
        if failure is not None:
            before = read_record(folder, record.combo.row, record.combo.seed)
            if before is not None and (before.status, before.key) == ("done", record.key):
                kept = failure.model_copy(update={"message": f"{failure.message} (the result that was there stays)"})
                return record.model_copy(update={"failure": kept})
        return write_record(folder, record, result.resamples)

    def put_back(self, task: RunningCombo) -> None:
        """To be tried again by whoever is free."""
        self._end(task)
        self._waiting = ()
        self.todo[task.job.combo.name] = task.planned
        self._attempts[task.job.combo.name] = task.attempt
        self._begun -= 1

    def lose(self, task: RunningCombo) -> None:
        """Another process has taken it over: what was made here is dropped, and its result is waited for."""
        self._end(task)
        self.todo[task.job.combo.name] = task.planned
        self.listener(ComboLost(task.job.combo.name))

    def give_back(self, task: RunningCombo) -> None:
        """It was stopped; its checkpoint is kept."""
        self._end(task)
        name = task.job.combo.name
        self.left[name] = Left(name, task.epoch, task.job.choices.recipe.epochs)

    def stop(self) -> None:
        """Say that the combos under way are the last."""
        self.listener(Stopping(tuple(self.active)))

    def unfinished(self) -> tuple[Left, ...]:
        """What is left, in the order of the board."""
        for task in tuple(self.active.values()):
            self.give_back(task)
        for name, item in self.todo.items():
            self.left.setdefault(name, Left(name, 0, item.job.choices.recipe.epochs))
        return tuple(self.left[name] for name in self.order if name in self.left)

    def results(self) -> tuple[Record, ...]:
        """The records that this run was to make, in the order of the board."""
        return tuple(self.records[name] for name in self.order if name in self.records)

    def _end(self, task: RunningCombo) -> None:
        del self.active[task.job.combo.name]
        self._told.pop(task.job.combo.name, None)
        self._keeper.drop(task.claim)

    def _urgency(self, item: Planned, load_size: int | None) -> tuple[bool, float]:
        return item.job.choices.recipe.load_size == load_size, self._expect(item)

    def _expect(self, item: Planned) -> float:
        job = item.job
        recipe = job.choices.recipe
        images = int((job.used.data.table["split"] == "train").sum())
        work = measure_work(images, recipe.epochs, recipe.size)
        return self.forecast.seconds(job.combo.row.name, job.choices.model.name, work)


def _made_elsewhere(item: Planned) -> Record | None:
    """The record that another process has made since this one made its plan."""
    combo = item.job.combo
    record = read_record(item.job.board_folder, combo.row.name, combo.seed)
    return record if record is not None and record.key == item.job.key and record != item.before else None
