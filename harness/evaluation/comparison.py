"""Which systems differ: paired on the same resampled patients, and against the spread of their seeds.

Letters in shapes: k seeds of a system, R resamples, S systems, M pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.components import IntervalMethod as Method
from harness.errors import UsageError
from harness.evaluation.bootstrap import MOST_MISSING, average_seeds
from harness.evaluation.intervals import find_intervals
from harness.evaluation.significance import (
    FEWEST_SEEDS,
    SIGNIFICANT,
    adjust_holm,
    combine,
    find_detectable,
    one_sided,
    quantile,
    two_sided,
)
from harness.evaluation.spread import find_lent_spreads, tell_varying

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.evaluation.parts import Interval

    Array = NDArray[np.float64]

Chance = Literal["patients", "patients and seeds"]


@dataclass(frozen=True, eq=False)
class System:
    """What is compared: one row of a board, or one file of predictions (a single seed)."""

    values: NDArray[np.float64]
    """(k,) the metric of each seed."""
    resamples: NDArray[np.float64]
    """(k, R) the same in each resample; resample b is the same patients for every system."""
    borrows: bool = False
    """Whether its networks are those of other systems, as an ensemble's are: then it takes the spread over seeds that
    the others share, unless its own is wider, and lends none."""

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

    @property
    def judged(self) -> bool:
        """Whether it has seeds enough for a verdict about its method."""
        return len(self.values) >= FEWEST_SEEDS


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two systems: `delta` is the first minus the second. None where it is undefined."""

    a: str
    b: str
    delta: float
    interval: Interval | None
    """The interval of 95 %, over what `over` says: delta -/+ t * error, by the very test of `p`, or of `p_patients`
    without it."""
    interval_patients: Interval | None
    """The interval of 95 % over patients alone: the trained networks as they are."""
    p_patients: float | None
    """Two-sided p-value over patients alone: whether these trained networks differ."""
    p: float | None
    """Two-sided p-value over patients and seeds: whether the methods differ; None with fewer than three seeds."""
    p_holm: float | None
    """`p`, or `p_patients` where there is no `p`, adjusted for all pairs (Holm 1979)."""
    over: Chance
    error: float | None
    """Standard error of delta, over what `over` says."""
    freedom: float | None
    """Degrees of freedom of its t; None where they are infinite."""
    detectable: float | None
    """The least true difference that is found in four cases out of five, adjusted for all pairs."""

    @property
    def differs(self) -> bool:
        """Whether the two methods differ: against patients and seeds, adjusted for all pairs."""
        return self.p is not None and self.p_holm is not None and self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Margin:
    """A pair against a margin within which a difference is of no account; p-values are one-sided, adjusted (Holm)."""

    a: str
    b: str
    p_a_not_worse: float | None
    """P-value: small where the first is not worse than the second by more than the margin."""
    p_b_not_worse: float | None
    p_equivalent: float | None
    """P-value: small where neither is worse by more than that: two one-sided tests (Schuirmann 1987)."""


def compare_pairs(
    systems: Mapping[str, System], chosen: Sequence[tuple[str, str]] | None = None, tests: int | None = None
) -> list[Pair]:
    """All pairs, in the order of `systems`, or the chosen ones alone; p-values are adjusted for those.

    With `tests`, the chosen ones were picked from so many pairs by their results, and p-values are adjusted for all of
    these. `p` is that of t = delta / sqrt(SE_patients^2 + v_a / k_a + v_b / k_b): SE_patients is the standard deviation
    of the resampled differences, v the variance over seeds, which systems share so far as they agree (see `spread`);
    its degrees of freedom are those of `combine`. A pair of which one system has fewer than three seeds has no `p`,
    and lends no spread to the others. Raises `UsageError` where systems were resampled differently.
    """
    counts = {system.resamples.shape[1] for system in systems.values()}
    if len(counts) > 1:
        raise UsageError(f"systems must be resampled alike, got {' and '.join(map(str, sorted(counts)))} resamples")
    wanted = list(combinations(systems, 2)) if chosen is None else list(chosen)
    if not wanted:
        return []
    places = {name: place for place, name in enumerate(systems)}
    first, second = np.array([[places[a], places[b]] for a, b in wanted]).T  # (M,) each
    estimates = np.array([system.estimate for system in systems.values()])
    delta = estimates[first] - estimates[second]
    patients = _vary_over_patients(systems, first, second)  # (M,)
    variance, freedom = estimate_seed_variances(*_list_seeds(systems))  # (S,) each
    alone = combine(patients)
    both = combine(patients, (variance[first], freedom[first]), (variance[second], freedom[second]))
    p_patients, p = two_sided(delta, *alone), two_sided(delta, *both)
    judged = np.isfinite(variance[first] + variance[second])
    error, error_freedom = (np.where(judged, one, other) for one, other in zip(both, alone, strict=True))
    adjusted = adjust_holm(np.where(judged, p, p_patients), tests)
    columns: dict[str, Sequence[Any]] = {
        "a": [pair[0] for pair in wanted],
        "b": [pair[1] for pair in wanted],
        "delta": delta.tolist(),
        "interval": _intervals(delta, error, error_freedom),
        "interval_patients": _intervals(delta, *alone),
        "p_patients": _optional(p_patients),
        "p": _optional(np.where(judged, p, np.nan)),
        "p_holm": _optional(adjusted),
        "over": ["patients and seeds" if verdict else "patients" for verdict in judged.tolist()],
        "error": _optional(error),
        "freedom": _optional(np.where(np.isinf(error_freedom), np.nan, error_freedom)),
        "detectable": _optional(find_detectable(error, error_freedom, tests or len(wanted))),
    }
    return [Pair(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def rank_groups(
    systems: Mapping[str, System], higher_is_better: bool, pairs: Sequence[Pair] | None = None
) -> dict[str, int]:
    """Groups from 1 of systems that do not differ significantly from the best of their group.

    Systems with fewer than three seeds stand in none. The best estimate not yet in a group leads the next one; every
    system not yet in one whose adjusted p against it is at least 0.05 joins. Adjusted for all pairs of `systems`;
    `pairs` spares comparing them again. Where one of these pairs has no p there are no groups: nothing tells whether
    the two differ.
    """
    judged = {name for name, system in systems.items() if system.judged}
    pairs = [p for p in (compare_pairs(systems) if pairs is None else pairs) if {p.a, p.b} <= judged]
    if any(pair.p_holm is None for pair in pairs):
        return {}
    differs = {frozenset((pair.a, pair.b)) for pair in pairs if pair.differs}
    sign = -1 if higher_is_better else 1
    waiting = sorted(judged, key=lambda name: (sign * systems[name].estimate, name))
    groups: dict[str, int] = {}
    number = 0
    while waiting:
        number += 1
        joined = [name for name in waiting if frozenset((waiting[0], name)) not in differs]
        groups |= dict.fromkeys(joined, number)
        waiting = [name for name in waiting if name not in groups]
    return groups


def judge_margin(pairs: Sequence[Pair], margin: float, *, higher_is_better: bool) -> list[Margin]:
    """Each pair against a margin above 0, by the t of its test; over patients alone where the pair has no `p`.

    Adjusted for all pairs, either way round (Holm). Raises `UsageError` for another margin.
    """
    require_margin(margin)
    sign = 1 if higher_is_better else -1
    delta, error, freedom = (
        np.array([math.nan if value is None else value for value in values])
        for values in zip(*((sign * pair.delta, pair.error, pair.freedom or math.inf) for pair in pairs), strict=True)
    )
    either = np.array([one_sided(margin + ahead, error, freedom) for ahead in (delta, -delta)])  # (2, M)
    adjusted = adjust_holm(either.ravel()).reshape(either.shape)
    columns = map(_optional, (*adjusted, adjust_holm(either.max(axis=0))))
    return [Margin(pair.a, pair.b, *values) for pair, *values in zip(pairs, *columns, strict=True)]


def require_margin(margin: float | None) -> None:
    """Raise `UsageError` for a margin that is not above 0."""
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise UsageError(f"a margin is a difference of no account, above 0, got {margin:g}")


def find_system_intervals(
    systems: Mapping[str, System], method: Method = "percentile"
) -> dict[str, tuple[Interval | None, Interval | None]]:
    """Each system's intervals of 95 %: over patients, and over patients and seeds; None where there is none."""
    estimates = np.array([system.estimate for system in systems.values()])
    resamples = np.array([average_seeds(system.resamples) for system in systems.values()])
    over_patients = find_intervals(estimates, resamples, [method] * len(systems))
    values, borrows = _list_seeds(systems)
    with_seeds = add_seeds(values, over_patients, method, borrows)
    return dict(zip(systems, zip(over_patients, with_seeds, strict=True), strict=True))


def _list_seeds(systems: Mapping[str, System]) -> tuple[list[NDArray[np.float64]], list[bool]]:
    """The values (k,) of each system, and whether it borrows its spread."""
    return [system.values for system in systems.values()], [system.borrows for system in systems.values()]


def add_seeds(
    values: Sequence[NDArray[np.float64]],
    over_patients: Sequence[Interval | None],
    method: Method,
    borrows: Sequence[bool] | None = None,
) -> list[Interval | None]:
    """Intervals of 95 % over patients and seeds, from the values (k,) of each system and its interval over patients.

    None without the latter, or with fewer than three seeds. Each end lies as far from the mean as both chances together
    take it: the square root of the sum of the squares of the distances that patients and seeds alone come to (Zou and
    Donner 2008, Construction of confidence limits about effect measures). The spread over seeds is shared by systems
    as in comparisons. What lies outside of 0..1 is cut off where the method says that the metric cannot: an interval
    without what is impossible holds the truth as often. "percentile" says nothing about a metric's range.
    """
    variance, freedom = estimate_seed_variances(values, borrows)
    reach = quantile(freedom, 1 - SIGNIFICANT / 2) * np.sqrt(variance)
    lowest, highest = (-math.inf, math.inf) if method == "percentile" else (0.0, 1.0)
    intervals: list[Interval | None] = []
    for seeds, interval, far in zip(values, over_patients, reach.tolist(), strict=True):
        if interval is None or math.isnan(far):
            intervals.append(None)
            continue
        mean = math.fsum(seeds) / len(seeds)
        low, high = mean - math.hypot(mean - interval[0], far), mean + math.hypot(interval[1] - mean, far)
        intervals.append((max(low, lowest), min(high, highest)))
    return intervals


def estimate_seed_variances(
    values: Sequence[NDArray[np.float64]], borrows: Sequence[bool] | None = None
) -> tuple[Array, Array]:
    """Variance of each system's mean over its seeds, of the values (k,) of each, and its degrees of freedom: (S,), NaN
    with fewer than three seeds. Those that borrow lend no spread to the others, and those whose seeds repeat each other
    have none and are no matter to the others.
    """
    seeds = np.array([len(own) for own in values], dtype=np.float64)
    judged = seeds >= FEWEST_SEEDS
    variance, freedom = np.full_like(seeds, np.nan), np.full_like(seeds, np.nan)
    if judged.any():
        repeated = [own for own in values if len(own) >= FEWEST_SEEDS]
        variances = np.array([np.var(own - own[0], ddof=1) for own in repeated])  # exactly 0 where all are the same
        degrees = seeds[judged] - 1
        lends = np.ones(len(repeated), dtype=bool) if borrows is None else ~np.array(borrows)[judged]
        varies = np.array([tell_varying(values) for values in repeated])
        if varies.any():
            spreads = find_lent_spreads(variances[varies], degrees[varies], lends[varies])
            variances[varies], degrees[varies] = spreads.variance, spreads.freedom
        variance[judged], freedom[judged] = np.where(varies, variances, 0.0) / seeds[judged], degrees
    return variance, freedom


def _vary_over_patients(systems: Mapping[str, System], first: NDArray[np.intp], second: NDArray[np.intp]) -> Array:
    """Variance of each pair's resampled differences (M,); NaN where more than 5 % of them are undefined."""
    resamples = np.array([average_seeds(system.resamples) for system in systems.values()])
    variances = np.full(len(first), np.nan)
    for place in np.unique(first):  # a system against all others at once: all pairs would not fit into memory
        pairs = np.flatnonzero(first == place)
        differences = resamples[place] - resamples[second[pairs]]  # (pairs, R)
        defined = np.isnan(differences).mean(axis=1) <= MOST_MISSING
        variances[pairs[defined]] = _variance(differences[defined])
    return variances


def _variance(differences: Array) -> Array:
    """The variance of each row of (M, R), undefined values left out; NaN where fewer than two are defined."""
    defined = ~np.isnan(differences)
    count = defined.sum(axis=1)
    total = np.where(defined, differences, 0).sum(axis=1)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    squares = np.where(defined, differences - mean[:, None], 0)
    squares = np.einsum("sr,sr->s", squares, squares)
    return np.asarray(np.divide(squares, count - 1, out=np.full_like(total, np.nan), where=count > 1))


def _intervals(delta: Array, error: Array, freedom: Array) -> list[Interval | None]:
    half = quantile(freedom, 1 - SIGNIFICANT / 2) * error
    ends = zip((delta - half).tolist(), (delta + half).tolist(), strict=True)
    return [None if math.isnan(low) else (low, high) for low, high in ends]


def _optional(values: Array) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
