"""A metric of predictions, label by label, and what picks an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.components import Metric
from harness.evaluation.bootstrap import average_labels
from harness.evaluation.contract import compute_labels
from harness.evaluation.names import DEFAULT
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import decide, fit_on_validation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure_values(predictions: Predictions, metric: Metric, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """A metric of scores or decisions (N, C): values (C,), NaN where undefined.

    A label without a known positive or negative is undefined for every metric, as is one with a score that is not a
    number (leaving its image out would flatter the network) and a decision without a threshold. Raises `PluginError`
    for a metric that breaks its contract.
    """
    return compute_labels(metric, scores, predictions.targets, predictions.patient)


def measure_micro(
    predictions: Predictions, metric: Metric, scores: NDArray[np.float64], used: NDArray[np.bool_]
) -> float:
    """A metric of scores or decisions (N, C) with all images of the labels `used` (C,) pooled; NaN where none is.

    Each pair of an image and a label, with a known target, is a case; scores of different labels are ranked together.
    """
    if not used.any():
        return float("nan")
    pooled, targets = scores[:, used].T.reshape(-1, 1), predictions.targets[:, used].T.reshape(-1, 1)
    return float(compute_labels(metric, pooled, targets, np.tile(predictions.patient, int(used.sum())))[0])


def weigh_labels(values: NDArray[np.float64], positives: NDArray[np.intp]) -> float:
    """The mean of values (C,), each weighing as many as its label has positives; undefined ones (NaN) are left out."""
    used = ~np.isnan(values)
    return float(np.average(values[used], weights=positives[used])) if positives[used].any() else float("nan")


def value_on_validation(val: Predictions, metric: Metric, policy: str = DEFAULT) -> float:
    """The macro on validation, by which an epoch is picked; decisions are at the policy's thresholds for validation."""
    return float(average_labels(measure_values(val, metric, judged_scores(val, metric, policy))[None])[0])


def judged_scores(val: Predictions, metric: Metric, policy: str = DEFAULT) -> NDArray[np.float64]:
    """What a metric judges of validation (N, C): scores, or decisions at the policy's thresholds."""
    return decide(val.ranks, fit_on_validation(policy, val)) if metric.on == "decisions" else stored_scores(val, metric)


def stored_scores(predictions: Predictions, metric: Metric) -> NDArray[np.float64]:
    """What a metric that needs no thresholds judges (N, C): probabilities, or what was stored to be ranked."""
    return predictions.ranks if metric.on == "ranks" else predictions.scores
