"""`phantom`: chest-like radiographs rendered from a seed, with no download and no files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

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
    prevalence: str = "lifted",
    age_effect: float | None = None,
) -> Data:
    """Make the phantom's labels; its images are rendered when they are read. `root` is not used.

    `train`, `val`, `test` count images; `size` is their height and width in pixels; `steady` takes all images of a
    patient in one pose and exposure, so that a network can know patients again; `difficulty` divides how clearly
    findings are seen; `label_noise` is the share of labels in train and val that are flipped (test stays true);
    `prevalence` is `lifted` (rare findings at 8 % at least, and some of each in every split) or `nih` (NIH's own);
    `age_effect` ties findings to age, so that the table tells something: 1 makes age weigh as much as all else together
    in whether a patient has a finding; without a value it weighs nothing.
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
