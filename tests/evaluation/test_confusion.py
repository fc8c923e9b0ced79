"""Right and wrong decisions, counted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from harness.evaluation.confusion import count_decisions
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import fit_thresholds


def predictions(logits: list[list[float]], targets: list[list[float]]) -> Predictions:
    names = np.array([f"i{number}" for number in range(len(logits))])
    return Predictions(
        labels=("a", "b"),
        image=names,
        patient=names,
        logits=np.array(logits, dtype=np.float32),
        targets=np.array(targets, dtype=np.float32),
    )


def test_counts_are_those_of_a_table_by_hand():
    test = predictions(
        [[2, -1], [1, 3], [0, 1], [-1, 2], [-2, -3]],
        [[1, 0], [0, 1], [1, np.nan], [1, 0], [0, 1]],
    )
    at_half = count_decisions(test, {"0.5": np.zeros(2)})["0.5"]
    one = at_half["a"]  # 2, 1 and 0 are flagged: a score equal to the threshold is
    assert (one.true_positives, one.false_positives, one.false_negatives, one.true_negatives) == (2, 1, 1, 1)
    other = at_half["b"]  # the third image's target is unknown
    assert (other.true_positives, other.false_positives, other.false_negatives, other.true_negatives) == (1, 1, 1, 1)


@pytest.mark.parametrize("policy", ["0.5", "val-f1", "val-sens0.9", "oracle"])
def test_counts_are_those_of_scikit_learn(policy):
    generator = np.random.default_rng(5)
    both = []
    for _ in range(2):
        targets = (generator.random((200, 2)) < [0.3, 0.1]).astype(float)
        both.append(predictions((generator.normal(size=(200, 2)) + targets).tolist(), targets.tolist()))
    test, val = both
    thresholds = fit_thresholds(val, test, [policy])
    counts = count_decisions(test, thresholds)[policy]
    for number, label in enumerate(test.labels):
        flagged = test.logits[:, number] >= thresholds[policy][number]
        (tn, fp), (fn, tp) = confusion_matrix(test.targets[:, number], flagged)
        one = counts[label]
        assert (one.true_positives, one.false_positives) == (tp, fp)
        assert (one.false_negatives, one.true_negatives) == (fn, tn)


def test_a_label_without_a_threshold_or_with_scores_that_are_no_numbers_has_no_counts():
    test = predictions([[np.nan, 1], [1, 2]], [[1, 0], [0, 1]])
    assert count_decisions(test, {"0.5": np.zeros(2), "val-f1": np.full(2, np.nan)}).keys() == {"0.5"}
    assert count_decisions(test, {"0.5": np.zeros(2)})["0.5"].keys() == {"b"}
