"""p-values, intervals and what could be seen, against scipy's own tests and plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, norm, t, ttest_ind, ttest_ind_from_stats

from harness.evaluation.significance import adjust_holm, combine, find_detectable, one_sided, two_sided


def test_two_rows_of_one_variance_are_tested_as_student_does():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0, 1, (2, 4))
    pooled = np.array([(a.var(ddof=1) + b.var(ddof=1)) / 2])
    error, freedom = combine(np.zeros(1), (pooled / 4, np.array([6.0])), (pooled / 4, np.array([6.0])))
    p = two_sided(np.array([a.mean() - b.mean()]), error, freedom)
    assert p[0] == pytest.approx(ttest_ind(a, b).pvalue, rel=1e-12)


def test_two_variances_give_welchs_t_with_fewer_degrees_of_freedom():
    parts = [(np.array([4.0 / 3]), np.array([2.0])), (np.array([1.0 / 5]), np.array([4.0]))]
    error, freedom = combine(np.zeros(1), *parts)
    welch = ttest_ind_from_stats(3.0, 2.0, 3, 0.0, 1.0, 5, equal_var=False)
    assert 3.0 / error[0] == pytest.approx(welch.statistic)
    shares = np.array([4.0 / 3, 1.0 / 5]) / (4.0 / 3 + 1.0 / 5)
    assert freedom[0] == pytest.approx(1 / (shares[0] / 2 + shares[1] / 4))
    satterthwaite = 1 / (shares[0] ** 2 / 2 + shares[1] ** 2 / 4)
    assert freedom[0] < satterthwaite
    assert two_sided(np.array([3.0]), error, freedom)[0] > welch.pvalue
    # the first order of the critical value of Cochran and Cox, a mean of both quantiles weighted by the shares
    many = [(part, known * 1000) for part, known in parts]
    mean = sum(share * t.ppf(0.975, known[0]) for share, (_, known) in zip(shares, many, strict=True))
    assert t.ppf(0.975, combine(np.zeros(1), *many)[1][0]) == pytest.approx(mean, abs=1e-6)


def test_patients_alone_are_normal_and_nothing_that_varies_is_certain():
    error, freedom = combine(np.array([4.0, 0.0, 0.0]))
    assert np.isinf(freedom).all()
    p = two_sided(np.array([5.0, 0.0, 1.0]), error, freedom)
    assert p.tolist() == pytest.approx([2 * norm.sf(2.5), 1.0, 0.0], rel=1e-6)
    assert math.isnan(two_sided(np.ones(1), np.array([np.nan]), np.ones(1))[0])


def test_one_sided_is_small_where_the_difference_is_far_above():
    p = one_sided(np.array([2.0, 0.0, -2.0]), np.ones(3), np.full(3, 5.0))
    assert p.tolist() == pytest.approx(t.sf([2.0, 0.0, -2.0], 5).tolist())


@pytest.mark.parametrize("freedom", [4.0, 10.0, 60.0])
def test_what_is_called_detectable_is_found_four_times_out_of_five(freedom):
    found = find_detectable(np.array([0.01]), np.array([freedom]))[0]
    limit = t.ppf(0.975, freedom)
    assert nct.sf(limit, freedom, found / 0.01) == pytest.approx(0.8, abs=0.025)


def test_more_tests_need_a_larger_difference():
    sizes = [find_detectable(np.array([1.0]), np.array([20.0]), tests)[0] for tests in (1, 6, 28)]
    assert sizes == sorted(sizes)
    assert sizes[1] == pytest.approx(t.ppf(1 - 0.025 / 6, 20) + t.ppf(0.8, 20))


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_holm_is_its_definition(values):
    p = np.array(values, dtype=float)
    defined = sorted(value for value in values if not math.isnan(value))
    for value, adjusted in zip(values, adjust_holm(p), strict=True):
        steps = [min(1, (len(defined) - i) * smaller) for i, smaller in enumerate(defined) if smaller <= value]
        assert math.isnan(adjusted) if math.isnan(value) else adjusted == pytest.approx(max(steps))


def test_what_was_picked_from_more_tests_is_adjusted_for_all_of_them():
    p = np.array([0.01, 0.02, np.nan])
    assert adjust_holm(p, 10)[:2].tolist() == pytest.approx([0.1, 0.18])
