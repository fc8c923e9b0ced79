"""Predictions made anywhere are read exactly, matched by name, and refused where they cannot mean one thing."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Data, DataError, UsageError
from harness.evaluation.predictions import Predictions, load_predictions
from harness.scoring.prediction_files import read_predictions

LABELS = ("Edema", "Mass", "Nodule")
SCORES = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [0.0, 1.0, 1e-9]])
TARGETS = np.array([[0, 1, 0], [1, 0, np.nan], [1, 1, 0], [0, 0, 1]], dtype=np.float32)
IMAGES = np.array(["i0", "i1", "i2", "i3"])
PATIENTS = np.array(["p0", "p0", "p1", "p2"])


@pytest.fixture
def write(tmp_path):
    """Writes a CSV: text, or a header and rows."""

    def make(name, content):
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content)
        else:
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(content)
        return path

    return make


@pytest.fixture
def scores(write):
    """A CSV of scores without patients."""
    rows = [[name, *map(repr, row)] for name, row in zip(IMAGES, SCORES.tolist(), strict=True)]
    return write("scores.csv", [["image", *LABELS], *rows])


def target_rows(rows=range(4), columns=range(3), patients=True):
    """Targets as a CSV has them."""
    texts = np.where(np.isnan(TARGETS), "", np.nan_to_num(TARGETS).astype(int).astype(str))
    header = ["image", *(["patient"] if patients else []), *(LABELS[column] for column in columns)]
    cells = [[IMAGES[r], *([PATIENTS[r]] if patients else []), *(texts[r, c] for c in columns)] for r in rows]
    return [header, *cells]


@pytest.fixture
def targets(write):
    """A CSV of targets and patients, in another order than the scores."""
    return write("targets.csv", target_rows([3, 1, 0, 2], [2, 0, 1]))


def make_data(rows=range(4), columns=range(3)):
    """The same targets as a dataset."""
    rows, columns = list(rows), list(columns)
    return Data(
        labels=tuple(LABELS[column] for column in columns),
        images=np.zeros((len(rows), 8, 8), dtype=np.uint8),
        targets=TARGETS[np.ix_(rows, columns)],
        table=pd.DataFrame({"image": IMAGES[rows], "split": "test", "patient": PATIENTS[rows]}),
    )


def by_name(predictions: Predictions):
    """Every cell by image and label, so that order does not matter."""
    return {
        (str(image), label): (predictions.scores[row, column], str(predictions.targets[row, column]))
        for row, image in enumerate(predictions.image)
        for column, label in enumerate(predictions.labels)
    }


EXPECTED = {
    (str(image), label): (SCORES[row, column], str(TARGETS[row, column]))
    for row, image in enumerate(IMAGES)
    for column, label in enumerate(LABELS)
}


def test_scores_and_targets_of_two_files_meet_by_name_whatever_their_order(scores, targets):
    read = read_predictions(scores, targets=targets)
    assert by_name(read) == EXPECTED
    assert dict(zip(read.image, read.patient, strict=True)) == dict(zip(IMAGES, PATIENTS, strict=True))
    assert read.patients_known
    assert read.source == str(scores)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_a_dataset_gives_targets_and_patients_to_some_of_its_images(tmp_path, write, suffix):
    rows = [3, 0, 1]
    path = tmp_path / f"some.{suffix}"
    if suffix == "npz":
        np.savez(path, labels=np.array(LABELS), image=IMAGES[rows], scores=SCORES[rows])
    else:
        write("some.csv", [["image", *LABELS], *([IMAGES[r], *map(repr, SCORES[r].tolist())] for r in rows)])
    read = read_predictions(path, data=make_data([2, 0, 3, 1], [1, 2, 0]))
    assert by_name(read) == {cell: value for cell, value in EXPECTED.items() if cell[0] != "i2"}
    assert sorted(read.patient) == ["p0", "p0", "p2"]
    assert read.patients_known


def test_an_npz_of_a_run_needs_nothing_else_and_a_targets_file_takes_the_place_of_its_own(tmp_path, targets):
    other = 1 - np.nan_to_num(TARGETS)
    Predictions(labels=LABELS, image=IMAGES, patient=PATIENTS, logits=SCORES.astype(np.float32), targets=other).save(
        tmp_path / "run.npz"
    )
    np.testing.assert_array_equal(read_predictions(tmp_path / "run.npz").targets, other)
    read = read_predictions(tmp_path / "run.npz", targets=targets)
    assert {cell: value[1] for cell, value in by_name(read).items()} == {c: v[1] for c, v in EXPECTED.items()}


def test_without_patients_anywhere_each_image_is_one_and_the_result_says_so(tmp_path, write, scores):
    read = read_predictions(scores, targets=write("t.csv", target_rows(patients=False)))
    assert not read.patients_known
    np.testing.assert_array_equal(read.patient, read.image)
    read.save(tmp_path / "again.npz")
    assert not read_predictions(tmp_path / "again.npz").patients_known


def test_patients_may_stand_beside_the_scores(write):
    rows = [[p, *map(repr, s), i] for p, s, i in zip(PATIENTS, SCORES.tolist(), IMAGES, strict=True)]
    path = write("scores.csv", [["patient", *LABELS, "image"], *rows])
    read = read_predictions(path, targets=write("t.csv", target_rows(patients=False)))
    assert read.patients_known
    np.testing.assert_array_equal(read.patient, PATIENTS)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_scores_are_kept_to_the_last_bit_through_text_and_npz(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("exact")
    lines = [f"i{n},{value!r}" for n, value in enumerate(values)]
    (folder / "s.csv").write_text("\n".join(["image,a", *lines]))
    (folder / "t.csv").write_text("\n".join(["image,a", *(f"i{n},1" for n in range(len(values)))]))
    read = read_predictions(folder / "s.csv", targets=folder / "t.csv")
    read.save(folder / "s.npz")
    for found in (read, read_predictions(folder / "s.npz"), load_predictions(folder / "s.npz")):
        assert found.scores[:, 0].tolist() == values
        assert np.isfinite(found.logits).all()


def test_logits_of_scores_give_the_scores_back():
    scores = np.linspace(0.001, 0.999, 99)[:, None]
    names = np.arange(99).astype(str)
    made = Predictions.from_scores(("a",), names, names, scores, np.zeros((99, 1), dtype=np.float32))
    np.testing.assert_allclose(1 / (1 + np.exp(-made.logits)), scores, rtol=1e-12)


def test_blanks_around_cells_a_byte_order_mark_and_empty_lines_do_not_matter(write):
    scores = write("s.csv", "\ufeffimage , a\n i0 , 0.25\n\ni1,1e-3\n")
    read = read_predictions(scores, targets=write("t.csv", "image,a\r\ni1,0.0\r\ni0,1.0\r\n"))
    assert (read.image.tolist(), read.scores[:, 0].tolist()) == (["i0", "i1"], [0.25, 0.001])
    assert read.targets[:, 0].tolist() == [1, 0]


FINE = "image,Edema\ni0,1\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("image,Edema\ni0,nan\n", r"s\.csv: image 'i0', label 'Edema': a score must be in 0\.\.1 .*, got nan"),
        ("image,Edema\ni0,\n", r"s\.csv: image 'i0', label 'Edema': a score must be in 0\.\.1 .*, got nan"),
        ("image,Edema\ni0,inf\n", r"s\.csv: image 'i0', label 'Edema': a score .* got inf"),
        ("image,Edema\ni0,1.0001\n", r"s\.csv: image 'i0', label 'Edema': a score .* got 1\.0001"),
        ("image,Edema\ni0,-2\n", r"s\.csv: image 'i0', label 'Edema': a score .* got -2"),
        ("image,Edema\ni0,high\n", r"s\.csv: image 'i0', label 'Edema': 'high' is no number"),
        ("image,Edema\ni0,0.1\ni0,0.2\n", r"s\.csv: image 'i0' stands in it more than once"),
        ("image,Edema,Edema\ni0,0.1,0.2\n", r"s\.csv: column 'Edema' stands in it more than once"),
        ("image,Edma\ni0,0.1\n", r"s\.csv: label 'Edma' is not in .*t\.csv: did you mean 'Edema'\?"),
        ("image,Edema,Mass\ni0,0.1,0\n", r"s\.csv: label 'Mass' is not in .*t\.csv \(known: Edema\)"),
        ("file,Edema\ni0,0.1\n", r"s\.csv has no column 'image' \(it has file, Edema\)"),
        ("image\ni0\n", r"s\.csv: a column without a label's name, or none at all"),
        ("image,,Edema\ni0,1,0.1\n", r"s\.csv: a column without a label's name"),
        ("image,patient,Edema\ni0,,0.1\n", r"s\.csv: 1 rows have no patient"),
        ("image,Edema\n,0.1\n", r"s\.csv: 1 rows have no image"),
        ("image,Edema\ni0,0.1,0.2\n", r"s\.csv: image 'i0' has 3 cells under 2 columns"),
        ("image,Edema\ni9,0.1\n", r"s\.csv: 1 of 1 images are not in .*t\.csv, first i9; .* named like 'i0'"),
        ("image,Edema\n", r"s\.csv is empty"),
        ("", r"s\.csv is empty"),
        ('image,Edema\n"i0,0.1\n', r"s\.csv is no table of comma-separated values"),
    ],
)
def test_scores_that_cannot_mean_one_thing_are_refused_naming_file_image_and_label(write, content, says):
    with pytest.raises(DataError, match=says):
        read_predictions(write("s.csv", content), targets=write("t.csv", FINE))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("image,Edema\ni0,2\n", r"t\.csv: targets must be 1, 0 or NaN .*, found 2 for image 'i0', label 'Edema'"),
        ("image,Edema\ni0,-1\n", r"t\.csv: targets must be .* found -1"),
        ("image,Edema\ni0,inf\n", r"t\.csv: targets must be .* found inf"),
        ("image,Edema\ni0,yes\n", r"t\.csv: image 'i0', label 'Edema': 'yes' is no number"),
        ("image,Edema\ni0,1\ni0,1\n", r"t\.csv: image 'i0' stands in it more than once"),
        ("image,Edema,Mass\ni0,1,0\n", r"s\.csv: label 'Mass' of .*t\.csv is missing \(one of 1\)"),
        ("image,Edema\ni1,1\n", r"s\.csv: 1 of 1 images are not in .*t\.csv, first i0"),
        (
            "image,patient,Edema\ni0,q,1\n",
            r"s\.csv: 1 images have another patient than in .*t\.csv, first 'i0' \(p, th",
        ),
        ("image,Edema\ni0,\n", r"s\.csv: no target of its images is known"),
        ("", r"t\.csv is empty"),
    ],
)
def test_targets_that_cannot_mean_one_thing_are_refused(write, content, says):
    scores = write("s.csv", "image,patient,Edema\ni0,p,0.5\n")
    with pytest.raises(DataError, match=says):
        read_predictions(scores, targets=write("t.csv", content))


def test_images_that_the_dataset_lacks_are_counted_and_the_first_named(scores):
    with pytest.raises(DataError, match=r"scores\.csv: 2 of 4 images are not in the dataset, first i0, i2"):
        read_predictions(scores, data=make_data([1, 3]))


def test_without_targets_a_file_of_scores_says_what_it_needs(scores):
    with pytest.raises(DataError, match="no target of its images is known; give a CSV of targets, or the dataset"):
        read_predictions(scores)


def test_targets_come_from_one_place(scores, targets):
    with pytest.raises(UsageError, match="give one of them"):
        read_predictions(scores, targets=targets, data=make_data())


def test_a_file_that_is_absent_or_of_another_kind_is_refused(write, scores, tmp_path):
    with pytest.raises(DataError, match=r"a\.xlsx: scores come from a \.csv or \.npz"):
        read_predictions(write("a.xlsx", "image,a\ni,1\n"))
    with pytest.raises(DataError, match=r"there are no scores in .*absent\.csv: no such file"):
        read_predictions(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"targets come from a \.csv$"):
        read_predictions(scores, targets=tmp_path / "t.npz")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="is no table of comma-separated values"):
        read_predictions(tmp_path / "binary.csv")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"scores": np.array([[1.5]])}, r"x\.npz: image 'i', label 'a': a score must be in 0\.\.1 .*, got 1\.5"),
        ({"scores": np.array([[np.nan]])}, r"x\.npz: image 'i', label 'a': a score .* got nan"),
        ({"logits": np.array([[np.nan]])}, r"x\.npz: image 'i', label 'a': a logit must be finite, got nan"),
        ({"logits": np.array([[np.inf]])}, r"x\.npz: image 'i', label 'a': a logit must be finite, got inf"),
        ({"logits": np.zeros((1, 1)), "scores": np.zeros((1, 1))}, "not exactly one of logits and scores"),
        ({}, "not exactly one of logits and scores"),
        ({"logits": np.zeros((1, 1))}, "no target of its images is known"),
        ({"logits": np.array([["high"]])}, "holds no predictions"),
        ({"scores": np.array([[0.5]], dtype=object)}, r"x\.npz holds no predictions \(ValueError: Object arrays"),
    ],
)
def test_an_npz_that_cannot_mean_one_thing_is_refused(tmp_path, arrays, says):
    np.savez(tmp_path / "x.npz", labels=np.array(["a"]), image=np.array(["i"]), **arrays)
    with pytest.raises(DataError, match=says):
        read_predictions(tmp_path / "x.npz")
