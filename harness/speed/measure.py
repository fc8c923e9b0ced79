"""Training speed of a network on this machine, by the real engine on random images."""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.components import Data, Loss, Model, Recipe, Task
from harness.data.placement import place
from harness.data.prepare import Prepared
from harness.speed.plain import time_plain_script, write_originals
from harness.training.cost import count_flops
from harness.training.engine import Engine
from harness.training.fit import Training
from harness.training.numerics import DTYPES
from harness.training.objective import make_objective
from harness.training.pace import wait_for
from harness.training.preparation import prepare_step
from harness.training.setup import Setup
from harness.training.step import Step

if TYPE_CHECKING:
    from torch import Tensor, nn

LABELS = 14
ROUNDS = 3
"""Epochs of the engine, each followed by as many steps of the tight loop; medians are given."""
TRAINING_IMAGES, EPOCHS = 86_524, 20
"""Of ChestX-ray14's official training list, and how often they are seen, in the time that is extrapolated."""


@dataclass(frozen=True)
class Request:
    """What is to be measured."""

    model: Model
    loss: Loss
    recipe: Recipe
    images: int
    """Random training images, an epoch of which is timed."""
    device: torch.device
    engine: Engine
    plain_seconds: float = 20.0
    """How long the plain script is timed; 0: not at all."""


@dataclass(frozen=True)
class Speed:
    """What was measured; speeds in images a second."""

    batch_size: int
    engine: float
    tight_loop: float
    """The engine's step on one constant batch that is already augmented."""
    plain_script: float | None
    inference: float
    step_milliseconds: float
    peak_device_bytes: int | None
    start_seconds: float
    """From the start of the process to the first step that counts: imports, placing, compiling, capturing."""
    execution: dict[str, object]
    """Precision, how steps were executed, and why."""
    parameters: int
    flops_per_image: int | None

    @property
    def hours(self) -> float:
        """Of 20 epochs of ChestX-ray14's official training images."""
        return EPOCHS * TRAINING_IMAGES / self.engine / 3600


def measure_speed(request: Request) -> Speed:
    """Train on random images. Raises `OutOfMemoryError` with the largest batch that fits, and what training raises."""
    if request.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(request.device)
    setup = _set_up(request)
    training = Training(setup)
    epochs = training.epochs()
    next(epochs)  # warms up
    start_seconds = _process_seconds() - training.history[0].seconds
    tight = _make_tight_loop(training)
    engine, loop, milliseconds = [], [], []
    for _ in range(ROUNDS):
        timing = next(epochs).timing
        assert timing is not None
        engine.append(timing.images / timing.seconds)
        milliseconds.append(timing.median)
        loop.append(_time(tight, training.batches, request.device) * training.batch_size)
    inference = statistics.median(
        _time(lambda: training.predictor.logits("test"), 1, request.device) for _ in range(ROUNDS)
    )
    peak = torch.cuda.max_memory_allocated(request.device) if request.device.type == "cuda" else None
    execution = {name: value for name, value in vars(training.execution).items() if name != "preparation_seconds"}
    return Speed(
        batch_size=training.batch_size,
        engine=statistics.median(engine),
        tight_loop=statistics.median(loop),
        plain_script=_time_plain(request, setup.task, training.execution.precision) if request.plain_seconds else None,
        inference=inference * len(setup.placed.splits["test"]),
        step_milliseconds=statistics.median(milliseconds),
        peak_device_bytes=peak,
        start_seconds=start_seconds,
        execution=execution,
        parameters=sum(parameter.numel() for parameter in setup.network.parameters()),
        flops_per_image=count_flops(setup.network, setup.task),
    )


def _set_up(request: Request) -> Setup:
    prepared = _random_images(request)
    recipe, channels = request.recipe, request.model.inputs.channels or 3
    labels = prepared.data.labels
    task = Task(labels, channels, recipe.size, (0.5,) * channels, (0.25,) * channels, (0.05,) * LABELS)
    torch.manual_seed(0)
    return Setup(
        network=request.model.build(task).to(request.device),
        objective=make_objective(request.loss, task, {}, request.device),
        placed=place(prepared, request.device, request.engine.placement),
        recipe=recipe,
        task=task,
        seed=0,
        engine=request.engine,
    )


def _random_images(request: Request) -> Prepared:
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
    return Prepared(Data(tuple(f"l{n}" for n in range(LABELS)), images, targets, table), images, (), {}, "")


def _make_tight_loop(training: Training) -> Callable[[], None]:
    """The same step on one constant, already augmented batch."""
    index = training.setup.placed.splits["train"][: training.batch_size]
    view = training.step.see(index, next(_images(training, index))).clone()
    step = Step(training.setup, training.state, training.step.numerics, training.step.forward, lambda *_: view)
    step.micro_batch = training.step.micro_batch
    execution = copy.deepcopy(training.execution)
    execution.compiled = False  # its network is what the engine made of it, compiled or not
    prepare_step(step, execution, training.batch_size, training.state.take())
    images = next(_images(training, index))

    def run() -> None:
        step(index, images)

    return run


def _images(training: Training, index: Tensor) -> Iterator[Tensor | None]:
    """What a batch of the engine has beside its index: images where they are streamed."""
    for _, images in training.setup.placed.batches([index]):
        yield images


def _time(function: Callable[[], object], times: int, device: torch.device) -> float:
    """Calls a second."""
    wait_for(device)
    started = time.perf_counter()
    for _ in range(times):
        function()
    wait_for(device)
    return times / (time.perf_counter() - started)


def _time_plain(request: Request, task: Task, precision: str) -> float:
    dtype = None if precision == "float32" else DTYPES[precision]
    network: nn.Module = request.model.build(task).to(request.device)
    with tempfile.TemporaryDirectory() as folder:
        files = write_originals(Path(folder))
        return time_plain_script(
            network,
            files,
            request.recipe,
            task.channels,
            request.device,
            dtype,
            workers=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            seconds=request.plain_seconds,
        )


def _process_seconds() -> float:
    """Since this process began."""
    import psutil

    return time.time() - float(psutil.Process().create_time())
