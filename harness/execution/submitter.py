"""The process that has work done by an engine: it submits, watches and writes, and may leave meanwhile."""

from __future__ import annotations

import contextlib
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

from harness.board import Board
from harness.errors import HarnessError
from harness.execution.crew import Crew, Ended
from harness.execution.dispatch import POLL, Dispatch
from harness.execution.engines import Destination, divert_output, make_needs
from harness.execution.events import Leaving, Listener, Noted, Stopping
from harness.execution.hours import expect_seconds
from harness.execution.interruption import Interruption
from harness.execution.jobs import JobNote
from harness.execution.order import DeviceKind, Order, make_token, ship_plugins
from harness.execution.planning import Settings
from harness.execution.remote import DIFFERING, MACHINE
from harness.metric_names import split_name
from harness.registry import Registry
from harness.results.record import FailurePart
from harness.results.store import read_records

GRACE = 5.0
"""Seconds after a first Ctrl-C in which a second one cancels what was submitted."""
FALSE_STARTS = 2
"""Jobs in a row that may end before they have achieved anything."""
MARGIN, BEGINNING = 1.5, 900.0
"""What a job is asked more time for than is expected: as a factor, and seconds for its start and for decoding."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Who works on other machines, and within which limits."""

    to: Destination
    settings: Settings
    registry: Registry
    plugins: tuple[Path, ...] = ()
    device: DeviceKind = "auto"
    jobs: int | None = None
    """Workers at most; None for as many as the engine can have, or combos are left."""
    timeout: float | None = None
    """Seconds that a combo may take."""
    memory: int | None = None
    cache: Path | None = None
    """Where decoded images are kept; None for the user's cache folder there."""

    @property
    def gpus(self) -> int:
        """GPUs of each worker."""
        return 0 if self.device == "cpu" else 1


class Submitter(ABC):
    """Has something done elsewhere: a board's combos, the trials of a study, or a rescore."""

    work: str
    """What the job book calls it."""
    function: ClassVar[Any]
    """What a job runs: a `Remote`."""

    def __init__(self, board: Board, elsewhere: Elsewhere, listener: Listener) -> None:
        self.board, self.elsewhere, self.listener = board, elsewhere, listener
        self._awake: SimpleQueue[None] = SimpleQueue()
        self.interruption = Interruption(lambda: self._awake.put(None))
        self.false_starts = 0
        self.proven: set[str] = set()
        """Jobs that were seen to have begun something."""
        self.crew: Crew

    @divert_output()
    def run(self) -> None:
        """Run all that is to do; return when it is done, or when the user has asked to leave.

        Raises `HarnessError` where the engine cannot be used, or what it runs comes to nothing again and again.
        """
        if self.is_over():
            return
        self.crew = self._gather()
        try:
            self.come_back()
            while not self.is_over() and not self.interruption.asked:
                self.step()
                self._rest(0 if self.is_over() else POLL)
            if self.interruption.asked:
                self._leave()
            else:
                self.crew.dismiss(self.is_spent)
        except KeyboardInterrupt:
            if self.interruption.number != signal.SIGTERM:
                self.crew.cancel()
            raise
        finally:
            self.interruption.jobs = len(self.crew.jobs)
            self.crew.close()

    def come_back(self) -> None:
        """Take up the jobs of an earlier process."""
        self.crew.come_back(self.is_ours)

    def is_spent(self, note: JobNote) -> bool:  # noqa: ARG002 - others know better
        """Whether nothing is left of what a job is for, once this work is over."""
        return True

    def is_ours(self, note: JobNote) -> bool:  # noqa: ARG002 - others know better
        """Whether a job of an earlier process is about what is to do here, and nobody else waits for it."""
        return True

    @abstractmethod
    def step(self) -> None:
        """Look at what goes on, and submit what is lacking."""

    def make_order(self, task: Mapping[str, Any]) -> Order:
        """An order of this board: what all of them have in common, and a task."""
        return make_order(self.board, self.elsewhere, task)

    def count_start(self, ended: Ended, *, achieved: bool, needed: bool) -> None:
        """Count a job that has ended before it achieved anything, although something was left to do.

        Raises `HarnessError` where that has happened several times in a row, and no other job is at work.
        """
        if achieved or not needed:
            self.false_starts = 0
            return
        self.false_starts += FALSE_STARTS if ended.outcome == "refused" else 1
        if self.is_failing and not any(job.note.name in self.proven for job in self.crew.jobs):
            self.crew.cancel()
            name = self.elsewhere.to.executor.name
            log = f"; its log is {ended.note.log}" if ended.note.log else ""
            if ended.outcome == "refused":
                raise HarnessError(f"{name}: {ended.reason}")
            raise HarnessError(
                f"{name}: {FALSE_STARTS} jobs in a row ended before they had begun: "
                f"{ended.reason or ended.outcome}{log}"
            )

    @property
    def is_failing(self) -> bool:
        """Whether the last jobs that ended had achieved nothing: no others are submitted until one has."""
        return self.false_starts >= FALSE_STARTS

    def count_wanted(self, left: int) -> int:
        """How many jobs there are to be for so many combos."""
        most = self.elsewhere.jobs or self.crew.capacity or left
        return max(1, min(most, left))

    @abstractmethod
    def is_over(self) -> bool:
        """Whether nothing is left to do."""

    @abstractmethod
    def count_left(self) -> int:
        """How many pieces of work are left, which so many jobs could share."""

    @abstractmethod
    def expect_seconds(self, workers: int) -> float | None:
        """How long one of so many jobs is expected to run at most; None where nothing tells."""

    def _gather(self) -> Crew:
        to, left = self.elsewhere.to, self.count_left()
        workers = min(self.elsewhere.jobs or left, left)
        seconds = self.expect_seconds(workers)
        needs = make_needs(
            self.board.folder, to.executor.name, workers=workers, gpus=self.elsewhere.gpus,
            seconds=None if seconds is None else MARGIN * seconds + BEGINNING,
        )  # fmt: skip
        return Crew(self.board.folder, self.work, to, needs, type(self).function, self.listener)

    def _leave(self) -> None:
        """Leave what was submitted to itself, where it can be found again; a second Ctrl-C ends it."""
        if not self.crew.jobs:
            return
        if not self.crew.can_come_back:
            self.listener(Stopping(()))
            self.crew.cancel()
            return
        seconds = 0.0 if self.interruption.number == signal.SIGTERM else GRACE
        self.listener(Leaving(self.elsewhere.to.executor.name, len(self.crew.jobs), seconds))
        time.sleep(seconds)

    def _rest(self, seconds: float) -> None:
        """Wait so long, or until a Ctrl-C."""
        with contextlib.suppress(Empty):
            self._awake.get(timeout=seconds or None, block=bool(seconds))


class ComboSubmitter(Submitter):
    """Has the combos of a dispatch run elsewhere."""

    def __init__(self, board: Board, elsewhere: Elsewhere, dispatch: Dispatch) -> None:
        super().__init__(board, elsewhere, dispatch.listener)
        self.dispatch = dispatch
        self.differing: dict[str, FailurePart] = {}
        """The failures of combos that a job has left out, since they would have been other results there."""

    def is_over(self) -> bool:
        """Whether all combos are done."""
        return not self.dispatch.todo and not self.dispatch.active

    def is_spent(self, note: JobNote) -> bool:
        """Whether it has none left of its combos: an earlier command may have asked for more of the board."""
        made = {record.combo.name: record.key for record in read_records(self.board.folder).records}
        return all(name in self.dispatch.order or made.get(name) == key for name, key in note.combos.items())

    def is_ours(self, note: JobNote) -> bool:
        """Whether it may run a combo that is to do: jobs of other rows belong to another command."""
        return not self.dispatch.todo.keys().isdisjoint(note.combos)

    def count_left(self) -> int:
        """How many combos are to do."""
        return len(self.dispatch.todo)

    def expect_seconds(self, workers: int) -> float | None:
        """What the recorded speeds of the kind of device that is asked for tell of one job's share."""
        todo = tuple(self.dispatch.todo.values())
        known = expect_seconds(todo, self.dispatch.speeds, on_gpu=self.elsewhere.gpus > 0)
        return self.share(known, workers) if known else None

    def hear_differing(self, ended: Ended) -> None:
        """Take up what a job has left out, and tell of it, once."""
        found = ended.result.get(DIFFERING, {})
        for name in found.keys() - self.differing.keys():
            self.differing[name] = FailurePart(**found[name])
            self.listener(Noted(f"{name} is left out on {ended.result[MACHINE]}: {self.differing[name].message}"))

    @abstractmethod
    def share(self, seconds: Sequence[float], workers: int) -> float:
        """The seconds of one job's share, of what each combo takes."""


def make_order(board: Board, elsewhere: Elsewhere, task: Mapping[str, Any]) -> Order:
    """An order of a board, with what this process knows of it."""
    settings = elsewhere.settings
    return Order(
        task=task,
        board=str(board.folder.absolute()),
        token=make_token(board.folder) if elsewhere.to.shared else None,
        data_root=str(settings.data_root.absolute()),
        cache=None if elsewhere.cache is None else str(elsewhere.cache.absolute()),
        device=elsewhere.device,
        engine=asdict(settings.engine),
        plugins=ship_plugins(elsewhere.plugins),
        installed=find_installed(board, elsewhere.registry),
    )


def find_installed(board: Board, registry: Registry) -> dict[str, str]:
    """Installed plugins that a board's components come from, with the digests of their source."""
    names: dict[Any, set[str]] = {
        "dataset": {board.dataset},
        "metric": {split_name(name)[0] for name in board.metrics},
        "model": {row.model for row in board.rows},
        "loss": {row.loss for row in board.rows},
        "recipe": {row.recipe for row in board.rows},
    }
    offers = [
        offer for kind, wanted in names.items() for name, offer in registry.offers[kind].items() if name in wanted
    ]
    return {offer.plugin: offer.code for offer in offers if offer.origin == "installed"}
