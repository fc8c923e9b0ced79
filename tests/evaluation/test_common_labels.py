"""Over which labels numbers are that stand side by side: those that all of their means are over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.evaluation.common_labels import average, find_common, resampled, tell_labels, tell_pooled
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.predictions import Predictions

ALL = ("Edema", "Mass", "Hernia")


def test_metrics_over_one_set_of_labels_share_a_sentence_that_has_its_number():
    labels = {
        "auroc": ("Edema",),
        "brier": ALL,
        "f1@val-f1": ("Edema",),
        "f1@0.5": ("Edema",),
        "ece": ("Mass", "Edema"),
    }
    those = "those averaged in all that stand side by side"
    assert tell_labels(labels, ALL) == [
        f"AUROC, F1@val-f1 and F1@0.5 are over 1 of 3 labels, {those}: without Mass, Hernia",
        f"ECE is over 2 of 3 labels, {those}: without Hernia",
    ]


def test_of_many_labels_that_are_left_out_the_first_are_named():
    known = [f"l{number}" for number in range(9)]
    (text,) = tell_labels({"auroc": ("l0",)}, known)
    assert text.endswith("without l1, l2, l3, l4, l5 and 3 more")


def test_what_is_pooled_says_over_which_labels_it_is():
    assert tell_pooled({"auroc": ALL, "ece": ALL, "f1": ("Mass",), "brier": ()}, ALL) == [
        "micro and weighted of AUROC and ECE are over all 3 labels",
        "micro and weighted of F1 are over 1 of 3 labels: without Edema, Hernia",
        "micro and weighted of Brier are left out: its seeds are over different labels",
    ]
    assert tell_pooled({"auroc": (), "ece": ()}, ALL)[0].endswith("left out: their seeds are over different labels")


def make_predictions(seed: int) -> Predictions:
    targets = (np.random.default_rng(0).random((200, 3)) < 0.4).astype(np.float32)
    targets[:, 2] = 0
    targets[:2, 2] = 1  # two patients
    logits = np.random.default_rng(seed).normal(size=(200, 3)).astype(np.float32) + targets
    names = np.array([f"i{n}" for n in range(200)])
    return Predictions(
        labels=("a", "b", "c"),
        image=names,
        patient=np.array([f"p{n}" for n in range(200)]),
        logits=logits,
        targets=targets,
    )


def test_a_label_that_two_patients_have_is_defined_in_all_and_in_no_mean(registry):
    auroc = registry.metric("auroc")
    protocol = Protocol(metrics=(auroc,), names=("auroc",), objective="auroc", resamples=50)
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
