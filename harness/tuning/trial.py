"""One configuration trained and judged on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.board import Board, Row
from harness.choices import Choices, require_scored, resolve, resolve_metrics
from harness.components import WITHHELD, Metric
from harness.data.columns import fit_columns, table_digest
from harness.data.loading import find_source, load_disjoint
from harness.data.placement import Placed
from harness.data.subsets import draw_subset
from harness.evaluation.measure import value_on_validation
from harness.evaluation.predictions import Predictions
from harness.execution.events import Listener
from harness.execution.planning import DataBySize, Settings
from harness.metric_names import DEFAULT_POLICY, split_name
from harness.registry import Registry
from harness.training.build import build_network, describe_inputs, make_validation_metric, set_up
from harness.training.embedding import embed
from harness.training.epoch import Epoch
from harness.training.fit import Training
from harness.training.memory import DeviceData, release
from harness.training.numerics import computing
from harness.training.objective import make_objective
from harness.training.pace import OnSteps
from harness.training.probe import fit_probe

if TYPE_CHECKING:
    from harness.data.prepare import Prepared, Remark

OBJECTIVE = "objective"
"""Under which name a trial's epochs hold the study's objective."""
OnTrialEpoch = Callable[[float, Epoch], None]
"""Objective on validation, and the epoch."""


@dataclass(kw_only=True)
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
    on_device: DeviceData = field(default_factory=DeviceData)

    @property
    def device(self) -> torch.device:
        """The worker's."""
        return torch.device(self.settings.device)

    def build(self, choices: Choices) -> None:
        """Build network and loss, for nothing but to see whether they can be; on a machine that only plans and has no
        decoded images, they are not. Raises whatever a plugin raises.
        """
        if self.settings.dry and not len(self.data(choices.recipe.load_size).images):
            return
        task, _ = describe_inputs(self.data(choices.recipe.load_size), choices.recipe, choices.model.inputs, seed=0)
        build_network(choices.model, task, choices.model_params)
        make_objective(choices.loss, task, choices.loss_params, torch.device("cpu"))

    def fingerprint(self, row: Row) -> str:
        """Return the fingerprint of the data that a row is trained on, with that of the table that its network gets.

        Raises `DataError` where the dataset does not have that table.
        """
        choices = resolve(row, self.registry)
        sized, columns = self.by_size.at(choices.recipe.load_size), choices.model.inputs.table
        fit_columns(sized.prepared.data, columns)
        return "+".join([sized.fingerprint, *([table_digest(sized.prepared.data, columns)] if columns else [])])

    def data(self, load_size: int) -> Prepared:
        """Images of that size, without a test split."""
        if load_size not in self.withheld:
            self.withheld[load_size] = withhold_test(self.by_size.at(load_size).prepared)
        return self.withheld[load_size]

    def place(self, prepared: Prepared) -> Placed:
        """On the device; at most one size at a time."""
        return self.on_device.place(prepared, self.device, self.settings.engine.placement)

    def judge(self, predictions: Predictions) -> float:
        """The objective on validation."""
        return value_on_validation(predictions, self.objective, self.policy)


def open_context(
    board: Board, registry: Registry, settings: Settings, objective: str, listener: Listener
) -> TrialContext:
    """Read the label files. Raises `HarnessError` for what is wrong with the dataset or the objective."""
    source = find_source(registry.offer("dataset", board.dataset), board.options, settings.data_root)
    require_scored([objective], registry)
    (metric,) = resolve_metrics([objective], registry)
    data = DataBySize(source=source, settings=settings, listener=listener, data=load_disjoint(source))
    return TrialContext(
        board=board,
        registry=registry,
        settings=settings,
        objective=metric,
        policy=split_name(objective)[1] or DEFAULT_POLICY,
        by_size=data,
    )


def train(
    context: TrialContext,
    row: Row,
    seed: int,
    on_epoch: OnTrialEpoch,
    on_steps: OnSteps = lambda steps: None,
    note: Remark = lambda text: None,
) -> Predictions:
    """Train a row on the data without a test split; gives the best epoch's validation predictions.

    `note` hears what a person should know meanwhile. What `on_epoch` raises ends the training. Raises `HarnessError`
    and whatever a plugin raises.
    """
    choices = resolve(row, context.registry)
    with computing(context.device, choices.recipe.precision):
        return _train(context, choices, seed, on_epoch, on_steps, note)


def _train(
    context: TrialContext, choices: Choices, seed: int, on_epoch: OnTrialEpoch, on_steps: OnSteps, note: Remark
) -> Predictions:
    recipe = choices.recipe
    whole = context.data(recipe.load_size)
    subset = draw_subset(whole, recipe, context.by_size.at(recipe.load_size).fingerprint, seed)
    prepared = whole if subset is None else subset.prepared
    if recipe.train in ("head", "neighbors"):
        return _probe(context, choices, seed, whole, prepared, on_steps, note)
    placed = context.place(prepared)
    metrics = {OBJECTIVE: make_validation_metric(placed, context.objective, context.policy)}
    for name in {recipe.select_on, recipe.schedule.watch} - {"loss", OBJECTIVE}:
        require_scored([name], context.registry)
        (metric,) = resolve_metrics([name], context.registry)
        metrics[name] = make_validation_metric(placed, metric)
    setup = set_up(choices, prepared, placed, seed, metrics, context.settings.engine)
    training = Training(setup, on_steps=on_steps)
    for epoch in training.epochs():
        on_epoch(epoch.values[OBJECTIVE], epoch)
    return training.predictor.predictions("val")


def _probe(
    context: TrialContext,
    choices: Choices,
    seed: int,
    whole: Prepared,
    used: Prepared,
    on_steps: OnSteps,
    note: Remark,
) -> Predictions:
    """Fit a head on embeddings of all images, of which the test's are looked at by nobody."""
    device, recipe = context.device, choices.recipe
    inputs = describe_inputs(used, recipe, choices.model.inputs, seed)
    embeddings = embed(
        choices,
        whole,
        lambda: context.place(whole),
        inputs,
        seed,
        device,
        context.settings.engine,
        on_steps=on_steps,
        on_wait=note,
    )
    return fit_probe(recipe, used, embeddings, device).predictions("val")


def withhold_test(prepared: Prepared) -> Prepared:
    """Prepared data in which test images belong to no split and their targets are gone.

    Their pixels stay in the cache's memory map, at whose places the others are found; nothing names them. Targets read
    0, not unknown, so that a training takes the same steps as one that has a test split.
    """
    data = prepared.data
    of_test = data.table["split"].to_numpy() == "test"
    table = data.table.copy()
    table.loc[of_test, "split"] = WITHHELD
    targets = np.where(of_test[:, None], np.float32(0), data.targets)
    return replace(prepared, data=replace(data, table=table, targets=targets, boxes=None))


def forget(context: TrialContext, *, failed: bool) -> None:
    """After a training: give memory back to a GPU; on a CPU, which caches nothing, only after a failure.

    Raises `RuntimeError` where the failure was a fault of the GPU.
    """
    device = context.device
    if failed or device.type == "cuda":
        release()
    if failed and device.type == "cuda":
        torch.cuda.synchronize(device)


def plain_failure(error: Exception | SystemExit, context: TrialContext, row: Row) -> Mapping[str, Any]:
    """Kind, message and place of what a trial raised."""
    from harness.execution.failures import explain_failure

    return explain_failure(error, resolve(row, context.registry)).model_dump()
