"""Weighted sums over images for many weightings at once: the inner loops of resampling, compiled by Numba.

Importing this module imports Numba: do it where it is used. Letters in shapes: N images, P patients, B weightings, G
groups. Weights are (P, B), uint8 (whole numbers, every sum of which is exact) or float64, and `rows` (N,) says which of
the P an image has: to copy them for each image would take longer than what is done with them. Each function walks its
images in one fixed order and releases the GIL: labels may be computed by several threads, and a value depends on none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

RUN = 256
"""Images whose weights, at most 255 each, uint16 can sum."""
SHORT = 6
"""Images below which a sum of their own takes longer than it saves."""
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

    rows: NDArray[np.uint32]
    """(N,) the row of weights that each image has."""
    positive: NDArray[np.bool_]
    """(N,)"""
    ends: NDArray[np.intp]
    """(G,) where each group ends."""


def rank(scores: NDArray[np.float64], targets: NDArray[np.float64], rows: NDArray[np.intp]) -> Ranking:
    """Sort one label's scores (N,), targets (N,) 0/1 and rows of weights (N,)."""
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], targets[order] == 1
    ordered_rows = rows[order].astype(np.uint32)  # which numbers below zero need not be looked for in
    if not len(order):
        return Ranking(ordered_rows, positive, order)
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(order))
    has_positive = np.logical_or.reduceat(positive, np.append(0, ends[:-1]))
    closes = np.append(has_positive[:-1] | has_positive[1:], True)  # the last group ends the ranking
    return Ranking(ordered_rows, positive, ends[closes])


def auroc(ranking: Ranking, weights: NDArray[Any]) -> NDArray[np.float64]:
    """AUROC (B,) of one label, ties counting one half; NaN where a class has no weight."""
    weights = _plain(weights)
    return _auroc(ranking.rows, ranking.positive, ranking.ends, weights, *_make_sums(weights))


def average_precision(ranking: Ranking, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Average precision (B,) of one label, equal scores being one threshold; NaN where positives have no weight."""
    weights = _plain(weights)
    return _average_precision(ranking.rows, ranking.positive, ranking.ends, weights, *_make_sums(weights))


def sensitivity_at(ranking: Ranking, weights: NDArray[Any], alarms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sensitivity (B,) of one label where negatives that weigh `alarms` (B,) are called positive.

    The ROC curve is straight between its points; where it rises straight up at that very weight, its middle counts.
    NaN where positives have no weight.
    """
    weights = _plain(weights)
    return _sensitivity_at(ranking.rows, ranking.positive, ranking.ends, weights, np.asarray(alarms, dtype=np.float64))


def sum_groups(
    group: NDArray[np.intp], values: NDArray[np.float64], rows: NDArray[np.intp], weights: NDArray[Any], count: int
) -> NDArray[np.float64]:
    """Sum of weight times value in each group, (count, B); `group`, in 0..count - 1, `values` and `rows` are (N,)."""
    return _sum_groups(group, values, rows, _plain(weights), np.zeros((count, weights.shape[1])))


def _plain(weights: NDArray[Any]) -> NDArray[Any]:
    """Return weights as one of the two types that are compiled for."""
    return np.ascontiguousarray(weights, dtype=np.uint8 if weights.dtype == np.uint8 else np.float64)


def _make_sums(weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Make room for the weight of negatives, of positives and of a run of images, (B,) each.

    int32 holds eight million images of 255, uint16 a run of them.
    """
    count, whole = weights.shape[1], weights.dtype == np.uint8
    kinds = (np.int32, np.int32, np.uint16) if whole else (np.float64,) * 3
    return np.zeros(count, kinds[0]), np.zeros(count, kinds[1]), np.zeros(count, kinds[2])


@compiled
def _add_rows(rows: NDArray[np.uint32], weights: NDArray[Any], sums: NDArray[Any], run: NDArray[Any]) -> None:
    """Add the weights of images to `sums` (B,); long runs first in numbers of half the width, which is faster."""
    count = weights.shape[1]
    for first in range(0, len(rows), RUN):
        last = min(first + RUN, len(rows))
        if last - first < SHORT:
            for i in range(first, last):
                row = rows[i]
                for b in range(count):
                    sums[b] += weights[row, b]
        else:
            run[:] = 0
            for i in range(first, last):
                row = rows[i]
                for b in range(count):
                    run[b] += weights[row, b]
            for b in range(count):
                sums[b] += run[b]


@compiled
def _auroc(
    rows: NDArray[np.uint32],
    positive: NDArray[np.bool_],
    ends: NDArray[np.intp],
    weights: NDArray[Any],
    negatives: NDArray[Any],
    positives: NDArray[Any],
    run: NDArray[Any],
) -> NDArray[np.float64]:
    count = weights.shape[1]
    misranked = np.zeros(count)  # pairs: a negative at least as high as a positive
    start = 0
    for end in ends:
        if end - start == 1 and positive[start]:  # nearly all groups with a positive, where scores are distinct
            row = rows[start]
            for b in range(count):
                weight = weights[row, b]
                misranked[b] += np.float64(weight) * negatives[b]
                positives[b] += weight
        elif not positive[start:end].any():
            _add_rows(rows[start:end], weights, negatives, run)
        else:
            for b in range(count):
                tied, gain = negatives[b] * 0, positives[b] * 0
                for i in range(start, end):
                    if positive[i]:
                        gain += weights[rows[i], b]
                    else:
                        tied += weights[rows[i], b]
                misranked[b] += np.float64(gain) * (negatives[b] + tied / 2)
                negatives[b] += tied
                positives[b] += gain
        start = end
    for b in range(count):
        both = np.float64(positives[b]) * negatives[b]
        misranked[b] = (both - misranked[b]) / both if both > 0 else np.nan
    return misranked


@compiled
def _average_precision(
    rows: NDArray[np.uint32],
    positive: NDArray[np.bool_],
    ends: NDArray[np.intp],
    weights: NDArray[Any],
    negatives: NDArray[Any],
    positives: NDArray[Any],
    run: NDArray[Any],
) -> NDArray[np.float64]:
    count = weights.shape[1]
    total, before = np.zeros(count), np.zeros(count)
    start = 0
    for end in ends:
        if not positive[start:end].any():
            _add_rows(rows[start:end], weights, negatives, run)
        else:
            before[:] = positives
            for i in range(start, end):
                row, sums = rows[i], positives if positive[i] else negatives
                for b in range(count):
                    sums[b] += weights[row, b]
            for b in range(count):
                gain = positives[b] - before[b]
                total[b] += gain * (positives[b] / (positives[b] + negatives[b])) if gain > 0 else 0.0
        start = end
    for b in range(count):
        total[b] = total[b] / positives[b] if positives[b] > 0 else np.nan
    return total


@compiled
def _sensitivity_at(
    rows: NDArray[np.uint32],
    positive: NDArray[np.bool_],
    ends: NDArray[np.intp],
    weights: NDArray[Any],
    alarms: NDArray[np.float64],
) -> NDArray[np.float64]:
    count = weights.shape[1]
    negatives, positives, lowest, found = np.zeros(count), np.zeros(count), np.zeros(count), np.full(count, np.nan)
    tied, gain = np.zeros(count), np.zeros(count)
    start = 0
    for end in ends:
        tied[:], gain[:] = 0, 0
        for i in range(start, end):
            row, sums = rows[i], gain if positive[i] else tied
            for b in range(count):
                sums[b] += weights[row, b]
        for b in range(count):
            reached = negatives[b] + tied[b]
            if np.isnan(found[b]) and reached > alarms[b]:
                if negatives[b] == alarms[b]:
                    found[b] = (lowest[b] + positives[b]) / 2
                else:
                    found[b] = positives[b] + gain[b] * (alarms[b] - negatives[b]) / tied[b]
            positives[b] += gain[b]
            negatives[b] = reached
            if tied[b] > 0:
                lowest[b] = positives[b]  # where the curve may rise straight up from
        start = end
    for b in range(count):
        if np.isnan(found[b]):  # everything is called positive
            found[b] = (lowest[b] + positives[b]) / 2
        found[b] = found[b] / positives[b] if positives[b] > 0 else np.nan
    return found


@compiled
def _sum_groups(
    group: NDArray[np.intp],
    values: NDArray[np.float64],
    rows: NDArray[np.intp],
    weights: NDArray[Any],
    sums: NDArray[np.float64],
) -> NDArray[np.float64]:
    for i in range(len(group)):
        row, into, value = weights[rows[i]], sums[group[i]], values[i]
        for b in range(weights.shape[1]):
            into[b] += row[b] * value
    return sums
