"""The learning rate of every step: a function of the step, and for plateau of what validation has said so far."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from harness.components import Recipe, Schedule

MARGIN = 1e-4
"""plateau: share of the best value by which a better one must differ, torch's default."""
START, END = 1 / 25, 1e-4
"""one-cycle: first rate as a share of the highest, and last as a share of the first; torch's defaults."""


@dataclass
class Plateau:
    """What plateau remembers: torch's `ReduceLROnPlateau`, in relative mode and without a cooldown."""

    scale: float = 1.0
    best: float = math.nan
    waited: int = 0

    def observe(self, value: float, schedule: Schedule, *, higher_is_better: bool) -> None:
        """Take an epoch's validation value into account; one that is NaN is no better."""
        margin = abs(self.best) * MARGIN
        better = value > self.best + margin if higher_is_better else value < self.best - margin
        if better or (math.isnan(self.best) and not math.isnan(value)):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > schedule.patience:
            self.scale, self.waited = self.scale * schedule.factor, 0


class RateSchedule:
    """The recipe's learning rate; an epoch has `steps` of the optimizer."""

    def __init__(self, recipe: Recipe, steps: int) -> None:
        self.recipe = recipe
        self.steps = steps
        self.plateau = Plateau()

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 over the whole training."""
        schedule, total = self.recipe.schedule, self.recipe.epochs * self.steps
        if schedule.kind == "one-cycle":
            return self.recipe.lr * _one_cycle(step, total, schedule.rise)
        warmup = schedule.warmup * self.steps
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return self.recipe.lr * rising * self._shape(schedule, step, warmup, total)

    def _shape(self, schedule: Schedule, step: int, warmup: float, total: int) -> float:
        if schedule.kind == "plateau":
            return self.plateau.scale
        if schedule.kind == "step":
            return schedule.factor ** (step // self.steps // schedule.every)
        if schedule.kind == "cosine":
            done = min(1.0, max(0.0, step - warmup) / max(1.0, total - warmup))
            return schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * done)) / 2
        return 1.0

    def observe(self, value: float, *, higher_is_better: bool) -> None:
        """Tell what an epoch came to on validation."""
        if self.recipe.schedule.kind == "plateau":
            self.plateau.observe(value, self.recipe.schedule, higher_is_better=higher_is_better)

    def state(self) -> dict[str, float]:
        """What has to be kept to go on later, as plain data."""
        return asdict(self.plateau)

    def load(self, state: dict[str, float]) -> None:
        """Go on from a state."""
        self.plateau = Plateau(state["scale"], state["best"], int(state["waited"]))


def _one_cycle(step: int, total: int, rise: float) -> float:
    """Up along a cosine for a share of the steps, then down to almost nothing (Smith and Topin 2017), as torch does it
    over `total + 1` steps.
    """
    top = rise * (total + 1) - 1
    if step <= top:
        return 1 + (START - 1) * (1 + math.cos(math.pi * step / top)) / 2
    low = START * END
    return low + (1 - low) * (1 + math.cos(math.pi * (step - top) / (total - top))) / 2
