"""PadChest's own table becomes a dataset: its lists of labels, views, ages, sexes and what is left out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import DataError, UnknownNameError, UsageError
from harness.data.splits import bucket, leaks
from tests.plugins.public_tables import copy_public_table

NAME = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = [
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("Projection", "MethodLabel", "Labels"),
]
DEFAULT = {
    "ImageDir": "0",
    "StudyDate_DICOM": "20140915",
    "PatientBirth": "1930.0",
    "PatientSex_DICOM": "F",
    "Projection": "PA",
    "MethodLabel": "Physician",
    "Labels": "['normal']",
}
USUAL = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia"),
    *("Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"),
)


def write_table(root: Path, *rows: dict[str, str], header: list[str] = HEADER) -> Path:
    """PadChest's table with these rows; image, study and patient are numbered where a row does not name them."""
    path = root / NAME
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header, extrasaction="ignore")
        writer.writeheader()
        for number, row in enumerate(rows):
            named = {"": str(number), "ImageID": f"{number}.png", "StudyID": f"s{number}", "PatientID": f"p{number}"}
            writer.writerow(named | DEFAULT | row)
    return path


@pytest.fixture
def padchest(registry):
    return registry.dataset("padchest")


def list_present(data, row: int) -> list[str]:
    return [label for label, target in zip(data.labels, data.targets[row], strict=True) if target == 1]


# --- labels ----------------------------------------------------------------------------------------------------------


def test_the_findings_of_chestxray14_are_made_of_padchests_labels(padchest, tmp_path):
    lists = [
        "['normal']",
        "['cardiomegaly', ' loculated pleural effusion', '']",
        "['hydropneumothorax', 'laminar atelectasis']",
        "['subcutaneous emphysema', 'pseudonodule', 'mediastinal mass', 'pericardial effusion', 'fibrotic band']",
    ]
    write_table(tmp_path, *({"Labels": labels} for labels in lists))
    data = padchest.load(tmp_path)
    assert data.labels == USUAL
    assert [list_present(data, row) for row in range(4)] == [
        [],
        ["Cardiomegaly", "Effusion"],
        ["Atelectasis", "Effusion", "Pneumothorax"],
        [],
    ]
    assert np.isin(data.targets, (0, 1)).all()


def test_all_of_padchests_labels_can_be_asked_for_unless_they_are_rare_or_no_findings(padchest, tmp_path):
    lists = ["['normal']", "['NSG tube', ' goiter']", "['NSG tube', 'unchanged']"]
    write_table(tmp_path, *({"Labels": labels} for labels in lists))
    assert padchest.load(tmp_path, labels="all", fewest=1).labels == ("NSG tube", "goiter", "normal")
    data = padchest.load(tmp_path, labels="all", fewest=2)
    assert data.labels == ("NSG tube",)
    assert data.targets.tolist() == [[0], [1], [1]]
    with pytest.raises(UsageError, match="no label has 3 images among those chosen"):
        padchest.load(tmp_path, labels="all", fewest=3)


@pytest.mark.parametrize("labels", ["Nodule, goiter", ["Nodule", "goiter"]])
def test_labels_can_be_listed_by_either_kind_of_name(padchest, tmp_path, labels):
    write_table(tmp_path, {"Labels": "['goiter', 'multiple nodules']"}, {"Labels": "['nodule']"})
    data = padchest.load(tmp_path, labels=labels)
    assert data.labels == ("Nodule", "goiter")
    assert data.targets.tolist() == [[1, 1], [1, 0]]


def test_a_label_that_no_image_has_is_refused_with_the_nearest(padchest, tmp_path):
    write_table(tmp_path, {"Labels": "['goiter']"})
    with pytest.raises(UnknownNameError, match="unknown label of padchest 'goitre': did you mean 'goiter'"):
        padchest.load(tmp_path, labels="goitre")
    with pytest.raises(UsageError, match="labels is empty"):
        padchest.load(tmp_path, labels=" ,")


# --- what is left out ------------------------------------------------------------------------------------------------


def test_images_whose_labels_say_nothing_of_findings_are_left_out_and_counted(padchest, tmp_path):
    lists = ["['normal']", "nan", "", "['']", "['mass', ' exclude']", "['unchanged', ' suboptimal study']"]
    write_table(tmp_path, *({"Labels": labels} for labels in lists), {"Labels": "['unchanged', 'mass']"})
    data = padchest.load(tmp_path)
    assert data.table["image"].tolist() == ["0.png", "6.png"]
    assert data.notes["left out"] == (
        "3 without labels, 1 labeled exclude, 1 with nothing but unchanged or suboptimal study"
    )
    kept = padchest.load(tmp_path, unclear="keep")
    assert kept.table["image"].tolist() == ["0.png", "4.png", "5.png", "6.png"]
    assert kept.notes["left out"] == "3 without labels"


def test_images_from_the_side_and_of_those_lying_down_are_taken_when_asked_for(padchest, tmp_path):
    views = ["PA", "AP", "AP_horizontal", "L", "UNK"]
    write_table(tmp_path, *({"Projection": view} for view in views))
    data = padchest.load(tmp_path)
    assert data.table["view"].tolist() == ["PA", "AP"]
    assert data.notes["views"] == ("3 of 5 images, of other views, are left out: AP_horizontal 1, L 1, unknown 1")
    assert padchest.load(tmp_path, views="AP,AP_horizontal").table["view"].tolist() == ["AP", "AP_horizontal"]
    assert len(padchest.load(tmp_path, views="all").table) == 5


def test_images_labeled_by_hand_can_be_asked_for_alone(padchest, tmp_path):
    write_table(tmp_path, {}, {"MethodLabel": "RNN_model"})
    assert "labeled by" not in padchest.load(tmp_path).notes
    data = padchest.load(tmp_path, labeled_by="Physician")
    assert data.table["image"].tolist() == ["0.png"]
    assert data.notes["labeled by"] == "Physician: 1 of 2 images are left out"


# --- patients, ages, sexes -------------------------------------------------------------------------------------------


def test_patients_are_carved_into_splits_that_none_crosses(padchest, tmp_path):
    write_table(tmp_path, *({"PatientID": f"p{number // 2}"} for number in range(60)))
    data = padchest.load(tmp_path)
    assert leaks(data.table) == []
    names = {0: "val", 1: "test", 2: "test"}
    assert data.table["split"].tolist() == [names.get(bucket(patient), "train") for patient in data.table["patient"]]
    assert set(data.table["split"]) == {"train", "val", "test"}
    assert data.notes["split"] == "carved by patient"


def test_ages_are_years_from_birth_to_study_and_unknown_where_that_is_impossible(padchest, tmp_path):
    births = ["1930.0", "1930", "nan", "", "2017.0", "1850.0"]
    write_table(tmp_path, *({"PatientBirth": birth} for birth in births))
    ages = padchest.load(tmp_path).table["age"]
    assert ages[:2].tolist() == [84, 84]
    assert ages[2:].isna().all()


def test_a_sex_that_is_neither_m_nor_f_is_unknown(padchest, tmp_path):
    write_table(tmp_path, *({"PatientSex_DICOM": sex} for sex in ("M", "F", "O", "nan")))
    assert padchest.load(tmp_path).table["sex"].tolist() == ["M", "F", None, None]


def test_a_study_that_two_patients_share_is_told_apart(padchest, tmp_path):
    write_table(tmp_path, {"StudyID": "s"}, {"StudyID": "s"}, {"StudyID": "t"}, {"StudyID": "t", "PatientID": "p2"})
    assert padchest.load(tmp_path).table["study"].tolist() == ["p0/s", "p1/s", "t", "t"]


def test_columns_that_describe_the_image_may_be_absent(padchest, tmp_path):
    write_table(tmp_path, {}, {}, header=["ImageID", "PatientID", "Projection", "Labels"])
    table = padchest.load(tmp_path).table
    assert "study" not in table
    assert table[["age", "sex"]].isna().all(axis=None)


# --- images ----------------------------------------------------------------------------------------------------------


def test_images_are_found_in_numbered_folders_and_in_one_folder(padchest, tmp_path):
    write_table(tmp_path, {"ImageDir": "0"}, {"ImageDir": "54"}, {"ImageDir": "3"}, {"ImageDir": "7"})
    places = ["0/0.png", "images/54/1.png", "2.png"]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    images = padchest.load(tmp_path).images
    assert list(images) == [tmp_path / place for place in [*places, "7/3.png"]]


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_folder_without_the_table_says_where_to_get_it(padchest, tmp_path):
    with pytest.raises(DataError, match=r"padchest: the folder .* has no PADCHEST.*bimcv.cipf.es.*--data-root"):
        padchest.load(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        padchest.load(tmp_path / "nowhere")


def test_another_table_is_refused_by_what_it_lacks(padchest, tmp_path):
    write_table(tmp_path, {}, header=["ImageID", "PatientID"])
    with pytest.raises(DataError, match="is not PadChest's table: it has no column 'Labels' or 'Projection'"):
        padchest.load(tmp_path)


@pytest.mark.parametrize("labels", ["normal", "['normal'", "[1]", "{'normal'}"])
def test_labels_that_are_no_list_are_refused_with_their_line(padchest, tmp_path, labels):
    write_table(tmp_path, {}, {"Labels": labels})
    with pytest.raises(DataError, match=r"line 3: Labels must be a list such as \['normal', 'nodule'\], got"):
        padchest.load(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"PatientID": ""}, "line 3: no PatientID, but every image needs one"),
        ({"PatientID": "nan"}, "line 3: no PatientID"),
        ({"ImageID": ""}, "line 3: no ImageID"),
        ({"ImageID": "0.png"}, "line 3: the image '0.png' has a row before; 1 rows are such"),
        ({"MethodLabel": "someone"}, "line 3: MethodLabel must be Physician or RNN_model, got 'someone'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(padchest, tmp_path, row, message):
    write_table(tmp_path, {}, row)
    with pytest.raises(DataError, match=message):
        padchest.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labeled_by": "physician"}, "labeled_by must be all, Physician, RNN_model, got 'physician'"),
        ({"unclear": "drop"}, "unclear must be leave-out, keep, got 'drop'"),
        ({"views": ""}, "views is empty"),
    ],
)
def test_an_option_with_a_value_that_it_cannot_have_is_refused(padchest, tmp_path, options, message):
    write_table(tmp_path, {})
    with pytest.raises(UsageError, match=message):
        padchest.load(tmp_path, **options)


def test_options_that_leave_no_image_are_refused(padchest, tmp_path):
    write_table(tmp_path, {"Labels": "['exclude']"})
    with pytest.raises(DataError, match="no image has a label that says what it shows"):
        padchest.load(tmp_path)
    with pytest.raises(DataError, match="no image has MethodLabel RNN_model; give labeled_by=all"):
        padchest.load(tmp_path, labeled_by="RNN_model", unclear="keep")


# --- the real table, and a run ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_real_table_gives_its_known_counts(padchest, tmp_path):
    copy_public_table(f"{NAME}.gz", tmp_path)
    data = padchest.load(tmp_path, labels="all", fewest=1, views="all", unclear="keep")
    assert len(data.table) == 160861 - 103 - 777
    assert data.notes["left out"] == "880 without labels"
    assert len(data.labels) == 193 - 3
    counts = dict(zip(data.labels, data.targets.sum(axis=0).astype(int).tolist(), strict=True))
    assert {label: counts[label] for label in ("normal", "COPD signs", "cardiomegaly", "pneumothorax")} == {
        "normal": 50616,
        "COPD signs": 23280,
        "cardiomegaly": 15022,
        "pneumothorax": 533,
    }
    assert data.table["patient"].nunique() == 67383
    usual = padchest.load(tmp_path)
    assert usual.notes["label_file"] == f"{NAME}.gz, sha256 34a10144a87f"
    assert usual.notes["left out"] == (
        "880 without labels, 1,312 labeled exclude, 4,138 with nothing but unchanged or suboptimal study"
    )
    assert usual.table["view"].value_counts().to_dict() == {"PA": 88544, "AP": 4288}
    assert usual.targets.sum(axis=0).astype(int).tolist() == [
        *(4428, 8769, 1157, 463, 3958, 884, 682, 1531, 8413, 584, 2425, 3239, 3893, 295)
    ]


@pytest.mark.slow
def test_a_tree_of_16_bit_images_becomes_a_page_of_two_rows(harness, tmp_path):
    root = tmp_path / "pad"
    root.mkdir()
    generator = np.random.default_rng(0)
    rows = [
        {"PatientID": f"p{number}", "Labels": "['nodule', 'pneumonia']" if number % 2 else "['normal']"}
        for number in range(60)
    ]
    write_table(root, *rows)
    (root / "0").mkdir()
    for number in range(60):
        pixels = generator.integers(0, 4096, (40, 36), dtype=np.uint16)
        Image.fromarray(pixels).save(root / "0" / f"{number}.png")
    names = ("--dataset", "padchest", "--models", "tiny-cnn", "--losses", "bce,focal", "--recipes", "toy")
    options = ("--option", "labels=Nodule,Pneumonia", "--data-root", str(root), "--board", "b")
    code, out, err = harness("run", *names, *options)
    assert code == 0, out + err
    assert (tmp_path / "b" / "index.html").is_file()
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "b" / "records").glob("*.json"))]
    assert [record["status"] for record in records] == ["done", "done"]
    assert {record["combo"]["loss"] for record in records} == {"bce", "focal"}
