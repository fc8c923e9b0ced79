"""Groups are scored where they hold enough, and gaps lie where they were put."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from harness import Metric
from harness.evaluation.bootstrap import draw_resamples, find_interval, resample
from harness.evaluation.subgroups import FEWEST, Subgroups, band_ages, measure_subgroups


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
        return measure_subgroups(columns, metrics, given, targets, patients, resampling)

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
        case = make_case()
        gap = measured({"sex": case[4]}, case)["sex"].gaps[metric]
        assert gap is not None
        assert gap.interval is not None
        assert gap.value >= 0
        assert gap.interval[0] < 0.02


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
    assert gap.interval == pytest.approx(find_interval(best - worst))


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
