"""From predictions and thresholds to the metrics of a record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Metric
from harness.evaluation.contract import compute_labels
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import decide, maximal_f1_thresholds
from harness.results.record import LabelValue, MetricPart

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure(
    test: Predictions, metrics: Sequence[Metric], thresholds: Mapping[str, NDArray[np.float64]]
) -> dict[str, MetricPart]:
    """Every metric of the test split; a decision metric once a threshold policy, named `metric@policy`.

    A label without a known positive or negative is undefined for every metric, as is one with a score that is not a
    number (leaving its image out would flatter the network) and a decision without a threshold; the macro is the mean
    over the labels that are defined. Raises `PluginError` for a metric that breaks its contract.
    """
    found = {}
    for metric in metrics:
        if metric.on == "scores":
            found[metric.name] = _part(test, metric, test.scores)
        else:
            for policy, fitted in thresholds.items():
                found[f"{metric.name}@{policy}"] = _part(test, metric, decide(test.scores, fitted))
    return found


def value_on_validation(val: Predictions, metric: Metric) -> float:
    """The macro on validation, by which an epoch is picked; decisions are at validation's own maximal-F1 thresholds."""
    scores = val.scores
    given = scores if metric.on == "scores" else decide(scores, maximal_f1_thresholds(scores, val.targets))
    return _macro(per_label(val, metric, given))


def per_label(predictions: Predictions, metric: Metric, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """A metric of scores or decisions (N, C): values (C,), NaN where undefined."""
    return compute_labels(metric, scores, predictions.targets, predictions.patient)


def _part(test: Predictions, metric: Metric, scores: NDArray[np.float64]) -> MetricPart:
    values = per_label(test, metric, scores)
    positives, negatives = (test.targets == 1).sum(axis=0), (test.targets == 0).sum(axis=0)
    return MetricPart(
        macro=_macro(values),
        per_label={
            label: LabelValue(value=float(values[i]), positives=int(positives[i]), negatives=int(negatives[i]))
            for i, label in enumerate(test.labels)
        },
        labels_used=int((~np.isnan(values)).sum()),
        higher_is_better=metric.higher_is_better,
    )


def _macro(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return math.fsum(defined) / len(defined) if len(defined) else float("nan")  # in any order of the labels the same
