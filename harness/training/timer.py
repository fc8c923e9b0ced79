"""The time of steps, measured without waiting for the device at each."""

from __future__ import annotations

import statistics
import time

import torch

from harness.training.epoch import Timing

WARM_UP = 3
"""First steps that are not counted: in them libraries load what they need."""
MARKS = 1000
"""Steps of an epoch at most that are timed one by one."""


class StepTimer:
    """A clock for the steps of one epoch; the device is waited for twice, whatever their number."""

    def __init__(self, device: torch.device, batch_size: int, warm_up: int) -> None:
        self.device, self.batch_size, self.warm_up = device, batch_size, warm_up
        self.steps = 0
        self.marks: list[float | torch.cuda.Event] = []
        self.started = time.perf_counter()

    def tick(self) -> None:
        """Note that a step is about to begin."""
        if self.steps == self.warm_up:
            wait_for(self.device)
            self.started = time.perf_counter()
        if self.steps >= self.warm_up and len(self.marks) <= MARKS:
            self._mark()
        self.steps += 1

    def stop(self) -> Timing | None:
        """Wait for the last step, after all have begun. None where no step was counted."""
        if len(self.marks) <= MARKS:
            self._mark()
        wait_for(self.device)
        seconds = time.perf_counter() - self.started
        spans = sorted(_milliseconds(one, next_) for one, next_ in zip(self.marks, self.marks[1:], strict=False))
        if not spans:
            return None
        counted = self.steps - self.warm_up
        return Timing(
            images=counted * self.batch_size,
            seconds=seconds,
            median=statistics.median(spans),
            p95=spans[min(len(spans) - 1, int(0.95 * len(spans)))],
        )

    def _mark(self) -> None:
        if self.device.type != "cuda":
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        self.marks.append(event)


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _milliseconds(one: float | torch.cuda.Event, other: float | torch.cuda.Event) -> float:
    if isinstance(one, torch.cuda.Event) and isinstance(other, torch.cuda.Event):
        return float(one.elapsed_time(other))
    assert isinstance(one, float)
    assert isinstance(other, float)
    return (other - one) * 1000
