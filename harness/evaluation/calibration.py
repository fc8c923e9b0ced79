"""Whether scores are probabilities, and how validation can make them so.

What is fitted is fitted on validation logits, each label by itself, and applied to the test split. Letters in shapes:
N images, C labels, G bins that hold an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.evaluation.contract import defined_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Fit = Callable[[Array, Array], tuple[float, float]]

BINS = 15
"""Bins of a reliability diagram, as many as in Guo et al. 2017, On calibration of modern neural networks."""
TEMPERATURES = (0.01, 100.0)
"""Lowest and highest temperature: a label that validation separates would have 0, one ranked upside down infinity."""
STEPS = 100
"""The most steps of Newton's method, which needs about ten."""


# --- how far scores are from probabilities ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reliability:
    """The reliability diagram of one label: bins that hold an image, from the lowest scores up."""

    score: NDArray[np.float64]
    """(G,) mean score."""
    share: NDArray[np.float64]
    """(G,) share of positives."""
    count: NDArray[np.intp]
    """(G,) images."""

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of score and share over images. NaN where there is none."""
        total = int(self.count.sum())
        return float((np.abs(self.score - self.share) * self.count).sum() / total) if total else math.nan


@dataclass(frozen=True)
class Brier:
    """The Brier score of one label in four parts: reliability - resolution + uncertainty + within.

    Murphy 1973, A new vector partition of the probability score, for binned scores; `within` is what scores that
    differ inside a bin add (Stephenson, Coelho and Jolliffe 2008, Two extra components in the Brier score
    decomposition: their variance less twice their covariance with the targets), so that the sum is exact.
    """

    reliability: float
    """Mean squared distance of a bin's mean score and its share of positives: lower is better."""
    resolution: float
    """Mean squared distance of a bin's share and the whole's: higher is better."""
    uncertainty: float
    """Variance of the targets: no model's doing."""
    within: float

    @property
    def score(self) -> float:
        """The Brier score."""
        return self.reliability - self.resolution + self.uncertainty + self.within


def describe_reliability(
    scores: NDArray[np.float64],
    targets: NDArray[np.floating],
    bins: int = BINS,
    spacing: Literal["width", "mass"] = "width",
) -> Reliability:
    """Bins of one label's scores (N,) in 0..1 and targets (N,), unknown targets (NaN) left out.

    Bins are equal in `width`, each with its lower edge, the last one also with 1; or in `mass`, as far as equal scores,
    which share a bin, allow.
    """
    score, target, bin_of = _sort_into_bins(scores, targets, bins, spacing)
    count = np.bincount(bin_of, minlength=bins)
    held = count > 0
    mean, share = (np.bincount(bin_of, values, minlength=bins)[held] / count[held] for values in (score, target))
    return Reliability(mean, share, count[held])


def decompose_brier(scores: NDArray[np.float64], targets: NDArray[np.floating], bins: int = BINS) -> Brier:
    """The parts of one label's Brier score, over bins of equal width; unknown targets (NaN) are left out.

    All are NaN where no target is known.
    """
    score, target, bin_of = _sort_into_bins(scores, targets, bins, "width")
    if not len(score):
        return Brier(math.nan, math.nan, math.nan, math.nan)
    count = np.bincount(bin_of, minlength=bins)[bin_of]  # (N,) images in the bin of each image
    mean, share = (np.bincount(bin_of, values, minlength=bins)[bin_of] / count for values in (score, target))
    prevalence = target.mean()
    return Brier(
        reliability=float(((mean - share) ** 2).mean()),
        resolution=float(((share - prevalence) ** 2).mean()),
        uncertainty=float(prevalence * (1 - prevalence)),
        within=float(((score - mean) ** 2 - 2 * (score - mean) * (target - share)).mean()),
    )


def _sort_into_bins(
    scores: NDArray[np.float64], targets: NDArray[np.floating], bins: int, spacing: str
) -> tuple[Array, Array, NDArray[np.intp]]:
    """Known scores and targets, sorted so that sums do not depend on the order of images, and the bin of each."""
    order = np.flatnonzero(~np.isnan(targets))
    order = order[np.lexsort((targets[order], scores[order]))]
    score, target = scores[order], targets[order].astype(np.float64)
    if spacing == "width":
        return score, target, np.minimum((score * bins).astype(np.intp), bins - 1)
    first = np.searchsorted(score, score)  # of equal scores all take the place of the first
    return score, target, first * bins // max(len(score), 1)


# --- making them probabilities ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Calibration:
    """A line through each label's logits; NaN where validation lacks a class, as everything that follows from it."""

    slope: NDArray[np.float64]
    """(C,); the inverse of a temperature."""
    intercept: NDArray[np.float64]
    """(C,)"""

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrated logits (N, C) of logits (N, C)."""
        return self.slope * logits.astype(np.float64) + self.intercept


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.floating]) -> Calibration:
    """Divide each label's logits (N, C) by the temperature with the lowest log loss on targets (N, C).

    Guo et al. 2017, here label by label. The temperature stays in 0.01..100. Unknown targets (NaN) are left out.
    """
    return _fit_labels(logits, targets, lambda z, y: (_fit_slope(z, y), 0.0))


def fit_platt(logits: NDArray[np.floating], targets: NDArray[np.floating]) -> Calibration:
    """Slope and intercept of each label's logits (N, C) with the lowest log loss on targets (N, C).

    Platt 1999, Probabilistic outputs for support vector machines. Where a label's classes can be told apart by a
    threshold, the lowest loss lies at infinity; its targets are then drawn towards one half as Platt does. Unknown
    targets (NaN) are left out.
    """
    return _fit_labels(logits, targets, _fit_line)


def fit_test(logits: NDArray[np.floating], targets: NDArray[np.floating]) -> Calibration:
    """Calibration slope and intercept of each label: the logistic regression of targets (N, C) on logits (N, C).

    Cox 1958, Two further applications of a model for binary regression. Scores that are probabilities have slope 1 and
    intercept 0; a slope under 1 means scores too extreme. NaN where a label lacks a class, its logits are all the same,
    or a threshold tells its classes apart: there the fit has no end. Unknown targets (NaN) are left out.
    """

    def fit(z: Array, y: Array) -> tuple[float, float]:
        return _fit_logistic(z, y) if z.std() > 0 and not _are_apart(z, y) else (math.nan, math.nan)

    return _fit_labels(logits, targets, fit)


def follow(fitted: Calibration, before: Calibration) -> Calibration:
    """The line through calibrated logits that is the line `fitted` through the logits before, NaN where there is none.

    fitted.slope * z + fitted.intercept, with z = (calibrated - before.intercept) / before.slope.
    """
    flat = np.isnan(before.slope) | (before.slope == 0)
    slope = fitted.slope / np.where(flat, np.nan, before.slope)
    return Calibration(slope, fitted.intercept - slope * before.intercept)


def _fit_labels(logits: NDArray[np.floating], targets: NDArray[np.floating], fit: Fit) -> Calibration:
    wide = logits.astype(np.float64)
    lines = np.full((2, wide.shape[1]), np.nan)  # (2, C) slopes and intercepts
    for label in np.flatnonzero(defined_labels(wide, targets)):
        known = ~np.isnan(targets[:, label])
        lines[:, label] = fit(wide[known, label], targets[known, label].astype(np.float64))
    return Calibration(*lines)


def _fit_slope(logits: Array, targets: Array) -> float:
    """The root of the loss's derivative, which rises with the slope (the loss is convex in it), within its bounds."""
    from scipy.optimize import brentq
    from scipy.special import expit

    def derivative(slope: float) -> float:
        return float(logits @ (expit(slope * logits) - targets))

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if derivative(low) >= 0:
        return low
    return high if derivative(high) <= 0 else float(brentq(derivative, low, high, xtol=1e-14))


def _fit_line(logits: Array, targets: Array) -> tuple[float, float]:
    """The line with the lowest loss, on Platt's targets where it would lie at infinity."""
    if _are_apart(logits, targets):
        positives, negatives = int((targets == 1).sum()), int((targets == 0).sum())
        targets = np.where(targets == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    return _fit_logistic(logits, targets)


def _are_apart(logits: Array, targets: Array) -> bool:
    """Whether a threshold tells the classes apart, at most with equal logits on both sides of it."""
    positives, negatives = logits[targets == 1], logits[targets == 0]
    return bool(positives.min() >= negatives.max() or negatives.min() >= positives.max())


def _fit_logistic(logits: Array, targets: Array) -> tuple[float, float]:
    """Newton's method on standardized logits, halving a step that does not lower the loss."""
    from scipy.special import expit

    center, scale = logits.mean(), logits.std() or 1.0
    inputs = np.stack([(logits - center) / scale, np.ones(len(logits))], axis=1)  # (N, 2)

    def loss(line: Array) -> float:
        values = inputs @ line
        return float((np.logaddexp(0, values) - targets * values).sum())

    line = np.zeros(2)
    for _ in range(STEPS):
        chances = expit(inputs @ line)
        gradient = inputs.T @ (chances - targets)
        curvature = (inputs.T * (chances * (1 - chances))) @ inputs  # (2, 2)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]  # of constant logits the slope stays 0
        before = loss(line)
        while loss(line - step) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        line = line - step
        if np.abs(step).max() < 1e-12:
            break
    return float(line[0] / scale), float(line[1] - line[0] * center / scale)
