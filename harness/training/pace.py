"""How far a long epoch is: told about once a second by the host's clock, so that the device is never waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

QUIET = 3.0
"""Seconds of an epoch in which nothing is told: a short epoch is not worth it."""
EVERY = 1.0
"""Seconds between two tellings."""


@dataclass(frozen=True)
class Steps:
    """Steps of an epoch that were begun so far."""

    epoch: int
    """The number of the epoch, from 1."""
    done: int
    total: int


OnSteps = Callable[[Steps], None]


class Pace:
    """Watches the steps of one epoch. A step costs it one look at the host's clock."""

    def __init__(self, epoch: int, total: int, on_steps: OnSteps, clock: Callable[[], float] = time.monotonic) -> None:
        self._epoch, self._total = epoch, total
        self._on_steps, self._clock = on_steps, clock
        self._next = clock() + QUIET

    def tick(self, done: int) -> None:
        """Note that so many steps were begun, and tell it where it is time."""
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            self._on_steps(Steps(self._epoch, done, self._total))
