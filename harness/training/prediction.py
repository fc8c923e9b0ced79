"""Logits of a split, each image once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.components import Recipe, Task
from harness.data.augmentation import evaluation_view
from harness.data.placement import Placed
from harness.evaluation.predictions import Predictions
from harness.training.precision import autocast

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 256
"""Images at a time: evaluation keeps no gradients, so it can take more than training."""


def predict(network: nn.Module, placed: Placed, split: str, recipe: Recipe, task: Task) -> Predictions:
    """What the network says of every image of a split, in evaluation mode; leaves the network in that mode."""
    logits = predict_logits(network, placed, split, recipe, task)
    index = placed.splits[split].cpu().numpy()
    table = placed.data.table
    return Predictions(
        labels=placed.data.labels,
        image=table["image"].to_numpy(dtype=str)[index],
        patient=table["patient"].to_numpy(dtype=str)[index],
        logits=logits.cpu().numpy(),
        targets=placed.data.targets[index],
    )


def predict_logits(network: nn.Module, placed: Placed, split: str, recipe: Recipe, task: Task) -> Tensor:
    """Logits (n, C) float32 on the device, in the order of the split's indices."""
    network.eval()
    found = []
    with torch.inference_mode(), autocast(recipe, placed.device):
        for index in placed.splits[split].split(BATCH):
            images, _, _ = placed.batch(index)
            view = evaluation_view(images, recipe, task).contiguous(memory_format=torch.channels_last)
            found.append(network(view).float())
    return torch.cat(found)
