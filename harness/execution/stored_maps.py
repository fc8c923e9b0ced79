"""Heat maps of a finished record, made by its stored weights: nothing is trained."""

from __future__ import annotations

import torch

from harness.data.placement import place
from harness.evaluation.localization import MapValues
from harness.execution.job import Job
from harness.execution.maps import make_maps
from harness.execution.stored import read_stored
from harness.registry import Registry
from harness.results.layout import WEIGHTS
from harness.results.record import Record
from harness.training.build import describe_inputs
from harness.training.restore import restore


def make_from_weights(job: Job, registry: Registry, record: Record) -> MapValues | str:
    """Hold the heat maps of a record's network against the boxes of its data; or why there are none, in words.

    Raises `DataError` where the weights are not there or are not the record's, `WeightsError` where they do not fit.
    """
    assert job.boxes is not None  # a board with metrics of maps has looked for them
    restored = read_stored(
        job.board_folder,
        record.key,
        WEIGHTS,
        record.artifacts.get(WEIGHTS),
        lambda path: restore(path, registry, job.device),
        "weights, which heat maps need, are",
    )
    placed = place(job.prepared, job.device, job.engine.placement)
    _, encoded = describe_inputs(job.used, job.choices.recipe, job.choices.model.inputs, job.combo.seed)
    table = torch.from_numpy(encoded.numbers).to(job.device) if encoded else None
    return make_maps(job.choices, job.protocol.metrics, job.boxes, placed, restored.network, restored.task, table)
