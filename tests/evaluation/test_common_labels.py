"""Means of records that stand side by side are over the labels that all of them average."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.evaluation.common_labels import average, find_common, resampled
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.predictions import Predictions


def make_predictions(seed: int) -> Predictions:
    targets = (np.random.default_rng(0).random((200, 3)) < 0.4).astype(np.float32)
    targets[:, 2] = 0
    targets[:2, 2] = 1  # two patients
    logits = np.random.default_rng(seed).normal(size=(200, 3)).astype(np.float32) + targets
    names = np.array([f"i{n}" for n in range(200)])
    return Predictions(("a", "b", "c"), names, np.array([f"p{n}" for n in range(200)]), logits, targets)


def test_a_label_that_two_patients_have_is_defined_in_all_and_in_no_mean(registry):
    auroc = registry.metric("auroc")
    protocol = Protocol((auroc,), ("auroc",), "auroc", resamples=50)
    found = [evaluate(make_predictions(seed), None, protocol) for seed in (1, 2)]
    parts = [one.metrics["auroc"] for one in found]
    assert all(part.per_label["c"].value is not None for part in parts)
    common = find_common({"auroc": parts})["auroc"]
    assert common == ("a", "b")
    for part, one in zip(parts, found, strict=True):
        assert average(part, common) == part.macro
        drawn = resampled("auroc", part, one.resamples, common)
        assert drawn is not None
        assert not np.isnan(drawn).any()
    narrower = dataclasses.replace(make_predictions(3))
    narrower.logits[5, 1] = np.nan  # its label b has no value
    other = evaluate(narrower, None, protocol)
    common = find_common({"auroc": [*parts, other.metrics["auroc"]]})["auroc"]
    assert common == ("a",)
    assert average(parts[0], common) == pytest.approx(parts[0].per_label["a"].value)
    assert resampled("auroc", parts[0], found[0].resamples, common) is not None
