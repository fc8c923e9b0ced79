"""Metrics of decisions, from the four counts of a confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from harness import Metric, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Compute = Callable[[Array, Array, Array | None], Array]


def _metric(name: str, about: str, numerator: Callable[..., Array], denominator: Callable[..., Array]) -> Metric:
    """A ratio of true and false positives and negatives (C,), NaN where the denominator is 0."""

    def compute(scores: Array, targets: Array, weights: Array | None) -> Array:
        import numpy as np

        weight = np.ones((len(scores), 1)) if weights is None else weights[:, None]
        tp = (weight * scores * targets).sum(axis=0)
        fp = (weight * scores * (1 - targets)).sum(axis=0)
        fn = (weight * (1 - scores) * targets).sum(axis=0)
        tn = (weight * (1 - scores) * (1 - targets)).sum(axis=0)
        above, below = numerator(tp, fp, fn, tn), denominator(tp, fp, fn, tn)
        return np.asarray(np.divide(above, below, out=np.full_like(tp, np.nan), where=below > 0))

    return Metric(name=name, compute=compute, on="decisions", about=about)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """F1, sensitivity, specificity, and the two predictive values."""
    return [
        _metric(
            "f1",
            "harmonic mean of precision and sensitivity: 2 TP / (2 TP + FP + FN)",
            lambda tp, fp, fn, tn: 2 * tp,
            lambda tp, fp, fn, tn: 2 * tp + fp + fn,
        ),
        _metric(
            "sensitivity",
            "share of the positives that are flagged: TP / (TP + FN)",
            lambda tp, fp, fn, tn: tp,
            lambda tp, fp, fn, tn: tp + fn,
        ),
        _metric(
            "specificity",
            "share of the negatives that are not flagged: TN / (TN + FP)",
            lambda tp, fp, fn, tn: tn,
            lambda tp, fp, fn, tn: tn + fp,
        ),
        _metric(
            "precision",
            "share of what is flagged that is positive, undefined where nothing is flagged: TP / (TP + FP)",
            lambda tp, fp, fn, tn: tp,
            lambda tp, fp, fn, tn: tp + fp,
        ),
        _metric(
            "npv",
            "share of what is not flagged that is negative, undefined where everything is flagged: TN / (TN + FN)",
            lambda tp, fp, fn, tn: tn,
            lambda tp, fp, fn, tn: tn + fn,
        ),
    ]
