"""Where a score becomes a decision: thresholds by policy.

Candidates are the observed scores of a label's known targets; a score equal to the threshold counts as positive, and of
equally good candidates the highest wins. A threshold is NaN where a label lacks the class that the policy needs, where
no candidate is what it asks for, or where a known target has a score that is not a number.

What is held against a threshold is what the predictions have stored (`Predictions.ranks`): of logits, thresholds are
logits, so that no two images fall together because their probabilities round to the same number. `describe_thresholds`
gives them as scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UnknownNameError
from harness.evaluation.predictions import Predictions, make_scores
from harness.metric_names import POLICIES, WITHOUT_VALIDATION, parse_fixed, parse_single, require_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Merit = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def fit_thresholds(
    val: Predictions | None, test: Predictions, policies: Sequence[str] = tuple(POLICIES)
) -> dict[str, NDArray[np.float64]]:
    """Policy -> thresholds (C,) in the order of the test split's labels.

    Without validation there are only the policies that need none: `0.5` and `oracle`. Scores that are no probabilities
    have none (NaN): what separates them here says nothing elsewhere. Raises `DataError` where both
    splits do not have the same labels, `UnknownNameError` for an unknown policy.
    """
    if val is not None:
        val = val.arrange(test.labels, test.source)
    thresholds = {}
    for policy in policies:
        needs_val = policy not in WITHOUT_VALIDATION
        if needs_val and val is None:
            continue
        if test.is_rank_only or (needs_val and val is not None and val.is_rank_only):
            thresholds[policy] = np.full(len(test.labels), np.nan)
        elif policy == "0.5":
            thresholds[policy] = _split_in_half(test)
        elif policy == "oracle":
            thresholds[policy] = maximal_f1_thresholds(test.ranks, test.targets)
        elif val is not None:
            thresholds[policy] = fit_on_validation(policy, val, test)
    return thresholds


def fit_on_validation(policy: str, val: Predictions, test: Predictions | None = None) -> NDArray[np.float64]:
    """Thresholds (C,) by a policy that looks at nothing but validation, if at all.

    They are for `test`, logits where it has logits; without it, for validation itself. Raises `UnknownNameError` for
    any other policy.
    """
    like = val if test is None else test
    ranks = val.ranks_like(like)
    if policy == "0.5":
        return _split_in_half(like)
    if policy == "val-f1":
        return maximal_f1_thresholds(ranks, val.targets)
    if policy == "val-youden":
        return maximal_youden_thresholds(ranks, val.targets)
    single = parse_single(policy)
    if single is not None:
        require_labels([f"@{policy}"], val.labels)
        alone = np.array([label == single[1] for label in val.labels])
        return np.where(alone, fit_on_validation(single[0], val, test), _split_in_half(like))
    fixed = parse_fixed(policy)
    if fixed is None:
        raise UnknownNameError("threshold policy", policy, POLICIES)
    kind, least = fixed
    fit = sensitivity_thresholds if kind == "val-sens" else specificity_thresholds
    return fit(ranks, val.targets, least)


def describe_thresholds(
    test: Predictions, thresholds: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, float]]:
    """Policy -> label -> threshold as a score, of thresholds for `test`."""
    return {
        policy: dict(zip(test.labels, map(float, values if _has_scores(test) else make_scores(values)), strict=True))
        for policy, values in thresholds.items()
    }


def _has_scores(predictions: Predictions) -> bool:
    return predictions.given_scores is not None


def _split_in_half(predictions: Predictions) -> NDArray[np.float64]:
    """A score of one half, (C,)."""
    return np.full(len(predictions.labels), 0.5 if _has_scores(predictions) else 0.0)


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
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)  # of each run of equal scores
    tp = np.cumsum(targets)[last]  # (K,)
    merits = merit(tp, last + 1.0 - tp)
    return float("nan") if np.isnan(merits).any() else float(scores[last[np.argmax(merits)]])


def decide(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decisions (N, C), 1 where the score (N, C) reaches its label's threshold (C,); NaN where either is NaN."""
    return np.where(np.isnan(scores) | np.isnan(thresholds), np.nan, (scores >= thresholds).astype(np.float64))
