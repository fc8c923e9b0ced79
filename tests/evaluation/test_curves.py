"""Curves are scikit-learn's, but for what an eye cannot tell apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import auc, confusion_matrix, precision_recall_curve, roc_auc_score, roc_curve

from harness.evaluation.curves import ACTIONS, POINTS, TOLERANCE, trace_net_benefit, trace_precision_recall, trace_roc


@st.composite
def cases(draw):
    """Scores (N,) with ties or none, targets (N,) with both classes and some unknown."""
    count = draw(st.sampled_from([3, 20, 400, 3000]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = (generator.random(count) < draw(st.sampled_from([0.02, 0.3, 0.9]))).astype(float)
    targets[:2] = [0, 1]
    scores = generator.normal(size=count) + draw(st.sampled_from([0.0, 1.0])) * targets
    targets[2:][generator.random(count - 2) < 0.1] = np.nan
    return np.round(scores, draw(st.sampled_from([0, 1, 9]))), targets


def farthest(x, y, curve):
    """The largest distance of points from the nearest stretch of a curve."""
    start, way = np.stack([curve.x, curve.y])[:, :-1], np.diff(np.stack([curve.x, curve.y]))
    offset = np.stack([x, y])[:, :, None] - start[:, None]
    along = np.clip((offset * way[:, None]).sum(axis=0) / np.maximum((way**2).sum(axis=0), 1e-300), 0, 1)
    return np.hypot(*(offset - along * way[:, None])).min(axis=1).max()


@settings(max_examples=60)
@given(cases())
def test_a_curve_is_as_near_to_scikit_learns_as_it_says_and_has_its_points(case):
    scores, targets = case
    known = ~np.isnan(targets)
    false, true, _ = roc_curve(targets[known], scores[known], drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(targets[known], scores[known])
    for curve, x, y in (
        (trace_roc(scores, targets), false, true),
        (trace_precision_recall(scores, targets), recall, precision),
    ):
        assert curve is not None
        assert len(curve.x) == len(curve.y) <= POINTS
        assert curve.distance <= TOLERANCE or len(curve.x) == POINTS
        assert farthest(x, y, curve) <= curve.distance + 1e-12
        assert {(a, b) for a, b in zip(curve.x.tolist(), curve.y.tolist(), strict=True)} <= {
            (a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)
        }
        assert (np.diff(curve.x) >= 0).all()
    roc = trace_roc(scores, targets)
    assert roc is not None
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)


def test_the_curve_of_a_large_test_set_keeps_its_area():
    generator = np.random.default_rng(0)
    targets = (generator.random(25_000) < 0.05).astype(float)
    scores = generator.normal(size=25_000) + 1.2 * targets
    roc, precision = trace_roc(scores, targets), trace_precision_recall(scores, targets)
    assert roc is not None
    assert precision is not None
    assert max(roc.distance, precision.distance) <= TOLERANCE
    assert auc(roc.x, roc.y) == pytest.approx(roc_auc_score(targets, scores), abs=TOLERANCE)


def test_a_straight_curve_has_its_two_ends():
    curve = trace_roc(np.zeros(10), np.array([0, 1] * 5))
    assert curve is not None
    assert (curve.x.tolist(), curve.y.tolist(), curve.distance) == ([0, 1], [0, 1], 0)


@pytest.mark.parametrize("targets", [[0, 0, np.nan], [1, 1, 1], [np.nan] * 3])
def test_a_label_without_a_class_or_with_a_score_that_is_no_number_has_no_curve(targets):
    assert trace_roc(np.zeros(3), np.array(targets)) is None
    assert trace_precision_recall(np.array([np.nan, 0, 1]), np.array([0, 1, 0])) is None


@settings(max_examples=20)
@given(cases())
def test_net_benefit_is_that_of_the_confusion_matrix_at_each_threshold(case):
    scores, targets = expit(case[0]), case[1]
    known = ~np.isnan(targets)
    found = trace_net_benefit(scores, targets)
    assert found is not None
    for place in range(0, len(ACTIONS), 7):
        threshold = ACTIONS[place]
        odds = threshold / (1 - threshold)
        for value, flagged in ((found.value, scores[known] >= threshold), (found.of_all, np.ones(known.sum()))):
            (_, false), (_, true) = confusion_matrix(targets[known], flagged, labels=[0, 1])
            assert value[place] == pytest.approx((true - false * odds) / known.sum(), abs=1e-12)


def test_net_benefit_at_a_threshold_of_a_half_is_the_share_of_finds_less_that_of_false_alarms():
    scores, targets = np.array([0.1, 0.5, 0.9, 0.6]), np.array([0.0, 1, 1, 0])
    found = trace_net_benefit(scores, targets)
    assert found is not None
    half = int(np.flatnonzero(found.threshold == 0.5)[0])
    assert (found.value[half], found.of_all[half]) == pytest.approx((1 / 4, 0))
    assert trace_net_benefit(scores, np.zeros(4)) is None
    assert trace_net_benefit(scores * np.nan, targets) is None
