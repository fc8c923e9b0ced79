"""Chosen intervals hold the truth about as often as they say; the ways that were not chosen do not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import intervals  # type: ignore[import-not-found]

LEAST = {"auroc": 0.90, "auprc": 0.88, "f1": 0.88, "brier": 0.90, "ece": 0.85}
"""What 150 test sets can resolve: two standard errors below 0.95, and what is wanted at least."""


@pytest.fixture(scope="module")
def small():
    """Metric and way -> whether each of 150 intervals of 60 patients held the truth."""
    metrics, population = intervals.load_metrics(), intervals.make_population(60, 5)
    truth, generator = intervals.find_truth(population, metrics), np.random.default_rng(1)
    found: dict[tuple[str, str], list[bool]] = {}
    for _ in range(150):
        for trial in intervals.run(population, truth, metrics, generator, intervals.WAYS, 200):
            found.setdefault((trial.metric, trial.way), []).append(trial.held)
    return {key: float(np.mean(held)) for key, held in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("metric", LEAST)
def test_the_chosen_interval_of_sixty_patients_holds_the_truth(small, metric):
    assert small[metric, "chosen"] >= LEAST[metric]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "way"),
    [("auprc", "percentile of counts"), ("ece", "percentile of counts"), ("ece", "percentile")],
)
def test_percentiles_would_miss_it(small, metric, way):
    assert small[metric, way] < 0.6


@pytest.mark.slow
def test_exponential_weights_would_make_auroc_too_narrow(small):
    assert small["auroc", "exponential weights"] < small["auroc", "chosen"]


@pytest.mark.slow
@pytest.mark.parametrize("rate", intervals.RATES[:6], ids=str)
def test_the_interval_of_a_sensitivity_holds_the_truth_or_is_none(rate):
    sensitivity, generator = intervals.load_registry().metric("sensitivity"), np.random.default_rng(1)
    trials = [intervals.run_rate(rate, sensitivity, generator, 200)[0] for _ in range(150)]
    known = [trial for trial in trials if trial.interval is not None]
    assert all(trial.interval[0] < trial.interval[1] for trial in known)
    assert np.mean([trial.held for trial in known]) >= 0.90


def test_what_is_true_is_what_a_large_sample_has():
    metrics, population = intervals.load_metrics(), intervals.make_population(60, 5)
    truth = intervals.find_truth(population, metrics)
    scores, targets, _ = population.draw(np.random.default_rng(0), 60_000)
    assert truth.values["auroc"] == pytest.approx(intervals.SKILL, abs=0.01)
    assert targets.mean(axis=0) == pytest.approx(intervals.PREVALENCE, rel=0.12)
    for name, tolerance in {"auroc": 0.02, "auprc": 0.02, "brier": 0.002, "ece": 0.003}.items():
        frequent = intervals.PREVALENCE > 0.01
        found = metrics[name].compute(scores[:, frequent], targets[:, frequent], None)
        assert found == pytest.approx(truth.values[name][frequent], abs=tolerance)
    thresholds = np.full(14, 0.2)
    decided = (scores >= thresholds).astype(float)
    common = intervals.PREVALENCE > 0.05
    assert metrics["f1"].compute(decided[:, common], targets[:, common], None) == pytest.approx(
        truth.f1(thresholds)[common], abs=0.02
    )
