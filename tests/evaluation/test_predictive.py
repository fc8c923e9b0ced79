"""Predictive values follow from Bayes' theorem, as counting patients would have it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UnknownNameError, UsageError
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.predictions import Predictions
from harness.evaluation.predictive import apply_bayes


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_at_the_prevalence_of_a_table_they_are_the_shares_of_its_rows(true, missed, false, passed):
    sensitivity, specificity = true / (true + missed), passed / (passed + false)
    prevalence = (true + missed) / (true + missed + false + passed)
    ppv, npv = apply_bayes(np.array([sensitivity]), np.array([specificity]), prevalence)
    assert npv[0] == pytest.approx(passed / (passed + missed))
    if true + false:
        assert ppv[0] == pytest.approx(true / (true + false))
    else:
        assert np.isnan(ppv[0])


def test_the_textbooks_mammography():
    """Eddy 1982: 1 % ill, sensitivity 0.8, one false alarm in ten: 7.5 % of who is flagged is ill."""
    ppv, _ = apply_bayes(np.array([0.8]), np.array([0.904]), 0.01)
    assert ppv[0] == pytest.approx(0.0776, abs=1e-4)


def make_predictions(seed: int, count: int = 400) -> Predictions:
    generator = np.random.default_rng(seed)
    targets = (generator.random((count, 2)) < [0.4, 0.2]).astype(np.float32)
    logits = (generator.normal(size=targets.shape) + 2 * targets - 1).astype(np.float32)
    names = np.array([f"i{n}" for n in range(count)])
    return Predictions(
        labels=("a", "b"),
        image=names,
        patient=np.array([f"p{n // 2}" for n in range(count)]),
        logits=logits,
        targets=targets,
    )


@pytest.fixture
def protocol(registry):
    metrics = tuple(registry.metric(name) for name in ("sensitivity", "specificity", "precision", "npv"))
    return Protocol(
        metrics=metrics, names=("sensitivity@val-spec0.9",), objective="sensitivity@val-spec0.9", resamples=200
    )


def test_at_the_tests_own_prevalence_they_are_precision_and_npv(protocol):
    test, val = make_predictions(0), make_predictions(1)
    own = float(test.targets[:, 1].mean())
    found = evaluate(test, val, replace(protocol, prevalence={"b": own}))
    assert found.predictive is not None
    assert set(found.predictive) == set(found.thresholds)
    for policy, parts in found.predictive.items():
        assert list(parts) == ["b"]
        assert parts["b"].ppv == pytest.approx(found.metrics[f"precision@{policy}"].per_label["b"].value)
        assert parts["b"].npv == pytest.approx(found.metrics[f"npv@{policy}"].per_label["b"].value)


def test_at_a_lower_prevalence_fewer_alarms_are_right_and_the_interval_is_that_of_the_resamples(protocol):
    test, val = make_predictions(0), make_predictions(1)
    found = evaluate(test, val, replace(protocol, prevalence={"a": 0.05}))
    assert found.predictive is not None
    part = found.predictive["val-spec0.9"]["a"]
    sensitivity, specificity = (
        found.metrics[f"{rate}@val-spec0.9"].per_label["a"] for rate in ("sensitivity", "specificity")
    )
    assert sensitivity.value is not None
    assert specificity.value is not None
    flagged = sensitivity.value * 0.05 + (1 - specificity.value) * 0.95
    assert part.ppv == pytest.approx(sensitivity.value * 0.05 / flagged)
    assert part.ppv_interval is not None
    assert part.npv_interval is not None
    assert part.npv is not None
    assert part.ppv is not None
    assert part.ppv_interval[0] < part.ppv < part.ppv_interval[1]
    assert part.npv_interval[0] < part.npv < part.npv_interval[1]
    precision = found.metrics["precision@val-spec0.9"].per_label["a"].value
    assert precision is not None
    assert part.ppv < precision


def test_a_predictive_value_that_no_resample_moves_has_no_interval(protocol):
    test = make_predictions(0)
    test.logits[:] = -9  # nobody is flagged
    found = evaluate(test, test, replace(protocol, prevalence={"a": 0.05})).predictive
    assert found is not None
    part = found["0.5"]["a"]
    assert part.npv == pytest.approx(0.95)
    assert part.npv_interval is None


def test_without_a_prevalence_there_are_none_and_a_wrong_one_is_refused(protocol):
    test = make_predictions(0)
    assert evaluate(test, test, protocol).predictive is None
    with pytest.raises(UnknownNameError, match="label with a prevalence 'c'"):
        evaluate(test, test, replace(protocol, prevalence={"c": 0.1}))
    for share in (0, 1, -0.1, True, "much"):
        with pytest.raises(UsageError, match="must lie between 0 and 1"):
            evaluate(test, test, replace(protocol, prevalence={"a": share}))
