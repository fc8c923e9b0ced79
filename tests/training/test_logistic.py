"""Logistic regression of all labels and strengths at once is that of scikit-learn, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from harness.training import logistic
from harness.training.logistic import fit_heads

STRENGTHS = (1e-3, 0.1)
SHAPES = [(60, 8, 3), (200, 20, 4), (400, 48, 3), (90, 60, 2), (600, 30, 4)]
"""Images, features and labels."""


def make_problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of mixed scales and targets of which a quarter is unknown."""
    generator = np.random.default_rng(seed)
    count, width, labels = SHAPES[seed % len(SHAPES)]
    mixed = generator.normal(size=(count, width)) @ (np.eye(width) + 0.3 * generator.normal(size=(width, width)))
    features = mixed * generator.uniform(0.1, 10, width) + 5 * generator.normal(size=width)
    standard = (features - features.mean(0)) / features.std(0)
    truth = standard @ (0.3 * generator.normal(size=(width, labels))) - 1
    targets = (generator.random(truth.shape) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    targets[generator.random(truth.shape) < 0.25] = np.nan
    return features.astype(np.float32), targets


def score(features: np.ndarray, heads: logistic.Heads, place: int, label: int) -> np.ndarray:
    logits = features.astype(float) @ heads.weight[place, label].double().numpy() + float(heads.bias[place, label])
    probability: np.ndarray = 1 / (1 + np.exp(-logits))
    return probability


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("exact", [True, False], ids=["double", "single"])
def test_losses_and_scores_are_those_of_scikit_learn_where_targets_are_unknown(seed, exact, monkeypatch):
    monkeypatch.setattr(logistic, "EXACT", 2**23 if exact else 0)
    features, targets = make_problem(seed)
    heads = fit_heads(torch.tensor(features), torch.tensor(targets), STRENGTHS)
    assert heads.converged.all()
    standard = (features - features.mean(0, dtype=float)) / features.std(0, dtype=float)
    for place, strength in enumerate(STRENGTHS):
        for label in range(targets.shape[1]):
            known = ~np.isnan(targets[:, label])
            model = LogisticRegression(C=1 / (strength * known.sum()), tol=1e-10, max_iter=100_000)
            model.fit(standard[known], targets[known, label])
            logits = standard @ model.coef_[0] + model.intercept_[0]
            losses = np.logaddexp(0, logits[known]) - targets[known, label] * logits[known]
            expected = losses.mean() + strength / 2 * (model.coef_**2).sum()
            assert float(heads.loss[place, label]) == pytest.approx(expected, abs=1e-4)
            np.testing.assert_allclose(score(features, heads, place, label), 1 / (1 + np.exp(-logits)), atol=1e-3)


def test_a_label_without_positives_or_without_anything_known_gets_the_same_score_everywhere():
    features, targets = make_problem(0)
    targets[:, 0], targets[:, 1] = 0, np.nan
    heads = fit_heads(torch.tensor(features), torch.tensor(targets), STRENGTHS)
    assert heads.fitted.tolist() == [False, False, True]
    assert not heads.weight[:, :2].any()
    assert heads.bias[:, 0].sigmoid().tolist() == pytest.approx([1e-6] * 2, rel=1e-3)
    assert heads.bias[:, 1].tolist() == [0.0] * 2


def test_a_single_image_or_labels_of_one_kind_alone_leave_nothing_to_fit():
    features, targets = make_problem(0)
    targets[:, 0], targets[:, 1:] = 1, np.nan
    for count in (1, len(features)):
        heads = fit_heads(torch.tensor(features[:count]), torch.tensor(targets[:count]), STRENGTHS)
        assert not heads.fitted.any()
        assert not heads.weight.any()
        assert heads.bias.isfinite().all()


def test_a_feature_that_never_varies_gets_no_weight_and_nothing_becomes_infinite():
    features, targets = make_problem(1)
    features[:, 0] = 1000.1
    heads = fit_heads(torch.tensor(features), torch.tensor(targets), STRENGTHS)
    assert heads.weight.isfinite().all()
    assert heads.bias.isfinite().all()
    assert float(heads.weight[..., 0].abs().max()) < 1e-9


def test_a_weak_penalty_on_few_images_with_many_features_reaches_its_minimum():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 200, generator=generator)
    heads = fit_heads(features, (features[:, :1] > 0).float(), (1e-5,))
    assert heads.converged.all()
    assert heads.passes < logistic.PASSES
    assert (((features @ heads.weight[0, 0] + heads.bias[0, 0]) > 0) == (features[:, 0] > 0)).all()


def test_a_soft_target_counts_as_a_part_of_a_positive():
    features = torch.zeros(4, 2)
    heads = fit_heads(features, torch.tensor([[0.25], [0.25], [0.25], [0.25]]), (1.0,))
    assert float(heads.bias[0, 0].sigmoid()) == pytest.approx(0.25, abs=1e-6)
