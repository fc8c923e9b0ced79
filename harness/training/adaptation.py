"""Tensors made to fit a network that is the same but for its channels, its size, or axes of length one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def adapt(network: nn.Module, name: str, tensor: Tensor, target: Tensor) -> Tensor:
    """Fit a tensor to its place in a network; where that cannot be done, it stays as it is.

    A stem is fitted to another number of channels and, in timm's networks, position embeddings to another size.
    """
    if target.shape == tensor.shape:
        return tensor
    tensor = _adapt_stem(tensor, target)
    if name.endswith("pos_embed") and hasattr(getattr(network, "patch_embed", None), "grid_size"):
        tensor = _adapt_positions(network, tensor, target)
    same = [length for length in tensor.shape if length > 1] == [length for length in target.shape if length > 1]
    return tensor.reshape(target.shape) if same else tensor


def _adapt_stem(tensor: Tensor, target: Tensor) -> Tensor:
    """A first convolution for other channels, so that a grey image gives what its copies in all channels gave."""
    if (
        tensor.ndim != 4
        or target.ndim != 4
        or tensor.shape[0] != target.shape[0]
        or tensor.shape[2:] != target.shape[2:]
    ):
        return tensor
    if 1 not in (tensor.shape[1], target.shape[1]) or max(tensor.shape[1], target.shape[1]) > 4:
        return tensor
    summed = tensor.float().sum(dim=1, keepdim=True)  # (out, 1, h, w)
    return (summed.expand_as(target) / target.shape[1]).to(tensor.dtype)


def _adapt_positions(network: nn.Module, tensor: Tensor, target: Tensor) -> Tensor:
    """Resample a ViT's position embeddings to its own grid."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    grid = list(network.patch_embed.grid_size)  # type: ignore[union-attr, arg-type]
    prefix = int(getattr(network, "num_prefix_tokens", 1))
    places = tensor.shape[1] - prefix if tensor.ndim == 3 else 0  # of (1, prefix + places, width)
    if places < 1 or math.isqrt(places) ** 2 != places:
        return tensor  # of no square grid
    resampled: Tensor = resample_abs_pos_embed(tensor, new_size=grid, num_prefix_tokens=prefix)
    return resampled if resampled.shape == target.shape else tensor
