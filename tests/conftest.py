"""What all tests share: one thread, no network, a registry, small datasets."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # a missing weight then fails at once

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness import Data
from harness.registry import Registry, load_registry


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="session")
def sample() -> Path:
    """The folder with the real NIH sample, where there is one beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "nih-sample"
    if not folder.is_dir():
        pytest.skip("the sample of NIH ChestX-ray14 does not lie beside the checkout")
    return folder


@pytest.fixture
def small_data() -> Data:
    """48 images of 16 px with 3 labels that can be seen: one corner each; some patients have several images."""
    return make_data()


def make_data(count: int = 48, size: int = 16, unknown: bool = False) -> Data:
    generator = np.random.default_rng(0)
    targets = (generator.random((count, 3)) < 0.4).astype(np.float32)
    images = generator.integers(60, 120, (count, size, size), dtype=np.uint8)
    corners = [(slice(0, 5), slice(0, 5)), (slice(-5, None), slice(0, 5)), (slice(-5, None), slice(-5, None))]
    for label, (rows, columns) in enumerate(corners):
        images[targets[:, label] == 1, rows, columns] += 100
    if unknown:
        targets[generator.random(targets.shape) < 0.2] = np.nan
    patients = np.arange(count) // 2
    split = np.array(["train", "train", "val", "test"])[patients % 4]
    table = pd.DataFrame(
        {"image": [f"i{n:03d}" for n in range(count)], "split": split, "patient": [f"p{n}" for n in patients]}
    )
    return Data(labels=("first", "second", "third"), images=images, targets=targets, table=table, mirrors=False)
