"""What `harness predict` costs beside decoding and the network alone: pytest tests/benchmarks -s.

1,000 PNG files of 1,024 px. Meant: at most 1.2 times the two alone, one after the other. No time fails a test.
"""

from __future__ import annotations

import sys
import time
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


def measure_decoding(row: LoadedRow, folder: Path) -> float:
    """Seconds to decode all files by threads."""
    source, _ = take_files([folder], row.size, row.scale)
    start = time.perf_counter()
    for image in decode_each(source, count_processors(), row.batch):
        assert not isinstance(image, str), image
    return time.perf_counter() - start


def measure_network(row: LoadedRow) -> float:
    """Seconds to predict as many images that are in memory."""
    window, images = Window(row.members[0], row.batch), np.zeros((row.batch, row.size, row.size), dtype=np.uint8)
    window.predict(images[:1], None)
    start = time.perf_counter()
    for first in range(0, IMAGES, row.batch):
        window.predict(images[: min(row.batch, IMAGES - first)], None)
    return time.perf_counter() - start


@pytest.mark.parametrize("name", ["tiny-cnn", "chexnet"])
def test_a_thousand_large_images(benchmark, registry, folder, tmp_path, monkeypatch, name):
    import torch

    torch.set_num_threads(count_processors())
    row = make_row(name, registry, tmp_path, size=224)
    decoding, network = measure_decoding(row, folder), measure_network(row)
    out = tmp_path / "scores.csv"
    words = ["predict", str(row.weights[0]), str(folder), "--out", str(out), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["harness", *words])

    def predict() -> None:
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code

    start = time.perf_counter()
    benchmark.pedantic(predict, rounds=1)
    whole = time.perf_counter() - start
    torch.set_num_threads(1)
    assert len(out.read_text().splitlines()) == IMAGES + 1
    print(
        f"\n{name}: {whole:.1f} s; decoding alone {decoding:.1f} s, the network alone {network:.1f} s: "
        f"{whole / (decoding + network):.2f} times their sum; meant: at most 1.2"
    )
