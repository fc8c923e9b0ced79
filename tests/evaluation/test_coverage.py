"""An interval of 95 % holds the truth 95 times in a hundred, where patients are drawn and not images."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from harness.evaluation.bootstrap import draw_resamples, resample
from harness.evaluation.intervals import find_interval
from harness.registry import Registry

SHIFT = 1.2
"""Between the mean scores of positives and negatives, whose variance is 1."""
SHARED = 0.7
"""Share of that variance which all images of a patient have in common."""


def simulate(sets: int, patients: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and targets (N, sets) of test sets that share their patients (N,), one to nine images each.

    A patient's target is that of all their images, and part of their score is.
    """
    generator = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), generator.integers(1, 10, patients))
    targets = (generator.random((patients, sets)) < 0.4)[of].astype(float)
    common = generator.normal(0, np.sqrt(SHARED), (patients, sets))[of]
    scores = SHIFT * targets + common + generator.normal(0, np.sqrt(1 - SHARED), targets.shape)
    return scores, targets, np.array([f"p{n:04}" for n in of])


def measure_coverage(registry: Registry, sets: int, resamples: int) -> tuple[float, float]:
    """Share of intervals that hold the true AUROC: patients resampled, and images.

    The truth is P(positive > negative) for images of different patients, Phi(shift / sqrt 2).
    """
    scores, targets, patients = simulate(sets)
    truth = NormalDist().cdf(SHIFT / np.sqrt(2))
    images = np.array([f"i{n:05}" for n in range(len(patients))])

    def cover(units: np.ndarray) -> float:
        resampling = draw_resamples(units, resamples, seed="coverage")
        values = resample(registry.metric("auroc"), scores, targets, units, resampling)
        estimates = registry.metric("auroc").compute(scores, targets, None)
        intervals = [find_interval(*pair) for pair in zip(estimates, values.T, strict=True)]
        return float(np.mean([interval is not None and interval[0] <= truth <= interval[1] for interval in intervals]))

    return cover(patients), cover(images)


def test_intervals_of_patients_hold_the_truth_as_often_as_they_say_and_those_of_images_do_not(registry):
    of_patients, of_images = measure_coverage(registry, sets=400, resamples=300)
    assert 0.92 <= of_patients <= 0.98
    assert of_images < 0.8


@pytest.mark.slow
def test_coverage_of_a_thousand_test_sets_is_within_two_points(registry, capsys):
    of_patients, of_images = measure_coverage(registry, sets=1_000, resamples=1_000)
    with capsys.disabled():
        print(f"\ncoverage of 95 % intervals: {of_patients:.1%} of patients, {of_images:.1%} of images")  # noqa: T201
    assert 0.93 <= of_patients <= 0.97
    assert of_images < 0.8
