"""The script that everybody writes: a DataLoader that decodes PNGs, torchvision's transforms, an eager step."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from harness.components import Recipe
from harness.training.timer import wait_for

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 1024
"""Pixels of an original image, as NIH publishes them."""
FILES = 32
"""Different files; they are read again and again, so the disk is not what is measured."""
SKIPPED = 2
"""First batches that are not counted."""


class Originals(Dataset[tuple["Tensor", "Tensor"]]):
    """PNG files, decoded by PIL and augmented by torchvision one by one."""

    def __init__(self, files: list[Path], count: int, recipe: Recipe, channels: int) -> None:
        from torchvision import transforms

        self.files, self.count = files, count
        augment = recipe.augment
        crop = (
            transforms.RandomResizedCrop(recipe.size, scale=augment.crop_scale, ratio=augment.crop_ratio)
            if augment.crop_scale is not None
            else transforms.Resize((recipe.size, recipe.size))
        )
        steps: list[Any] = [transforms.Grayscale(channels), crop]
        if augment.flip:
            steps.append(transforms.RandomHorizontalFlip())
        if augment.rotation or augment.shift:
            steps.append(transforms.RandomAffine(augment.rotation, (augment.shift, augment.shift)))
        if augment.brightness or augment.contrast:
            steps.append(transforms.ColorJitter(augment.brightness, augment.contrast))
        self.transform = transforms.Compose(
            [*steps, transforms.ToTensor(), transforms.Normalize([0.5] * channels, [0.25] * channels)]
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from PIL import Image

        with Image.open(self.files[index % len(self.files)]) as image:
            return self.transform(image), torch.zeros(14)


def write_originals(folder: Path, side: int = SIDE) -> list[Path]:
    """Grey PNGs that take about as long to decode as radiographs: smooth shapes with a little noise."""
    from PIL import Image

    generator = np.random.default_rng(0)
    files = []
    for number in range(FILES):
        coarse = Image.fromarray(generator.integers(0, 256, (24, 24), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
        pixels = (smooth + generator.normal(0, 2, (side, side))).clip(0, 255).astype(np.uint8)
        files.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def time_plain_script(
    network: nn.Module,
    files: list[Path],
    recipe: Recipe,
    channels: int,
    device: torch.device,
    dtype: torch.dtype | None,
    *,
    workers: int,
    seconds: float,
) -> float:
    """Training images a second of the plain script over about so many seconds, once it is under way."""
    dataset = Originals(files, 10**9, recipe, channels)
    loader = DataLoader(dataset, recipe.batch_size, num_workers=workers, pin_memory=device.type == "cuda")
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr)
    loss_function = nn.BCEWithLogitsLoss()
    network.train()
    started, count = 0.0, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are more workers than cores
        batches: Iterator[tuple[Tensor, Tensor]] = iter(loader)
    for number in itertools.count():
        images, targets = (part.to(device, non_blocking=True) for part in next(batches))
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            loss = loss_function(network(images), targets)
        loss.backward()
        optimizer.step()
        loss.item()  # as such a script does, to print it
        if number == SKIPPED - 1 or (number >= SKIPPED and _is_prefetched(number, workers)):
            wait_for(device)
            started, count = time.perf_counter(), 0
        else:
            count += len(images)
        if number > SKIPPED + 2 * workers and time.perf_counter() - started >= seconds:
            break
    wait_for(device)
    return count / (time.perf_counter() - started)


def _is_prefetched(number: int, workers: int) -> bool:
    """Whether a batch was made while the first ones were waited for: two a worker, which would flatter the script."""
    return number <= SKIPPED + 2 * workers
