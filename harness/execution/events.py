"""What a run tells whoever watches: plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.results.record import Record
    from harness.training.fit import Epoch


@dataclass(frozen=True)
class Preparing:
    """Images decoded so far."""

    dataset: str
    done: int
    total: int


@dataclass(frozen=True)
class ComboStarted:
    """A combo's training begins."""

    name: str
    number: int
    """From 1, of those that this run trains."""
    total: int
    epochs: int


@dataclass(frozen=True)
class EpochFinished:
    """A combo has finished an epoch."""

    name: str
    epoch: Epoch
    epochs: int


@dataclass(frozen=True)
class ComboFinished:
    """A combo has left its record."""

    record: Record
    seconds: float


Event = Preparing | ComboStarted | EpochFinished | ComboFinished
Listener = Callable[[Event], None]
