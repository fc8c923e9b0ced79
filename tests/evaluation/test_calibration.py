"""Calibration as scikit-learn and SciPy find it, and finite where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from harness.evaluation.calibration import (
    TEMPERATURES,
    Calibration,
    decompose_brier,
    describe_reliability,
    fit_platt,
    fit_temperature,
    fit_test,
    follow,
)

SEEDS = st.integers(0, 2**32 - 1)


def make_logits(seed, count=300, slope=3.0):
    """Overconfident logits (N, 2) float32 of two labels that overlap, targets (N, 2)."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(-1, 1.5, (count, 2))
    targets = (generator.random((count, 2)) < expit(truth)).astype(np.float32)
    return (slope * truth + 1 + generator.normal(0, 1, truth.shape)).astype(np.float32), targets


@settings(max_examples=30)
@given(SEEDS)
def test_platt_is_scikit_learns_logistic_regression(seed):
    logits, targets = make_logits(seed)
    found = fit_platt(logits, targets)
    for label in range(2):
        theirs = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(
            logits[:, label, None].astype(float), targets[:, label]
        )
        assert found.slope[label] == pytest.approx(theirs.coef_[0, 0], rel=1e-8)
        assert found.intercept[label] == pytest.approx(theirs.intercept_[0], rel=1e-8, abs=1e-8)


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.2, 1.0, 8.0]))
def test_the_temperature_has_the_lowest_log_loss(seed, slope):
    logits, targets = make_logits(seed, slope=slope)
    found = fit_temperature(logits, targets)
    assert (found.intercept == 0).all()
    for label, (z, y) in enumerate(zip(logits.T.astype(float), targets.T, strict=True)):

        def loss(log, z=z, y=y):
            return (np.logaddexp(0, z / np.exp(log)) - y * z / np.exp(log)).mean()

        theirs = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-10})
        assert 1 / found.slope[label] == pytest.approx(np.exp(theirs.x), rel=1e-5)


@pytest.mark.parametrize("fit", [fit_temperature, fit_platt])
def test_calibration_lowers_the_log_loss_of_what_it_was_fitted_on(fit):
    logits, targets = make_logits(0)
    calibrated = expit(fit(logits, targets).apply(logits))
    for label in range(2):
        before, after = (log_loss(targets[:, label], p[:, label]) for p in (expit(logits.astype(float)), calibrated))
        assert after < before


@pytest.mark.parametrize("sign", [1, -1])
def test_classes_that_a_threshold_separates_have_finite_calibrations(sign):
    logits = np.linspace(-5, 5, 40)[:, None]
    targets = (sign * logits > 0).astype(float)
    temperature, platt = fit_temperature(logits, targets), fit_platt(logits, targets)
    assert 1 / temperature.slope[0] == pytest.approx(TEMPERATURES[0] if sign == 1 else TEMPERATURES[1])
    assert np.isfinite([platt.slope[0], platt.intercept[0]]).all()
    assert sign * platt.slope[0] > 0
    chances = expit(platt.apply(logits))
    assert ((chances > 0.5) == (targets == 1)).all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_logits_of_any_size_are_calibrated(size):
    logits, targets = make_logits(1)
    platt = fit_platt(logits, targets)
    other = fit_platt(size * logits.astype(float), targets)
    np.testing.assert_allclose(other.slope * size, platt.slope, rtol=1e-6)
    np.testing.assert_allclose(other.intercept, platt.intercept, rtol=1e-6)


def test_constant_logits_give_the_prevalence():
    targets = np.array([[1], [0], [0], [0]])
    found = fit_platt(np.full((4, 1), 2.0), targets.astype(float))
    assert np.isfinite(found.slope).all()
    calibrated = expit(found.apply(np.full((1, 1), 2.0)))
    assert 0.2 < calibrated[0, 0] < 0.4


def test_a_label_without_a_class_or_with_a_score_that_is_no_number_has_no_calibration():
    logits, targets = make_logits(2)
    logits, targets = np.tile(logits, 2), np.tile(targets, 2)
    targets[:, 1] = 0
    logits[3, 2] = np.nan
    logits[4, 3], targets[4, 3] = np.nan, np.nan
    for fit in (fit_temperature, fit_platt):
        found = fit(logits, targets)
        np.testing.assert_array_equal(np.isnan(found.slope), [False, True, True, False])
        np.testing.assert_array_equal(np.isnan(found.intercept), [False, True, True, False])
        assert np.isnan(found.apply(logits)[:, 1]).all()


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 80), st.sampled_from([4, 1000]))
def test_the_parts_of_the_brier_score_add_up(seed, count, levels):
    generator = np.random.default_rng(seed)
    scores, targets = generator.integers(0, levels + 1, count) / levels, generator.integers(0, 2, count).astype(float)
    parts = decompose_brier(scores, targets)
    assert parts.score == pytest.approx(brier_score_loss(targets, scores), abs=1e-12)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= 0


def test_scores_of_one_value_a_bin_add_nothing_within():
    scores = np.array([0.1, 0.1, 0.5, 0.5, 0.5, 0.9])
    parts = decompose_brier(scores, np.array([0, 1, 1, 0, 1, 1.0]))
    assert parts.within == pytest.approx(0, abs=1e-15)
    assert parts.reliability == pytest.approx((2 * 0.4**2 + 3 * (1 / 6) ** 2 + 0.1**2) / 6)


def test_bins_are_scikit_learns_and_their_error_the_metrics(registry):
    generator = np.random.default_rng(0)
    scores = generator.random(500)
    targets = (generator.random(500) < scores**2).astype(float)
    found = describe_reliability(scores, targets)
    share, score = calibration_curve(targets, scores, n_bins=15)
    np.testing.assert_allclose(found.share, share, atol=1e-12)
    np.testing.assert_allclose(found.score, score, atol=1e-12)
    assert found.count.sum() == 500
    assert found.error == pytest.approx(registry.metric("ece").compute(scores[:, None], targets[:, None], None)[0])


def test_bins_of_equal_mass_hold_the_same_number_and_equal_scores_stay_together():
    generator = np.random.default_rng(0)
    found = describe_reliability(generator.permutation(150) / 150, np.zeros(150), spacing="mass")
    assert found.count.tolist() == [10] * 15
    _, score = calibration_curve(np.zeros(150), generator.permutation(150) / 150, n_bins=15, strategy="quantile")
    np.testing.assert_allclose(found.score, score, atol=1e-12)
    scores, targets = np.array([0.2] * 50 + [0.7] * 50), np.arange(100) % 2 * 1.0
    tied = describe_reliability(scores, targets, spacing="mass")
    assert tied.count.tolist() == [50, 50]
    assert tied.error == pytest.approx(0.25)


@settings(max_examples=20)
@given(SEEDS)
def test_the_order_of_images_changes_no_bit(seed):
    generator = np.random.default_rng(seed)
    scores, targets, order = generator.random(90), generator.integers(0, 2, 90).astype(float), generator.permutation(90)
    targets[generator.random(90) < 0.2] = np.nan
    assert decompose_brier(scores, targets) == decompose_brier(scores[order], targets[order])
    here, there = describe_reliability(scores, targets), describe_reliability(scores[order], targets[order])
    np.testing.assert_array_equal(here.score, there.score)
    np.testing.assert_array_equal(here.share, there.share)


def test_nothing_known_is_undefined():
    nothing = np.full(3, np.nan)
    assert np.isnan(describe_reliability(np.zeros(3), nothing).error)
    assert np.isnan(decompose_brier(np.zeros(3), nothing).score)


# --- on the test -----------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(SEEDS)
def test_slope_and_intercept_on_the_test_are_scikit_learns_logistic_regression(seed):
    logits, targets = make_logits(seed)
    val_logits, val_targets = make_logits(seed + 1)
    unchanged = Calibration(np.ones(2), np.zeros(2))
    for fitted in (unchanged, fit_temperature(val_logits, val_targets), fit_platt(val_logits, val_targets)):
        found = follow(fit_test(logits, targets), fitted)
        calibrated = fitted.apply(logits)
        for label in range(2):
            theirs = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(
                calibrated[:, label, None], targets[:, label]
            )
            assert found.slope[label] == pytest.approx(theirs.coef_[0, 0], rel=1e-6)
            assert found.intercept[label] == pytest.approx(theirs.intercept_[0], abs=1e-6)


def test_scores_that_are_probabilities_have_slope_1_and_intercept_0():
    generator = np.random.default_rng(0)
    logits = generator.normal(-1, 2, (200_000, 1))
    targets = (generator.random(logits.shape) < expit(logits)).astype(np.float32)
    found = fit_test(logits, targets)
    assert found.slope[0] == pytest.approx(1, abs=0.02)
    assert found.intercept[0] == pytest.approx(0, abs=0.02)


def test_the_test_fit_is_undefined_where_it_has_no_end():
    logits = np.array([[-1.0, 1, 0.5, 3], [0, 2, 0.5, np.nan], [1, 3, 0.5, 3], [2, 4, 0.5, 1]])
    targets = np.array([[0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1], [1, 0, 1, 0]], dtype=np.float32)
    targets[:, 1] = 0  # no positive
    found = fit_test(logits, targets)  # apart, a class missing, all the same, not a number
    assert np.isnan(found.slope).all()
    assert np.isnan(found.intercept).all()
    ties = np.array([[0.0], [1], [1], [2]])
    assert np.isnan(fit_test(ties, np.array([[0], [0], [1], [1]], dtype=np.float32)).slope).all()
    flat = Calibration(np.array([0.0, np.nan]), np.zeros(2))
    assert np.isnan(follow(Calibration(np.ones(2), np.ones(2)), flat).slope).all()
