"""Rows against labels: intervals, the best of a label and what does not differ significantly from it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.board import combo_name
from harness.evaluation.parts import LabelValue
from harness.evaluation.resamples import Resamples
from harness.report import summary as module
from harness.report.matrix import find_intervals, mark_best
from harness.report.summary import summarize

LABELS = ("Edema", "Mass", "Hernia")


def board(build, values: dict[str, tuple[float, float]], *, noise: float = 0.01, higher_is_better: bool = True):
    """Rows with two seeds: Edema and Mass differ between rows as given, Hernia is undefined."""
    records = [
        build.record(model, seed, {"auroc": build.metric(*pair, None, higher_is_better=higher_is_better)})
        for model, pair in values.items()
        for seed in (0, 1, 2)
    ]
    drawn = {}
    for number, record in enumerate(records):
        shaken = np.random.default_rng(number).normal(0, noise, 500)
        part = record.metrics["auroc"]
        labels = {name: one.value + shaken for name, one in part.per_label.items() if one.value is not None}
        drawn[record.combo.name] = Resamples(macro={"auroc": part.macro + shaken}, per_label=labels)
    return summarize(build.board(*values, seeds=(0, 1, 2)), records, drawn)


def test_the_leaders_of_a_label_are_the_best_and_what_does_not_differ_significantly(build):
    summary = board(build, {"a": (0.9, 0.7), "b": (0.901, 0.8), "c": (0.6, 0.6)})
    assert summary.leaders == {
        "Edema": {"a--bce--demo", "b--bce--demo"},
        "Mass": {"b--bce--demo"},
    }
    marks = mark_best(summary, "auroc")
    assert marks["Edema"] == {"a--bce--demo": "tied", "b--bce--demo": "best"}
    assert marks["Mass"] == {"b--bce--demo": "best"}
    assert "Hernia" not in marks


def test_where_lower_is_better_the_lowest_leads(build):
    summary = board(build, {"a": (0.1, 0.1), "b": (0.3, 0.3)}, higher_is_better=False)
    assert summary.leaders["Edema"] == {"a--bce--demo"}
    assert mark_best(summary, "auroc")["Edema"] == {"a--bce--demo": "best"}


def test_rows_with_the_same_value_are_both_the_best(build):
    records = [build.record(model, 0, 0.8) for model in ("a", "b")]
    marks = mark_best(summarize(build.board("a", "b", seeds=(0,)), records), "auroc")
    assert marks["Mass"] == {"a--bce--demo": "best", "b--bce--demo": "best"}


def test_a_lone_row_is_not_marked_as_the_best(build):
    assert mark_best(summarize(build.board("a", seeds=(0,)), [build.record("a")]), "auroc") == {}


def test_intervals_are_of_the_mean_for_the_objective_and_means_of_seeds_for_others(build):
    def metric(low: float, high: float):
        part = build.metric(0.5)
        labels = {n: LabelValue(value=0.5, interval=(low, high), positives=1, negatives=2) for n in part.per_label}
        return part.model_copy(update={"per_label": labels})

    records = [
        build.record("a", seed, {"auroc": build.metric(0.8), "f1": metric(*ends)})
        for seed, ends in enumerate([(0.4, 0.6), (0.3, 0.7)])
    ]
    known = np.linspace(0.7, 0.9, 201)
    labels = dict.fromkeys(records[0].dataset.labels, known)
    drawn = {combo_name("a--bce--demo", seed): Resamples(macro={"auroc": known}, per_label=labels) for seed in (0, 1)}
    summary = summarize(build.board("a"), records, drawn)
    (row,) = summary.ranked
    assert find_intervals(summary, row, "auroc")["Edema"] == pytest.approx((0.705, 0.895))
    assert find_intervals(summary, row, "f1") == dict.fromkeys(LABELS, pytest.approx((0.35, 0.65)))


def test_an_interval_that_a_seed_lacks_is_not_shown(build):
    records = [build.record("a", seed) for seed in (0, 1)]
    summary = summarize(build.board("a"), records)
    assert find_intervals(summary, summary.ranked[0], "auroc") == {}


def test_of_very_many_rows_the_best_are_compared_and_the_others_stand_in_no_group(build, monkeypatch):
    monkeypatch.setattr(module, "MOST_COMPARED", 2)
    summary = board(build, {"a": (0.9, 0.9), "b": (0.8, 0.8), "c": (0.7, 0.7)})
    assert [row.group for row in summary.ranked] == [1, 2, None]
    assert len(summary.pairs) == 1
    assert summary.compared
