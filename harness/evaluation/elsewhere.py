"""How far a number published elsewhere and a measured one can differ by chance, if they are of one system.

Nobody publishes resamples. What is known is how far the measured value moves over its own patients, and how large the
other test set is: a standard error falls with the root of the number of patients. The rule was chosen by simulation
(docs/simulations.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.evaluation.intervals import LEVEL
from harness.evaluation.significance import FEWEST_SEEDS, combine, quantile


def imply_error(own: float, size: float, published_size: float) -> float:
    """The standard error of a value on a test set of another size, from the own one; sizes in patients or images."""
    return own * math.sqrt(size / published_size)


def imply_interval(value: float, error: float) -> tuple[float, float]:
    """The interval of a published value with that standard error, within 0 and 1."""
    reach = error * quantile(np.array([np.inf]), (1 + LEVEL) / 2).item()
    return max(0.0, value - reach), min(1.0, value + reach)


def find_reach(own: float, implied: float, seeds: Sequence[float]) -> float:
    """How far the two values differ by chance at most, in 95 of 100 cases.

    Test sets count as drawn apart from each other. With three seeds or more (`seeds` has their values), that the
    published network is another one of its method counts, too; fewer do not tell how far training again moves a value.
    """
    patients, count = np.array([own**2 + implied**2]), len(seeds)
    if count >= FEWEST_SEEDS:
        again = np.array([np.var(seeds, ddof=1) * (1 + 1 / count)])
        error, freedom = combine(patients, (again, np.array([count - 1.0])))
    else:
        error, freedom = combine(patients)
    return float((error * quantile(freedom, (1 + LEVEL) / 2))[0])
