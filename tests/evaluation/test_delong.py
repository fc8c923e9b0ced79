"""DeLong's variances, intervals and tests are those of R's pROC."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from harness import DataError
from harness.evaluation.delong import compare_areas, estimate_covariance, find_interval

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "proc.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_everything_equals_proc(case):
    targets, a, b = (np.array(case[name], dtype=float) for name in ("targets", "a", "b"))
    areas, covariance = estimate_covariance(np.stack([a, b], axis=1), targets)
    for number, (scores, area) in enumerate(((a, case["first"]), (b, case["second"]))):
        assert areas[number] == pytest.approx(area["auc"], abs=1e-12)
        assert covariance[number, number] == pytest.approx(area["variance"], abs=1e-12)
        assert find_interval(scores, targets) == pytest.approx(area["interval"], abs=1e-9)
    assert covariance[0, 1] == pytest.approx(case["covariance"], abs=1e-12)
    test = compare_areas(a, b, targets)
    assert test.statistic == pytest.approx(case["z"], abs=1e-9)
    assert test.p == pytest.approx(case["p"], abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.sampled_from([2, 5, 1000]))
def test_areas_are_scikit_learns_and_systems_that_rank_alike_do_not_differ(seed, count, levels):
    generator = np.random.default_rng(seed)
    targets = np.append([0.0, 1.0, 0.0, 1.0], generator.integers(0, 2, count - 4))
    scores = generator.integers(0, levels, (count, 3)) / levels
    areas, covariance = estimate_covariance(scores, targets)
    np.testing.assert_allclose(areas, [roc_auc_score(targets, column) for column in scores.T], atol=1e-12)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
    same = compare_areas(scores[:, 0], 2 * scores[:, 0] - 1, targets)
    assert (same.delta, same.statistic, same.p) == (0, 0, 1)
    a, b, _ = scores.T
    there, back = compare_areas(a, b, targets), compare_areas(b, a, targets)
    assert there.p == pytest.approx(back.p)
    assert there.delta == -back.delta


def test_one_positive_has_an_area_and_no_variance():
    scores, targets = np.array([0.1, 0.9, 0.4]), np.array([0, 1, 0])
    assert find_interval(scores, targets) is None
    test = compare_areas(scores, -scores, targets)
    assert test.delta == 1
    assert math.isnan(test.p)


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1], [0, 1, np.nan]])
def test_a_missing_class_or_an_unknown_target_is_refused(targets):
    with pytest.raises(DataError, match="leave out unknown targets"):
        estimate_covariance(np.zeros((3, 1)), np.array(targets, dtype=float))
