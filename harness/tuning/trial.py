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
from harness.evaluation.predictions import Predictions
from harness.execution.events import Listener
from harness.execution.planning import DataBySize, Settings
from harness.metric_names import DEFAULT, split_name
from harness.registry import Registry
from harness.training.build import build_network, make_judge, set_up
from harness.training.fit import Epoch, Training
from harness.training.memory import release
from harness.training.numerics import computing
from harness.training.objective import make_objective
from harness.training.task import make_task
from harness.tuning.withholding import withhold_test

if TYPE_CHECKING:
    from harness.data.prepare import Prepared

OBJECTIVE = "objective"
"""The name under which a trial's epochs hold the study's objective."""
OnEpoch = Callable[[float, Epoch], None]
"""Objective on validation, and the epoch."""


@dataclass
class TrialContext:
    """What trials of one worker share: components, data without a test split, its place on the device."""

    board: Board
    registry: Registry
    settings: Settings
    objective: Metric
    policy: str
    """The threshold policy of the objective, where it judges decisions."""
    by_size: DataBySize
    withheld: dict[int, Prepared] = field(default_factory=dict)
    """Data without a test split, by load size."""
    placed: Placed | None = None

    def build(self, choices: Choices) -> None:
        """Build network and loss, for nothing but to see whether they can be. Raises whatever a plugin raises."""
        task = make_task(self.data(choices.recipe.load_size), choices.recipe, choices.model.inputs)
        build_network(choices.model, task, choices.model_params)
        make_objective(choices.loss, task, choices.loss_params, torch.device("cpu"))

    def fingerprint(self, row: Row) -> str:
        """Return the fingerprint of the data that a row is trained on."""
        return self.by_size.at(resolve(row, self.registry).recipe.load_size).fingerprint

    def data(self, load_size: int) -> Prepared:
        """Images of that size, without a test split."""
        if load_size not in self.withheld:
            self.withheld[load_size] = withhold_test(self.by_size.at(load_size).prepared)
        return self.withheld[load_size]

    def place(self, prepared: Prepared) -> Placed:
        """Place the data on the device; at most one size at a time."""
        if self.placed is not None and self.placed.data is not prepared.data:
            self.placed = None
            release()
        if self.placed is None:
            self.placed = place(prepared, self.settings.device, self.settings.engine.placement)
        return self.placed

    def judge(self, predictions: Predictions) -> float:
        """The objective on validation."""
        return value_on_validation(predictions, self.objective, self.policy)


def open_context(
    board: Board, registry: Registry, settings: Settings, objective: str, listener: Listener
) -> TrialContext:
    """Read the label files. Raises `HarnessError` for what is wrong with the dataset or the objective."""
    source = find_source(registry.offer("dataset", board.dataset), board.options, settings.data_root)
    (metric,) = resolve_metrics([objective], registry)
    data = DataBySize(source, settings, listener, load_disjoint(source))
    return TrialContext(board, registry, settings, metric, split_name(objective)[1] or DEFAULT, data)


def train(context: TrialContext, row: Row, seed: int, on_epoch: OnEpoch) -> Predictions:
    """Train a row on the data without a test split; gives the best epoch's validation predictions.

    What `on_epoch` raises ends the training. Raises `HarnessError` and whatever a plugin raises.
    """
    choices = resolve(row, context.registry)
    with computing(context.settings.device, choices.recipe.precision):
        return _train(context, choices, seed, on_epoch)


def _train(context: TrialContext, choices: Choices, seed: int, on_epoch: OnEpoch) -> Predictions:
    prepared = context.data(choices.recipe.load_size)
    placed = context.place(prepared)
    recipe = choices.recipe
    judges = {OBJECTIVE: make_judge(placed, context.objective, context.policy)}
    for name in {recipe.select_on, recipe.schedule.watch} - {"loss", OBJECTIVE}:
        (metric,) = resolve_metrics([name], context.registry)
        judges[name] = make_judge(placed, metric)
    training = Training(set_up(choices, prepared, placed, seed, judges, context.settings.engine))
    for epoch in training.epochs():
        on_epoch(epoch.values[OBJECTIVE], epoch)
    return training.predictor.predictions("val")


def forget(context: TrialContext, *, failed: bool) -> None:
    """After a training: give memory back to a GPU; on a CPU, which caches nothing, only after a failure.

    Raises `RuntimeError` where the failure was a fault of the GPU.
    """
    device = context.settings.device
    if failed or device.type == "cuda":
        release()
    if failed and device.type == "cuda":
        torch.cuda.synchronize(device)


def plain_failure(error: Exception | SystemExit, context: TrialContext, row: Row) -> Mapping[str, Any]:
    """Kind, message and place of what a trial raised."""
    from harness.execution.failures import explain_failure

    return explain_failure(error, resolve(row, context.registry)).model_dump()
