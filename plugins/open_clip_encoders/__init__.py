"""Encoders of the open_clip library, the family `open-clip/NAME`: BiomedCLIP and other image-text encoders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from harness import (
    HarnessError,
    Inputs,
    Model,
    ModelOrigin,
    Recipe,
    Task,
    UnknownNameError,
    UsageError,
    WeightsError,
    bind,
    hookimpl,
    read_prompts,
    require_library,
    require_prompts,
    require_size,
)

from .files import CONFIG, LEAST, TEXT_CONFIG, Towers, read_tensors
from .network import embed_open_clip, make_tower, measure_width
from .texts import make_text_head

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_open_clip(task: Task, projection: bool = True, prompts: str | None = None, *, at: Towers) -> nn.Module:
    """An image tower of open_clip with a linear head, with random weights.

    - `projection`: Take as an image's embedding what is compared with texts. Without it, take what the tower gives
      before its last projection.
    - `prompts`: Begin from a head made of sentences about each label: `chest`, or a TOML file.
    """
    from harness import EncoderNetwork

    transform = at.read_transform()
    return EncoderNetwork(
        make_tower(at, projection=projection),
        embed_open_clip,
        measure_width(at, transform["size"], projection=projection),
        len(task.labels),
        size=transform["size"],
        filter_=transform["filter"],
        unit_length=prompts is not None,
    )


def pretrained_open_clip(
    task: Task, projection: bool = True, prompts: str | None = None, *, at: Towers
) -> Mapping[str, Tensor]:
    """The image tower's published weights, and with prompts a head of the text tower."""
    import torch

    tensors = read_tensors(at)
    with torch.device("meta"):
        wanted = make_tower(at, projection=projection).state_dict()
    lacking = sorted(name for name in wanted if f"visual.{name}" not in tensors)
    if lacking:
        raise WeightsError(
            f"the weights of model '{at.name}' lack {len(lacking)} of the image tower's {len(wanted)} tensors, first "
            f"visual.{lacking[0]}; bring the right file"
        )
    tower = {f"encoder.{name}": tensors[f"visual.{name}"] for name in wanted}
    return tower | (make_text_head(at, tensors, task, prompts) if prompts is not None else {})


def describe_open_clip(
    recipe: Recipe, projection: bool = True, prompts: str | None = None, *, at: Towers
) -> dict[str, Any]:
    """What an encoder is made of. Raises `WeightsError` or `UsageError` for what is not here, or does not suit."""
    library = [require_library("open_clip_torch", "open-clip", LEAST)]
    config, transform = at.read_config(), at.read_transform()
    library += [require_library("timm", "open-clip", 1)] if "timm_model_name" in config["vision_cfg"] else []
    require_size(at.name, recipe, transform["size"], transform["filter"])
    made_of = {"architecture": at.architecture or at.folder.digest(CONFIG), "transform": transform}
    if recipe.weights == "pretrained":
        made_of["weights"] = at.folder.digest_weights()
    if prompts is not None:
        if not projection:
            raise UsageError("model.prompts are held against the projection: leave model.projection out")
        if recipe.weights != "pretrained":
            raise UsageError(f"model.prompts of '{at.name}' need its own weights: --set recipe.weights=pretrained")
        library += [require_library("transformers", "open-clip", 4)] if at.text("hf_model_name") else []
        made_of["prompts"] = read_prompts(prompts).digest
    elif recipe.train == "nothing":
        raise UsageError(
            f"recipe '{recipe.name}' trains nothing, and model '{at.name}' has no head yet: --set model.prompts=chest"
        )
    return {"library": ", ".join(library), **made_of}


def resolve_open_clip(name: str) -> Model:
    """`open-clip/OWNER/NAME` of the hub, `open-clip/./FOLDER`, or an architecture of open_clip with a tag of weights.

    Raises `UnknownNameError`, with the nearest name, for an architecture or a tag that open_clip does not have.
    """
    at = Towers(name)
    with contextlib.suppress(WeightsError):
        require_library("open_clip_torch", "open-clip", LEAST)
        require_known(at)
    inputs, weights = Inputs(channels=3), None
    with contextlib.suppress(HarnessError):
        transform = at.read_transform()
        inputs = Inputs(channels=3, mean=tuple(transform["mean"]), std=tuple(transform["std"]))
        weights = at.folder.list_weights()[0]
    local = not at.architecture and at.folder.is_local
    return Model(
        name=at.name,
        build=bind(build_open_clip, at=at),
        pretrained=None if at.architecture and not at.tag else bind(pretrained_open_clip, at=at),
        inputs=inputs,
        origin=ModelOrigin(
            describe=bind(describe_open_clip, at=at),
            fetch=partial(fetch, at),
            require_labels=require_prompts,
            found_as=name if local else "",
            weights=weights,
        ),
        about=f"the image tower of {at.name.removeprefix('open-clip/')} with a linear head",
    )


def require_known(at: Towers) -> None:
    """Raise `UnknownNameError` for an architecture or a tag that open_clip does not have."""
    if not at.architecture:
        return
    import open_clip

    if at.architecture not in open_clip.list_models():
        raise UnknownNameError("open_clip architecture", at.architecture, open_clip.list_models())
    tags = open_clip.list_pretrained_tags_by_model(at.architecture)
    if at.tag and at.tag not in tags:
        raise UnknownNameError(f"weights of {at.architecture}", at.tag, tags)


def fetch(at: Towers) -> None:
    """Bring an encoder's files from the hub, and the configuration of its text tower."""
    at.folder.fetch()
    name = at.text("hf_model_name")
    if name and not at.folder.is_local:
        from huggingface_hub import hf_hub_download

        hf_hub_download(name, TEXT_CONFIG)


@hookimpl
def harness_models() -> Iterable[Model]:
    """The family."""
    return [
        Model(
            name="open-clip/*",
            build=bind(build_open_clip, at=Towers("open-clip/OWNER/NAME")),
            resolve=resolve_open_clip,
            about="any image tower of open_clip by its hub name or folder, such as BiomedCLIP's, or by architecture",
        )
    ]
