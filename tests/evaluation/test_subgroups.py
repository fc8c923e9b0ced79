"""Groups are scored where they hold enough, and gaps lie where they were put."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from harness import Metric
from harness.evaluation.bootstrap import draw_resamples, resample
from harness.evaluation.intervals import find_interval
from harness.evaluation.permutation import NO_GROUP, Question, measure_permuted, permute_groups
from harness.evaluation.resamples import Resamples, load_groups
from harness.evaluation.subgroups import (
    FEWEST,
    Macros,
    Subgroups,
    average_subgroups,
    band_ages,
    find_gap,
    measure_subgroups,
)

KEPT = ("resampled", "permuted")
"""Draws that lie beside a record."""


def make_case(shift=0.0, count=600, labels=3):
    """Scores that are worse by `shift` for women; the third label has few positives."""
    generator = np.random.default_rng(0)
    patients = np.array([f"p{n // 2}" for n in range(count)])
    sex = np.repeat(generator.choice(np.array(["F", "M", None], dtype=object), count // 2, p=[0.4, 0.5, 0.1]), 2)
    targets = (generator.random((count, labels)) < [0.3, 0.5, 0.01][:labels]).astype(np.float32)
    quality = 2 - shift * (sex == "F")[:, None]
    scores = generator.normal(size=targets.shape) + quality * targets
    return scores, (scores > 1).astype(float), targets, patients, sex


@pytest.fixture
def measured(registry):
    def measure(columns, case) -> dict[str, Subgroups]:
        scores, decisions, targets, patients, _ = case
        metrics = [registry.metric(name) for name in ("auroc", "sensitivity")]
        given = {"auroc": scores, "sensitivity": decisions}
        resampling = draw_resamples(patients, 300, seed="s")
        return measure_subgroups(columns, metrics, given, targets, patients, resampling, permutations=200, seed="s")

    return measure


def test_values_are_those_of_the_group_alone(measured):
    case = make_case()
    scores, decisions, targets, patients, sex = case
    found = measured({"sex": sex}, case)["sex"]
    assert [group.name for group in found.groups] == ["F", "M"]
    assert found.unknown == (sex == None).sum()  # noqa: E711 - element by element
    for group in found.groups:
        rows = sex == group.name
        assert (group.images, group.patients) == (rows.sum(), len(set(patients[rows])))
        for label in range(2):
            truth = targets[rows, label]
            assert group.per_label["auroc"][label] == pytest.approx(roc_auc_score(truth, scores[rows, label]))
            assert group.per_label["sensitivity"][label] == pytest.approx(recall_score(truth, decisions[rows, label]))
            assert group.positives[label] == truth.sum()
            assert group.negatives[label] == (truth == 0).sum()
        assert group.macro["auroc"] == pytest.approx(group.per_label["auroc"][:2].mean())


def test_a_label_with_too_few_of_a_class_is_counted_not_scored(measured):
    case = make_case()
    found = measured({"sex": case[4]}, case)["sex"]
    for group in found.groups:
        assert 0 <= group.positives[2] < FEWEST
        assert np.isnan(group.per_label["auroc"][2])
        assert np.isnan(group.per_label["sensitivity"][2])
    gap = found.gaps["auroc"]
    assert gap is not None
    assert gap.labels_used == 2


def test_a_gap_that_was_put_there_is_found_and_none_is_not_certain(measured):
    for metric in ("auroc", "sensitivity"):
        case = make_case(shift=1.5)
        gap = measured({"sex": case[4]}, case)["sex"].gaps[metric]
        assert gap is not None
        assert (gap.best, gap.worst) == ("M", "F")
        assert gap.interval is not None
        assert 0 < gap.interval[0] < gap.value < gap.interval[1]
        assert gap.p == pytest.approx(1 / 201)
        case = make_case()
        gap = measured({"sex": case[4]}, case)["sex"].gaps[metric]
        assert gap is not None
        assert gap.interval is not None
        assert gap.value >= 0
        assert gap.interval[0] < 0.02
        assert gap.p is not None
        assert gap.p > 0.05


def test_the_interval_of_a_gap_is_paired_on_the_same_patients(registry):
    scores, _, targets, patients, sex = make_case(labels=2)
    resampling = draw_resamples(patients, 200, seed="s")
    auroc = registry.metric("auroc")
    gap = measure_subgroups({"sex": sex}, [auroc], {"auroc": scores}, targets, patients, resampling)["sex"].gaps[
        "auroc"
    ]
    assert gap is not None
    best, worst = (
        resample(auroc, scores[sex == name], targets[sex == name], patients[sex == name], resampling).mean(axis=1)
        for name in (gap.best, gap.worst)
    )
    assert gap.interval == pytest.approx(find_interval(gap.value, best - worst), abs=1e-4)


def test_value_interval_and_p_of_a_gap_are_over_one_set_of_labels(measured):
    scores, _, targets, patients, sex = case = make_case(labels=2)
    for name in ("F", "M"):  # of the first label, twelve positives of one patient in each group
        (rows,) = np.nonzero(sex == name)
        targets[rows, 0] = 0
        targets[rows[:12], 0], patients[rows[:12]] = 1, patients[rows[0]]
        scores[rows[:12], 0] += 3 * (name == "M")
    found = measured({"sex": sex}, case)["sex"]
    assert all(np.isnan(group.per_label["auroc"][0]) for group in found.groups)
    gap, macros = found.gaps["auroc"], found.macros["auroc"]
    assert gap is not None
    assert gap.labels_used == 1
    values = dict(zip(macros.groups, macros.resampled, strict=True))
    assert (values[gap.best] - values[gap.worst]).mean() == pytest.approx(gap.value, abs=0.01)
    for group, value in zip(found.groups, macros.values, strict=True):
        assert group.macro["auroc"] == value == group.per_label["auroc"][1]


def test_a_permutation_in_which_a_group_lacks_a_label_does_not_count():
    permuted = [[0.5, 0.6, np.nan, 0.5], [0.5, 0.5, 0.8, 0.5], [0.6, 0.5, 0.5, 0.5]]
    gap = find_gap([make_macros([0.7, 0.6, 0.65], permuted)])
    assert gap.p == pytest.approx((1 + 2) / 4)


def test_what_is_kept_gives_the_same_interval_and_p_again(measured, tmp_path):
    case = make_case(shift=0.3)
    found = measured({"sex": case[4]}, case)["sex"]
    groups, permuted = ({f"sex/{name}": getattr(one, kind) for name, one in found.macros.items()} for kind in KEPT)
    (tmp_path / "r.npz").write_bytes(Resamples(macro={}, per_label={}, groups=groups, permuted=permuted).as_bytes())
    kept = load_groups((tmp_path / "r.npz").read_bytes())
    for name, macros in found.macros.items():
        drawn = dict(zip(KEPT, (kept.groups[f"sex/{name}"], kept.permuted[f"sex/{name}"]), strict=True))
        gap, again = found.gaps[name], find_gap([dataclasses.replace(macros, **drawn)])
        assert gap is not None
        assert (again.p, again.value) == (gap.p, gap.value)
        assert again.interval == pytest.approx(gap.interval, abs=1e-6)


def test_where_less_is_better_the_best_group_has_the_least():
    metric = Metric(
        name="error",
        compute=lambda scores, targets, weights: scores.mean(axis=0),
        higher_is_better=False,
        weighted=False,
    )
    _, _, targets, patients, _ = make_case(labels=2)
    column = np.arange(600) % 2
    scores = np.tile(column[:, None], 2).astype(float)
    resampling = draw_resamples(patients, 20, seed="s")
    found = measure_subgroups({"c": column}, [metric], {"error": scores}, targets, patients, resampling)["c"]
    gap = found.gaps["error"]
    assert gap is not None
    assert (gap.best, gap.worst, gap.value) == ("0", "1", 1)


def test_one_group_or_none_has_no_gap(measured):
    case = make_case()
    found = measured({"one": np.full(600, "x"), "none": [None] * 600, "nan": pd.Series([np.nan] * 600)}, case)
    assert [len(found[name].groups) for name in ("one", "none", "nan")] == [1, 0, 0]
    assert all(gap is None for subgroups in found.values() for gap in subgroups.gaps.values())
    assert (found["one"].unknown, found["none"].unknown) == (0, 600)


def test_ages_fall_into_bands():
    found = band_ages([0, 39.9, 40, 59, 60, 79, 80, 101, np.nan]).tolist()
    assert found == ["0-39", "0-39", "40-59", "40-59", "60-79", "60-79", "80+", "80+", None]


# --- groups drawn at random ------------------------------------------------------------------------------------------


def test_a_permutation_deals_the_names_of_patients_out_anew():
    patients = np.array([f"p{n}" for n in [0, 0, 0, 1, 2, 2, 3, 4, 5]])
    group = np.array([0, 0, 0, 1, 1, 1, 0, NO_GROUP, 1], dtype=np.uint16)
    shuffled = np.concatenate(list(permute_groups(group, patients, 500, "s")), axis=1)
    assert shuffled.shape == (9, 500)
    assert (shuffled[7] == NO_GROUP).all()
    for patient in ("p0", "p2"):  # who has one name for all images has one afterwards
        assert (shuffled[patients == patient] == shuffled[np.flatnonzero(patients == patient)[0]]).all()
    first = shuffled[[0, 3, 4, 6, 8]]
    assert ((first == 0).sum(axis=0) == 2).all()  # as many patients of each name
    np.testing.assert_allclose((first == 0).mean(axis=1), 2 / 5, atol=0.08)
    again = np.concatenate(list(permute_groups(group, patients, 70, "s")), axis=1)
    np.testing.assert_array_equal(again, shuffled[:, :70])


def test_names_that_differ_between_a_patients_images_are_taken_over_image_by_image():
    patients = np.array(["a", "a", "b", "b", "b", "c"])
    group = np.array([0, 1, 2, 3, 4, 5], dtype=np.uint16)
    shuffled = np.concatenate(list(permute_groups(group, patients, 200, "s")), axis=1)
    assert {tuple(column[2:5]) for column in shuffled.T} == {(0, 1, 0), (2, 3, 4), (5, 5, 5)}
    assert {tuple(column[:2]) for column in shuffled.T} == {(0, 1), (2, 3), (5, 5)}


@pytest.mark.parametrize("batched", [True, False])
def test_values_in_permuted_groups_are_scikit_learns(registry, batched):
    scores, decisions, targets, patients, _ = make_case(labels=2, count=120)
    targets = targets.astype(np.float64)
    targets[::7, 0] = np.nan
    group = (np.arange(120) // 2 % 3).astype(np.uint16)
    blocks = list(permute_groups(group, patients, 100, "s"))
    auroc, sensitivity = registry.metric("auroc"), registry.metric("sensitivity")
    if not batched:
        auroc, sensitivity = (dataclasses.replace(metric, batched=None) for metric in (auroc, sensitivity))
    questions = {
        "auroc": Question(auroc, scores, targets, [0, 2]),
        "sensitivity": Question(sensitivity, decisions, targets, [1]),
    }
    found = measure_permuted(questions, iter(blocks), patients)
    assert (found["auroc"].shape, found["sensitivity"].shape) == ((2, 100), (1, 100))
    shuffled = np.concatenate(blocks, axis=1)

    def macro(measure, values, inside):
        known = [inside & ~np.isnan(targets[:, label]) for label in range(2)]
        return np.mean([measure(targets[rows, label], values[rows, label]) for label, rows in enumerate(known)])

    for number in range(0, 100, 9):
        for place, name in enumerate((0, 2)):
            expected = macro(roc_auc_score, scores, shuffled[:, number] == name)
            assert found["auroc"][place, number] == pytest.approx(expected)
        expected = macro(recall_score, decisions, shuffled[:, number] == 1)
        assert found["sensitivity"][0, number] == pytest.approx(expected)


def make_macros(values, permuted) -> Macros:
    values, permuted = np.array(values), np.array(permuted)
    return Macros(
        groups=("F", "M", "X"),
        values=values,
        resampled=values[:, None] + np.zeros((3, 5)),
        permuted=permuted,
        labels_used=2,
        higher_is_better=True,
    )


def test_p_is_the_share_of_permutations_whose_largest_gap_is_as_large():
    permuted = np.array([[0.5, 0.6, 0.5, 0.5], [0.5, 0.5, 0.8, 0.5], [0.6, 0.5, 0.5, 0.5]])
    gap = find_gap([make_macros([0.7, 0.6, 0.65], permuted)])
    assert (gap.best, gap.worst, gap.labels_used) == ("F", "M", 2)
    assert gap.value == pytest.approx(0.1)
    assert gap.p == pytest.approx((1 + 3) / 5)
    assert gap.interval is None  # nothing moves them


def test_the_gap_over_seeds_is_that_of_the_means():
    seeds = [
        make_macros([0.8, 0.6, 0.7], [[0.5, 0.7], [0.5, 0.5], [0.5, 0.5]]),
        make_macros([0.6, 0.7, 0.7], [[0.5, 0.5], [0.5, 0.5], [0.5, 0.7]]),
    ]
    gap = find_gap(seeds)  # means 0.7, 0.65, 0.7; permuted gaps 0 and 0.1
    assert (gap.best, gap.worst) == ("X", "M")
    assert gap.value == pytest.approx(0.05)
    assert gap.p == pytest.approx((1 + 1) / 3)


def test_a_system_of_equal_seeds_has_the_groups_and_gaps_of_one(measured):
    case = make_case(shift=0.5)
    one = measured({"sex": case[4]}, case)["sex"]
    both = average_subgroups([one, one])
    assert both.gaps == one.gaps
    for group, same in zip(both.groups, one.groups, strict=True):
        assert group.macro == pytest.approx(same.macro)
        np.testing.assert_allclose(group.per_label["auroc"], same.per_label["auroc"])
