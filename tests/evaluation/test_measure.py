"""From predictions to values: what is defined, what is not, and what is said of a broken metric."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from harness import Metric
from harness.errors import PluginError
from harness.evaluation.measure import measure, value_on_validation
from harness.evaluation.names import POLICIES
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import fit_thresholds


def make_predictions(unknown: bool = False, count: int = 60) -> Predictions:
    """Four labels; the third has no positive, the fourth no negative."""
    generator = np.random.default_rng(2)
    targets = (generator.random((count, 4)) < 0.4).astype(np.float32)
    targets[:, 2], targets[:, 3] = 0, 1
    if unknown:
        targets[generator.random(targets.shape) < 0.3] = np.nan
    logits = generator.normal(size=(count, 4)).astype(np.float32) + np.nan_to_num(targets)
    names = np.array([f"i{n}" for n in range(count)])
    return Predictions(("a", "b", "c", "d"), names, np.array([f"p{n // 2}" for n in range(count)]), logits, targets)


@pytest.mark.parametrize("unknown", [False, True])
def test_values_are_those_of_the_known_targets_and_one_class_is_undefined(registry, unknown):
    predictions = make_predictions(unknown)
    part = measure(predictions, [registry.metric("auroc")], {})["auroc"]
    for index, label in enumerate("ab"):
        known = ~np.isnan(predictions.targets[:, index])
        expected = roc_auc_score(predictions.targets[known, index], predictions.logits[known, index])
        assert part.per_label[label].value == pytest.approx(expected, abs=1e-12)
        assert part.per_label[label].positives == (predictions.targets[:, index] == 1).sum()
    assert part.per_label["c"].value is None
    assert part.per_label["d"].value is None
    assert part.labels_used == 2
    values = [part.per_label[label].value for label in "ab"]
    assert part.macro == pytest.approx(np.mean([value for value in values if value is not None]), abs=1e-12)


def test_decisions_are_measured_once_a_policy_under_its_name(registry):
    predictions = make_predictions()
    thresholds = {"0.5": np.full(4, 0.5), "val-f1": np.array([0.3, np.nan, 0.5, 0.5])}
    parts = measure(predictions, [registry.metric("f1")], thresholds)
    assert set(parts) == {"f1@0.5", "f1@val-f1"}
    expected = f1_score(predictions.targets[:, 0], predictions.scores[:, 0] >= 0.3)
    assert parts["f1@val-f1"].per_label["a"].value == pytest.approx(expected, abs=1e-12)
    assert parts["f1@val-f1"].per_label["b"].value is None
    assert parts["f1@val-f1"].labels_used == 1


def test_nothing_defined_has_no_macro(registry):
    predictions = make_predictions()
    empty = Predictions(
        predictions.labels,
        predictions.image,
        predictions.patient,
        predictions.logits,
        np.zeros_like(predictions.targets),
    )
    part = measure(empty, [registry.metric("auroc")], {})["auroc"]
    assert (part.macro, part.labels_used) == (None, 0)


@pytest.mark.parametrize("unknown", [False, True])
def test_the_order_of_images_and_labels_changes_no_bit(registry, unknown):
    predictions = make_predictions(unknown)
    rows, columns = np.random.default_rng(0).permutation(60), [3, 1, 0, 2]
    shuffled = Predictions(
        tuple(predictions.labels[c] for c in columns),
        predictions.image[rows],
        predictions.patient[rows],
        predictions.logits[rows][:, columns],
        predictions.targets[rows][:, columns],
    )
    metrics = [registry.metric(name) for name in ("auroc", "auprc", "brier", "ece")]
    ours, theirs = measure(predictions, metrics, {}), measure(shuffled, metrics, {})
    for name, part in ours.items():
        assert part.macro == theirs[name].macro
        assert part.per_label == theirs[name].per_label


def test_validation_picks_by_the_macro_and_decides_at_its_own_best_thresholds(registry):
    predictions = make_predictions()
    auroc = measure(predictions, [registry.metric("auroc")], {})["auroc"].macro
    assert value_on_validation(predictions, registry.metric("auroc")) == auroc
    half = measure(predictions, [registry.metric("f1")], {"0.5": np.full(4, 0.5)})["f1@0.5"].macro
    assert half is not None
    assert value_on_validation(predictions, registry.metric("f1")) >= half


def test_a_metric_gets_the_patients_it_names():
    seen = []

    def compute(scores, targets, weights, *, patients):
        seen.append(len(set(patients)))
        return np.zeros(scores.shape[1])

    measure(make_predictions(), [Metric(name="m", compute=compute)], {})
    assert seen == [30]


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        (lambda scores, targets, weights: np.zeros(3), r"metric 'm' must return \(2,\), one value a label, got \(3,\)"),
        (lambda scores, targets, weights: 1 / 0, "metric 'm' raised ZeroDivisionError"),
        (lambda scores, targets, weights, *, ages: scores[0], "asks for ages; it can have patients"),
    ],
)
def test_a_broken_metric_is_named_with_what_was_expected(compute, says):
    with pytest.raises(PluginError, match=says):
        measure(make_predictions(), [Metric(name="m", compute=compute)], {})


def test_a_score_that_is_no_number_leaves_its_label_undefined_not_its_image_out(registry):
    predictions = make_predictions()
    predictions.logits[7, 0] = np.nan
    metrics = [registry.metric(name) for name in ("auroc", "brier", "f1")]
    parts = measure(predictions, metrics, fit_thresholds(predictions, predictions))
    assert set(parts) == {"auroc", "brier", *(f"f1@{policy}" for policy in POLICIES)}
    for part in parts.values():
        assert part.per_label["a"].value is None
        assert part.per_label["b"].value is not None
        assert part.labels_used == 1


def test_a_score_whose_target_is_unknown_may_be_anything(registry):
    predictions = make_predictions()
    predictions.targets[7, 0] = np.nan
    before = measure(predictions, [registry.metric("auroc")], {})
    predictions.logits[7, 0] = np.nan
    assert measure(predictions, [registry.metric("auroc")], {}) == before
