"""Intervals from resampled patients.

Images of one patient resemble each other, so that images drawn one by one would make an interval too narrow; whole
patients are drawn instead, with all their images (Rutter 2000, Bootstrap estimation of diagnostic accuracy with
patient-clustered data). Letters in shapes: N images, C labels, P patients, R resamples.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Metric
from harness.errors import DataError, UsageError
from harness.evaluation.contract import checked, compute, defined_labels, wants_patients

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BLOCK = 64
"""Resamples at a time: a row of counts is then one line of a processor's cache."""
MOST_MISSING = 0.05
"""Share of resamples that may lack a class before there is no interval."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """How often each resample holds each patient."""

    patients: NDArray[np.str_]
    """(P,) sorted."""
    counts: NDArray[np.uint8]
    """(R, P)"""

    def locate(self, patients: NDArray[np.str_]) -> NDArray[np.intp]:
        """Column of `counts` (N,) for the patient of each image (N,). Raises `DataError` for one that is not in it."""
        names = np.asarray(patients).astype(str)
        found = np.minimum(np.searchsorted(self.patients, names), len(self.patients) - 1)
        strange = self.patients[found] != names
        if strange.any():
            raise DataError(
                f"patient '{names[strange][0]}' is not among the {len(self.patients):,} that were resampled; draw the "
                f"resamples from the patients of these predictions"
            )
        return np.asarray(found)


def draw_resamples(patients: ArrayLike, resamples: int = 1000, *, seed: str) -> Resampling:
    """Draw as many patients as there are, with replacement, `resamples` times.

    `patients` (N,) names the patient of each image, in any order. Resample b depends on the set of patients and the
    text `seed` alone: not on the order of images, nor on how many resamples follow. Raises `UsageError` where nothing
    can be drawn.
    """
    unique = np.unique(np.asarray(patients).astype(str))
    if not len(unique) or resamples < 1:
        raise UsageError(f"resampling needs a patient and a resample, got {len(unique)} and {resamples}")
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")))
    counts = np.empty((resamples, len(unique)), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(len(unique), size=len(unique)), minlength=len(unique))
    return Resampling(unique, counts)


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
    NaN for a label that is undefined, in resamples that lack its positives or negatives, and wherever there is but one
    patient, whose resamples all are the same. Values depend neither on the order of images and labels nor on `workers`,
    the threads that a metric with `batched` is computed by (as many as there are processors). Raises `PluginError` for
    a metric that breaks its contract, `DataError` for a patient that was not resampled.
    """
    given, known = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    located = resampling.locate(patients)
    starts = range(0, len(resampling.counts), BLOCK)
    blocks = [np.ascontiguousarray(resampling.counts[start : start + BLOCK].T) for start in starts]
    values = np.full((len(resampling.counts), known.shape[1]), np.nan)

    def fill(label: int) -> None:
        rows = np.flatnonzero(~np.isnan(known[:, label]))
        score, target, patient = given[rows, label], known[rows, label], located[rows]
        order = np.lexsort((patient, target, -score))  # whatever is summed is summed in this order
        sorted_rows = score[order], target[order], patient[order]
        values[:, label] = _resample_label(metric, *sorted_rows, resampling, blocks)

    alone = len(resampling.patients) == 1
    labels: list[int] = [] if alone else np.flatnonzero(defined_labels(given, known)).tolist()
    if metric.batched is None:
        for label in labels:
            fill(label)
    else:
        with ThreadPoolExecutor(workers or count_processors()) as pool:
            list(pool.map(fill, labels))
    return values


def average_labels(resamples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The macro (R,) of each resample (R, C): the mean over the labels defined in it, NaN where none is."""
    ordered = np.sort(resamples, axis=1)  # NaN last: the same sum in any order of the labels
    defined = (~np.isnan(ordered)).sum(axis=1)
    total = np.nan_to_num(ordered).sum(axis=1)
    return np.asarray(np.divide(total, defined, out=np.full(len(total), np.nan), where=defined > 0))


def average_seeds(resamples: NDArray[np.float64]) -> NDArray[np.float64]:
    """A system's value (R,) in each resample, from those of its seeds (k, R): their mean, NaN where one is NaN."""
    return np.asarray(np.sort(resamples, axis=0).mean(axis=0))


def find_interval(resamples: NDArray[np.float64], level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of resampled values (R,) (Efron 1979), undefined values left out.

    None where more than 5 % of them are undefined. A class that one patient carries is absent from over a third of the
    resamples, one that two carry from an eighth: neither has an interval.
    """
    defined = resamples[~np.isnan(resamples)]
    if len(defined) == 0 or len(resamples) - len(defined) > MOST_MISSING * len(resamples):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def find_intervals(resamples: NDArray[np.float64], level: float = 0.95) -> list[tuple[float, float] | None]:
    """`find_interval` of each row of values (S, R), at once of those that are defined throughout."""
    whole = np.asarray(~np.isnan(resamples).any(axis=1))
    low, high = np.quantile(resamples[whole], [(1 - level) / 2, (1 + level) / 2], axis=1)
    found = zip(low.tolist(), high.tolist(), strict=True)
    return [
        next(found) if defined else find_interval(row, level) for row, defined in zip(resamples, whole, strict=True)
    ]


def _resample_label(
    metric: Metric,
    scores: NDArray[np.float64],
    targets: NDArray[np.float64],
    located: NDArray[np.intp],
    resampling: Resampling,
    blocks: list[NDArray[np.uint8]],
) -> NDArray[np.float64]:
    """Values (R,) of one label's scores, targets and located patients (N,), NaN where a class is missing."""
    present = _hold_any(located[targets == 1], resampling.counts) & _hold_any(located[targets == 0], resampling.counts)
    given = scores[:, None], targets[:, None]
    batched = metric.batched
    if batched is not None:

        def weigh() -> NDArray[np.float64]:
            weighted = batched(*given)
            return np.concatenate([weighted(np.take(block, located, axis=0)) for block in blocks])

        return np.where(present, checked(metric, (len(present), 1), weigh)[:, 0], np.nan)
    values = np.full(len(present), np.nan)
    patients = resampling.patients[located]
    for number in np.flatnonzero(present):
        counts = resampling.counts[number, located]
        if metric.weighted:
            found = compute(metric, *given, patients, counts.astype(np.float64))
        else:
            found = _repeat(metric, *given, counts, patients)
        values[number] = found[0]
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


def count_processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
