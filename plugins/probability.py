"""Metrics of scores as probabilities: Brier score and expected calibration error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from harness import Metric, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness import Weighted

    Array = NDArray[np.float64]

BINS = 15
"""Bins of equal width, as many as in Guo et al. 2017."""


def compute_brier(scores: Array, targets: Array, weights: Array | None) -> Array:
    """Mean squared difference (C,) of scores and targets (N, C); NaN where nothing has weight."""
    import numpy as np

    weight = np.ones(len(scores)) if weights is None else weights
    if not weight.sum() > 0:
        return np.full(scores.shape[1], np.nan)
    errors = np.sort(weight[:, None] * (scores - targets) ** 2, axis=0)  # one sum in any order of images
    return np.asarray(errors.sum(axis=0) / weight.sum())


def compute_ece(scores: Array, targets: Array, weights: Array | None) -> Array:
    """Expected calibration error (C,): over 15 bins of equal width, the mean distance between score and share of
    positives, weighted by what a bin holds. A bin includes its lower edge; the last one also 1. NaN where nothing has
    weight.
    """
    import numpy as np

    weight = np.ones(len(scores)) if weights is None else weights
    if not weight.sum() > 0:
        return np.full(scores.shape[1], np.nan)
    bins = _bins(scores)

    def error(label: int) -> float:
        gaps = weight * (scores[:, label] - targets[:, label])
        order = np.argsort(gaps)  # one sum in any order of images
        gap = np.bincount(bins[order, label], gaps[order], minlength=BINS)
        return float(np.abs(gap).sum() / weight.sum())

    return np.array([error(label) for label in range(scores.shape[1])])


def _bins(scores: Array) -> NDArray[np.intp]:
    import numpy as np

    return np.clip((scores * BINS).astype(np.intp), 0, BINS - 1)


def batch_brier(scores: Array, targets: Array, rows: NDArray[np.intp]) -> Weighted:
    """`compute_brier` for many weightings of the patients of scores and targets (N, C)."""
    import numpy as np

    return _mean_of_groups(np.zeros(scores.shape, dtype=np.intp), (scores - targets) ** 2, rows, 1)


def batch_ece(scores: Array, targets: Array, rows: NDArray[np.intp]) -> Weighted:
    """`compute_ece` for many weightings of the patients of scores and targets (N, C)."""
    return _mean_of_groups(_bins(scores), scores - targets, rows, BINS)


def _mean_of_groups(groups: NDArray[np.intp], values: Array, rows: NDArray[np.intp], count: int) -> Weighted:
    """Absolute weighted sums of values (N, C) in each of `count` groups, together over the whole weight."""
    import numpy as np

    from harness import sum_groups

    def means(weights: NDArray[Any]) -> Array:
        whole = np.bincount(rows, minlength=len(weights)) @ weights.astype(np.float64)  # (B,)
        sums = [
            np.abs(sum_groups(group, value, rows, weights, count)).sum(axis=0)
            for group, value in zip(groups.T, values.T, strict=True)
        ]
        total = np.stack(sums, axis=1)
        return np.asarray(np.divide(total, whole[:, None], out=np.full_like(total, np.nan), where=whole[:, None] > 0))

    return means


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """Brier and ECE."""
    return [
        Metric(
            name="brier",
            compute=compute_brier,
            batched=batch_brier,
            interval="logit",
            higher_is_better=False,
            about="mean squared error of the scores as probabilities",
            citation="Brier 1950, Verification of forecasts expressed in terms of probability",
        ),
        Metric(
            name="ece",
            compute=compute_ece,
            batched=batch_ece,
            interval="squared",
            higher_is_better=False,
            about=f"expected calibration error over {BINS} bins of equal width",
            citation="Guo et al. 2017, On calibration of modern neural networks",
        ),
    ]
