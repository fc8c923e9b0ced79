"""How far readers agree beyond chance: kappa.

Letters in shapes: M readers, N units, C labels, P patients, R resamples.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.evaluation.bootstrap import Resampling

    Array = NDArray[np.float64]


def measure_agreement(
    decisions: NDArray[np.float32], patients: NDArray[np.str_], resampling: Resampling
) -> tuple[Array, Array]:
    """Kappa of all readers for each label, (C,) and of its resamples (R, C), of decisions (M, N, C).

    Fleiss (1971, Measuring nominal scale agreement among many raters), over the units that at least two readers decided
    on, each with the readers that it has: the agreement of a unit is the share of its pairs of readers that agree, and
    chance is by the share of all their decisions that are positive. NaN where all decisions are the same.
    """
    counts = (~np.isnan(decisions)).sum(axis=0)  # (N, C) readers of a unit
    positives = np.nansum(decisions, axis=0)
    used = counts >= 2
    pairs = np.where(used, counts * (counts - 1), 1)
    agreeing = positives * (positives - 1) + (counts - positives) * (counts - positives - 1)
    parts = np.stack([used, agreeing / pairs, counts, positives]) * used  # (4, N, C)
    located = resampling.locate(patients)
    of_patients = np.zeros((len(resampling.patients), *parts.shape[::2]))  # (P, 4, C)
    np.add.at(of_patients, located, parts.transpose(1, 0, 2))
    return _find_kappa(of_patients.sum(axis=0)), _find_kappa(weigh(of_patients, resampling))


def _find_kappa(sums: Array) -> Array:
    """Kappa (..., C) of sums (..., 4, C): units, agreements, decisions, positive decisions."""
    units, agreements, decisions, positives = np.moveaxis(sums, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = positives / decisions
        chance = share**2 + (1 - share) ** 2
        kappa = (agreements / units - chance) / (1 - chance)
    return np.asarray(np.where(1 - chance > 0, kappa, np.nan))


def compare_readers(decisions: NDArray[np.float32]) -> dict[tuple[int, int], Array]:
    """Kappa of each two readers for each label (C,), over the units that both decided on, of decisions (M, N, C).

    Cohen (1960, A coefficient of agreement for nominal scales). NaN where both always decide the same one way, or
    nothing was read by both.
    """
    kappas = {}
    for a, b in combinations(range(len(decisions)), 2):
        both = ~np.isnan(decisions[a]) & ~np.isnan(decisions[b])
        units = both.sum(axis=0)
        first, second = (np.where(both, decisions[m], 0) for m in (a, b))
        with np.errstate(invalid="ignore", divide="ignore"):
            observed = ((first == second) & both).sum(axis=0) / units
            p, q = first.sum(axis=0) / units, second.sum(axis=0) / units
            chance = p * q + (1 - p) * (1 - q)
            kappas[a, b] = np.where(1 - chance > 0, (observed - chance) / (1 - chance), np.nan).astype(np.float64)
    return kappas


def weigh(of_patients: Array, resampling: Resampling) -> Array:
    """Sums over patients in each resample (R, ...), of sums of each patient (P, ...); whole ones are exact."""
    flat = of_patients.reshape(len(of_patients), -1)
    summed = np.concatenate([block.T.astype(np.float64) @ flat for block in resampling.blocks])
    return summed.reshape(-1, *of_patients.shape[1:])
