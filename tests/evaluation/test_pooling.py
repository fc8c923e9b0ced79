"""Scores and targets of images become those of studies or patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError
from harness.evaluation.pooling import pool
from harness.evaluation.predictions import Predictions, make_scores
from harness.units import count_units

LOGITS = np.array([[0.0, -2.0], [2.0, -1.0], [1.0, 0.0], [-3.0, 4.0]], dtype=np.float32)
TARGETS = np.array([[1, 0], [0, 0], [np.nan, 1], [0, np.nan]], dtype=np.float32)


def make(**changes) -> Predictions:
    """Images a and b of study s2, c of s1, all of patient p; d of study s3 of patient q."""
    made = Predictions(
        labels=("Edema", "Mass"),
        image=np.array(["a", "b", "c", "d"]),
        patient=np.array(["p", "p", "p", "q"]),
        logits=LOGITS,
        targets=TARGETS,
        study=np.array(["s2", "s2", "s1", "s3"]),
        columns={"sex": np.array(["F", "F", "F", "M"]), "view": np.array(["PA", "AP", "PA", "PA"])},
        source="x.npz",
    )
    return replace(made, **changes)


def test_images_stay_as_they_are():
    predictions = make()
    assert pool(predictions, "image", "mean") is predictions


def test_the_mean_of_a_study_is_that_of_its_scores():
    pooled = pool(make(), "study", "mean")
    scores = make_scores(LOGITS)
    assert pooled.image.tolist() == ["s1", "s2", "s3"]
    assert pooled.patient.tolist() == ["p", "p", "q"]
    np.testing.assert_allclose(pooled.scores, [scores[2], (scores[0] + scores[1]) / 2, scores[3]])
    np.testing.assert_array_equal(pooled.targets, [[np.nan, 1], [1, 0], [0, np.nan]])
    assert pooled.columns["sex"].tolist() == ["F", "F", "M"]
    assert pooled.columns["view"].tolist() == ["PA", "", "PA"]
    assert pooled.notes == ("x.npz: 1 study has images with different targets; a finding in any image counts",)


def test_the_largest_of_a_patient_keeps_its_logit():
    pooled = pool(make(), "patient", "max")
    assert pooled.image.tolist() == pooled.patient.tolist() == ["p", "q"]
    np.testing.assert_array_equal(pooled.logits, [[2, 0], [-3, 4]])
    assert pooled.given_scores is None
    np.testing.assert_array_equal(pooled.targets, [[1, 1], [0, np.nan]])


def test_scores_that_only_rank_are_pooled_as_they_are():
    ranks = LOGITS.astype(np.float64) * 10
    given = replace(make(), given_scores=ranks, is_rank_only=True)
    np.testing.assert_allclose(pool(given, "study", "mean").ranks, [ranks[2], (ranks[0] + ranks[1]) / 2, ranks[3]])
    np.testing.assert_allclose(pool(given, "study", "max").ranks, [ranks[2], np.maximum(ranks[0], ranks[1]), ranks[3]])


@pytest.mark.parametrize(
    ("changes", "unit", "says"),
    [
        ({"study": None}, "study", "nothing says which images belong to one study; name the study by --study"),
        (
            {"patients_known": False},
            "patient",
            "nothing says which images belong to one patient; name the patient by --patient",
        ),
        ({"patient": np.array(["p", "r", "p", "q"])}, "study", "study 's2' has images of patients 'p' and 'r'"),
    ],
)
def test_what_cannot_be_pooled_is_refused(changes, unit, says):
    with pytest.raises(DataError, match=says):
        pool(make(**changes), unit, "mean")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.randoms())
def test_no_order_of_images_matters_and_one_image_a_study_changes_nothing(studies, random):
    count = len(studies)
    draw = np.random.default_rng(count)
    predictions = Predictions(
        labels=("Edema",),
        image=np.array([f"i{number}" for number in range(count)]),
        patient=np.array([f"p{study}" for study in studies]),
        logits=draw.normal(size=(count, 1)),
        targets=draw.integers(0, 2, (count, 1)).astype(np.float32),
        study=np.array([f"s{study}" for study in studies]),
    )
    order = list(range(count))
    random.shuffle(order)
    one, other = (pool(each, "study", "mean") for each in (predictions, predictions.select(np.array(order))))
    np.testing.assert_allclose(one.scores, other.scores)
    np.testing.assert_array_equal(one.targets, other.targets)
    alone = pool(replace(predictions, study=predictions.image), "study", "max")
    order_by_name = np.argsort(predictions.image)
    np.testing.assert_array_equal(alone.logits, predictions.logits[order_by_name])


def test_units_are_counted_with_their_noun():
    assert [count_units("study", 1), count_units("study", 1500), count_units("image", 2)] == [
        "1 study",
        "1,500 studies",
        "2 images",
    ]
