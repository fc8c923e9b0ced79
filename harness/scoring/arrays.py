"""Predictions that lie in memory: arrays or a DataFrame of scores, with targets and patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.errors import DataError, UsageError
from harness.evaluation.predictions import Predictions, require_targets, require_unique
from harness.scoring.prediction_files import judge_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def make_predictions(
    scores: ArrayLike | pd.DataFrame,
    targets: ArrayLike | pd.DataFrame,
    *,
    labels: Sequence[str] = (),
    patients: Iterable[object] | None = None,
    source: str = "scores",
    called: str = "image",
) -> Predictions:
    """Predictions of N images and C labels.

    `scores` (N, C) are probabilities in 0..1; other finite numbers only rank. `targets` (N, C) are 1, 0 or NaN for
    unknown. A DataFrame names its labels by its columns, and images by its index; two of them are matched by both. Of
    arrays, labels are called as `labels` says, else `0`, `1`, ..., and images `called` with their number. Without
    `patients` (N,) each image counts as a patient of its own.

    Raises `UsageError` for names that contradict each other, `DataError` where shapes or names do not fit, a score is
    not finite, or a target is none.
    """
    values, images, names = _read(scores, labels, source, called)
    if isinstance(targets, pd.DataFrame) and isinstance(scores, pd.DataFrame):
        targets = _match(targets, scores, source)
    truth, _, _ = _read(targets, labels, f"targets of {source}", called)
    if truth.shape != values.shape:
        raise DataError(f"{source}: scores are {values.shape} and targets {truth.shape}; both must be (images, labels)")
    known = None if patients is None else np.array([str(patient) for patient in patients])
    if known is not None and known.shape != images.shape:
        raise DataError(
            f"{source}: there are {len(images):,} images and {len(known):,} patients; give one for each image"
        )
    require_unique(images, "image", source)
    require_unique(np.array(names), "label", source)
    require_targets(truth, names, images, source)
    predictions = Predictions.from_scores(
        names, images, images if known is None else known, values, truth.astype(np.float32)
    )
    return judge_scores(replace(predictions, patients_known=known is not None, source=source))


def _read(
    given: ArrayLike | pd.DataFrame, labels: Sequence[str], source: str, called: str
) -> tuple[NDArray[np.float64], NDArray[np.str_], tuple[str, ...]]:
    """Values (N, C), names of images (N,) and of labels."""
    if isinstance(given, pd.DataFrame):
        if labels and list(labels) != [str(name) for name in given.columns]:
            raise UsageError(f"{source}: a DataFrame names its labels by its columns; leave out labels")
        names, images = [str(name) for name in given.columns], [str(name) for name in given.index]
    else:
        names, images = list(map(str, labels)), []
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: these are no numbers ({error}); give (images, labels)") from None
    if values.ndim != 2:
        raise DataError(f"{source}: the shape {values.shape} must be (images, labels), a column for each label")
    names = names or [str(number) for number in range(values.shape[1])]
    if len(names) != values.shape[1]:
        raise UsageError(f"{source}: {values.shape[1]} columns and {len(names)} labels; name each column once")
    return values, np.array(images or [f"{called} {number}" for number in range(len(values))]), tuple(names)


def _match(targets: pd.DataFrame, scores: pd.DataFrame, source: str) -> pd.DataFrame:
    """Targets in the order of the scores' images and labels. Raises `DataError` where one of these is missing."""
    for kind, wanted, there in (
        ("image", scores.index, targets.index),
        ("label", scores.columns, targets.columns),
    ):
        require_unique(np.array([str(name) for name in there]), kind, f"targets of {source}")
        absent = wanted.difference(there)
        if len(absent):
            raise DataError(
                f"{source}: {len(absent):,} of {len(wanted):,} {kind}s have no targets, first '{absent[0]}'"
            )
    return targets.loc[scores.index, scores.columns]
