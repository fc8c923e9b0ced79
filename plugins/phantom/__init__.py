"""`phantom`: chest-like radiographs rendered from a seed, with no download and no files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from harness import Data, Dataset, UsageError, hookimpl

ABOUT = "synthetic chest radiographs rendered from a seed, for trying the harness: scores on it mean nothing clinically"


def load(
    root: Path,
    *,
    train: int = 1200,
    val: int = 300,
    test: int = 600,
    size: int = 64,
    steady: bool | None = None,
    seed: int = 0,
    difficulty: float = 1.0,
    label_noise: float = 0.0,
    prevalence: Literal["lifted", "nih"] = "lifted",
    age_effect: float | None = None,
) -> Data:
    """Make the phantom's labels; its images are rendered when they are read. `root` is not used.

    - `train`, `val`, `test`: Draw this many images for this split.
    - `size`: Draw images of this height and width in pixels.
    - `steady`: Take all images of a patient in one pose and exposure, so that a network can recognize patients.
    - `seed`: Draw other patients and images with another seed.
    - `difficulty`: Divide how clearly findings are seen by this number. 1 is usual, and more is harder.
    - `label_noise`: Flip this share of the labels in train and val. The test labels stay true.
    - `prevalence`: Lift rare findings to at least 8 %, with some of each in every split (lifted), or use NIH's (nih).
    - `age_effect`: Tie findings to age, so that age predicts them. With 1, age weighs as much as all else together;
      left out, it weighs nothing.

    Boxes are of what is drawn, whatever the noise. Raises `UsageError` for an option out of its range.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, count in counts.items():
        if count < 1:
            raise UsageError(f"phantom: {split} must be at least 1 image, got {count}")
    if size < 16:
        raise UsageError(f"phantom: size must be at least 16 pixels, got {size}")
    if seed < 0:
        raise UsageError(f"phantom: seed must be at least 0, got {seed}")
    if not 0 < difficulty < math.inf:
        raise UsageError(f"phantom: difficulty must be above 0 (1 is usual, more is harder), got {difficulty}")
    if not 0 <= label_noise < 0.5:
        raise UsageError(f"phantom: label_noise must be at least 0 and below 0.5, got {label_noise}")
    if prevalence not in ("lifted", "nih"):
        raise UsageError(f"phantom: prevalence must be 'lifted' or 'nih', got '{prevalence}'")
    if age_effect is not None and not 0 <= age_effect < math.inf:
        raise UsageError(f"phantom: age_effect must be at least 0, got {age_effect}")
    from .rendering import make_data

    tied = age_effect or 0.0
    return make_data(counts, size, seed, difficulty, label_noise, prevalence, steady=bool(steady), age_effect=tied)


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """The phantom."""
    return [Dataset(name="phantom", load=load, about=ABOUT, drawn=True)]
