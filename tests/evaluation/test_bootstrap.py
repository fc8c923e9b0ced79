"""Resampled patients: the values of a plain loop, in any order, and no interval where there is nothing to resample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from harness import DataError, Metric, UsageError
from harness.errors import PluginError
from harness.evaluation.bootstrap import (
    average_labels,
    average_seeds,
    draw_resamples,
    resample,
)
from harness.evaluation.intervals import find_interval


def make_case(seed=0, count=120, unknown=0.2):
    """Scores with ties, targets with unknown ones (N, 3), patients of one to five images (N,)."""
    generator = np.random.default_rng(seed)
    patients = np.array([f"p{n}" for n in generator.integers(0, count // 3, count)])
    targets = (generator.random((count, 3)) < [0.5, 0.2, 0.03]).astype(float)
    targets[generator.random(targets.shape) < unknown] = np.nan
    scores = np.round(np.clip(generator.normal(0.4, 0.2, targets.shape) + 0.1 * np.nan_to_num(targets), 0, 1), 2)
    return scores, targets, patients


def loop(value, scores, targets, patients, resampling):
    """Resample by resample and label by label, of labels that three patients have and three lack."""
    found = np.full((len(resampling.weights), targets.shape[1]), np.nan)
    enough = [all(len(set(patients[column == kind])) >= 3 for kind in (0, 1)) for column in targets.T]
    for number, drawn in enumerate(resampling.weights):
        weights = drawn[np.searchsorted(resampling.patients, patients)]
        for label in np.flatnonzero(enough):
            rows = ~np.isnan(targets[:, label])
            truth, score = targets[rows, label], scores[rows, label]
            found[number, label] = value(truth, score, sample_weight=weights[rows] / 100)
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [("auroc", roc_auc_score), ("auprc", average_precision_score), ("brier", brier_score_loss), ("f1", f1_score)],
)
@pytest.mark.parametrize("seed", [0, 3])
def test_a_resample_has_the_value_of_a_plain_loop(registry, name, value, seed):
    scores, targets, patients = make_case(seed)
    scores = (scores >= 0.4).astype(float) if name == "f1" else scores
    resampling = draw_resamples(patients, 150, seed="a")
    ours = resample(registry.metric(name), scores, targets, patients, resampling)
    theirs = loop(value, scores, targets, patients, resampling)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["auroc", "auprc", "f1", "brier", "ece"])
def test_with_weights_and_fast_are_two_ways_to_the_same_values(registry, name):
    scores, targets, patients = make_case(1)
    metric = registry.metric(name)
    given_scores = (scores >= 0.5).astype(float) if metric.on == "decisions" else scores
    resampling = draw_resamples(patients, 70, seed="a")
    fast = resample(metric, given_scores, targets, patients, resampling)
    weighted = resample(replace(metric, batched=None), given_scores, targets, patients, resampling)
    np.testing.assert_allclose(fast, weighted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["auroc", "f1", "brier"])
def test_a_metric_without_weights_is_computed_of_rows_repeated_by_counts(registry, name):
    scores, targets, patients = make_case(1, unknown=0)
    metric = registry.metric(name)
    given_scores = (scores >= 0.5).astype(float) if metric.on == "decisions" else scores
    resampling = draw_resamples(patients, 30, seed="a")
    assert (resampling.counts.sum(axis=1) == len(resampling.patients)).all()
    deaf = replace(metric, batched=None, weighted=False, compute=lambda s, t, w: metric.compute(s, t, None))
    repeated = resample(deaf, given_scores, targets, patients, resampling)
    for number, counts in enumerate(resampling.counts):
        expected = metric.compute(given_scores, targets, counts[resampling.locate(patients)].astype(float))
        lacks = (counts[resampling.locate(patients)] @ targets) == 0
        np.testing.assert_allclose(repeated[number], np.where(lacks, np.nan, expected), rtol=1e-12, atol=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["auroc", "auprc", "f1", "brier", "ece"]))
def test_the_order_of_images_and_labels_and_the_threads_change_no_bit(registry, seed, name):
    scores, targets, patients = make_case(seed)
    generator = np.random.default_rng(seed)
    scores = generator.random(scores.shape)
    metric = registry.metric(name)
    scores = (scores >= 0.5).astype(float) if metric.on == "decisions" else scores
    rows, columns = generator.permutation(len(scores)), generator.permutation(3)
    here = draw_resamples(patients, 65, seed="s")
    there = draw_resamples(patients[rows], 65, seed="s")
    np.testing.assert_array_equal(here.weights, there.weights)
    np.testing.assert_array_equal(here.counts, there.counts)
    ours = resample(metric, scores, targets, patients, here, workers=1)
    theirs = resample(metric, scores[rows][:, columns], targets[rows][:, columns], patients[rows], there, workers=3)
    np.testing.assert_array_equal(ours[:, columns], theirs)
    np.testing.assert_array_equal(average_labels(ours), average_labels(theirs))


def test_resamples_depend_on_the_seed_and_begin_alike_however_many_follow():
    patients = np.array(["b", "a", "c", "a"])
    few, many = draw_resamples(patients, 5, seed="x"), draw_resamples(patients, 500, seed="x")
    assert few.patients.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(few.weights, many.weights[:5])
    np.testing.assert_array_equal(few.counts, many.counts[:5])
    assert (draw_resamples(patients, 500, seed="y").weights != many.weights).any()
    # stored results rest on these draws
    assert few.weights.tolist() == RECORDED
    assert few.counts.tolist() == RECORDED_COUNTS


RECORDED = [[250, 3, 10], [187, 40, 1], [44, 41, 137], [8, 1, 249], [204, 1, 1]]
RECORDED_COUNTS = [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 0, 2], [0, 2, 1]]


def test_weights_are_never_zero_and_have_mean_one_variance_one_and_the_skewness_that_is_said():
    patients = np.array([f"p{n}" for n in range(400)])
    weights = draw_resamples(patients, 1_000, seed="s").weights / 100
    assert weights.min() == 0.01
    assert weights.max() == 2.5
    centered = weights - weights.mean()
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert (centered**2).mean() == pytest.approx(1, abs=0.01)
    assert (centered**3).mean() == pytest.approx(0.4, abs=0.01)
    for limit in (0.25, 0.5, 1, 1.5, 2):
        assert (weights <= limit).mean() == pytest.approx(beta(0.2, 0.3).cdf((limit + 0.005) / 2.5), abs=0.003)


def test_a_label_keeps_its_value_in_every_resample_however_few_carry_it(registry):
    patients = np.repeat([f"p{n:02}" for n in range(40)], 2)
    generator = np.random.default_rng(0)
    targets, scores = np.zeros((80, 2)), generator.random((80, 2))
    targets[:6, 0], targets[:30, 1] = 1, 1  # three patients, and fifteen
    values = resample(registry.metric("auroc"), scores, targets, patients, draw_resamples(patients, 2_000, seed="s"))
    assert not np.isnan(values).any()


@pytest.mark.parametrize("kind", [0, 1])
def test_a_label_that_two_patients_have_or_lack_is_not_resampled_nor_is_a_mean_with_it(registry, kind):
    patients = np.repeat([f"p{n:02}" for n in range(20)], 2)
    targets, scores = np.full((40, 2), 1.0 - kind), np.random.default_rng(0).random((40, 2))
    targets[:4, 0], targets[:10, 1] = kind, kind
    values = resample(registry.metric("auroc"), scores, targets, patients, draw_resamples(patients, 400, seed="s"))
    assert np.isnan(values[:, 0]).all()
    assert not np.isnan(values[:, 1]).any()
    assert find_interval(0.5, values[:, 0]) is None
    assert find_interval(0.5, average_labels(values, np.array([True, True]))) is None
    assert find_interval(0.5, average_labels(values, np.array([False, True]))) is not None


def test_nine_patients_have_no_resamples_and_ten_do(registry):
    for count in (9, 10):
        patients = np.repeat([f"p{n:02}" for n in range(count)], 4)
        targets, scores = (np.arange(4 * count) // 4 % 2)[:, None].astype(float), np.linspace(0, 1, 4 * count)[:, None]
        resampling = draw_resamples(patients, 200, seed="s")
        values = resample(registry.metric("auroc"), scores, targets, patients, resampling)
        assert np.isnan(values).all() == (count == 9)


def test_a_count_that_lacks_a_class_leaves_the_label_without_a_value_in_that_resample():
    def compute(scores, targets, weights):
        assert len(set(targets[:, 0])) == 2
        return np.ones(1)

    patients = np.repeat([f"p{n:02}" for n in range(12)], 2)
    targets = np.zeros((24, 1))
    targets[:6] = 1  # three patients
    resampling = draw_resamples(patients, 300, seed="s")
    values = resample(Metric(name="m", compute=compute, weighted=False), targets, targets, patients, resampling)
    lacking = resampling.counts[:, :3].sum(axis=1) == 0
    assert 0 < lacking.mean() < 0.15
    np.testing.assert_array_equal(np.isnan(values[:, 0]), lacking)


def test_a_score_that_is_no_number_leaves_its_label_without_values(registry):
    scores, targets, patients = make_case(unknown=0)
    scores[3, 1] = np.nan
    values = resample(registry.metric("auroc"), scores, targets, patients, draw_resamples(patients, 10, seed="s"))
    assert np.isnan(values[:, 1]).all()
    assert not np.isnan(values[:, 0]).any()


def test_a_metric_that_names_patients_gets_those_of_its_rows_and_a_patient_drawn_twice_is_two():
    def count_patients(scores, targets, weights, *, patients):
        return np.array([len(set(patients))])

    scores, targets, patients = make_case(unknown=0)
    resampling = draw_resamples(patients, 8, seed="s")
    metric = Metric(name="m", compute=count_patients, range=(0, np.inf))
    values = resample(metric, scores, targets, patients, resampling)
    assert (values[:, 0] == len(set(patients))).all()
    values = resample(replace(metric, weighted=False), scores, targets, patients, resampling)
    assert (values[:, 0] == resampling.counts.sum(axis=1)).all()


@pytest.mark.parametrize(
    ("batched", "says"),
    [
        (lambda scores, targets, rows: lambda weights: np.zeros(3), r"metric 'm' must return \(4, 1\), a row for each"),
        (lambda scores, targets, rows: 1 / 0, "metric 'm' raised ZeroDivisionError"),
    ],
)
def test_a_broken_fast_path_is_named(batched, says):
    scores, targets, patients = make_case()
    metric = Metric(name="m", compute=lambda scores, targets, weights: scores[0], batched=batched)
    with pytest.raises(PluginError, match=says):
        resample(metric, scores, targets, patients, draw_resamples(patients, 4, seed="s"))


def test_what_cannot_be_resampled_is_refused_with_its_name(registry):
    scores, targets, patients = make_case()
    resampling, strangers = draw_resamples(patients, 4, seed="s"), np.full(len(patients), "stranger")
    with pytest.raises(DataError, match="patient 'stranger' is not among"):
        resample(registry.metric("auroc"), scores, targets, strangers, resampling)
    with pytest.raises(UsageError, match="needs a patient and a resample, got 0 and 1000"):
        draw_resamples(np.array([], dtype=str), seed="s")


def test_a_macro_is_the_mean_of_what_is_defined_and_a_system_the_mean_of_its_seeds():
    values = np.array([[0.2, np.nan, 0.4], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(average_labels(values), [0.3, np.nan])
    np.testing.assert_allclose(average_labels(values, np.array([True, False, True])), [0.3, np.nan])
    assert np.isnan(average_labels(values, np.array([True, True, False]))).all()
    assert np.isnan(average_labels(values, np.zeros(3, dtype=bool))).all()
    np.testing.assert_allclose(average_seeds(np.array([[0.2, 0.4], [0.4, np.nan]])), [0.3, np.nan])


@pytest.mark.parametrize("name", ["auroc", "auprc", "brier", "ece"])
@pytest.mark.parametrize("levels", [7, 300, 10**9], ids=["ties", "some ties", "no ties"])
def test_the_order_of_images_changes_no_bit_with_or_without_ties(registry, name, levels):
    generator = np.random.default_rng(0)
    scores = np.round(generator.random((900, 2)) * levels) / levels
    targets = (generator.random((900, 2)) < 0.3).astype(float)
    patients = np.array([f"p{number}" for number in generator.integers(0, 90, 900)])
    resampling, shuffled = draw_resamples(patients, 70, seed="s"), generator.permutation(900)
    found = [
        resample(registry.metric(name), scores[order], targets[order], patients[order], resampling)
        for order in (np.arange(900), shuffled)
    ]
    np.testing.assert_array_equal(found[0], found[1])
