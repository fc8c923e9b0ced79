"""From a recipe to an optimizer and a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from harness.components import Recipe

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter], device: torch.device) -> Optimizer:
    """Adam (L2 penalty in the gradient) or AdamW (decoupled decay), fused on CUDA."""
    kinds: dict[str, Callable[..., Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return kinds[recipe.optimizer](
        trained, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=device.type == "cuda" or None
    )


@dataclass(frozen=True)
class RateSchedule:
    """Moves the learning rate: after each step, and after each epoch by its validation loss."""

    after_step: Callable[[], None]
    after_epoch: Callable[[float], None]


def make_schedule(recipe: Recipe, optimizer: Optimizer, steps_per_epoch: int) -> RateSchedule:
    """The recipe's schedule. Plateau is torch's, with its threshold of 1e-4 of the best loss."""
    schedule = recipe.schedule
    if schedule.kind == "plateau":
        plateau = ReduceLROnPlateau(optimizer, mode="min", factor=schedule.factor, patience=schedule.patience)
        return RateSchedule(_nothing, plateau.step)
    if schedule.kind == "one-cycle":
        steps = recipe.epochs * steps_per_epoch
        cycle = OneCycleLR(
            optimizer, max_lr=recipe.lr, total_steps=steps + 1, pct_start=schedule.warmup, cycle_momentum=False
        )
        return RateSchedule(cycle.step, lambda _: None)
    return RateSchedule(_nothing, lambda _: None)


def _nothing() -> None:
    """A schedule that leaves the rate alone."""
