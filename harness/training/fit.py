"""Training: epochs over the training split, the best one picked on validation."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness.components import Recipe, Task
from harness.data.augmentation import training_view
from harness.data.placement import Placed
from harness.errors import NotFiniteError
from harness.training.objective import Objective
from harness.training.optimization import RateSchedule, make_optimizer, make_schedule
from harness.training.precision import autocast
from harness.training.prediction import predict_logits

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

Judge = Callable[["Tensor"], float]
"""Validation logits (n, C) -> the value that picks the epoch, larger is better; NaN where it is undefined."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    number: int
    """From 1."""
    lr: float
    train_loss: float
    val_loss: float
    value: float
    """Of what picks the epoch, larger is better: the negative loss, or a metric turned that way."""
    best: bool
    """Whether it is the best so far."""
    seconds: float
    images: int
    """Trained on in this epoch: the last short batch is dropped."""


@dataclass(frozen=True, eq=False)
class Setup:
    """All that training needs; `network` and `objective` are on `placed.device` and are changed in place."""

    network: nn.Module
    objective: Objective
    placed: Placed
    recipe: Recipe
    task: Task
    seed: int
    judge: Judge | None
    """None: the validation loss picks the epoch."""


def stream(seed: int, purpose: str) -> int:
    """A seed for one purpose of one combo, so that its random streams depend on nothing else."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7])


def fit(setup: Setup) -> Iterator[Epoch]:
    """Train, yielding after each epoch; when exhausted, the network holds the best epoch's weights.

    Raises `NotFiniteError` when the training loss stops being a number.
    """
    placed, recipe = setup.placed, setup.recipe
    generator = torch.Generator(placed.device).manual_seed(stream(setup.seed, "batches"))
    parameters = [*setup.network.parameters(), *setup.objective.parameters()]
    optimizer = make_optimizer(recipe, parameters, placed.device)
    batch_size, batches = batch_plan(len(placed.splits["train"]), recipe.batch_size)
    schedule = make_schedule(recipe, optimizer, batches)
    best, best_weights, waited = math.nan, _copy(setup.network), 0
    for number in range(1, recipe.epochs + 1):
        started, lr = time.perf_counter(), float(optimizer.param_groups[0]["lr"])
        order = torch.randperm(len(placed.splits["train"]), generator=generator, device=placed.device)
        index = placed.splits["train"][order[: batches * batch_size]]
        train_loss = _train_epoch(setup, optimizer, schedule, index.split(batch_size), number, generator)
        seconds = time.perf_counter() - started
        val_loss, value = _validate(setup, number)
        schedule.after_epoch(val_loss)
        improved = number == 1 or value > best or (math.isnan(best) and not math.isnan(value))
        waited = 0 if improved else waited + 1
        if improved:
            best, best_weights = value, _copy(setup.network)
        yield Epoch(number, lr, train_loss, val_loss, value, improved, seconds, len(index))
        if recipe.patience is not None and waited >= recipe.patience:
            break
    setup.network.load_state_dict(best_weights)


def batch_plan(images: int, batch_size: int) -> tuple[int, int]:
    """Batch size and batches an epoch: whole batches only, or one of all images where they do not fill one."""
    batch_size = min(batch_size, images)
    return batch_size, images // batch_size


def _train_epoch(
    setup: Setup,
    optimizer: Optimizer,
    schedule: RateSchedule,
    batches: tuple[Tensor, ...],
    number: int,
    generator: torch.Generator,
) -> float:
    """One pass; gives the mean loss. The device is waited for once, at the end."""
    setup.network.train()
    total = torch.zeros((), device=setup.placed.device)
    mirrors = setup.placed.data.mirrors
    for index in batches:
        images, targets, known = setup.placed.batch(index)
        view = training_view(images, setup.recipe, setup.task, mirrors=mirrors, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        with autocast(setup.recipe, setup.placed.device):
            logits = setup.network(view.contiguous(memory_format=torch.channels_last))
        loss = setup.objective(logits, targets, known, {"epoch": number, "index": index})
        loss.backward()
        optimizer.step()
        schedule.after_step()
        total += loss.detach()
    mean = float(total) / len(batches)
    if not math.isfinite(mean):
        raise NotFiniteError(f"the training loss became {mean} in epoch {number}; try a lower recipe.lr")
    return mean


def _validate(setup: Setup, number: int) -> tuple[float, float]:
    """The validation loss, and the value of what picks the epoch, larger is better."""
    logits = predict_logits(setup.network, setup.placed, "val", setup.recipe, setup.task)
    index = setup.placed.splits["val"]
    known = None if setup.placed.known is None else setup.placed.known[index]
    with torch.inference_mode():
        loss = float(setup.objective(logits, setup.placed.targets[index], known, {"epoch": number, "index": index}))
    return loss, -loss if setup.judge is None else setup.judge(logits)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
