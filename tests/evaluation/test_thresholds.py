"""Thresholds are fitted where the policy says, and scores meet them as stated."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score, roc_curve

from harness.errors import DataError, UnknownNameError
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import (
    decide,
    describe_thresholds,
    fit_thresholds,
    maximal_f1_thresholds,
    maximal_youden_thresholds,
    sensitivity_thresholds,
    specificity_thresholds,
)
from harness.metric_names import POLICIES, explain_policies, full_name, needed_policies, require_labels, split_name


def by_hand(scores, targets):
    """Every observed score tried, the highest of the best kept."""
    candidates = sorted(set(scores))
    values = [f1_score(targets, scores >= candidate, zero_division=0) for candidate in candidates]
    best = max(values)
    return max(c for c, value in zip(candidates, values, strict=True) if np.isclose(value, best, rtol=1e-12))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([3, 10, 10_000]))
def test_the_threshold_maximizes_f1_and_of_equals_the_highest_is_taken(count, seed, levels):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, count) / levels
    targets = (generator.random(count) < 0.4).astype(np.float32)
    targets[generator.integers(count)] = 1
    (found,) = maximal_f1_thresholds(scores[:, None], targets[:, None])
    assert found == by_hand(scores, targets)


@st.composite
def columns(draw):
    """Scores (N,) with many ties or none, and targets (N,) with both classes."""
    count = draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 5, 10_000]))
    targets = (generator.random(count) < draw(st.sampled_from([0.1, 0.5, 0.9]))).astype(np.float32)
    targets[:2] = [0, 1]
    return generator.integers(0, levels, count) / levels, targets


@given(columns())
def test_the_youden_threshold_is_the_highest_of_the_best_of_all_candidates(column):
    scores, targets = column
    positives, negatives = int((targets == 1).sum()), int((targets == 0).sum())

    def youden(candidate):
        flagged = targets[scores >= candidate]
        return Fraction(int((flagged == 1).sum()), positives) - Fraction(int((flagged == 0).sum()), negatives)

    merits = {youden(c): c for c in sorted(set(scores))}  # of equals the last, so the highest, stays
    (found,) = maximal_youden_thresholds(scores[:, None], targets[:, None])
    assert found == merits[max(merits)]


@given(columns())
def test_the_youden_threshold_has_the_highest_index_of_scikit_learns_curve(column):
    scores, targets = column
    fpr, tpr, thresholds = roc_curve(targets, scores, drop_intermediate=False)
    (found,) = maximal_youden_thresholds(scores[:, None], targets[:, None])
    index = (tpr - fpr)[thresholds == found]
    assert index == pytest.approx((tpr - fpr).max(), abs=1e-12)


@given(columns(), st.integers(1, 100))
def test_the_sensitivity_threshold_is_the_highest_candidate_that_reaches_it(column, percent):
    scores, targets = column
    positives = int((targets == 1).sum())
    reaching = [c for c in set(scores) if 100 * int((targets[scores >= c] == 1).sum()) >= percent * positives]
    (found,) = sensitivity_thresholds(scores[:, None], targets[:, None], percent / 100)
    assert found == max(reaching)


@given(columns(), st.integers(1, 100))
def test_the_specificity_threshold_is_the_lowest_candidate_that_reaches_it(column, percent):
    scores, targets = column
    negatives = int((targets == 0).sum())
    reaching = [c for c in set(scores) if 100 * int((targets[scores < c] == 0).sum()) >= percent * negatives]
    (found,) = specificity_thresholds(scores[:, None], targets[:, None], percent / 100)
    assert found == min(reaching) if reaching else np.isnan(found)


@given(columns())
def test_the_specificity_threshold_has_the_highest_sensitivity_of_scikit_learns_curve(column):
    scores, targets = column
    fpr, tpr, _ = roc_curve(targets, scores, drop_intermediate=False)
    (found,) = specificity_thresholds(scores[:, None], targets[:, None], 0.8)
    if np.isnan(found):
        assert tpr[fpr <= 0.2].max() == 0
    else:
        assert recall_score(targets, scores >= found) == pytest.approx(tpr[fpr <= 0.2 + 1e-12].max(), abs=1e-12)


def test_a_specificity_needs_a_negative_alone():
    scores, none, every = np.array([[0.2], [0.7]]), np.zeros((2, 1)), np.ones((2, 1))
    assert np.isnan(specificity_thresholds(scores, every, 0.9))
    assert specificity_thresholds(scores, none, 0.5) == 0.7
    assert np.isnan(specificity_thresholds(scores, none, 0.9))


def test_a_sensitivity_that_is_met_exactly_is_met():
    scores, targets = np.arange(100, 0, -1)[:, None] / 100, np.ones((100, 1))
    for percent in range(1, 101):
        assert (
            sensitivity_thresholds(scores, targets, float(f"0.{percent:02}") if percent < 100 else 1.0)
            == (scores[percent - 1])
        )


def test_a_class_that_is_needed_and_absent_means_no_threshold():
    scores, none, every = np.array([[0.2], [0.7]]), np.zeros((2, 1)), np.ones((2, 1))
    assert np.isnan(maximal_youden_thresholds(scores, none))
    assert np.isnan(maximal_youden_thresholds(scores, every))
    assert np.isnan(sensitivity_thresholds(scores, none, 0.9))
    assert sensitivity_thresholds(scores, every, 0.9) == 0.2
    assert np.isnan(sensitivity_thresholds(scores, np.full((2, 1), np.nan), 0.9))


def test_unknown_targets_are_left_out_and_no_positive_means_no_threshold():
    scores = np.array([[0.9, 0.2], [0.8, 0.3], [0.1, 0.4]])
    targets = np.array([[np.nan, 0], [1, np.nan], [0, 0]], dtype=np.float32)
    found = maximal_f1_thresholds(scores, targets)
    assert found[0] == 0.8
    assert np.isnan(found[1])


def test_a_score_equal_to_the_threshold_is_positive_and_no_threshold_no_decision():
    decisions = decide(np.array([[0.5, 0.9], [0.4999, 0.1]]), np.array([0.5, np.nan]))
    np.testing.assert_array_equal(decisions, [[1, np.nan], [0, np.nan]])


def test_a_score_that_is_no_number_gives_no_threshold_and_no_decision():
    scores = np.array([[0.9, np.nan], [np.nan, 0.3], [0.1, 0.4]])
    targets = np.array([[1, np.nan], [0, 1], [0, 0]], dtype=np.float32)
    found = maximal_f1_thresholds(scores, targets)
    assert np.isnan(found[0])
    assert found[1] == 0.3
    np.testing.assert_array_equal(decide(scores, np.array([0.5, 0.35])), [[1, np.nan], [np.nan, 0], [0, 1]])


def test_each_policy_is_fitted_on_its_own_split():
    def predictions(logits):
        values = np.array(logits, dtype=np.float32)[:, None]
        names = np.array([f"i{n}" for n in range(len(values))])
        return Predictions(
            labels=("a",),
            image=names,
            patient=names,
            logits=values,
            targets=np.array([[0], [1], [1]], dtype=np.float32),
        )

    val, test = predictions([-1, 0, 1]), predictions([-3, -2, 2])
    fitted = fit_thresholds(val, test)
    assert list(fitted) == ["0.5", "val-f1", "val-youden", "val-sens0.9", "val-spec0.9", "oracle"]
    assert {policy: values[0] for policy, values in fitted.items() if "0.9" not in policy} == {
        "0.5": 0,
        "val-f1": 0,
        "val-youden": 0,
        "oracle": -2,
    }
    described = describe_thresholds(test, fitted)
    assert described["0.5"]["a"] == 0.5
    assert described["val-f1"]["a"] == val.scores[1, 0]
    assert described["oracle"]["a"] == test.scores[1, 0]


def make_predictions(labels=("a", "b"), source="val.npz", seed=0):
    generator = np.random.default_rng(seed)
    names = np.array([f"i{n}" for n in range(50)])
    targets = (generator.random((50, len(labels))) < 0.4).astype(np.float32)
    return Predictions(
        labels=labels,
        image=names,
        patient=names,
        logits=generator.normal(size=targets.shape).astype(np.float32),
        targets=targets,
        source=source,
    )


def test_without_validation_there_are_the_policies_that_need_none():
    test = make_predictions()
    assert list(fit_thresholds(None, test)) == ["0.5", "oracle"]
    assert list(fit_thresholds(None, test, ["val-sens0.85", "oracle"])) == ["oracle"]


def test_policies_that_are_asked_for_are_fitted_label_by_label_whatever_the_order():
    val, test = make_predictions(), make_predictions(seed=1)
    swapped = val.arrange(("b", "a"), "another order")
    policies = ["val-f1", "val-youden", "val-sens0.85", "val-spec0.85", "val-sens1"]
    fitted = fit_thresholds(swapped, test, policies)
    assert list(fitted) == policies
    np.testing.assert_array_equal(fitted["val-sens0.85"], sensitivity_thresholds(val.ranks, val.targets, 0.85))
    np.testing.assert_array_equal(fitted["val-spec0.85"], specificity_thresholds(val.ranks, val.targets, 0.85))
    np.testing.assert_array_equal(fitted["val-youden"], maximal_youden_thresholds(val.ranks, val.targets))
    np.testing.assert_array_equal(fitted["val-sens1"], [val.ranks[val.targets[:, c] == 1, c].min() for c in (0, 1)])


@pytest.mark.parametrize("base", ["val-f1", "val-youden", "val-sens0.85", "val-spec0.9"])
def test_a_policy_of_one_label_alone_leaves_every_other_label_at_one_half(base):
    val, test = make_predictions(("a", "b", "c d")), make_predictions(("c d", "a", "b"), "test.npz", seed=1)
    policy = f"{base}:c d"
    fitted = fit_thresholds(val, test, [base, policy])
    assert fitted[policy][0] == fitted[base][0]
    np.testing.assert_array_equal(fitted[policy][1:], [0, 0])  # logits
    assert fitted[base][1] != 0
    assert describe_thresholds(test, fitted)[policy] == describe_thresholds(test, fitted)[base] | {"a": 0.5, "b": 0.5}
    scores = dataclasses.replace(test, given_scores=test.scores)
    np.testing.assert_array_equal(fit_thresholds(val, scores, [policy])[policy][1:], [0.5, 0.5])


def test_a_policy_of_one_label_needs_validation_and_a_label_that_there_is():
    val, test = make_predictions(), make_predictions(seed=1)
    assert fit_thresholds(None, test, ["val-f1:a"]) == {}
    with pytest.raises(UnknownNameError, match=r"label of the threshold policy in '@val-f1:aa': 'aa'"):
        fit_thresholds(val, test, ["val-f1:aa"])
    for wrong in ("oracle:a", "0.5:a", "val-f1:", "val-sens2:a", ":a"):
        with pytest.raises(UnknownNameError, match=r"unknown threshold policy in .* such as val-f1:Pneumonia"):
            split_name(f"f1@{wrong}")
    require_labels(["auroc", "f1", "f1@val-f1:a", "f1@0.5"], ["a"])
    with pytest.raises(UnknownNameError, match=r"in 'f1@val-f1:Mas': 'Mas': did you mean 'Mass'"):
        require_labels(["f1@val-f1:Mas"], ["Mass", "Edema"])


def test_validation_and_test_with_other_labels_are_refused():
    with pytest.raises(DataError, match=r"val\.npz: label 'b' is not in test\.npz \(known: c\)"):
        fit_thresholds(make_predictions(), make_predictions(("a", "c"), "test.npz"))


def test_the_policies_of_a_board_are_the_usual_ones_and_those_that_its_metrics_name():
    assert needed_policies(["auroc", "f1", "f1@oracle"]) == tuple(POLICIES)
    named = ["f1@val-sens0.85", "npv@val-sens0.85", "npv@val-sens1"]
    assert needed_policies(named) == (*POLICIES, "val-sens0.85", "val-sens1")
    with pytest.raises(UnknownNameError, match="unknown threshold policy in 'f1@val-sense'"):
        needed_policies(["f1@val-sense"])


@pytest.mark.parametrize("number", ["", "0", "0.0", "1.01", "2", "-0.5", ".5", "1e-1", "0.9 "])
def test_a_sensitivity_is_above_0_and_up_to_1(number):
    with pytest.raises(UnknownNameError, match=r"such as val-sens0\.85"):
        split_name(f"f1@val-sens{number}")
    with pytest.raises(UnknownNameError, match="val-sens and val-spec take"):
        split_name(f"f1@val-spec{number}")
    with pytest.raises(UnknownNameError, match="unknown threshold policy"):
        fit_thresholds(make_predictions(), make_predictions(), [f"val-sens{number}"])


def test_policies_are_explained_in_their_usual_order():
    names = ["f1@oracle", "f1@val-spec0.95", "f1@val-sens0.85", "auroc", "f1@0.5", "f1@from-the-future"]
    explained = explain_policies(names)
    assert list(explained) == ["0.5", "oracle", "val-sens0.85", "val-spec0.95"]
    assert explained["val-spec0.95"].startswith("the lowest threshold with a specificity of at least 0.95")
    assert explained["val-sens0.85"].startswith("the highest threshold with a sensitivity of at least 0.85")
    assert explain_policies(["f1@val-f1:Mass", "f1@val-sens0.85:Mass"]) == {
        "val-f1:Mass": "the threshold with the highest F1 on validation, for Mass alone; for every other label a score "
        "of one half",
        "val-sens0.85:Mass": "the highest threshold with a sensitivity of at least 0.85 on validation, for Mass alone; "
        "for every other label a score of one half",
    }


def test_names_of_metrics_carry_their_policy():
    assert split_name("auroc") == ("auroc", None)
    assert split_name("f1@val-f1") == ("f1", "val-f1")
    with pytest.raises(UnknownNameError, match="did you mean 'oracle'"):
        split_name("f1@oracel")
    measured = {"auroc", "f1@0.5", "f1@val-f1"}
    assert (full_name("f1", measured), full_name("auroc", measured)) == ("f1@val-f1", "auroc")
