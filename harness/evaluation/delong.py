"""Variance, interval and paired test of AUROC without resampling.

DeLong, DeLong and Clarke-Pearson 1988, Comparing the areas under two or more correlated receiver operating
characteristic curves, by the midranks of Sun and Xu 2014, Fast implementation of DeLong's algorithm. It takes images to
be **independent**: where patients have several, its intervals are too narrow; `clustered` is for those.
Letters in shapes: N images, S systems, all scored on the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PairedTest:
    """Two systems on the same images."""

    delta: float
    """AUROC of the first minus that of the second."""
    standard_error: float
    statistic: float
    """The difference over its standard error: z of independent images, Student's t of patients."""
    p: float
    """Two-sided p-value; 1 where the two rank alike."""


def estimate_covariance(
    scores: NDArray[np.float64], targets: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROCs (S,) of scores (N, S) for targets (N,) 0/1, and their covariance (S, S).

    The covariance is NaN where there are fewer than two positives or negatives. Raises `DataError` where a class is
    missing or a value is unknown.
    """
    over_negatives, under_positives = find_components(scores, targets)
    m, n = len(over_negatives), len(under_positives)
    if m < 2 or n < 2:
        return over_negatives.mean(axis=0), np.full((scores.shape[1],) * 2, np.nan)
    covariance = _covariance(over_negatives) / m + _covariance(under_positives) / n
    return over_negatives.mean(axis=0), covariance


def find_components(
    scores: NDArray[np.float64], targets: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of negatives below each positive (m, S), and of positives above each negative (n, S); ties are halves.

    Scores are (N, S), targets (N,) 0/1. The mean of either is the AUROC. Raises `DataError` where a class is missing or
    a value is unknown.
    """
    from scipy.stats import rankdata

    positive = targets == 1
    m, n = int(positive.sum()), int((targets == 0).sum())
    if m == 0 or n == 0 or m + n < len(targets) or np.isnan(scores).any():
        raise DataError(
            f"AUROC needs known positives and negatives alone: leave out unknown targets ({len(targets) - m - n}) and "
            f"scores that are no numbers; got {m} positives and {n} negatives"
        )
    together = rankdata(scores, axis=0)  # (m + n, S) midranks
    over_negatives = (together[positive] - rankdata(scores[positive], axis=0)) / n
    under_positives = 1 - (together[~positive] - rankdata(scores[~positive], axis=0)) / m
    return over_negatives, under_positives


def find_interval(
    scores: NDArray[np.float64], targets: NDArray[np.floating], level: float = 0.95
) -> tuple[float, float] | None:
    """Normal interval of the AUROC of scores (N,), cut at 0 and 1; None where the variance is undefined.

    Raises `DataError` as `estimate_covariance` does.
    """
    area, covariance = estimate_covariance(scores[:, None], targets)
    if np.isnan(covariance[0, 0]):
        return None
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(covariance[0, 0])
    return max(0.0, float(area[0]) - reach), min(1.0, float(area[0]) + reach)


def compare_areas(a: NDArray[np.float64], b: NDArray[np.float64], targets: NDArray[np.floating]) -> PairedTest:
    """Whether the AUROCs of two systems' scores (N,) differ on the same targets (N,).

    NaN for all but `delta` where the variance is undefined. Raises `DataError` as `estimate_covariance` does.
    """
    areas, covariance = estimate_covariance(np.stack([a, b], axis=1), targets)
    return judge_difference(areas, covariance, lambda z: math.erfc(abs(z) / math.sqrt(2)))


def judge_difference(
    areas: NDArray[np.float64], covariance: NDArray[np.float64], find_p: Callable[[float], float]
) -> PairedTest:
    """Test the difference of two areas (2,) with this covariance (2, 2); `find_p` is the statistic's two-sided p-value.

    NaN for all but `delta` where the covariance is undefined.
    """
    delta = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if math.isnan(variance):
        return PairedTest(delta, math.nan, math.nan, math.nan)
    error = math.sqrt(max(variance, 0.0))
    certain = math.copysign(math.inf, delta) if delta else 0.0
    statistic = delta / error if error else certain
    return PairedTest(delta, error, statistic, find_p(statistic))


def _covariance(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (S, S) of components (count, S)."""
    centered = components - components.mean(axis=0)
    return np.asarray(centered.T @ centered / (len(components) - 1))
