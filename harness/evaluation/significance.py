"""Tests of differences with a standard error of patients and of seeds: p-values, intervals, what could be seen, Holm.

A variance over seeds is known by few degrees of freedom, the one over patients by so many that they count as infinite.
Of their sum, 1 / freedom is the mean of the parts' 1 / freedom, weighted by their shares in the variance. Satterthwaite
(1946) weights by the squares of the shares, which promises more than three seeds know: far out, where p-values that are
adjusted for many pairs lie, it finds too much. Cochran and Cox (1950, Experimental Designs) average critical values of
t instead and find less. The rule here lies between both and was chosen by simulation (docs/simulations.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SIGNIFICANT = 0.05
"""The p-value, adjusted for all pairs, below which two systems differ."""
POWER = 0.8
"""A difference could have been seen where it is found in so many cases: missed in at most one out of five."""
FEWEST_SEEDS = 3
"""Seeds that a system needs to say how its method spreads."""
_ENDLESS = 1e8


def combine(patients: Array, *seeds: tuple[Array, Array]) -> tuple[Array, Array]:
    """Standard error and degrees of freedom of the sum of parts: the variance over patients, and of seeds each variance
    with its degrees of freedom. Infinite where seeds do not spread.
    """
    variance = patients + sum(part for part, _ in seeds)
    poorly = sum((part / freedom for part, freedom in seeds), np.zeros_like(variance))
    freedom = np.divide(variance, poorly, out=np.full_like(variance, np.inf), where=poorly > 0)
    return np.sqrt(variance), freedom


def two_sided(delta: Array, error: Array, freedom: Array) -> Array:
    """P-values of differences against 0; NaN where the error is, and where nothing varies 1 or 0."""
    return np.minimum(2 * one_sided(np.abs(delta), error, freedom), 1)


def one_sided(delta: Array, error: Array, freedom: Array) -> Array:
    """P-values of differences that are not above 0: small where they are far above."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        t = np.where((error == 0) & (delta == 0), 0.0, -delta / error)
    return np.asarray(stdtr(np.minimum(freedom, _ENDLESS), t))


def quantile(freedom: Array, share: float) -> Array:
    """Find a quantile of Student's t."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.minimum(freedom, _ENDLESS), share))


def find_detectable(error: Array, freedom: Array, tests: int = 1) -> Array:
    """The least difference that is found with a probability of `POWER` among so many tests (Bonferroni's threshold).

    error * (t(1 - alpha / 2) + t(power)), the usual approximation to the noncentral t distribution (Cohen 1988,
    Statistical Power Analysis). Holm's adjustment finds a little more.
    """
    alpha = SIGNIFICANT / max(tests, 1)
    return np.asarray(error * (quantile(freedom, 1 - alpha / 2) + quantile(freedom, POWER)))


def adjust_holm(p: Array, tests: int | None = None) -> Array:
    """P-values (M,) adjusted for all that are not NaN (Holm 1979, A simple sequentially rejective procedure).

    With `tests`, at least as many as there are, these were picked from so many by their results.
    """
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]
    factors = (tests or len(order)) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted
