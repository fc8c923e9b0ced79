"""Networks beside readers: what each reader does, and what a network does on the same units against the same truth.

Letters in shapes: M readers, N units, C labels, P patients, R resamples, Q measures of a reader, k seeds of a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.agreement import weigh
from harness.evaluation.bootstrap import average_labels, average_seeds, can_be_resampled
from harness.evaluation.comparison import estimate_seed_variances
from harness.evaluation.predictions import Predictions
from harness.evaluation.significance import SIGNIFICANT, adjust_holm, combine, quantile, two_sided
from harness.evaluation.thresholds import decide
from harness.metric_names import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.evaluation.bootstrap import Resampling
    from harness.evaluation.panel import Panel
    from harness.evaluation.parts import Interval

    Array = NDArray[np.float64]

MEASURES = ("sensitivity", "specificity", "precision", "f1")
"""What is measured of a reader's decisions."""
PAIRED = ("sensitivity", "f1")
"""What a network is held against a reader in: its sensitivity at the reader's specificity, and F1 at its threshold."""
FEWEST_READERS = 3
"""Readers who can tell how readers spread."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReaderMeasures:
    """What M readers and one network do, by label; a network has no F1 where it has no thresholds."""

    readers: Array
    """(M, Q, C), NaN where undefined."""
    readers_resampled: Array
    """(M, Q, R, C)"""
    network: dict[str, Array]
    """One of `PAIRED` -> (M, C): on the units of each reader."""
    network_resampled: dict[str, Array]
    """Likewise (M, R, C)."""
    positives: NDArray[np.intp]
    """(M, C) units with a decision and a known truth that are positive."""
    negatives: NDArray[np.intp]
    """(M, C)"""
    enough: NDArray[np.bool_]
    """(M, C) whether enough patients have the label, and lack it, to be resampled and averaged."""
    policy: str | None
    """The threshold policy of the network's F1."""

    @property
    def used(self) -> NDArray[np.bool_]:
        """Labels (C,) of the means: those that are enough of every reader, so that all means are over the same."""
        return np.asarray(self.enough.all(axis=0))

    def find_labels(self, measure: str) -> NDArray[np.bool_]:
        """Labels (C,) of the network's means in one of `PAIRED`: those used of which it has a value beside each reader.

        It has no F1 of a label for which validation gave no threshold.
        """
        return np.asarray(self.used & ~np.isnan(self.network[measure]).any(axis=0))

    def average_differences(self, measure: str, labels: NDArray[np.bool_] | None = None) -> tuple[Array, Array]:
        """The network minus each reader in one of `PAIRED`: means over labels (M,), and of each resample (M, R).

        They are over `labels` (C,), by default those of `find_labels`.
        """
        values, resampled = self.find_differences(measure)
        used = self.find_labels(measure) if labels is None else labels
        return average_labels(values, used), np.stack([average_labels(each, used) for each in resampled])

    def find_differences(self, measure: str) -> tuple[Array, Array]:
        """The network minus each reader in one of `PAIRED`, (M, C) and (M, R, C)."""
        place = MEASURES.index(measure)
        values = self.network[measure] - self.readers[:, place]
        return values, self.network_resampled[measure] - self.readers_resampled[:, place]


@dataclass(frozen=True)
class Difference:
    """A network minus a reader, or minus the average reader."""

    delta: float
    interval: Interval | None
    """Interval of 95 %, by the very test of `p`."""
    p: float | None
    """Two-sided."""
    p_holm: float | None
    """`p` adjusted for all readers (Holm 1979); of the average reader, `p`."""


def measure_readers(
    test: Predictions, panel: Panel, thresholds: Mapping[str, NDArray[np.float64]], resampling: Resampling
) -> ReaderMeasures:
    """Measure each reader of a panel, and the network of these predictions on the same units; both have the same rows.

    Sensitivity at the reader's specificity is of the network's empirical ROC curve, in each resample at the specificity
    that the reader has there; where the curve rises straight up, its middle counts, so that a reader who decides as
    the network does differs by 0 on average. F1 is of decisions at thresholds that validation gave, else at 0.5.
    """
    truths = panel.find_truths(test.targets)  # (M, N, C)
    located = resampling.locate(test.patient)
    policy = next((name for name in (DEFAULT_POLICY, "0.5") if name in thresholds and not test.is_rank_only), None)
    decided = None if policy is None else decide(test.ranks, thresholds[policy])
    count = len(panel.names), len(resampling.weights), len(test.labels)
    readers, readers_resampled = (np.full(shape, np.nan) for shape in _shape(count, len(MEASURES)))
    paired = [name for name in PAIRED if name != "f1" or policy is not None]
    network = {name: np.full((count[0], count[2]), np.nan) for name in paired}
    network_resampled = {name: np.full(count, np.nan) for name in paired}
    enough = np.stack([can_be_resampled(truth, located) for truth in truths])
    for label in range(count[2]):
        for reader in range(count[0]):
            truth = truths[reader, :, label]
            rows = np.flatnonzero(~np.isnan(truth))
            if not (truth == 1).any() or not (truth == 0).any() or np.isnan(test.ranks[rows, label]).any():
                continue
            one = _OneLabel(truth[rows], located[rows], resampling)
            own, own_resampled = one.count(panel.decisions[reader, rows, label])
            readers[reader, :, label] = _rate(own)
            readers_resampled[reader, :, :, label] = _rate(own_resampled)
            value, resampled = one.find_sensitivity(test.ranks[rows, label], own[1], own_resampled[1])
            network["sensitivity"][reader, label], network_resampled["sensitivity"][reader, :, label] = value, resampled
            if decided is not None and not np.isnan(decided[rows, label]).any():
                counts, counts_resampled = one.count(decided[rows, label])
                network["f1"][reader, label] = _rate(counts)[-1]
                network_resampled["f1"][reader, :, label] = _rate(counts_resampled)[-1]
    return ReaderMeasures(
        readers=readers,
        readers_resampled=readers_resampled,
        network=network,
        network_resampled=network_resampled,
        positives=(truths == 1).sum(axis=1),
        negatives=(truths == 0).sum(axis=1),
        enough=enough & ~np.isnan(readers[:, 0]),
        policy=policy,
    )


def _shape(count: tuple[int, int, int], measures: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    readers, resamples, labels = count
    return (readers, measures, labels), (readers, measures, resamples, labels)


@dataclass(frozen=True, eq=False)
class _OneLabel:
    """The units of one reader for one label, all with a known truth."""

    truth: NDArray[np.float32]
    """(N,)"""
    located: NDArray[np.intp]
    """(N,) the column of each unit's patient among the weights."""
    resampling: Resampling

    def count(self, decisions: NDArray[np.floating]) -> tuple[Array, Array]:
        """True negatives, false and missed ones, true positives of decisions (N,): (4,), and resampled (4, R).

        In this order: true negatives, false positives, false negatives, true positives.
        """
        kinds = (2 * self.truth + decisions).astype(np.intp)
        patients = len(self.resampling.patients)
        of_patients = np.bincount(self.located * 4 + kinds, minlength=4 * patients).reshape(patients, 4)
        return of_patients.sum(axis=0).astype(np.float64), weigh(of_patients.astype(np.float64), self.resampling).T

    def find_sensitivity(self, ranks: Array, alarms: float, resampled: Array) -> tuple[float, Array]:
        """A network's sensitivity where it calls as many negatives positive; resampled (R,) likewise."""
        from harness.evaluation import kernels

        ranking = kernels.rank(ranks, self.truth.astype(np.float64), self.located)
        ones = np.ones((len(self.resampling.patients), 1), dtype=np.uint8)
        start, parts = 0, []
        for block in self.resampling.blocks:
            parts.append(kernels.sensitivity_at(ranking, block, resampled[start : start + block.shape[1]]))
            start += block.shape[1]
        return float(kernels.sensitivity_at(ranking, ones, np.array([alarms]))[0]), np.concatenate(parts)


def _rate(counts: Array) -> Array:
    """`MEASURES` (Q, ...) of counts (4, ...), NaN where undefined."""
    true_negative, false_positive, false_negative, true_positive = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [
                true_positive / (true_positive + false_negative),
                true_negative / (true_negative + false_positive),
                true_positive / (true_positive + false_positive),
                2 * true_positive / (2 * true_positive + false_positive + false_negative),
            ]
        )


# --- a network against readers ---------------------------------------------------------------------------------------


def compare_with_each(values: Array, resampled: Array) -> list[Difference]:
    """A network against each reader, from its differences (k, M) and their resamples (k, M, R).

    The test is that of two systems (`compare_pairs`): Student's t over patients and, with three seeds or more, seeds.
    These very readers are judged, so that readers are no source of chance. P-values are adjusted for all readers.
    """
    differences = []
    for reader in range(values.shape[1]):
        seeds = estimate_seed_variances([values[:, reader]])
        variance = np.array([_variance(average_seeds(resampled[:, reader]))])
        differences.append(_judge(values[:, reader], variance, *([seeds] if len(values) >= FEWEST_READERS else [])))
    adjusted = adjust_holm(np.array([math.nan if one.p is None else one.p for one in differences]))
    holm = [None if math.isnan(p) else p for p in adjusted.tolist()]
    return [Difference(one.delta, one.interval, one.p, p_holm) for one, p_holm in zip(differences, holm, strict=True)]


def compare_with_average(values: Array, resampled: Array) -> Difference | None:
    """A network against readers such as these, from its differences (k, M) and their resamples (k, M, R).

    Readers are a sample of readers, as patients are one of patients. The variance of the mean over M readers is their
    variance / M, which holds what is random about a reader and about a reader's decisions on these patients, and the
    mean covariance between two readers over patients, at least 0 (Obuchowski and Rockette 1995, Hypothesis testing of
    diagnostic accuracy for multiple readers and multiple tests), here from the resamples; and over seeds, from three
    on. Degrees of freedom are those of `combine`, fewer than those of Hillis (2007). None with fewer than three
    readers: they do not tell how readers spread.
    """
    count = values.shape[1]
    if count < FEWEST_READERS:
        return None
    of_readers = average_seeds(values)  # (M,)
    drawn = np.stack([average_seeds(resampled[:, reader]) for reader in range(count)])  # (M, R)
    if np.isnan(drawn).any():
        return Difference(float(of_readers.mean()), None, None, None)
    covariance = np.cov(drawn)
    shared = max((covariance.sum() - np.trace(covariance)) / (count * (count - 1)), 0)
    parts = [(np.array([np.var(of_readers, ddof=1) / count]), np.array([count - 1.0]))]
    of_seeds = values.mean(axis=1)
    if len(of_seeds) >= FEWEST_READERS:
        parts.append(estimate_seed_variances([of_seeds]))
    return _judge(of_seeds, np.array([shared]), *parts)


def _variance(resampled: Array) -> float:
    """Variance of a difference over patients, from its resamples (R,); NaN where one of them is undefined."""
    return float(np.var(resampled, ddof=1)) if len(resampled) > 1 else math.nan


def _judge(seeds: Array, patients: Array, *others: tuple[Array, Array]) -> Difference:
    """A difference of each seed (k,) against 0, by its variance over patients (1,) and others with their freedom."""
    delta = math.fsum(seeds) / len(seeds)
    error, freedom = combine(patients, *others)
    p = float(two_sided(np.array([delta]), error, freedom)[0])
    half = float((quantile(freedom, 1 - SIGNIFICANT / 2) * error)[0])
    interval = None if math.isnan(half) or half == 0 else (max(delta - half, -1.0), min(delta + half, 1.0))
    return Difference(delta, interval, None if math.isnan(p) else p, None if math.isnan(p) else p)


def find_shared_labels(seeds: Sequence[ReaderMeasures], measure: str) -> NDArray[np.bool_]:
    """Labels (C,) of the means in one of `PAIRED`, of which all seeds of a network have a value."""
    return np.asarray(np.all([seed.find_labels(measure) for seed in seeds], axis=0))


def stack_differences(seeds: Sequence[ReaderMeasures], measure: str) -> tuple[Array, Array]:
    """Differences in one of `PAIRED` of all seeds of a network, (k, M) and (k, M, R), over the labels they share."""
    labels = find_shared_labels(seeds, measure)
    averaged = [seed.average_differences(measure, labels) for seed in seeds]
    return np.stack([values for values, _ in averaged]), np.stack([resampled for _, resampled in averaged])
