"""Metrics of how scores rank images: AUROC and average precision, from the same weighted counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from harness import Metric, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness import Ranking, Weighted

    Array = NDArray[np.float64]


def _counts(scores: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
    """Weight of positives and of negatives at each distinct score of one label, from the highest score down."""
    import numpy as np

    if not len(scores):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-scores)
    scores, weights, targets = scores[order], weights[order], targets[order]
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])  # infinite ones may be equal, too
    return np.add.reduceat(weights * targets, starts), np.add.reduceat(weights * (1 - targets), starts)


def compute_auroc(scores: Array, targets: Array, weights: Array | None) -> Array:
    """The chance (C,) that a positive scores higher than a negative, ties counting one half (Mann-Whitney).

    NaN where one class has no weight. `scores` and `targets` are (N, C), `weights` (N,).
    """
    import numpy as np

    def area(score: Array, target: Array) -> float:
        positives, negatives = _counts(score, target, np.ones(len(score)) if weights is None else weights)
        pairs = positives.sum() * negatives.sum()
        above = np.cumsum(positives) - positives / 2  # positives ranked over a negative of this score
        return float((negatives * above).sum() / pairs) if pairs > 0 else float("nan")

    return np.array([area(scores[:, label], targets[:, label]) for label in range(scores.shape[1])])


def compute_average_precision(scores: Array, targets: Array, weights: Array | None) -> Array:
    """Average precision (C,): precision at each distinct score, weighted by the recall that it adds (no interpolation).

    NaN where there is no positive. `scores` and `targets` are (N, C), `weights` (N,).
    """
    import numpy as np

    def precision(score: Array, target: Array) -> float:
        positives, negatives = _counts(score, target, np.ones(len(score)) if weights is None else weights)
        found, flagged = np.cumsum(positives), np.cumsum(positives + negatives)
        if not found[-1] > 0:
            return float("nan")
        at = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
        return float((at * positives).sum() / found[-1])

    return np.array([precision(scores[:, label], targets[:, label]) for label in range(scores.shape[1])])


def batch_auroc(scores: Array, targets: Array, rows: NDArray[np.intp]) -> Weighted:
    """`compute_auroc` for many weightings of the patients of scores and targets (N, C), sorted once."""
    from harness import auroc

    return _each_label(auroc, scores, targets, rows)


def batch_average_precision(scores: Array, targets: Array, rows: NDArray[np.intp]) -> Weighted:
    """`compute_average_precision` for many weightings of the patients of scores and targets (N, C), sorted once."""
    from harness import average_precision

    return _each_label(average_precision, scores, targets, rows)


def _each_label(
    value: Callable[[Ranking, NDArray[Any]], Array], scores: Array, targets: Array, rows: NDArray[np.intp]
) -> Weighted:
    import numpy as np

    from harness import rank

    rankings = [rank(*columns, rows) for columns in zip(scores.T, targets.T, strict=True)]
    return lambda weights: np.stack([value(ranking, weights) for ranking in rankings], axis=1)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """AUROC and AUPRC."""
    return [
        Metric(
            name="auroc",
            compute=compute_auroc,
            batched=batch_auroc,
            on="ranks",
            interval="logit",
            about="area under the ROC curve: the chance that a positive scores higher than a negative",
            citation="Hanley and McNeil 1982, The meaning and use of the area under a ROC curve",
        ),
        Metric(
            name="auprc",
            compute=compute_average_precision,
            batched=batch_average_precision,
            on="ranks",
            interval="squared",
            about="average precision: area under the precision-recall curve, as a sum without interpolation",
            citation="Davis and Goadrich 2006, The relationship between precision-recall and ROC curves",
        ),
    ]
