"""How much worse a system is on another dataset than on its own test: the drop, and how far chance may move it.

The two test sets have different patients, whose chances add up. A seed is one network on both of them, so that seeds
are paired: what counts is how far their drops spread. The rule was chosen by simulation (docs/simulations.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UsageError
from harness.evaluation.bootstrap import MOST_MISSING, average_seeds
from harness.evaluation.comparison import Chance
from harness.evaluation.intervals import LEVEL, SAME
from harness.evaluation.significance import FEWEST_SEEDS, combine, quantile

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

    def judge_patients(self) -> tuple[float, float] | None:
        """The variance of that mean over patients, and its bias: how far its resamples' own mean lies from it.

        None where resamples are not known, more than 5 % of them are undefined, or all have one value: chance may still
        move it, and nothing tells how far.
        """
        if self.resamples is None:
            return None
        resampled = average_seeds(self.resamples)
        defined = resampled[~np.isnan(resampled)]
        if len(defined) < (1 - MOST_MISSING) * len(resampled) or np.ptp(defined) <= SAME:
            return None
        return float(np.var(defined, ddof=1)), float(defined.mean()) - self.mean


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


def measure_drop(inside: Side, outside: Side, *, higher_is_better: bool) -> Drop:
    """The drop of a system with k seeds, which both sides have in one order.

    SE^2 = SE_inside^2 + SE_outside^2 over patients, and with three seeds or more the variance of their mean drop, known
    by k - 1 degrees of freedom (`combine`). The interval reaches t * SE around the drop and around the drop without its
    bias, together: a mean like that of AUPRC lies higher on few patients than on many, which is no drop. Raises
    `UsageError` for sides of different seeds.
    """
    count = len(inside.values)
    if count != len(outside.values):
        raise UsageError(f"the same seeds are needed on both tests, got {count} and {len(outside.values)}")
    sign = 1 if higher_is_better else -1
    value, judged = sign * (inside.mean - outside.mean), count >= FEWEST_SEEDS
    sides, interval = (inside.judge_patients(), outside.judge_patients()), None
    if sides[0] is not None and sides[1] is not None:
        patients = np.array([sides[0][0] + sides[1][0]])
        drops = inside.values - outside.values
        # exactly 0 where all seeds are the same
        seeds = [(np.array([np.var(drops - drops[0], ddof=1) / count]), np.array([count - 1.0]))] if judged else []
        error, freedom = combine(patients, *seeds)
        reach = (error * quantile(freedom, (1 + LEVEL) / 2)).item()
        without_bias = value - sign * (sides[0][1] - sides[1][1])
        interval = (min(value, without_bias) - reach, max(value, without_bias) + reach)
    return Drop(
        inside=inside.mean,
        outside=outside.mean,
        value=value,
        interval=interval,
        over="patients and seeds" if judged else "patients",
    )
