"""AUROC by label without resampling, of predictions: by patients (Obuchowski), and by images (DeLong)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.evaluation import clustered, delong
from harness.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

METHOD = "Obuchowski 1997: patients are independent, Student's t, intervals on the logit scale"
DELONG = "DeLong 1988: images are independent, too narrow where patients have several"
Areas = dict[str, dict[str, Any] | None]
"""Label -> plain values, those of DeLong under `delong`; None where the label lacks positives or negatives."""


def describe_areas(predictions: Predictions) -> Areas:
    """Each label's AUROC with its standard error and interval."""
    columns = zip(predictions.labels, predictions.ranks.T, predictions.targets.T, strict=True)
    return {label: _describe(score, target, predictions.patient) for label, score, target in columns}


def compare_areas_by_label(a: Predictions, b: Predictions) -> Areas:
    """Each label's difference in AUROC, a minus b, with its standard error and p; both are aligned."""
    columns = zip(a.labels, a.ranks.T, b.ranks.T, a.targets.T, strict=True)
    return {label: _compare(first, second, target, a.patient) for label, first, second, target in columns}


def _describe(score: Array, target: NDArray[np.float32], patient: NDArray[np.str_]) -> dict[str, Any] | None:
    known = ~np.isnan(target)
    if not _has_both(target[known]):
        return None
    score, target, patient = score[known], target[known], patient[known]
    estimate = clustered.estimate_areas(score[:, None], target, patient)
    _, covariance = delong.estimate_covariance(score[:, None], target)
    return {
        "auroc": float(estimate.areas[0]),
        "standard_error": _root(estimate.covariance[0, 0]),
        "degrees_of_freedom": estimate.freedom,
        "interval": clustered.find_interval(score, target, patient),
        "delong": {"standard_error": _root(covariance[0, 0]), "interval": delong.find_interval(score, target)},
    }


def _compare(
    first: Array, second: Array, target: NDArray[np.float32], patient: NDArray[np.str_]
) -> dict[str, Any] | None:
    known = ~np.isnan(target)
    if not _has_both(target[known]):
        return None
    test = clustered.compare_areas(first[known], second[known], target[known], patient[known])
    by_images = delong.compare_areas(first[known], second[known], target[known])
    return {
        "delta": test.delta,
        "standard_error": test.standard_error,
        "p": test.p,
        "delong": {"standard_error": by_images.standard_error, "p": by_images.p},
    }


def _root(variance: float) -> float:
    return math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan


def _has_both(targets: NDArray[np.float32]) -> bool:
    return len(np.unique(targets)) == 2
