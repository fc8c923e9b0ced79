"""Metrics equal scikit-learn's, with weights, ties and degenerate inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

TOLERANCE = 1e-12


@st.composite
def cases(draw):
    """Scores with many ties or none, targets of any balance, weights with zeros or none: (N, 1), (N, 1), (N,)."""
    count = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    levels = draw(st.sampled_from([2, 5, 1000]))
    scores = generator.integers(0, levels + 1, count) / levels
    targets = (generator.random(count) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))).astype(float)
    weights = draw(st.sampled_from(["none", "counts", "real"]))
    drawn = {"none": None, "counts": generator.poisson(1.0, count).astype(float), "real": generator.random(count)}[
        weights
    ]
    return scores[:, None], targets[:, None], drawn


def classes(targets, weights):
    weights = np.ones(len(targets)) if weights is None else weights
    return (weights[targets[:, 0] == 1].sum() > 0), (weights[targets[:, 0] == 0].sum() > 0)


def agree(ours, theirs):
    np.testing.assert_allclose(ours, [theirs], rtol=TOLERANCE, atol=TOLERANCE)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_auroc_equals_scikit_learns(registry, case):
    scores, targets, weights = case
    ours = registry.metric("auroc").compute(scores, targets, weights)
    if all(classes(targets, weights)):
        agree(ours, sklearn.roc_auc_score(targets[:, 0], scores[:, 0], sample_weight=weights))
    else:
        assert np.isnan(ours).all()


@settings(max_examples=300, deadline=None)
@given(cases())
def test_average_precision_equals_scikit_learns(registry, case):
    scores, targets, weights = case
    ours = registry.metric("auprc").compute(scores, targets, weights)
    if classes(targets, weights)[0]:
        agree(ours, sklearn.average_precision_score(targets[:, 0], scores[:, 0], sample_weight=weights))
    else:
        assert np.isnan(ours).all()


@settings(max_examples=200, deadline=None)
@given(cases())
def test_decisions_equal_scikit_learns(registry, case):
    scores, targets, weights = case
    assume(weights is None or weights.sum() > 0)
    decisions = (scores >= 0.5).astype(float)
    theirs = {
        "f1": sklearn.f1_score(targets[:, 0], decisions[:, 0], sample_weight=weights, zero_division=np.nan),
        "sensitivity": sklearn.recall_score(
            targets[:, 0], decisions[:, 0], sample_weight=weights, zero_division=np.nan
        ),
        "specificity": sklearn.recall_score(
            targets[:, 0], decisions[:, 0], sample_weight=weights, pos_label=0, zero_division=np.nan
        ),
        "precision": sklearn.precision_score(
            targets[:, 0], decisions[:, 0], sample_weight=weights, zero_division=np.nan
        ),
        "npv": sklearn.precision_score(
            targets[:, 0], decisions[:, 0], sample_weight=weights, pos_label=0, zero_division=np.nan
        ),
    }
    for name, value in theirs.items():
        agree(registry.metric(name).compute(decisions, targets, weights), value)


@settings(max_examples=200, deadline=None)
@given(cases())
def test_brier_equals_scikit_learns(registry, case):
    scores, targets, weights = case
    assume(weights is None or weights.sum() > 0)
    ours = registry.metric("brier").compute(scores, targets, weights)
    agree(ours, sklearn.brier_score_loss(targets[:, 0], scores[:, 0], sample_weight=weights, labels=[0, 1]))


def plain_ece(scores, targets, weights):
    """Bin by bin, as the definition reads."""
    weights = np.ones(len(scores)) if weights is None else weights
    total = 0.0
    for low in range(15):
        inside = (scores >= low / 15) & ((scores < (low + 1) / 15) | (low == 14))
        if weights[inside].sum() > 0:
            gap = np.average(scores[inside], weights=weights[inside]) - np.average(
                targets[inside], weights=weights[inside]
            )
            total += weights[inside].sum() / weights.sum() * abs(gap)
    return total


@settings(max_examples=200, deadline=None)
@given(cases())
def test_ece_equals_its_definition(registry, case):
    scores, targets, weights = case
    assume(weights is None or weights.sum() > 0)
    agree(registry.metric("ece").compute(scores, targets, weights), plain_ece(scores[:, 0], targets[:, 0], weights))


NAMES = ["auroc", "auprc", "f1", "sensitivity", "specificity", "precision", "npv", "brier", "ece"]


@pytest.fixture
def batch():
    generator = np.random.default_rng(5)
    targets = (generator.random((200, 4)) < 0.3).astype(float)
    scores = np.clip(0.3 * targets + 0.5 * generator.random((200, 4)), 0, 1)
    return scores, targets


@pytest.mark.parametrize("name", NAMES)
def test_labels_do_not_influence_each_other_and_whole_weights_are_repetitions(registry, batch, name):
    metric = registry.metric(name)
    scores, targets = batch
    scores = (scores >= 0.5).astype(float) if metric.on == "decisions" else scores
    values = metric.compute(scores, targets, None)
    assert values.shape == (4,)
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(metric.compute(scores[:, order], targets[:, order], None), values[order], rtol=1e-14)
    counts = np.random.default_rng(1).integers(0, 3, 200)
    repeated = metric.compute(np.repeat(scores, counts, axis=0), np.repeat(targets, counts, axis=0), None)
    np.testing.assert_allclose(metric.compute(scores, targets, counts.astype(float)), repeated, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_perfect_beats_random_beats_inverted_in_the_declared_direction(registry, batch, name):
    metric = registry.metric(name)
    targets = batch[1]
    noise = np.random.default_rng(0).random(targets.shape)
    values = []
    for scores in (0.6 * targets + 0.4 * noise, noise, 0.6 * (1 - targets) + 0.4 * noise):
        given_scores = (scores >= 0.5).astype(float) if metric.on == "decisions" else scores
        values.append(metric.compute(given_scores, targets, None))
    sign = 1 if metric.higher_is_better else -1
    assert (sign * values[0] > sign * values[1]).all()
    assert (sign * values[1] > sign * values[2]).all()
    low, high = metric.range
    assert all((value >= low).all() and (value <= high).all() for value in values)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("count", "weight"), [(0, None), (5, 0.0)])
def test_nothing_to_measure_is_undefined(registry, name, count, weight):
    nothing = np.zeros((count, 2))
    weights = None if weight is None else np.full(count, weight)
    assert np.isnan(registry.metric(name).compute(nothing, nothing, weights)).all()


def test_predictive_values_are_undefined_where_nothing_or_everything_is_flagged(registry):
    targets = np.array([[0.0, 1.0], [1.0, 0.0]])
    nothing, everything = np.zeros((2, 2)), np.ones((2, 2))
    assert np.isnan(registry.metric("precision").compute(nothing, targets, None)).all()
    assert np.isnan(registry.metric("npv").compute(everything, targets, None)).all()
    assert registry.metric("precision").compute(everything, targets, None).tolist() == [0.5, 0.5]
    assert registry.metric("npv").compute(nothing, targets, None).tolist() == [0.5, 0.5]
