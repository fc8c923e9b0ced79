"""Records made again by jobs on other machines that share the board's folder: each evaluates a share of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from harness.board import Board, read_board
from harness.errors import UsageError
from harness.execution.claims import Claims
from harness.execution.crew import Ended, Remote
from harness.execution.events import Listener, Noted, Stopping
from harness.execution.interruption import Interrupted
from harness.execution.order import Opened
from harness.execution.remote import Log, carry_order
from harness.execution.rescore import Rescored, rescore
from harness.execution.submitter import Elsewhere, Submitter
from harness.results.store import read_records

SHARE = 8
"""Records of a job, unless so many jobs are asked for: each takes seconds, and a job has to start first."""


def rescore_elsewhere(board: Board, elsewhere: Elsewhere, listener: Listener, tell: Callable[[str], None]) -> Rescored:
    """Do what `harness.execution.rescore.rescore` does, elsewhere. `tell` hears the name of each record.

    Raises `UsageError` where the board's folder is not shared, `Interrupted` after Ctrl-C, which ends the jobs, and
    `HarnessError` where jobs come to nothing.
    """
    if not elsewhere.to.shared:
        raise UsageError(
            "rescore reads stored predictions in the board's folder, which machines without a shared folder do not "
            "have; leave out --on-option shared=false, or rescore here, without --on"
        )
    submitter = Rescoring(board, elsewhere, listener, tell)
    with submitter.interruption as interruption:
        submitter.run()
        if interruption.asked:
            raise Interrupted(())
    return submitter.sum_up()


def rescore_share(text: str) -> dict[str, Any]:
    """Make some records of a board again."""
    return carry_order(text, _rescore_share)


def _rescore_share(opened: Opened, log: Log) -> Mapping[str, Any]:
    names, job = opened.order.task["names"], opened.order.job
    board = read_board(opened.folder)
    made = rescore(board, opened.registry, lambda name: log(Noted(name)), names, job=job)
    return {"done": list(made.done), "left": list(made.left)}


class Rescoring(Submitter):
    """Has shares of a board's records made again."""

    work = "rescore"
    function: ClassVar[Remote] = staticmethod(rescore_share)

    def __init__(self, board: Board, elsewhere: Elsewhere, listener: Listener, tell: Callable[[str], None]) -> None:
        super().__init__(board, elsewhere, listener)
        self.tell, self.claims = tell, Claims(board.folder)
        self.names = tuple(one.combo.name for one in read_records(board.folder).records if one.status == "done")
        self.todo: tuple[str, ...] = self.names
        self.shares: dict[str, tuple[str, ...]] = {}
        """The records of each job, by the job's name."""
        self.told: set[str] = set()
        self.done: set[str] = set()
        self.left: list[str] = []

    def is_over(self) -> bool:
        """Whether every record had its turn."""
        return not self.todo and not self.shares

    def count_left(self) -> int:
        """How many jobs the records that nobody is at are worth."""
        return len(self.todo) if self.elsewhere.jobs else math.ceil(len(self.todo) / SHARE)

    def expect_seconds(self, workers: int) -> float | None:  # noqa: ARG002 - nothing tells
        """Nothing tells how long a job evaluates."""
        return None

    def step(self) -> None:
        """Tell what the jobs are at, take what they gave, and submit what is lacking."""
        self._tell(held.name for held in self.claims.read() if held.about.get("job") in self.shares)
        for ended in self.crew.look():
            self._take(ended, self.shares.pop(ended.note.name, ()))
        if self.todo and not self.shares and not self.crew.jobs:  # an earlier command's jobs end first
            self._submit()

    def sum_up(self) -> Rescored:
        """What became of the records, in the order of the board."""
        return Rescored(tuple(name for name in self.names if name in self.done), tuple(self.left))

    def _take(self, ended: Ended, share: Sequence[str]) -> None:
        if ended.outcome == "done" and share:
            self._tell(share)
            self.done.update(ended.result["done"])
            self.left += ended.result["left"]
        elif share:
            for held in self.claims.read():
                if held.about.get("job") == ended.note.name:
                    self.claims.drop(held)
            self.todo = (*self.todo, *share)
        self.count_start(ended, achieved=ended.outcome == "done", needed=bool(self.todo))

    def _submit(self) -> None:
        jobs = self.count_wanted(self.count_left())
        shares = [share for start in range(jobs) if (share := self.todo[start::jobs])]
        made = self.crew.submit([self.make_order({"names": share}) for share in shares])
        self.shares = {job.note.name: share for job, share in zip(made, shares, strict=True)}
        self.todo = ()

    def _tell(self, names: Any) -> None:
        for name in names:
            if name not in self.told:
                self.told.add(name)
                self.tell(name)

    def _leave(self) -> None:
        """End the jobs: there is little to lose, and nobody would take what they give."""
        self.listener(Stopping(()))
        self.crew.cancel()
