"""NIH's own files, in all their forms, become one table."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from harness import DataError
from harness.data.splits import bucket, leaks
from harness.errors import UnknownNameError

LABELS = [
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia"),
    *("Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"),
]
V2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
HEADERS = {"Data_Entry_2017_v2020.csv": V2020, "Data_Entry_2017.csv": V2020 + ","}
ROWS = [
    ("00000001_000.png", "Cardiomegaly", 1, "57", "M", "PA"),
    ("00000001_001.png", "Cardiomegaly|Emphysema", 1, "58", "M", "PA"),
    ("00000002_000.png", "No Finding", 2, "81", "F", "AP"),
    ("00000003_000.png", "Hernia", 3, "414", "F", "PA"),
    ("00000004_000.png", "Pleural_Thickening|Mass|Pneumonia", 4, "058Y", "M", "AP"),
    ("00000020_000.png", "Infiltration", 20, "011M", "M", "AP"),
]
NAMES = [row[0] for row in ROWS]
BOXES = [
    "Image Index,Finding Label,Bbox [x,y,w,h],,,",
    "00000020_000.png,Infiltrate,10.5,20.0,300.25,40.0,,,",
    "00000003_000.png,Hernia,1,2,3,4,,,",
]
# from the table of the paper's split: patients, images, positives by label
DACNET = {
    "train": (28618, 103847, "10789 2494 4290 2136 12357 2317 1554 193 18372 5382 5836 3109 1324 4978"),
    "val": (1570, 5974, "544 164 277 115 621 138 95 25 1127 283 354 182 78 231"),
    "test": (617, 2299, "226 118 100 52 339 61 37 9 395 117 141 94 29 93"),
}
OFFICIAL = {
    "train_val": (28008, 86524, "8280 1707 2852 1378 8659 1423 1251 141 13782 4034 4708 2242 876 2637"),
    "test": (2797, 25596, "3279 1069 1815 925 4658 1093 435 86 6112 1748 1623 1143 555 2665"),
}


def write_labels(root: Path, name: str = "Data_Entry_2017_v2020.csv", rows=ROWS, header: str = "") -> Path:
    """A label file as NIH writes it; the one of 2017 ends its lines with a comma."""
    header = header or HEADERS[name]
    tail = ",2500,2048,0.168,0.168" + ("," if header.endswith(",") else "")
    lines = [
        f"{image},{findings},0,{patient},{age},{sex},{view}{tail}" for image, findings, patient, age, sex, view in rows
    ]
    path = root / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def write_lists(root: Path, **lists: list[str]) -> None:
    for name, images in lists.items():
        (root / f"{name}.txt").write_text("\n".join(images) + "\n")


@pytest.fixture
def nih(registry):
    return registry.dataset("nih-cxr14")


@pytest.fixture
def folder(tmp_path):
    """A small dataset: label file, lists, boxes, no image."""
    write_labels(tmp_path)
    write_lists(tmp_path, train_val_list=NAMES[:4], test_list=NAMES[4:])
    (tmp_path / "BBox_List_2017.csv").write_text("\n".join(BOXES) + "\n")
    return tmp_path


# --- the label file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADERS)
def test_both_label_files_are_read_alike(nih, folder, name):
    (folder / "Data_Entry_2017_v2020.csv").unlink()
    write_labels(folder, name)
    data = nih.load(folder)
    assert list(data.labels) == LABELS
    table = data.table
    assert table["image"].tolist() == NAMES
    assert table["patient"].tolist() == ["1", "1", "2", "3", "4", "20"]
    assert table["sex"].tolist() == ["M", "M", "F", "F", "M", "M"]
    assert table["view"].tolist() == ["PA", "PA", "AP", "PA", "AP", "AP"]
    for row, (_, findings, *_rest) in enumerate(ROWS):
        present = [label for label, target in zip(LABELS, data.targets[row], strict=True) if target == 1]
        assert present == sorted(set(findings.split("|")) - {"No Finding"})
    assert np.isin(data.targets, (0, 1)).all()


def test_impossible_ages_and_ages_in_months_are_unknown(nih, folder):
    ages = nih.load(folder).table["age"].tolist()
    assert ages[:3] == [57, 58, 81]
    assert np.isnan(ages[3])
    assert ages[4] == 58
    assert np.isnan(ages[5])


def test_patient_sex_is_another_name_for_patient_gender(nih, folder):
    write_labels(folder, header=V2020.replace("Patient Gender", "Patient Sex"))
    assert nih.load(folder).table["sex"].tolist() == ["M", "M", "F", "F", "M", "M"]


def test_columns_that_describe_the_patient_may_be_absent(nih, folder):
    rows = [f"{image},{findings},{patient}" for image, findings, patient, *_ in ROWS]
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join(["Image Index,Finding Labels,Patient ID", *rows]))
    table = nih.load(folder).table
    assert table[["age", "sex", "view"]].isna().all(axis=None)
    assert table["patient"].tolist() == ["1", "1", "2", "3", "4", "20"]


def test_the_later_label_file_is_preferred_and_the_other_can_be_asked_for(nih, folder):
    old = write_labels(folder, "Data_Entry_2017.csv", [(NAMES[0], "Edema", *ROWS[0][2:]), *ROWS[1:]])
    edema = LABELS.index("Edema")
    assert nih.load(folder).targets[0, edema] == 0
    data = nih.load(folder, label_file="Data_Entry_2017.csv")
    assert data.targets[0, edema] == 1
    digest = hashlib.sha256(old.read_bytes()).hexdigest()[:12]
    assert data.notes["label_file"] == f"Data_Entry_2017.csv, generation unknown, sha256 {digest}"


@pytest.mark.parametrize(("pneumonia", "generation"), [(1353, "of November 2017"), (1431, "v2020"), (1400, "unknown")])
def test_the_number_of_pneumonias_tells_the_generation_of_the_labels(nih, tmp_path, pneumonia, generation):
    rows = [
        (f"{n:08d}_000.png", "Pneumonia" if n <= pneumonia else "No Finding", n, "50", "M", "PA")
        for n in range(1, 1501)
    ]
    write_labels(tmp_path, "Data_Entry_2017.csv", rows)
    note = nih.load(tmp_path, split="dacnet").notes["label_file"]
    assert note.startswith(f"Data_Entry_2017.csv, generation {generation}, sha256 ")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            (NAMES[0], "Cardiomegally|Edema|Mas", *ROWS[0][2:]),
            r"2 findings that are none of NIH's 14, first Cardiomegally, Mas",
        ),
        ((NAMES[0], "", *ROWS[0][2:]), r"line 2 lacks an image, findings or a patient"),
        ((NAMES[0], "Edema", "P1", *ROWS[0][3:]), r"patient 'P1' is no number"),
    ],
)
def test_a_label_file_that_is_not_nihs_is_refused(nih, folder, row, message):
    write_labels(folder, rows=[row, *ROWS[1:]])
    with pytest.raises(DataError, match=message):
        nih.load(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Path,Sex\na.png,M\n", r"is not NIH's label file: .*expected NIH's layout"),
        (V2020 + "\n", r"Data_Entry_2017_v2020\.csv has a header and no rows"),
    ],
)
def test_another_table_or_an_empty_one_is_refused(nih, folder, content, says):
    (folder / "Data_Entry_2017_v2020.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        nih.load(folder)


@pytest.mark.parametrize("root", ["", "absent"])
def test_an_absent_folder_or_label_file_is_refused_with_the_layout_and_where_to_get_it(nih, tmp_path, root):
    with pytest.raises(DataError, match=r"images_001/images .*https://nihcc\.app\.box\.com/v/ChestXray-NIHCC"):
        nih.load(tmp_path / root)


# --- splits ----------------------------------------------------------------------------------------------------------


def test_the_official_split_carves_validation_by_patient(nih, folder):
    split = nih.load(folder).table.set_index("image")["split"]
    for image, _, patient, *_ in ROWS[:4]:
        assert split[image] == ("val" if bucket(str(patient)) == 0 else "train")
    assert split[NAMES[4:]].tolist() == ["test", "test"]


def test_an_image_in_no_list_is_left_out(nih, folder):
    write_lists(folder, train_val_list=NAMES[:3])
    data = nih.load(folder)
    assert data.table["image"].tolist() == NAMES[:3] + NAMES[4:]
    assert data.targets[3, LABELS.index("Pneumonia")] == 1
    assert data.boxes is not None
    assert data.boxes["image"].tolist() == ["00000020_000.png"]


@pytest.mark.parametrize("split", ["official", "lists"])
def test_a_list_that_is_absent_names_the_file(nih, folder, split):
    (folder / "train_val_list.txt").unlink()
    with pytest.raises(DataError, match=r"there is no .*train_(val_)?list\.txt"):
        nih.load(folder, split=split)


def test_listed_images_without_a_row_are_refused_with_their_number_and_the_first_names(nih, folder):
    write_lists(folder, test_list=[*NAMES[4:], "z.png", "x.png", "y.png", "w.png"])
    with pytest.raises(DataError, match=r"test_list\.txt: 4 of 6 images have no row .* first w\.png, x\.png, y\.png"):
        nih.load(folder)


def test_lists_may_carry_labels_and_folders_and_other_images_are_left_out(nih, folder):
    (folder / "splits").mkdir()
    lists = {"train": [f"images_001/{NAMES[0]} 0 1 0", NAMES[1]], "val": ["", NAMES[3] + " 1"], "test": [NAMES[5]]}
    write_lists(folder / "splits", **lists)
    options = {f"{name}_list": f"splits/{name}.txt" for name in lists}
    table = nih.load(folder, split="lists", **options).table
    assert dict(zip(table["image"], table["split"], strict=True)) == {
        NAMES[0]: "train",
        NAMES[1]: "train",
        NAMES[3]: "val",
        NAMES[5]: "test",
    }


def test_a_list_may_be_gzipped_and_the_plain_one_goes_first(nih, folder):
    lists = {"train_list": NAMES[:2], "val_list": [NAMES[3]], "test_list": [NAMES[5]]}
    write_lists(folder, **lists)
    plain = nih.load(folder, split="lists").table
    for name in lists:
        path = folder / f"{name}.txt"
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert nih.load(folder, split="lists").table.equals(plain)
    write_lists(folder, test_list=[NAMES[4]])
    assert nih.load(folder, split="lists").table.query("split == 'test'")["image"].tolist() == [NAMES[4]]


def test_an_image_in_two_lists_is_refused(nih, folder):
    write_lists(folder, train_list=NAMES[:3], val_list=NAMES[3:4], test_list=[*NAMES[4:], NAMES[1]])
    with pytest.raises(DataError, match=rf"images in both train_list\.txt and test_list\.txt: 1, first {NAMES[1]}"):
        nih.load(folder, split="lists")
    write_lists(folder, test_list=NAMES[3:])
    with pytest.raises(DataError, match=rf"both train_val_list\.txt and test_list\.txt: 1, first {NAMES[3]}"):
        nih.load(folder)


def test_an_unknown_split_gets_the_nearest_name(nih, folder):
    with pytest.raises(UnknownNameError, match="did you mean 'official'"):
        nih.load(folder, split="offical")


def test_a_part_of_nihs_patients_keeps_the_papers_split(nih, sample, tmp_path):
    whole = nih.load(sample, split="dacnet").table.groupby("patient")["split"].first()
    patients = [30805, 16, 7, 12345, *map(int, whole.index[whole == "test"][:3])]
    write_labels(tmp_path, rows=[(f"{n:08d}_000.png", "Mass", n, "50", "M", "PA") for n in patients])
    table = nih.load(tmp_path, split="dacnet").table
    assert table["split"].tolist() == whole[table["patient"]].tolist()


def test_patients_who_are_not_nihs_have_no_place_in_the_papers_split(nih, tmp_path):
    write_labels(tmp_path, rows=[("a.png", "Mass", 30806, "50", "M", "PA")])
    with pytest.raises(DataError, match="patient 30806 is none of NIH's 1 to 30805"):
        nih.load(tmp_path, split="dacnet")


def positives(data, rows) -> str:
    return " ".join(str(int(count)) for count in data.targets[rows].sum(axis=0))


def test_the_papers_split_has_the_known_patients_images_and_positives(nih, sample):
    data = nih.load(sample, split="dacnet")
    for split, expected in DACNET.items():
        rows = (data.table["split"] == split).to_numpy()
        assert (data.table["patient"][rows].nunique(), int(rows.sum()), positives(data, rows)) == expected
    assert leaks(data.table) == []


def test_the_official_split_has_the_known_patients_images_and_positives(nih, sample):
    data = nih.load(sample)
    in_test = (data.table["split"] == "test").to_numpy()
    for rows, expected in ((~in_test, OFFICIAL["train_val"]), (in_test, OFFICIAL["test"])):
        assert (data.table["patient"][rows].nunique(), int(rows.sum()), positives(data, rows)) == expected
    assert leaks(data.table) == []
    assert data.notes["label_file"].startswith("Data_Entry_2017_v2020.csv, generation v2020, sha256 ")


# --- images and boxes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "images", "images_012", "images_012/images"])
def test_images_are_found_in_each_layout_and_the_rest_is_expected_in_images(nih, folder, place):
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / place / NAMES[2]).touch()
    images = nih.load(folder).images
    assert images[2] == folder / place / NAMES[2]
    assert images[2].is_file()
    assert images[0] == folder / "images" / NAMES[0]
    assert list(images[1:3]) == [images[1], images[2]]


def test_images_lie_in_several_numbered_folders(nih, folder):
    for number, name in enumerate(NAMES, start=1):
        (folder / f"images_{number:03d}" / "images").mkdir(parents=True)
        (folder / f"images_{number:03d}" / "images" / name).touch()
    assert all(path.is_file() for path in nih.load(folder).images)


def test_the_samples_150_images_are_found(nih, sample):
    assert sum(path.is_file() for path in nih.load(sample).images) == 150


def test_infiltrate_in_the_list_of_boxes_is_infiltration(nih, folder):
    boxes = nih.load(folder).boxes
    assert boxes.loc[0].tolist() == ["00000020_000.png", "Infiltration", 10.5, 20.0, 300.25, 40.0]
    assert boxes["label"].isin(LABELS).all()


def test_rows_of_boxes_may_end_before_their_header_as_nihs_do(nih, folder):
    path = folder / "BBox_List_2017.csv"
    whole = nih.load(folder).boxes
    path.write_text(path.read_text().replace(",,,\n", "\n").replace("[x,y,w,h]\n", "[x,y,w,h],,,\n"))
    assert path.read_text().splitlines()[1].endswith("40.0")
    assert nih.load(folder).boxes.equals(whole)


def test_a_dataset_without_boxes_has_none(nih, folder):
    (folder / "BBox_List_2017.csv").unlink()
    assert nih.load(folder).boxes is None


@pytest.mark.parametrize("content", ["image,label\na.png,Mass\n", BOXES[0] + "\na.png,Mass,ten,2,3,4,,,\n"])
def test_a_list_of_boxes_that_is_none_is_refused(nih, folder, content):
    (folder / "BBox_List_2017.csv").write_text(content)
    with pytest.raises(DataError, match="is not NIH's list of boxes"):
        nih.load(folder)


def test_all_984_boxes_of_880_images_are_read_and_all_are_in_the_official_test_split(nih, sample):
    data = nih.load(sample)
    assert (len(data.boxes), data.boxes["image"].nunique()) == (984, 880)
    split = data.table.set_index("image")["split"]
    assert set(split[data.boxes["image"]]) == {"test"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_as_windows_writes_them_are_nihs_all_the_same(nih, folder, encoding):
    plain = nih.load(folder)
    for path in folder.glob("*.*"):
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    names = (folder / "test_list.txt").read_text(encoding=encoding).replace("0000", "images\\0000", 1)
    (folder / "test_list.txt").write_text(f"# NIH's\n{names}", encoding=encoding)
    read = nih.load(folder)
    assert read.table.equals(plain.table)
    assert np.array_equal(read.targets, plain.targets)
    assert (read.boxes is None) == (plain.boxes is None)
