"""Stanford's own label files become one table; what is uncertain or not mentioned follows its policy."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness import DataError, UnknownNameError, UsageError
from harness.data.splits import bucket, leaks
from harness.data.terms import read_terms
from tests.plugins.published_tables import copy_published
from tests.testing.test_bundled import examine_dataset

LABELS = [
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
]
OBSERVATIONS = ["No Finding", *LABELS]
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS]
UNCERTAIN = {
    "Enlarged Cardiomediastinum": 12403,
    "Cardiomegaly": 8087,
    "Lung Opacity": 5598,
    "Lung Lesion": 1488,
    "Edema": 12984,
    "Consolidation": 27742,
    "Pneumonia": 18770,
    "Atelectasis": 33739,
    "Pneumothorax": 3145,
    "Pleural Effusion": 11628,
    "Pleural Other": 2653,
    "Fracture": 642,
    "Support Devices": 1079,
}
VIEWS = {"AP": 161590, "LATERAL": 32387, "PA": 29420, "LL": 16, "RL": 1}


def make_row(path: str, *described: str, prefix: str = "CheXpert-v1.0-small/", **observed: str) -> str:
    """A row of train.csv; `No_Finding="1.0"` gives that column a value, others are blank."""
    values = [observed.get(name.replace(" ", "_"), "") for name in OBSERVATIONS]
    return ",".join([prefix + path, *described, *values])


TRAIN = [
    make_row("train/patient00001/study1/view1_frontal.jpg", "Female", "68", "Frontal", "AP", Edema="-1.0"),
    make_row("train/patient00001/study1/view2_lateral.jpg", "Female", "68", "Lateral", "", Edema="-1.0"),
    make_row("train/patient00002/study1/view1_frontal.jpg", "Male", "0", "Frontal", "PA", Edema="1.0", Fracture="0.0"),
    make_row("train/patient00002/study3/view1_frontal.jpg", "Unknown", "91", "Frontal", "LL", Fracture="-1.0"),
    make_row("train/patient00003/study1/view1_frontal.jpg", "", "", "Frontal", "", No_Finding="1.0", Edema="0.0"),
]
KNOWN = dict.fromkeys((name.replace(" ", "_") for name in OBSERVATIONS), "0.0")
VALID = [
    make_row("valid/patient64541/study1/view1_frontal.jpg", "Male", "73", "Frontal", "AP", **(KNOWN | {"Edema": "1.0"}))
]
TEST = [
    ",".join(["test/patient64741/study1/view1_frontal.jpg", *["1"] * 13, "0"]),
    ",".join(["CheXpert-v1.0/test/patient64741/study1/view2_lateral.jpg", *["0"] * 14]),
]
FILES = {
    "train.csv": [",".join(HEADER), *TRAIN],
    "valid.csv": [",".join(HEADER), *VALID],
    "test_labels.csv": [",".join(["Path", *LABELS, "No Finding"]), *TEST],
}
NAMES = [row.partition("small/")[2].partition(",")[0] for row in TRAIN]


def write(folder: Path, **changed: list[str]) -> Path:
    """Write the label files; `train`, `valid` and `test_labels` give one other rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in FILES.items():
        rows = changed.get(name.removesuffix(".csv"), lines[1:])
        (folder / name).write_text("\n".join([lines[0], *rows]) + "\n")
    return folder


@pytest.fixture
def chexpert(registry, tmp_path):
    """Loads a small CheXpert, with other rows where they are given."""

    def load(changed: dict[str, list[str]] | None = None, **options):
        return registry.dataset("chexpert").load(write(tmp_path, **(changed or {})), **options)

    return load


# --- the published table ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(registry, tmp_path_factory):
    """Loads the published train.csv."""
    folder = tmp_path_factory.mktemp("chexpert")
    copy_published("chexpert_train.csv.gz", folder).rename(folder / "train.csv.gz")

    def load(**options):
        return registry.dataset("chexpert").load(folder, split="carved", **options)

    return load


@pytest.mark.slow
def test_the_published_table_has_the_known_images_patients_views_and_uncertain_labels(published):
    ones, zeros = (published(views="all", uncertain=taken, uncertain_test=taken) for taken in ("ones", "zeros"))
    assert (len(ones.table), ones.table["patient"].nunique()) == (223414, 64540)
    assert ones.table["view"].value_counts().to_dict() == VIEWS
    assert ones.table["sex"].value_counts(dropna=False).to_dict() == {"M": 132636, "F": 90777, np.nan: 1}
    counts = (np.nan_to_num(ones.targets) - np.nan_to_num(zeros.targets)).sum(axis=0, dtype=float)
    assert dict(zip(ones.labels, counts.tolist(), strict=True)) == UNCERTAIN
    effusion = zeros.targets[:, LABELS.index("Pleural Effusion")]
    assert (int((effusion == 1).sum()), int((effusion == 0).sum())) == (86187, 35396 + 11628 + 10931)


def test_the_published_table_is_without_images_from_the_side_by_default(published):
    data = published()
    assert data.table["view"].value_counts().to_dict() == {"AP": 161590, "PA": 29420}
    left_out = "32,404 of 223,414 images, of other views, are left out: LATERAL 32,387, LL 16, RL 1"
    assert data.notes["views"] == left_out
    assert leaks(data.table) == []


# --- what is known of images -----------------------------------------------------------------------------------------


def test_paths_columns_and_file_names_tell_patient_study_view_age_and_sex(chexpert):
    data = chexpert(views="all")
    table = data.table
    assert table["image"].tolist()[:5] == NAMES
    assert table["patient"].tolist() == [
        *("patient00001", "patient00001", "patient00002", "patient00002", "patient00003"),
        *("patient64541", "patient64741", "patient64741"),
    ]
    assert table["study"].tolist()[2:4] == ["patient00002/study1", "patient00002/study3"]
    assert table["view"].tolist() == ["AP", "LATERAL", "PA", "LL", "FRONTAL", "AP", "FRONTAL", "LATERAL"]
    assert table["sex"].fillna("").tolist() == ["F", "F", "M", "", "", "M", "", ""]
    assert table["age"].fillna(-1).tolist() == [68, 68, -1, 91, -1, 73, -1, -1]


def test_labels_are_those_that_the_table_of_terms_knows(chexpert):
    assert list(chexpert().labels) == LABELS == list(read_terms().labels["chexpert"])


@pytest.mark.parametrize("asked", ["Edema, Fracture", ["Edema", "Fracture"]])
def test_some_labels_may_be_taken(chexpert, asked):
    data = chexpert(labels=asked)
    assert data.labels == ("Edema", "Fracture")
    assert data.targets.shape == (5, 2)


def test_images_from_the_side_are_left_out_and_counted_unless_asked_for(chexpert):
    data = chexpert()
    assert data.table["view"].tolist() == ["AP", "PA", "FRONTAL", "AP", "FRONTAL"]
    assert data.notes["views"] == "3 of 8 images, of other views, are left out: LATERAL 2, LL 1"
    assert chexpert(views=["LATERAL"], split="valid").table["image"].tolist() == [NAMES[1]]


def test_views_that_leave_nothing_of_the_test_set_are_refused_with_the_reason(chexpert):
    with pytest.raises(DataError, match=r"views=PA,AP leaves no image of the test set, .*; add FRONTAL, or take split"):
        chexpert(views="PA,AP")


# --- labels ----------------------------------------------------------------------------------------------------------


def targets(data, label: str) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in data.targets[:, LABELS.index(label)]]


def test_uncertain_and_unmentioned_labels_are_unknown_by_default(chexpert):
    data = chexpert(views="all")
    assert targets(data, "Edema") == [None, None, 1, None, 0, 1, 1, 0]
    assert targets(data, "Fracture") == [None, None, 0, None, 0, 0, 1, 0]
    assert data.notes["uncertain labels"] == "3 in training (ignore); 0 in val and test, 0 of them left out"
    assert data.notes["blank labels"] == "48 of 104 are not mentioned in the report and unknown"


def test_without_a_finding_other_blank_labels_are_absent_but_not_support_devices(chexpert):
    data = chexpert(views="all")
    assert data.targets[4].tolist()[:12] == [0] * 12
    assert np.isnan(data.targets[4, 12])


def test_blank_labels_may_be_taken_for_absent(chexpert):
    data = chexpert(views="all", blank="zeros")
    assert targets(data, "Edema") == [None, None, 1, 0, 0, 1, 1, 0]
    assert data.notes["blank labels"] == "48 of 104 are not mentioned in the report and taken for 0"


def test_uncertain_labels_have_a_policy_for_training(chexpert):
    assert targets(chexpert(views="all", uncertain="ones"), "Edema")[:2] == [1, 1]
    data = chexpert(views="all", uncertain={"Edema": 0.6})
    assert targets(data, "Edema")[:2] == [0.6, 0.6]
    assert targets(data, "Fracture")[3] is None


def test_uncertain_labels_in_test_are_left_out_unless_asked_for(chexpert):
    images = [f"train/patient{number:05d}/study1/view1_frontal.jpg" for number in range(30)]
    rows = {"train": [make_row(image, "Male", "50", "Frontal", "AP", Edema="-1.0") for image in images]}
    data = chexpert(rows, split="carved", uncertain="ones")
    in_test = (data.table["split"] != "train").to_numpy()
    assert np.isnan(data.targets[in_test, LABELS.index("Edema")]).all()
    data = chexpert(rows, split="carved", uncertain_test="zeros")
    assert set(data.targets[in_test, LABELS.index("Edema")].tolist()) == {0.0}


# --- splits ----------------------------------------------------------------------------------------------------------


def test_the_official_split_is_the_files(chexpert):
    data = chexpert(views="all")
    assert data.table["split"].tolist() == [*["train"] * 5, "val", "test", "test"]
    assert data.notes["split"] == (
        "official: train.csv is train, valid.csv is val and test_labels.csv is test, both labeled by radiologists"
    )


def test_without_the_test_set_valid_is_test_and_val_is_carved_by_patient(chexpert):
    images = [f"train/patient{number:05d}/study1/view1_frontal.jpg" for number in range(40)]
    rows = {"train": [make_row(image, "Male", "50", "Frontal", "AP") for image in images]}
    table = chexpert(rows, split="valid").table
    wanted = ["val" if bucket(f"patient{number:05d}") == 0 else "train" for number in range(40)]
    assert table["split"].tolist() == [*wanted, "test"]
    carved = chexpert(rows, split="carved").table
    places = [bucket(f"patient{number:05d}") for number in range(40)]
    assert carved["split"].tolist() == [{0: "val", 1: "test", 2: "test"}.get(place, "train") for place in places]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test_labels.csv", r"has no test_labels\.csv or test\.csv; .*do without it by --option split=valid, which"),
        (
            "valid.csv",
            r"has no valid\.csv; expected Stanford's layout: .*--option split=carved, which needs train\.csv",
        ),
        ("train.csv", r"has no train\.csv; expected .*; get it from https://stanfordmlgroup\.github\.io/.*\(terms: "),
    ],
)
def test_a_file_that_is_missing_is_named_with_the_layout_and_what_does_without_it(registry, tmp_path, name, says):
    (write(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=says):
        registry.dataset("chexpert").load(tmp_path)


def test_a_folder_that_is_not_there_is_named(registry, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist; expected Stanford's layout"):
        registry.dataset("chexpert").load(tmp_path / "nowhere")


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "images"),
    [
        (".", "."),
        ("CheXpert-v1.0-small", "CheXpert-v1.0-small"),
        ("CheXpert-v1.0", "CheXpert-v1.0"),
        (".", "CheXpert-v1.0-small"),
    ],
)
def test_the_data_root_may_be_the_published_folder_or_hold_it(registry, tmp_path, labels, images):
    write(tmp_path / labels)
    for name in (NAMES[0], "test/patient64741/study1/view1_frontal.jpg"):
        (tmp_path / images / name).parent.mkdir(parents=True)
        (tmp_path / images / name).touch()
    data = registry.dataset("chexpert").load(tmp_path)
    files = dict(zip(data.table["image"], data.images, strict=True))
    assert files[NAMES[0]] == tmp_path / images / NAMES[0]
    assert files["test/patient64741/study1/view1_frontal.jpg"].is_file()
    assert files[NAMES[2]] == tmp_path / images / NAMES[2]


def test_a_folder_of_several_copies_is_refused_by_name(registry, tmp_path):
    for name in ("CheXpert-v1.0", "CheXpert-v1.0-small"):
        write(tmp_path / name)
    with pytest.raises(DataError, match=r"several copies, CheXpert-v1\.0 and CheXpert-v1\.0-small; give one of them"):
        registry.dataset("chexpert").load(tmp_path)


def test_label_files_may_be_compressed_and_are_known_by_their_digest(registry, tmp_path):
    write(tmp_path)
    content = (tmp_path / "train.csv").read_bytes()
    plain = registry.dataset("chexpert").load(tmp_path)
    assert plain.notes["label_file"].startswith(f"train.csv, sha256 {hashlib.sha256(content).hexdigest()[:12]}; valid")
    (tmp_path / "train.csv").unlink()
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(content))
    pd.testing.assert_frame_equal(registry.dataset("chexpert").load(tmp_path).table, plain.table)


# --- what is refused -------------------------------------------------------------------------------------------------


PATIENT_9 = "train/patient00009/study1/view1_frontal.jpg"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            make_row("train/9.jpg", "Male", "50", "Frontal", "AP"),
            r"column 'Path': '.*train/9\.jpg' does not name patient",
        ),
        (make_row("valid/patient9/study1/view1_frontal.jpg", "Male", "50", "Frontal", "AP"), "does not lie in train/"),
        (make_row(NAMES[0], "Male", "50", "Frontal", "AP"), "stands in the file more than once; keep one row"),
        (make_row(PATIENT_9, "X", "50", "Frontal", "AP"), r"column 'Sex': 'X' is none of Male, Female, Unknown and"),
        (make_row(PATIENT_9, "Male", "old", "Frontal", "AP"), r"column 'Age': 'old' is no number of years"),
        (make_row(PATIENT_9, "Male", "50", "Side", "AP"), r"'Side' is neither Frontal nor Lateral"),
        (
            make_row(PATIENT_9, "Male", "50", "Frontal", "XX"),
            r"column 'AP/PA': 'XX' is none of AP, PA, LL, RL and blank",
        ),
        (
            make_row(PATIENT_9, "Male", "50", "Frontal", "AP", Edema="2.0"),
            r"column 'Edema': '2\.0' is none of 1\.0, 0\.0, -1\.0 \(uncertain\) and blank",
        ),
    ],
)
def test_a_cell_that_cannot_be_read_is_named_with_its_line(chexpert, row, says):
    with pytest.raises(DataError, match=rf"train\.csv, line 7, .*{says}"):
        chexpert({"train": [*TRAIN, row]})


def test_missing_and_repeated_columns_are_named(registry, tmp_path):
    train = write(tmp_path) / "train.csv"
    whole = train.read_text()
    train.write_text(whole.replace("Edema,", "Oedema,", 1).replace("AP/PA", "Side"))
    with pytest.raises(DataError, match=r"has no column 'AP/PA', 'Edema'; expected Stanford's layout"):
        registry.dataset("chexpert").load(tmp_path)
    train.write_text(whole.replace("Edema,Consolidation", "Edema,Edema", 1).replace("AP/PA", "Consolidation,AP/PA", 1))
    with pytest.raises(DataError, match=r"the column 'Edema' stands in it more than once; rename or remove"):
        registry.dataset("chexpert").load(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"split": "offical"}, UnknownNameError, "did you mean 'official'"),
        ({"labels": "Oedema"}, UnknownNameError, "did you mean 'Edema'"),
        ({"labels": "No Finding"}, UsageError, "'No Finding' is no label, since a blank one does not say"),
        ({"blank": "ones"}, UsageError, "blank must be ignore or zeros, got 'ones'"),
        ({"uncertain": "maybe"}, UsageError, "uncertain must be"),
        ({"uncertain": "Oedema=ones"}, UsageError, "which is none of the labels"),
        ({"uncertain_test": "0.5"}, UsageError, "neither 0 nor 1"),
        ({"views": ""}, UsageError, "views is empty"),
        ({"views": "LAT"}, UnknownNameError, "unknown view of chexpert 'LAT'"),
    ],
)
def test_options_that_mean_nothing_are_refused(chexpert, options, error, says):
    with pytest.raises(error, match=says):
        chexpert(**options)


# --- a whole run -----------------------------------------------------------------------------------------------------


def write_tree(root: Path) -> Path:
    """The published layout with 48 patients and images of noise, in which Edema and Fracture vary."""
    patients = {"train": range(1, 29), "valid": range(64541, 64551), "test": range(64741, 64751)}
    draw = np.random.default_rng(0)
    rows: dict[str, list[str]] = {}
    for part, numbers in patients.items():
        for number in numbers:
            path = f"{part}/patient{number:05d}/study1/view1_frontal.jpg"
            image = root / path
            image.parent.mkdir(parents=True)
            Image.fromarray(draw.integers(0, 255, (40, 36), dtype=np.uint8)).save(image)
            values = KNOWN | {"Edema": f"{number % 2}.0", "Fracture": f"{number % 3 % 2}.0"}
            described = ("Male" if number % 5 else "Female", "50", "Frontal", "AP")
            known = [path, *(values[name.replace(" ", "_")] for name in [*LABELS, "No Finding"])]
            row = ",".join(known) if part == "test" else make_row(path, *described, **values)
            rows.setdefault({"test": "test_labels"}.get(part, part), []).append(row)
    return write(root, **rows)


def test_the_published_files_keep_the_contract(tmp_path):
    assert examine_dataset("chexpert", write_tree(tmp_path / "CheXpert-v1.0-small").parent) == {}


@pytest.mark.slow
def test_the_published_files_become_a_page_with_two_rows(harness, tmp_path):
    write_tree(tmp_path / "data" / "CheXpert-v1.0-small")
    rows = ("--models", "tiny-cnn", "--losses", "bce,focal", "--recipes", "toy", "--board", "b", "--seeds", "0")
    size = [f"--set=recipe.{name}" for name in ("epochs=1", "size=32", "load_size=32")]
    code, _, err = harness(
        "run", "--dataset", "chexpert", "--data-root", "data", *rows, *size, "--option", "uncertain=Edema=0.6"
    )
    assert code == 0, err
    page = (tmp_path / "b" / "index.html").read_text()
    assert "tiny-cnn + bce" in page
    assert "tiny-cnn + focal" in page
