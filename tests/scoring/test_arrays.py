"""Predictions that lie in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.errors import DataError, UsageError
from harness.scoring.arrays import make_predictions

SCORES = np.array([[0.2, 0.9], [0.7, 0.1], [0.4, 0.6]])
TARGETS = np.array([[0, 1], [1, np.nan], [0, 1]])
FRAME = pd.DataFrame(SCORES, index=["a", "b", "c"], columns=["Edema", "Mass"])


def test_arrays_keep_their_scores_exactly():
    made = make_predictions(SCORES, TARGETS, labels=["Edema", "Mass"], patients=[7, 7, 8])
    assert np.array_equal(made.scores, SCORES)
    assert np.array_equal(made.targets, TARGETS.astype(np.float32), equal_nan=True)
    assert (made.labels, made.patient.tolist(), made.patients_known) == (("Edema", "Mass"), ["7", "7", "8"], True)


def test_without_names_labels_and_images_are_numbered_and_images_are_patients():
    made = make_predictions(SCORES.tolist(), TARGETS.tolist(), called="val")
    assert made.labels == ("0", "1")
    assert made.image.tolist() == made.patient.tolist() == ["val 0", "val 1", "val 2"]
    assert not made.patients_known


def test_frames_are_matched_by_image_and_label_in_any_order():
    shuffled = pd.DataFrame(TARGETS, index=FRAME.index, columns=FRAME.columns).loc[["c", "a", "b"], ["Mass", "Edema"]]
    made = make_predictions(FRAME, shuffled)
    assert np.array_equal(made.targets, TARGETS.astype(np.float32), equal_nan=True)
    assert made.image.tolist() == ["a", "b", "c"]


def test_scores_that_are_no_probabilities_only_rank_and_it_is_said():
    made = make_predictions(SCORES * 10, TARGETS)
    assert made.is_rank_only
    assert "only rank" in made.notes[0]


@pytest.mark.parametrize(
    ("scores", "targets", "more", "error", "says"),
    [
        (SCORES, TARGETS[:2], {}, DataError, r"scores are \(3, 2\) and targets \(2, 2\)"),
        (SCORES[0], TARGETS, {}, DataError, r"shape \(2,\) must be \(images, labels\)"),
        ([["x", "y"]], TARGETS, {}, DataError, "no numbers"),
        (SCORES * np.nan, TARGETS, {}, DataError, "must be finite"),
        (SCORES, TARGETS + 1, {}, DataError, "targets must be 1, 0 or NaN"),
        (SCORES, TARGETS, {"labels": ["Edema"]}, UsageError, "2 columns and 1 labels"),
        (SCORES, TARGETS, {"labels": ["Edema", "Edema"]}, DataError, "stands in it more than once"),
        (SCORES, TARGETS, {"patients": ["p"]}, DataError, "3 images and 1 patients"),
        (FRAME, TARGETS, {"labels": ["Mass", "Edema"]}, UsageError, "names its labels by its columns"),
        (FRAME, FRAME.round().drop(index="b"), {}, DataError, "1 of 3 images have no targets, first 'b'"),
        (FRAME, FRAME.round()[["Mass"]], {}, DataError, "1 of 2 labels have no targets, first 'Edema'"),
    ],
)
def test_what_does_not_fit_is_refused(scores, targets, more, error, says):
    with pytest.raises(error, match=says):
        make_predictions(scores, targets, **more)
