"""Predictive values at a prevalence that one gives.

A test set is rarely as ill as the patients that a network will see: where disease is rarer, more alarms are false.
Sensitivity and specificity move over to another prevalence where the disease looks alike there, and Bayes' theorem
gives what follows (Altman and Bland 1994, Diagnostic tests 2: predictive values). Letters in shapes: C labels, R
resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.board import RATES
from harness.errors import UnknownNameError, UsageError
from harness.evaluation.bootstrap import average_seeds
from harness.evaluation.intervals import find_interval
from harness.evaluation.parts import PredictivePart

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from harness.evaluation.measure import Measured


@dataclass(frozen=True, eq=False)
class Predictive:
    """Predictive values at one policy's thresholds; the labels are those with a given prevalence."""

    values: NDArray[np.float64]
    """(2, C) positive and negative."""
    resamples: NDArray[np.float64]
    """(2, R, C)"""


def require_prevalence(prevalence: Mapping[str, float], labels: Sequence[str]) -> None:
    """Refuse prevalences of other labels, and what is no share between 0 and 1.

    Raises `UnknownNameError` or `UsageError`.
    """
    for label, share in prevalence.items():
        if label not in labels:
            raise UnknownNameError("label with a prevalence", label, labels)
        if not isinstance(share, int | float) or not 0 < share < 1:
            raise UsageError(f"the prevalence of {label} must lie between 0 and 1, such as 0.05, got {share}")


def apply_bayes(
    sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], prevalence: ArrayLike
) -> NDArray[np.float64]:
    """Positive and negative predictive value, (2, ...) for rates (...) and a prevalence that fits them.

    PPV = sensitivity p / (sensitivity p + (1 - specificity) (1 - p)), and NPV likewise of who is not flagged; NaN where
    nobody is.
    """
    ill = np.asarray(prevalence, dtype=np.float64)
    right = np.stack([sensitivity * ill, specificity * (1 - ill)])
    wrong = np.stack([(1 - specificity) * (1 - ill), (1 - sensitivity) * ill])
    flagged = right + wrong
    return np.asarray(np.divide(right, flagged, out=np.full_like(flagged, np.nan), where=flagged > 0))


def predict_values(
    measured: Mapping[str, Measured], labels: Sequence[str], prevalence: Mapping[str, float]
) -> dict[str, Predictive]:
    """Policy -> predictive values of one seed, wherever both rates were measured at its thresholds."""
    columns = [labels.index(label) for label in prevalence]
    shares = list(prevalence.values())
    predictive = {}
    for name, sensitivity in measured.items():
        base, _, policy = name.partition("@")
        specificity = measured.get(f"{RATES[1]}@{policy}")
        if base != RATES[0] or specificity is None:
            continue
        values, resamples = (
            apply_bayes(first[..., columns], second[..., columns], shares)
            for first, second in (
                (sensitivity.values, specificity.values),
                (sensitivity.resamples, specificity.resamples),
            )
        )
        predictive[policy] = Predictive(values, resamples)
    return predictive


def average_predictive(seeds: Sequence[Mapping[str, Predictive]]) -> dict[str, Predictive]:
    """Average predictive values over seeds, NaN where one seed has none."""
    return {
        policy: Predictive(
            average_seeds(np.stack([seed[policy].values for seed in seeds])),
            average_seeds(np.stack([seed[policy].resamples for seed in seeds])),
        )
        for policy in seeds[0]
    }


def describe_predictive(
    predictive: Mapping[str, Predictive], prevalence: Mapping[str, float]
) -> dict[str, dict[str, PredictivePart]] | None:
    """Describe predictive values as a record has them; None where no prevalence is given, or no rates were measured."""
    if not prevalence or not predictive:
        return None
    return {
        policy: {
            label: PredictivePart(
                prevalence=share,
                ppv=float(one.values[0, i]),
                ppv_interval=find_interval(float(one.values[0, i]), one.resamples[0, :, i]),
                npv=float(one.values[1, i]),
                npv_interval=find_interval(float(one.values[1, i]), one.resamples[1, :, i]),
            )
            for i, (label, share) in enumerate(prevalence.items())
        }
        for policy, one in predictive.items()
    }
