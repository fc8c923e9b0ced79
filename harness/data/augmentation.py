"""From uint8 images of the cache to what the network sees, on the device, each sample with draws of its own.

Nothing here reads a value back from the device or copies one to it, so that a training step can be captured whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from harness.components import Augment, Recipe, Task
from harness.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import Generator, Tensor

WHOLE = ("resize", "flip")
"""Ways to evaluate that resize the whole image; the others take crops of it as it was loaded."""
CROP_ATTEMPTS = 10
"""Boxes drawn for a random resized crop before the central one is taken, as in torchvision."""


def training_view(images: Tensor, recipe: Recipe, task: Task, *, mirrors: bool, generator: Generator) -> Tensor:
    """Augmented, normalized images (B, K, size, size) float32 from (B, S, S) uint8."""
    return normalize(augment(images, recipe.augment, recipe.size, mirrors=mirrors, generator=generator), task)


def evaluation_views(images: Tensor, recipe: Recipe, task: Task, *, mirrors: bool) -> Iterator[Tensor]:
    """The views of images (B, S, S) uint8 whose logits are averaged, each (B, K, size, size) float32, without chance.

    Where the dataset does not mirror, mirrored views are left out: `flip` is `resize`, `ten-crop` has five. Raises
    `UnknownNameError` for an `evaluate_at` that there is not.
    """
    pixels, size = images, recipe.size
    views = list_views(recipe, pixels.shape[-1], mirrors=mirrors)
    if recipe.evaluate_at in WHOLE:
        pixels = resize(pixels.float(), size)
    mirrored = pixels.flip(-1) if any(mirror for *_, mirror in views) else pixels
    for top, left, mirror in views:
        source = mirrored if mirror else pixels
        yield normalize(source[:, top : top + size, left : left + size] / 255, task)


def list_views(recipe: Recipe, side: int, *, mirrors: bool) -> list[tuple[int, int, bool]]:
    """Where each view of an image of `side` pixels lies: its top, its left, and whether the image is mirrored first.

    Where the whole image is resized, that is a view at (0, 0). Raises `UnknownNameError` as `evaluation_views`.
    """
    middle, end = round((side - recipe.size) / 2), side - recipe.size
    corners = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
    places = {"resize": [(0, 0)], "flip": [(0, 0)], "center-crop": [(middle, middle)], "ten-crop": corners}
    if recipe.evaluate_at not in places:
        raise UnknownNameError("evaluate_at", recipe.evaluate_at, places)
    mirrored = (False, True) if mirrors and recipe.evaluate_at in ("ten-crop", "flip") else (False,)
    return [(top, left, mirror) for mirror in mirrored for top, left in places[recipe.evaluate_at]]


def normalize(pixels: Tensor, task: Task) -> Tensor:
    """(B, H, W) in 0..1 -> (B, K, H, W): the grey image in every channel, less `task.mean`, over `task.std`.

    Channels that are alike are one piece of memory, seen K times.
    """
    channels = {(mean, std): (pixels - mean) / std for mean, std in zip(task.mean, task.std, strict=True)}
    if len(channels) == 1:
        return channels.popitem()[1].unsqueeze(1).expand(-1, task.channels, -1, -1)
    return torch.stack([channels[one] for one in zip(task.mean, task.std, strict=True)], dim=1)


def augment(images: Tensor, choices: Augment, size: int, *, mirrors: bool, generator: Generator) -> Tensor:
    """Random rotation, shift, crop, flip, brightness and contrast: (B, S, S) in 0..255 -> (B, size, size) in 0..1."""
    pixels = images.float()  # (B, S, S), still in 0..255
    if choices.rotation or choices.shift:
        angles = choices.rotation * _signed(pixels, generator)
        moves = choices.shift * pixels.shape[-1] * torch.cat([_signed(pixels, generator) for _ in "xy"], dim=1)
        pixels = move(pixels, angles.flatten(), moves.flatten(1))
    if choices.crop_scale is not None:
        pixels = crop(pixels, draw_boxes(pixels, choices, generator), size)
    else:
        pixels = resize(pixels, size)
    if choices.flip and mirrors:
        flipped = _uniform(pixels, generator) < 0.5  # (B, 1, 1)
        pixels = torch.where(flipped, pixels.flip(-1), pixels)
    pixels = pixels / 255  # here, since there are fewer of them than before they were cropped
    if choices.brightness or choices.contrast:
        pixels = _jitter(pixels, choices, generator)
    return pixels


def move(pixels: Tensor, angles: Tensor, shifts: Tensor) -> Tensor:
    """Turn each image (B, S, S) clockwise about its center by `angles` (B,) degrees, then move it by `shifts` (B, 2)
    pixels to the right and down; bilinear, black where nothing was.
    """
    cosine, sine = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin()  # (B,) each
    right, down = (2 * shifts / pixels.shape[-1]).unbind(dim=1)  # (B,) each, in half sides, as grid_sample counts
    # where each target pixel comes from: back by the shift, then back by the angle
    rows = [cosine, sine, -(cosine * right + sine * down), -sine, cosine, sine * right - cosine * down]
    grid = torch.nn.functional.affine_grid(
        torch.stack(rows, dim=1).view(-1, 2, 3), [len(pixels), 1, *pixels.shape[1:]], align_corners=False
    )
    moved = torch.nn.functional.grid_sample(pixels.unsqueeze(1), grid, padding_mode="zeros", align_corners=False)
    return moved.squeeze(1)  # (B, S, S)


def draw_boxes(pixels: Tensor, choices: Augment, generator: Generator) -> Tensor:
    """Boxes (B, 4) of whole pixels - top, left, height, width - for a random resized crop, drawn as torchvision does:
    area uniform in `crop_scale`, ratio log-uniform in `crop_ratio`, the first of ten that fits, else a central one.
    """
    if choices.crop_scale is None:
        raise ValueError("there is no crop_scale to draw boxes with")
    count, side, device = len(pixels), pixels.shape[-1], pixels.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, CROP_ATTEMPTS, generator=generator, device=device)

    area = side * side * uniform(*choices.crop_scale)  # (B, attempts)
    ratio = uniform(math.log(choices.crop_ratio[0]), math.log(choices.crop_ratio[1])).exp()
    width, height = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
    first = fits.int().argmax(dim=1, keepdim=True)  # (B, 1) the first attempt that fits
    any_fits = fits.any(dim=1, keepdim=True)
    # of a square image, the central box is all of it, or as much as the nearest allowed ratio leaves
    low, high = choices.crop_ratio
    whole = torch.full_like(width[:, :1], float(side))
    width = torch.where(any_fits, width.gather(1, first), (whole * min(1.0, high)).round())
    height = torch.where(any_fits, height.gather(1, first), (whole / max(1.0, low)).round())
    place = torch.rand(count, 2, generator=generator, device=device)  # (B, 2)
    top = torch.where(any_fits, (place[:, :1] * (side - height + 1)).floor(), ((side - height) / 2).floor())
    left = torch.where(any_fits, (place[:, 1:] * (side - width + 1)).floor(), ((side - width) / 2).floor())
    return torch.cat([top, left, height, width], dim=1)


def crop(pixels: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box (top, left, height, width) out of each image (B, S, S) and resize it to (size, size), antialiased.

    `boxes` is (B, 4), or (1, 4) for one box of all images. Bilinear resizing is separable: the rows are mixed first,
    then the columns. A target pixel is made of a few source pixels. A CPU gathers those; a GPU is faster with two
    batched products by matrices that are mostly zeros.
    """
    return _crop_by_gathering(pixels, boxes, size) if pixels.is_cpu else _crop_by_products(pixels, boxes, size)


def resize(pixels: Tensor, size: int) -> Tensor:
    """The whole of each image (B, S, S) at (size, size), antialiased."""
    side = pixels.shape[-1]
    if side == size:
        return pixels
    start, length = (torch.full((1,), value, device=pixels.device) for value in (0.0, float(side)))
    return crop(pixels, torch.stack([start, start, length, length], dim=1), size)


def resizing_matrix(side: int, size: int) -> Tensor:
    """The matrix M (size, side) of `resize`: an image P (side, side) becomes M @ P @ M.T."""
    start, length = torch.zeros(1), torch.full((1,), float(side))
    return _mixture(torch.arange(side).view(1, 1, -1), start, length, size)[0]


def _crop_by_products(pixels: Tensor, boxes: Tensor, size: int) -> Tensor:
    """`crop`, each axis being one small matrix an image."""
    source = torch.arange(pixels.shape[-1], device=pixels.device).view(1, 1, -1)
    rows = _mixture(source, boxes[:, 0], boxes[:, 2], size)  # (B, size, S)
    columns = _mixture(source, boxes[:, 1], boxes[:, 3], size)  # (B, size, S)
    with torch.autocast(pixels.device.type, enabled=False):
        return rows @ pixels @ columns.transpose(1, 2)  # (B, size, size)


def _crop_by_gathering(pixels: Tensor, boxes: Tensor, size: int) -> Tensor:
    """`crop`, each axis by gathering what a target pixel is made of."""
    rows = _gather(pixels, boxes[:, 0], boxes[:, 2], size)  # (B, size, S)
    return _gather(rows.transpose(1, 2), boxes[:, 1], boxes[:, 3], size).transpose(1, 2)


def _gather(lines: Tensor, start: Tensor, length: Tensor, size: int) -> Tensor:
    """Mix the lines (B, S, W) within start .. start + length to (B, size, W)."""
    count, source, width = lines.shape
    taps = math.ceil(2 * max(1.0, source / size))  # as many lines as the widest filter reaches
    center, reach = _filters(start, length, size)
    line = (center - reach + 0.5).floor() + torch.arange(taps, device=start.device)  # (B, size, taps)
    weights = _mixture(line, start, length, size).expand(count, -1, -1)
    offsets = source * torch.arange(count, device=start.device).view(-1, 1, 1)  # in the table of all images' lines
    places = line.clamp(0, source - 1).long() + offsets  # those outside have no weight
    table, bags = lines.reshape(-1, width), places.view(-1, taps)  # (B * S, W), (B * size, taps)
    mixed = torch.nn.functional.embedding_bag(bags, table, mode="sum", per_sample_weights=weights.reshape(-1, taps))
    return mixed.view(count, size, width)


def _mixture(pixel: Tensor, start: Tensor, length: Tensor, size: int) -> Tensor:
    """How much each source `pixel`, (1, 1, n) or (B, size, n), gives to each target pixel, (B, size, n); what a target
    pixel is given adds up to 1.

    The triangle filter of torchvision's antialiased resize, confined to the box start .. start + length.
    """
    center, reach = _filters(start, length, size)
    weights = (1 - (pixel + 0.5 - center).abs() / reach).clamp(min=0)
    inside = (pixel >= start.view(-1, 1, 1)) & (pixel < (start + length).view(-1, 1, 1))
    weights = weights * inside
    return weights / weights.sum(dim=2, keepdim=True)


def _filters(start: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where the filter of each target pixel has its center (B, size, 1), and how far it reaches (B, 1, 1)."""
    scale = (length / size).view(-1, 1, 1)
    number = torch.arange(size, device=start.device).view(1, -1, 1)
    return start.view(-1, 1, 1) + scale * (number + 0.5), scale.clamp(min=1)


def _jitter(pixels: Tensor, choices: Augment, generator: Generator) -> Tensor:
    """torchvision's ColorJitter of a grey image: brightness and contrast, for each image in an order of its own."""
    bright = 1 + choices.brightness * _signed(pixels, generator)  # (B, 1, 1)
    contrast = 1 + choices.contrast * _signed(pixels, generator)
    bright_first = _uniform(pixels, generator) < 0.5

    def brighten(images: Tensor) -> Tensor:
        return (bright * images).clamp(0, 1)

    def stretch(images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2), keepdim=True)  # (B, 1, 1)
        return (contrast * images + (1 - contrast) * mean).clamp(0, 1)

    return torch.where(bright_first, stretch(brighten(pixels)), brighten(stretch(pixels)))


def _uniform(pixels: Tensor, generator: Generator) -> Tensor:
    """One draw from 0..1 an image, (B, 1, 1)."""
    return torch.rand(len(pixels), 1, 1, generator=generator, device=pixels.device)


def _signed(pixels: Tensor, generator: Generator) -> Tensor:
    """One draw from -1..1 an image, (B, 1, 1)."""
    return 2 * _uniform(pixels, generator) - 1
