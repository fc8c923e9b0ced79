"""Predictions of several systems meet by image and label, and are refused where they do not describe the same data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness import DataError
from harness.errors import UsageError
from harness.evaluation.predictions import Predictions
from harness.scoring.alignment import (
    align,
    common,
    note_overlap,
    note_spellings,
    require_distinct,
    require_same_targets,
    require_separate,
)


def make_predictions(source="a.npz", count=12, first=0) -> Predictions:
    """Logits that tell their image and label; two images a patient, some targets unknown."""
    numbers = np.arange(first, first + count)
    logits = (numbers[:, None] + np.array([0.1, 0.2, 0.3])).astype(np.float32)
    targets = np.stack([numbers % 2, numbers % 3 == 0, np.where(numbers % 5 == 0, np.nan, 1)], axis=1)
    image, patient = (np.array([f"{kind}{n // many:03}" for n in numbers]) for kind, many in (("i", 1), ("p", 2)))
    return Predictions(
        labels=("a", "b", "c"),
        image=image,
        patient=patient,
        logits=logits,
        targets=targets.astype(np.float32),
        source=source,
    )


def shuffle(predictions: Predictions) -> Predictions:
    """The same in another order of images and labels."""
    rows = np.random.default_rng(0).permutation(len(predictions.image))
    return predictions.select(rows).arrange(("c", "a", "b"), "another order")


def equal(a: Predictions, b: Predictions) -> bool:
    arrays = ("image", "patient", "logits", "targets", "scores")
    return a.labels == b.labels and all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name == "targets") for name in arrays
    )


def test_seeds_of_one_system_come_to_one_order():
    first = make_predictions()
    aligned = align([first, shuffle(make_predictions("b.npz")), shuffle(first)])
    assert all(equal(each, first) for each in aligned)
    assert [each.source for each in aligned] == ["a.npz", "b.npz", "a.npz"]


def test_given_scores_follow_their_images_and_labels():
    made = make_predictions()
    scored = Predictions.from_scores(made.labels, made.image, made.patient, made.scores, made.targets)
    (found, _) = align([shuffle(scored), made])
    np.testing.assert_array_equal(found.arrange(made.labels, "a").scores, made.scores)


def test_seeds_with_other_images_are_refused_with_the_counts():
    with pytest.raises(DataError, match=r"b\.npz has 2 of its 14 images alone, first 'i012': a\.npz does not hold"):
        align([make_predictions(), make_predictions("b.npz", count=14)])
    with pytest.raises(DataError, match=r"a\.npz has 3 of its 12 images alone, first 'i000': b\.npz does not hold"):
        align([make_predictions(), make_predictions("b.npz", first=3, count=9)])


def test_systems_are_restricted_to_the_images_that_all_have():
    found = common([shuffle(make_predictions()), make_predictions("b.npz", first=4), make_predictions("c", first=2)])
    assert [each.labels for each in found] == [("c", "a", "b")] * 3
    for each in found:
        assert each.image.tolist() == [f"i{n:03}" for n in range(4, 12)]
        np.testing.assert_array_equal(each.logits[:, 1], np.arange(4, 12, dtype=np.float32) + np.float32(0.1))


def test_nothing_in_common_is_refused_with_the_counts():
    with pytest.raises(DataError, match=r"no image is in all of a\.npz \(12 images\), b\.npz \(5 images\)"):
        common([make_predictions(), make_predictions("b.npz", first=50, count=5)])


@pytest.mark.parametrize("function", [align, common, require_same_targets])
def test_other_labels_are_refused_with_the_nearest_name(function):
    other = replace(make_predictions("b.npz"), labels=("a", "b", "cc"))
    with pytest.raises(DataError, match=r"b\.npz: label 'cc' is not in a\.npz: did you mean 'c'\?"):
        function([make_predictions(), other])


def test_the_same_targets_in_another_order_of_other_images_are_the_same():
    require_same_targets([make_predictions(), shuffle(make_predictions("b.npz", first=3)), make_predictions("c.npz")])


def test_targets_that_disagree_are_refused_with_the_count_and_the_first_image():
    other = make_predictions("b.npz")
    other.targets[4, 1], other.targets[5, 2] = 1, 1
    with pytest.raises(
        DataError, match=r"a\.npz and b\.npz differ in 2 targets of 12 images, first image 'i004', label 'b' \(0, 1\)"
    ):
        require_same_targets([make_predictions(), other])


def test_patients_that_disagree_are_refused_unless_one_file_does_not_know_them():
    other = make_predictions("b.npz")
    other = replace(other, patient=other.image)
    with pytest.raises(DataError, match=r"a\.npz and b\.npz differ in the patient of 12 of 12 images, first 'i000'"):
        require_same_targets([make_predictions(), other])
    require_same_targets([make_predictions(), replace(other, patients_known=False)])


def test_validation_and_test_share_labels_but_no_image_and_no_patient():
    val, test = make_predictions("val.npz"), make_predictions("test.npz", first=12)
    require_separate(shuffle(val), test)
    with pytest.raises(DataError, match=r"val\.npz .* and test\.npz .* share 2 images, first 'i010'"):
        require_separate(val, make_predictions("test.npz", first=10))
    apart = replace(test, patient=np.array([f"p{n:03}" for n in range(4, 16)]))
    with pytest.raises(DataError, match=r"val\.npz .* and test\.npz .* share 2 patients, first 'p004'"):
        require_separate(val, apart)
    require_separate(val, replace(apart, patients_known=False))
    with pytest.raises(DataError, match=r"val\.npz: label 'a' is not in test\.npz"):
        require_separate(val, replace(test, labels=("x", "b", "c")))


# --- leaks and copies that ids and names hide ------------------------------------------------------------------------


def make_split(source, patients, *, known=True, name="{:08}_{:03}.png", patient="{:08}") -> Predictions:
    """Two images a patient, called by the patient as NIH does."""
    images = np.array([name.format(number, n) for number in patients for n in range(2)])
    people = np.array([patient.format(number) for number in patients for _ in range(2)])
    logits = np.random.default_rng(len(source)).normal(size=(len(images), 2)).astype(np.float32)
    return Predictions(
        labels=("a", "b"),
        image=images,
        patient=people if known else images,
        logits=logits,
        targets=(logits > 0).astype(np.float32),
        patients_known=known,
        source=source,
    )


def test_patients_that_are_written_differently_in_two_splits_are_named():
    val, test = make_split("val", (170, 9), patient="{}", name="v{}-{}"), make_split("test", (170, 1000))
    require_separate(val, test)
    (note,) = note_overlap(val, test)
    assert "val (validation) and test (test) may share 1 patients, written differently: '170' and '00000170'" in note


def test_images_that_are_written_differently_in_two_splits_are_named():
    val = make_split("val", (1, 2), known=False, name="{}_{:03}")
    test = make_split("test", (2, 3), known=False)
    notes = note_overlap(val, test)
    assert "may share 2 images, written differently: '2_000' and '00000002_000.png'" in notes[0]


def test_a_split_that_names_no_patients_is_compared_by_the_patients_that_its_images_are_called_by():
    val = make_split("val", (170, 9), known=False, name="{:08}_1{:02}.png")
    test = make_split("test", (9, 170, 1000))
    require_separate(val, test)
    (note,) = note_overlap(val, test)
    assert "val: no patients are named, but images are called by them" in note
    assert "share 2 patients, first '170'" in note
    assert note_overlap(make_split("val", (5, 6), known=False), test) == []


def test_where_nothing_tells_the_patients_of_a_split_that_is_said():
    val, test = make_split("val", (1, 2), known=False, name="v{}-{}"), make_split("test", (3, 4), name="t{}-{}")
    (note,) = note_overlap(val, test)
    assert "whether val (validation) and test (test) share patients is not known" in note
    assert note_overlap(replace(val, patients_known=True), test) == []


def test_images_that_are_written_differently_are_named_where_predictions_do_not_meet():
    first, second = make_split("a", (1, 2)), make_split("b", (1, 2), name="{}_{:03}")
    with pytest.raises(DataError, match=r"perhaps the same, written differently: '00000001_000\.png' and '1_000'"):
        align([first, second])
    with pytest.raises(DataError, match="perhaps the same, written differently"):
        common([first, second])
    (note,) = note_spellings([first, second])
    assert "a and b: 4 images may be the same" in note
    assert note_spellings([first, make_split("c", (1, 2))]) == []
    other = replace(first, patient=np.array(["1", "1", "2", "2"]), source="other")
    with pytest.raises(DataError, match=r"perhaps the same, written differently: '00000001' and '1'"):
        require_same_targets([first, other])


def rounded(predictions, decimals):
    scores = np.round(predictions.scores, decimals)
    made = Predictions.from_scores(
        predictions.labels, predictions.image, predictions.patient, scores, predictions.targets
    )
    return replace(made, source="copy")


@pytest.mark.parametrize(
    "copy",
    [
        lambda p: p,
        shuffle,
        lambda p: rounded(p, 3),
        lambda p: shuffle(rounded(p, 6)),
        lambda p: Predictions.from_scores(p.labels, p.image, p.patient, p.scores, p.targets),
        lambda p: Predictions.from_scores(
            p.labels, p.image, p.patient, p.scores.astype(np.float16).astype(float), p.targets
        ),
        lambda p: replace(p, logits=np.round(p.logits, 3)),
        lambda p: replace(p, logits=p.logits.astype(np.float16).astype(np.float32)).arrange(p.labels[::-1], "a.npz"),
    ],
    ids=[
        "same",
        "shuffled",
        "three decimals",
        "six decimals, shuffled",
        "scores",
        "half precision",
        "logits of three decimals",
        "logits of half precision, labels in another order",
    ],
)
def test_a_copy_is_refused_whatever_its_name_format_and_order(copy):
    first = make_predictions(count=40)
    first = replace(first, logits=np.random.default_rng(0).normal(size=first.logits.shape).astype(np.float32))
    with pytest.raises(UsageError, match=r"a\.npz and copy hold the same predictions"):
        require_distinct([first, replace(copy(first), source="copy")])


def test_seeds_that_are_nearly_alike_are_no_copies():
    first = make_predictions(count=40)
    near = replace(first, logits=first.logits + np.float32(1e-3) * np.random.default_rng(0).normal(size=(40, 3)))
    require_distinct([first, near, make_predictions(count=12)])
