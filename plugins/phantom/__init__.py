"""`phantom`: chest-like radiographs rendered from a seed, with no download and no files."""

from __future__ import annotations

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
    seed: int = 0,
    difficulty: float = 1.0,
    label_noise: float = 0.0,
    prevalence: str = "lifted",
) -> Data:
    """Make the phantom's labels; its images are rendered when they are read. `root` is not used.

    `train`, `val`, `test` count images; `size` is their height and width in pixels; `difficulty` divides how clearly
    findings are seen; `label_noise` is the share of labels in train and val that are flipped (test stays true);
    `prevalence` is `lifted` (rare findings at 6 % at least, and some of each in every split) or `nih` (NIH's own).
    """
    counts = {"train": train, "val": val, "test": test}
    if min(counts.values()) < 1:
        raise UsageError(f"phantom: train, val and test must be at least 1, got {train}, {val} and {test}")
    if size < 16 or difficulty <= 0 or not 0 <= label_noise < 0.5:
        raise UsageError("phantom: size must be at least 16, difficulty above 0, label_noise in 0 .. 0.5")
    if prevalence not in ("lifted", "nih"):
        raise UsageError(f"phantom: prevalence must be 'lifted' or 'nih', got '{prevalence}'")
    from .rendering import make_data

    return make_data(counts, size, seed, difficulty, label_noise, prevalence)


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """The phantom."""
    return [Dataset(name="phantom", load=load, about=ABOUT)]
