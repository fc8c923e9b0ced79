"""The compiled loops work where nothing can be written, and for every type of weights."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from harness.evaluation import kernels


def test_without_a_folder_for_machine_code_it_is_compiled_anew(monkeypatch):
    asked = []

    def njit(cache=False, **options):
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert kernels.compiled(len) is len
    assert asked == [True, False]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, np.bool_])
def test_weights_of_any_type_give_the_same(dtype):
    generator = np.random.default_rng(0)
    targets, scores = generator.integers(0, 2, 50).astype(float), generator.integers(0, 9, 50) / 9
    weights = generator.integers(0, 2, (7, 50)).T.astype(dtype)
    rows = generator.permutation(50)
    ranking = kernels.rank(scores, targets, rows)
    for function in (kernels.auroc, kernels.average_precision):
        np.testing.assert_array_equal(function(ranking, weights), function(ranking, weights.astype(float)))
    group = generator.integers(0, 3, 50)
    sums = kernels.sum_groups(group, scores, rows, weights, 3)
    np.testing.assert_allclose(sums, [(weights[rows] * scores[:, None])[group == g].sum(axis=0) for g in range(3)])


def test_counts_beyond_a_byte_are_summed_without_overflow():
    targets, scores = np.tile([0.0, 1.0], 40_000), np.tile([0.4, 0.6], 40_000)
    weights = np.full((80_000, 1), 255, dtype=np.uint8)
    assert kernels.auroc(kernels.rank(scores, targets, np.arange(80_000)), weights).tolist() == [1]


@pytest.mark.parametrize("positives", [1, 3, 400])
def test_long_runs_of_heavy_weights_are_summed_without_overflow(positives):
    generator = np.random.default_rng(0)
    targets, scores = (np.arange(5_000) < positives).astype(float), generator.random(5_000)
    weights = generator.integers(250, 256, (5_000, 3)).astype(np.uint8)
    ranking = kernels.rank(scores, targets, np.arange(5_000))
    for function, reference in ((kernels.auroc, roc_auc_score), (kernels.average_precision, average_precision_score)):
        theirs = [reference(targets, scores, sample_weight=column.astype(float)) for column in weights.T]
        np.testing.assert_allclose(function(ranking, weights), theirs, rtol=1e-12)
