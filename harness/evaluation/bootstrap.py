"""Resampled patients: what intervals and comparisons are made from.

Images of one patient resemble each other, so that images drawn one by one would make an interval too narrow; whole
patients are weighed instead, with all their images (Rutter 2000, Bootstrap estimation of diagnostic accuracy with
patient-clustered data). Letters in shapes: N images, C labels, P patients, R resamples.

A resample gives each patient a random weight with mean 1 and variance 1 (Praestgaard and Wellner 1993, Exchangeably
weighted bootstraps of the general empirical process). Drawing patients with replacement does so too, by counts; but a
count may be 0, and a label whose few positives all vanish has no value in that resample. The weights here are 2.5 times
a variable of the distribution Beta(1/5, 3/10), never 0: a label keeps its value in every resample, and a mean over
labels is over the same labels in all of them. Exponential weights (Rubin 1981, The Bayesian bootstrap) are never 0
either, but the variance of a mean over m patients comes out at about 1 + (2 - 2 s) / m of what it is, s being the third
central moment of the weights: 2 for exponential ones, which are too narrow where few patients carry a label, 1 for
counts, 0.4 here. The coverage of all three is in docs/simulations.md.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import Metric
from harness.errors import DataError, UsageError
from harness.evaluation.contract import checked, compute, defined_labels, wants_patients
from harness.machine import count_processors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BLOCK = 256
"""Resamples at a time: a patient's weights are then four lines of a processor's cache, and all of them fit into it."""
FEWEST_PATIENTS = 10
"""Patients that a test set needs to be resampled: how they differ cannot be told from fewer."""
FEWEST_CARRIERS = 3
"""Patients with a label, and without it, below which it is neither resampled nor averaged; see docs/simulations.md."""
MOST_MISSING = 0.05
"""Share of resamples that may lack a class before there is no interval."""
UNIT = 100
"""A patient's weight is a whole number of hundredths, so that every sum of weights is exact in any order."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """How much each patient weighs in each resample."""

    patients: NDArray[np.str_]
    """(P,) sorted."""
    weights: NDArray[np.uint8]
    """(R, P) hundredths, from 1 to 250."""
    seed: str

    @cached_property
    def counts(self) -> NDArray[np.uint8]:
        """How often each patient is drawn (R, P), for metrics that cannot take weights."""
        generator = _make_generator(f"{self.seed} counts")
        drawn = np.empty(self.weights.shape, dtype=np.uint8)
        for row in drawn:
            row[:] = np.bincount(generator.integers(len(row), size=len(row)), minlength=len(row))
        return drawn

    @cached_property
    def blocks(self) -> list[NDArray[np.uint8]]:
        """The weights of `BLOCK` resamples each, (P, BLOCK): those of a patient lie side by side."""
        starts = range(0, len(self.weights), BLOCK)
        return [np.ascontiguousarray(self.weights[start : start + BLOCK].T) for start in starts]

    def locate(self, patients: NDArray[np.str_]) -> NDArray[np.intp]:
        """Column of `weights` (N,) for the patient of each image (N,). Raises `DataError` for one that is not in it."""
        names = np.asarray(patients).astype(str)
        columns = np.minimum(np.searchsorted(self.patients, names), len(self.patients) - 1)
        strange = self.patients[columns] != names
        if strange.any():
            raise DataError(
                f"patient '{names[strange][0]}' is not among the {len(self.patients):,} that were resampled; draw the "
                f"resamples from the patients of these predictions"
            )
        return np.asarray(columns)


def draw_resamples(patients: ArrayLike, resamples: int = 1000, *, seed: str) -> Resampling:
    """Weigh the patients at random, `resamples` times.

    `patients` (N,) names the patient of each image, in any order. Resample b depends on the set of patients and the
    text `seed` alone: not on the order of images, nor on how many resamples follow. Raises `UsageError` where nothing
    can be drawn.
    """
    unique = np.unique(np.asarray(patients).astype(str))
    if not len(unique) or resamples < 1:
        raise UsageError(f"resampling needs a patient and a resample, got {len(unique)} and {resamples}")
    generator, table = _make_generator(seed), _make_weights()
    weights = np.empty((resamples, len(unique)), dtype=np.uint8)  # (R, P)
    for row in weights:
        np.take(table, np.frombuffer(generator.bytes(2 * len(row)), dtype="<u2"), out=row)
    return Resampling(unique, weights, seed)


def _make_generator(seed: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")))


@lru_cache(maxsize=1)
def _make_weights() -> NDArray[np.uint8]:
    """A weight for each number of 16 bits (65,536,): 2.5 times Beta(1/5, 3/10) in hundredths, at least one.

    A variable on (0, M) with mean 1 and variance 1 that is M times a Beta variable has the parameters (M - 2) / M and
    (M - 2) (M - 1) / M, and the third central moment 2 (M - 2) / M.
    """
    from scipy.special import betainc

    largest = 5 * UNIT // 2
    below = betainc(1 / 5, 3 / 10, (np.arange(1, largest) + 0.5) / largest)  # a weight of 1 takes all below 1.5
    ends = np.rint(np.concatenate([[0], below, [1]]) * 2**16).astype(np.intp)
    return np.repeat(np.arange(1, largest + 1), np.diff(ends)).astype(np.uint8)


def resample(
    metric: Metric,
    scores: NDArray[np.float64],
    targets: NDArray[np.floating],
    patients: NDArray[np.str_],
    resampling: Resampling,
    workers: int | None = None,
) -> NDArray[np.float64]:
    """A metric in every resample: (R, C).

    `scores` or decisions and `targets` are (N, C), an unknown target NaN and left out for its label; `patients` (N,).
    NaN for a label that is undefined or that fewer than three patients have, or lack, and for all where there are fewer
    than ten patients. A metric with `weighted=False` is computed of rows repeated by counts, and NaN too in resamples
    that lack a label's positives or negatives. Values depend neither on the order of images and labels nor on
    `workers`, the threads that a metric with `batched` is computed by (as many as there are processors). Raises
    `PluginError` for a metric that breaks its contract, `DataError` for a patient that was not resampled.
    """
    wide_scores, wide_targets = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    located = resampling.locate(patients)
    values = np.full((len(resampling.weights), wide_targets.shape[1]), np.nan)  # (R, C)

    def fill(label: int) -> None:
        rows = np.flatnonzero(~np.isnan(wide_targets[:, label]))
        score, target, patient = wide_scores[rows, label], wide_targets[rows, label], located[rows]
        order = _sort(score, target, patient)  # whatever is summed is summed in this order
        sorted_rows = score[order], target[order], patient[order]
        values[:, label] = _resample_label(metric, *sorted_rows, resampling)

    measurable = defined_labels(wide_scores, wide_targets) & can_be_resampled(wide_targets, located)
    labels: list[int] = np.flatnonzero(measurable).tolist()
    if metric.batched is None:
        for label in labels:
            fill(label)
    else:
        with ThreadPoolExecutor(workers or count_processors()) as pool:
            list(pool.map(fill, labels))
    return values


def can_be_resampled(targets: NDArray[np.floating], patients: NDArray[Any]) -> NDArray[np.bool_]:
    """Labels (C,) that enough patients have, and lack, of targets (N, C) and the patient of each image (N,).

    None where there are too few patients.
    """
    unique, number = np.unique(patients, return_inverse=True)  # (P,), (N,)
    if len(unique) < FEWEST_PATIENTS:
        return np.zeros(targets.shape[1], dtype=np.bool_)
    carriers = [[np.count_nonzero(np.bincount(number[column == kind])) for kind in (0, 1)] for column in targets.T]
    return np.asarray(np.min(carriers, axis=1, initial=len(targets)) >= FEWEST_CARRIERS)


def choose_labels(
    defined: NDArray[np.bool_], targets: NDArray[np.floating], patients: NDArray[Any]
) -> NDArray[np.bool_]:
    """Labels (C,) of a mean: the `defined` ones (C,) that can be resampled, or all of these where none can be.

    How far chance moves a label that one or two patients have cannot be told, nor then of a mean with it, whose
    interval would be too narrow (docs/simulations.md). Which labels these are depends on targets (N, C) and the patient
    of each image (N,) alone: every system on a test set is averaged over the same ones.
    """
    enough = defined & can_be_resampled(targets, patients)
    return enough if enough.any() else defined


def average_labels(values: NDArray[np.float64], used: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """The macro (R,) of each row of values (R, C): the mean over the labels `used` (C,), NaN where one is undefined.

    Without `used` it is the mean over whatever is defined in a row, NaN where nothing is.
    """
    ordered = np.sort(values if used is None else values[:, used], axis=1)  # NaN last: one sum in any order of labels
    defined = (~np.isnan(ordered)).sum(axis=1)  # (R,)
    enough = defined == ordered.shape[1] if used is not None else True
    total = np.nan_to_num(ordered).sum(axis=1)
    return np.asarray(np.divide(total, defined, out=np.full(len(total), np.nan), where=(defined > 0) & enough))


def average_seeds(resamples: NDArray[np.float64]) -> NDArray[np.float64]:
    """A system's value (R,) in each resample, from those of its seeds (k, R): their mean, NaN where one is NaN."""
    return np.asarray(np.sort(resamples, axis=0).mean(axis=0))


def _resample_label(
    metric: Metric,
    scores: NDArray[np.float64],
    targets: NDArray[np.float64],
    located: NDArray[np.intp],
    resampling: Resampling,
) -> NDArray[np.float64]:
    """Values (R,) of one label's scores, targets and located patients (N,)."""
    given = scores[:, None], targets[:, None]  # (N, 1) each
    if not metric.weighted:
        return _resample_by_counts(metric, scores, targets, located, resampling)
    batched = metric.batched
    if batched is not None:

        def weigh() -> NDArray[np.float64]:
            weighted = batched(*given, located)
            return np.concatenate([weighted(block) for block in resampling.blocks])  # (R, 1)

        return checked(metric, (len(resampling.weights), 1), weigh)[:, 0]
    patients = resampling.patients[located]
    weighings = (row[located].astype(np.float64) for row in resampling.weights)
    return np.array([compute(metric, *given, patients, weights)[0] for weights in weighings])


def _sort(scores: NDArray[np.float64], targets: NDArray[np.float64], located: NDArray[np.intp]) -> NDArray[np.intp]:
    """Sort from the highest score down (N,), equal ones by target and patient: in whatever order the images come."""
    order = np.argsort(-scores)  # a tenth of the time of sorting by all three, which equal scores alone need
    ordered = scores[order]
    same = ordered[1:] == ordered[:-1]
    places = np.flatnonzero(np.append(same, False) | np.append(False, same))
    tied = order[places]
    order[places] = tied[np.lexsort((located[tied], targets[tied], -scores[tied]))]
    return order


def _resample_by_counts(
    metric: Metric,
    scores: NDArray[np.float64],
    targets: NDArray[np.float64],
    located: NDArray[np.intp],
    resampling: Resampling,
) -> NDArray[np.float64]:
    """Values (R,) of one label for a metric that takes no weights; NaN where a resample lacks a class."""
    counts = resampling.counts
    present = _hold_any(located[targets == 1], counts) & _hold_any(located[targets == 0], counts)
    values = np.full(len(counts), np.nan)
    for number in np.flatnonzero(present):
        drawn = counts[number, located]  # (N,)
        values[number] = _repeat(metric, scores[:, None], targets[:, None], drawn, resampling.patients[located])[0]
    return values


def _hold_any(columns: NDArray[np.intp], counts: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a resample of `counts` (R, P) holds any of these patients, (R,); a few of many settle it."""
    held = np.zeros(len(counts), dtype=np.bool_)
    for start in range(0, len(columns), BLOCK):
        held |= counts[:, columns[start : start + BLOCK]].any(axis=1)
        if held.all():
            break
    return held


def _repeat(
    metric: Metric,
    scores: NDArray[np.float64],
    targets: NDArray[np.float64],
    counts: NDArray[np.uint8],
    patients: NDArray[np.str_],
) -> NDArray[np.float64]:
    """A metric of rows repeated by their counts (N,); a patient who was drawn twice becomes two."""
    rows = np.repeat(np.arange(len(counts)), counts)
    drawn = patients[rows]
    if wants_patients(metric):
        copies = np.arange(len(rows)) - np.repeat(np.cumsum(counts, dtype=np.intp) - counts, counts)
        drawn = np.array([f"{patient} {copy}" for patient, copy in zip(drawn, copies, strict=True)])
    return compute(metric, scores[rows], targets[rows], drawn)
