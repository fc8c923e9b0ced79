"""Encoders of the transformers library, the family `hf/NAME`: RAD-DINO, DINOv2, SigLIP, CLIP, ViT and others."""

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
    UsageError,
    WeightsError,
    bind,
    hookimpl,
    read_prompts,
    require_library,
    require_prompts,
    require_size,
)

from .configuration import config_size, count_prefix, is_composite
from .files import CONFIG, LEAST, Pretrained, quiet
from .network import choose_options, embed_hf, make_encoder, measure_width, require_interpolation
from .pooling import Pool, choose_pooling
from .texts import make_text_head

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_hf(
    task: Task,
    pooling: Pool = "auto",
    layer: int = -1,
    size: int | None = None,
    prompts: str | None = None,
    *,
    at: Pretrained,
) -> nn.Module:
    """An encoder of transformers with a linear head, with random weights.

    - `pooling`: Take as an image's embedding the class token (`cls`), the mean over patches (`mean`), the library's
      pooler (`pooler`), or what is compared with texts (`projection`). `auto` is `cls` for an encoder of images alone
      that has such a token, else `pooler`, or `mean` below the last layer; with prompts it is `projection`.
    - `layer`: Take tokens after this layer: -1 is the encoder's output, -2 the layer before the last, without the final
      norm, and so on.
    - `size`: Give the encoder images of this size in pixels, by interpolated position embeddings. By default the size
      that its own transform gives it.
    - `prompts`: Begin from a head made of sentences about each label: `chest`, or a TOML file.
    """
    from harness import EncoderNetwork

    config = at.read_config()
    pool = choose_pooling(at, config, pooling, layer, prompts)
    target = size or at.read_transform()["size"]
    encoder = make_encoder(config, pool, layer)
    tower = encoder["vision_model"] if is_composite(config) else encoder
    embed = partial(
        embed_hf, pooling=pool, layer=layer, skip=count_prefix(config), more=choose_options(at, tower, config, target)
    )
    return EncoderNetwork(
        encoder,
        embed,
        measure_width(config, pool, layer, embed, target),
        len(task.labels),
        size=target,
        filter_=at.read_transform()["filter"],
        unit_length=prompts is not None,
    )


def pretrained_hf(
    task: Task,
    pooling: Pool = "auto",
    layer: int = -1,
    size: int | None = None,
    prompts: str | None = None,
    *,
    at: Pretrained,
) -> Mapping[str, Tensor]:
    """The encoder's weights as the library itself loads them, and with prompts a head of its text tower."""
    import torch
    import transformers

    config = at.read_config()
    pool = choose_pooling(at, config, pooling, layer, prompts)
    with quiet(), torch.device("meta"):
        wanted = set(make_encoder(config, pool, layer).state_dict())
    folder = at.folder.find()
    with quiet(), torch.random.fork_rng(devices=[]):
        whole, found = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    unfilled = sorted(wanted & {*found["missing_keys"], *(key[0] for key in found["mismatched_keys"])})
    if unfilled:
        raise WeightsError(
            f"the weights of model '{at.name}' lack {len(unfilled)} of the encoder's {len(wanted)} tensors, first "
            f"{unfilled[0]}; choose another model.pooling, or bring the right files"
        )
    tensors = {f"encoder.{name}": tensor for name, tensor in whole.state_dict().items() if name in wanted}
    return tensors | (make_text_head(at, whole.eval(), task, prompts) if prompts is not None else {})


def describe_hf(
    recipe: Recipe,
    pooling: Pool = "auto",
    layer: int = -1,
    size: int | None = None,
    prompts: str | None = None,
    *,
    at: Pretrained,
) -> dict[str, Any]:
    """What an encoder is made of. Raises `WeightsError` or `UsageError` for what is not here, or does not suit."""
    made_of: dict[str, Any] = {"library": require_library("transformers", "hf", LEAST)}
    config = at.read_config()
    pool = choose_pooling(at, config, pooling, layer, prompts)
    transform = at.read_transform()
    target = size or transform["size"]
    if target != config_size(config) is not None:
        require_interpolation(at, config, target)
    require_size(at.name, recipe, target, transform["filter"])
    made_of |= {"architecture": at.folder.digest(CONFIG), "transform": transform, "pooling": pool}
    if recipe.weights == "pretrained":
        made_of["weights"] = at.folder.digest_weights()
    if prompts is not None:
        if recipe.weights != "pretrained":
            raise UsageError(f"model.prompts of '{at.name}' need its own weights: --set recipe.weights=pretrained")
        made_of["prompts"] = read_prompts(prompts).digest
    elif recipe.train == "nothing":
        raise UsageError(
            f"recipe '{recipe.name}' trains nothing, and model '{at.name}' has no head yet: --set model.prompts=chest"
        )
    return made_of


def resolve_hf(name: str) -> Model:
    """`hf/OWNER/NAME` of the hub, or `hf/./FOLDER`; what of it is missing is told by its `origin`."""
    at = Pretrained(name)
    inputs, weights = Inputs(channels=3), None
    with contextlib.suppress(HarnessError):
        transform = at.read_transform()
        mean, std = (tuple(transform[key]) * (3 // len(transform[key])) for key in ("mean", "std"))
        inputs = Inputs(channels=3, mean=mean, std=std)
        weights = at.folder.list_weights()[0]
    return Model(
        name=at.name,
        build=bind(build_hf, at=at),
        pretrained=bind(pretrained_hf, at=at),
        inputs=inputs,
        origin=ModelOrigin(
            describe=bind(describe_hf, at=at),
            fetch=at.folder.fetch,
            require_labels=require_prompts,
            found_as=name if at.folder.is_local else "",
            weights=weights,
        ),
        about=f"the encoder {at.name.removeprefix('hf/')} with a linear head",
    )


@hookimpl
def harness_models() -> Iterable[Model]:
    """The family."""
    return [
        Model(
            name="hf/*",
            build=bind(build_hf, at=Pretrained("hf/OWNER/NAME")),
            resolve=resolve_hf,
            about="any image encoder of transformers by its hub name or folder, such as hf/microsoft/rad-dino",
        )
    ]
