"""chexnet-transformer: a transformer that looks over the features of CheXNet's network before it decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from harness import Choice, Float, Int, Model, Task, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

ARCHITECTURE = "densenet121.tv_in1k"  # torchvision's weights, as those of chexnet
Heads = Literal[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
"""What divides the 1,024 features at each place."""


def build(
    task: Task,
    layers: Annotated[int, Int(1, 100)] = 1,
    heads: Heads = 8,
    drop_rate: Annotated[float, Float(0, 1)] = 0.1,
) -> nn.Module:
    """DenseNet-121 without its classifier, and a head: a transformer encoder over all places of the last feature map,
    the mean over places, and a linear layer.

    - `layers`: Use this many layers of the encoder.
    - `heads`: Use this many attention heads, which must divide the number of features.
    - `drop_rate`: Drop this share within the encoder's layers.
    """
    import timm
    from torch import nn

    trunk = timm.create_model(ARCHITECTURE, num_classes=0, global_pool="", in_chans=task.channels)
    width = int(trunk.num_features)  # type: ignore[arg-type]  # of a module, any attribute may be one, too

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk
            self.encoder = nn.Sequential(
                *(nn.TransformerEncoderLayer(width, heads, dropout=drop_rate, batch_first=True) for _ in range(layers))
            )
            self.classifier = nn.Linear(width, len(task.labels))

        def forward(self, images: Tensor) -> Tensor:
            places = self.trunk(images).flatten(2).transpose(1, 2)  # (B, W, h, w) -> (B, h * w, W)
            logits: Tensor = self.classifier(self.encoder(places).mean(dim=1))  # (B, C)
            return logits

    return Network()


def pretrained(task: Task, **_: Any) -> Mapping[str, Tensor]:
    """The published weights of DenseNet-121, which are of the trunk alone."""
    import timm

    return dict(timm.create_model(ARCHITECTURE, pretrained=True, in_chans=task.channels).state_dict())


@hookimpl
def harness_models() -> Iterable[Model]:
    """chexnet-transformer."""
    return [
        Model(
            name="chexnet-transformer",
            build=build,
            pretrained=pretrained,
            pretrained_on=("imagenet",),
            trunk="trunk",
            space={"layers": Int(1, 4), "heads": Choice((4, 8, 16)), "drop_rate": Float(0.0, 0.5)},
            about="CheXNet's DenseNet-121 with a transformer encoder for its head",
            citation="Strick et al. 2025 (arXiv 2505.06646), who tried one; Vaswani et al. 2017 (arXiv 1706.03762)",
        )
    ]
