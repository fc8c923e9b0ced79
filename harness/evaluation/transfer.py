"""How much worse a system is on another dataset than on its own test: the drop, and how far chance may move it.

The two test sets have different patients, whose chances add up. A seed is one network on both of them, so that seeds
are paired: what counts is how far their drops spread. The rule was chosen by simulation (docs/simulations.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.components import IntervalMethod
from harness.errors import UsageError
from harness.evaluation.bootstrap import average_seeds
from harness.evaluation.comparison import Chance
from harness.evaluation.intervals import LEVEL, find_interval
from harness.evaluation.significance import FEWEST_SEEDS, quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.evaluation.parts import Interval


@dataclass(frozen=True, eq=False)
class Side:
    """A system on one of the two test sets."""

    values: NDArray[np.float64]
    """(k,) the metric of each seed."""
    resamples: NDArray[np.float64] | None
    """(k, R) the same in each resample; None where they are not known."""

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return math.fsum(self.values) / len(self.values)

    def find_interval(self, method: IntervalMethod) -> Interval | None:
        """The interval of 95 % of that mean over patients; None where there is none."""
        return None if self.resamples is None else find_interval(self.mean, average_seeds(self.resamples), method)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One system on its own test and on another dataset, by means over the same labels and the same seeds."""

    inside: float
    outside: float
    value: float
    """How much worse it is outside: above 0 where it is worse, also where less is better."""
    interval: Interval | None
    """The interval of 95 %, over what `over` says; None where either test has none."""
    over: Chance

    @property
    def is_certain(self) -> bool:
        """Whether it is worse outside by more than chance explains."""
        return self.interval is not None and self.interval[0] > 0


def measure_drop(inside: Side, outside: Side, method: IntervalMethod, *, higher_is_better: bool) -> Drop:
    """The drop of a system with k seeds, which both sides have in one order, in a metric with that kind of interval.

    Each end lies as far from the drop as the ends of the two means' own intervals and the seeds take it together: the
    square root of the sum of squares (Zou and Donner 2008). Seeds reach t(k - 1) times the standard error of their mean
    drop; with fewer than three of them the networks count as they are. Raises `UsageError` for sides of different
    seeds.
    """
    if len(inside.values) != len(outside.values):
        raise UsageError(f"the same seeds are needed on both tests, got {len(inside.values)} and {len(outside.values)}")
    better, worse = (inside, outside) if higher_is_better else (outside, inside)
    value, count = better.mean - worse.mean, len(better.values)
    ends = better.find_interval(method), worse.find_interval(method)
    seeds = _reach_of_seeds(better.values - worse.values) if count >= FEWEST_SEEDS else 0.0
    interval = None
    if ends[0] is not None and ends[1] is not None:
        below = math.hypot(better.mean - ends[0][0], ends[1][1] - worse.mean, seeds)
        above = math.hypot(ends[0][1] - better.mean, worse.mean - ends[1][0], seeds)
        interval = (value - below, value + above)
    return Drop(
        inside=inside.mean,
        outside=outside.mean,
        value=value,
        interval=interval,
        over="patients and seeds" if count >= FEWEST_SEEDS else "patients",
    )


def _reach_of_seeds(drops: NDArray[np.float64]) -> float:
    """How far the mean of the seeds' drops (k,) may be off in 95 of 100 cases."""
    count = len(drops)
    error = math.sqrt(np.var(drops - drops[0], ddof=1).item() / count)  # exactly 0 where all are the same
    return error * quantile(np.array(count - 1.0), (1 + LEVEL) / 2).item()
