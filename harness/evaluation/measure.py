"""A metric of predictions, label by label, and what picks an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.components import Metric
from harness.evaluation.bootstrap import average_labels
from harness.evaluation.contract import compute_labels
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import decide, maximal_f1_thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure_values(predictions: Predictions, metric: Metric, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """A metric of scores or decisions (N, C): values (C,), NaN where undefined.

    A label without a known positive or negative is undefined for every metric, as is one with a score that is not a
    number (leaving its image out would flatter the network) and a decision without a threshold. Raises `PluginError`
    for a metric that breaks its contract.
    """
    return compute_labels(metric, scores, predictions.targets, predictions.patient)


def value_on_validation(val: Predictions, metric: Metric) -> float:
    """The macro on validation, by which an epoch is picked; decisions are at validation's own maximal-F1 thresholds."""
    scores = val.scores
    given = scores if metric.on == "scores" else decide(scores, maximal_f1_thresholds(scores, val.targets))
    return float(average_labels(measure_values(val, metric, given)[None])[0])
