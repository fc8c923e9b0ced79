"""Intervals hold their value, are what their formulas say, and are made at once as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.components import METHODS
from harness.evaluation import intervals
from harness.evaluation.intervals import explain_absence, find_intervals


def find_interval(value, resamples, method="percentile", level=0.95):
    return intervals.find_interval(value, resamples, method, level)


def draw(seed, count=200):
    generator = np.random.default_rng(seed)
    value = generator.uniform(0.02, 0.98)
    return value, np.clip(value + generator.normal(generator.normal(0, 0.05), 0.03, count), 0.001, 0.999)


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(METHODS)))
def test_an_interval_holds_its_value_and_stays_in_its_range(seed, method):
    value, resamples = draw(seed)
    assume(np.ptp(resamples) > 0)  # one drawn far below the range is clipped to a single value, which has no interval
    low, high = find_interval(value, resamples, method)
    assert 0 <= low <= value <= high <= 1


def test_percentiles_are_the_middle_of_the_resamples():
    values = np.arange(1001) / 1000
    assert find_interval(0.5, values) == pytest.approx((0.025, 0.975))
    assert find_interval(0.5, values, level=0.5) == pytest.approx((0.25, 0.75))
    assert find_interval(0.99, values) == pytest.approx((0.025, 0.99))


def test_on_the_logit_scale_it_reaches_as_far_as_percentiles_the_value_and_the_value_without_bias():
    value, resamples = draw(1)
    logits, center = np.log(resamples / (1 - resamples)), np.log(value / (1 - value))
    reach, without_bias = 1.959964 * logits.std(ddof=1), 2 * center - logits.mean()
    low, high = (
        1 / (1 + np.exp(-end)) for end in (min(center, without_bias) - reach, max(center, without_bias) + reach)
    )
    lowest, highest = find_interval(value, resamples)
    assert lowest > low
    assert highest > high
    assert find_interval(value, resamples, "logit") == pytest.approx((low, highest), abs=1e-6)


def test_on_squares_a_value_that_noise_has_lifted_reaches_down_to_zero():
    generator = np.random.default_rng(0)
    value = 0.05  # as far above nothing as resamples are above it
    resamples = np.sqrt(2) * value + generator.normal(0, 0.005, 400)
    low, high = find_interval(value, resamples, "squared")
    assert low == 0
    squares = resamples**2
    assert high == pytest.approx(np.sqrt(value**2 + 1.959964 * squares.std(ddof=1)), abs=1e-6)
    assert find_interval(value, resamples)[0] == value  # percentiles lie above


@pytest.mark.parametrize("method", METHODS)
def test_too_much_that_is_undefined_gives_none(method):
    value, resamples = draw(2, 1_000)
    resamples[:50] = np.nan
    assert find_interval(value, resamples, method) == find_interval(value, resamples[50:], method)
    resamples[:51] = np.nan
    assert find_interval(value, resamples, method) is None
    assert find_interval(np.nan, resamples[51:], method) is None


def test_resamples_at_an_end_are_by_percentiles_on_the_logit_scale():
    resamples = np.append(np.linspace(0.9, 1, 199), 1)
    assert find_interval(0.97, resamples, "logit") == find_interval(0.97, resamples)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_resamples_that_all_have_one_value_give_none(method, value):
    resamples = np.full(200, value)
    resamples[3] += 1e-16  # rounding is no chance
    assert find_interval(value, resamples, method) is None
    resamples[:5] = np.nan
    assert find_interval(value, resamples, method) is None


def test_near_an_end_it_reaches_little_farther_than_the_resamples():
    generator = np.random.default_rng(0)
    weights = 2.5 * generator.beta(0.2, 0.3, (1_000, 1_500))  # one of 1,500 images is found
    resamples = weights[:, 0] / weights.sum(axis=1)
    low, high = find_interval(1 / 1_500, resamples, "logit")
    assert 0 < low < 1 / 1_500
    assert resamples.max() < high < 2 * resamples.max()


def test_many_at_once_are_those_of_each():
    cases = [draw(seed) for seed in range(9)]
    methods = sorted(METHODS) * 3
    values, resamples = np.array([value for value, _ in cases]), np.array([drawn for _, drawn in cases])
    resamples[2, :5] = resamples[4, :] = resamples[7, :8] = np.nan
    found = find_intervals(values, resamples, methods)
    assert found[4] is None
    for one, *given_one in zip(found, values, resamples, methods, strict=True):
        assert one == (None if one is None else pytest.approx(find_interval(*given_one), abs=1e-12))


def test_a_reason_names_what_is_too_few():
    patients = np.array([f"p{n:02}" for n in range(40)])
    targets = np.zeros((40, 6))
    targets[:2, :4], targets[:20, 4], targets[1:, 5] = 1, 1, 1
    lacking = np.full(200, np.nan)
    why = explain_absence(list("abcdef"), targets, patients, lacking)
    assert why == (
        "an interval needs 3 patients who have each label and 3 who lack it: 2 have a, 2 have b, 2 have c and so on "
        "for 2 more labels"
    )
    assert explain_absence(["f"], targets[:, 5:], patients, lacking).endswith("1 lacks f")
    assert explain_absence(["e"], targets[:, 4:5], patients, lacking) == "more than 5% of the resamples have no value"
    assert explain_absence(["e"], targets[:, 4:5], patients, np.ones(200)) == (
        "all resamples have the same value, so that they do not tell how far chance may move it"
    )
    assert explain_absence(["e"], targets[:9, 4:5], patients[:9], lacking) == (
        "9 patients are too few for an interval, which needs 10"
    )
