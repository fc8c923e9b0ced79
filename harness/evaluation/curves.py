"""Curves of one label: ROC and precision-recall, thinned to what an eye can tell apart, and net benefit."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.calibration import describe_reliability
from harness.evaluation.contract import defined_labels
from harness.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

POINTS = 200
"""The most points that a thinned curve has."""
TOLERANCE = 0.002
"""Distance from the exact curve, both axes running from 0 to 1, that is not worth a point."""


ACTIONS: Array = np.concatenate([np.arange(1, 10) / 1000, np.arange(2, 20) / 200, np.arange(10, 100) / 100])
"""(T,) threshold probabilities of a decision curve, close to each other where they are low: rare labels need those."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points to be joined by straight lines."""

    x: NDArray[np.float64]
    """(points,) false positive rate, or recall, from 0 up."""
    y: NDArray[np.float64]
    """(points,) true positive rate, or precision."""
    distance: float
    """How far the exact curve lies from the drawn one at most: 0.002, or more where 200 points cannot follow it."""


def trace_roc(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> Curve | None:
    """True over false positive rate of one label's scores (N,) at every threshold, equal scores being one.

    Unknown targets (NaN) are left out. None where a class is missing or a score is no number.
    """
    counts = _count_flagged(scores, targets)
    if counts is None:
        return None
    true, false = counts
    return _thin(np.append(0, false / false[-1]), np.append(0, true / true[-1]))


def trace_precision_recall(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> Curve | None:
    """Precision over recall of one label's scores (N,) at every threshold, equal scores being one.

    It begins at recall 0 with precision 1, where nothing is flagged. Unknown targets (NaN) are left out. None where a
    class is missing or a score is no number.
    """
    counts = _count_flagged(scores, targets)
    if counts is None:
        return None
    true, false = counts
    return _thin(np.append(0, true / true[-1]), np.append(1, true / (true + false)))


@dataclass(frozen=True, eq=False)
class NetBenefit:
    """The decision curve: what acting on scores is worth, by the threshold from which one would act."""

    threshold: NDArray[np.float64]
    """(T,) threshold probabilities."""
    value: NDArray[np.float64]
    """(T,) true positives less weighted false ones, for each image; flagging nobody has 0."""
    of_all: NDArray[np.float64]
    """(T,) net benefit of flagging everybody."""


def trace_net_benefit(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> NetBenefit | None:
    """Net benefit at `ACTIONS` of flagging scores (N,) from a threshold on: TP / N - FP / N * t / (1 - t).

    Vickers and Elkin 2006, Decision curve analysis. Who acts from a probability t on takes 1 / t - 1 false alarms for
    one find; scores are taken for probabilities as they are. Unknown targets (NaN) are left out. None where a class is
    missing or a score is no number.
    """
    if not defined_labels(scores[:, None], targets[:, None])[0]:
        return None
    known = ~np.isnan(targets)
    positives, negatives = (np.sort(scores[known & (targets == kind)]) for kind in (1, 0))
    count, odds = len(positives) + len(negatives), ACTIONS / (1 - ACTIONS)
    true, false = (len(kind) - np.searchsorted(kind, ACTIONS, side="left") for kind in (positives, negatives))
    return NetBenefit(ACTIONS, (true - false * odds) / count, (len(positives) - len(negatives) * odds) / count)


def _count_flagged(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> tuple[Array, Array] | None:
    """True and false positives at each distinct score, from the highest down."""
    if not defined_labels(scores[:, None], targets[:, None])[0]:
        return None
    rows = np.flatnonzero(~np.isnan(targets))
    order = rows[np.argsort(-scores[rows], kind="stable")]
    ordered = scores[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(order) - 1)  # of each run of equal scores
    true = np.cumsum(targets[order], dtype=np.float64)[last]
    return true, last + 1 - true


def _thin(x: Array, y: Array) -> Curve:
    """Keep the ends and add, one after the other, the point that lies farthest from the line drawn so far.

    Ramer 1972, An iterative procedure for the polygonal approximation of plane curves; Douglas and Peucker 1973.
    """
    kept = [0, len(x) - 1]
    stretches = [(*_find_farthest(x, y, 0, len(x) - 1), 0, len(x) - 1)]
    while len(kept) < POINTS and -stretches[0][0] > TOLERANCE:
        _, middle, start, end = heapq.heappop(stretches)
        kept.append(middle)
        for stretch in ((start, middle), (middle, end)):
            heapq.heappush(stretches, (*_find_farthest(x, y, *stretch), *stretch))
    kept.sort()
    return Curve(x[kept], y[kept], -stretches[0][0])


def _find_farthest(x: Array, y: Array, start: int, end: int) -> tuple[float, int]:
    """The largest distance of points between two from the line that joins them, negative (heaps pop the least)."""
    if end - start < 2:
        return 0.0, start
    across, up = x[start + 1 : end] - x[start], y[start + 1 : end] - y[start]
    width, height = x[end] - x[start], y[end] - y[start]
    length = width**2 + height**2 or 1.0  # a precision may come back to where it was
    along = np.clip((across * width + up * height) / length, 0, 1)
    distance = np.hypot(across - along * width, up - along * height)
    farthest = int(distance.argmax())
    return -float(distance[farthest]), start + 1 + farthest


def trace_curves(test: Predictions) -> dict[str, NDArray[np.float64]]:
    """All curves of all labels, as `Resamples` holds them; none of a label that lacks positives or negatives."""
    return dict(_trace_all(test))


def _trace_all(test: Predictions) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for number, label in enumerate(test.labels):
        scores, ranks, targets = test.scores[:, number], test.ranks[:, number], test.targets[:, number]
        benefit = trace_net_benefit(scores, targets)
        if benefit is not None:
            yield f"benefit/{label}", np.stack([benefit.threshold, benefit.value, benefit.of_all])
        for name, curve in {"roc": trace_roc(ranks, targets), "pr": trace_precision_recall(ranks, targets)}.items():
            if curve is not None:
                yield f"{name}/{label}", np.stack([curve.x, curve.y])
        if not np.isnan(scores).any():
            diagram = describe_reliability(scores, targets)
            yield f"reliability/{label}", np.stack([diagram.score, diagram.share, diagram.count.astype(np.float64)])
