"""How long a trial takes here: a few steps and one prediction of validation, with the default configuration."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.choices import resolve
from harness.training.build import set_up
from harness.training.fit import Training
from harness.training.setup import batch_plan
from harness.training.timer import WARM_UP
from harness.tuning.trial import TrialContext

if TYPE_CHECKING:
    from harness.board import Row

STEPS = WARM_UP + 10


@dataclass(frozen=True)
class Estimate:
    """What a trial that is not pruned takes."""

    seconds: float
    step_milliseconds: float
    steps: int
    """The steps of all its epochs."""


def estimate(context: TrialContext, row: Row, epochs: int, seeds: int) -> Estimate:
    """Train a few steps and predict validation once; the rest is multiplication."""
    choices = resolve(row, context.registry)
    prepared = context.data(choices.recipe.load_size)
    placed = context.place(prepared)
    images = len(placed.splits["train"])
    batch_size, batches = batch_plan(images, choices.recipe.batch_size)
    few = min(images, batch_size * min(batches, STEPS))
    short = replace(placed, splits={**placed.splits, "train": placed.splits["train"][:few]})
    recipe = replace(choices.recipe, epochs=1, freeze_epochs=0, select_on="loss", patience=None, oversample={})
    recipe = replace(recipe, schedule=replace(recipe.schedule, kind="constant", warmup=0.0, watch="loss"))
    training = Training(set_up(replace(choices, recipe=recipe), prepared, short, 0, {}, context.settings.engine))
    started = time.perf_counter()
    (epoch,) = training.epochs()
    whole = time.perf_counter() - started
    step = epoch.timing.median if epoch.timing is not None else 1000 * epoch.seconds / max(1, few // batch_size)
    judging = max(0.0, whole - epoch.seconds - training.execution.preparation_seconds)
    seconds = training.execution.preparation_seconds + epochs * (batches * step / 1000 + judging)
    return Estimate(seconds * seeds, step, batches * epochs * seeds)
