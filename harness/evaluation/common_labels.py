"""One set of labels for all that stand side by side: means over different labels are no comparison.

Records hold a metric's mean over the labels that it could be taken over. Side by side, a mean is over the labels that
all of them average; of decisions at several thresholds that is one set for all thresholds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.metric_names import title_metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.evaluation.parts import MetricPart
    from harness.evaluation.resamples import Resamples

    Array = NDArray[np.float64]

MOST_NAMED = 5


def find_common(parts: Mapping[str, Sequence[MetricPart]]) -> dict[str, tuple[str, ...]]:
    """Metric -> the labels that the means of all of its parts are over, and those of its other threshold policies."""
    common: dict[str, dict[str, None]] = {}
    for metric, of_metric in parts.items():
        base = metric.partition("@")[0]
        for part in of_metric:
            averaged = averaged_labels(part)
            common[base] = {label: None for label in common.get(base, averaged) if label in averaged}
    return {metric: tuple(common.get(metric.partition("@")[0], ())) for metric in parts}


def average(part: MetricPart, labels: Sequence[str]) -> float | None:
    """A metric's mean over these labels, all of them defined; None without any."""
    if is_over(part, labels):
        return part.macro
    defined = _defined(part)
    return statistics.fmean(defined[label] for label in labels) if labels else None


def resampled(metric: str, part: MetricPart, drawn: Resamples, labels: Sequence[str]) -> Array | None:
    """The mean over these labels in each resample (R,); None where what lies beside the record cannot tell it.

    Single labels are resampled for the metric that a board ranks by alone.
    """
    macro = drawn.macro.get(metric)
    if macro is None or is_over(part, labels):
        return macro
    return _average_drawn(drawn, labels) if labels and resampled_by_label(metric, part, drawn) else None


def resampled_by_label(metric: str, part: MetricPart, drawn: Resamples) -> Mapping[str, Array]:
    """Label -> a metric in each resample (R,), empty where single labels were resampled for another metric."""
    import numpy as np

    macro, averaged = drawn.macro.get(metric), averaged_labels(part)
    if macro is None or not averaged or not set(averaged) <= drawn.per_label.keys():
        return {}
    same = np.allclose(_average_drawn(drawn, averaged), macro, atol=1e-5, equal_nan=True)  # their mean is its macro
    return {label: drawn.per_label[label] for label in _defined(part) if label in drawn.per_label} if same else {}


def is_over(part: MetricPart, labels: Sequence[str]) -> bool:
    """Whether a part's own mean is over just these labels."""
    averaged = averaged_labels(part)
    return set(averaged) == set(labels) and part.labels_used == len(averaged)


def covers(part: MetricPart, labels: Iterable[str]) -> bool:
    """Whether a metric is defined for all of these labels."""
    return set(labels) <= _defined(part).keys()


def _average_drawn(drawn: Resamples, labels: Sequence[str]) -> Array:
    import numpy as np

    from harness.evaluation.bootstrap import average_labels

    values = np.stack([drawn.per_label[label] for label in labels], axis=1)  # (R, C)
    return average_labels(values, np.ones(len(labels), dtype=np.bool_))


def averaged_labels(part: MetricPart) -> list[str]:
    """Labels of the macro: those that are defined, here and at the other threshold policies of the record."""
    return [label for label in _defined(part) if label not in part.left_out]


def _defined(part: MetricPart) -> dict[str, float]:
    return {label: one.value for label, one in part.per_label.items() if one.value is not None}


def tell_labels(labels: Mapping[str, Sequence[str]], all_labels: Iterable[str]) -> list[str]:
    """Over which labels the numbers of metrics are, in words: a line for each set of labels that is not all of them."""
    every = list(all_labels)
    return [
        f"{_join(names)} {'are' if names[1:] else 'is'} over {len(covered)} of {len(every)} labels, those averaged in "
        f"all that stand side by side: without {_name_absent(covered, every)}"
        for covered, names in _group(labels).items()
        if not set(every) <= set(covered)
    ]


def tell_pooled(labels: Mapping[str, Sequence[str]], all_labels: Iterable[str]) -> list[str]:
    """Over which labels the micro and weighted means of metrics are, in words; without any, seeds differ in them."""
    every = list(all_labels)
    told = []
    for covered, names in _group(labels).items():
        if not covered:
            what = f"left out: {'their' if names[1:] else 'its'} seeds are over different labels"
        elif set(every) <= set(covered):
            what = f"over all {len(every)} labels"
        else:
            what = f"over {len(covered)} of {len(every)} labels: without {_name_absent(covered, every)}"
        told.append(f"micro and weighted of {_join(names)} are {what}")
    return told


def _group(labels: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], list[str]]:
    """Labels -> the metrics that are over these."""
    metrics: dict[tuple[str, ...], list[str]] = {}
    for metric, covered in labels.items():
        metrics.setdefault(tuple(covered), []).append(metric)
    return metrics


def _join(metrics: Sequence[str]) -> str:
    """`AUROC, F1 and ECE`."""
    names = [title_metric(metric) for metric in metrics]
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def _name_absent(labels: Sequence[str], every: Sequence[str]) -> str:
    without = [label for label in every if label not in labels]
    more = f" and {len(without) - MOST_NAMED} more" if without[MOST_NAMED:] else ""
    return ", ".join(without[:MOST_NAMED]) + more
