"""Metrics of decisions, from the four counts of a confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from harness import Metric, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness import Weighted

    Array = NDArray[np.float64]
    Compute = Callable[[Array, Array, Array | None], Array]


def _metric(name: str, about: str, numerator: Callable[..., Array], denominator: Callable[..., Array]) -> Metric:
    """A ratio of true and false positives and negatives (C,), NaN where the denominator is 0."""

    def ratio(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        import numpy as np

        above, below = numerator(tp, fp, fn, tn), denominator(tp, fp, fn, tn)
        return np.asarray(np.divide(above, below, out=np.full_like(tp, np.nan), where=below > 0))

    def compute(scores: Array, targets: Array, weights: Array | None) -> Array:
        import numpy as np

        weight = np.ones((len(scores), 1)) if weights is None else weights[:, None]
        outcomes = (scores * targets, scores * (1 - targets), (1 - scores) * targets, (1 - scores) * (1 - targets))
        return ratio(*((weight * outcome).sum(axis=0) for outcome in outcomes))

    def batched(scores: Array, targets: Array, rows: NDArray[np.intp]) -> Weighted:
        import numpy as np

        from harness import sum_groups

        outcomes = np.where(scores > 0.5, np.where(targets > 0.5, 0, 1), np.where(targets > 0.5, 2, 3))
        once = np.ones(len(scores))
        return lambda weights: np.stack(
            [ratio(*sum_groups(outcome, once, rows, weights, 4)) for outcome in outcomes.T], axis=1
        )

    return Metric(name=name, compute=compute, batched=batched, on="decisions", interval="logit", about=about)


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
