"""Heat maps of one combo's network, where its board has a metric of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.choices import Choices
from harness.components import Metric, Task
from harness.data.boxes import Boxes
from harness.data.placement import Placed
from harness.errors import PluginError
from harness.evaluation.localization import MapValues
from harness.training.attribution import Explainer
from harness.training.maps import hold_against_boxes

if TYPE_CHECKING:
    from torch import Tensor, nn


def make_maps(
    choices: Choices,
    metrics: Sequence[Metric],
    boxes: Boxes,
    placed: Placed,
    network: nn.Module,
    task: Task,
    table: Tensor | None,
) -> MapValues | str:
    """Hold a finished network's heat maps against the dataset's boxes, for those of the metrics that are of maps.

    Gives in words why there are no maps where the network has no layer for them. Raises `PluginError` for a metric that
    breaks its contract.
    """
    try:
        explainer = Explainer.of(
            network, task, choices.recipe, mirrors=placed.data.mirrors, map_layer=choices.model.map_layer
        )
    except PluginError as error:
        return str(error)
    return hold_against_boxes(explainer, placed, boxes, [metric for metric in metrics if metric.on == "maps"], table)
