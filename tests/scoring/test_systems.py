"""A system is its seeds: all of its means are over the labels that every seed uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.evaluation.evaluate import Protocol
from harness.evaluation.predictions import Predictions
from harness.scoring.systems import evaluate_system

LABELS = ("a", "b", "c")


def make_seed(seed: int) -> Predictions:
    generator = np.random.default_rng(0)
    targets = (generator.random((400, 3)) < (0.1, 0.3, 0.5)).astype(np.float32)
    noise = np.random.default_rng(seed).normal(size=targets.shape)
    names, patients = (np.array([f"{kind}{n // many}" for n in range(400)]) for kind, many in (("i", 1), ("p", 2)))
    return Predictions(
        labels=LABELS,
        image=names,
        patient=patients,
        logits=(noise + 2 * targets - 1).astype(np.float32),
        targets=targets,
    )


def test_means_over_seeds_are_over_the_labels_that_all_seeds_use(registry):
    metrics = [registry.metric("precision"), registry.metric("auroc")]
    protocol = Protocol(metrics=tuple(metrics), names=("precision@0.5", "auroc"), objective="auroc", resamples=20)
    seeds = [make_seed(1), make_seed(2)]
    seeds[1].logits[:, 0] -= 50  # never flagged: its precision has no value
    cut = [replace(seed, labels=LABELS[1:], logits=seed.logits[:, 1:], targets=seed.targets[:, 1:]) for seed in seeds]
    whole, less = (evaluate_system(found, [None, None], protocol).metrics["precision@0.5"] for found in (seeds, cut))
    assert whole.part.left_out == ["a"]
    for mean in ("macro", "micro", "weighted"):
        assert getattr(whole.part, mean) == pytest.approx(getattr(less.part, mean), abs=1e-12)
    assert whole.seeds == pytest.approx(less.seeds)
