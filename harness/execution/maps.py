"""Heat maps of one combo's network, where its board has a metric of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.components import Metric
from harness.data.boxes import Boxes
from harness.data.placement import place
from harness.errors import DataError, PluginError
from harness.evaluation.localization import MapValues
from harness.registry import Registry
from harness.results.artifacts import has_artifact, stage
from harness.results.layout import MAPS, WEIGHTS, run_path
from harness.results.record import Record
from harness.results.store import run_folder
from harness.training.attribution import Explainer
from harness.training.build import describe_inputs
from harness.training.maps import hold_against_boxes
from harness.training.restore import restore

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.components import Task
    from harness.data.placement import Placed
    from harness.execution.combo import Job

NO_NETWORK = "the control trains no network, so there are no heat maps"


def list_map_metrics(job: Job) -> list[Metric]:
    """The board's metrics of heat maps."""
    return [metric for metric in job.protocol.metrics if metric.on == "maps"]


def make_maps(
    job: Job, boxes: Boxes, network: nn.Module, task: Task, placed: Placed, table: Tensor | None
) -> MapValues | str:
    """Hold a finished network's heat maps against the dataset's boxes; or why there are none, in words.

    Raises `PluginError` for a metric that breaks its contract.
    """
    model, mirrors = job.choices.model, placed.data.mirrors
    try:
        explainer = Explainer.of(network, task, job.choices.recipe, mirrors=mirrors, map_layer=model.map_layer)
    except PluginError as error:
        return str(error)
    return hold_against_boxes(explainer, placed, boxes, list_map_metrics(job), table)


def stage_maps(job: Job, maps: MapValues | str) -> dict[str, str]:
    """Stage what maps came to under `runs/<key>/`; gives its file's sha256, or nothing where there are no maps."""
    if isinstance(maps, str):
        return {}
    return {MAPS: stage(run_folder(job.board_folder, job.key) / MAPS, maps.write)}


def make_from_weights(job: Job, record: Record, registry: Registry) -> MapValues | str:
    """Make the maps of a finished record by its stored weights.

    Raises `DataError` where the weights are not there or are not the record's, `WeightsError` where they do not fit.
    """
    path = run_path(job.board_folder, record.key) / WEIGHTS
    if job.boxes is None or not has_artifact(path, record.artifacts.get(WEIGHTS)):
        raise DataError(
            f"heat maps need the network's weights, and {path} is not there or not the record's; bring it, or run the "
            "row again with --force"
        )
    restored = restore(path, registry, job.device)
    placed = place(job.prepared, job.device, job.engine.placement)
    recipe, inputs = job.choices.recipe, job.choices.model.inputs
    _, encoded = describe_inputs(job.prepared, recipe, inputs, job.combo.seed)
    table = torch.from_numpy(encoded.numbers).to(job.device) if encoded else None
    return make_maps(job, job.boxes, restored.network, restored.task, placed, table)
