"""Weighted sums over images for many weightings at once: the inner loops of resampling, compiled by Numba.

Importing this module imports Numba: do it where it is used. Letters in shapes: N images, B weightings, G groups.
Weights are (N, B), uint8 (whole numbers, every sum of which is exact) or float64. Each function walks its images in one
fixed order and releases the GIL: labels may be computed by several threads, and a value depends on none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile on the first call; the machine code is kept on disk where Numba finds a folder that can be written."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # neither the package nor a cache folder can be written
        return cast(Function, numba.njit(**options)(function))


@dataclass(frozen=True, eq=False)
class Ranking:
    """Images of one label from the highest score down, in groups of equal scores.

    Neighboring groups without a positive are one group: nothing that is measured at a positive can tell them apart.
    """

    order: NDArray[np.intp]
    """(N,)"""
    positive: NDArray[np.bool_]
    """(N,) in that order."""
    ends: NDArray[np.intp]
    """(G,) where each group ends in that order."""


def rank(scores: NDArray[np.float64], targets: NDArray[np.float64]) -> Ranking:
    """Sort one label's scores (N,) and targets (N,) 0/1."""
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], targets[order] == 1
    if not len(order):
        return Ranking(order, positive, order)
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(order))
    found = np.logical_or.reduceat(positive, np.append(0, ends[:-1]))
    closes = np.append(found[:-1] | found[1:], True)  # the last group ends the ranking
    return Ranking(order, positive, ends[closes])


def auroc(ranking: Ranking, weights: NDArray[Any]) -> NDArray[np.float64]:
    """AUROC (B,) of one label, ties counting one half; NaN where a class has no weight."""
    weights = _plain(weights)
    return _auroc(ranking.order, ranking.positive, ranking.ends, weights, _sums(weights))


def average_precision(ranking: Ranking, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Average precision (B,) of one label, equal scores being one threshold; NaN where positives have no weight."""
    weights = _plain(weights)
    return _average_precision(ranking.order, ranking.positive, ranking.ends, weights, _sums(weights))


def sum_groups(
    group: NDArray[np.intp], values: NDArray[np.float64], weights: NDArray[Any], count: int
) -> NDArray[np.float64]:
    """Sum of weight times value in each group, (count, B); `group` (N,) in 0..count - 1 and `values` are (N,)."""
    return _sum_groups(group, values, _plain(weights), np.zeros((count, weights.shape[1])))


def _plain(weights: NDArray[Any]) -> NDArray[Any]:
    """As one of the two types that are compiled for."""
    return np.ascontiguousarray(weights, dtype=np.uint8 if weights.dtype == np.uint8 else np.float64)


def _sums(weights: NDArray[Any]) -> NDArray[Any]:
    """Room for the weight (2, B) of a group's negatives and positives; int32 holds eight million images of 255."""
    return np.zeros((2, weights.shape[1]), dtype=np.int32 if weights.dtype == np.uint8 else np.float64)


@compiled
def _auroc(
    order: NDArray[np.intp],
    positive: NDArray[np.bool_],
    ends: NDArray[np.intp],
    weights: NDArray[Any],
    sums: NDArray[Any],
) -> NDArray[np.float64]:
    count = weights.shape[1]
    positives, negatives, pairs = np.zeros(count), np.zeros(count), np.zeros(count)
    start = 0
    for end in ends:
        sums[:] = 0
        for i in range(start, end):
            row, into = weights[order[i]], sums[int(positive[i])]
            for b in range(count):
                into[b] += row[b]
        for b in range(count):
            pairs[b] += sums[0, b] * (positives[b] + sums[1, b] / 2)
            positives[b] += sums[1, b]
            negatives[b] += sums[0, b]
        start = end
    for b in range(count):
        both = positives[b] * negatives[b]
        pairs[b] = pairs[b] / both if both > 0 else np.nan
    return pairs


@compiled
def _average_precision(
    order: NDArray[np.intp],
    positive: NDArray[np.bool_],
    ends: NDArray[np.intp],
    weights: NDArray[Any],
    sums: NDArray[Any],
) -> NDArray[np.float64]:
    count = weights.shape[1]
    found, flagged, total = np.zeros(count), np.zeros(count), np.zeros(count)
    start = 0
    for end in ends:
        sums[:] = 0
        for i in range(start, end):
            row, into = weights[order[i]], sums[int(positive[i])]
            for b in range(count):
                into[b] += row[b]
        for b in range(count):
            found[b] += sums[1, b]
            flagged[b] += sums[0, b] + sums[1, b]
            precision = found[b] / flagged[b]
            total[b] += sums[1, b] * precision if sums[1, b] > 0 else 0.0
        start = end
    for b in range(count):
        total[b] = total[b] / found[b] if found[b] > 0 else np.nan
    return total


@compiled
def _sum_groups(
    group: NDArray[np.intp], values: NDArray[np.float64], weights: NDArray[Any], sums: NDArray[np.float64]
) -> NDArray[np.float64]:
    for i in range(len(group)):
        row, into, value = weights[i], sums[group[i]], values[i]
        for b in range(weights.shape[1]):
            into[b] += row[b] * value
    return sums
