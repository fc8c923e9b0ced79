"""Where a score becomes a decision: thresholds by policy.

Candidates are the observed scores of a label's known targets; a score equal to the threshold counts as positive, and of
equally good candidates the highest wins. A threshold is NaN where a label lacks the class that the policy needs, where
no candidate is what it asks for, or where a known target has a score that is not a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UnknownNameError
from harness.evaluation.names import POLICIES, parse_fixed
from harness.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Merit = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def fit_thresholds(
    val: Predictions | None, test: Predictions, policies: Sequence[str] = tuple(POLICIES)
) -> dict[str, NDArray[np.float64]]:
    """Policy -> thresholds (C,) in the order of the test split's labels.

    Without validation there are only the policies that need none: `0.5` and `oracle`. Raises `DataError` where both
    splits do not have the same labels, `UnknownNameError` for an unknown policy.
    """
    if val is not None:
        val = val.arrange(test.labels, test.source)
    found = {}
    for policy in policies:
        if policy == "0.5":
            found[policy] = np.full(len(test.labels), 0.5)
        elif policy == "oracle":
            found[policy] = maximal_f1_thresholds(test.scores, test.targets)
        elif val is not None:
            found[policy] = fit_on_validation(policy, val)
    return found


def fit_on_validation(policy: str, val: Predictions) -> NDArray[np.float64]:
    """Thresholds (C,) by a policy that looks at nothing but validation, if at all.

    Raises `UnknownNameError` for any other.
    """
    if policy == "0.5":
        return np.full(len(val.labels), 0.5)
    if policy == "val-f1":
        return maximal_f1_thresholds(val.scores, val.targets)
    if policy == "val-youden":
        return maximal_youden_thresholds(val.scores, val.targets)
    fixed = parse_fixed(policy)
    if fixed is None:
        raise UnknownNameError("threshold policy", policy, POLICIES)
    kind, least = fixed
    fit = sensitivity_thresholds if kind == "val-sens" else specificity_thresholds
    return fit(val.scores, val.targets, least)


def maximal_f1_thresholds(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each label the threshold (C,) that maximizes F1 = 2 TP / (2 TP + FP + FN); it needs a positive."""
    return _choose(scores, targets, lambda tp, fp: 2 * tp / (tp + fp + tp[-1]))


def maximal_youden_thresholds(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each label the threshold (C,) that maximizes sensitivity + specificity - 1; it needs both classes."""

    def youden(tp: NDArray[np.float64], fp: NDArray[np.float64]) -> NDArray[np.float64]:
        # times positives and negatives: whole numbers, so that equals are equal
        return np.full_like(tp, np.nan) if fp[-1] == 0 else tp * fp[-1] - fp * tp[-1]

    return _choose(scores, targets, youden)


def sensitivity_thresholds(
    scores: NDArray[np.float64], targets: NDArray[np.floating], least: float
) -> NDArray[np.float64]:
    """For each label the highest threshold (C,) with a sensitivity of at least `least`; it needs a positive."""
    return _choose(scores, targets, lambda tp, fp: (tp / tp[-1] >= least).astype(np.float64))


def specificity_thresholds(
    scores: NDArray[np.float64], targets: NDArray[np.floating], least: float
) -> NDArray[np.float64]:
    """For each label the lowest threshold (C,) with a specificity of at least `least`; it needs a negative.

    NaN where none has it: the highest score is that of too many negatives.
    """

    def flagged(tp: NDArray[np.float64], fp: NDArray[np.float64]) -> NDArray[np.float64]:
        reached = (fp[-1] - fp) / fp[-1] >= least
        return np.where(reached, tp + fp, 0 if reached.any() else np.nan)

    return _choose(scores, targets, flagged, needed=0)


def _choose(
    scores: NDArray[np.float64], targets: NDArray[np.floating], merit: Merit, needed: int = 1
) -> NDArray[np.float64]:
    """For each label the candidate (C,) of the highest merit, which gets true and false positives at each (K,)."""
    columns = zip(scores.T, targets.T, strict=True)
    return np.array(
        [_choose_one(score[~np.isnan(target)], target[~np.isnan(target)], merit, needed) for score, target in columns]
    )


def _choose_one(scores: NDArray[np.float64], targets: NDArray[np.floating], merit: Merit, needed: int) -> float:
    if not (targets == needed).any() or np.isnan(scores).any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, targets = scores[order], targets[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each run of equal scores
    tp = np.cumsum(targets)[last]
    found = merit(tp, last + 1.0 - tp)
    return float("nan") if np.isnan(found).any() else float(scores[last[np.argmax(found)]])


def decide(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decisions (N, C), 1 where the score (N, C) reaches its label's threshold (C,); NaN where either is NaN."""
    return np.where(np.isnan(scores) | np.isnan(thresholds), np.nan, (scores >= thresholds).astype(np.float64))
