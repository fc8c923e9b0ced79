"""From choices to what training is given: network, loss, and the metrics of validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from harness.choices import Choices
from harness.components import Inputs, Metric, Model, Recipe, Task
from harness.data.columns import EncodedTable, encode_table
from harness.data.placement import Placed
from harness.data.prepare import Prepared
from harness.errors import PluginError
from harness.evaluation.measure import value_on_validation
from harness.evaluation.predictions import Predictions
from harness.metric_names import DEFAULT_POLICY
from harness.training.engine import EngineOptions
from harness.training.objective import make_objective
from harness.training.setup import Setup, ValidationMetric, stream
from harness.training.task import make_task
from harness.training.weights import load_initial_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def set_up(
    choices: Choices,
    prepared: Prepared,
    placed: Placed,
    seed: int,
    validation_metrics: Mapping[str, ValidationMetric],
    engine: EngineOptions,
) -> Setup:
    """Build network and loss from the seed, on the device of the placed data.

    Raises `PluginError` or `WeightsError`.
    """
    recipe, device = choices.recipe, placed.device
    torch.manual_seed(stream(seed, "network"))
    task, encoded = describe_inputs(prepared, recipe, choices.model.inputs, seed)
    network = build_network(choices.model, task, choices.model_params)
    loaded = load_initial_weights(network, choices.model, task, recipe.weights, choices.model_params)
    network = network.to(device)
    objective = make_objective(choices.loss, task, choices.loss_params, device)
    return Setup(
        network=network,
        objective=objective,
        placed=placed,
        recipe=recipe,
        task=task,
        seed=seed,
        validation_metrics=validation_metrics,
        engine=engine,
        table=torch.from_numpy(encoded.numbers).to(device) if encoded else None,
        codes=encoded.codes if encoded else (),
        notes=tuple(note for note in (loaded.note, *(encoded.notes if encoded else ())) if note),
    )


def describe_inputs(prepared: Prepared, recipe: Recipe, inputs: Inputs, seed: int) -> tuple[Task, EncodedTable | None]:
    """What a network of these inputs is built for, and what it gets beside images; None where it wants nothing.

    Raises `DataError` where the dataset does not tell it.
    """
    encoded = encode_table(prepared.data, inputs, stream(seed, "table")) if inputs.table else None
    return make_task(prepared, recipe, inputs, encoded.names if encoded else ()), encoded


def build_network(model: Model, task: Task, params: dict[str, object]) -> nn.Module:
    """Build a model. Raises `PluginError` where it gives no network."""
    network = model.build(task, **params)
    if not isinstance(network, torch.nn.Module):
        raise PluginError(f"model '{model.name}' must build a torch.nn.Module, gave {type(network).__name__}")
    return network


def make_validation_metric(placed: Placed, metric: Metric, policy: str = DEFAULT_POLICY) -> ValidationMetric:
    """Make a metric a function of validation logits; one of decisions by a policy."""
    index = placed.splits["val"].cpu().numpy()
    table = placed.data.table
    image, patient = (table[column].to_numpy(dtype=str)[index] for column in ("image", "patient"))
    targets = placed.data.targets[index]  # (n, C)

    def compute(logits: Tensor) -> float:
        predictions = Predictions(
            labels=placed.data.labels, image=image, patient=patient, logits=logits.cpu().numpy(), targets=targets
        )
        return value_on_validation(predictions, metric, policy)

    return ValidationMetric(compute, metric.higher_is_better)
