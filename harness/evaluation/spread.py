"""How far the seeds of each system spread: by a variance common to those that agree, otherwise by its own.

Three seeds know a variance so poorly that a test with nothing else would hardly ever find anything after it is adjusted
for many pairs. So systems share one variance, but only those whose spreads agree: a system that behaves differently
lends nothing to the others and takes nothing from them. Letters in shapes: S systems, ... any number of boards at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

WIDER = 0.02
"""A spread stands apart where one so much wider than the others comes about by chance in two cases out of a hundred."""
NARROWER = 0.001
"""A spread stands apart where one so much narrower comes about by chance in one case out of a thousand."""
MOST_APART = 8
"""One system in so many, rounded up, may stand apart; with more of them there is no common spread."""
ROUNDS = 20
REPEATED = 1e-5
"""Seeds repeat each other where they differ by no more than this share of their mean, as by rounding on a device."""


@dataclass(frozen=True, eq=False)
class Spreads:
    """What is taken for the variance of a single seed of each system."""

    variance: Array
    """(..., S)"""
    freedom: Array
    """(..., S) its degrees of freedom."""
    shared: NDArray[np.bool_]
    """(..., S) whether it is the common one."""


def tell_varying(values: Array) -> bool:
    """Whether seeds (k,) differ in what they come to. Those of a probe of published weights, or of scores without any
    training, repeat each other: nothing of them is drawn, so that they say nothing of how far others spread.
    """
    return bool(np.ptp(values) > REPEATED * abs(values.mean()))


def find_spreads(variance: Array, freedom: Array) -> Spreads:
    """Share one variance between the systems whose sample variances (..., S) agree; `freedom` (..., S) is at least 1.

    A system stands apart where the F-test of its variance against that pooled over the others, without those that
    stand apart, is beyond `WIDER` or `NARROWER`; the start is the median of all, which no single system can move. What
    remains has lost its widest members, so that its pooled variance is divided by the share that a chi-squared
    distribution keeps when it is cut off there. Where more than one system in `MOST_APART` stands apart there is no
    common spread, and each has its own. The three constants were chosen by the simulation in `docs/simulations.md`.
    """
    agrees = _find_agreeing(variance, freedom)
    systems = variance.shape[-1]
    few_apart = (~agrees).sum(axis=-1, keepdims=True) <= math.ceil(systems / MOST_APART)
    shared = agrees & few_apart & (agrees.sum(axis=-1, keepdims=True) > 1)
    squares, kept, total = _sum_agreeing(variance, freedom, shared)
    common = _divide(squares, kept)
    return Spreads(np.where(shared, common, variance), np.where(shared, total, freedom), shared)


def find_lent_spreads(variance: Array, freedom: Array, lends: NDArray[np.bool_]) -> Spreads:
    """Share a variance between the systems (S,) that lend theirs; the others take it, and change nothing of it.

    What does not lend is made of the networks of those that do, and averaging makes its spread narrower: shared with
    it, the common one would be too narrow for the others. It keeps its own where that stands apart as wider, or where
    the others have none in common.
    """
    if lends.all() or not lends.any():
        return find_spreads(variance, freedom)
    from scipy.special import fdtrc

    lent = find_spreads(variance[lends], freedom[lends])
    spreads = Spreads(variance.copy(), freedom.copy(), np.zeros(len(variance), dtype=bool))
    spreads.variance[lends], spreads.freedom[lends], spreads.shared[lends] = lent.variance, lent.freedom, lent.shared
    if not lent.shared.any():
        return spreads
    common, of_common = lent.variance[lent.shared][0], lent.freedom[lent.shared][0]
    with np.errstate(over="ignore"):
        ratio = variance / max(common, np.finfo(np.float64).tiny)
    takes = ~lends & ((fdtrc(freedom, of_common, ratio) >= WIDER) | (variance <= common))
    spreads.variance[takes], spreads.freedom[takes], spreads.shared[takes] = common, of_common, True
    return spreads


def _find_agreeing(variance: Array, freedom: Array) -> NDArray[np.bool_]:
    """Which systems (..., S) do not stand apart: a fixed point, or what there is after `ROUNDS`."""
    from scipy.special import chdtri

    median = np.median(variance / (chdtri(freedom, 0.5) / freedom), axis=-1, keepdims=True)
    agrees = _agree(variance, freedom, median, freedom.sum(axis=-1, keepdims=True))
    for _ in range(ROUNDS):
        squares, kept, total = _sum_agreeing(variance, freedom, agrees)
        own = np.where(agrees, freedom, 0)
        share = np.where(agrees, _kept_share(freedom, total), 0)
        others = _divide(squares - own * variance, kept - own * share)
        revised = _agree(variance, freedom, others, total - own)
        if (revised == agrees).all():
            break
        agrees = revised
    return agrees


def _agree(variance: Array, freedom: Array, others: Array, freedom_of_others: Array) -> NDArray[np.bool_]:
    from scipy.special import fdtr, fdtrc

    with np.errstate(over="ignore"):
        ratio = variance / np.maximum(others, np.finfo(np.float64).tiny)
    ratio = np.where((variance == 0) & (others <= 0), 1.0, ratio)
    denominator = np.maximum(freedom_of_others, 1)
    inside = (fdtrc(freedom, denominator, ratio) >= WIDER) & (fdtr(freedom, denominator, ratio) >= NARROWER)
    return np.asarray(inside | (freedom_of_others == 0))  # from nothing nobody stands apart


def _sum_agreeing(variance: Array, freedom: Array, agrees: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Squares, the degrees of freedom that truncation leaves of them, and all degrees of freedom: each (..., 1)."""
    own = np.where(agrees, freedom, 0)
    total = own.sum(axis=-1, keepdims=True)
    squares = np.sort(own * variance, axis=-1).sum(axis=-1, keepdims=True)  # the same in any order of the systems
    kept = np.sort(own * _kept_share(freedom, total), axis=-1).sum(axis=-1, keepdims=True)
    return squares, kept, total


def _kept_share(freedom: Array, total: Array) -> Array:
    """Mean of a variance that did not stand apart, as a share of the mean of all (..., S)."""
    from scipy.special import chdtr, fdtri

    limit = freedom * fdtri(freedom, np.maximum(total - freedom, 1), 1 - WIDER)
    return np.asarray(chdtr(freedom + 2, limit) / chdtr(freedom, limit))


def _divide(numerator: Array, denominator: Array) -> Array:
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.zeros(shape), where=np.broadcast_to(denominator > 0, shape))
