"""From uint8 images of the cache to what the network sees, on the device, each sample with draws of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from harness.components import Augment, Recipe, Task

if TYPE_CHECKING:
    from torch import Generator, Tensor

CROP_ATTEMPTS = 10
"""Boxes drawn for a random resized crop before the central one is taken, as in torchvision."""


def training_view(images: Tensor, recipe: Recipe, task: Task, *, mirrors: bool, generator: Generator) -> Tensor:
    """Augmented, normalized images (B, K, size, size) float32 from (B, S, S) uint8."""
    return normalize(
        augment(images.float() / 255, recipe.augment, recipe.size, mirrors=mirrors, generator=generator), task
    )


def evaluation_view(images: Tensor, recipe: Recipe, task: Task) -> Tensor:
    """Normalized images (B, K, size, size) float32 from (B, S, S) uint8, without chance: resized or center-cropped."""
    pixels = images.float() / 255
    if recipe.evaluate_at == "center-crop":
        top = round((pixels.shape[-1] - recipe.size) / 2)
        return normalize(pixels[:, top : top + recipe.size, top : top + recipe.size], task)
    return normalize(resize(pixels, recipe.size), task)


def normalize(pixels: Tensor, task: Task) -> Tensor:
    """(B, H, W) in 0..1 -> (B, K, H, W): the grey image in every channel, less `task.mean`, over `task.std`."""
    mean, std = (torch.tensor(values, device=pixels.device).view(1, -1, 1, 1) for values in (task.mean, task.std))
    return (pixels.unsqueeze(1) - mean) / std


def augment(pixels: Tensor, choices: Augment, size: int, *, mirrors: bool, generator: Generator) -> Tensor:
    """Random crop, flip, brightness and contrast of images (B, S, S) in 0..1 -> (B, size, size) in 0..1."""
    if choices.crop_scale is not None:
        pixels = crop(pixels, draw_boxes(pixels, choices, generator), size)
    else:
        pixels = resize(pixels, size)
    if choices.flip and mirrors:
        flipped = _uniform(pixels, generator) < 0.5
        pixels = torch.where(flipped, pixels.flip(-1), pixels)
    if choices.brightness or choices.contrast:
        pixels = _jitter(pixels, choices, generator)
    return pixels


def draw_boxes(pixels: Tensor, choices: Augment, generator: Generator) -> Tensor:
    """Boxes (B, 4) of whole pixels - top, left, height, width - for a random resized crop, drawn as torchvision does:
    area uniform in `crop_scale`, ratio log-uniform in `crop_ratio`, the first of ten that fits, else a central one.
    """
    if choices.crop_scale is None:
        raise ValueError("there is no crop_scale to draw boxes with")
    count, side, device = len(pixels), pixels.shape[-1], pixels.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, CROP_ATTEMPTS, generator=generator, device=device)

    area = side * side * uniform(*choices.crop_scale)
    ratio = uniform(math.log(choices.crop_ratio[0]), math.log(choices.crop_ratio[1])).exp()
    width, height = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
    first = fits.int().argmax(dim=1, keepdim=True)
    found = fits.any(dim=1, keepdim=True)
    # of a square image, the central box is all of it, or as much as the nearest allowed ratio leaves
    low, high = choices.crop_ratio
    width = torch.where(found, width.gather(1, first), float(round(side * min(1.0, high))))
    height = torch.where(found, height.gather(1, first), float(round(side / max(1.0, low))))
    place = torch.rand(count, 2, generator=generator, device=device)
    top = torch.where(found, (place[:, :1] * (side - height + 1)).floor(), ((side - height) / 2).floor())
    left = torch.where(found, (place[:, 1:] * (side - width + 1)).floor(), ((side - width) / 2).floor())
    return torch.cat([top, left, height, width], dim=1)


def crop(pixels: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box (top, left, height, width) out of each image (B, S, S) and resize it to (size, size), antialiased.

    Bilinear resizing is separable: each axis is one small matrix per image, so the whole is two batched products.
    """
    rows = _interpolation(boxes[:, 0], boxes[:, 2], pixels.shape[-2], size)
    columns = _interpolation(boxes[:, 1], boxes[:, 3], pixels.shape[-1], size)
    with torch.autocast(pixels.device.type, enabled=False):
        return rows @ pixels @ columns.transpose(1, 2)


def resize(pixels: Tensor, size: int) -> Tensor:
    """The whole of each image (B, S, S) at (size, size), antialiased."""
    side = pixels.shape[-1]
    if side == size:
        return pixels
    box = torch.tensor([[0.0, 0.0, side, side]], device=pixels.device)
    return crop(pixels, box, size)


def _interpolation(start: Tensor, length: Tensor, source: int, size: int) -> Tensor:
    """(B, size, source): how much each source pixel gives to each target pixel; rows add up to 1.

    The triangle filter of torchvision's antialiased resize, confined to the box start .. start + length.
    """
    scale = (length / size).view(-1, 1, 1)
    center = start.view(-1, 1, 1) + scale * (torch.arange(size, device=start.device).view(1, -1, 1) + 0.5)
    pixel = torch.arange(source, device=start.device).view(1, 1, -1)
    weights = (1 - (pixel + 0.5 - center).abs() / scale.clamp(min=1)).clamp(min=0)
    inside = (pixel >= start.view(-1, 1, 1)) & (pixel < (start + length).view(-1, 1, 1))
    weights = weights * inside
    return weights / weights.sum(dim=2, keepdim=True)


def _jitter(pixels: Tensor, choices: Augment, generator: Generator) -> Tensor:
    """torchvision's ColorJitter of a grey image: brightness and contrast, for each image in an order of its own."""
    bright = 1 + choices.brightness * (2 * _uniform(pixels, generator) - 1)
    contrast = 1 + choices.contrast * (2 * _uniform(pixels, generator) - 1)
    bright_first = _uniform(pixels, generator) < 0.5

    def brighten(images: Tensor) -> Tensor:
        return (bright * images).clamp(0, 1)

    def stretch(images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2), keepdim=True)
        return (contrast * images + (1 - contrast) * mean).clamp(0, 1)

    return torch.where(bright_first, stretch(brighten(pixels)), brighten(stretch(pixels)))


def _uniform(pixels: Tensor, generator: Generator) -> Tensor:
    """One draw from 0..1 an image, (B, 1, 1)."""
    return torch.rand(len(pixels), 1, 1, generator=generator, device=pixels.device)
