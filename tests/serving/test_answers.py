"""What the app says in words, and on which scale."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.components import LEAK
from harness.evaluation.calibration import Calibration
from harness.results.record import PretrainingPart
from harness.serving.answers import describe_image, describe_row, tell_decision


@pytest.mark.parametrize(
    ("decision", "value", "threshold", "words"),
    [
        (1, 0.42, 0.31, "above its threshold 0.310"),
        (0, 0.12, 0.31, "below its threshold 0.310"),
        (1, 0.3101, 0.31, "just above its threshold 0.310"),
        (float("nan"), 0.3, float("nan"), "no threshold: validation could not fit one"),
    ],
)
def test_a_decision_is_said_in_words(decision, value, threshold, words):
    assert tell_decision(decision, value, threshold) == words


def test_a_probability_is_above_the_drawn_threshold_exactly_where_the_label_counts_as_present(toy_rows):
    row = toy_rows[0]
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16), dtype=np.uint8)
    for image in images:
        for one in describe_image(row, row.predict([image]), None, None):
            if one["threshold"] is not None:
                assert one["reached"] == (one["probability"] >= one["threshold"])


def test_where_calibration_reverses_a_label_no_threshold_is_drawn_and_without_one_the_score_is_shown(toy_rows):
    row = toy_rows[0]
    lines = Calibration(np.array([-1.0, np.nan, 1.0]), np.array([0.0, np.nan, 0.0]))
    changed = dataclasses.replace(row, fitted=dataclasses.replace(row.fitted, calibration=lines))
    pixels = np.full((16, 16), 90, dtype=np.uint8)
    scores = changed.predict([pixels])
    reversed_, plain, usual = describe_image(changed, scores, None, None)
    assert reversed_["threshold"] is None
    assert "calibration reverses this label" in reversed_["decision"]
    assert (plain["calibrated"], plain["probability"]) == (False, scores.probability[0, 1])
    assert plain["threshold"] == pytest.approx(row.thresholds()[1])
    assert usual["threshold"] == pytest.approx(row.thresholds()[2])


@pytest.mark.parametrize(
    ("overlap", "says"),
    [
        ("shared", "Its AUROC may be too good: the network has seen test images."),
        ("possible", "Its AUROC may be too good: the network may have seen test images."),
        ("unknown", "Its AUROC may be too good: its pretraining is unknown."),
    ],
)
def test_an_auroc_on_images_that_the_network_may_have_seen_is_doubted(toy_rows, overlap, says):
    row, record = toy_rows[0], toy_rows[0].record
    seen = PretrainingPart(name="somewhere", overlap=overlap, images=3 if overlap == "shared" else None)
    doubted = record.model_copy(update={"pretraining": [seen]})
    assert describe_row(dataclasses.replace(row, records=(doubted,)), None)["notes"] == [says]
    assert describe_row(row, None)["notes"] == []


def test_an_auroc_of_splits_that_leak_is_too_good(toy_rows):
    row, record = toy_rows[0], toy_rows[0].record
    data = record.dataset.model_copy(update={"notes": {LEAK: "3 patients are in more than one split"}})
    leaking = dataclasses.replace(row, records=(record.model_copy(update={"dataset": data}),))
    assert describe_row(leaking, None)["notes"] == [
        "Its AUROC is too good, since the splits leak: 3 patients are in more than one split."
    ]
