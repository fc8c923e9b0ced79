"""One curve for the seeds of a row.

Curves lie beside records as `Resamples` holds them: x and y (2, points), of reliability and net benefit (3, points).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.calibration import BINS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

GRID = np.linspace(0, 1, 104)
"""Where curves are averaged; 103 is prime, so that recalls, which are shares of the positives, seldom fall on it."""


def average_curves(kind: str, curves: Sequence[Array]) -> Array:
    """The mean of one label's curves (2 or 3, points) over seeds, one for each seed; of a single seed its own curve.

    `kind` is `roc`, `pr`, `reliability` or `benefit`.
    """
    if len(curves) == 1:
        return curves[0]
    if kind == "reliability":
        return pool_bins(curves)
    if kind == "benefit":  # all have the same thresholds
        mean: Array = np.stack(curves).mean(axis=0)
        return mean
    return average_vertically(curves, start=0.0 if kind == "roc" else None)


def average_vertically(curves: Sequence[Array], start: float | None) -> Array:
    """The mean of y at equal x (2, points), as Fawcett 2006 averages ROC curves; `start` is y where x is 0.

    The area under it is the mean of the areas. Stored curves are polygons within 0.002 of the exact ones, so that
    straight lines between their points are right for precision, too: Davis and Goadrich's interpolation is for
    neighboring thresholds, and most of those have been thinned out here.
    """
    y = np.mean([np.interp(GRID, curve[0], curve[1]) for curve in curves], axis=0)
    averaged = np.stack([GRID, y])
    return averaged if start is None else np.column_stack([[0.0, start], averaged])


def pool_bins(curves: Sequence[Array]) -> Array:
    """Mean score, share of positives and count (3, bins) of the images of all seeds, in bins of equal width."""
    score, share, count = np.concatenate(curves, axis=1)
    places = np.clip((score * BINS).astype(int), 0, BINS - 1)
    number = np.bincount(places, count, BINS)
    filled = number > 0
    sums = [np.bincount(places, values * count, BINS)[filled] / number[filled] for values in (score, share)]
    return np.stack([*sums, number[filled]])
