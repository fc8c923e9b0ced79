"""What an epoch came to, as one process tells it to another: torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Timing:
    """What was timed in an epoch."""

    images: int
    """Images trained on in `seconds`."""
    seconds: float
    median: float
    """The median time of a step, in milliseconds."""
    p95: float
    """The 95th percentile of the times of steps, in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch came to."""

    number: int
    """The number of the epoch, from 1."""
    lr: float
    """The learning rate of its first step."""
    train_loss: float
    val_loss: float
    value: float
    """The value on validation that picks the best epoch."""
    best: bool
    """Whether it is the best so far."""
    seconds: float
    """Seconds of training, without validation."""
    images: int
    """Images trained on in this epoch: the last short batch is dropped."""
    timing: Timing | None
    """The timing of its steps after the warm-up, if there were any."""
    values: Mapping[str, float] = field(default_factory=dict)
    """What validation came to by each of the setup's validation metrics, by its name."""
