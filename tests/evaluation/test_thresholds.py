"""Thresholds are fitted where the policy says, and scores meet them as stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from harness.errors import UnknownNameError
from harness.evaluation.names import full_name, split_name
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import decide, fit_thresholds, maximal_f1_thresholds


def by_hand(scores, targets):
    """Every observed score tried, the highest of the best kept."""
    candidates = sorted(set(scores))
    values = [f1_score(targets, scores >= candidate, zero_division=0) for candidate in candidates]
    best = max(values)
    return max(c for c, value in zip(candidates, values, strict=True) if np.isclose(value, best, rtol=1e-12))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([3, 10, 10_000]))
def test_the_threshold_maximizes_f1_and_of_equals_the_highest_is_taken(count, seed, levels):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, count) / levels
    targets = (generator.random(count) < 0.4).astype(np.float32)
    targets[generator.integers(count)] = 1
    (found,) = maximal_f1_thresholds(scores[:, None], targets[:, None])
    assert found == by_hand(scores, targets)


def test_unknown_targets_are_left_out_and_no_positive_means_no_threshold():
    scores = np.array([[0.9, 0.2], [0.8, 0.3], [0.1, 0.4]])
    targets = np.array([[np.nan, 0], [1, np.nan], [0, 0]], dtype=np.float32)
    found = maximal_f1_thresholds(scores, targets)
    assert found[0] == 0.8
    assert np.isnan(found[1])


def test_a_score_equal_to_the_threshold_is_positive_and_no_threshold_no_decision():
    decisions = decide(np.array([[0.5, 0.9], [0.4999, 0.1]]), np.array([0.5, np.nan]))
    np.testing.assert_array_equal(decisions, [[1, np.nan], [0, np.nan]])


def test_a_score_that_is_no_number_gives_no_threshold_and_no_decision():
    scores = np.array([[0.9, np.nan], [np.nan, 0.3], [0.1, 0.4]])
    targets = np.array([[1, np.nan], [0, 1], [0, 0]], dtype=np.float32)
    found = maximal_f1_thresholds(scores, targets)
    assert np.isnan(found[0])
    assert found[1] == 0.3
    np.testing.assert_array_equal(decide(scores, np.array([0.5, 0.35])), [[1, np.nan], [np.nan, 0], [0, 1]])


def test_each_policy_is_fitted_on_its_own_split():
    def predictions(logits):
        values = np.array(logits, dtype=np.float32)[:, None]
        names = np.array([f"i{n}" for n in range(len(values))])
        return Predictions(("a",), names, names, values, np.array([[0], [1], [1]], dtype=np.float32))

    val, test = predictions([-1, 0, 1]), predictions([-3, -2, 2])
    fitted = fit_thresholds(val, test)
    assert list(fitted) == ["0.5", "val-f1", "val-youden", "val-sens0.9", "oracle"]
    assert fitted["0.5"][0] == 0.5
    assert fitted["val-f1"][0] == val.scores[1, 0]
    assert fitted["oracle"][0] == test.scores[1, 0]


def test_names_of_metrics_carry_their_policy():
    assert split_name("auroc") == ("auroc", None)
    assert split_name("f1@val-f1") == ("f1", "val-f1")
    with pytest.raises(UnknownNameError, match="did you mean 'oracle'"):
        split_name("f1@oracel")
    measured = {"auroc", "f1@0.5", "f1@val-f1"}
    assert (full_name("f1", measured), full_name("auroc", measured)) == ("f1@val-f1", "auroc")
