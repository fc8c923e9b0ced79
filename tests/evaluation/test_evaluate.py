"""From predictions to values: what is defined, what is not, and what is said of a broken metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from harness import Metric
from harness.errors import PluginError
from harness.evaluation.evaluate import Evaluation, Protocol, evaluate
from harness.evaluation.measure import value_on_validation
from harness.evaluation.parts import MetricPart
from harness.evaluation.predictions import Predictions
from harness.metric_names import POLICIES


def make_predictions(unknown: bool = False, count: int = 60) -> Predictions:
    """Four labels; the third has no positive, the fourth no negative."""
    generator = np.random.default_rng(2)
    targets = (generator.random((count, 4)) < 0.4).astype(np.float32)
    targets[:, 2], targets[:, 3] = 0, 1
    if unknown:
        targets[generator.random(targets.shape) < 0.3] = np.nan
    logits = generator.normal(size=(count, 4)).astype(np.float32) + np.nan_to_num(targets)
    names = np.array([f"i{n}" for n in range(count)])
    return Predictions(
        labels=("a", "b", "c", "d"),
        image=names,
        patient=np.array([f"p{n // 2}" for n in range(count)]),
        logits=logits,
        targets=targets,
    )


def run(test: Predictions, metrics: list[Metric], val: Predictions | None = None, **changes) -> Evaluation:
    plain = Protocol(
        metrics=tuple(metrics), names=tuple(metric.name for metric in metrics), objective=metrics[0].name, resamples=20
    )
    return evaluate(test, val, dataclasses.replace(plain, **changes))


def measure(test: Predictions, metrics: list[Metric], val: Predictions | None = None) -> dict[str, MetricPart]:
    return run(test, metrics, val).metrics


@pytest.mark.parametrize("unknown", [False, True])
def test_values_are_those_of_the_known_targets_and_one_class_is_undefined(registry, unknown):
    predictions = make_predictions(unknown)
    part = measure(predictions, [registry.metric("auroc")])["auroc"]
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
    val = make_predictions()
    val.targets[:, 1] = 0  # no positive, no threshold
    evaluation = run(predictions, [registry.metric("f1")], val)
    assert set(evaluation.metrics) == {f"f1@{policy}" for policy in POLICIES}
    part, threshold = evaluation.metrics["f1@val-f1"], evaluation.thresholds["val-f1"]["a"]
    expected = f1_score(predictions.targets[:, 0], predictions.scores[:, 0] >= threshold)
    assert part.per_label["a"].value == pytest.approx(expected, abs=1e-12)
    assert part.per_label["b"].value is None
    assert part.labels_used == 1


def test_without_validation_there_are_only_the_policies_that_need_none(registry):
    evaluation = run(make_predictions(), [registry.metric("f1")])
    assert set(evaluation.metrics) == {"f1@0.5", "f1@oracle"}
    assert evaluation.calibration is None


def test_a_policy_that_a_board_asks_for_is_fitted_beside_the_usual_ones(registry):
    predictions = make_predictions()
    evaluation = run(predictions, [registry.metric("sensitivity")], predictions, names=("sensitivity@val-sens0.75",))
    assert "val-sens0.75" in evaluation.thresholds
    part = evaluation.metrics["sensitivity@val-sens0.75"].per_label["a"]
    assert part.value is not None
    assert part.value >= 0.75


def test_nothing_defined_has_no_macro(registry):
    predictions = make_predictions()
    empty = Predictions(
        labels=predictions.labels,
        image=predictions.image,
        patient=predictions.patient,
        logits=predictions.logits,
        targets=np.zeros_like(predictions.targets),
    )
    part = measure(empty, [registry.metric("auroc")])["auroc"]
    assert (part.macro, part.labels_used) == (None, 0)


@pytest.mark.parametrize("unknown", [False, True])
def test_the_order_of_images_and_labels_changes_no_bit(registry, unknown):
    predictions = make_predictions(unknown)
    rows, columns = np.random.default_rng(0).permutation(60), [3, 1, 0, 2]
    shuffled = Predictions(
        labels=tuple(predictions.labels[c] for c in columns),
        image=predictions.image[rows],
        patient=predictions.patient[rows],
        logits=predictions.logits[rows][:, columns],
        targets=predictions.targets[rows][:, columns],
    )
    metrics = [registry.metric(name) for name in ("auroc", "auprc", "brier", "ece")]
    ours, theirs = measure(predictions, metrics), measure(shuffled, metrics)
    for name, part in ours.items():
        assert part.macro == theirs[name].macro
        assert part.per_label == theirs[name].per_label


def test_validation_picks_by_the_macro_and_decides_at_its_own_best_thresholds(registry):
    predictions = make_predictions()
    auroc = measure(predictions, [registry.metric("auroc")])["auroc"].macro
    assert value_on_validation(predictions, registry.metric("auroc")) == auroc
    half = measure(predictions, [registry.metric("f1")])["f1@0.5"].macro
    assert half is not None
    assert value_on_validation(predictions, registry.metric("f1")) >= half


def test_a_metric_gets_the_patients_it_names():
    seen = []

    def compute(scores, targets, weights, *, patients):
        seen.append(len(set(patients)))
        return np.zeros(scores.shape[1])

    measure(make_predictions(), [Metric(name="m", compute=compute)])
    assert set(seen) == {30}


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        (
            lambda scores, targets, weights: np.zeros(3),
            r"metric 'm' must return \(2,\), one value for each label, got \(3,\)",
        ),
        (lambda scores, targets, weights: 1 / 0, "metric 'm' raised ZeroDivisionError"),
        (lambda scores, targets, weights, *, ages: scores[0], "asks for ages; it can have patients"),
    ],
)
def test_a_broken_metric_is_named_with_what_was_expected(compute, says):
    with pytest.raises(PluginError, match=says):
        measure(make_predictions(), [Metric(name="m", compute=compute)])


def test_a_score_that_is_no_number_leaves_its_label_undefined_not_its_image_out(registry):
    predictions = make_predictions()
    predictions.logits[7, 0] = np.nan
    metrics = [registry.metric(name) for name in ("auroc", "brier", "f1")]
    parts = measure(predictions, metrics, predictions)
    assert set(parts) == {"auroc", "brier", *(f"f1@{policy}" for policy in POLICIES)}
    for part in parts.values():
        assert part.per_label["a"].value is None
        assert part.per_label["b"].value is not None
        assert part.labels_used == 1


def test_a_score_whose_target_is_unknown_may_be_anything(registry):
    predictions = make_predictions()
    predictions.targets[7, 0] = np.nan
    before = measure(predictions, [registry.metric("auroc")])
    predictions.logits[7, 0] = np.nan
    assert measure(predictions, [registry.metric("auroc")]) == before


# --- intervals, calibration, subgroups -------------------------------------------------------------------------------


def test_intervals_are_made_of_resampled_patients_by_the_metrics_own_method(registry):
    from harness.evaluation.bootstrap import average_labels, draw_resamples, resample
    from harness.evaluation.intervals import find_interval

    predictions, auroc = make_predictions(count=400), registry.metric("auroc")
    part = run(predictions, [auroc], resamples=300, seed="s").metrics["auroc"]
    resampling = draw_resamples(predictions.patient, 300, seed="s")
    drawn = resample(auroc, predictions.ranks, predictions.targets, predictions.patient, resampling)
    of_both = average_labels(drawn, np.array([True, True, False, False]))
    assert (part.interval_method, part.resampled_by, part.left_out) == ("logit", "weights", ["c", "d"])
    assert part.interval == pytest.approx(find_interval(part.macro or 0, of_both, "logit"))
    assert part.per_label["b"].interval == pytest.approx(
        find_interval(part.per_label["b"].value or 0, drawn[:, 1], "logit")
    )
    assert part.per_label["c"].interval is None
    plain = dataclasses.replace(auroc, interval="percentile", weighted=False, batched=None)
    counted = run(predictions, [plain], resamples=300, seed="s").metrics["auroc"]
    assert (counted.interval_method, counted.resampled_by) == ("percentile", "counts")
    counts = average_labels(resample(plain, predictions.ranks, predictions.targets, predictions.patient, resampling))
    assert counted.interval == pytest.approx(tuple(np.quantile(counts, [0.025, 0.975])))


def test_a_label_that_two_patients_have_is_in_no_mean_which_keeps_its_interval(registry):
    predictions, metrics = make_predictions(count=400), [registry.metric(name) for name in ("auroc", "f1", "brier")]
    predictions.targets[:, 0] = 0
    predictions.targets[:4, 0] = 1  # two patients
    alone = dataclasses.replace(
        predictions, labels=("b",), logits=predictions.logits[:, [1]], targets=predictions.targets[:, [1]]
    )
    for name, part in measure(predictions, metrics, predictions).items():
        only = measure(alone, metrics, alone)[name]
        for mean in ("macro", "interval", "micro", "weighted"):
            assert getattr(part, mean) == pytest.approx(getattr(only, mean))
        assert part.interval is not None
        assert part.per_label["a"].value is not None
        assert part.per_label["a"].interval is None
        assert (part.labels_used, part.left_out, part.no_interval) == (1, ["a", "c", "d"], None)
        assert part.why_left_out == (
            "a mean needs 3 patients who have each label and 3 who lack it: 2 have a; "
            "without a value in a seed or at a threshold: c, d"
        )
    calibration = run(predictions, metrics, predictions).calibration
    assert calibration is not None
    assert calibration.left_out == ["a", "c", "d"]


def test_without_an_interval_it_is_said_why(registry):
    predictions = make_predictions(count=400)
    predictions.targets[:, :2] = 0
    predictions.targets[:4, 0] = predictions.targets[2:6, 1] = 1  # two patients each
    part = measure(predictions, [registry.metric("auroc")])["auroc"]
    assert (part.labels_used, part.macro is None, part.interval) == (2, False, None)
    assert part.no_interval == (
        "an interval needs 3 patients who have each label and 3 who lack it: 2 have a, 2 have b"
    )
    few = measure(make_predictions(count=18), [registry.metric("auroc")])["auroc"]
    assert few.interval is None
    assert few.no_interval == "9 patients are too few for an interval, which needs 10"
    enough = measure(make_predictions(count=400), [registry.metric("auroc")])["auroc"]
    assert (enough.no_interval, enough.interval is None) == (None, False)


# --- one set of labels -----------------------------------------------------------------------------------------------


def test_a_metric_at_several_thresholds_is_averaged_over_one_set_of_labels(registry):
    test, val = make_predictions(count=400), make_predictions(count=200)
    val.targets[:, 1] = 0  # no positive, so no threshold of validation
    parts = measure(test, [registry.metric("f1"), registry.metric("auroc")], val)
    for name, part in parts.items():
        if name != "auroc":
            assert (part.labels_used, part.left_out, part.macro) == (1, ["b", "c", "d"], part.per_label["a"].value)
    assert parts["f1@oracle"].per_label["b"].value is not None
    assert parts["auroc"].labels_used == 2


def test_precision_of_a_label_that_is_never_flagged_is_in_no_mean_of_precision(registry):
    test = make_predictions(count=400)
    test.logits[:, 1] -= 20  # nothing is flagged at one half
    parts = measure(test, [registry.metric("precision")], test)
    assert parts["precision@0.5"].per_label["b"].value is None
    assert parts["precision@val-f1"].per_label["b"].value is not None
    assert {part.labels_used for part in parts.values()} == {1}
    assert parts["precision@val-f1"].macro == parts["precision@val-f1"].per_label["a"].value


def test_calibration_before_and_after_is_averaged_over_one_set_of_labels(registry):
    test, val = make_predictions(count=400), make_predictions(count=200)
    val.targets[:, 1] = 0
    calibration = run(test, [registry.metric("brier")], val).calibration
    assert calibration is not None
    assert (calibration.labels_used, calibration.left_out) == (1, ["b", "c", "d"])
    for part in (calibration.before, calibration.temperature, calibration.platt):
        assert (part.ece, part.brier) == (part.per_label["a"].ece, part.per_label["a"].brier.score)
    assert "b" in calibration.before.per_label


# --- ranks -----------------------------------------------------------------------------------------------------------


MAPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plus 40": lambda z: z + 40,
    "times 1000": lambda z: z * 1000,
    "hyperbolic sine": np.sinh,
    "cubed": lambda z: z**3,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(MAPS)), st.integers(0, 6))
def test_ranking_metrics_do_not_change_under_a_strictly_increasing_map_of_what_is_stored(registry, seed, name, digits):
    predictions = make_predictions(count=80)
    stored = np.random.default_rng(seed).normal(size=predictions.logits.shape).round(digits) + predictions.targets
    metrics = [registry.metric("auroc"), registry.metric("auprc")]
    mapped = MAPS[name](stored.astype(np.float64))
    assume(len(np.unique(stored)) == len(np.unique(mapped)))  # or rounding makes ties, in the pooled mean over labels
    plain = dataclasses.replace(predictions, logits=stored)
    parts, of_mapped = run(plain, metrics), run(dataclasses.replace(predictions, logits=mapped), metrics)
    assert of_mapped.metrics == parts.metrics
    for curve, points in parts.resamples.curves.items():
        if curve.startswith(("roc", "pr")):
            np.testing.assert_array_equal(points, of_mapped.resamples.curves[curve])
    if mapped.min() >= 0 and mapped.max() <= 1:
        names = predictions.labels, predictions.image, predictions.patient
        scores = Predictions.from_scores(*names, mapped, predictions.targets)
        assert run(scores, metrics).metrics == parts.metrics


def test_decisions_do_not_tie_where_probabilities_round_to_one(registry):
    test, val = make_predictions(count=400), make_predictions(count=200)
    plain = run(test, [registry.metric("f1")], val)
    shifted = [dataclasses.replace(one, logits=one.logits.astype(np.float64) + 45) for one in (test, val)]
    found = run(shifted[0], [registry.metric("f1")], shifted[1])
    for policy in ("val-f1", "val-youden", "val-sens0.9", "oracle"):
        assert found.metrics[f"f1@{policy}"] == plain.metrics[f"f1@{policy}"]
    assert found.thresholds["val-f1"]["a"] == 1
    assert plain.thresholds["0.5"]["a"] == 0.5


def test_thresholds_of_scores_are_held_against_logits_and_the_other_way_round(registry):
    test, val = make_predictions(count=400), make_predictions(count=200)
    f1 = [registry.metric("f1")]
    names = val.labels, val.image, val.patient
    of_scores = Predictions.from_scores(*names, val.scores, val.targets)
    as_scores = Predictions.from_scores(test.labels, test.image, test.patient, test.scores, test.targets)
    plain = run(test, f1, val).metrics
    assert run(as_scores, f1, val).metrics == plain
    mixed = run(test, f1, of_scores).metrics
    for name, part in plain.items():
        assert mixed[name].macro == pytest.approx(part.macro, abs=0.01)


def test_what_lies_beside_a_record_gives_its_intervals_again(registry, tmp_path):
    from harness.evaluation.intervals import find_interval
    from harness.evaluation.resamples import load_resamples

    evaluation = run(make_predictions(count=400), [registry.metric("auroc"), registry.metric("f1")], resamples=300)
    (tmp_path / "r.npz").write_bytes(evaluation.resamples.as_bytes())
    found = load_resamples((tmp_path / "r.npz").read_bytes())
    assert set(found.macro) == set(evaluation.metrics)
    for name, part in evaluation.metrics.items():
        again = find_interval(part.macro or 0, found.macro[name], part.interval_method)
        assert again == pytest.approx(part.interval, abs=1e-6)
    assert set(found.per_label) == set("abcd")
    assert {"roc/a", "pr/a", "reliability/a"} <= set(found.curves)
    assert "roc/c" not in found.curves
    before = (tmp_path / "r.npz").read_bytes()
    (tmp_path / "r.npz").write_bytes(evaluation.resamples.as_bytes())
    assert (tmp_path / "r.npz").read_bytes() == before


def test_calibration_is_fitted_on_validation_and_measured_on_test(registry):
    val, test = make_predictions(count=3000), make_predictions(count=2000)
    test.logits[:] *= 5  # as sure as no network should be
    val.logits[:] *= 5
    calibration = run(test, [registry.metric("ece"), registry.metric("brier")], val).calibration
    assert calibration is not None
    assert calibration.before.ece is not None
    assert calibration.platt.ece is not None
    assert calibration.platt.ece < 0.3 * calibration.before.ece
    slope = calibration.temperature.per_label["a"].slope
    assert slope is not None
    assert slope < 0.5
    brier = calibration.before.per_label["a"].brier
    assert brier.score == pytest.approx(np.mean((test.scores[:, 0] - test.targets[:, 0]) ** 2))


def test_subgroups_are_scored_by_column_where_they_are_large_enough(registry):
    predictions = make_predictions(count=400)
    sex = np.array(["F", "M"])[np.arange(400) // 2 % 2]
    site = np.where(np.arange(400) < 12, "small", "large")
    described = dataclasses.replace(predictions, columns={"sex": sex, "site": site})
    metrics = (registry.metric("auroc"), registry.metric("sensitivity"))
    found = run(described, [registry.metric("auroc")], predictions, subgroup_metrics=metrics).subgroups
    assert found is not None
    women = next(group for group in found["sex"].groups if group.name == "F")
    expected = roc_auc_score(predictions.targets[sex == "F", 0], predictions.scores[sex == "F", 0])
    assert women.per_label["auroc"]["a"] == pytest.approx(expected)
    assert women.images == 200
    gap = found["sex"].gaps["sensitivity@val-f1"]
    assert gap is not None
    assert gap.interval is not None
    small = next(group for group in found["site"].groups if group.name == "small")
    assert small.per_label["auroc"]["a"] is None
    assert small.positives["a"] + small.negatives["a"] == 12
    assert found["site"].gaps["auroc"] is None
    assert run(predictions, [registry.metric("auroc")], subgroup_metrics=metrics).subgroups is None


def test_beside_the_macro_stand_scikit_learns_micro_and_weighted_means(registry):
    predictions = make_predictions()
    labels = [0, 1]  # the others lack a class
    targets, scores = predictions.targets[:, labels], predictions.scores[:, labels]
    found = run(predictions, [registry.metric(name) for name in ("auroc", "auprc", "f1", "brier")]).metrics
    for name, theirs in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        assert found[name].micro == pytest.approx(theirs(targets, scores, average="micro"))
        assert found[name].weighted == pytest.approx(theirs(targets, scores, average="weighted"))
        assert found[name].macro == pytest.approx(theirs(targets, scores, average="macro"))
    for average in ("micro", "weighted"):
        assert getattr(found["f1@0.5"], average) == pytest.approx(f1_score(targets, scores >= 0.5, average=average))
    assert found["brier"].micro == pytest.approx(((targets - scores) ** 2).mean())


def test_micro_and_weighted_are_of_the_labels_of_the_macro_and_known_targets(registry):
    predictions = make_predictions(unknown=True)
    found = run(predictions, [registry.metric("auroc")]).metrics["auroc"]
    targets, scores = (values[:, :2].T.ravel() for values in (predictions.targets, predictions.scores))
    known = ~np.isnan(targets)
    assert found.micro == pytest.approx(roc_auc_score(targets[known], scores[known]))
    parts = [found.per_label[label] for label in "ab"]
    assert found.weighted == pytest.approx(
        np.average([part.value for part in parts], weights=[part.positives for part in parts])
    )
    nothing = predictions.arrange(("a", "b", "c", "d"), "").select(np.flatnonzero(predictions.targets[:, 0] == 0))
    nothing.targets[:] = 0
    none = run(nothing, [registry.metric("auroc")]).metrics["auroc"]
    assert (none.macro, none.micro, none.weighted) == (None, None, None)


def test_the_record_has_slope_and_intercept_of_the_test_for_each_calibration(registry):
    test, val = make_predictions(), make_predictions()
    part = run(test, [registry.metric("auroc")], val).calibration
    assert part is not None
    logits, targets = test.logits[:, 0].astype(float), test.targets[:, 0]
    for kind, calibrated in (("before", logits), ("platt", None)):
        found = getattr(part, kind).per_label["a"]
        if calibrated is None:  # fitted on the very same images
            assert (found.test_slope, found.test_intercept) == pytest.approx((1, 0), abs=1e-6)
            continue
        theirs = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(calibrated[:, None], targets)
        assert found.test_slope == pytest.approx(theirs.coef_[0, 0], rel=1e-6)
        assert found.test_intercept == pytest.approx(theirs.intercept_[0], abs=1e-6)
    assert part.before.per_label["c"].test_slope is None
