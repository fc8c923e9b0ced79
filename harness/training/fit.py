"""Training: epochs over the training split, the best one picked on validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from harness.training.checkpoint import Checkpoint, Saved
from harness.training.compilation import explain_limit, reset_compiler
from harness.training.draw import Draw
from harness.training.engine import Execution, decide_compile
from harness.training.epoch import Epoch, Timing
from harness.training.memory import is_out_of_memory
from harness.training.numerics import choose_numerics
from harness.training.optimization import Average, make_optimizer
from harness.training.pace import OnSteps, Pace
from harness.training.prediction import Predictor
from harness.training.preparation import make_room, prepare_step, set_mode, start_over
from harness.training.schedule import RateSchedule
from harness.training.setup import Setup, batch_plan, stream
from harness.training.state import TrainingState
from harness.training.step import Step
from harness.training.timer import WARM_UP, StepTimer

if TYPE_CHECKING:
    from torch import Tensor

CHECK_EVERY = 1000
"""Steps after which the device is asked whether the loss is still a number."""
MakeCheckpoint = Callable[[Execution], Checkpoint]


class Training:
    """One training: its epochs one after another, and how they were executed."""

    def __init__(
        self, setup: Setup, make_checkpoint: MakeCheckpoint | None = None, on_steps: OnSteps = lambda steps: None
    ) -> None:
        placed, recipe = setup.placed, setup.recipe
        self.on_steps = on_steps
        torch.manual_seed(stream(setup.seed, "training"))
        self.setup = setup
        numerics = choose_numerics(recipe, placed.device, setup.network)
        setup.network.to(memory_format=numerics.layout)
        self.batch_size, self.batches = batch_plan(len(placed.splits["train"]), recipe.batch_size)
        self.draw = Draw(placed, recipe)
        self.schedule = RateSchedule(recipe, self.batches)
        self.rate = torch.tensor(recipe.lr, device=placed.device)
        self.state = _make_state(setup, self.rate, scaled=numerics.precision == "fp16")
        micro_batch = min(recipe.micro_batch, self.batch_size) if isinstance(recipe.micro_batch, int) else None
        self.execution = Execution(
            placement="resident" if placed.resident else "streamed",
            precision=numerics.precision,
            channels_last=numerics.channels_last,
            compiled=decide_compile(
                setup.engine, setup.network, placed.device, recipe.epochs * self.batches * self.batch_size
            ),
            micro_batch=micro_batch,
        )
        if self.execution.compiled:
            reset_compiler()
        self.step = Step(setup, self.state, numerics, micro_batch)
        evaluated = setup.network if self.state.average is None else self.state.average.network
        self.predictor = Predictor(
            evaluated, placed, recipe, setup.task, numerics, setup.engine, self.execution, setup.table
        )
        self.history: list[Epoch] = []
        self.best = _copy(evaluated.state_dict())
        self.prepared = False
        self.checkpoint = None if make_checkpoint is None else make_checkpoint(self.execution)

    def epochs(self) -> Iterator[Epoch]:
        """Train, giving each epoch, first those of an interrupted training that goes on; in the end the network holds
        the best epoch's weights.

        Raises `NotFiniteError` when a loss or weight stops being a number, `OutOfMemoryError`, `PluginError`.
        """
        self._resume()
        yield from tuple(self.history)
        while len(self.history) < self.setup.recipe.epochs and not self._is_out_of_patience():
            with explain_limit():
                self._run_epoch(len(self.history) + 1)
            yield self.history[-1]
        for network in (self.setup.network, self.predictor.network):
            network.load_state_dict(self.best)

    def shorten_epochs(self, batches: int) -> None:
        """Train on so many batches in each epoch from now on, by which the schedule counts its steps, too."""
        self.batches = batches

    def _run_epoch(self, number: int) -> None:
        started, lr = time.perf_counter(), self.schedule.rate((number - 1) * self.batches)
        prepared_before = self.execution.preparation_seconds
        train_loss, timing = self._train(number)
        seconds = time.perf_counter() - started - (self.execution.preparation_seconds - prepared_before)
        logits = self.predictor.logits("val")  # (n, C)
        val_loss = self._val_loss(logits, number)
        values = {name: metric.compute(logits) for name, metric in self.setup.validation_metrics.items()}
        watched, chosen = self.setup.recipe.schedule.watch, self.setup.recipe.select_on
        outcomes = values | {"loss": val_loss}
        self.schedule.observe(outcomes[watched], higher_is_better=self._is_higher_better(watched))
        value = outcomes[chosen]
        improved = self._is_better(value, higher_is_better=self._is_higher_better(chosen))
        if improved:
            self.best = _copy(self.predictor.network.state_dict())
        images = self.batches * self.batch_size
        self.history.append(
            Epoch(
                number=number,
                lr=lr,
                train_loss=train_loss,
                val_loss=val_loss,
                value=value,
                best=improved,
                seconds=seconds,
                images=images,
                timing=timing,
                values=values,
            )
        )
        self._keep()

    # --- training --------------------------------------------------------------------------------------------------

    def _train(self, number: int) -> tuple[float, Timing | None]:
        """One pass over the training split; the first one of a kind finds out how its steps can be executed."""
        set_mode(self.setup, frozen=number <= self.setup.recipe.freeze_epochs)
        if number == self.setup.recipe.freeze_epochs + 1:
            self.prepared = False
        if self.prepared:
            return self._train_batches(number)
        snapshot, short = self.state.take(), 0
        while True:
            notes_before = len(self.execution.notes)
            try:
                prepare_step(self.step, self.execution, self.batch_size, snapshot)
                result = self._train_batches(number)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            else:
                self.prepared = True
                if self._together == short:
                    self.execution.notes.append(
                        f"the memory was too small for {short} images at a time at first, and sufficed when that was "
                        "tried again"
                    )
                return result
            # out of reach of the exception, which holds on to what filled the memory
            del self.execution.notes[notes_before:]
            start_over(self.step, snapshot)
            if self._together == short:
                make_room(self.step, self.execution, self.batch_size, snapshot)
            else:
                short = self._together

    @property
    def _together(self) -> int:
        """Images that are trained on at a time."""
        return self.execution.micro_batch or self.batch_size

    def _train_batches(self, number: int) -> tuple[float, Timing | None]:
        """One pass; gives the mean loss. The device is waited for at its end, and now and then to look at the loss."""
        placed, step = self.setup.placed, self.step
        index = self.draw(self.batches * self.batch_size, self.state.generator)
        timer = StepTimer(placed.device, self.batch_size, warm_up=0 if self.prepared else WARM_UP)
        step.start_epoch(number)
        pace = Pace(number, self.batches, self.on_steps)
        rate = math.nan
        for place, (chosen, images) in enumerate(placed.batches(index.split(self.batch_size))):
            wanted = self.schedule.rate((number - 1) * self.batches + place)
            if wanted != rate:
                rate = wanted
                self.rate.fill_(rate)
            timer.tick()
            step(chosen, images)
            pace.tick(place + 1)
            if place % CHECK_EVERY == CHECK_EVERY - 1:
                step.mean_loss()
        timing = timer.stop()
        loss = step.mean_loss()
        step.require_finite_weights()
        return loss, timing

    # --- validation ------------------------------------------------------------------------------------------------

    def _val_loss(self, logits: Tensor, number: int) -> float:
        placed = self.setup.placed
        index = placed.splits["val"]
        known = None if placed.known is None else placed.known[index]
        offered = {"epoch": torch.tensor(number, device=placed.device), "index": index}
        with torch.inference_mode():
            return float(self.setup.objective(logits, placed.targets[index], known, offered))

    def _is_higher_better(self, name: str) -> bool:
        """Whether higher values are better of what the recipe means by a name."""
        return name != "loss" and self.setup.validation_metrics[name].higher_is_better

    def _is_better(self, value: float, *, higher_is_better: bool) -> bool:
        """Whether a value beats the best epoch's; one that is undefined beats none."""
        if not self.history:
            return True
        best = next(epoch.value for epoch in reversed(self.history) if epoch.best)
        if math.isnan(best):
            return not math.isnan(value)
        return value > best if higher_is_better else value < best

    def _is_out_of_patience(self) -> bool:
        patience = self.setup.recipe.patience
        since_best = next((n for n, epoch in enumerate(reversed(self.history)) if epoch.best), 0)
        return patience is not None and since_best >= patience

    # --- going on later --------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        if self.checkpoint is None:
            return
        progress = {"epochs": [asdict(epoch) for epoch in self.history], "schedule": self.schedule.state()}
        self.checkpoint.write(Saved(self.state.take(), self.best, progress))

    def _resume(self) -> None:
        """Go on from the resume state, if there is one; one that is of no use is discarded, which is noted."""
        if self.checkpoint is None:
            return
        saved, problem = self.checkpoint.read()
        if saved is not None:
            before = self.state.take()
            try:
                self.state.load(saved.snapshot)
                self.schedule.load(saved.progress["schedule"])
                self.best = {name: saved.best[name].to(tensor.device) for name, tensor in self.best.items()}
                self.history = [_read_epoch(epoch) for epoch in saved.progress["epochs"]]
            except (IndexError, KeyError, TypeError, RuntimeError, ValueError) as error:
                self.state.put_back(before)
                problem = f"it does not fit this training ({type(error).__name__}: {error})"
        if problem is not None:
            self.execution.notes.append(f"training started over, its resume state was discarded: {problem}")


def _make_state(setup: Setup, rate: Tensor, *, scaled: bool) -> TrainingState:
    recipe, device = setup.recipe, setup.placed.device
    parameters = [*setup.network.parameters(), *setup.objective.parameters()]
    return TrainingState(
        network=setup.network,
        loss=setup.objective.module,
        optimizer=make_optimizer(recipe, parameters, rate),
        scaler=torch.amp.GradScaler(device.type, enabled=scaled),
        average=None if recipe.average_decay is None else Average(setup.network, recipe.average_decay),
        generator=torch.Generator(device).manual_seed(stream(setup.seed, "batches")),
    )


def _read_epoch(plain: Mapping[str, Any]) -> Epoch:
    timing = plain["timing"]
    return Epoch(**{**plain, "timing": None if timing is None else Timing(**timing)})


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
