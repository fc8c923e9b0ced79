"""Predictions made anywhere are read exactly, matched by name, and refused where they cannot mean one thing."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Data, DataError, UsageError
from harness.evaluation.predictions import Predictions, load_predictions
from harness.scoring.prediction_files import read_predictions
from harness.scoring.sheets import Reading, find_common

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
        ("image,Edema\ni0,nan\n", r"s\.csv: image 'i0', label 'Edema': a score must be finite, got nan"),
        ("image,Edema\ni0,\n", r"s\.csv: image 'i0', label 'Edema': a score must be finite, got nan"),
        ("image,Edema\ni0,inf\n", r"s\.csv: image 'i0', label 'Edema': a score .* got inf"),
        ("image,Edema\ni0,-inf\n", r"s\.csv: image 'i0', label 'Edema': a score .* got -inf"),
        ("image;Edema\ni0;1.000,5\n", r"s\.csv: image 'i0', label 'Edema': '1\.000,5' is no number"),
        ("image,Edema\ni0,high\n", r"s\.csv: image 'i0', label 'Edema': 'high' is no number"),
        ("image,Edema\ni0,0.1\ni0,0.2\n", r"s\.csv: image 'i0' stands in it more than once"),
        ("image,Edema,Edema\ni0,0.1,0.2\n", r"s\.csv: column 'Edema' stands in it more than once"),
        ("image,Edma\ni0,0.1\n", r"s\.csv: label 'Edma' is not in .*t\.csv: did you mean 'Edema'\?"),
        (
            "image,Edemas,Mass\ni0,1,0.1\n",
            r"s\.csv: label 'Edemas' is not in .*: did you mean .*; rename it, or .*--labels",
        ),
        ("image,Mass\ni0,0.1\n", r"s\.csv: label 'Mass' is not in .*t\.csv \(known: Edema\)"),
        ("x,Edema\ni0,0.1\n", r"s\.csv has no column that names the image, .* \(it has x, Edema\); .*--image-column"),
        ("id,Path,Edema\ni0,a,0.1\n", r"s\.csv has several columns that may name the image \(id, Path\); .*--image-c"),
        ("image,subject_id,Patient ID,Edema\ni0,1,2,1\n", r"several columns that may name the patient .* by --patient"),
        ("image\ni0\n", r"s\.csv has no column with scores of a label of .*t\.csv \(Edema\)"),
        ("image,patient,Edema\ni0,,0.1\n", r"s\.csv: 1 row has no patient in the column 'patient', first line 2"),
        ("image,Edema\n,0.1\n", r"s\.csv: 1 row has no image in the column 'image', first line 2"),
        ("image,Edema\ni0,0.1,0.2\n", r"s\.csv, line 2: 3 cells under 2 columns"),
        ("image,Edema\ni0\n", r"s\.csv, line 2: 1 cell under 2 columns"),
        ("image,Edema\ni9,0.1\n", r"s\.csv: 1 of 1 images is not in .*t\.csv, first i9; .* named like 'i0'"),
        ("image,Edema\n", r"s\.csv has a header and no rows"),
        ("", r"s\.csv is empty"),
        ('image,Edema\n"i0,0.1\n', r"s\.csv, line 2: a cell's quotes are not closed rightly"),
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
        ("image,Edema\ni1,1\n", r"s\.csv: 1 of 1 images is not in .*t\.csv, first i0"),
        (
            "image,patient,Edema\ni0,q,1\n",
            r"s\.csv: 1 image has another patient than in .*t\.csv, first 'i0' \(p, th",
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
    with pytest.raises(DataError, match=r"binary\.csv"):
        read_predictions(tmp_path / "binary.csv")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"scores": np.array([[np.nan]])}, r"x\.npz: image 'i', label 'a': a score .* got nan"),
        ({"logits": np.array([[np.nan]])}, r"x\.npz: image 'i', label 'a': a logit must be finite, got nan"),
        ({"logits": np.array([[np.inf]])}, r"x\.npz: image 'i', label 'a': a logit must be finite, got inf"),
        ({"logits": np.zeros((1, 1)), "scores": np.zeros((1, 1))}, "not exactly one of logits and scores"),
        ({"ranks": np.zeros((1, 1)), "scores": np.zeros((1, 1))}, "not exactly one of logits and scores"),
        ({"ranks": np.array([[np.nan]])}, r"x\.npz: image 'i', label 'a': a score must be finite"),
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


# --- as they are published -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Image Index", "Path", "filename", "image_id", "ID", "Study"])
def test_a_column_of_the_usual_names_is_the_image_and_that_is_said(write, targets, name):
    path = write("s.csv", [[name, "Sex", *LABELS], *([i, "F", "0.1", "0.2", "0.3"] for i in IMAGES)])
    read = read_predictions(path, targets=targets)
    assert read.image.tolist() == IMAGES.tolist()
    assert any(f"images are named by its column '{name}'" in note for note in read.notes)
    assert any("left out is what" in note and "Sex" in note for note in read.notes)


def test_the_column_of_the_image_may_be_named_for_the_file_that_has_it(write, targets):
    path = write("s.csv", [["id", "Path", *LABELS], *([n, i, "0.1", "0.2", "0.3"] for n, i in enumerate(IMAGES))])
    read = read_predictions(path, targets=targets, reading=Reading(image_column="Path"))
    assert read.image.tolist() == IMAGES.tolist()
    assert any(
        "targets.csv: there is no column 'Path', images are named by its column 'image'" in n for n in read.notes
    )


def test_patients_may_be_a_part_of_another_column(write):
    rows = [[f"train\\patient{n // 2:05d}\\view{n}.jpg", "0.5"] for n in range(4)]
    scores = write("s.csv", [["Path", "Edema"], *rows])
    targets = write("t.csv", [["Path", "Edema"], *([row[0].replace("\\", "/"), "1"] for row in rows)])
    read = read_predictions(scores, targets=targets, reading=Reading(patient=r"Path:(patient\d+)"))
    assert read.patient.tolist() == ["patient00000", "patient00000", "patient00001", "patient00001"]
    assert read.patients_known
    with pytest.raises(DataError, match=r"4 rows have no patient in the column 'Path', first line 2; .*--patient"):
        read_predictions(scores, targets=targets, reading=Reading(patient=r"Path:(case\d+)"))
    read = read_predictions(scores, targets=targets, reading=Reading(patient="Case"))
    assert (read.patients_known, sum("no column 'Case' to take patients from" in n for n in read.notes)) == (False, 2)


def test_labels_that_both_have_are_taken_and_the_others_named(write):
    scores = write("s.csv", "image,Edema,Age,Mass\ni0,0.1,70,0.2\n")
    targets = write("t.csv", "image,Nodule,Mass,Edema,Sex\ni0,1,0,1,F\n")
    read = read_predictions(scores, targets=targets)
    assert (read.labels, read.scores.tolist(), read.targets.tolist()) == (("Mass", "Edema"), [[0.2, 0.1]], [[0, 1]])
    ours, theirs = (note for note in read.notes if "left out" in note)
    assert "has no targets for: Age (--labels" in ours
    assert "has no scores for: Nodule, Sex" in theirs
    read = read_predictions(scores, targets=targets, reading=Reading(labels=("Edema",)))
    assert (read.labels, read.notes) == (("Edema",), ())
    for label, where in {"Nodule": "s.csv", "Age": "t.csv", "x": "s.csv"}.items():
        with pytest.raises(DataError, match=rf"--labels: .*{where} has no label '{label}'"):
            read_predictions(scores, targets=targets, reading=Reading(labels=(label,)))


def test_a_label_that_is_probably_misspelled_is_not_left_out(write):
    scores, targets = write("s.csv", "image,Edma,Mass\ni0,0.1,0.2\n"), write("t.csv", "image,Mass,Edema\ni0,1,0\n")
    with pytest.raises(DataError, match=r"label 'Edma' is not in .*t\.csv: did you mean 'Edema'\?; .*--labels"):
        read_predictions(scores, targets=targets)
    assert read_predictions(scores, targets=targets, reading=Reading(labels=("Mass",))).labels == ("Mass",)


def test_labels_are_the_same_without_case_signs_and_a_word_before_them(write):
    scores = write("s.csv", "image,prob_Pleural_Thickening,prob_mass\ni0,0.1,0.2\n")
    read = read_predictions(scores, targets=write("t.csv", "image,Mass,Pleural Thickening\ni0,1,0\n"))
    assert (read.labels, read.scores.tolist()) == (("Mass", "Pleural Thickening"), [[0.2, 0.1]])
    assert any("calls 'Mass' is called 'prob_mass' there" in note for note in read.notes)


@pytest.mark.parametrize(
    ("ours", "theirs", "taken"),
    [
        ("Mass,prob_Edema,edema", "Mass,Edema", {"Mass"}),  # which of the two would it be?
        ("Mass,Lung Opacity", "Mass,Lung/Opacity,Lung_Opacity", {"Mass"}),
        ("Mass,-", "Mass,+", {"Mass"}),  # nothing is left of either without its sign
        ("Mass,lung opacity", "Mass,Lung/Opacity", {"Mass", "Lung/Opacity"}),
    ],
)
def test_names_that_are_alike_are_paired_only_where_one_pair_is_possible(write, ours, theirs, taken):
    def rows(header: str, cell: str) -> str:
        return f"image,{header}\ni0{f',{cell}' * len(header.split(','))}\n"

    read = read_predictions(
        write("s.csv", rows(ours, "0.5")), targets=write("t.csv", rows(theirs, "1")), reading=Reading(labels=("Mass",))
    )
    assert read.labels == ("Mass",)
    assert set(find_common(ours.split(","), theirs.split(","), "s", "t", sorted(taken)).theirs) == taken
    for label in set(theirs.split(",")) - taken:
        with pytest.raises(DataError, match="has no label"):
            find_common(ours.split(","), theirs.split(","), "s", "t", [label])


def test_options_that_name_columns_are_said_to_do_nothing_for_an_npz(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, labels=np.array(LABELS), image=IMAGES, scores=SCORES, targets=np.ones(SCORES.shape))
    read = read_predictions(path, reading=Reading(image_column="Path", patient=r"Path:(patient\d+)"))
    assert [note.partition("s.npz ")[2] for note in read.notes] == [
        "has no columns to name: --image-column has no effect on it",
        "has no columns to name: --patient has no effect on it",
    ]
    assert read_predictions(path).notes == ()


def test_all_labels_of_a_dataset_are_needed_where_the_whole_is(write):
    scores = write("s.csv", "image,Edema,Mass\ni0,0.1,0.2\n")
    assert read_predictions(scores, data=make_data()).labels == ("Edema", "Mass")
    with pytest.raises(DataError, match="label 'Nodule' of the dataset is missing"):
        read_predictions(scores, data=make_data(), whole=True)


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_scores_beyond_a_probability_only_rank_wherever_they_go(tmp_path, write, targets, kind):
    values = SCORES.copy()
    values[0, 0], values[3, 1] = 1.009, -0.3
    if kind == "csv":
        rows = [[image, *map(repr, row)] for image, row in zip(IMAGES, values.tolist(), strict=True)]
        path = write("s.csv", [["image", *LABELS], *rows])
    else:
        path = tmp_path / "s.npz"
        np.savez(path, labels=np.array(LABELS), image=IMAGES, scores=values)
    read = read_predictions(path, targets=targets).arrange(LABELS, "")
    assert read.is_rank_only
    assert read.ranks.tolist() == values.tolist()
    assert np.isnan(read.scores).all()
    (note,) = (note for note in read.notes if "not in 0..1" in note)
    assert "2 of 12 scores are not in 0..1, first image 'i0', label 'Edema' (1.009): these scores are no prob" in note
    read.save(tmp_path / "again.npz")
    again = read_predictions(tmp_path / "again.npz")
    assert (again.is_rank_only, again.ranks.tolist()) == (True, values.tolist())


def test_scores_beyond_0_and_1_by_rounding_are_clipped_and_that_is_said(write):
    scores = write("s.csv", "image,Edema\ni0,1.0000001\ni1,-1e-7\n")
    read = read_predictions(scores, targets=write("t.csv", "image,Edema\ni0,1\ni1,0\n"))
    assert (read.is_rank_only, read.scores.tolist()) == (False, [[1], [0]])
    assert "2 of 2 scores are beyond 0..1 by rounding" in read.notes[0]
    assert "(1.0000001); they are taken as 0 and 1" in read.notes[0]


def test_decimal_commas_are_read_and_that_is_said(write):
    scores = write("s.csv", "image;Edema;Mass\ni0;0,53;1\n")
    read = read_predictions(scores, targets=write("t.csv", "image,Edema,Mass\ni0,1,0\n"))
    assert read.scores.tolist() == [[0.53, 1]]
    assert "1 of 2 numbers has a decimal comma, first '0,53', read as 0.53" in read.notes[0]


def test_tables_may_be_compressed_and_in_any_encoding(tmp_path, scores, targets):
    packed = tmp_path / "p.csv.gz"
    packed.write_bytes(gzip.compress(scores.read_text().encode("utf-16")))
    assert by_name(read_predictions(packed, targets=targets)) == EXPECTED
