"""What a training is given, and its random streams."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.components import Recipe, Task
from harness.data.columns import ColumnCode
from harness.training.engine import DEFAULT_ENGINE_OPTIONS, EngineOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.data.placement import Placed
    from harness.training.objective import Objective


@dataclass(frozen=True)
class ValidationMetric:
    """A metric of the validation split, as a function of the network's logits."""

    compute: Callable[[Tensor], float]
    """Logits (n, C) of the validation split -> the metric's value; NaN where it is undefined."""
    higher_is_better: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Setup:
    """All that training needs; `network` and `objective` are on `placed.device` and are changed in place."""

    network: nn.Module
    objective: Objective
    placed: Placed
    recipe: Recipe
    task: Task
    seed: int
    validation_metrics: Mapping[str, ValidationMetric] = field(default_factory=dict)
    """Metrics by the names that the recipe uses (`select_on`, `schedule.watch`); `loss` needs none."""
    engine: EngineOptions = DEFAULT_ENGINE_OPTIONS
    table: Tensor | None = None
    """(N, F, 2) float32 on the device: what the network gets beside images; None where it wants none."""
    codes: tuple[ColumnCode, ...] = ()
    """How the dataset's columns became that table."""
    notes: tuple[str, ...] = ()
    """How a file of initial weights was placed in the network, and what of the table is missing, in a line each."""


def beside(table: Tensor | None, index: Tensor) -> tuple[Tensor, ...]:
    """What the network is called with after the images at `index` (B,): their rows of the table, where there is one."""
    return () if table is None else (table.index_select(0, index),)


def stream(seed: int, purpose: str) -> int:
    """A seed for one purpose of one combo, so that its random streams depend on nothing else."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7])


def batch_plan(images: int, batch_size: int) -> tuple[int, int]:
    """Batch size and batches an epoch: whole batches only, or one of all images where they do not fill one."""
    batch_size = min(batch_size, images)
    return batch_size, images // batch_size
