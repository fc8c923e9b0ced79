"""A small convolutional network that trains in seconds on a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from harness import Float, Int, Model, Task, hookimpl

if TYPE_CHECKING:
    from torch import nn


def build(
    task: Task, width: Annotated[int, Int(1, 1024)] = 16, drop_rate: Annotated[float, Float(0, 1)] = 0.0
) -> nn.Module:
    """Four blocks of convolution, batch norm, ReLU and pooling; then the mean over places and a linear layer.

    - `width`: Use this many channels in the first block. They double in each block.
    - `drop_rate`: Drop this share of the features before the last layer.
    """
    from torch import nn

    layers: list[nn.Module] = []
    channels = task.channels
    for block in range(4):
        wider = width * 2**block
        layers += [nn.Conv2d(channels, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if block < 3 else []
        channels = wider
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(drop_rate), nn.Linear(channels, len(task.labels))]
    return nn.Sequential(*layers, *head)


@hookimpl
def harness_models() -> Iterable[Model]:
    """tiny-cnn."""
    return [
        Model(
            name="tiny-cnn",
            build=build,
            space={"width": Int(8, 64, log=True), "drop_rate": Float(0.0, 0.5)},
            about="four small convolutional blocks: seconds on a CPU",
        )
    ]
