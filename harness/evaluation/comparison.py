"""Which systems differ: paired on the same resampled patients, and against the spread of their seeds.

Letters in shapes: k seeds of a system, R resamples, S systems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UsageError
from harness.evaluation.bootstrap import MOST_MISSING, average_seeds, find_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SIGNIFICANT = 0.05
"""Below it, adjusted for all pairs, two systems differ."""


@dataclass(frozen=True, eq=False)
class System:
    """What is compared: one row of a board, or one file of predictions (a single seed)."""

    values: NDArray[np.float64]
    """(k,) the metric of each seed."""
    resamples: NDArray[np.float64]
    """(k, R) the same in each resample; resample b is the same patients for every system."""

    def __post_init__(self) -> None:
        fits = self.values.ndim == 1 and self.resamples.ndim == 2 and len(self.resamples) == len(self.values) > 0
        if not fits or not self.resamples.size:
            raise UsageError(
                f"a system needs a value and a row of resamples for each seed, (k,) and (k, R), got "
                f"{self.values.shape} and {self.resamples.shape}"
            )
        if not np.isfinite(self.values).all():
            raise UsageError("a system without a value cannot be compared; leave it out")

    @property
    def estimate(self) -> float:
        """The mean over seeds."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True)
class Pair:
    """Two systems: `delta` is the first minus the second. None where it is undefined."""

    a: str
    b: str
    delta: float
    interval: tuple[float, float] | None
    """Of 95 %: percentiles of the resampled differences. Patients alone, seeds as they are."""
    p_patients: float | None
    """Two-sided: twice the share of resamples in which the difference has the other sign or none."""
    p: float | None
    """Two-sided, against patients and seeds; None where every system has one seed."""
    p_holm: float | None
    """`p`, or `p_patients` where no pair has a `p`, adjusted for all pairs (Holm 1979)."""


def compare_pairs(systems: Mapping[str, System], chosen: Sequence[tuple[str, str]] | None = None) -> list[Pair]:
    """All pairs, in the order of `systems`, or the chosen ones alone; p-values are adjusted for those.

    `p` is that of t = delta / sqrt(SE_patients^2 + s^2 / k_a + s^2 / k_b): SE_patients is the standard deviation of the
    resampled differences, s^2 the variance over seeds pooled over all systems. It takes the two sources of chance to be
    independent and the seeds of all systems to spread alike. A few seeds know s^2 poorly, so that t has the degrees of
    freedom of Satterthwaite (1946, An approximate distribution of estimates of variance components): with seeds enough,
    or where patients are nearly all of the chance, that is a normal distribution. Raises `UsageError` where systems
    were resampled differently.
    """
    counts = {system.resamples.shape[1] for system in systems.values()}
    if len(counts) > 1:
        raise UsageError(f"systems must be resampled alike, got {' and '.join(map(str, sorted(counts)))} resamples")
    places = {name: place for place, name in enumerate(systems)}
    wanted = list(combinations(systems, 2)) if chosen is None else list(chosen)
    estimates = np.array([system.estimate for system in systems.values()])
    seeds = np.array([len(system.values) for system in systems.values()])
    resamples = np.array([average_seeds(system.resamples) for system in systems.values()])
    spread, freedom = _pool_variance(systems)
    deltas, intervals, of_patients, of_both = [], [], [], []
    for name, pairs in groupby(wanted, key=itemgetter(0)):
        first, others = places[name], np.array([places[other] for _, other in pairs])
        differences = resamples[first] - resamples[others]
        delta = estimates[first] - estimates[others]
        deltas.append(delta)
        intervals.extend(find_intervals(differences))
        undefined = np.isnan(differences).mean(axis=1) > MOST_MISSING
        of_patients.append(np.where(undefined, np.nan, _two_sided(differences)))
        by_patients, by_seeds = _standard_deviation(differences) ** 2, spread * (1 / seeds[first] + 1 / seeds[others])
        of_both.append(np.where(undefined, np.nan, _student(delta, by_patients, by_seeds, freedom)))
    p_patients, p = (np.concatenate(parts) if parts else np.empty(0) for parts in (of_patients, of_both))
    adjusted = adjust_holm(p_patients if math.isnan(spread) else p)
    columns = (np.concatenate(deltas).tolist() if deltas else [], intervals, *map(_optional, (p_patients, p, adjusted)))
    return [Pair(*pair, *values) for pair, *values in zip(wanted, *columns, strict=True)]


def rank_groups(
    systems: Mapping[str, System], higher_is_better: bool, pairs: Sequence[Pair] | None = None
) -> dict[str, int]:
    """Groups from 1 of systems that are not shown to differ from the best of their group.

    The best estimate not yet in a group leads the next one; every system not yet in one whose adjusted p against it
    is at least 0.05, or undefined, joins. Adjusted for all pairs of `systems`; `pairs` spares comparing them again.
    """
    differs = {
        frozenset((pair.a, pair.b))
        for pair in (compare_pairs(systems) if pairs is None else pairs)
        if pair.p_holm is not None and pair.p_holm < SIGNIFICANT
    }
    sign = -1 if higher_is_better else 1
    waiting = sorted(systems, key=lambda name: (sign * systems[name].estimate, name))
    groups: dict[str, int] = {}
    number = 0
    while waiting:
        number += 1
        joined = [name for name in waiting if frozenset((waiting[0], name)) not in differs]
        groups |= dict.fromkeys(joined, number)
        waiting = [name for name in waiting if name not in groups]
    return groups


def adjust_holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values (M,) adjusted for all that are not NaN (Holm 1979, A simple sequentially rejective procedure)."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def _pool_variance(systems: Mapping[str, System]) -> tuple[float, int]:
    """Variance over seeds, pooled over systems, NaN where every system has one seed; and its degrees of freedom."""
    freedom = sum(len(system.values) - 1 for system in systems.values())
    squares = math.fsum((value - system.estimate) ** 2 for system in systems.values() for value in system.values)
    return squares / freedom if freedom else math.nan, freedom


def _two_sided(differences: Array) -> Array:
    """(1 + resamples of the rarer sign) / (R + 1), doubled, at most 1 (Davison and Hinkley 1997); of (S, R)."""
    rarer = np.minimum((differences >= 0).sum(axis=1), (differences <= 0).sum(axis=1))
    defined = (~np.isnan(differences)).sum(axis=1)
    return np.asarray(np.minimum(2 * (1 + rarer) / (defined + 1), 1))


def _standard_deviation(differences: Array) -> Array:
    """Of each row of (S, R), undefined values left out; NaN where fewer than two are defined."""
    defined = ~np.isnan(differences)
    count = defined.sum(axis=1)
    total = np.where(defined, differences, 0).sum(axis=1)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    squares = np.where(defined, differences - mean[:, None], 0)
    squares = np.einsum("sr,sr->s", squares, squares)
    return np.asarray(np.sqrt(np.divide(squares, count - 1, out=np.full_like(total, np.nan), where=count > 1)))


def _student(deltas: Array, by_patients: Array, by_seeds: Array, freedom: int) -> Array:
    """Two-sided p-values of differences with these two variances, of which `by_seeds` has few degrees of freedom.

    NaN where a variance is; no difference is p = 1.
    """
    from scipy.special import ndtr, stdtr

    variance = by_patients + by_seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        t = -np.abs(deltas) / np.sqrt(variance)
        effective = freedom * (variance / by_seeds) ** 2
    p = 2 * np.where(np.isfinite(effective), stdtr(np.where(np.isfinite(effective), effective, 1.0), t), ndtr(t))
    exact = np.where(deltas == 0, 1.0, 0.0)  # where nothing varies
    return np.asarray(np.where(variance == 0, exact, p))


def _optional(values: Array) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
