"""The network of an encoder: its tower of images, which computes nothing that is not used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness import UsageError

from .configuration import STACKED, config_size, is_composite, vision_of
from .files import Pretrained, quiet

if TYPE_CHECKING:
    from torch import Tensor, nn


def make_encoder(config: Any, pooling: str, layer: int) -> Any:
    """The tower of images with random weights, without a pooler that is not used."""
    from torch import nn
    from transformers import AutoModel

    with quiet():
        tower = AutoModel.from_config(vision_of(config), trust_remote_code=False)
    if pooling not in ("pooler", "projection"):
        drop_pooler(tower)
    skip_after(tower, layer)
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_(not name.endswith("mask_token"))  # which stands for hidden patches, and none are
    if not is_composite(config):
        return tower
    parts = {"vision_model": tower}
    if pooling == "projection" and config.model_type == "clip":
        parts["visual_projection"] = nn.Linear(config.vision_config.hidden_size, config.projection_dim, bias=False)
    return nn.ModuleDict(parts)


def drop_pooler(tower: Any) -> None:
    """Take a pooler with weights out of a tower that can do without."""
    if any(True for _ in getattr(getattr(tower, "pooler", None), "parameters", list)()):
        tower.pooler = None
    if getattr(tower, "use_head", False):  # SigLIP's
        tower.use_head = False
        del tower.head


def skip_after(tower: Any, layer: int) -> None:
    """Have the layers after one, whose tokens are taken, give what they are given.

    They keep their tensors, so that weights and their digests do not depend on it. Where it is not known that layers
    are run one after another, all are run.
    """
    from torch import nn

    if tower.config.model_type not in STACKED or layer == -1:
        return
    count = tower.config.num_hidden_layers
    stacks = [one for one in tower.modules() if isinstance(one, nn.ModuleList) and len(one) == count]
    for one in stacks[0][layer + 1 :] if len(stacks) == 1 else ():
        one.forward = pass_on


def pass_on(tokens: Tensor, *more: Any, **others: Any) -> Tensor:
    """Give the tokens that a layer is given."""
    return tokens


def choose_options(at: Pretrained, tower: Any, config: Any, size: int) -> dict[str, Any]:
    """What a tower is called with beside images of this size. Raises `UsageError` where it takes them not."""
    import inspect

    if config_size(config) in (None, size) or vision_of(config).model_type.startswith(("dinov2", "dinov3")):
        return {}
    if "interpolate_pos_encoding" not in inspect.signature(tower.forward).parameters:
        raise UsageError(
            f"model '{at.name}' cannot interpolate its position embeddings to {size} px; leave model.size out"
        )
    return {"interpolate_pos_encoding": True}


def require_interpolation(at: Pretrained, config: Any, size: int) -> None:
    """Raise `UsageError` where position embeddings cannot be interpolated to a size."""
    import torch

    with torch.device("meta"):
        choose_options(at, make_encoder(vision_of(config), "mean", -1), vision_of(config), size)


def embed_hf(
    encoder: nn.Module, images: Tensor, *, pooling: str, layer: int, skip: int, more: Mapping[str, Any]
) -> Tensor:
    """Embeddings (B, D) of images (B, 3, H, W)."""
    parts: Any = encoder if hasattr(encoder, "keys") else {"vision_model": encoder}
    found = parts["vision_model"](images, output_hidden_states=layer != -1, **more)
    if pooling in ("pooler", "projection"):
        pooled: Tensor = found.pooler_output.flatten(1)
        return parts["visual_projection"](pooled) if "visual_projection" in parts else pooled
    tokens: Tensor = found.last_hidden_state if layer == -1 else found.hidden_states[layer]
    if tokens.ndim == 4:  # (B, D, h, w) of a convolutional network
        return tokens.mean(dim=(2, 3))
    return tokens[:, 0] if pooling == "cls" else tokens[:, skip:].mean(dim=1)


def measure_width(config: Any, pooling: str, layer: int, embed: Callable[..., Tensor], size: int) -> int:
    """The width D of embeddings, found by shapes alone."""
    import torch

    with torch.device("meta"), torch.inference_mode():
        twin = make_encoder(config, pooling, layer).eval()
        width: int = embed(twin, torch.empty(1, vision_of(config).num_channels, size, size)).shape[1]
    return width
