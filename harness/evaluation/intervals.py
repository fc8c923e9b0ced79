"""Intervals of a metric's value, from its resamples.

Which method a metric has is its own (`Metric.interval`); those of the bundled metrics are chosen by the simulations in
docs/simulations.md. Every interval holds its value. Where all resamples have one value, as those of a sensitivity of 1
have, there is none: chance may still move it, and nothing tells how far. Letters in shapes: S values, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from harness.components import METHODS, IntervalMethod
from harness.evaluation.bootstrap import FEWEST_CARRIERS, FEWEST_PATIENTS, MOST_MISSING
from harness.text import agree, count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ends = tuple[Array, Array]

LEVEL = 0.95
FARTHEST = 2
"""Times as far as resamples lie from their mean: no interval on the logit scale reaches farther from its value, or from
the value without its bias."""
SAME = 1e-12
"""The most by which resamples of one value may differ: what their sums are rounded by."""
MOST_NAMED = 3
"""Labels that a reason names."""
ENOUGH = f"{FEWEST_CARRIERS} patients who have each label and {FEWEST_CARRIERS} who lack it"


def find_interval(
    value: float, resamples: Array, method: IntervalMethod = "percentile", level: float = LEVEL
) -> tuple[float, float] | None:
    """The interval of a value from its resamples (R,), undefined ones left out.

    None where the value or more than 5 % of the resamples are undefined, or where all of these have one value.
    """
    return find_intervals(np.array([value]), resamples[None], [method], level)[0]


def find_intervals(
    values: Array, resamples: Array, methods: Sequence[IntervalMethod], level: float = LEVEL
) -> list[tuple[float, float] | None]:
    """`find_interval` of each value (S,) and row of resamples (S, R), at once of those that share a method."""
    missing = np.isnan(resamples)  # (S, R)
    usable = ~np.isnan(values) & (missing.mean(axis=1) <= MOST_MISSING)
    intervals: list[tuple[float, float] | None] = [None] * len(values)
    for method in METHODS:
        of_method = usable & np.array([name == method for name in methods], dtype=np.bool_)
        whole = np.flatnonzero(of_method & ~missing.any(axis=1))
        # rows that lack resamples go one by one, since each may lack others
        groups = [whole, *(np.array([row]) for row in np.flatnonzero(of_method & missing.any(axis=1)))]
        for rows in filter(len, groups):
            drawn = resamples[rows][:, ~missing[rows[0]]]
            moved = np.ptp(drawn, axis=1) > SAME
            rows, drawn = rows[moved], drawn[moved]  # noqa: PLW2901 - those that are left
            low, high = FIND[method](values[rows], drawn, level)
            low, high = np.minimum(low, values[rows]), np.maximum(high, values[rows])
            for row, *ends in zip(rows.tolist(), low.tolist(), high.tolist(), strict=True):
                intervals[row] = (ends[0], ends[1])
    return intervals


def explain_absence(
    labels: Sequence[str], targets: NDArray[np.floating], patients: NDArray[np.str_], resamples: Array
) -> str:
    """Why a mean over these labels has no interval, in words; targets are (N, C), patients (N,), resamples (R,)."""
    number = len(np.unique(patients))
    if number < FEWEST_PATIENTS:
        return (
            f"{count(number, 'patient')} {agree(number, 'is', 'are')} too few for an interval, which needs "
            f"{FEWEST_PATIENTS}"
        )
    few = _describe_few(labels, targets, patients)
    if few:
        return f"an interval needs {ENOUGH}: {_name_some([*few.values()])}"
    if np.isnan(resamples).mean() > MOST_MISSING:
        return f"more than {MOST_MISSING:.0%} of the resamples have no value"
    return "all resamples have the same value, so that they do not tell how far chance may move it"


def explain_omission(
    labels: Sequence[str], values: Array, targets: NDArray[np.floating], patients: NDArray[np.str_]
) -> str | None:
    """Why a mean leaves these labels out, in words; None without any.

    Values are (C,), targets (N, C), patients (N,).
    """
    valued = [label for label, value in zip(labels, values, strict=True) if not np.isnan(value)]
    few = _describe_few(valued, targets[:, ~np.isnan(values)], patients)
    others = [label for label in labels if label not in few]
    reasons = [f"a mean needs {ENOUGH}: {_name_some([*few.values()])}"] if few else []
    reasons += [f"without a value in a seed or at a threshold: {_name_some(others)}"] if others else []
    return "; ".join(reasons) or None


def _describe_few(labels: Sequence[str], targets: NDArray[np.floating], patients: NDArray[np.str_]) -> dict[str, str]:
    """Label -> how many patients have it, or lack it, in words, where these are too few."""
    few = {}
    for label, column in zip(labels, targets.T, strict=True):
        have, lack = (len(np.unique(patients[column == kind])) for kind in (1, 0))
        if min(have, lack) < FEWEST_CARRIERS:
            few[label] = (
                f"{have} {agree(have, 'has', 'have')} {label}"
                if have < FEWEST_CARRIERS
                else f"{lack} {agree(lack, 'lacks', 'lack')} {label}"
            )
    return few


def _name_some(texts: Sequence[str]) -> str:
    more = f" and so on for {count(len(texts) - MOST_NAMED, 'more label')}" if texts[MOST_NAMED:] else ""
    return f"{', '.join(texts[:MOST_NAMED])}{more}"


def _find_percentiles(values: Array, resamples: Array, level: float) -> Ends:
    """Percentile intervals (Efron 1979, Bootstrap methods)."""
    low, high = np.quantile(resamples, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return low, high


def _find_on_logits(values: Array, resamples: Array, level: float) -> Ends:
    """Reach as far as percentiles and `_reach_from` on the scale of log(value / (1 - value)) together.

    A mean over labels hides how skewed each of them is: where few patients have some, the logit of the mean alone
    reached too short (docs/simulations.md). A value at an end of 0..1, or resamples there, has percentiles only. Where
    few patients count, some resamples come so near to 0 or 1 that their logits have a spread that is not the value's:
    the interval stays within `FARTHEST`.
    """
    from scipy.special import expit, logit

    inside = (np.minimum(values, resamples.min(axis=1)) > 0) & (np.maximum(values, resamples.max(axis=1)) < 1)
    low, high = _find_percentiles(values, resamples, level)
    below_on_logits, above_on_logits = _reach_from(logit(values[inside]), logit(resamples[inside]), level)
    low[inside] = np.minimum(low[inside], expit(below_on_logits))
    high[inside] = np.maximum(high[inside], expit(above_on_logits))
    mean = resamples.mean(axis=1)
    below, above = mean - resamples.min(axis=1), resamples.max(axis=1) - mean
    lower, upper = np.minimum(values, 2 * values - mean), np.maximum(values, 2 * values - mean)
    return np.maximum(low, lower - FARTHEST * below), np.minimum(high, upper + FARTHEST * above)


def _find_on_squares(values: Array, resamples: Array, level: float) -> Ends:
    """`_reach_from` on the scale of value^2, within 0..1.

    Resampling adds noise to a value that noise has lifted already. An ECE, a sum of absolute differences, is lifted
    so that its square grows by about as much with each equal dose of noise: what the resamples' squares are above the
    value's is then what the value's square is above the truth's.
    """
    low, high = _reach_from(values**2, resamples**2, level)
    return np.sqrt(np.clip(low, 0, 1)), np.sqrt(np.clip(high, 0, 1))


def _reach_from(values: Array, resamples: Array, level: float) -> Ends:
    """Normal reach around the value and around the value without its bias, together.

    The bias is how far the resamples' mean lies from the value (Efron and Tibshirani 1993, An introduction to the
    bootstrap, chapter 10). It is known only roughly, so that both centers count.
    """
    reach = NormalDist().inv_cdf((1 + level) / 2) * resamples.std(axis=1, ddof=1)
    without_bias = 2 * values - resamples.mean(axis=1)
    return np.minimum(values, without_bias) - reach, np.maximum(values, without_bias) + reach


FIND: dict[IntervalMethod, Callable[[Array, Array, float], Ends]] = {
    "percentile": _find_percentiles,
    "logit": _find_on_logits,
    "squared": _find_on_squares,
}
