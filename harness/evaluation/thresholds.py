"""Where a score becomes a decision: thresholds by policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fit_thresholds(val: Predictions, test: Predictions) -> dict[str, NDArray[np.float64]]:
    """Policy -> thresholds (C,). NaN where none can be fitted, see `maximal_f1_thresholds`."""
    return {
        "0.5": np.full(len(test.labels), 0.5),
        "val-f1": maximal_f1_thresholds(val.scores, val.targets),
        "oracle": maximal_f1_thresholds(test.scores, test.targets),
    }


def maximal_f1_thresholds(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each label the threshold (C,) that maximizes F1 = 2 TP / (2 TP + FP + FN) over its known targets.

    Candidates are the observed scores; a score equal to the threshold counts as positive; of equals the highest wins.
    NaN where a label has no known positive, or a known target whose score is not a number.
    """
    columns = zip(scores.T, targets.T, strict=True)
    return np.array([_maximal_f1(score[~np.isnan(target)], target[~np.isnan(target)]) for score, target in columns])


def _maximal_f1(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> float:
    positives = float(targets.sum())
    if positives == 0 or np.isnan(scores).any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, targets = scores[order], targets[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each run of equal scores
    flagged = last + 1.0
    f1 = 2 * np.cumsum(targets)[last] / (flagged + positives)  # 2 TP + FP + FN = flagged + positives
    return float(scores[last[np.argmax(f1)]])


def decide(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decisions (N, C), 1 where the score (N, C) reaches its label's threshold (C,); NaN where either is NaN."""
    return np.where(np.isnan(scores) | np.isnan(thresholds), np.nan, (scores >= thresholds).astype(np.float64))
