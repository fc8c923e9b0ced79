"""A board's combos run on machines that do not share its folder: each is a job, and its result comes back in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.board import Board
from harness.errors import ClaimLostError, DataError
from harness.execution.crew import Ended
from harness.execution.dispatch import Dispatch, RunningCombo
from harness.execution.failures import explain_loss
from harness.execution.job import Result, reason_to_skip
from harness.execution.job_record import failed_result, skip
from harness.execution.order import Order
from harness.execution.parcels import pack_board, unpack_result
from harness.execution.remote import describe_combos, run_combo_apart
from harness.execution.submitter import ComboSubmitter, Elsewhere
from harness.results.provenance import scrub
from harness.results.record import FailurePart


class WithoutFolder(ComboSubmitter):
    """Submits combos one by one, and writes what comes back."""

    work = "combo"
    function = staticmethod(run_combo_apart)

    def __init__(self, board: Board, elsewhere: Elsewhere, dispatch: Dispatch) -> None:
        super().__init__(board, elsewhere, dispatch)
        self.tasks: dict[str, RunningCombo] = {}
        """The combo of each job, by the job's name."""

    def step(self) -> None:
        """Write what has come back, and submit what is lacking."""
        for ended in self.crew.look():
            task = self.tasks.pop(ended.note.name, None)
            if task is not None:
                self._receive(task, ended)
        self._fill()

    def come_back(self) -> None:
        """Take up jobs of an earlier process whose combos are still to do; results of another key are not needed."""
        super().come_back()
        for job in tuple(self.crew.jobs):
            [(name, key)] = job.note.combos.items()
            item = self.dispatch.todo.get(name)
            if item is None or item.job.key != key:
                self.crew.drop(job)
            elif (task := self.dispatch.take_over(item, begin=True)) is not None:
                self.tasks[job.note.name] = task
            else:
                self.crew.leave(job)  # another command waits for it

    def share(self, seconds: Sequence[float], workers: int) -> float:  # noqa: ARG002 - one combo is one combo
        """A job is one combo, which may be the longest."""
        return max(seconds)

    def _receive(self, task: RunningCombo, ended: Ended) -> None:
        try:
            if ended.outcome == "refused":
                self.dispatch.put_back(task)
                self.count_start(ended, achieved=False, needed=True)
                return
            if not self.dispatch.finish(task, self._make_result(task, ended)):
                self._submit([task])
        except ClaimLostError:
            self.dispatch.lose(task)

    def _make_result(self, task: RunningCombo, ended: Ended) -> Result:
        """What a job gave, or the failure that its end means for its combo."""
        if ended.outcome == "done":
            self.false_starts = 0
            self.hear_differing(ended)
            if task.job.combo.name in self.differing:
                return failed_result(task.job, self.differing[task.job.combo.name])
            try:
                return unpack_result(ended.result, replace(task.job, guard=task.claim.require))
            except DataError as error:
                failure = FailurePart(kind="crashed", message=scrub(str(error)), where="on its way back")
        else:
            kind = "interrupted" if ended.outcome == "interrupted" else ended.kind or "crashed"
            failure = explain_loss(kind, "on another machine")
        return failed_result(task.job, failure)

    def _fill(self) -> None:
        """Submit combos, as many as are to run at once."""
        tasks: list[RunningCombo] = []
        wanted = self.count_wanted(len(self.dispatch.todo) + len(self.tasks)) - len(self.tasks)
        while self.dispatch.todo and len(tasks) < wanted:
            task = self.dispatch.take(None)
            if task is None:
                self.dispatch.wait()
                break
            if reason_to_skip(task.job) is not None:
                self.dispatch.finish(task, skip(task.job))
            else:
                tasks.append(task)
        if tasks:
            self._submit(tasks)

    def _submit(self, tasks: Sequence[RunningCombo]) -> None:
        orders = [self._make_order(task) for task in tasks]
        for job, task in zip(self.crew.submit(orders), tasks, strict=True):
            self.tasks[job.note.name] = task

    def _make_order(self, task: RunningCombo) -> Order:
        combo = task.job.combo
        return self.make_order(
            {
                "combos": describe_combos([task.planned]),
                "files": pack_board(self.board),
                "only": combo.row.name,
                "seeds": [combo.seed],
                "force": False,
                "retries": 0,
                "timeout": self.elsewhere.timeout,
                "memory": self.elsewhere.memory,
            }
        )
