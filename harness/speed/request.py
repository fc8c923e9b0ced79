"""What the speed is measured of, and the random data that it is measured on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from harness.components import Data, Loss, Model, Recipe, Task
from harness.data.placement import place
from harness.data.prepare import Prepared
from harness.training.engine import EngineOptions
from harness.training.objective import make_objective
from harness.training.setup import Setup, batch_plan

LABELS = 14
TRAINING_IMAGES, EPOCHS = 86_524, 20
"""Images of ChestX-ray14's official training list, and how often the training that is extrapolated sees them."""
ROUNDS, PASSES = 15, 3
"""Rounds in which the engine, its tight loop and the reference take turns, so that whatever else the machine does meets
them alike; and how often the engine sees the images in all rounds together. Medians over rounds are given.
"""


@dataclass(frozen=True, kw_only=True)
class SpeedRequest:
    """What is to be measured."""

    model: Model
    loss: Loss
    recipe: Recipe
    images: int
    """Random training images."""
    device: torch.device
    engine: EngineOptions
    plain_seconds: float = 20.0
    """How long the plain script is timed; 0: not at all."""
    first: bool = True
    """Whether the process was started for this, so that its start is part of `start_seconds`."""


def make_task(request: SpeedRequest) -> Task:
    """The task of a network that eats as many channels as the model wants, of images at the recipe's size."""
    recipe, channels = request.recipe, request.model.inputs.channels or 3
    labels = tuple(f"l{number}" for number in range(LABELS))
    return Task(
        labels=labels,
        channels=channels,
        size=recipe.size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        prevalence=(0.05,) * LABELS,
    )


def make_setup(request: SpeedRequest, prepared: Prepared) -> Setup:
    """What a training is given that sees as many images as the one that is extrapolated: if one compiles, so does the
    other.
    """
    task = make_task(request)
    torch.manual_seed(0)
    return Setup(
        network=request.model.build(task).to(request.device),
        objective=make_objective(request.loss, task, {}, request.device),
        placed=place(prepared, request.device, request.engine.placement),
        recipe=replace(request.recipe, epochs=_count_epochs(request)),
        task=task,
        seed=0,
        engine=request.engine,
    )


def _count_epochs(request: SpeedRequest) -> int:
    """Enough for the images of the training that is extrapolated, of whole batches, and for every round."""
    batch_size, batches = batch_plan(request.images, request.recipe.batch_size)
    return max(math.ceil(EPOCHS * TRAINING_IMAGES / (batch_size * batches)), ROUNDS + 1)


def make_random_images(request: SpeedRequest) -> Prepared:
    """Random pixels and targets: training images, a few for validation, and test images to time inference on."""
    import pandas as pd

    counts = {"train": request.images, "val": 32, "test": max(64, request.images // 4)}
    total, side = sum(counts.values()), request.recipe.load_size
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (total, side, side), dtype=np.uint8)
    targets = (generator.random((total, LABELS)) < 0.05).astype(np.float32)
    names = [f"i{number}" for number in range(total)]
    split = np.repeat(list(counts), list(counts.values()))
    table = pd.DataFrame({"image": names, "split": split, "patient": names})
    data = Data(labels=make_task(request).labels, images=images, targets=targets, table=table)
    return Prepared(data=data, images=images, digest="")
