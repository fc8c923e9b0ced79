"""Metrics of predictions, label by label and resampled, and what picks an epoch.

Letters in shapes: N images, C labels, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Metric
from harness.evaluation.bootstrap import Resampling, average_labels, choose_labels, resample
from harness.evaluation.contract import compute_labels
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import decide, fit_on_validation
from harness.metric_names import DEFAULT_POLICY

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of one seed."""

    metric: Metric
    values: NDArray[np.float64]
    """(C,), NaN where undefined."""
    resamples: NDArray[np.float64]
    """(R, C)"""
    used: NDArray[np.bool_]
    """(C,) labels of the mean: those that are defined at every threshold policy, and in every seed, and that enough
    patients have, and lack (`choose_labels`)."""

    @property
    def macro(self) -> float:
        """The mean over the labels used, NaN where there is none."""
        return float(average_labels(self.values[None], self.used)[0])

    @property
    def macro_resamples(self) -> NDArray[np.float64]:
        """(R,) the same of each resample, over the same labels; NaN where one is undefined."""
        return average_labels(self.resamples, self.used)


def measure(
    test: Predictions, metrics: Sequence[Metric], thresholds: dict[str, NDArray[np.float64]], resampling: Resampling
) -> dict[str, Measured]:
    """Every metric under its full name, of the predictions and of their resamples; decisions by each policy.

    The means of a metric by its policies stand side by side: they are over the labels that are defined at all of them
    and that enough patients have, and lack.
    """
    questions = list(expand_metrics(test, metrics, thresholds))
    values = {name: measure_values(test, metric, scores) for name, metric, scores in questions}
    defined: dict[str, NDArray[np.bool_]] = {}
    for name, metric, _ in questions:
        defined[metric.name] = ~np.isnan(values[name]) & defined.get(metric.name, True)
    located = resampling.locate(test.patient)
    used = {name: choose_labels(labels, test.targets, located) for name, labels in defined.items()}
    return {
        name: Measured(
            metric=metric,
            values=values[name],
            resamples=resample(metric, scores, test.targets, test.patient, resampling),
            used=used[metric.name],
        )
        for name, metric, scores in questions
    }


def pool_labels(
    test: Predictions,
    metrics: Sequence[Metric],
    thresholds: dict[str, NDArray[np.float64]],
    used: Mapping[str, NDArray[np.bool_]],
) -> dict[str, float]:
    """Full name -> the micro: the metric of all images and the labels `used` (C,) under that name, pooled."""
    return {
        name: measure_micro(test, metric, scores, used[name])
        for name, metric, scores in expand_metrics(test, metrics, thresholds)
    }


def expand_metrics(
    test: Predictions, metrics: Sequence[Metric], thresholds: dict[str, NDArray[np.float64]]
) -> Iterator[tuple[str, Metric, NDArray[np.float64]]]:
    """Every metric under its full name with what it is computed of: scores, or decisions by each policy (N, C)."""
    for metric in metrics:
        if metric.on == "decisions":
            for policy, fitted in thresholds.items():
                yield f"{metric.name}@{policy}", metric, decide(test.ranks, fitted)
        else:
            yield metric.name, metric, stored_scores(test, metric)


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
    # one column, label after label: (labels used * N, 1)
    pooled, targets = scores[:, used].T.reshape(-1, 1), predictions.targets[:, used].T.reshape(-1, 1)
    return float(compute_labels(metric, pooled, targets, np.tile(predictions.patient, int(used.sum())))[0])


def weigh_labels(values: NDArray[np.float64], positives: NDArray[np.intp]) -> float:
    """The mean of values (C,), each weighing as many as its label has positives; undefined ones (NaN) are left out."""
    used = ~np.isnan(values)
    return float(np.average(values[used], weights=positives[used])) if positives[used].any() else float("nan")


def value_on_validation(val: Predictions, metric: Metric, policy: str = DEFAULT_POLICY) -> float:
    """The macro on validation, by which an epoch is picked; decisions are at the policy's thresholds for validation."""
    return float(average_labels(measure_values(val, metric, judged_scores(val, metric, policy))[None])[0])


def judged_scores(val: Predictions, metric: Metric, policy: str = DEFAULT_POLICY) -> NDArray[np.float64]:
    """What a metric judges of validation (N, C): scores, or decisions at the policy's thresholds."""
    return decide(val.ranks, fit_on_validation(policy, val)) if metric.on == "decisions" else stored_scores(val, metric)


def stored_scores(predictions: Predictions, metric: Metric) -> NDArray[np.float64]:
    """What a metric that needs no thresholds judges (N, C): probabilities, or what was stored to be ranked."""
    return predictions.ranks if metric.on == "ranks" else predictions.scores
