"""The network of an encoder: its tower of images."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from harness import UsageError

from .files import Towers

if TYPE_CHECKING:
    from torch import Tensor, nn


def make_tower(at: Towers, *, projection: bool) -> nn.Module:
    """The tower of images with random weights, with or without its last projection.

    Raises `UsageError` where that is no layer of its own.
    """
    from open_clip.model import _build_vision_tower
    from torch import nn

    config = copy.deepcopy(at.read_config())
    vision = config["vision_cfg"] | {"output_tokens": False}
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    tower: nn.Module = _build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))
    if projection:
        return tower
    head = getattr(tower, "head", None)
    if isinstance(getattr(tower, "proj", None), nn.Parameter):
        tower.proj = None  # type: ignore[assignment]
    elif isinstance(head, nn.Sequential) and (last := {"proj", "mlp"} & {name for name, _ in head.named_children()}):
        for name in last:
            delattr(head, name)
    else:
        raise UsageError(f"the image tower of '{at.name}' has no projection of its own; leave model.projection out")
    return tower


def embed_open_clip(encoder: nn.Module, images: Tensor) -> Tensor:
    """Embeddings (B, D) of images (B, 3, H, W)."""
    found: Tensor = encoder(images)
    return found


def measure_width(at: Towers, size: int, *, projection: bool) -> int:
    """The width D of embeddings, found by shapes alone."""
    import torch

    with torch.device("meta"), torch.inference_mode():
        width: int = make_tower(at, projection=projection).eval()(torch.empty(1, 3, size, size)).shape[1]
    return width
