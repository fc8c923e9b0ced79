"""What a record and a listing say of networks beside readers. Letters in shapes as in `readers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.components import IntervalMethod
from harness.evaluation.agreement import compare_readers, measure_agreement
from harness.evaluation.bootstrap import average_labels, can_be_resampled
from harness.evaluation.curves import trace_curves
from harness.evaluation.intervals import find_interval, find_intervals
from harness.evaluation.parts import AgainstPart, KappaPart, ReaderLabel, ReaderPart, ReadersPart, ReaderValue
from harness.evaluation.readers import (
    MEASURES,
    Difference,
    ReaderMeasures,
    compare_with_average,
    compare_with_each,
    find_shared_labels,
    measure_readers,
    stack_differences,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.evaluation.bootstrap import Resampling
    from harness.evaluation.panel import Panel
    from harness.evaluation.predictions import Predictions

    Array = NDArray[np.float64]

METHOD: IntervalMethod = "logit"
"""How intervals of shares and of F1 are made, as those of the bundled metrics."""
AVERAGED = ("sensitivity", "specificity", "f1")
"""What is averaged over labels; a precision of no alarm has no value."""


@dataclass(frozen=True, eq=False)
class BesideReaders:
    """A network beside readers, as a record and what lies beside it have it; empty without readers."""

    part: ReadersPart | None = None
    differences: Mapping[str, Array] = field(default_factory=dict)
    """`sensitivity`, `f1` -> (M, R) the network minus each reader, means over labels."""
    curves: Mapping[str, Array] = field(default_factory=dict)
    """The network's curves against the readers' truth, on what they read, where that is not all of the test."""


def stand_beside(
    test: Predictions, panel: Panel | None, thresholds: Mapping[str, Array], resampling: Resampling
) -> BesideReaders:
    """Measure a network beside a panel of readers of the same units; nothing where there is no panel."""
    if panel is None:
        return BesideReaders()
    measured = measure_readers(test, panel, thresholds, resampling)
    truth = panel.find_common_truth(test.targets)
    same = np.array_equal(truth, test.targets, equal_nan=True)
    traced = {} if same else trace_curves(replace(test, targets=truth))
    return BesideReaders(
        describe_readers([measured], panel, test.patient, resampling),
        {name: measured.average_differences(name)[1] for name in measured.network},
        {f"readers-{name}": curve for name, curve in traced.items() if name.startswith(("roc/", "pr/"))},
    )


def describe_readers(
    seeds: Sequence[ReaderMeasures], panel: Panel, patients: NDArray[np.str_], resampling: Resampling
) -> ReadersPart:
    """A panel with its values and, of the mean over a network's seeds, the differences from it."""
    first = seeds[0]
    labels = np.array(panel.labels)
    paired = [name for name in first.network if all(name in seed.network for seed in seeds)]
    against = {name: _compare_means(seeds, name) for name in paired}
    by_label = {name: _compare_labels(seeds, name) for name in paired}
    decided = find_shared_labels(seeds, "f1") if "f1" in paired else first.used
    return ReadersPart(
        truth=panel.truth,
        files=dict(panel.digests),
        seeds=len(seeds),
        policy=first.policy if "f1" in paired else None,
        labels_used=labels[first.used].tolist(),
        left_out=labels[~first.used].tolist(),
        without_threshold=labels[first.used & ~decided].tolist(),
        readers={
            name: ReaderPart(
                decided=int((~np.isnan(panel.decisions[m])).any(axis=1).sum()),
                mean=_describe_means(first, m),
                against={measure: parts[m] for measure, parts in against.items()},
                per_label=_describe_labels(first, m, panel.labels, by_label),
            )
            for m, name in enumerate(panel.names)
        },
        average={name: part for name in paired if (part := _compare_average(seeds, name)) is not None},
        kappa=_describe_agreement(panel, patients, resampling, first.used) if len(panel.names) > 1 else None,
        notes=list(panel.notes),
    )


def _describe_means(measured: ReaderMeasures, reader: int) -> dict[str, ReaderValue]:
    means = {}
    for name in AVERAGED:
        place = MEASURES.index(name)
        value = float(average_labels(measured.readers[reader, place][None], measured.used)[0])
        drawn = average_labels(measured.readers_resampled[reader, place], measured.used)
        means[name] = ReaderValue(value=value, interval=find_interval(value, drawn, METHOD))
    return means


def _describe_labels(
    measured: ReaderMeasures, reader: int, labels: Sequence[str], against: dict[str, list[list[AgainstPart]]]
) -> dict[str, ReaderLabel]:
    """Label -> what a reader does there, where both classes are known."""
    described = {}
    for number, label in enumerate(labels):
        values = measured.readers[reader, :, number]  # (Q,)
        if np.isnan(values[0]):
            continue
        drawn = measured.readers_resampled[reader, :, :, number]  # (Q, R)
        drawn = drawn if measured.enough[reader, number] else np.full_like(drawn, np.nan)
        intervals = find_intervals(values, drawn, [METHOD] * len(MEASURES))
        pairs = zip(MEASURES, values.tolist(), intervals, strict=True)
        described[label] = ReaderLabel(
            positives=int(measured.positives[reader, number]),
            negatives=int(measured.negatives[reader, number]),
            against={name: parts[number][reader] for name, parts in against.items()},
            **{name: ReaderValue(value=value, interval=interval) for name, value, interval in pairs},
        )
    return described


# --- the network -----------------------------------------------------------------------------------------------------


def _compare_means(seeds: Sequence[ReaderMeasures], measure: str) -> list[AgainstPart]:
    """The network against each reader, means over labels."""
    values, resampled = stack_differences(seeds, measure)
    labels = find_shared_labels(seeds, measure)
    own = np.mean([average_labels(seed.network[measure], labels) for seed in seeds], axis=0)  # (M,)
    return [_describe(one, network) for one, network in zip(compare_with_each(values, resampled), own, strict=True)]


def _compare_average(seeds: Sequence[ReaderMeasures], measure: str) -> AgainstPart | None:
    found = compare_with_average(*stack_differences(seeds, measure))
    labels = find_shared_labels(seeds, measure)
    own = np.mean([average_labels(seed.network[measure], labels) for seed in seeds])
    return None if found is None else _describe(found, float(own))


def _compare_labels(seeds: Sequence[ReaderMeasures], measure: str) -> list[list[AgainstPart]]:
    """The network against each reader, by label: C lists of M; no interval where too few patients have a label."""
    differences = [seed.find_differences(measure) for seed in seeds]
    parts = []
    for label in range(seeds[0].enough.shape[1]):
        values = np.stack([values[:, label] for values, _ in differences])
        resampled = np.stack([np.where(seeds[0].enough[:, label, None], drawn[:, :, label], np.nan)
                              for _, drawn in differences])  # fmt: skip
        own = np.mean([seed.network[measure][:, label] for seed in seeds], axis=0)
        found = compare_with_each(values, resampled)
        parts.append([_describe(one, network) for one, network in zip(found, own, strict=True)])
    return parts


def _describe(found: Difference, network: float) -> AgainstPart:
    return AgainstPart(
        network=float(network), delta=found.delta, interval=found.interval, p=found.p, p_holm=found.p_holm
    )


# --- agreement -------------------------------------------------------------------------------------------------------


def _describe_agreement(
    panel: Panel, patients: NDArray[np.str_], resampling: Resampling, used: NDArray[np.bool_]
) -> KappaPart:
    values, resampled = measure_agreement(panel.decisions, patients, resampling)
    enough = can_be_resampled(np.where(np.isnan(panel.decisions), -1, panel.decisions).max(axis=0), patients)
    intervals = find_intervals(values, np.where(enough[:, None], resampled.T, np.nan), ["percentile"] * len(values))
    averaged = used & ~np.isnan(values)
    mean = float(average_labels(values[None], averaged)[0])
    pairs = compare_readers(panel.decisions)
    return KappaPart(
        all_readers=ReaderValue(
            value=mean, interval=find_interval(mean, average_labels(resampled, averaged), "percentile")
        ),
        per_label={
            label: ReaderValue(value=value, interval=interval)
            for label, value, interval in zip(panel.labels, values.tolist(), intervals, strict=True)
        },
        pairs=[
            (panel.names[a], panel.names[b], float(average_labels(kappa[None], used & ~np.isnan(kappa))[0]))
            for (a, b), kappa in pairs.items()
        ],
    )
