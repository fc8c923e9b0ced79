"""The fast path of a metric is its plain one, column of weights by column, and so scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

NAMES = ["auroc", "auprc", "f1", "sensitivity", "specificity", "brier", "ece"]


def agree(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@st.composite
def cases(draw):
    """Scores with ties or none and targets of any balance (N, 2), each image's row (N,) of weights (P, 5), as counts or
    real numbers."""
    count = draw(st.integers(0, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 3, 1000]))
    scores = generator.integers(0, levels + 1, (count, 2)) / levels
    targets = (generator.random((count, 2)) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))).astype(float)
    patients = draw(st.integers(1, 80))
    counts = generator.poisson(draw(st.sampled_from([0.1, 1.0])), (patients, 5)).astype(np.uint8)
    weights = counts if draw(st.booleans()) else counts * generator.exponential(size=(patients, 5))
    return scores, targets, generator.integers(0, patients, count), weights


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150)
@given(case=cases())
def test_the_fast_path_equals_the_plain_one(registry, name, case):
    scores, targets, rows, weights = case
    metric = registry.metric(name)
    given_scores = (scores >= 0.5).astype(float) if metric.on == "decisions" else scores
    plain = [metric.compute(given_scores, targets, column.astype(float)) for column in weights[rows].T]
    agree(metric.batched(given_scores, targets, rows)(weights), plain)


@settings(max_examples=150)
@given(case=cases())
def test_the_fast_path_equals_scikit_learns(registry, case):
    scores, targets, rows, weights = case
    known = weights[rows, 0] > 0
    if len(set(targets[known, 0])) < 2:
        return
    truth, score, column = targets[:, 0], scores[:, 0], weights[rows, 0].astype(float)
    theirs = {
        "auroc": sklearn.roc_auc_score(truth, score, sample_weight=column),
        "auprc": sklearn.average_precision_score(truth, score, sample_weight=column),
        "f1": sklearn.f1_score(truth, score >= 0.5, sample_weight=column),
        "brier": sklearn.brier_score_loss(truth, score, sample_weight=column),
    }
    for name, value in theirs.items():
        metric = registry.metric(name)
        given_scores = (scores >= 0.5).astype(float) if metric.on == "decisions" else scores
        agree(metric.batched(given_scores, targets, rows)(weights)[0, 0], value)


@pytest.mark.parametrize("name", NAMES)
def test_every_bundled_metric_of_decisions_and_scores_has_a_fast_path(registry, name):
    assert registry.metric(name).batched is not None
    assert registry.metric(name).weighted
