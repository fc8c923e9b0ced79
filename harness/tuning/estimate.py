"""How long a trial takes: measured here by a few steps, or as trials and records elsewhere tell."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.choices import resolve
from harness.execution.hours import RecordedSpeed, expect_training, list_measured
from harness.results.store import read_records
from harness.training.build import set_up
from harness.training.fit import Training
from harness.training.setup import batch_plan
from harness.training.timer import WARM_UP
from harness.tuning.slots import count_trials
from harness.tuning.study import find_study
from harness.tuning.worker import SECONDS

if TYPE_CHECKING:
    from harness.tuning.study import Plan
    from harness.tuning.trial import TrialContext

STEPS = WARM_UP + 10


@dataclass(frozen=True)
class TrialTime:
    """What a trial takes, with all of its seeds."""

    seconds: float
    basis: str
    """Where that is known from, in words."""


def measure_trial(context: TrialContext, plan: Plan) -> TrialTime:
    """Train a few steps of the default configuration and predict validation once; the rest is multiplication."""
    choices = resolve(plan.row, context.registry)
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
    seconds = training.execution.preparation_seconds + plan.epochs * (batches * step / 1000 + judging)
    return TrialTime(len(plan.seeds) * seconds, "here, unless it is pruned")


def recall_trial(context: TrialContext, plan: Plan, *, on_gpu: bool) -> TrialTime | None:
    """What finished trials of the study tell, or else the board's records of that kind of device; trains nothing.

    None where neither does.
    """
    study = find_study(plan)
    trials = () if study is None else count_trials(study).finished
    longest = max((trial.user_attrs[SECONDS] for trial in trials if SECONDS in trial.user_attrs), default=None)
    if longest is not None:
        return TrialTime(longest, "like the longest that the study has finished")
    return _recall_speeds(context, plan, on_gpu=on_gpu)


def _recall_speeds(context: TrialContext, plan: Plan, *, on_gpu: bool) -> TrialTime | None:
    """What the slowest device tells, of those on which the board's records have trained that network at that size."""
    choices = resolve(plan.row, context.registry)
    recipe = replace(choices.recipe, epochs=plan.epochs)
    if recipe.train in ("head", "neighbors"):
        return None  # it embeds once, and what a head takes is not recorded
    by_device: dict[str, list[RecordedSpeed]] = {}
    for speed in list_measured(read_records(plan.board.folder).records):
        if (speed.model, speed.size, speed.on_gpu) == (choices.model.name, recipe.size, on_gpu):
            by_device.setdefault(speed.device, []).append(speed)
    split = context.data(recipe.load_size).data.table["split"]
    train, val = (int((split == name).sum()) for name in ("train", "val"))
    found = [
        TrialTime(
            len(plan.seeds) * expect_training(recipe, train, recipe.epochs * val, speeds),
            f"by the speed in the board's records ({device}), unless it is pruned",
        )
        for device, speeds in by_device.items()
    ]
    return max(found, key=lambda one: one.seconds, default=None)
