"""A board's combos run by workers elsewhere that share its folder: they claim and write, and this process watches."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from harness.board import Board
from harness.execution.claims import Claims
from harness.execution.crew import Ended
from harness.execution.dispatch import Dispatch
from harness.execution.events import ComboFinished, ComboRetried, ComboStarted, EpochFinished
from harness.execution.failures import explain_loss, may_pass
from harness.execution.job import name_selection
from harness.execution.job_record import failed_result
from harness.execution.planning import Planned
from harness.execution.remote import describe_combos, run_share
from harness.execution.submitter import ComboSubmitter, Elsewhere
from harness.lease_files import Held
from harness.leases import LEASE
from harness.results.record import FailurePart, Record
from harness.training.epoch import Epoch


class SharedFolder(ComboSubmitter):
    """Watches workers that share the board's folder."""

    work = "run"
    function = staticmethod(run_share)

    def __init__(self, board: Board, elsewhere: Elsewhere, dispatch: Dispatch) -> None:
        super().__init__(board, elsewhere, dispatch)
        self.claims = Claims(board.folder)
        self.claimed: dict[str, Held] = {}
        """The claims of combos that are to do, those of dead processes too."""
        self.held: dict[str, Held] = {}
        """The claims of those that somebody is at."""
        self.started: dict[str, float] = {}
        """When each combo was first seen to run."""
        self.told: dict[str, int] = {}
        """The last epoch of each combo that was told."""
        self.attempts: dict[str, int] = {}

    def step(self) -> None:
        """Tell what the workers have done, make up for those that were lost, and submit what is lacking."""
        self._watch()
        for ended in self.crew.look():
            self._recover(ended)
        self._fill()
        if not self.crew.jobs:
            self._give_up()

    def share(self, seconds: Sequence[float], workers: int) -> float:
        """A worker runs its part of all combos, and may begin the longest one last."""
        return sum(seconds) / workers + max(seconds)

    def _watch(self) -> None:
        """Turn claims and records into events."""
        self.claimed = {held.name: held for held in self.claims.read() if held.name in self.dispatch.todo}
        self.held = {name: held for name, held in self.claimed.items() if not held.is_abandoned(LEASE)}
        for name, item in tuple(self.dispatch.todo.items()):
            if name in self.claimed:
                self._follow(item, self.claimed[name])
            made = self.dispatch.find_made(item)
            if made is not None:
                self._finish(item, made)

    def _follow(self, item: Planned, held: Held) -> None:
        """Tell how far a combo is."""
        self._begin(item)
        if "job" in held.about:
            self.proven.add(str(held.about["job"]))
        epochs: list[dict[str, Any]] = held.about.get("told") or []
        self._tell(item, [Epoch(**epoch, timing=None) for epoch in epochs])

    def _begin(self, item: Planned) -> None:
        name = item.job.combo.name
        if name not in self.started:
            self.started[name] = time.perf_counter()
            self.dispatch.listener(
                ComboStarted(name, len(self.started), self.dispatch.total, item.job.choices.recipe.epochs)
            )

    def _tell(self, item: Planned, epochs: Sequence[Epoch]) -> None:
        """Tell of those epochs that were not told."""
        job, name = item.job, item.job.combo.name
        for epoch in epochs:
            if epoch.number > self.told.get(name, 0):
                self.dispatch.listener(EpochFinished(name, epoch, job.choices.recipe.epochs, name_selection(job)))
                self.told[name] = epoch.number

    def _finish(self, item: Planned, record: Record) -> None:
        """Tell the end of a combo, and of epochs that were not seen."""
        name = item.job.combo.name
        self._begin(item)
        held = self.claimed.pop(name, None)
        self.held.pop(name, None)
        if held is not None and "job" in held.about:
            self.proven.add(str(held.about["job"]))
        self._tell(item, _list_epochs(record))
        self.dispatch.receive(name, record)
        self.dispatch.listener(ComboFinished(record, time.perf_counter() - self.started[name]))

    def _recover(self, ended: Ended) -> None:
        """Make up for a job that is over: combos that it was at are tried again, or have failed."""
        self._watch()  # what it wrote in its last moment
        theirs = {name: held for name, held in self.claimed.items() if held.about.get("job") == ended.note.name}
        for name, held in theirs.items():
            self.claims.drop(held)
            self.held.pop(name, None)
            self._fail(self.dispatch.todo[name], held, ended)
        self.hear_differing(ended)
        achieved = bool(ended.result.get("advanced")) or ended.note.name in self.proven
        self.count_start(ended, achieved=achieved, needed=bool(self._find_free()))

    def _fail(self, item: Planned, held: Held, ended: Ended) -> None:
        name = item.job.combo.name
        about, attempt = held.about, self.attempts.get(name, 1)
        failure = explain_loss(ended.kind or "crashed", f"after epoch {about.get('epoch')} of {about.get('epochs')}")
        if attempt <= self.dispatch.retries and may_pass(failure):
            self.attempts[name] = attempt + 1
            self.dispatch.listener(ComboRetried(name, failure, attempt, self.dispatch.retries))
            return
        self._finish_failed(item, failure)

    def _finish_failed(self, item: Planned, failure: FailurePart) -> None:
        task = self.dispatch.take_over(item)
        if task is not None:
            task.attempt = self.dispatch.retries + 1
            self.dispatch.finish(task, failed_result(item.job, failure))

    def _find_free(self) -> list[Planned]:
        """Combos that nobody is at, and no job has left out."""
        taken = self.held.keys() | self.differing.keys()
        return [item for name, item in self.dispatch.todo.items() if name not in taken]

    def _give_up(self) -> None:
        """Combos that were left out have failed where no job is left, which might have been on another machine."""
        for name, failure in self.differing.items():
            if name in self.dispatch.todo and name not in self.held:
                self._begin(self.dispatch.todo[name])
                self._finish_failed(self.dispatch.todo[name], failure)

    def _fill(self) -> None:
        """Have as many jobs as there are combos that nobody is at, within what is wanted."""
        living = {job.note.name for job in self.crew.jobs}
        idle = living - {str(held.about.get("job")) for held in self.held.values()}
        lacking = min(self.count_wanted(len(self.dispatch.todo)) - len(living), len(self._find_free()) - len(idle))
        if lacking <= 0 or self.is_failing:
            return
        settings = self.elsewhere.settings
        task = {
            "combos": describe_combos(tuple(self.dispatch.todo.values())),
            "only": settings.only,
            "seeds": settings.seeds,
            "force": settings.force,
            "retries": self.dispatch.retries,
            "timeout": self.elsewhere.timeout,
            "memory": self.elsewhere.memory,
        }
        self.crew.submit([self.make_order(task)] * lacking)


def _number(value: float | None) -> float:
    """A number of a record, where one that is none stands as null."""
    return math.nan if value is None else value


def _list_epochs(record: Record) -> list[Epoch]:
    """The epochs of a finished training, as its record has them."""
    if record.training is None:
        return []
    images = record.dataset.splits["train"].images
    return [
        Epoch(
            number=one.epoch,
            lr=one.lr,
            train_loss=_number(one.train_loss),
            val_loss=_number(one.val_loss),
            value=_number(one.selected_on),
            best=one.epoch == record.training.best_epoch,
            seconds=one.seconds,
            images=images,
            timing=None,
        )
        for one in record.training.history
    ]
