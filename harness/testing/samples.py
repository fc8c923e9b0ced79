"""Small inputs for checks: a task, images that can be learned from, and their placement on a device."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.components import Data, Dataset, Task

if TYPE_CHECKING:
    from harness.data.placement import Placed
    from harness.data.prepare import Prepared

SIZE = 64
"""Pixels of the images that networks are tried on, where they take any size."""


def make_task(channels: int = 1, labels: int = 2, size: int = SIZE, table: tuple[str, ...] = ()) -> Task:
    """A task of that many channels, labels and pixels, with a number beside each image for each name of `table`."""
    names = tuple(f"label-{number}" for number in range(labels))
    return Task(
        labels=names,
        channels=channels,
        size=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        prevalence=(0.5,) * labels,
        table=table,
    )


def make_data(count: int = 48, size: int = SIZE) -> Data:
    """Images of two labels that can be seen, one bright half each; every image a patient of its own."""
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(0)
    targets = np.stack([np.arange(count) % 2, np.arange(count) // 2 % 2], axis=1).astype(np.float32)
    images = generator.integers(40, 120, (count, size, size), dtype=np.uint8)
    images[targets[:, 0] == 1, : size // 2] += 100
    images[targets[:, 1] == 1, :, : size // 2] //= 4
    names = [f"image-{number:03d}" for number in range(count)]
    split = np.where(np.arange(count) < count * 2 // 3, "train", np.where(np.arange(count) % 8 < 4, "val", "test"))
    table = pd.DataFrame({"image": names, "split": split, "patient": names})
    return Data(labels=("top", "left"), images=images, targets=targets, table=table, mirrors=False)


@contextmanager
def prepared(data: Data, load_size: int, name: str = "sample", root: Path = Path()) -> Iterator[Prepared]:
    """The data's images decoded into a temporary folder; what is wrong with them is said of that dataset."""
    from harness.data.loading import Source
    from harness.data.prepare import prepare

    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(name=name, load=lambda root: data)
        source = Source(dataset=dataset, code="", options={}, root=root, allow_missing=True, unreadable_limit=1.0)
        yield prepare(source, data, load_size, Path(folder))


@contextmanager
def placed(load_size: int, device: str) -> Iterator[Placed]:
    """The images of `make_data` on a device."""
    import torch

    from harness.data.placement import place

    with prepared(make_data(size=load_size), load_size) as prepared_data:
        yield place(prepared_data, torch.device(device))
