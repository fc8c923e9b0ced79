"""Worker processes, one at each place, and what becomes of a place when its worker dies.

A board's run and a search use them alike: each says what its workers do, listens to them, and knows when it is over.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from harness.errors import HarnessError
from harness.execution.supervision import Apprentice, Death, Inbox, Worker

if TYPE_CHECKING:
    from harness.execution.planning import Settings


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Who works here, and within which limits."""

    settings: Settings
    devices: tuple[str, ...]
    """An entry for each worker process; none: this process alone."""
    plugins: tuple[Path, ...] = ()
    """Files to load beside what is bundled and installed."""
    timeout: float | None = None
    """Seconds that a combo may take."""
    memory: int | None = None
    """Bytes of the host's memory that a worker may hold; by default whatever the host has."""
    apprentice: Apprentice | None = None
    """Who becomes the first worker."""


@dataclass(frozen=True, kw_only=True)
class WorkOrder:
    """What a worker process is told when it begins. It gets names and loads the plugins itself."""

    task: Any
    """What is to be worked on: a board, or a study with its limits."""
    settings: Settings
    """The settings, with the worker's own device."""
    plugins: tuple[Path, ...]
    threads: int | None
    """The threads that the parent computes with; None where it has not imported torch, which then decides."""
    sharing: int
    """How many workers share these threads."""


@dataclass(eq=False)
class Place:
    """A worker's place: a device, and who works on it now."""

    order: WorkOrder
    worker: Worker | None = None
    proven: bool = False
    """Whether its worker has shown that it can work."""
    false_starts: int = 0
    """Workers in a row that died before they had."""

    def prove(self) -> None:
        """Note that its worker can work."""
        self.proven, self.false_starts = True, 0


P = TypeVar("P", bound=Place)


class Workers(Generic[P]):
    """The workers at some places; each runs `target(connection, order)` in a process of its own."""

    def __init__(
        self,
        inbox: Inbox,
        target: Callable[[Connection, WorkOrder], None],
        places: Sequence[P],
        *,
        false_starts: int,
        proof: str,
        apprentice: Apprentice | None = None,
    ) -> None:
        """Start none yet. `false_starts` of one place in a row end everything; `proof` says what a worker has to come
        to, such as "they had loaded the board". An apprentice becomes the first worker.
        """
        self.inbox, self.target, self.places = inbox, target, tuple(places)
        self.most, self.proof, self.apprentice = false_starts, proof, apprentice

    @property
    def active(self) -> Iterator[P]:
        """Places with a worker."""
        return (place for place in self.places if place.worker is not None)

    def start(self, place: P) -> None:
        """Start a worker at a place that has none."""
        place.worker = Worker(self.inbox, self.target, place.order, apprentice=self.apprentice)
        place.proven, self.apprentice = False, None

    def dismiss(self, place: P, reason: str) -> None:
        """End a place's worker at once; what it still says is not heard."""
        if place.worker is not None:
            place.worker.kill(Death("stopped", reason))
            place.worker = None

    def listen(self, seconds: float) -> tuple[P, object] | None:
        """Wait so long for what a worker says. A place whose `Death` is heard has no worker any more.

        Raises `HarnessError` where workers die again and again before they have proven that they can work.
        """
        try:
            worker, message = self.inbox.get(timeout=seconds)
        except queue.Empty:
            return None
        place = next((place for place in self.active if place.worker is worker), None)
        if place is None:
            return None
        if isinstance(message, Death):
            place.worker = None
            place.false_starts += not place.proven
            if place.false_starts >= self.most:
                device = place.order.settings.device
                raise HarnessError(
                    f"{self.most} worker processes in a row on {device} ended before {self.proof}: {message.reason}"
                )
        return place, message

    def close(self) -> list[int]:
        """End all workers and wait for it; gives the process ids of those that were still at work."""
        ended = [place.worker for place in self.active if place.worker is not None]
        for worker in ended:
            worker.kill(Death("stopped", "the run is over"))
            worker.join()
        return [worker.pid for worker in ended]


def share_out(task: Any, options: WorkerOptions) -> list[WorkOrder]:
    """Write an order for each worker, with its own device."""
    torch = sys.modules.get("torch")
    threads, sharing = None if torch is None else torch.get_num_threads(), max(1, options.devices.count("cpu"))
    return [
        WorkOrder(
            task=task,
            settings=replace(options.settings, device=device),
            plugins=options.plugins,
            threads=threads,
            sharing=sharing,
        )
        for device in options.devices
    ]


def begin_work(order: WorkOrder) -> None:
    """Prepare this process for its device: the first thing that a worker does."""
    import torch

    torch.set_num_threads(max(1, (order.threads or torch.get_num_threads()) // order.sharing))
    device = torch.device(order.settings.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def why_unfit(name: str) -> str | None:
    """Tell why this process should run nothing more on a device: after a fault of CUDA it is good for nothing, and
    after a capture that broke off it may be spoiled. None while all is well.
    """
    import torch

    from harness.training.capture import broken_capture

    device = torch.device(name)
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            return "its GPU has had a fault"
    broken = broken_capture()
    return None if broken is None else f"the capture of a CUDA graph broke off in it ({broken})"
