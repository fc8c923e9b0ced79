"""Ctrl-C: the first one asks for an orderly end, the second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""SIGTERM is what a cluster's scheduler says before it kills."""


@dataclass(frozen=True)
class Left:
    """A combo that an interrupted run has not finished."""

    name: str
    epoch: int
    """The epoch after which it goes on; 0 where it has not begun."""
    epochs: int


class Interrupted(KeyboardInterrupt):
    """A run that was ended by its user; what is finished is kept."""

    def __init__(self, left: tuple[Left, ...], jobs: int = 0) -> None:
        super().__init__()
        self.left = left
        self.jobs = jobs
        """Jobs elsewhere that go on."""


class Interruption:
    """Listens for Ctrl-C while a run goes on."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.asked = False
        self.number: int | None = None
        """The signal that asked."""
        self.jobs = 0
        """Jobs elsewhere that go on."""
        self._tell = tell
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked, self.number = True, number
        self._tell()
