"""Images that a network has learned from are found in an outside test, however they were saved; no others are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from harness import Data
from harness.components import Dataset
from harness.data.cache import digest_image
from harness.data.decoding import resize
from harness.data.loading import Source, find_source
from harness.data.overlap import Learned, Overlap, find_shared_names, find_shared_pixels
from harness.data.prepare import Prepared

CPU = torch.device("cpu")


def make_data(images: list[str], patients: list[str], *, known: bool = True) -> Data:
    table = pd.DataFrame({"image": images, "patient": patients, "split": "test"})
    pixels = np.zeros((len(images), 8, 8), dtype=np.uint8)
    targets = np.zeros((len(images), 1), dtype=np.float32)
    return Data(labels=("Mass",), images=pixels, targets=targets, table=table, patients_known=known)


def prepare(pixels: np.ndarray, name: str) -> Prepared:
    names = [f"{name}{number}" for number in range(len(pixels))]
    digests = np.array([np.frombuffer(digest_image(one.tobytes()), dtype=np.uint8) for one in pixels])
    return Prepared(data=make_data(names, names), images=pixels, digests=digests)


def compare(ours: np.ndarray, theirs: np.ndarray) -> tuple[Overlap, str | None]:
    return find_shared_pixels(Learned(prepare(ours, "a"), np.arange(len(ours)), CPU), prepare(theirs, "b"))


def make_source(name: str, root: Path, *, drawn: bool = False, **options: object) -> Source:
    dataset = Dataset(name=name, load=make_data, drawn=drawn)
    return Source(dataset=dataset, code="", options=options, root=root)


# --- by name ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "patients", "images"),
    [
        (("chexpert", "x"), ("chexpert", "y"), ("1",), ("i",)),
        (("chexpert", "x"), ("padchest", "x"), (), ()),
        (("nih-cxr14", "x"), ("rsna-pneumonia", "y"), ("1",), ()),
        (("csv", "x"), ("folder", "x"), ("1",), ("i",)),
        (("csv", "x"), ("csv", "y"), (), ()),
    ],
)
def test_names_are_compared_only_where_they_mean_the_same(tmp_path, ours, theirs, patients, images):
    sources = [make_source(name, tmp_path / folder) for name, folder in (ours, theirs)]
    data = make_data(["i", "j"], ["1", "2"]), make_data(["i", "k"], ["1", "3"])
    found = find_shared_names(sources[0], data[0], sources[1], data[1])
    assert (found.patients, found.images) == (patients, images)


def test_images_that_are_drawn_have_the_same_names_with_other_options(tmp_path):
    data = make_data(["i"], ["1"])
    zero, one = (make_source("phantom", tmp_path, drawn=True, seed=seed) for seed in (0, 1))
    assert find_shared_names(zero, data, zero, data).images == ("i",)
    assert not find_shared_names(zero, data, one, data)


def test_without_known_patients_none_are_compared(tmp_path):
    source = make_source("chexpert", tmp_path)
    found = find_shared_names(source, make_data(["i"], ["i"]), source, make_data(["i"], ["i"], known=False))
    assert (found.patients, found.images) == ((), ("i",))


# --- by pixels -------------------------------------------------------------------------------------------------------


def test_the_same_pixels_are_found_at_any_size_and_plain_images_are_not():
    pixels = np.random.default_rng(0).integers(0, 255, (6, 16, 16), dtype=np.uint8)
    pixels[5] = 0
    found, why = compare(pixels[[0, 1, 5]], pixels[[4, 1, 0, 5]])
    assert found.identical == (("a1", "b1"), ("a0", "b2"))
    assert found.alike == ()
    assert "only identical pixels were looked for" in str(why)


def test_only_training_and_validation_are_compared():
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    found, why = find_shared_pixels(Learned(prepare(pixels, "a"), np.array([0, 2]), CPU), prepare(pixels, "b"))
    assert found.identical == (("a0", "b0"), ("a2", "b2"))
    assert why is None


def test_a_message_counts_and_names_the_first():
    pairs = tuple((f"a{n}", f"b{n}") for n in range(5))
    assert Overlap(patients=("p",)).describe() == "1 patient (p) is also in training or validation"
    assert Overlap(identical=pairs, images=("i", "j")).describe() == (
        "2 image names (i, j), 5 images with the same pixels (a0 is b0, a1 is b1, a2 is b2, ...) are also in training "
        "or validation"
    )


@pytest.fixture(scope="module")
def chests(sample) -> list[Image.Image]:
    return [Image.open(path).convert("L") for path in sorted(sample.glob("images_*/**/*.png"))[:60]]


def squash(images: list[Image.Image], size: int) -> np.ndarray:
    return np.stack([resize(np.asarray(image), size) for image in images])


def save_as_jpeg(image: Image.Image, quality: int = 50) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("L")


def change_values(image: Image.Image, low: float, high: float, gamma: float) -> Image.Image:
    values = ((np.asarray(image) - low) / (high - low)).clip(0, 1)
    return Image.fromarray((255 * values**gamma).astype(np.uint8))


def window(image: Image.Image) -> Image.Image:
    low, high = np.percentile(np.asarray(image), (5, 95))
    return change_values(image, low, high, 1.0)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG": save_as_jpeg,
    "smaller": lambda image: image.resize((256, 256), Image.Resampling.BILINEAR),
    "smaller JPEG": lambda image: save_as_jpeg(image.resize((320, 320), Image.Resampling.BICUBIC), 75),
    "windowed": window,
    "brighter": lambda image: change_values(image, 0, 255, 0.5),
    "inverted": lambda image: Image.fromarray(255 - np.asarray(image)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_real_image_that_was_saved_or_shown_another_way_is_found_and_no_other_is_taken_for_it(chests, change):
    changed = squash([CHANGES[change](image) for image in chests], 128)
    found, _ = compare(squash(chests, 128), changed)
    assert [*found.identical, *found.alike] == [(f"a{number}", f"b{number}") for number in range(len(chests))]


def test_no_two_real_images_of_different_patients_are_alike(chests):
    half = len(chests) // 2
    found, _ = compare(squash(chests[:half], 128), squash(chests[half:], 128))
    assert not found


def test_phantoms_of_two_seeds_are_not_alike(registry, tmp_path):
    from harness.data.loading import load
    from harness.data.prepare import prepare as decode

    parts = []
    for seed in (0, 1):
        options = {"train": 60, "val": 10, "test": 10, "seed": seed}
        source = find_source(registry.offer("dataset", "phantom"), options, tmp_path)
        parts.append(decode(source, load(source), 64, tmp_path / "cache"))
    ours, theirs = parts
    learned = Learned(ours, np.arange(80), CPU)
    found, _ = find_shared_pixels(learned, theirs)
    assert not found
    itself, _ = find_shared_pixels(learned, ours)
    assert len(itself.identical) == 80
