"""One curve for several seeds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from harness.evaluation.curves import trace_precision_recall, trace_roc
from harness.report.figures.averaging import average_curves


@pytest.fixture
def seeds() -> tuple[np.ndarray, np.ndarray]:
    """Scores of three seeds (3, N) on the same targets (N,)."""
    generator = np.random.default_rng(3)
    targets = (generator.random(900) < 0.2).astype(float)
    return generator.normal(size=(3, 900)) + targets, targets


def trace(function, scores, targets) -> np.ndarray:
    curve = function(scores, targets)
    return np.stack([curve.x, curve.y])


def test_the_area_under_the_mean_roc_curve_is_the_mean_area(seeds):
    scores, targets = seeds
    mean = average_curves("roc", [trace(trace_roc, one, targets) for one in scores])
    areas = [roc_auc_score(targets, one) for one in scores]
    assert auc(*mean) == pytest.approx(np.mean(areas), abs=0.003)
    assert (mean[0, 0], mean[1, 0], mean[0, -1], mean[1, -1]) == (0, 0, 1, 1)


def test_precision_is_averaged_at_equal_recall(seeds):
    scores, targets = seeds
    mean = average_curves("pr", [trace(trace_precision_recall, one, targets) for one in scores])
    for recall in (0.25, 0.5, 0.75):
        at = [np.sort(one[targets == 1])[::-1][round(recall * targets.sum()) - 1] for one in scores]
        precision = [targets[one >= threshold].mean() for one, threshold in zip(scores, at, strict=True)]
        assert np.interp(recall, *mean) == pytest.approx(np.mean(precision), abs=0.02)


def test_bins_of_a_reliability_diagram_are_pooled_over_images():
    first = np.array([[0.01, 0.5], [0.0, 0.4], [90.0, 10.0]])
    second = np.array([[0.03, 0.97], [0.1, 1.0], [30.0, 70.0]])
    score, share, count = average_curves("reliability", [first, second])
    np.testing.assert_allclose(count, [120, 10, 70])
    np.testing.assert_allclose(score, [0.015, 0.5, 0.97])
    np.testing.assert_allclose(share, [0.025, 0.4, 1.0])


def test_net_benefit_is_averaged_at_each_threshold_and_one_seed_is_itself():
    first, second = np.array([[0.1, 0.2], [0.3, 0.1], [0.2, 0.0]]), np.array([[0.1, 0.2], [0.5, 0.3], [0.2, 0.0]])
    np.testing.assert_allclose(average_curves("benefit", [first, second]), [[0.1, 0.2], [0.4, 0.2], [0.2, 0.0]])
    assert average_curves("roc", [first]) is first
