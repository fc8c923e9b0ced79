"""How often decisions are right and wrong: true and false positives and negatives of each label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.parts import ConfusionPart
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import decide

if TYPE_CHECKING:
    from numpy.typing import NDArray


def count_decisions(
    test: Predictions, thresholds: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, ConfusionPart]]:
    """Policy -> label -> counts of the known targets, for thresholds (C,) of each policy.

    A label is absent where it has no threshold, or where an image with a known target has a score that is no number.
    """
    counts: dict[str, dict[str, ConfusionPart]] = {}
    for policy, fitted in thresholds.items():
        decisions = decide(test.ranks, fitted)  # (N, C)
        for number, label in enumerate(test.labels):
            known = ~np.isnan(test.targets[:, number])
            flagged, present = decisions[known, number], test.targets[known, number] == 1
            if not np.isnan(flagged).any():
                counts.setdefault(policy, {})[label] = _count(flagged == 1, present)
    return counts


def _count(flagged: NDArray[np.bool_], present: NDArray[np.bool_]) -> ConfusionPart:
    return ConfusionPart(
        true_positives=int((flagged & present).sum()),
        false_positives=int((flagged & ~present).sum()),
        false_negatives=int((~flagged & present).sum()),
        true_negatives=int((~flagged & ~present).sum()),
    )
