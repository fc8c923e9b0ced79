"""chexnet-demographics: CheXNet's network that is told age, sex and view, and a control that is told others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from harness import Float, Inputs, Int, Model, Task, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

ARCHITECTURE = "densenet121.tv_in1k"  # torchvision's weights, as those of chexnet
TABLE = ("age", "sex", "view")


def build(
    task: Task, width: Annotated[int, Int(1, 1024)] = 32, drop_rate: Annotated[float, Float(0, 1)] = 0.0
) -> nn.Module:
    """DenseNet-121 whose pooled features stand beside features of the table before the last layer: late fusion.

    What is unknown is 0, and says so beside it.

    - `width`: Make this many features of the table.
    - `drop_rate`: Drop this share of the features before the last layer.
    """
    import timm
    import torch
    from torch import nn

    trunk = timm.create_model(ARCHITECTURE, num_classes=0, in_chans=task.channels, drop_rate=drop_rate)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk
            self.table = nn.Sequential(nn.Linear(2 * len(task.table), width), nn.ReLU())
            self.classifier = nn.Linear(int(trunk.num_features) + width, len(task.labels))  # type: ignore[arg-type]

        def forward(self, images: Tensor, table: Tensor) -> Tensor:
            features = torch.cat([self.trunk(images), self.table(table.flatten(1))], dim=1)  # (B, W + width)
            logits: Tensor = self.classifier(features)  # (B, C)
            return logits

    return Network()


def pretrained(task: Task, **_: Any) -> Mapping[str, Tensor]:
    """The published weights of DenseNet-121, which are of the trunk alone."""
    import timm

    return dict(timm.create_model(ARCHITECTURE, pretrained=True, in_chans=task.channels).state_dict())


@hookimpl
def harness_models() -> Iterable[Model]:
    """chexnet-demographics, and its control."""
    told = Model(
        name="chexnet-demographics",
        build=build,
        inputs=Inputs(table=TABLE),
        pretrained=pretrained,
        pretrained_on=("imagenet",),
        trunk="trunk",
        space={"width": Int(8, 128, log=True), "drop_rate": Float(0.0, 0.5)},
        about="CheXNet's DenseNet-121 that gets age, sex and view beside the image",
        citation="Strick et al. 2025 (arXiv 2505.06646), who tried one; Rajpurkar et al. 2017 (arXiv 1711.05225)",
    )
    control = replace(
        told,
        name="chexnet-demographics-permuted",
        inputs=Inputs(table=TABLE, permuted=True),
        about="A control: chexnet-demographics that gets age, sex and view of another image of the split",
    )
    return [told, control]
