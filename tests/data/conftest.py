"""A dataset's files, its cache, and what was said and decoded."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness import Data, Dataset
from harness.data import decoding
from harness.data.decoding import Picture
from harness.data.grey import GreyScale
from harness.data.loading import Source
from harness.data.prepare import Prepared, prepare

COUNT, SIZE = 12, 8
"""Images of a desk, and the size at which they are decoded."""


def save_images(folder: Path, seed: int = 0, count: int = COUNT) -> Data:
    """Images without compression, so that their files are equally large."""
    generator = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.bmp" for number in range(count)]
    for path in paths:
        Image.fromarray(generator.integers(1, 256, (10, 10), dtype=np.uint8)).save(path)
        os.utime(path, ns=(10**18, 10**18))
    names = [path.name for path in paths]
    table = pd.DataFrame({"image": names, "split": ["train", "val", "test"] * (count // 3), "patient": names})
    return Data(labels=("a",), images=paths, targets=np.zeros((count, 1), dtype=np.float32), table=table)


class Desk:
    """A dataset's files, the cache, and what was said and decoded."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, save_images(folder / "images")
        self.said: list[str] = []
        self.decoded: list[int] = []

    def prepare(self, *, allow_missing: bool = False, check_all: bool = False) -> Prepared:
        dataset = Dataset(name="some", load=lambda root: self.data)
        source = Source(dataset=dataset, code="", options={}, root=self.folder, allow_missing=allow_missing)
        source = dataclasses.replace(source, unreadable_limit=1)
        self.decoded.clear()
        self.said.clear()
        cache = self.folder / "cache"
        return prepare(source, self.data, SIZE, cache, remark=self.said.append, check_all=check_all)

    def replace_images(self) -> None:
        """Turn to a folder of other images, whose files have the same names, sizes and times."""
        self.data = save_images(self.folder / "others", seed=1)

    def find(self, name: str) -> Path:
        (found,) = (self.folder / "cache").glob(f"*/{name}")
        return found


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Desk:
    found, original = Desk(tmp_path), decoding.read_image

    def read(data: Data, index: int, size: int, scale: GreyScale) -> Picture:
        found.decoded.append(index)
        return original(data, index, size, scale)

    monkeypatch.setattr(decoding, "read_image", read)
    return found
