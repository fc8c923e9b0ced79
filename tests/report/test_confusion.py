"""Right and wrong decisions of a row, averaged over seeds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from harness.evaluation.parts import ConfusionPart
from harness.report.confusion import average_confusion
from harness.report.page import render_text
from harness.report.summary import summarize


def part(tp: int, fp: int, fn: int, tn: int) -> ConfusionPart:
    return ConfusionPart(true_positives=tp, false_positives=fp, false_negatives=fn, true_negatives=tn)


def test_counts_are_means_over_seeds_with_the_oracle_last(build):
    records = [
        build.record("a", 0, confusion={"oracle": {"Mass": part(1, 2, 3, 4)}, "0.5": {"Mass": part(4, 10, 6, 80)}}),
        build.record("a", 1, confusion={"0.5": {"Mass": part(7, 21, 3, 69)}}),
    ]
    found = average_confusion(records)
    assert list(found) == ["0.5", "oracle"]
    one = found["0.5"]["Mass"]
    assert (one.true_positives, one.false_positives, one.false_negatives, one.true_negatives) == (5.5, 15.5, 4.5, 74.5)
    assert one.sensitivity == 0.55
    assert one.false_alarms == pytest.approx(15.5 / 90)
    assert one.precision == pytest.approx(5.5 / 21)


def test_rates_of_nothing_are_none(build):
    record = build.record("a", 0, confusion={"0.5": {"Mass": part(0, 0, 0, 0)}})
    one = average_confusion([record])["0.5"]["Mass"]
    assert (one.sensitivity, one.false_alarms, one.precision) == (None, None, None)


def test_counts_of_an_older_record_follow_from_sensitivity_and_specificity(build):
    generator = np.random.default_rng(1)
    targets = np.arange(100) < 10  # as the builder's: 10 positives, 90 negatives
    flagged = generator.random(100) < np.where(targets, 0.7, 0.2)
    (tn, fp), (fn, tp) = confusion_matrix(targets, flagged)
    metrics = {
        "sensitivity@0.5": build.metric(tp / 10, None, None),
        "specificity@0.5": build.metric(tn / 90, 1.0, None),
    }
    found = average_confusion([build.record("a", 0, metrics)])
    assert found.keys() == {"0.5"}
    assert found["0.5"].keys() == {"Edema"}
    one = found["0.5"]["Edema"]
    assert (one.true_positives, one.false_positives, one.false_negatives, one.true_negatives) == (tp, fp, fn, tn)
    assert average_confusion([build.record("a")]) == {}


def test_a_rows_details_hold_the_counts_of_each_label_and_policy(build):
    records = [
        build.record("a", seed, confusion={"val-f1": {"Edema": part(4 + seed, 1_000, 6 - seed, 80)}}) for seed in (0, 1)
    ]
    text = build.whole(render_text(summarize(build.board("a"), records)))
    assert "Right and wrong decisions by label and threshold policy, in images of the test split, means over 2" in text
    assert '<td class="begins">4.5</td><td>1,000.0</td><td>5.5</td><td>80.0</td>' in text
    assert text.count("no threshold") == 2
    assert "Right and wrong decisions" not in build.whole(render_text(summarize(build.board("a"), [build.record("a")])))
