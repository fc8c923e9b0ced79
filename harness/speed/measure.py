"""Training speed of a network on this machine, by the real engine on random images."""

from __future__ import annotations

import copy
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from harness.machine import count_processors
from harness.speed.plain import time_plain_script, write_originals
from harness.speed.reference import BareStep, count_bytes, measure_copying
from harness.speed.request import (
    EPOCHS,
    LABELS,
    PASSES,
    ROUNDS,
    TRAINING_IMAGES,
    SpeedRequest,
    make_random_images,
    make_setup,
    make_task,
)
from harness.training.cost import count_flops
from harness.training.epoch import Epoch
from harness.training.fit import Training
from harness.training.memory import release
from harness.training.numerics import DTYPES, choose_numerics, computing
from harness.training.preparation import prepare_step, set_mode
from harness.training.setup import batch_plan
from harness.training.timer import wait_for

if TYPE_CHECKING:
    from torch import Tensor, nn

Measurement = TypeVar("Measurement")
INFERENCES = 3
"""Times that the test images are predicted."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured; speeds in images a second."""

    loss: str
    recipe: str
    size: int
    """Height and width of the images in pixels."""
    batch_size: int
    engine: float
    tight_loop: float
    """The engine's step on one constant batch that is already augmented."""
    engine_over_tight_loop: float
    """Median of the rounds' ratios."""
    inference: float
    step_milliseconds: float
    peak_device_bytes: int | None
    """The most that tensors took while the engine trained and validated; None on a CPU."""
    peak_reserved_bytes: int | None
    """The most that the allocator had taken from the device for them."""
    start_seconds: float
    """Seconds from the start of the process, or of this measurement where it is not the first one, until all is
    prepared: imports, placing, compiling and capturing of training and prediction; without the making of random images.
    """
    execution: dict[str, object]
    """Precision, how steps were executed, and why."""
    parameters: int
    flops_per_image: int | None
    reference: float | None = None
    """What is none of this harness's code: on a CPU a bare loop of torch's modules on one constant batch; on a GPU the
    rate at which it could copy the bytes that such a step reads and writes, operation by operation.
    """
    engine_over_reference: float | None = None
    """The engine's speed over the reference's: on a CPU the median of the rounds' ratios.

    On a GPU a step that fuses operations can exceed 1.
    """
    bytes_per_image: int | None = None
    copied_bytes_per_second: float | None = None
    """Bytes that are read and written; with the bytes above, what the reference is on a GPU."""
    plain_script: float | None = None
    notes: tuple[str, ...] = ()
    """Why a figure is missing."""

    @property
    def engine_over_plain_script(self) -> float | None:
        """The engine's speed over the plain script's; None without a plain script."""
        return self.engine / self.plain_script if self.plain_script else None

    @property
    def hours(self) -> float:
        """Hours that 20 epochs of ChestX-ray14's official training images take."""
        return EPOCHS * TRAINING_IMAGES / self.engine / 3600


@dataclass(frozen=True)
class Round:
    """One turn of each; speeds in images a second."""

    engine: float
    tight_loop: float
    reference: float | None
    step_milliseconds: float


def measure_speed(request: SpeedRequest) -> Speed:
    """Train on random images. Raises `OutOfMemoryError` with the largest batch that fits, and what training raises.

    What comes after the engine has its memory; where it fails, its figure is None and a note says why.
    """
    with computing(request.device, request.recipe.precision):
        return _measure(request)


def _measure(request: SpeedRequest) -> Speed:
    speed = _measure_engine(request)
    release()
    notes: list[str] = []
    if request.device.type == "cuda":
        memory_figures = _try("the reference", notes, lambda: _measure_memory(request))
        if memory_figures is not None:
            moved, copied = memory_figures
            reference = copied / moved
            speed = replace(
                speed,
                reference=reference,
                engine_over_reference=speed.engine / reference,
                bytes_per_image=moved,
                copied_bytes_per_second=copied,
            )
    if request.plain_seconds:
        precision = str(speed.execution["precision"])
        plain = _try("the plain script", notes, lambda: _time_plain(request, precision))
        speed = replace(speed, plain_script=plain)
    return replace(speed, notes=tuple(notes))


def _try(what: str, notes: list[str], measure: Callable[[], Measurement]) -> Measurement | None:
    """Measure, or note why that failed."""
    measurement = None
    try:
        measurement = measure()
    except Exception as error:  # noqa: BLE001 - whatever happens here, the engine's figures are not lost
        reason = str(error).strip().partition("\n")[0]
        notes.append(f"{what} could not be timed: {type(error).__name__}: {reason}")
    release()
    return measurement


def _measure_engine(request: SpeedRequest) -> Speed:
    """All but what comes after the engine, of which nothing but the figures is left."""
    _start_counting_memory(request.device)
    started = time.perf_counter()
    before = _process_seconds() if request.first else 0.0
    prepared = make_random_images(request)
    before -= time.perf_counter() - started
    setup = make_setup(request, prepared)
    training = Training(setup)
    start_seconds = before + time.perf_counter() - started
    epochs = training.epochs()
    next(epochs)  # warms up
    start_seconds += training.execution.preparation_seconds
    peaks = _read_memory(request.device)
    rounds = _take_rounds(request, training, epochs)
    inference = statistics.median(
        _time(lambda: training.predictor.logits("test"), 1, request.device) for _ in range(INFERENCES)
    )
    references = [one.reference for one in rounds if one.reference is not None]
    over_reference = [one.engine / one.reference for one in rounds if one.reference is not None]
    execution = {name: value for name, value in vars(training.execution).items() if name != "preparation_seconds"}
    return Speed(
        loss=request.loss.name,
        recipe=request.recipe.name,
        size=request.recipe.size,
        batch_size=training.batch_size,
        engine=statistics.median(one.engine for one in rounds),
        tight_loop=statistics.median(one.tight_loop for one in rounds),
        engine_over_tight_loop=statistics.median(one.engine / one.tight_loop for one in rounds),
        inference=inference * len(setup.placed.splits["test"]),
        step_milliseconds=statistics.median(one.step_milliseconds for one in rounds),
        peak_device_bytes=peaks[0],
        peak_reserved_bytes=peaks[1],
        start_seconds=start_seconds,
        execution=execution,
        parameters=sum(parameter.numel() for parameter in setup.network.parameters()),
        flops_per_image=count_flops(setup.network, setup.task),
        reference=statistics.median(references) if references else None,
        engine_over_reference=statistics.median(over_reference) if over_reference else None,
    )


def _take_rounds(request: SpeedRequest, training: Training, epochs: Iterator[Epoch]) -> list[Round]:
    """The engine's epochs, cut short to a part, in turns with the tight loop and, on a CPU, with a bare loop."""
    steps = max(2, math.ceil(PASSES * training.batches / ROUNDS))
    training.shorten_epochs(steps)
    tight = _make_tight_loop(training)
    bare = _make_bare_step(request, training.batch_size) if request.device.type == "cpu" else None
    if bare is not None:
        bare()
    rounds = []
    for _ in range(ROUNDS):
        timing = next(epochs).timing
        assert timing is not None
        set_mode(training.setup, frozen=False)  # which validation has left
        rounds.append(
            Round(
                engine=timing.images / timing.seconds,
                tight_loop=_time(tight, steps, request.device) * training.batch_size,
                reference=None if bare is None else _time(bare, steps, request.device) * training.batch_size,
                step_milliseconds=timing.median,
            )
        )
    return rounds


def _make_tight_loop(training: Training) -> Callable[[], None]:
    """The same step on one constant, already augmented batch; the network has to be in training mode when it is run."""
    index = training.setup.placed.splits["train"][: training.batch_size]
    step = training.step.fix_view(index, next(_images(training, index)))
    execution = copy.deepcopy(training.execution)
    execution.compiled = False  # its network is what the engine made of it, compiled or not
    set_mode(training.setup, frozen=False)
    prepare_step(step, execution, training.batch_size, training.state.take())
    images = next(_images(training, index))

    def run() -> None:
        step(index, images)

    return run


def _make_bare_step(request: SpeedRequest, batch_size: int) -> BareStep:
    """A step of torch's own modules on random images and targets, with a network of its own."""
    task, device = make_task(request), request.device
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, task.channels, task.size, task.size, generator=generator)
    targets = (torch.rand(batch_size, LABELS, generator=generator) < 0.05).float()
    network: nn.Module = request.model.build(task).to(device)
    numerics = choose_numerics(request.recipe, device, network)
    return BareStep(network, images.to(device), targets.to(device), request.recipe, numerics)


def _measure_memory(request: SpeedRequest) -> tuple[int, float]:
    """Bytes an image that a bare step moves, and bytes a second that the device copies."""
    batch_size, _ = batch_plan(request.images, request.recipe.batch_size)
    step = _make_bare_step(request, batch_size)
    step()  # after which the optimizer has its state
    return count_bytes(step) // batch_size, measure_copying(request.device)


def _start_counting_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.init()  # before which a device with a number has no statistics
        torch.cuda.reset_peak_memory_stats(device)


def _read_memory(device: torch.device) -> tuple[int, int] | tuple[None, None]:
    """Bytes at most of tensors, and of what was reserved for them."""
    if device.type != "cuda":
        return None, None
    return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)


def _images(training: Training, index: Tensor) -> Iterator[Tensor | None]:
    """What a batch of the engine has beside its index: images where they are streamed."""
    for _, images in training.setup.placed.batches([index]):
        yield images


def _time(function: Callable[[], object], times: int, device: torch.device) -> float:
    """Return how many calls are made in a second."""
    wait_for(device)
    started = time.perf_counter()
    for _ in range(times):
        function()
    wait_for(device)
    return times / (time.perf_counter() - started)


def _time_plain(request: SpeedRequest, precision: str) -> float:
    task = make_task(request)
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
            workers=count_processors(),
            seconds=request.plain_seconds,
        )


def _process_seconds() -> float:
    """Return the seconds since this process began."""
    import psutil

    return time.time() - float(psutil.Process().create_time())
