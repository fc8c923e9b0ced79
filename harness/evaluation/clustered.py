"""Variance, interval and paired test of AUROC where patients have several images, without resampling.

Obuchowski 1997, Nonparametric analysis of clustered ROC curve data: DeLong's components of images are summed over each
patient, and patients are independent. With one image a patient it is DeLong's variance but for the share of the
patients' own covariance, which is then 0. Letters in shapes: N images, S systems, all scored on the same images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.delong import PairedTest, find_components, judge_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClusteredAreas:
    """AUROCs of systems on the same images."""

    areas: Array
    """(S,)"""
    covariance: Array
    """(S, S), NaN where fewer than two patients have positives, or negatives."""
    freedom: int
    """Degrees of freedom: patients with the class that fewer have, less one."""


def estimate_areas(scores: Array, targets: NDArray[np.floating], patients: NDArray[np.str_]) -> ClusteredAreas:
    """AUROCs of scores (N, S) for targets (N,) 0/1 of patients (N,), and their covariance.

    Raises `DataError` where a class is missing or a value is unknown.
    """
    positive = targets == 1
    over, under = find_components(scores, targets)  # (m, S), (n, S)
    areas = over.mean(axis=0)
    _, located = np.unique(patients, return_inverse=True)
    count = int(located.max()) + 1
    of_positives, with_positives = _sum_patients((over - areas) / len(over), located[positive], count)
    of_negatives, with_negatives = _sum_patients((under - areas) / len(under), located[~positive], count)
    freedom = min(with_positives, with_negatives) - 1
    if freedom < 1:
        return ClusteredAreas(areas, np.full((scores.shape[1],) * 2, np.nan), freedom)
    shared = of_positives.T @ of_negatives  # (S, S)
    covariance = (
        of_positives.T @ of_positives * with_positives / (with_positives - 1)
        + of_negatives.T @ of_negatives * with_negatives / (with_negatives - 1)
        + (shared + shared.T) * count / (count - 1)
    )
    return ClusteredAreas(areas, covariance, freedom)


def find_interval(
    scores: Array, targets: NDArray[np.floating], patients: NDArray[np.str_], level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of the AUROC of scores (N,): Student's t on the logit scale.

    None where the variance is undefined, or the area is 0 or 1. Raises `DataError` as `estimate_areas` does.
    """
    from scipy.special import expit, logit, stdtrit

    estimate = estimate_areas(scores[:, None], targets, patients)
    area, variance = float(estimate.areas[0]), float(estimate.covariance[0, 0])
    if math.isnan(variance) or not 0 < area < 1:
        return None
    reach = stdtrit(estimate.freedom, (1 + level) / 2) * math.sqrt(max(variance, 0.0)) / (area * (1 - area))
    return float(expit(logit(area) - reach)), float(expit(logit(area) + reach))


def compare_areas(a: Array, b: Array, targets: NDArray[np.floating], patients: NDArray[np.str_]) -> PairedTest:
    """Whether the AUROCs of two systems' scores (N,) differ on the same targets (N,), by Student's t.

    NaN for all but `delta` where the variance is undefined. Raises `DataError` as `estimate_areas` does.
    """
    from scipy.special import stdtr

    estimate = estimate_areas(np.stack([a, b], axis=1), targets, patients)
    return judge_difference(estimate.areas, estimate.covariance, lambda t: float(2 * stdtr(estimate.freedom, -abs(t))))


def _sum_patients(components: Array, located: NDArray[np.intp], count: int) -> tuple[Array, int]:
    """Components of images (n, S) summed over their patients (count, S), and how many patients have any."""
    sums = np.zeros((count, components.shape[1]))
    np.add.at(sums, located, components)
    return sums, len(np.unique(located))
