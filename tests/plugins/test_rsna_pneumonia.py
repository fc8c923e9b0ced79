"""RSNA's challenge: one label, its boxes, and NIH's patients where they are known."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness import DataError, UsageError
from harness.data.splits import bucket, leaks
from harness.data.terms import read_terms
from tests.data.test_dicom import make
from tests.plugins.published_tables import find_published

LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
HEADERS = "kaggle_stage_2_train_images_dicom_headers.csv"
ROWS = ["a,,,,,0", "b,264.0,152.0,213.0,379.0,1", "b,562.0,152.0,256.0,453.0,1", "c,,,,,0", "d,1.5,2,3,4,1"]
KINDS = [
    *("a,No Lung Opacity / Not Normal", "b,Lung Opacity", "b,Lung Opacity", "c,Normal", "d,Lung Opacity"),
]
NIH = {"a": "00000013_005.png", "b": "00000013_007.png", "c": "00030805_000.png", "d": "00000001_000.png"}
ROWS_OF_HEADERS = ["a,43,F,AP", "b,151,M,PA", "c,048Y,,", "d,,M,PA", "other,50,M,PA"]


def write_labels(root: Path, rows=ROWS, header: str = "patientId,x,y,width,height,Target") -> Path:
    path = root / LABELS
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def write_classes(root: Path, rows=KINDS, header: str = "patientId,class") -> None:
    (root / CLASSES).write_text("\n".join([header, *rows]) + "\n")


def write_mapping(root: Path, images=NIH) -> None:
    entries = [{"subset_img_id": name, "img_id": image, "orig_labels": ["x"]} for name, image in images.items()]
    (root / MAPPING).write_text(json.dumps(entries))


def write_headers(
    root: Path, rows=ROWS_OF_HEADERS, header: str = "PatientID,PatientAge,PatientSex,ViewPosition"
) -> None:
    (root / HEADERS).write_text("\n".join([f",{header}", *(f"{n},{row}" for n, row in enumerate(rows))]) + "\n")


@pytest.fixture
def rsna(registry):
    return registry.dataset("rsna-pneumonia").load


# --- labels and boxes ------------------------------------------------------------------------------------------------


def test_each_image_is_one_row_with_its_boxes_beside(rsna, tmp_path):
    path = write_labels(tmp_path)
    data = rsna(tmp_path)
    assert data.labels == tuple(read_terms().labels["rsna-pneumonia"]) == ("Pneumonia",)
    assert data.table["image"].tolist() == ["a", "b", "c", "d"]
    assert data.targets.tolist() == [[0], [1], [0], [1]]
    assert data.boxes.to_numpy().tolist() == [
        ["b", "Pneumonia", 264, 152, 213, 379],
        ["b", "Pneumonia", 562, 152, 256, 453],
        ["d", "Pneumonia", 1.5, 2, 3, 4],
    ]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert data.notes["label_file"] == f"stage_2_train_labels.csv, sha256 {digest}"


def test_the_label_file_may_be_gzipped(rsna, tmp_path):
    path = write_labels(tmp_path)
    plain = rsna(tmp_path)
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert rsna(tmp_path).table.equals(plain.table)


@pytest.mark.parametrize("suffix", [".dcm", ".png", ".jpg"])
def test_images_are_found_as_published_or_converted(rsna, tmp_path, suffix):
    write_labels(tmp_path)
    folder = tmp_path / "stage_2_train_images"
    folder.mkdir()
    (folder / f"b{suffix}").touch()
    data = rsna(tmp_path)
    assert list(data.images) == [folder / name for name in ("a.dcm", f"b{suffix}", "c.dcm", "d.dcm")]
    assert (data.boxes is None) == (suffix != ".dcm")
    assert ("pixels of the DICOM files" in data.notes.get("boxes", "")) == (suffix != ".dcm")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",,,,,0", r"line 7 \(, , , , , 0\): patientId is blank"),
        ("e,,,,,2", r"line 7 .*: Target must be 0 or 1"),
        ("e,,,,,", r"line 7 .*: Target must be 0 or 1"),
        (ROWS[0], r"line 7 .*: this row stands in the file twice"),
        (ROWS[2], r"line 7 \(b, 562\.0, .*: this row stands in the file twice"),
        ("e,1,2,,4,1", r"line 7 \(e, 1, 2, , 4, 1\): a Target of 1 needs a box"),
        ("e,1,2,zero,4,1", r"line 7 .*: a Target of 1 needs a box"),
        ("e,1,2,0,4,1", r"line 7 .*: a Target of 1 needs a box"),
        ("e,1,2,3,4,0", r"line 7 .*: a Target of 0 has no box"),
        ("a,1,2,3,4,1", r"line 2 \(a, .*: this image has rows with Target 1 and rows with 0"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_line(rsna, tmp_path, row, says):
    write_labels(tmp_path, [*ROWS, row])
    with pytest.raises(DataError, match=says):
        rsna(tmp_path)


def test_another_table_is_refused_with_the_columns_that_it_lacks(rsna, tmp_path):
    write_labels(tmp_path, ["a,0"], "patientId,Pneumonia")
    with pytest.raises(DataError, match=r"has no column x, y, width, height, Target; expected Kaggle's layout"):
        rsna(tmp_path)


@pytest.mark.parametrize("root", ["", "absent"])
def test_an_absent_folder_or_label_file_is_refused_with_the_layout_and_where_to_get_it(rsna, tmp_path, root):
    with pytest.raises(DataError, match=r"stage_2_train_images/ID\.dcm.*https://www\.kaggle\.com/.*terms: "):
        rsna(tmp_path / root)


# --- patients and splits ---------------------------------------------------------------------------------------------


def test_patients_are_nihs_where_the_mapping_is_there_and_none_crosses_splits(rsna, tmp_path):
    write_labels(tmp_path)
    write_mapping(tmp_path, NIH | {"of the challenge's test": "00000002_000.png"})
    data = rsna(tmp_path)
    assert data.patients_known
    assert data.table["patient"].tolist() == ["13", "13", "30805", "1"]
    names = {0: "val", 1: "test", 2: "test"}
    assert data.table["split"].tolist() == [names.get(bucket(name), "train") for name in data.table["patient"]]
    assert "by patient" in data.notes["split"]


def test_without_the_mapping_each_image_is_a_patient_and_the_note_says_where_it_is(rsna, tmp_path):
    write_labels(tmp_path)
    data = rsna(tmp_path)
    assert not data.patients_known
    assert data.table["patient"].tolist() == ["a", "b", "c", "d"]
    assert f"get {MAPPING} from RSNA" in data.notes["split"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no json", r"is not RSNA's mapping, a list of objects with subset_img_id and img_id \(JSONDecodeError"),
        ('{"a": 1}', r"is not RSNA's mapping"),
        ('[{"subset_img_id": "a"}]', r"is not RSNA's mapping, .*\(KeyError: 'img_id'\); get it again, or remove it"),
        ('[{"subset_img_id": "a", "img_id": "00000001_000.png"}]', rf"lacks 3 images of {LABELS}, first b; "),
    ],
)
def test_a_mapping_that_is_none_or_of_other_images_is_refused(rsna, tmp_path, content, says):
    write_labels(tmp_path)
    (tmp_path / MAPPING).write_text(content)
    with pytest.raises(DataError, match=says):
        rsna(tmp_path)


def test_a_mapping_to_images_that_are_not_nihs_is_refused(rsna, tmp_path):
    write_labels(tmp_path)
    write_mapping(tmp_path, NIH | {"c": "patient7.png"})
    with pytest.raises(DataError, match=r"'patient7\.png' of image c is no name of NIH's, such as 00000001_000\.png"):
        rsna(tmp_path)


# --- tables that may be there ----------------------------------------------------------------------------------------


def test_classes_are_counted_image_by_image(rsna, tmp_path):
    write_labels(tmp_path)
    write_classes(tmp_path)
    notes = rsna(tmp_path).notes
    assert notes["classes"] == "Lung Opacity 2, No Lung Opacity / Not Normal 1, Normal 1"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("c,Normal", "c,Lung Opacity", r"1 images contradict stage_2_train_labels\.csv, first c, whose class is"),
        ("d,Lung Opacity", "d,Normal", r"1 images contradict stage_2_train_labels\.csv, first d"),
        ("c,Normal", "e,Normal", rf"lacks 1 images of {LABELS}, first c; are both files of stage 2\?"),
        ("c,Normal", "c,Normal\nc,Other", r"image c has two classes"),
        ("patientId,class", "patientId,kind", r"has no column class; expected"),
    ],
)
def test_classes_that_contradict_the_labels_are_refused(rsna, tmp_path, old, new, says):
    write_labels(tmp_path)
    write_classes(tmp_path)
    path = tmp_path / CLASSES
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=says):
        rsna(tmp_path)


def test_a_table_of_headers_tells_age_sex_and_view_and_chooses_views(rsna, tmp_path):
    write_labels(tmp_path)
    write_headers(tmp_path)
    table = rsna(tmp_path, views="all").table
    assert table["view"].fillna("-").tolist() == ["AP", "PA", "-", "PA"]
    assert table["sex"].fillna("-").tolist() == ["F", "M", "-", "M"]
    assert table["age"].fillna(-1).tolist() == [43, -1, 48, -1]
    frontal = rsna(tmp_path)
    assert frontal.table["image"].tolist() == ["a", "b", "d"]
    assert frontal.notes["views"] == "1 of 4 images, of other views, are left out: unknown 1"
    narrow = rsna(tmp_path, views="AP")
    assert narrow.table["image"].tolist() == ["a"]
    assert narrow.targets.tolist() == [[0]]
    assert [path.name for path in narrow.images] == ["a.dcm"]
    assert len(narrow.boxes) == 0


def test_views_cannot_be_chosen_where_nothing_tells_them(rsna, tmp_path):
    write_labels(tmp_path)
    assert list(rsna(tmp_path, views="all").table) == ["image", "patient", "split"]
    with pytest.raises(UsageError, match=rf"views=PA cannot be chosen, .* or lay {HEADERS} beside the labels"):
        rsna(tmp_path, views="PA")


@pytest.mark.parametrize(
    ("rows", "header", "says"),
    [
        (ROWS_OF_HEADERS[1:], "PatientID,PatientAge,PatientSex,ViewPosition", rf"lacks 1 images of {LABELS}, first a"),
        (
            [*ROWS_OF_HEADERS, "a,44,F,AP"],
            "PatientID,PatientAge,PatientSex,ViewPosition",
            r"line 7 \(a, 44, F, AP\): this image has two rows",
        ),
        (ROWS_OF_HEADERS, "PatientID,Age,PatientSex,ViewPosition", r"has no column PatientAge; expected"),
    ],
)
def test_a_table_of_headers_that_does_not_fit_is_refused(rsna, tmp_path, rows, header, says):
    write_labels(tmp_path)
    write_headers(tmp_path, rows, header)
    with pytest.raises(DataError, match=says):
        rsna(tmp_path)


def test_the_published_tables_have_the_known_images_boxes_and_positives(rsna, tmp_path):
    with zipfile.ZipFile(find_published("kaggle_stage_2_train_labels.csv.zip")) as packed:
        packed.extract(LABELS, tmp_path)
    bare = rsna(tmp_path)
    assert len((tmp_path / LABELS).read_text().splitlines()) == 1 + 30227
    assert (len(bare.table), int(bare.targets.sum()), len(bare.boxes)) == (26684, 6012, 9555)
    shutil.copy(find_published(f"{HEADERS}.gz"), tmp_path)
    data = rsna(tmp_path)
    assert data.table["split"].equals(bare.table["split"])
    assert leaks(data.table) == []
    assert data.table["view"].value_counts().to_dict() == {"PA": 14511, "AP": 12173}
    assert data.table["sex"].value_counts().to_dict() == {"M": 15166, "F": 11518}
    assert data.table["age"].isna().sum() == 5
    assert "views" not in data.notes


# --- from DICOM files to a page --------------------------------------------------------------------------------------


def draw(root: Path) -> None:
    """DICOM files of 48 px in which a bright corner is pneumonia, two images a patient, with all tables."""
    generator = np.random.default_rng(0)
    (root / "stage_2_train_images").mkdir(parents=True, exist_ok=True)
    wanted = {"train": (range(3, 10), 12), "val": ((0,), 6), "test": ((1, 2), 12)}
    patients = [
        patient
        for buckets, count in wanted.values()
        for patient in itertools.islice((n for n in range(1, 30806) if bucket(str(n)) in buckets), count)
    ]
    nih, rows, kinds = {}, [], []
    for patient, number in itertools.product(patients, range(2)):
        name = f"{patient:05d}-{number}"
        pixels = generator.integers(500, 1500, (48, 48))
        pixels[:16, :16] += 2000 * number
        make(root / "stage_2_train_images" / f"{name}.dcm", pixels, ViewPosition="PA")
        nih[name] = f"{patient:08d}_{number:03d}.png"
        rows.append(f"{name},0,0,16,16,1" if number else f"{name},,,,,0")
        kinds.append(f"{name},{'Lung Opacity' if number else 'Normal'}")
    write_labels(root, rows)
    write_classes(root, kinds)
    write_mapping(root, nih)


@pytest.mark.slow
def test_a_board_goes_from_dicom_files_to_a_page(harness, tmp_path):
    draw(tmp_path / "data" / "rsna-pneumonia")
    code, _, err = harness(
        *("run", "--board", "b", "--dataset", "rsna-pneumonia", "--data-root", "data"),
        *("--models", "tiny-cnn", "--losses", "bce,focal", "--recipes", "demo", "--seeds", "0"),
        *("--set", "recipe.size=32", "--set", "recipe.load_size=32", "--set", "recipe.epochs=1"),
    )
    assert code == 0, err
    records = [json.loads(path.read_text()) for path in (tmp_path / "b" / "records").glob("*.json")]
    assert [record["status"] for record in records] == ["done", "done"]
    page = (tmp_path / "b" / "index.html").read_text()
    assert all(row in page for row in ("tiny-cnn--bce--demo", "tiny-cnn--focal--demo"))
