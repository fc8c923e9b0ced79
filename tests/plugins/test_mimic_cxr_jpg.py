"""PhysioNet's tables of labels, images and split become one; the real ones are not public, so these are hand-made."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import DataError, UnknownNameError, UsageError
from harness.data.terms import read_terms
from tests.testing.test_bundled import examine_dataset

OBSERVATIONS = [
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion"),
    *("Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax"),
    "Support Devices",
]
HEADERS = {
    "chexpert": ",".join(["subject_id", "study_id", *OBSERVATIONS]),
    "negbio": ",".join(["subject_id", "study_id", *OBSERVATIONS]),
    "metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns",
    "split": "dicom_id,study_id,subject_id,split",
}


def observe(subject: int, study: int, **observed: str) -> str:
    """A row of labels, in which what is not given is blank."""
    return ",".join([f"{subject}", f"{study}", *(observed.get(name.replace(" ", "_"), "") for name in OBSERVATIONS)])


TABLES = {
    "chexpert": [
        observe(10000032, 50414267, No_Finding="1.0", Pneumothorax="0.0"),
        observe(10000764, 57375967, Edema="-1.0", Fracture="1.0"),
        observe(11000001, 50000001, Edema="1.0"),
        observe(12000002, 50000002, Edema="-1.0", Pneumonia="0.0"),
    ],
    "negbio": [observe(10000032, 50414267, Edema="1.0"), observe(11000001, 50000001), observe(12000002, 50000002)],
    "metadata": [
        'a1,10000032,50414267,"CHEST (PA, LAT)",PA,3056,2544',
        'a2,10000032,50414267,"CHEST (PA, LAT)",LATERAL,3056,2544',
        "b1,10000764,57375967,CHEST (PORTABLE AP),AP,2021,2022",
        "c1,11000001,50000001,CHEST (PORTABLE AP),,2021,2022",
        "c2,11000001,50000001,CHEST (PORTABLE AP),AP,2021,2022",
        "d1,12000002,50000002,CHEST (PORTABLE AP),AP,2021,2022",
        "e1,13000003,50000003,CHEST (PORTABLE AP),AP,2021,2022",
    ],
    "split": [
        "a1,50414267,10000032,train",
        "a2,50414267,10000032,train",
        "b1,57375967,10000764,train",
        "c1,50000001,11000001,validate",
        "c2,50000001,11000001,validate",
        "d1,50000002,12000002,test",
        "e1,50000003,13000003,test",
    ],
}


def write(folder: Path, **changed: list[str]) -> Path:
    """Write the tables, compressed as they are published; keywords give one other rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (TABLES | changed).items():
        text = "\n".join([HEADERS[name], *rows]) + "\n"
        (folder / f"mimic-cxr-2.0.0-{name}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return folder


@pytest.fixture
def mimic(registry, tmp_path):
    """Loads a small set, with other rows where they are given."""

    def load(changed: dict[str, list[str]] | None = None, **options):
        return registry.dataset("mimic-cxr-jpg").load(write(tmp_path, **(changed or {})), **options)

    return load


def targets(data, label: str) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in data.targets[:, data.labels.index(label)]]


# --- images ----------------------------------------------------------------------------------------------------------


def test_the_tables_are_joined_by_image_and_study(mimic, tmp_path):
    data = mimic(views="all")
    table = data.table
    assert table["image"].tolist() == ["a1", "a2", "b1", "c1", "c2", "d1"]
    assert table["patient"].tolist()[:3] == ["10000032", "10000032", "10000764"]
    assert table["study"].tolist()[:3] == ["p10000032/s50414267", "p10000032/s50414267", "p10000764/s57375967"]
    assert table["split"].tolist() == ["train", "train", "train", "val", "val", "test"]
    assert table["view"].fillna("").tolist() == ["PA", "LATERAL", "AP", "", "AP", "AP"]
    assert data.images[0] == tmp_path / "files" / "p10" / "p10000032" / "s50414267" / "a1.jpg"
    assert data.images[5] == tmp_path / "files" / "p12" / "p12000002" / "s50000002" / "d1.jpg"


def test_the_order_of_the_split_and_label_tables_does_not_matter(mimic):
    first = mimic(views="all")
    other = mimic({"split": TABLES["split"][::-1], "chexpert": TABLES["chexpert"][::-1]}, views="all")
    assert other.table.equals(first.table)
    assert np.array_equal(other.targets, first.targets, equal_nan=True)


def test_images_of_studies_without_labels_are_left_out_and_counted(mimic):
    assert mimic().notes["images without labels"] == "1 of 7 images, of studies without labels, are left out"
    assert "images without labels" not in mimic({"chexpert": [*TABLES["chexpert"], observe(13000003, 50000003)]}).notes


def test_images_that_only_the_split_knows_are_counted(mimic):
    data = mimic({"metadata": [row for row in TABLES["metadata"] if not row.startswith("a2")]}, views="all")
    assert data.table["image"].tolist() == ["a1", "b1", "c1", "c2", "d1"]
    assert data.notes["images without metadata"] == "1 of 7 images of the split are not in the metadata and left out"
    assert "images without metadata" not in mimic().notes


def test_other_views_are_left_out_and_counted_unless_asked_for(mimic):
    data = mimic()
    assert data.table["image"].tolist() == ["a1", "b1", "c2", "d1"]
    assert data.notes["views"] == "2 of 6 images, of other views, are left out: LATERAL 1, unknown 1"
    assert mimic(views="PA,AP,unknown").table["image"].tolist() == ["a1", "b1", "c1", "c2", "d1"]


def test_tables_may_be_unpacked_and_are_known_by_their_digest(registry, mimic, tmp_path):
    packed = mimic()
    for name in TABLES:
        path = tmp_path / f"mimic-cxr-2.0.0-{name}.csv.gz"
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    data = registry.dataset("mimic-cxr-jpg").load(tmp_path)
    assert data.table.equals(packed.table)
    content = (tmp_path / "mimic-cxr-2.0.0-chexpert.csv").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    assert data.notes["label_file"] == f"mimic-cxr-2.0.0-chexpert.csv, sha256 {digest}"
    assert data.notes["split"].startswith("official: mimic-cxr-2.0.0-split.csv, sha256 ")


# --- labels ----------------------------------------------------------------------------------------------------------


def test_labels_follow_the_same_policies_as_those_of_chexpert(mimic):
    data = mimic()
    assert list(data.labels) == list(read_terms().labels["mimic-cxr-jpg"])
    assert targets(data, "Edema") == [0, None, 1, None]
    assert targets(data, "Support Devices") == [None] * 4
    assert data.notes["uncertain labels"] == "1 in training (ignore); 1 in val and test, 1 of them left out"
    assert targets(mimic(uncertain="Edema=ones", uncertain_test="zeros"), "Edema") == [0, 1, 1, 0]
    assert targets(mimic(blank="zeros"), "Pneumonia") == [0, 0, 0, 0]


def test_either_labeler_may_be_asked_for(mimic):
    data = mimic(labeler="negbio")
    assert data.table["image"].tolist() == ["a1", "c2", "d1"]
    assert targets(data, "Edema") == [1, None, None]
    assert data.notes["label_file"].startswith("mimic-cxr-2.0.0-negbio.csv.gz, sha256 ")


# --- what is refused -------------------------------------------------------------------------------------------------


def change(name: str, row: int, old: str, new: str) -> dict[str, list[str]]:
    rows = list(TABLES[name])
    rows[row] = rows[row].replace(old, new, 1)
    return {name: rows}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (change("metadata", 2, "10000764", ""), r"metadata.*line 4, column 'subject_id': '' is no whole number"),
        (change("metadata", 2, "57375967", "5e7"), r"column 'study_id': '5e7' is no whole number"),
        (change("metadata", 2, "b1", ""), r"column 'dicom_id': '' is blank, but every image has an id"),
        (change("metadata", 2, "b1", "a1"), r"line 4, column 'dicom_id': 'a1' stands in the file more than once"),
        (change("split", 2, "b1", "a1"), r"split.*line 4, column 'dicom_id': 'a1' stands in the file more than once"),
        (change("split", 3, "validate", "valid"), r"column 'split': 'valid' is none of train, validate, test"),
        (
            change("split", 3, "c1", "x"),
            r"1 of 7 images of the metadata are not in it, first 'c1'; take all tables from",
        ),
        (change("chexpert", 1, "-1.0", "-2"), r"column 'Edema': '-2' is none of 1\.0, 0\.0, -1\.0 \(uncertain\)"),
        ({"chexpert": TABLES["chexpert"][:1] * 2}, r"line 3, column 'study_id': '50414267' stands in the file more"),
        ({"chexpert": [observe(1, 2)]}, r"has labels of none of the 7 images of the metadata"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(mimic, changed, says):
    with pytest.raises(DataError, match=says):
        mimic(changed)


@pytest.mark.parametrize("name", ["chexpert", "metadata", "split"])
def test_a_table_that_is_missing_is_named_with_the_layout_and_the_terms(registry, tmp_path, name):
    (write(tmp_path) / f"mimic-cxr-2.0.0-{name}.csv.gz").unlink()
    with pytest.raises(DataError, match=rf"has no mimic-cxr-2\.0\.0-{name}\.csv; expected PhysioNet's.*\(terms: "):
        registry.dataset("mimic-cxr-jpg").load(tmp_path)


def test_a_missing_column_is_named(registry, tmp_path):
    path = write(tmp_path) / "mimic-cxr-2.0.0-metadata.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"ViewPosition", b"View", 1)))
    with pytest.raises(DataError, match=r"has no column 'ViewPosition'; expected PhysioNet's layout"):
        registry.dataset("mimic-cxr-jpg").load(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"labeler": "chexbert"}, UnknownNameError, "did you mean 'chexpert'"),
        ({"labels": "Oedema"}, UnknownNameError, "label of mimic-cxr-jpg 'Oedema': did you mean 'Edema'"),
        ({"blank": "ones"}, UsageError, "mimic-cxr-jpg: blank must be ignore or zeros, got 'ones'"),
        ({"uncertain_test": "0.5"}, UsageError, "neither 0 nor 1"),
        ({"views": "RL"}, DataError, "no image is of the views RL; there are"),
    ],
)
def test_options_that_mean_nothing_are_refused(mimic, options, error, says):
    with pytest.raises(error, match=says):
        mimic(**options)


# --- a whole run -----------------------------------------------------------------------------------------------------


def write_tree(root: Path) -> Path:
    """The published layout with 48 patients of one study each, and images of noise."""
    draw = np.random.default_rng(0)
    tables: dict[str, list[str]] = {"chexpert": [], "metadata": [], "split": []}
    for number in range(48):
        subject, study, split = 10000000 + number, 50000000 + number, ("train", "train", "validate", "test")[number % 4]
        image = root / "files" / "p10" / f"p{subject}" / f"s{study}" / f"i{number}.jpg"
        image.parent.mkdir(parents=True)
        Image.fromarray(draw.integers(0, 255, (36, 40), dtype=np.uint8)).save(image)
        zeros = dict.fromkeys((name.replace(" ", "_") for name in OBSERVATIONS), "0.0")
        values = zeros | {"Edema": f"{number // 4 % 2}.0", "Fracture": "-1.0" if number % 5 else "1.0"}
        tables["chexpert"].append(observe(subject, study, **values))
        tables["metadata"].append(f"i{number},{subject},{study},CHEST (PORTABLE AP),AP,36,40")
        tables["split"].append(f"i{number},{study},{subject},{split}")
    return write(root, **tables)


def test_the_published_files_keep_the_contract(tmp_path):
    assert examine_dataset("mimic-cxr-jpg", write_tree(tmp_path)) == {}


@pytest.mark.slow
def test_the_published_files_become_a_page_with_two_rows(harness, tmp_path):
    write_tree(tmp_path / "data")
    rows = ("--models", "tiny-cnn", "--losses", "bce,focal", "--recipes", "toy", "--board", "b", "--seeds", "0")
    size = [f"--set=recipe.{name}" for name in ("epochs=1", "size=32", "load_size=32")]
    code, _, err = harness("run", "--dataset", "mimic-cxr-jpg", "--data-root", "data", *rows, *size)
    assert code == 0, err
    page = (tmp_path / "b" / "index.html").read_text()
    assert "tiny-cnn + bce" in page
    assert "tiny-cnn + focal" in page
