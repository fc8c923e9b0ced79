"""Metrics of scores as probabilities: Brier score and expected calibration error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness import Metric, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BINS = 15
"""Of equal width, as in Guo et al. 2017."""


def compute_brier(scores: Array, targets: Array, weights: Array | None) -> Array:
    """Mean squared difference (C,) of scores and targets (N, C); NaN where nothing has weight."""
    import numpy as np

    weight = np.ones(len(scores)) if weights is None else weights
    if not weight.sum() > 0:
        return np.full(scores.shape[1], np.nan)
    return np.asarray(np.average((scores - targets) ** 2, axis=0, weights=weight))


def compute_ece(scores: Array, targets: Array, weights: Array | None) -> Array:
    """Expected calibration error (C,): over 15 bins of equal width, the mean distance between score and share of
    positives, weighted by what a bin holds. A bin includes its lower edge; the last one also 1. NaN where nothing has
    weight.
    """
    import numpy as np

    weight = np.ones(len(scores)) if weights is None else weights
    if not weight.sum() > 0:
        return np.full(scores.shape[1], np.nan)
    bins = np.minimum((scores * BINS).astype(np.intp), BINS - 1)

    def error(label: int) -> float:
        gap = np.bincount(bins[:, label], weight * (scores[:, label] - targets[:, label]), minlength=BINS)
        return float(np.abs(gap).sum() / weight.sum())

    return np.array([error(label) for label in range(scores.shape[1])])


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """Brier and ECE."""
    return [
        Metric(
            name="brier",
            compute=compute_brier,
            higher_is_better=False,
            about="mean squared error of the scores as probabilities",
            citation="Brier 1950, Verification of forecasts expressed in terms of probability",
        ),
        Metric(
            name="ece",
            compute=compute_ece,
            higher_is_better=False,
            about=f"expected calibration error over {BINS} bins of equal width",
            citation="Guo et al. 2017, On calibration of modern neural networks",
        ),
    ]
