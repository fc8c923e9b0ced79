"""AUROC by label without resampling, of predictions: DeLong's test takes images to be independent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.evaluation.delong import compare_areas, estimate_covariance, find_interval
from harness.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ASSUMES = "images are independent: too narrow where patients have several"
Areas = dict[str, dict[str, Any] | None]
"""Label -> plain values; None where the label lacks positives or negatives."""


def describe_areas(predictions: Predictions) -> Areas:
    """Each label's AUROC with its standard error and interval."""
    columns = zip(predictions.labels, predictions.scores.T, predictions.targets.T, strict=True)
    return {label: _describe(score, target) for label, score, target in columns}


def compare_areas_by_label(a: Predictions, b: Predictions) -> Areas:
    """Each label's difference in AUROC, a minus b, with its standard error and p; both are aligned."""
    columns = zip(a.labels, a.scores.T, b.scores.T, a.targets.T, strict=True)
    return {label: _compare(first, second, target) for label, first, second, target in columns}


def _describe(score: Array, target: NDArray[np.float32]) -> dict[str, Any] | None:
    known = ~np.isnan(target)
    if not _has_both(target[known]):
        return None
    area, covariance = estimate_covariance(score[known, None], target[known])
    interval = find_interval(score[known], target[known])
    return {"auroc": float(area[0]), "standard_error": math.sqrt(covariance[0, 0]), "interval": interval}


def _compare(first: Array, second: Array, target: NDArray[np.float32]) -> dict[str, Any] | None:
    known = ~np.isnan(target)
    if not _has_both(target[known]):
        return None
    test = compare_areas(first[known], second[known], target[known])
    return {"delta": test.delta, "standard_error": test.standard_error, "p": test.p}


def _has_both(targets: NDArray[np.float32]) -> bool:
    return len(np.unique(targets)) == 2
