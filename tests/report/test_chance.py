"""What is no finding: rows no better than chance, and labels with too few patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.board import combo_name
from harness.evaluation.parts import LabelValue
from harness.evaluation.resamples import Resamples
from harness.metric_names import title_metric
from harness.report.chance import find_rare_labels
from harness.report.headline import conclude
from harness.report.matrix import mark_best, shade_labels
from harness.report.page import render_text
from harness.report.summary import summarize


def conclude_on(build, metric: str, value: float, spread: float | None = None, *, higher: bool = True, seeds: int = 1):
    """The answer of a board whose rows have that value in each label, each with 10 positives of 100 images."""
    numbers = range(seeds)
    part = build.metric(value, higher_is_better=higher)
    records = [build.record(model, seed, {metric: part}) for model in ("a", "b") for seed in numbers]
    board = build.board("a", "b", seeds=tuple(numbers), objective=metric.partition("@")[0])
    noise = np.random.default_rng(0).normal(0, spread or 0, 400)
    drawn = {
        combo_name(r.combo.row, r.combo.seed): Resamples(
            macro={metric: value + noise}, per_label=dict.fromkeys(build.labels, value + noise)
        )
        for r in records
    }
    return conclude(summarize(board, records, drawn if spread else None))


NO_BETTER = {
    "the interval of an auroc holds one half": ("auroc", 0.52, 0.03, True),
    "an auroc below one half": ("auroc", 0.48, None, True),
    "an auprc near the prevalence": ("auprc", 0.12, 0.03, True),
    "an f1 that finding all gets": ("f1@val-f1", 2 * 0.1 / 1.1, None, True),
    "a brier score that prevalence gets": ("brier", 0.089, 0.003, False),
}


@pytest.mark.parametrize("case", NO_BETTER)
def test_a_best_row_that_chance_explains_is_called_no_better_than_chance(build, case):
    metric, value, spread, higher = NO_BETTER[case]
    text = conclude_on(build, metric, value, spread, higher=higher)
    assert f"is first with {title_metric(metric)}" in text
    assert "no better than chance (its" in text
    assert "leads" not in text


BETTER = {
    "an interval above one half": ("auroc", 0.6, 0.02, True),
    "no interval": ("auroc", 0.52, None, True),
    "an auprc of one half, where one in ten is positive": ("auprc", 0.5, 0.02, True),
    "an f1 above that of finding all": ("f1@val-f1", 0.4, 0.02, True),
    "a brier score below that of prevalence": ("brier", 0.06, 0.003, False),
    "a metric whose chance nobody knows": ("sensitivity@val-f1", 0.1, 0.03, True),
}


@pytest.mark.parametrize("case", BETTER)
def test_a_best_row_that_chance_does_not_explain_leads(build, case):
    metric, value, spread, higher = BETTER[case]
    text = conclude_on(build, metric, value, spread, higher=higher)
    assert f"leads with {title_metric(metric)}" in text
    assert "chance" not in text.partition("ahead")[0]


def test_what_is_judged_is_the_interval_over_seeds_too_where_there_is_one(build):
    values = {0: 0.5, 1: 0.55, 2: 0.6}
    records = [build.record("a", seed, value) for seed, value in values.items()]
    noise = np.random.default_rng(0).normal(0, 0.01, 400)
    drawn = {
        combo_name(r.combo.row, r.combo.seed): Resamples(macro={"auroc": values[r.combo.seed] + noise}, per_label={})
        for r in records
    }
    summary = summarize(build.board("a", seeds=tuple(values)), records, drawn)
    interval = summary.ranked[0].metrics["auroc"].interval
    assert interval is not None
    assert interval[0] > 0.5
    assert "its 95 % interval over patients and seeds holds 0.5, what chance gets" in conclude(summary)


@pytest.mark.parametrize(("counts", "rare"), [((9, 91), True), ((91, 9), True), ((10, 90), False), ((90, 10), False)])
def test_labels_with_fewer_than_ten_positives_or_negatives_are_neither_colored_nor_best(build, counts, rare):
    def part(edema: float, mass: float):
        whole = build.metric(edema, mass, 0.7)
        few = LabelValue(value=edema, positives=counts[0], negatives=counts[1])
        return whole.model_copy(update={"per_label": {**whole.per_label, "Edema": few}})

    records = [build.record("a", 0, {"auroc": part(0.9, 0.6)}), build.record("b", 0, {"auroc": part(0.6, 0.7)})]
    summary = summarize(build.board("a", "b", seeds=(0,)), records)
    assert find_rare_labels(summary) == (("Edema",) if rare else ())
    assert all(("Edema" in shades) is not rare for shades in shade_labels(summary, "auroc").values())
    assert ("Edema" in mark_best(summary, "auroc")) is not rare
    assert "Mass" in mark_best(summary, "auroc")
    page = render_text(summary)
    assert ("fewer than 10 positives or negatives (Edema)" in page) is rare
    assert ('<td class="e">0.900</td>' in page) is rare


def test_a_label_that_is_not_colored_does_not_set_the_scale_of_the_others(build):
    whole = {"a": build.metric(0.95, 0.60, 0.7), "b": build.metric(0.05, 0.62, 0.7)}
    few = {
        name: part.model_copy(
            update={"per_label": {**part.per_label, "Edema": replace(part.per_label["Edema"], positives=2)}}
        )
        for name, part in whole.items()
    }
    records = [build.record(name, 0, {"auroc": part}) for name, part in few.items()]
    shades = shade_labels(summarize(build.board("a", "b", seeds=(0,)), records), "auroc")
    assert shades["b--bce--demo"]["Mass"] == 3
