"""Networks of the timm library: six by short names, and the family `timm/NAME` of all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from harness import Float, Inputs, Model, Task, UnknownNameError, bind, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET = Inputs()
HALF = Inputs(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
IMAGENET_WORDS = {"in1k", "in12k", "in21k", "in22k"}
"""Words of timm's tags that stand for ImageNet, whole or in part."""
ALSO_IMAGENET = ("fcmae", "ssld_stage1", "ssld_stage2")
"""Stages of training on ImageNet that timm's tags do not name so."""
OTHER_WORDS = {"jft", "swag"}
"""Words that stand for other images where no stage of its own does."""
CITATION = "Wightman, PyTorch Image Models, doi 10.5281/zenodo.4414861"


def build_timm(task: Task, drop_rate: Annotated[float, Float(0, 1)] = 0.0, *, architecture: str) -> nn.Module:
    """A timm network with random weights.

    - `drop_rate`: Drop this share of the features before the classifier.
    """
    return _create(architecture, task, drop_rate=drop_rate, num_classes=len(task.labels), in_chans=task.channels)


def pretrained_timm(task: Task, *, architecture: str, **_: Any) -> Mapping[str, Tensor]:
    """The published weights of a timm network under its own tensor names, from the local cache or the hub.

    timm resamples position embeddings to `task.size`.
    """
    return dict(_create(architecture, task, pretrained=True).state_dict())


def _create(architecture: str, task: Task, **choices: Any) -> nn.Module:
    import timm

    config = timm.models.get_pretrained_cfg(architecture)
    if config is not None and config.fixed_input_size:
        choices["img_size"] = task.size
    network: nn.Module = timm.create_model(architecture, **choices)
    return network


def find_pretraining(architecture: str) -> tuple[str, ...]:
    """What the weights `ARCHITECTURE.TAG` were made from, as far as timm's tag tells.

    A tag such as `laion2b_ft_in12k_in1k` has a stage of training before each `ft`: one that names no ImageNet is of
    images that nobody lists.
    """
    tag = architecture.partition(".")[2]
    stages = [stage.split("_") for stage in f"_{tag}".split("_ft_")]
    imagenet = [not IMAGENET_WORDS.isdisjoint(stage) or "_".join(stage).strip("_") in ALSO_IMAGENET for stage in stages]
    known = all(imagenet) and OTHER_WORDS.isdisjoint(tag.split("_"))
    return (*(["imagenet"] if any(imagenet) else []), *([] if known else ["unknown"]))


def _model(name: str, architecture: str, about: str, citation: str, inputs: Inputs = IMAGENET) -> Model:
    return Model(
        name=name,
        build=bind(build_timm, architecture=architecture),
        pretrained=bind(pretrained_timm, architecture=architecture),
        pretrained_on=find_pretraining(architecture),
        inputs=inputs,
        space={"drop_rate": Float(0.0, 0.5)},
        about=about,
        citation=citation,
    )


def resolve_timm(name: str) -> Model:
    """`timm/NAME` -> the model `timm/NAME.TAG`, the tag being timm's default where none is given.

    Raises `UnknownNameError`, with the nearest name, for an architecture or a tag that timm does not have.
    """
    import timm

    asked = name.removeprefix("timm/")
    architecture, tag = timm.models.split_model_name_tag(asked)
    if not timm.models.is_model(architecture):
        raise UnknownNameError("timm model", architecture, timm.list_models())
    tagged = [known for known in timm.list_pretrained(f"{architecture}.*") if known.partition(".")[0] == architecture]
    if tag and asked not in tagged:
        raise UnknownNameError("timm model", asked, tagged)
    config = timm.models.get_pretrained_cfg(asked)
    full = f"{architecture}.{config.tag}" if config is not None and tagged else architecture
    inputs = IMAGENET if config is None else Inputs(mean=tuple(config.mean), std=tuple(config.std))
    return _model(f"timm/{full}", full, f"{full} of timm", CITATION, inputs)


@hookimpl
def harness_models() -> Iterable[Model]:
    """Six architectures and the family."""
    return [
        _model(
            "chexnet",
            "densenet121.tv_in1k",  # torchvision's weights, as the paper's script uses
            "DenseNet-121, the network of CheXNet and DACNet",
            "Rajpurkar et al. 2017, CheXNet (arXiv 1711.05225)",
        ),
        _model(
            "efficientnet-b0",
            "efficientnet_b0.ra_in1k",
            "EfficientNet-B0",
            "Tan and Le 2019, EfficientNet (arXiv 1905.11946)",
        ),
        _model(
            "efficientnet-b3",
            "efficientnet_b3.ra2_in1k",
            "EfficientNet-B3",
            "Tan and Le 2019, EfficientNet (arXiv 1905.11946)",
        ),
        _model(
            "resnet50",
            "resnet50.tv_in1k",  # torchvision's first weights: plain training, as DenseNet-121's
            "ResNet-50",
            "He et al. 2016, Deep residual learning (arXiv 1512.03385)",
        ),
        _model(
            "vit-b16",
            "vit_base_patch16_224.orig_in21k_ft_in1k",  # the original weights, ImageNet-21k then ImageNet-1k
            "ViT-B/16, the transformer that the paper compares",
            "Dosovitskiy et al. 2021, An image is worth 16x16 words (arXiv 2010.11929)",
            HALF,
        ),
        _model(
            "convnext-tiny",
            "convnext_tiny.fb_in1k",
            "ConvNeXt-T",
            "Liu et al. 2022, A ConvNet for the 2020s (arXiv 2201.03545)",
        ),
        Model(
            name="timm/*",
            build=bind(build_timm, architecture="timm/NAME"),
            resolve=resolve_timm,
            space={"drop_rate": Float(0.0, 0.5)},
            about="any network of timm by its name, such as timm/resnet18",
            citation=CITATION,
        ),
    ]
