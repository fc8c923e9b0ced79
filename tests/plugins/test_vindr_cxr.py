"""Both releases of VinDr-CXR: what three readers saw becomes one label, and their boxes stay."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness import DataError
from harness.data.splits import bucket, leaks
from harness.data.terms import read_terms
from harness.errors import UnknownNameError
from tests.data.test_dicom import make
from tests.plugins.published_tables import find_published

KAGGLE = [
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration"),
    *("Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    "Pulmonary fibrosis",
]
PHYSIONET = [
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis"),
    "Other diseases",
]
# positives where at least one, two or three of the readers saw them, counted in the published table by other means
KNOWN = {
    "any": [3067, 186, 452, 2300, 353, 386, 613, 1322, 826, 1134, 1032, 1981, 96, 1617],
    "majority": [2346, 62, 177, 1817, 121, 152, 245, 547, 405, 362, 634, 882, 58, 1017],
    "all": [1744, 18, 57, 1297, 31, 71, 91, 167, 181, 127, 439, 365, 45, 633],
}
HEADER = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
ROWS = [
    "a,Cardiomegaly,3,R1,10,20,110,70",
    "a,Cardiomegaly,3,R2,12.5,20,110,70.5",
    "a,Nodule/Mass,8,R2,1,2,3,4",
    "a,Nodule/Mass,8,R2,5,6,7,8",
    "a,No finding,14,R3,,,,",
    "b,ILD,5,R1,0,0,9,9",
    "b,ILD,5,R4,0,0,8,8",
    "b,ILD,5,R5,0,0,7,7",
    "c,No finding,14,R1,,,,",
    "c,No finding,14,R2,,,,",
    "c,No finding,14,R3,,,,",
]


def write_kaggle(root: Path, rows=ROWS, header: str = HEADER) -> Path:
    path = root / "train.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def write_labels(path: Path, rows: dict[tuple[str, ...], list[str]], labels=PHYSIONET) -> None:
    """A table of PhysioNet: what an image and its reader, or an image alone, has of the labels."""
    first = "image_id,rad_ID" if len(next(iter(rows))) == 2 else "image_id"
    columns = [*labels, "No finding"]
    lines = [
        ",".join([*key, *("1" if name in (seen or ["No finding"]) else "0" for name in columns)])
        for key, seen in rows.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join([first, *columns]), *lines]) + "\n")


TRAIN: dict[tuple[str, ...], list[str]] = {
    ("a", "R1"): ["Edema", "Tuberculosis"],
    ("a", "R2"): ["Edema"],
    ("a", "R3"): [],
    ("b", "R1"): [],
    ("b", "R2"): [],
    ("b", "R3"): ["Other diseases"],
}
TEST: dict[tuple[str, ...], list[str]] = {("t",): ["Other disease", "Rib fracture"], ("u",): []}


def write_physionet(root: Path) -> Path:
    """PhysioNet's tables; the test part names one label otherwise, as published."""
    folder = root / "annotations"
    write_labels(folder / "image_labels_train.csv", TRAIN)
    write_labels(folder / "image_labels_test.csv", TEST, [*PHYSIONET[:-1], "Other disease"])
    boxes = ["image_id,rad_id,class_name,x_min,y_min,x_max,y_max", "a,R1,Edema,1,2,11,22", "b,R1,No finding,,,,"]
    (folder / "annotations_train.csv").write_text("\n".join(boxes))
    boxes = ["image_id,class_name,x_min,y_min,x_max,y_max", "t,Rib fracture,3,4,5,7", "u,No finding,,,,"]
    (folder / "annotations_test.csv").write_text("\n".join(boxes))
    return folder


@pytest.fixture
def vindr(registry):
    return registry.dataset("vindr-cxr").load


def read_present(data) -> dict[str, dict[str, float]]:
    """By image, what each label is that is not absent."""
    return {
        image: {label: float(value) for label, value in zip(data.labels, row, strict=True) if value != 0}
        for image, row in zip(data.table["image"], data.targets, strict=True)
    }


# --- Kaggle's part ---------------------------------------------------------------------------------------------------


def test_each_image_is_one_row_and_most_of_its_readers_decide(vindr, tmp_path):
    write_kaggle(tmp_path)
    data = vindr(tmp_path)
    assert list(data.labels) == KAGGLE
    assert read_present(data) == {"a": {"Cardiomegaly": 1}, "b": {"ILD": 1}, "c": {}}
    assert data.notes["readers"] == "3 images with 3 readings"


@pytest.mark.parametrize(
    ("vote", "present"),
    [("any", {"Cardiomegaly": 1, "Nodule/Mass": 1}), ("all", {}), ("majority", {"Cardiomegaly": 1})],
)
def test_a_vote_decides_what_a_finding_needs(vindr, tmp_path, vote, present):
    write_kaggle(tmp_path)
    data = vindr(tmp_path, vote=vote)
    assert read_present(data) == {"a": present, "b": {"ILD": 1}, "c": {}}


def find_images_of(split: str, count: int) -> list[str]:
    """Names that the split by image puts there."""
    wanted = {"val": (0,), "test": (1, 2), "train": range(3, 10)}[split]
    return list(itertools.islice((f"{n:032x}" for n in range(1000) if bucket(f"{n:032x}") in wanted), count))


def test_the_mean_of_the_readers_is_for_training_alone(vindr, tmp_path):
    images = {split: find_images_of(split, 2) for split in ("train", "val", "test")}
    rows = []
    for one, other in images.values():
        rows += [f"{one},Edema,0,R{reader},1,1,2,2".replace("Edema", "ILD") for reader in (1, 2)]
        rows += [f"{one},No finding,14,R3,,,,", f"{other},ILD,5,R1,1,1,2,2"]
        rows += [f"{other},No finding,14,R{reader},,,," for reader in (2, 3)]
    write_kaggle(tmp_path, rows)
    data = vindr(tmp_path, vote="mean")
    present = read_present(data)
    assert [present[name]["ILD"] for name in images["train"]] == pytest.approx([2 / 3, 1 / 3])
    for split in ("val", "test"):
        assert [present[name] for name in images[split]] == [{"ILD": 1}, {}]
    assert "in training" in data.notes["vote"]
    assert "majority" in data.notes["vote"]
    # the box of one reader stays in training, where the label is one third, and goes where it is absent
    assert len(data.boxes) == 7


def test_kaggles_part_is_split_by_image_since_no_patient_is_known(vindr, tmp_path):
    images = {split: find_images_of(split, 3) for split in ("train", "val", "test")}
    write_kaggle(tmp_path, [f"{image},No finding,14,R1,,,," for names in images.values() for image in names])
    data = vindr(tmp_path)
    assert not data.patients_known
    assert data.table["patient"].tolist() == data.table["image"].tolist()
    for split, names in images.items():
        assert data.table["image"][data.table["split"] == split].tolist() == names
    assert "carved by image" in data.notes["split"]


def test_boxes_are_the_readers_and_those_that_the_vote_is_against_are_left_out(vindr, tmp_path):
    write_kaggle(tmp_path)
    data = vindr(tmp_path)
    assert data.boxes.to_numpy().tolist() == [
        ["a", "Cardiomegaly", 10, 20, 100, 50],
        ["a", "Cardiomegaly", 12.5, 20, 97.5, 50.5],
        *(["b", "ILD", 0, 0, size, size] for size in (9, 8, 7)),
    ]
    assert "2 of 7 left out" in data.notes["boxes"]
    assert len(vindr(tmp_path, vote="any").boxes) == 7


def test_no_finding_has_no_box_even_where_a_table_gives_it_one(vindr, tmp_path):
    write_kaggle(tmp_path, [row.replace(",,,,", ",0,0,1,1") for row in ROWS])
    assert set(vindr(tmp_path).boxes["label"]) == {"Cardiomegaly", "ILD"}


@pytest.mark.parametrize("suffix", [".dicom", ".dcm", ".png", ".jpg"])
def test_images_are_found_as_published_or_converted(vindr, tmp_path, suffix):
    write_kaggle(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / f"b{suffix}").touch()
    data = vindr(tmp_path)
    assert list(data.images) == [tmp_path / "train" / name for name in ("a.dicom", f"b{suffix}", "c.dicom")]
    assert (data.boxes is None) == (suffix in (".png", ".jpg"))
    assert ("pixels of the DICOM files" in data.notes["boxes"]) == (data.boxes is None)


def test_the_label_file_may_be_gzipped_and_the_note_has_its_digest(vindr, tmp_path):
    path = write_kaggle(tmp_path)
    plain = vindr(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert plain.notes["label_file"] == f"train.csv, sha256 {digest}"
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert vindr(tmp_path).table.equals(plain.table)


def test_classes_and_columns_are_known_whatever_their_case(vindr, tmp_path):
    write_kaggle(tmp_path, [row.replace("ILD", "ild") for row in ROWS], HEADER.replace("rad_id", "rad_ID"))
    assert read_present(vindr(tmp_path))["b"] == {"ILD": 1}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("d,Cardiomegally,3,R1,1,2,3,4", r"line 13: 'Cardiomegally' is none of the .* did you mean 'Cardiomegaly'"),
        ("d,Edema,3,R1,1,2,3,4", r"line 13: 'Edema' is none of the release's 14 labels"),
        (",ILD,5,R1,1,2,3,4", r"line 13: image_id is blank"),
        ("d,ILD,5,,1,2,3,4", r"line 13: rad_id is blank"),
        ("d,,5,R1,1,2,3,4", r"line 13: class_name is blank"),
        (ROWS[0], r"line 13: this row stands in the file twice"),
        (ROWS[-1], r"line 13: this row stands in the file twice"),
        ("d,ILD,5,R1,1,2,3,", r"line 13: a box must be four numbers .* got 1, 2, 3, "),
        ("d,ILD,5,R1,1,2,x,4", r"line 13: a box must be four numbers"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_line(vindr, tmp_path, row, says):
    write_kaggle(tmp_path, [*ROWS, row])
    with pytest.raises(DataError, match=says):
        vindr(tmp_path)


def test_another_table_is_refused_with_the_columns_that_it_lacks(vindr, tmp_path):
    write_kaggle(tmp_path, ["a,b"], "image_id,label")
    with pytest.raises(DataError, match=r"has no column class_name, rad_id, x_min.*expected PhysioNet's layout"):
        vindr(tmp_path)


@pytest.mark.parametrize("root", ["", "absent"])
def test_an_absent_folder_or_label_file_is_refused_with_the_layout_and_where_to_get_it(vindr, tmp_path, root):
    with pytest.raises(DataError, match=r"train/ID\.dicom.*https://physionet\.org/.*terms: .*credentialed"):
        vindr(tmp_path / root)


def test_an_unknown_vote_gets_the_nearest_name(vindr, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'majority'"):
        vindr(tmp_path, vote="majorty")


@pytest.mark.parametrize("vote", KNOWN)
def test_the_published_table_has_the_known_images_boxes_and_positives(vindr, tmp_path, vote):
    shutil.copy(find_published("vinbigdata-train.csv.gz"), tmp_path / "train.csv.gz")
    data = vindr(tmp_path, vote=vote)
    assert len(data.table) == 15000
    assert data.notes["readers"] == "15,000 images with 3 readings"
    assert data.targets.sum(axis=0).tolist() == KNOWN[vote]
    assert f"of {67914 - 31818:,} left out" in data.notes["boxes"]
    assert leaks(data.table) == []
    if vote == "any":
        counts = data.boxes["label"].value_counts()
        known = [7162, 279, 960, 5427, 556, 1000, 1247, 2483, 2580, 2203, 2476, 4842, 226, 4655]
        assert [counts[label] for label in data.labels] == known


# --- PhysioNet's release ---------------------------------------------------------------------------------------------


def test_physionets_parts_are_train_and_test_and_have_22_findings_and_5_diagnoses(vindr, tmp_path):
    write_physionet(tmp_path)
    data = vindr(tmp_path)
    assert list(data.labels) == PHYSIONET
    assert read_present(data) == {"a": {"Edema": 1}, "b": {}, "t": {"Rib fracture": 1, "Other diseases": 1}, "u": {}}
    splits = ["val" if bucket(name) == 0 else "train" for name in "ab"]
    assert data.table["split"].tolist() == [*splits, "test", "test"]
    assert [path.relative_to(tmp_path).as_posix() for path in data.images] == [
        *("train/a.dicom", "train/b.dicom", "test/t.dicom", "test/u.dicom")
    ]
    assert not data.patients_known
    assert data.notes["readers"] == "2 images with 1 reading; 2 images with 3 readings"
    assert data.notes["label_file"].count("sha256") == 2
    assert data.boxes.to_numpy().tolist() == [["a", "Edema", 1, 2, 10, 20], ["t", "Rib fracture", 3, 4, 2, 3]]


@pytest.mark.parametrize("vote", ["any", "all", "mean"])
def test_no_vote_changes_the_consensus_of_the_test_part(vindr, tmp_path, vote):
    write_physionet(tmp_path)
    assert np.array_equal(vindr(tmp_path, vote=vote).targets[2:], vindr(tmp_path).targets[2:])


def test_physionets_release_goes_before_kaggles(vindr, tmp_path):
    write_kaggle(tmp_path)
    write_physionet(tmp_path)
    assert len(vindr(tmp_path).labels) == 27


def test_the_table_of_terms_knows_the_labels_of_both_releases():
    known = set(read_terms().labels["vindr-cxr"])
    assert known == set(PHYSIONET)
    assert known > set(KAGGLE)


def test_boxes_may_be_absent(vindr, tmp_path):
    folder = write_physionet(tmp_path)
    for part in ("train", "test"):
        (folder / f"annotations_{part}.csv").unlink()
    data = vindr(tmp_path)
    assert data.boxes is None
    assert "boxes" not in data.notes


def test_a_blank_cell_is_no_vote_and_a_label_without_votes_is_unknown(vindr, tmp_path):
    folder = write_physionet(tmp_path)
    path = folder / "image_labels_train.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    edema, copd = lines[0].index("Edema"), lines[0].index("COPD")
    lines[2][edema] = ""  # of two votes that are left, one is for it: no majority
    for line in lines[1:4]:
        line[copd] = ""
    path.write_text("\n".join(",".join(line) for line in lines))
    data = vindr(tmp_path)
    assert data.targets[0, PHYSIONET.index("Edema")] == 0
    assert np.isnan(data.targets[0, PHYSIONET.index("COPD")])
    assert "4 blank cells are no vote" in data.notes["readers"]


def test_a_reader_who_says_no_finding_beside_one_is_counted(vindr, tmp_path):
    write_physionet(tmp_path)
    rows = TRAIN | {("a", "R1"): ["Edema", "No finding"]}
    write_labels(tmp_path / "annotations" / "image_labels_train.csv", rows)
    data = vindr(tmp_path)
    assert data.targets[0, PHYSIONET.index("Edema")] == 1
    assert '1 readings say "No finding" beside a finding' in data.notes["readers"]


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("image_labels_train.csv", "rad_ID", "reader", r"image_labels_train\.csv has no column rad_id"),
        ("image_labels_test.csv", "COPD", "Copper", r"image_labels_test\.csv has no column COPD; expected"),
        ("image_labels_train.csv", "a,R2", "a,R1", r"line 3: this image and reader have two rows"),
        ("image_labels_test.csv", "\nu,", "\nt,", r"line 3: this image and reader have two rows"),
        ("image_labels_train.csv", "b,R1,0", "b,R1,2", r"line 5: Aortic enlargement must be 1, 0 or blank, got '2'"),
        ("image_labels_train.csv", "b,R1", ",R1", r"line 5: image_id is blank"),
        ("image_labels_test.csv", "\nu,", "\na,", r"1 images stand in image_labels_train\.csv, too, first a"),
        ("annotations_train.csv", "a,R1,Edema", "z,R1,Edema", r"1 boxes are of images without labels, first z"),
        ("annotations_train.csv", "Edema", "Oedema", r"line 2: 'Oedema' is none of the .*27 labels.*'Edema'"),
        ("annotations_test.csv", "3,4,5,7", "3,4,x,7", r"annotations_test\.csv, line 2: a box must be four numbers"),
    ],
)
def test_physionets_tables_that_cannot_be_are_refused(vindr, tmp_path, file, old, new, says):
    folder = write_physionet(tmp_path)
    change(folder, file, old, new)
    with pytest.raises(DataError, match=says):
        vindr(tmp_path)


def test_a_training_part_without_the_test_part_is_refused(vindr, tmp_path):
    (write_physionet(tmp_path) / "image_labels_test.csv").unlink()
    with pytest.raises(DataError, match=r"has no annotations/image_labels_test\.csv; expected"):
        vindr(tmp_path)


# --- from DICOM files to a page --------------------------------------------------------------------------------------


def draw_physionet(root: Path, count: int = 24) -> None:
    """DICOM files of 48 px in which a bright corner is Edema and a bright middle Cardiomegaly."""
    generator = np.random.default_rng(0)
    train: dict[tuple[str, ...], list[str]] = {}
    test: dict[tuple[str, ...], list[str]] = {}
    for number, image in enumerate([*find_images_of("train", count), *find_images_of("val", 8), *map(str, range(8))]):
        part = "test" if len(image) < 32 else "train"
        seen = [name for bit, name in enumerate(("Edema", "Cardiomegaly")) if number >> bit & 1]
        pixels = generator.integers(500, 1500, (48, 48))
        pixels[:16, :16] += 2000 * ("Edema" in seen)
        pixels[20:36, 20:36] += 2000 * ("Cardiomegaly" in seen)
        (root / part).mkdir(parents=True, exist_ok=True)
        make(root / part / f"{image}.dicom", pixels, ViewPosition="PA")
        if part == "test":
            test[image,] = seen
        else:
            train |= {(image, f"R{reader}"): seen if reader < 3 else [] for reader in (1, 2, 3)}
    write_labels(root / "annotations" / "image_labels_train.csv", train)
    write_labels(root / "annotations" / "image_labels_test.csv", test)
    boxes = [f"{image},{reader},Edema,0,0,16,16" for (image, reader), seen in train.items() if "Edema" in seen]
    header = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
    (root / "annotations" / "annotations_train.csv").write_text("\n".join([header, *boxes]))


@pytest.mark.slow
@pytest.mark.parametrize("vote", ["majority", "mean"])
def test_a_board_goes_from_dicom_files_to_a_page(harness, tmp_path, vote):
    draw_physionet(tmp_path / "data" / "vindr-cxr")
    code, _, err = harness(
        *("run", "--board", "b", "--dataset", "vindr-cxr", "--data-root", "data", "--option", f"vote={vote}"),
        *("--models", "tiny-cnn", "--losses", "bce,focal", "--recipes", "demo", "--seeds", "0", "--json"),
        *("--set", "recipe.size=32", "--set", "recipe.load_size=32", "--set", "recipe.epochs=1"),
    )
    assert code == 0, err
    records = [json.loads(path.read_text()) for path in (tmp_path / "b" / "records").glob("*.json")]
    assert [record["status"] for record in records] == ["done", "done"]
    assert {record["combo"]["loss"] for record in records} == {"bce", "focal"}
    page = (tmp_path / "b" / "index.html").read_text()
    assert all(row in page for row in ("tiny-cnn--bce--demo", "tiny-cnn--focal--demo"))
