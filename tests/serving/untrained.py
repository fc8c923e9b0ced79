"""Rows of networks with random weights, as a finished training would leave them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch

from harness.components import Recipe, Task
from harness.data.columns import ColumnCode, name_numbers
from harness.parameters import complete
from harness.registry import Registry
from harness.serving.loading import open_row
from harness.serving.rows import LoadedRow
from harness.training import VERSION
from harness.training.build import build_network
from harness.training.weight_file import (
    ENTRY,
    ColumnPart,
    ModelPart,
    NetworkPart,
    RecipePart,
    TaskPart,
    write_weight_file,
)

SETTLED_BY = 32
"""Images that give normalizing layers their statistics."""
View = Literal["resize", "flip", "center-crop", "ten-crop"]
LABELS = ("Edema", "Mass", "Nodule")
CODES = {
    "age": ColumnCode("age", mean=50.0, scale=20.0),
    "sex": ColumnCode("sex", texts=("F", "M")),
    "view": ColumnCode("view", texts=("AP", "PA")),
}


def _settle(network: torch.nn.Module, task: Task) -> None:
    """Give normalizing layers the statistics of noise: with random weights alone, all images have the same logits."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    pixels = torch.rand(SETTLED_BY, 1, task.size, task.size).expand(-1, task.channels, -1, -1)
    noise = (pixels - task.mean[0]) / task.std[0]
    beside = (torch.ones(SETTLED_BY, len(task.table), 2),) if task.table else ()
    with torch.no_grad():
        network.train()(noise, *beside)


def make_row(
    name: str, registry: Registry, folder: Path, *, size: int = 64, load_size: int = 0, evaluate_at: View = "resize"
) -> LoadedRow:
    """A row of one seed on the CPU, whose weight file lies in `folder`."""
    offer, model = registry.offer("model", name), registry.model(name)
    codes = tuple(CODES[column] for column in model.inputs.table)
    size = model.inputs.size or size
    task = Task(
        labels=LABELS,
        channels=model.inputs.channels or 1,
        size=size,
        mean=(0.4,) * (model.inputs.channels or 1),
        std=(0.25,) * (model.inputs.channels or 1),
        prevalence=(0.1, 0.2, math.nan),
        table=name_numbers(codes),
    )
    recipe = Recipe(name="demo", size=size, load_size=load_size or size, evaluate_at=evaluate_at, precision="float32")
    params = complete(model, model.build, {})
    torch.manual_seed(0)
    network = build_network(model, task, params)
    _settle(network, task)
    part = NetworkPart(
        harness="0.1.0",
        engine=VERSION,
        model=ModelPart(name=model.name, version=model.version, code=offer.code, params=params),
        task=TaskPart(**vars(task)),
        columns=tuple(ColumnPart(**vars(code)) for code in codes),
        recipe=RecipePart(**{field: getattr(recipe, field) for field in RecipePart.model_fields}),
        mirrors=True,
        compiled=False,
        thresholds={"0.5": dict.fromkeys(LABELS, 0.5), "val-f1": {"Edema": 0.3, "Mass": 0.2, "Nodule": None}},
        calibration={"platt": {"Edema": (0.9, -0.1), "Mass": (1.1, 0.2)}, "temperature": {"Edema": (0.9, 0.0)}},
        computed_in="float32",
    )
    path = folder / "weights.safetensors"
    write_weight_file(path, network, {ENTRY: part.model_dump_json()})
    return open_row(str(path), registry, torch.device("cpu"))
