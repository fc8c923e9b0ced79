"""What `harness predict` costs beside decoding and the network alone: pytest tests/benchmarks -s.

1,000 PNG files of 1,024 px. Meant: at most 1.2 times the two alone, one after the other. No time fails a test. Seconds
of processors are given, too: they are what is left to compare on a machine that is busy with other things.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli.main import main
from harness.machine import count_processors
from harness.serving.images import decode_each, take_files
from harness.serving.rows import LoadedRow
from harness.serving.window import Window
from tests.serving.untrained import make_row

IMAGES, DISTINCT, SIDE = 1_000, 20, 1_024


@pytest.fixture(scope="module")
def folder(tmp_path_factory, registry) -> Path:
    """Files of phantoms, each of which stands under many names."""
    place: Path = tmp_path_factory.mktemp("many")
    data = registry.dataset("phantom").load(Path(), train=DISTINCT, val=1, test=1, size=SIDE)
    for number in range(DISTINCT):
        Image.fromarray(np.asarray(data.images[number])).save(place / f"{number:04d}.png")
    for number in range(DISTINCT, IMAGES):
        (place / f"{number:04d}.png").hardlink_to(place / f"{number % DISTINCT:04d}.png")
    return place


@dataclass
class Cost:
    """What a block takes."""

    seconds: float = 0.0
    processor: float = 0.0
    """Seconds of all processors together."""


@contextmanager
def measure() -> Iterator[Cost]:
    cost, start, used = Cost(), time.perf_counter(), time.process_time()
    yield cost
    cost.seconds, cost.processor = time.perf_counter() - start, time.process_time() - used


def decode(row: LoadedRow, folder: Path) -> None:
    """Decode all files by threads."""
    source, _ = take_files([folder], row.size, row.scale)
    for image in decode_each(source, count_processors(), row.batch):
        assert not isinstance(image, str), image


def apply(row: LoadedRow) -> None:
    """Predict as many images that are in memory."""
    window, images = Window(row.members[0], row.batch), np.zeros((row.batch, row.size, row.size), dtype=np.uint8)
    for first in range(0, IMAGES, row.batch):
        window.predict(images[: min(row.batch, IMAGES - first)], None)


@pytest.mark.parametrize("name", ["tiny-cnn", "chexnet"])
def test_a_thousand_large_images(benchmark, registry, folder, tmp_path, monkeypatch, name):
    import torch

    torch.set_num_threads(count_processors())
    row = make_row(name, registry, tmp_path, size=224)
    with measure() as decoding:
        decode(row, folder)
    with measure() as network:
        apply(row)
    out = tmp_path / "scores.csv"
    words = ["predict", str(row.weights[0]), str(folder), "--out", str(out), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["harness", *words])

    def predict() -> None:
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code

    with measure() as whole:
        benchmark.pedantic(predict, rounds=1)
    torch.set_num_threads(1)
    assert len(out.read_text().splitlines()) == IMAGES + 1
    for unit in ("seconds", "processor"):
        alone = [getattr(one, unit) for one in (decoding, network)]
        ratio = getattr(whole, unit) / sum(alone)
        print(
            f"\n{name}, {unit}: {getattr(whole, unit):.1f}; decoding alone {alone[0]:.1f}, the network alone "
            f"{alone[1]:.1f}: {ratio:.2f} times their sum; meant: at most 1.2"
        )
