"""Variances of AUROC over patients are those of the formulas as Obuchowski (1997) writes them, in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from harness import DataError
from harness.evaluation import delong
from harness.evaluation.clustered import compare_areas, estimate_areas, find_interval


def make_case(seed, patients=25, levels=1000):
    generator = np.random.default_rng(seed)
    of = np.append(np.arange(patients), generator.integers(0, patients, 3 * patients))
    targets = (generator.normal(size=patients)[of] + generator.normal(size=len(of)) > 0.5).astype(float)
    scores = generator.normal(size=(patients, 2))[of] + generator.normal(size=(len(of), 2)) + targets[:, None]
    return (scores * levels / 10).round() * 10 / levels, targets, np.array([f"p{n}" for n in of])


def loop(scores, targets, patients):
    """Areas, and the (co)variance of two systems, cluster by cluster and pair by pair."""
    names = sorted(set(patients))

    def above(x, y):
        return 1.0 if x > y else 0.5 if x == y else 0.0

    def placements(system):
        positives, negatives = scores[targets == 1, system], scores[targets == 0, system]
        area = np.mean([[above(x, y) for y in negatives] for x in positives])
        sick = dict.fromkeys(names, 0.0)
        well = dict(sick)
        for score, target, name in zip(scores[:, system], targets, patients, strict=True):
            if target == 1:
                sick[name] += np.mean([above(score, y) for y in negatives]) - area
            else:
                well[name] += np.mean([above(x, score) for x in positives]) - area
        return area, sick, well

    found = [placements(system) for system in range(scores.shape[1])]
    m, n, total = (targets == 1).sum(), (targets == 0).sum(), len(names)
    with_sick = len({name for name, target in zip(patients, targets, strict=True) if target == 1})
    with_well = len({name for name, target in zip(patients, targets, strict=True) if target == 0})
    covariance = np.empty((len(found), len(found)))
    for a, (_, sick, well) in enumerate(found):
        for b, (_, other_sick, other_well) in enumerate(found):
            s10 = with_sick / ((with_sick - 1) * m) * sum(sick[name] * other_sick[name] for name in names)
            s01 = with_well / ((with_well - 1) * n) * sum(well[name] * other_well[name] for name in names)
            s11 = total / (total - 1) * sum(sick[name] * other_well[name] for name in names)
            back = total / (total - 1) * sum(well[name] * other_sick[name] for name in names)
            covariance[a, b] = s10 / m + s01 / n + (s11 + back) / (m * n)
    return np.array([area for area, *_ in found]), covariance, min(with_sick, with_well) - 1


@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 1000]))
def test_areas_and_covariances_are_those_of_plain_loops(seed, levels):
    scores, targets, patients = make_case(seed, patients=12, levels=levels)
    areas, covariance, freedom = loop(scores, targets, patients)
    found = estimate_areas(scores, targets, patients)
    np.testing.assert_allclose(found.areas, areas, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
    assert found.freedom == freedom


def test_the_interval_is_students_on_the_logit_scale_and_the_test_students():
    scores, targets, patients = make_case(3)
    areas, covariance, freedom = loop(scores, targets, patients)
    reach = student(freedom).ppf(0.975) * math.sqrt(covariance[0, 0]) / (areas[0] * (1 - areas[0]))
    ends = [1 / (1 + math.exp(-(math.log(areas[0] / (1 - areas[0])) + sign * reach))) for sign in (-1, 1)]
    assert find_interval(scores[:, 0], targets, patients) == pytest.approx(ends)
    test = compare_areas(scores[:, 0], scores[:, 1], targets, patients)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert (test.delta, test.standard_error) == pytest.approx((areas[0] - areas[1], error))
    assert test.statistic == pytest.approx(test.delta / error)
    assert test.p == pytest.approx(2 * student(freedom).sf(abs(areas[0] - areas[1]) / error))
    assert compare_areas(scores[:, 0], 2 * scores[:, 0], targets, patients).p == 1


def test_with_one_image_a_patient_it_is_delongs():
    scores, targets, _ = make_case(4)
    alone = np.array([f"p{n}" for n in range(len(targets))])
    _, covariance = delong.estimate_covariance(scores, targets)
    np.testing.assert_allclose(estimate_areas(scores, targets, alone).covariance, covariance, atol=1e-12)


def test_one_patient_with_positives_has_an_area_and_no_interval():
    scores, targets, patients = np.array([0.1, 0.9, 0.8, 0.85]), np.array([0, 1, 1, 0]), np.array(["a", "b", "b", "c"])
    assert find_interval(scores, targets, patients) is None
    assert math.isnan(compare_areas(scores, -scores, targets, patients).p)
    with pytest.raises(DataError, match="leave out unknown targets"):
        estimate_areas(scores[:, None], np.array([0, 1, np.nan, 0]), patients)
