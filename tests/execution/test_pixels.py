"""What a network saw of image files is known from the terminal, the record, the page and its weight file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.registry import load_registry
from harness.training.restore import restore

RUN = shlex.split(
    "run --dataset csv --models tiny-cnn --losses bce --recipes demo --seeds 0 --board b --data-root files "
    "--set recipe.epochs=1 --set recipe.size=32 --set recipe.load_size=32"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """48 images of 12 bits in 16-bit files, by the table that `csv` reads."""
    folder = tmp_path / "files"
    folder.mkdir()
    generator = np.random.default_rng(0)
    lines = ["image,patient,split,Mass"]
    for number in range(48):
        values = generator.integers(0, 4096, (40, 40), dtype=np.uint16)
        values[0, 0] = 4095
        Image.fromarray(values).save(folder / f"{number}.png")
        lines.append(f"{number}.png,p{number},{('train', 'train', 'val', 'test')[number % 4]},{number // 4 % 2}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.slow
def test_bits_and_images_that_are_left_out_are_told_wherever_a_result_stands(harness, files, tmp_path):
    (files / "4.png").write_bytes(b"no image")
    (files / "5.png").unlink()
    code, _, said = harness(*RUN, "--option", "file=labels.csv")
    assert code == 2
    assert "1 of 48 images of 'csv' is missing" in said
    code, _, said = harness(*RUN, "--option", "file=labels.csv", "--option", "allow_missing=true")
    assert code == 0, said
    assert said.count("2 of 48 images are left out: 1 without a file (first 5.png), and 1 that cannot be decoded") == 1
    (path,) = (tmp_path / "b" / "records").glob("*.json")
    record = json.loads(path.read_text())
    notes = record["dataset"]["notes"]
    assert notes["grey values"] == "values of 16-bit files are taken as 12-bit ones, 0 to 4,095"
    assert notes["missing"] == "1 of 48 images had no file and was left out"
    assert notes["unreadable"] == "1 of 47 image files could not be decoded and were left out, first 4.png"
    page = (tmp_path / "b" / "index.html").read_text()
    assert page.count("Part of the dataset.") == 2
    for note in notes.values():
        assert note in page
    (weights,) = (tmp_path / "b").rglob("weights.safetensors")
    scale = restore(weights, load_registry(), torch.device("cpu")).scale
    assert (scale.bits, scale.stretch) == (12, False)


def test_preparing_says_what_was_found_and_left_out(harness, files):
    (files / "4.png").write_bytes(b"no image")
    prepare = ("data", "prepare", "csv", "--data-root", "files", "--option", "file=labels.csv", "--load-size", "32")
    code, _, said = harness(*prepare)
    assert code == 2
    assert "1 of 48 images of 'csv' in files cannot be decoded, first 4.png: UnidentifiedImageError" in said
    code, out, _ = harness(*prepare, "--option", "allow_missing=true")
    assert code == 0
    assert "values of 16-bit files are taken as 12-bit ones" in out
    assert "1 of 48 images is left out: 1 that cannot be decoded (first 4.png" in out
    code, out, _ = harness(*prepare, "--option", "allow_missing=true", "--option", "bits=16", "--json")
    told = json.loads(out)
    assert (told["images"], told["bits"], told["stretch"], set(told["unreadable"])) == (47, 16, False, {"4.png"})
