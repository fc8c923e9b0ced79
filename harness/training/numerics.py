"""The numbers and the layout in which a network computes: fixed rules, never a timing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.components import Recipe

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextlib.contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Hold while a recipe of that precision trains and predicts on a device, from building its network on.

    The device is the current one: whatever is not told where to go, goes there. And float32 means float32: torch would
    let convolutions on CUDA round what they multiply to TF32, of 10 bits, in which every other precision may still
    compute what it leaves to float32.
    """
    current = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    exact = _exact_float32() if precision == "float32" else contextlib.nullcontext()
    with current, exact:
        yield


@contextlib.contextmanager
def _exact_float32() -> Iterator[None]:
    """Forbid TF32 to the whole process."""
    backends: Any = torch.backends  # torch's types do not know the switches
    operations = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    before = [operation.fp32_precision for operation in operations]
    try:
        _allow_tf32(allowed=False)
        for operation in operations:
            operation.fp32_precision = "ieee"
        yield
    finally:
        _allow_tf32(allowed=before[0] == before[1] == "tf32")
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision


def _allow_tf32(*, allowed: bool) -> None:
    """Set cuDNN's older switch, which torch, where it is read, requires to agree with the newer ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions call it deprecated
        torch.backends.cudnn.allow_tf32 = allowed


@dataclass(frozen=True)
class Numerics:
    """How the forward pass computes on a device."""

    device: torch.device
    precision: str
    """float32, bf16 or fp16."""
    channels_last: bool
    """Whether images lie in memory pixel by pixel, which convolutions like."""

    def autocast(self) -> torch.autocast:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, DTYPES[self.precision], enabled=self.precision != "float32")

    def arrange(self, images: Tensor) -> Tensor:
        """Images (B, K, H, W) in the layout that the network likes."""
        return images.contiguous(memory_format=self.layout)

    @property
    def layout(self) -> torch.memory_format:
        """The memory layout of images and of the network's weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def choose_numerics(recipe: Recipe, device: torch.device, network: nn.Module) -> Numerics:
    """What the recipe's precision means here; channels last where the network convolves more than its patches.

    `auto` is bf16 on CUDA and on CPUs that have instructions for it, float32 elsewhere and, on a CPU, for networks of
    depthwise convolutions (EfficientNet, MobileNet), which take up to twice the time in bf16 there. Networks with
    most of their parameters in linear layers (ConvNeXt) are not of that kind.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    precision = recipe.precision
    if precision == "auto":
        has_bf16 = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - torch asks the CPU nowhere else
        gains = device.type == "cuda" or not _is_depthwise(network, convolutions)
        precision = "bf16" if has_bf16 and gains else "float32"
    return Numerics(device, precision, channels_last=len(convolutions) > 1)


def _is_depthwise(network: nn.Module, convolutions: list[nn.Conv2d]) -> bool:
    linear = sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Linear))
    most_is_linear = 2 * linear > sum(parameter.numel() for parameter in network.parameters())
    return not most_is_linear and any(c.groups == c.in_channels > 1 for c in convolutions)
