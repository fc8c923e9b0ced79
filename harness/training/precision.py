"""What a recipe's precision means on a device: a fixed rule, never a timing."""

from __future__ import annotations

import torch

from harness.components import Recipe


def resolve_precision(recipe: Recipe, device: torch.device) -> str:
    """`auto` is bf16 on CUDA and on CPUs that have instructions for it, float32 elsewhere."""
    if recipe.precision != "auto":
        return recipe.precision
    has_bf16 = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - torch asks the CPU nowhere else
    return "bf16" if has_bf16 else "float32"


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """The context of the forward pass."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve_precision(recipe, device) == "bf16")
