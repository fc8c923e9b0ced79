"""One configuration trained and judged on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from harness.board import Board, Row
from harness.choices import Choices, resolve, resolve_metrics
from harness.components import Metric
from harness.data.loading import find_source, load_disjoint
from harness.data.placement import Placed, place
from harness.evaluation.measure import value_on_validation
from harness.evaluation.names import DEFAULT, split_name
from harness.evaluation.predictions import Predictions
from harness.execution.building import build_network, make_judge, set_up
from harness.execution.events import Listener
from harness.execution.local import Settings, Shelf
from harness.registry import Registry
from harness.training.fit import Epoch, Training
from harness.training.memory import release
from harness.training.numerics import computing
from harness.training.objective import make_objective
from harness.training.task import make_task
from harness.tuning.withholding import withhold_test

if TYPE_CHECKING:
    from harness.data.prepare import Prepared

OBJECTIVE = "objective"
"""Under which name a trial's epochs hold the study's objective."""
OnEpoch = Callable[[float, Epoch], None]
"""Objective on validation, and the epoch."""


@dataclass
class Workshop:
    """What trials of one worker share: components, data without a test split, its place on the device."""

    board: Board
    registry: Registry
    settings: Settings
    objective: Metric
    policy: str
    """By which the objective's decisions are made, where it judges decisions."""
    shelf: Shelf
    withheld: dict[int, Prepared] = field(default_factory=dict)
    """By load size."""
    placed: Placed | None = None

    def build(self, choices: Choices) -> None:
        """Build network and loss, for nothing but to see whether they can be. Raises whatever a plugin raises."""
        task = make_task(self.data(choices.recipe.load_size), choices.recipe, choices.model.inputs)
        build_network(choices.model, task, choices.model_params)
        make_objective(choices.loss, task, choices.loss_params, torch.device("cpu"))

    def fingerprint(self, row: Row) -> str:
        """Of the data that a row is trained on."""
        return self.shelf.at(resolve(row, self.registry).recipe.load_size).fingerprint

    def data(self, load_size: int) -> Prepared:
        """Images of that size, without a test split."""
        if load_size not in self.withheld:
            self.withheld[load_size] = withhold_test(self.shelf.at(load_size).prepared)
        return self.withheld[load_size]

    def place(self, prepared: Prepared) -> Placed:
        """On the device; at most one size at a time."""
        if self.placed is not None and self.placed.prepared is not prepared:
            self.placed = None
            release()
        if self.placed is None:
            self.placed = place(prepared, self.settings.device, self.settings.engine.placement)
        return self.placed

    def judge(self, predictions: Predictions) -> float:
        """The objective on validation."""
        return value_on_validation(predictions, self.objective, self.policy)


def open_workshop(board: Board, registry: Registry, settings: Settings, objective: str, listener: Listener) -> Workshop:
    """Read the label files. Raises `HarnessError` for what is wrong with the dataset or the objective."""
    source = find_source(registry.offer("dataset", board.dataset), board.options, settings.data_root)
    (metric,) = resolve_metrics([objective], registry)
    shelf = Shelf(source, settings, listener, load_disjoint(source))
    return Workshop(board, registry, settings, metric, split_name(objective)[1] or DEFAULT, shelf)


def train(workshop: Workshop, row: Row, seed: int, on_epoch: OnEpoch) -> Predictions:
    """Train a row on the data without a test split; gives the best epoch's validation predictions.

    What `on_epoch` raises ends the training. Raises `HarnessError` and whatever a plugin raises.
    """
    choices = resolve(row, workshop.registry)
    with computing(workshop.settings.device, choices.recipe.precision):
        return _train(workshop, choices, seed, on_epoch)


def _train(workshop: Workshop, choices: Choices, seed: int, on_epoch: OnEpoch) -> Predictions:
    prepared = workshop.data(choices.recipe.load_size)
    placed = workshop.place(prepared)
    recipe = choices.recipe
    judges = {OBJECTIVE: make_judge(placed, workshop.objective, workshop.policy)}
    for name in {recipe.select_on, recipe.schedule.watch} - {"loss", OBJECTIVE}:
        (metric,) = resolve_metrics([name], workshop.registry)
        judges[name] = make_judge(placed, metric)
    training = Training(set_up(choices, prepared, placed, seed, judges, workshop.settings.engine))
    for epoch in training.epochs():
        on_epoch(epoch.values[OBJECTIVE], epoch)
    return training.predictor.predictions("val")


def forget(workshop: Workshop, *, failed: bool) -> None:
    """After a training: give memory back to a GPU; on a CPU, which caches nothing, only after a failure.

    Raises `RuntimeError` where the failure was a fault of the GPU.
    """
    device = workshop.settings.device
    if failed or device.type == "cuda":
        release()
    if failed and device.type == "cuda":
        torch.cuda.synchronize(device)


def plain_failure(error: Exception | SystemExit, workshop: Workshop, row: Row) -> Mapping[str, Any]:
    """Kind, message and place of what a trial raised."""
    from harness.execution.failures import explain_failure

    return explain_failure(error, resolve(row, workshop.registry)).model_dump()
